//! Sessions from the command line: two people, each with a folder of their own, and nothing running.

use std::process::{Command, Output};

use serde_json::Value;

struct Person {
    folder: tempfile::TempDir,
}

impl Person {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), format!("name = \"{name}\"\n")).unwrap();
        Self { folder }
    }

    fn audiocloud(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_audiocloud"))
            .args(arguments)
            .env("AUDIOCLOUD_CONFIG_DIR", self.folder.path())
            .env("AUDIOCLOUD_RUNTIME_DIR", self.folder.path().join("run"))
            .output()
            .unwrap()
    }

    fn says(&self, arguments: &[&str]) -> String {
        let output = self.audiocloud(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[arguments, &["--json"]].concat())).unwrap()
    }

    fn is_refused(&self, arguments: &[&str], needle: &str) {
        let output = self.audiocloud(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(needle), "{arguments:?}: {said}");
    }

    fn link(&self, arguments: &[&str]) -> String {
        self.json(&[&["session", "invite"], arguments].concat())["link"].as_str().unwrap().to_owned()
    }

    fn user(&self) -> String {
        self.json(&["identity"])["user"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_session_is_founded_joined_narrowed_and_left() {
    let (ada, ben) = (Person::new("Ada"), Person::new("Ben"));
    ada.is_refused(&["session", "invite"], "audiocloud session create NAME");
    assert_eq!(ada.says(&["session", "list"]), "You are in no session.\n");
    let founded = ada.json(&["session", "create", "Band"]);
    assert_eq!((&founded["name"], &founded["founder"]), (&"Band".into(), &true.into()));
    let words = ada.says(&["session", "invite"]);
    let link = words.lines().find(|line| line.starts_with("audiocloud://join/")).expect(&words).to_owned();
    assert!(words.starts_with("One person who has this link may join \"Band\""), "{words}");

    let narrower = ben.json(&["session", "narrow", &link, "--rights", "listener", "--expires", "1h"]);
    let narrower = narrower["link"].as_str().unwrap();
    let joined = ben.json(&["session", "join", narrower]);
    assert_eq!((&joined["session"], &joined["inviter"]), (&founded["session"], &"Ada".into()));
    assert_eq!(joined["rights"], "subscribe", "{joined}");
    assert!(joined["expires_s"].is_u64(), "{joined}");
    ben.is_refused(&["session", "invite"], "invite");
    ben.is_refused(&["session", "state", "set", "tempo", "120"], "shared state");
    let list = ben.says(&["session", "list"]);
    assert!(list.starts_with("* \"Band\" (") && list.contains("invited by Ada"), "{list}");
    assert!(ben.says(&["session", "log"]).contains("joined Band by an invitation of Ada"));
    ben.says(&["session", "leave", "--in", "band"]);
    assert_eq!(ben.json(&["session", "list"])["sessions"], Value::Array(Vec::new()));
}

#[test]
fn members_are_listed_and_put_out() {
    let (ada, ben) = (Person::new("Ada"), Person::new("Ben"));
    ada.says(&["session", "create", "Band"]);
    ben.says(&["session", "join", &ada.link(&["--uses", "2"])]);
    // What the runtimes would have told each other: here one person is both.
    let members = ben.json(&["session", "members"]);
    let names: Vec<&str> =
        members["members"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"Ben"), "{members}");
    assert!(ben.says(&["session", "members"]).contains("no audiocloud plug-in or node is running here"));
    ada.is_refused(&["session", "revoke", "Cyd"], "no member is called \"Cyd\"");
    ada.is_refused(&["session", "revoke", "Ada"], "leave the session instead");
}

#[test]
fn a_ticket_for_one_user_is_of_no_use_to_another() {
    let (ada, ben, cyd) = (Person::new("Ada"), Person::new("Ben"), Person::new("Cyd"));
    ada.says(&["session", "create", "Band"]);
    let link = ada.link(&["--for", &ben.user()]);
    cyd.is_refused(&["session", "join", &link], "another");
    ben.says(&["session", "join", &link]);
    cyd.is_refused(&["session", "join", "audiocloud://join/AAAA"], "");
    let expired = ada.link(&["--expires", "1s"]);
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    cyd.is_refused(&["session", "join", &expired], "expired");
}

#[test]
fn the_shared_state_is_set_and_shown_with_its_author() {
    let ada = Person::new("Ada");
    ada.says(&["session", "create", "Band"]);
    assert!(ada.says(&["session", "state"]).contains("nothing is set"));
    ada.says(&["session", "state", "set", "tempo", "120"]);
    ada.says(&["session", "state", "set", "key", "A", "minor"]);
    ada.says(&["session", "state", "set", "loop", "8-16"]);
    // What is so already is no failure.
    let words = ada.says(&["session", "state", "set", "loop", "8-16"]);
    assert!(words.contains("tempo   120 bpm   (Ada, ") && words.contains("loop    beats 8 to 16"), "{words}");
    let state = ada.json(&["session", "state", "show"]);
    assert_eq!(state["state"]["tempo_bpm"]["value"], 120.0);
    assert_eq!(state["state"]["tempo_bpm"]["by"], ada.user());
    ada.is_refused(&["session", "state", "set", "tempo", "5000"], "from 10 to 1000");
    let said = ada.says(&["session", "chat", "hello", "there"]);
    assert!(said.ends_with("Ada: hello there\n"), "{said}");
    assert_eq!(ada.json(&["session", "chat"])["chat"][0]["text"], "hello there");
    let preset = ada.folder.path().join("preset.bin");
    std::fs::write(&preset, [0, 255, 7]).unwrap();
    let path = preset.to_str().unwrap();
    ada.says(&["session", "state", "preset", "put", "Room", path]);
    std::fs::remove_file(&preset).unwrap();
    ada.says(&["session", "state", "preset", "get", "Room", path]);
    assert_eq!(std::fs::read(&preset).unwrap(), [0, 255, 7]);
    let stream = format!("{}/{}", "11".repeat(32), "22".repeat(8));
    ada.says(&["session", "state", "scene", "put", "Verse", "--stream", &stream, "--chain", "Reverb"]);
    let scene = ada.says(&["session", "state", "scene", "on", "Verse"]);
    assert!(scene.contains(&format!("on: \"Verse\": {stream}, Reverb")), "{scene}");
}

#[test]
fn a_link_is_drawn_for_a_camera() {
    let ada = Person::new("Ada");
    ada.says(&["session", "create", "Band"]);
    let drawn = ada.says(&["session", "invite", "--qr", "--rights", "listener"]);
    let widths: Vec<usize> =
        drawn.lines().filter(|line| line.contains('█')).map(|line| line.chars().count()).collect();
    assert!(widths.len() > 20 && widths.windows(2).all(|pair| pair[0] == pair[1]), "{widths:?}");
    println!("{} characters wide, {} lines", widths[0], widths.len());
}

#[test]
fn strangers_are_accepted_by_key_and_forgotten() {
    let (ada, ben) = (Person::new("Ada"), Person::new("Ben"));
    assert!(ada.says(&["strangers"]).contains("Nobody unknown has tried to connect."));
    ada.is_refused(&["accept", "Ben"], "there is no stranger now");
    ada.says(&["accept", &ben.user()]);
    assert_eq!(ada.json(&["strangers"])["accepted"][0]["user"], ben.user());
    ada.says(&["accept", "--forget", &ben.user()[..8]]);
    assert_eq!(ada.json(&["strangers"])["accepted"], Value::Array(Vec::new()));
}
