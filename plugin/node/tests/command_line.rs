//! The built command against a runtime that lives in this process.

use std::path::Path;
use std::process::{Command, Output};

use audiocloud_net::runtime::{Config, Handle, Runtime};
use serde_json::Value;

struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn config_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The command as its user calls it.
    fn audiocloud(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_audiocloud"))
            .args(arguments)
            .env("AUDIOCLOUD_CONFIG_DIR", self.config_dir())
            .env("AUDIOCLOUD_RUNTIME_DIR", self.folder.path().join("run"))
            .output()
            .unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.audiocloud(arguments);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn runtime(&self, name: &str) -> Handle {
        let mut config = Config::in_folders(self.config_dir(), &self.folder.path().join("run"));
        config.name = name.to_owned();
        config.mdns = false;
        config.bind = "127.0.0.1:0".parse().unwrap();
        Runtime::acquire_with(config).unwrap()
    }
}

#[test]
fn status_shows_every_runtime_and_asking_leaves_no_trace() {
    let machine = Machine::new();
    assert_eq!(machine.json(&["status", "--json"])["runtimes"], Value::Array(vec![]));
    assert_eq!(std::fs::read_dir(machine.config_dir()).unwrap().count(), 0, "asking writes nothing");
    let (one, two) = (machine.runtime("One"), machine.runtime("Two"));
    let status = machine.json(&["status", "--json"]);
    let runtimes = status["runtimes"].as_array().unwrap();
    let mut instances: Vec<&str> =
        runtimes.iter().map(|runtime| runtime["instance"].as_str().unwrap()).collect();
    instances.sort_unstable();
    let mut expected = [one.instance().to_string(), two.instance().to_string()];
    expected.sort();
    assert_eq!(instances, expected);
    let words = String::from_utf8(machine.audiocloud(&["status"]).stdout).unwrap();
    for (name, handle) in [("One", &one), ("Two", &two)] {
        let line = format!("\"{name}\": process {}, UDP port {}, ", std::process::id(), handle.port());
        assert!(words.contains(&line), "{words}");
    }
    drop((one, two));
    assert_eq!(machine.json(&["status", "--json"])["runtimes"], Value::Array(vec![]));
}

#[test]
fn ping_names_packets_as_packets_where_no_audio_runs() {
    let machine = Machine::new();
    let (one, two) = (machine.runtime("One"), machine.runtime("Two"));
    let began = std::time::Instant::now();
    let connected = |handle: &Handle| handle.peers().iter().any(|peer| peer.path.rtt_us > 0);
    while !(connected(&one) && connected(&two)) {
        assert!(began.elapsed().as_secs() < 20, "they do not find each other");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let told = machine.json(&["ping", "two", "--json", "--count", "1"]);
    assert_eq!((&told["name"], &told["device"]), (&"Two".into(), &two.device().to_string().into()));
    assert_eq!((&told["heard_round_trip_us"], &told["pairs"]), (&Value::Null, &Value::Array(vec![])));
    assert!(told["packets_round_trip_us"].as_u64().unwrap() > 0);
    let words = String::from_utf8(machine.audiocloud(&["ping", "Two", "--count", "1"]).stdout).unwrap();
    assert!(words.contains("no stream is played either way; packets, not audio, take "), "{words}");
    let unknown = machine.audiocloud(&["ping", "Three"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("no connected peer is called \"Three\""));
}

#[test]
fn identity_is_that_of_the_runtimes() {
    let machine = Machine::new();
    let told = machine.json(&["identity", "--json"]);
    let handle = machine.runtime("One");
    assert_eq!(told["user"], handle.user().to_string());
    assert_eq!(told["device"], handle.device().to_string());
}

#[test]
fn failures_name_cause_and_remedy_and_have_their_exit_codes() {
    let machine = Machine::new();
    let check = |arguments: &[&str], code: i32, needle: &str| {
        let output = machine.audiocloud(arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(needle), "{said}");
    };
    check(&["streams"], 0, "");
    check(&["streams", "--yaml"], 2, "--yaml");
    std::fs::write(machine.config_dir().join("config.toml"), "mdns = 3\n").unwrap();
    check(&["status"], 0, "config.toml, line 1: ");
    std::fs::write(machine.config_dir().join("user.key"), "scratched").unwrap();
    check(&["identity"], 1, "put a copy of it back");
}
