//! Everyday acts of a DAW have a meaning, and are said in words.

use std::time::Duration;

use audiocloud_e2e::{LIVE, PLAYOUT_MS, Stage, assert_whole, sentences};
use audiocloud_rig::{
    analysis,
    audio::phrase,
    process::{Block, Options, Pace, Rig},
    session::{Pair, PairOptions, RECEIVE_ID, SEND_ID, START, publications, receive_field, send_field},
};
use serde_json::{Value, json};

const STREAM: &str = "00000000000000bb";

fn launch(stage: &Stage, name: &str, options: &Options) -> Rig {
    let mut rig = stage.world.rig(&stage.tools, name, options).expect("a rig");
    rig.wait("ready", START).expect("ready");
    rig
}

/// The document of the persisted field in a state as nice-plug saves it.
fn field(state: &Value) -> Value {
    let text = state["fields"]["stream"].as_str().expect("the field");
    serde_json::from_str(text).expect("its document")
}

fn send(document: Value) -> Options {
    let mut options = Options::new(SEND_ID);
    options.fields.push(("stream".into(), document));
    options
}

fn wait_sentence(stage: &Stage, parts: &[&str]) -> String {
    stage
        .world
        .wait_status(&stage.tools, LIVE, &format!("saying {parts:?}"), |status| {
            sentences(status).into_iter().find(|sentence| {
                parts.iter().all(|part| sentence.to_lowercase().contains(&part.to_lowercase()))
            })
        })
        .unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn a_duplicated_track_takes_a_fresh_id_and_says_so() {
    let stage = Stage::new();
    let first = launch(&stage, "first", &send(send_field(STREAM)));
    let mut second = launch(&stage, "second", &send(send_field(STREAM)));
    let ids = stage.world.wait_status(&stage.tools, LIVE, "two streams", |status| {
        let ids: Vec<String> = publications(status)
            .iter()
            .filter_map(|entry| entry["stream"].as_str())
            .map(str::to_owned)
            .collect();
        (ids.len() == 2).then_some(ids)
    });
    let ids = ids.expect("two streams");
    assert_ne!(ids[0], ids[1]);
    assert!(ids.iter().any(|id| id == STREAM), "the first claimant keeps its id: {ids:?}");
    let state = field(&second.state().expect("a state"));
    assert_ne!(state["stream"], STREAM, "the later claimant keeps its fresh id in the project");
    println!("{}", wait_sentence(&stage, &["id"]));
    drop(first);
}

#[test]
fn state_survives_save_and_load_with_fields_of_later_versions() {
    let stage = Stage::new();
    let mut document = send_field(STREAM);
    document["colour"] = json!({ "of": ["a", "later", "version"] });
    let mut options = send(document.clone());
    options.parameters.push(("transmit".into(), "off".into()));
    let rig = launch(&stage, "first", &options);
    let path = rig.state_file();
    let before = rig.finish().expect("a run");
    assert_eq!(field(&before.state), document);

    let mut options = Options::new(SEND_ID);
    options.state = Some(path);
    let after = launch(&stage, "second", &options).finish().expect("a run");
    assert_eq!(field(&after.state), document);
    assert_eq!(after.state["params"], before.state["params"]);
    assert_eq!(after.state["params"]["transmit"], json!({ "bool": false }));
}

#[test]
fn a_saved_project_finds_its_stream_again() {
    let stage = Stage::new();
    let source = phrase(48_000, 2, 1.5).with_lead(0.2);
    let mut options = PairOptions::new(2, 48_000, Block::Fixed(128));
    options.playout_ms = Some(PLAYOUT_MS);
    let pair = Pair::start(&stage.tools, &stage.world, &options).expect("a pair");
    pair.wait_live(LIVE).expect("live");
    let files = (pair.send.state_file(), pair.receive.state_file());
    pair.finish(&source).expect("an end");
    // Both projects are opened again, nothing but their states given.
    let kept = (stage.path("send.state"), stage.path("receive.state"));
    std::fs::rename(files.0, &kept.0).expect("kept");
    std::fs::rename(files.1, &kept.1).expect("kept");
    let mut receive = Options::new(RECEIVE_ID);
    receive.state = Some(kept.1);
    let mut send = Options::new(SEND_ID);
    send.state = Some(kept.0);
    send.input = Some(stage.recording("source", &source));
    let mut receive = launch(&stage, "receive-again", &receive);
    let mut send = launch(&stage, "send-again", &send);
    stage
        .world
        .wait_status(&stage.tools, LIVE, "live again", |status| {
            let subscriptions = audiocloud_rig::session::subscriptions(status);
            subscriptions.into_iter().any(audiocloud_rig::session::is_playing).then_some(())
        })
        .expect("live again");
    send.command("start").expect("told");
    send.wait("input-done", Duration::from_secs(20)).expect("all in");
    receive.command("run-on 0.4").expect("told");
    receive.wait("ran-on", START).expect("ran on");
    let run = receive.finish().expect("a run");
    let result = analysis::compare(&source, &run.output);
    assert!(result.bit_exact, "{result:#?}");
}

/// Waits until a stream plays, resampled or not.
fn wait_playing(stage: &Stage, is_resampled: bool) {
    let playing = |status: &Value| {
        let subscriptions = audiocloud_rig::session::subscriptions(status);
        subscriptions
            .into_iter()
            .any(|entry| {
                audiocloud_rig::session::is_playing(entry) && entry["report"]["resampling"] == is_resampled
            })
            .then_some(())
    };
    let what = if is_resampled { "playing resampled" } else { "playing as it is" };
    stage.world.wait_status(&stage.tools, LIVE, what, playing).unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn another_sample_rate_is_resampled() {
    let stage = Stage::new();
    let mut options = PairOptions::new(2, 48_000, Block::Fixed(128));
    options.receive.sample_rate = 44_100;
    options.send.input = Some(stage.recording("source", &phrase(48_000, 2, 30.0)));
    options.send.start = true;
    let mut pair = Pair::start(&stage.tools, &stage.world, &options).expect("a pair");
    wait_playing(&stage, true);
    pair.receive.command("run-on 0.5").expect("told");
    pair.receive.wait("ran-on", START).expect("ran on");
    let run = pair.receive.finish().expect("a run");
    let peak = run.report.peak;
    assert!(peak > 0.0 && peak < 0.6, "noise or silence instead of the phrase: {peak}");

    // The project is set to the stream's rate: it plays as it is.
    pair.options.receive.sample_rate = 48_000;
    let mut receive = launch(&stage, "receive-48", &pair.options.receive);
    wait_playing(&stage, false);
    // The sender changes its rate in the middle, to a higher one that was not foreseen: it is fetched anew.
    pair.send.command("restart 96000").expect("told");
    pair.send.wait("restarted", START).expect("restarted");
    wait_playing(&stage, true);
    receive.command("run-on 0.1").expect("told");
    receive.wait("ran-on", START).expect("ran on");
    let run = receive.finish().expect("a run");
    assert_eq!(run.report.not_finite, 0);
    assert_eq!(run.report.heap_operations.unwrap_or(0), 0, "{:#?}", run.report);
    assert!(run.report.peak > 0.0 && run.report.peak < 0.6, "noise instead of sound: {}", run.report.peak);
}

#[test]
fn an_offline_render_passes_through_publishes_nothing_and_receives_silence() {
    let stage = Stage::new();
    let device = stage.world.identity(&stage.tools).expect("an identity").device;
    let source = phrase(48_000, 2, 2.0);
    let live = launch(&stage, "live", &send(send_field(STREAM)));
    let live_only = |status: &Value| (publications(status).len() == 1).then_some(());
    stage.world.wait_status(&stage.tools, LIVE, "one stream", live_only).expect("one stream");

    let mut offline = send(send_field("00000000000000cc"));
    offline.offline = true;
    offline.input = Some(stage.recording("source", &source));
    let mut sending = launch(&stage, "send", &offline);
    let mut receive = Options::new(RECEIVE_ID);
    receive.offline = true;
    receive.fields.push(("stream".into(), receive_field(&device, STREAM)));
    let mut receiving = launch(&stage, "receive", &receive);

    sending.command("start").expect("told");
    sending.wait("input-done", Duration::from_secs(10)).expect("all in");
    let status = stage.world.status(&stage.tools).expect("a status");
    let streams: Vec<_> = publications(&status).iter().map(|entry| &entry["stream"]).collect();
    assert_eq!(streams, [STREAM], "an offline Send publishes");
    wait_sentence(&stage, &["offline render", "not published"]);
    wait_sentence(&stage, &["offline render", "silent"]);
    let run = sending.finish().expect("a run");
    assert!(analysis::compare(&source, &run.output).bit_exact, "an offline Send passes through");
    receiving.command("run-on 0.1").expect("told");
    receiving.wait("ran-on", START).expect("ran on");
    assert!(receiving.finish().expect("a run").report.peak == 0.0, "an offline Receive is silent");
    drop(live);
}

#[test]
fn what_is_not_a_number_passes_through_is_said_and_does_not_travel() {
    let stage = Stage::new();
    let mut source = phrase(48_000, 2, 3.0);
    source.channels[0][96_000] = f32::NAN;
    let mut options = PairOptions::new(2, 48_000, Block::Fixed(128));
    options.send.input = Some(stage.recording("source", &source));
    let mut pair = Pair::start(&stage.tools, &stage.world, &options).expect("a pair");
    pair.wait_live(LIVE).expect("live");
    pair.play(Duration::from_secs(20)).expect("played");
    println!("{}", wait_sentence(&stage, &["not numbers", "silence"]));
    let status = stage.world.status(&stage.tools).expect("a status");
    assert_eq!(publications(&status)[0]["report"]["engine"]["not_finite"], 1, "{status:#}");
    let [sent, received] =
        [pair.send, pair.receive].map(|rig| rig.finish().expect("a run").report.not_finite);
    assert_eq!((sent, received), (1, 0));
}

#[test]
fn a_host_that_works_in_bursts_does_not_run_away() {
    let stage = Stage::new();
    let source = phrase(48_000, 2, 4.0).with_lead(0.2);
    // Eight blocks at once, then 21 ms of nothing.
    let mut options = PairOptions::new(2, 48_000, Block::Fixed(128));
    options.send.pace = Pace::Burst(8);
    options.playout_ms = Some(PLAYOUT_MS);
    let outcome = stage.stream(&source, &mut options);
    println!("bursts: {}", outcome.latency);
    assert_whole(&outcome);
    assert!(outcome.latency.median_ms < PLAYOUT_MS + 60.0, "ran away: {}", outcome.latency);
}

#[test]
fn a_host_that_runs_ahead_does_not_run_away() {
    let stage = Stage::new();
    let source = phrase(48_000, 2, 4.0).with_lead(0.2);
    let mut options = PairOptions::new(2, 48_000, Block::Fixed(128));
    options.send.ahead_ms = 200;
    options.playout_ms = Some(PLAYOUT_MS);
    let outcome = stage.stream(&source, &mut options);
    println!("ahead: {}", outcome.latency);
    assert_whole(&outcome);
    assert!(outcome.latency.median_ms < PLAYOUT_MS + 250.0, "ran away: {}", outcome.latency);
}

#[test]
fn bursts_longer_than_the_delay_are_named() {
    let stage = Stage::new();
    let mut options = PairOptions::new(2, 48_000, Block::Fixed(128));
    options.send.pace = Pace::Burst(16);
    options.send.input = Some(stage.recording("source", &phrase(48_000, 2, 20.0)));
    options.send.start = true;
    options.playout_ms = Some(5.0);
    let pair = Pair::start(&stage.tools, &stage.world, &options).expect("a pair");
    println!("{}", wait_sentence(&stage, &["ahead"]));
    let run = pair.receive.finish().expect("a run");
    assert_eq!(run.report.not_finite, 0);
}

#[test]
fn a_track_that_sleeps_and_wakes_plays_on() {
    let stage = Stage::new();
    let source = phrase(48_000, 2, 2.0).with_lead(0.2);
    let mut options = PairOptions::new(2, 48_000, Block::Fixed(128));
    options.playout_ms = Some(PLAYOUT_MS);
    options.send.input = Some(stage.recording("source", &source));
    let mut pair = Pair::start(&stage.tools, &stage.world, &options).expect("a pair");
    pair.wait_live(LIVE).expect("live");
    pair.send.command("pause").expect("told");
    pair.send.wait("paused", START).expect("paused");
    let asleep = stage.world.wait_status(&stage.tools, LIVE, "not playing", |status| {
        let subscriptions = audiocloud_rig::session::subscriptions(status);
        (!subscriptions.into_iter().any(audiocloud_rig::session::is_playing)).then_some(sentences(status))
    });
    println!("{:?}", asleep.expect("said"));
    pair.send.command("resume").expect("told");
    pair.wait_live(LIVE).expect("live again");
    pair.play(Duration::from_secs(20)).expect("played");
    assert_whole_after_sleep(&pair.finish(&source).expect("an outcome"));
}

/// As `assert_whole`, but frames were missing while the track slept, and the figures say so.
fn assert_whole_after_sleep(outcome: &audiocloud_rig::session::Outcome) {
    assert!(outcome.comparison.bit_exact, "{:#?}", outcome.comparison);
    for run in [&outcome.send, &outcome.receive] {
        assert_eq!(run.report.heap_operations.unwrap_or(0), 0, "{:#?}", run.report);
    }
}

/// Receive's track goes into the Send that Receive plays: sound would go round and grow.
#[test]
fn a_feedback_loop_is_found_faded_and_named() {
    let stage = Stage::new();
    let device = stage.world.identity(&stage.tools).expect("an identity").device;
    let source = phrase(48_000, 2, 12.0);
    let mut options = Options::new(RECEIVE_ID);
    options.fields.push(("stream".into(), receive_field(&device, STREAM)));
    options.then = Some((SEND_ID.into(), vec![("stream".into(), send_field(STREAM))]));
    options.input = Some(stage.recording("source", &source));
    options.start = true;
    let mut rig = launch(&stage, "loop", &options);
    println!("{}", wait_sentence(&stage, &["feedback loop"]));
    rig.command("run-on 1").expect("told");
    rig.wait("ran-on", START).expect("ran on");
    let run = rig.finish().expect("a run");
    assert_eq!((run.report.process_errors, run.report.not_finite), (0, 0));
    assert_eq!(run.report.heap_operations.unwrap_or(0), 0, "{:#?}", run.report);
    // Faded: the last half second is the track's own input and nothing else.
    let from = run.output.frames() - 24_000;
    let end = |audio: &audiocloud_rig::audio::Audio, from: usize| -> Vec<Vec<f32>> {
        audio.channels.iter().map(|channel| channel[from..from + 24_000].to_vec()).collect()
    };
    assert_eq!(end(&run.output, from), end(&source, from), "the loop still sounds; peak {}", run.report.peak);
    // It never grew to more than what a few rounds add before it was found.
    assert!(run.report.peak < 4.0, "the loop grew to {}", run.report.peak);
}
