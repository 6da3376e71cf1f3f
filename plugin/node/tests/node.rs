//! `audiocloud node` and `audiocloud doctor` as processes.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn audiocloud(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_audiocloud"));
    command
        .args(arguments)
        .env("AUDIOCLOUD_CONFIG_DIR", folder)
        .env("AUDIOCLOUD_RUNTIME_DIR", folder.join("run"));
    command
}

/// Ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_node_says_where_it_is_and_ends_when_it_is_told_to() {
    for stop in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), "name = \"node.example.org\"\nmdns = false\n")
            .unwrap();
        let arguments =
            ["node", "--rendezvous", "--relay", "--tcp", "127.0.0.1:0", "--bind", "127.0.0.1:0", "--json"];
        let mut node = Running(audiocloud(folder.path(), &arguments).stdout(Stdio::piped()).spawn().unwrap());
        let mut out = BufReader::new(node.0.stdout.take().unwrap());
        let mut text = String::new();
        while !text.ends_with("}\n") || serde_json::from_str::<Value>(&text).is_err() {
            assert!(out.read_line(&mut text).unwrap() > 0, "it ended: {text}");
        }
        let place: Value = serde_json::from_str(&text).unwrap();
        let (port, tcp) = (place["port"].as_u64().unwrap(), place["tcp_port"].as_u64().unwrap());
        assert!(port > 0 && tcp > 0, "{place}");
        let meeting = place["meeting"][0].as_str().unwrap();
        assert!(
            meeting.ends_with(&format!(":{port}={},tcp={tcp}", place["device"].as_str().unwrap())),
            "{place}"
        );
        // What it prints is what `session create` takes.
        let founded =
            audiocloud(folder.path(), &["session", "create", "Band", "--meeting", meeting]).output().unwrap();
        assert!(founded.status.success(), "{founded:?}");
        let status = audiocloud(folder.path(), &["status", "--json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        assert_eq!(status["runtimes"][0]["pid"], place["pid"]);
        signal(&node.0, stop);
        let asked = Instant::now();
        assert!(node.0.wait().unwrap().success(), "{stop}");
        assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}

#[test]
fn a_node_whose_port_is_taken_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    let output = audiocloud(folder.path(), &["node", "--bind", &bind]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot open UDP port") && said.contains("choose another"), "{said}");
}

#[test]
fn the_doctor_names_the_program_that_has_the_port_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap();
    std::fs::write(folder.path().join("config.toml"), format!("bind = \"{bind}\"\n")).unwrap();
    let output = audiocloud(folder.path(), &["doctor", "port", "clock", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["worst"], &told["findings"][0]["check"]), (&"fault".into(), &"port".into()));
    let words =
        String::from_utf8(audiocloud(folder.path(), &["doctor", "port"]).output().unwrap().stdout).unwrap();
    let cause =
        format!("port        FAULT    UDP port {} is taken by process {}", bind.port(), std::process::id());
    assert!(words.starts_with(&cause), "{words}");
    assert!(words.contains("remedy: end that program, or set another `bind`"), "{words}");
    drop(taken);
    let began = Instant::now();
    let mut output = audiocloud(folder.path(), &["doctor", "port"]).output().unwrap();
    // A process that another test is starting holds the port until it has begun.
    while !output.status.success() && began.elapsed() < Duration::from_secs(10) {
        output = audiocloud(folder.path(), &["doctor", "port"]).output().unwrap();
    }
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("as far as this machine can tell.\n"));
}
