//! One Receive for many: a person's streams, all of a session, live as they come and go.

use audiocloud_e2e::{LIVE, Stage};
use audiocloud_rig::{
    audio::phrase,
    process::{Options, Rig},
    session::{RECEIVE_ID, SEND_ID, START, is_playing, send_field, subscriptions},
};
use serde_json::{Value, json};

fn launch(stage: &Stage, name: &str, options: &Options) -> Rig {
    let mut rig = stage.world.rig(&stage.tools, name, options).expect("a rig");
    rig.wait("ready", START).expect("ready");
    rig
}

fn send(stage: &Stage, name: &str, stream: &str) -> Rig {
    let mut options = Options::new(SEND_ID);
    options.fields.push(("stream".into(), send_field(stream)));
    options.input = Some(stage.recording(name, &phrase(48_000, 2, 60.0)));
    options.start = true;
    launch(stage, name, &options)
}

fn wait_playing(stage: &Stage, streams: &[&str]) {
    let what = format!("playing {streams:?}");
    let playing = |status: &Value| {
        let mut playing: Vec<&str> = subscriptions(status)
            .into_iter()
            .filter(|entry| is_playing(entry))
            .filter_map(|entry| entry["stream"].as_str())
            .collect();
        playing.sort_unstable();
        (playing == streams).then_some(())
    };
    stage.world.wait_status(&stage.tools, LIVE, &what, playing).unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn a_session_is_played_as_its_streams_come_and_go() {
    const STREAMS: [&str; 3] = ["0000000000000001", "0000000000000002", "0000000000000003"];
    let stage = Stage::new();
    let mut options = Options::new(RECEIVE_ID);
    options.fields.push(("stream".into(), json!({ "schema": 2, "play": "session" })));
    options.parameters.push(("outputs".into(), "Separate".into()));
    let mut receive = launch(&stage, "receive", &options);
    let first = send(&stage, "first", STREAMS[0]);
    wait_playing(&stage, &STREAMS[..1]);
    let second = send(&stage, "second", STREAMS[1]);
    let third = send(&stage, "third", STREAMS[2]);
    wait_playing(&stage, &STREAMS);
    receive.command("run-on 0.3").expect("told");
    receive.wait("ran-on", START).expect("ran on");
    // One leaves: the others go on, and it is waited for no longer than a few seconds.
    drop(second.finish().expect("a run"));
    let two = |status: &Value| (subscriptions(status).len() == 2).then_some(());
    stage.world.wait_status(&stage.tools, LIVE, "two streams", two).expect("two streams");
    wait_playing(&stage, &[STREAMS[0], STREAMS[2]]);
    let run = receive.finish().expect("a run");
    assert_eq!((run.report.process_errors, run.report.not_finite), (0, 0));
    assert_eq!(run.report.heap_operations.unwrap_or(0), 0, "{:#?}", run.report);
    assert!(run.report.peak == 0.0, "streams that have outputs of their own are in the main one");
    // The outputs that they were given are in the project.
    let document: Value =
        serde_json::from_str(run.state["fields"]["stream"].as_str().expect("the field")).expect("JSON");
    let mut outputs: Vec<u64> = document["faders"]
        .as_object()
        .expect("faders")
        .values()
        .filter_map(|fader| fader["output"].as_u64())
        .collect();
    outputs.sort_unstable();
    assert_eq!(outputs, [1, 2, 3]);
    drop((first, third));
}
