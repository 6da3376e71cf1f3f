//! The same plug-in inside a JACK client's callback, on a server of its own with the dummy driver.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use audiocloud_rig::{
    analysis, audio,
    process::{Block, Options, Rig},
};

mod built;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A server of this name; `None` where there is none to start.
fn server(name: &str) -> Option<Server> {
    let mut command = Command::new("jackd");
    command.args(["--no-realtime", "-n", name, "-d", "dummy", "-r", "48000", "-p", "128"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let server = Server(child);
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let answer = Command::new("jack_wait").args(["-s", name, "-w", "-t", "10"]).output();
        // Without that tool, a client's own attempts are the wait.
        if answer.is_ok_and(|output| output.status.success()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(server)
}

#[test]
fn a_plugin_runs_in_a_jack_client() {
    let name = format!("audiocloud-rig-{}", std::process::id());
    let Some(_server) = server(&name) else {
        println!("skipped: jackd is not installed (apt-get install jackd2)");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let source = audio::phrase(48_000, 2, 0.5);
    let input = folder.path().join("in.wav");
    audio::write_f32(&input, &source).expect("written");
    let mut options = Options::new("org.audiocloud.test.clean");
    options.input = Some(input);
    options.jack = Some("rig".into());
    options.block = Block::Fixed(1024);
    options.seconds_max = 30.0;
    options.environment.push(("JACK_DEFAULT_SERVER".into(), name));
    let mut rig = Rig::spawn(
        env!("CARGO_BIN_EXE_audiocloud-rig").as_ref(),
        &built::plugin(),
        folder.path(),
        "rig",
        &options,
    )
    .expect("a rig");
    rig.wait("ready", Duration::from_secs(10)).expect("ready");
    rig.command("start").expect("told");
    rig.wait("input-done", Duration::from_secs(20)).expect("all in");
    let run = rig.finish().expect("a run");
    assert_eq!(run.report.heap_operations, Some(0));
    assert_eq!(run.report.scheduler, "JACK's");
    assert!(run.log.records.iter().all(|record| record.frames == 128), "JACK's own blocks");
    assert!(analysis::compare(&source, &run.output).bit_exact);
}
