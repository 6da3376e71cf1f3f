//! A panic in the plug-in costs its own sound and nothing else; its whole life leaves nothing behind.

use std::{path::Path, process::Command, time::Duration};

use audiocloud_e2e::{Stage, repetitions, sentences};
use audiocloud_rig::{
    analysis,
    audio::phrase,
    process::Options,
    session::{RECEIVE_ID, SEND_ID, START, receive_field, send_field},
};
use serde_json::Value;

const STREAM: &str = "00000000000000aa";

#[test]
fn a_panic_in_process_is_silence_or_dry_and_a_sentence() {
    let stage = Stage::new();
    let device = stage.world.identity(&stage.tools).expect("an identity").device;
    let source = phrase(48_000, 2, 1.0);
    let input = stage.recording("source", &source);
    for (id, field) in [(SEND_ID, send_field(STREAM)), (RECEIVE_ID, receive_field(&device, STREAM))] {
        let mut options = Options::new(id);
        options.input = Some(input.clone());
        options.fields.push(("stream".into(), field));
        options.environment.push(("AUDIOCLOUD_INJECT_PANIC".into(), "process".into()));
        let mut rig = stage.world.rig(&stage.tools, "panics", &options).expect("a rig");
        rig.wait("ready", START).expect("ready");
        rig.command("start").expect("started");
        rig.wait("input-done", Duration::from_secs(10)).expect("all in");
        let said = stage.world.wait_status(&stage.tools, START, "told", |status| {
            let said = sentences(status);
            said.iter()
                .any(|sentence| {
                    sentence.to_lowercase().contains("fault")
                        || sentence.to_lowercase().contains("error")
                        || sentence.to_lowercase().contains("panic")
                })
                .then_some(said)
        });
        let said = said.expect("a sentence");
        println!("{id}: {said:?}");
        rig.command("run-on 0.1").expect("told");
        rig.wait("ran-on", START).expect("ran on");
        let run = rig.finish().unwrap_or_else(|error| panic!("the host died with {id}: {error:#}"));
        assert_eq!(run.report.not_finite, 0);
        // Both let their input through: Send is an insert, and Receive mixes into what is there.
        let through = analysis::compare(&source, &run.output);
        assert!(through.bit_exact || run.report.peak == 0.0, "{id}: neither dry nor silent: {through:#?}");
    }
}

/// `count` lives of a plug-in in one process, `calls` of process in each: what the rig tells.
fn lives(stage: &Stage, id: &str, field: &Value, count: u32, calls: u32) -> Value {
    let output = Command::new(&stage.tools.rig)
        .args(["cycle", "--id", id, "--count", &count.to_string(), "--calls", &calls.to_string(), "--plugin"])
        .arg(&stage.tools.plugin)
        .args(["--field", &format!("stream={field}")])
        .envs(stage.world.environment())
        .output()
        .expect("the rig");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{id}: {}: {errors}", output.status);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    println!("{id}: {told}");
    assert_eq!(told["cycles"], count);
    told
}

#[test]
fn being_looked_at_opens_no_socket_and_writes_no_file() {
    let stage = Stage::new();
    let files = |folder: &Path| {
        let names = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.file_name());
        names.collect::<Vec<_>>()
    };
    let before = files(&stage.world.config);
    for (id, field) in [(SEND_ID, send_field(STREAM)), (RECEIVE_ID, receive_field(&"ab".repeat(32), STREAM))]
    {
        let told = lives(&stage, id, &field, 2, 0);
        // The one thread more is nice-plug's worker.
        assert_eq!(told["during"]["descriptors"], told["before"]["descriptors"], "{id}: {told}");
        assert_eq!(files(&stage.world.config), before, "{id}");
        assert!(files(&stage.world.runtime).is_empty(), "{id}");
    }
}

#[test]
fn a_hundred_lives_leave_nothing() {
    let stage = Stage::new();
    let device = stage.world.identity(&stage.tools).expect("an identity").device;
    let count = repetitions("AUDIOCLOUD_CYCLES", 100);
    for (id, field) in [(SEND_ID, send_field(STREAM)), (RECEIVE_ID, receive_field(&device, STREAM))] {
        let told = lives(&stage, id, &field, count, 20);
        assert!(told["during"]["threads"].as_u64() > told["before"]["threads"].as_u64(), "never ran: {told}");
        assert_eq!(told["after"]["threads"], told["before"]["threads"], "{id} left threads: {told}");
        assert_eq!(
            told["after"]["descriptors"], told["after_first"]["descriptors"],
            "{id} leaks descriptors: {told}"
        );
        let left = std::fs::read_dir(&stage.world.runtime).expect("a folder");
        let sockets =
            left.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "sock"));
        assert_eq!(sockets.count(), 0, "{id} left control sockets");
    }
}
