//! What Receive makes of its track's own input, and who else may listen.

use std::time::Duration;

use audiocloud_e2e::{LIVE, PLAYOUT_MS, Stage, assert_whole};
use audiocloud_rig::{
    analysis,
    audio::{Audio, phrase},
    process::{Block, Options},
    session::{
        Pair, PairOptions, RECEIVE_ID, SEND_ID, START, is_playing, receive_field, send_field, subscriptions,
    },
};

fn options() -> PairOptions {
    PairOptions { playout_ms: Some(PLAYOUT_MS), ..PairOptions::new(2, 48_000, Block::Fixed(128)) }
}

/// The sum of two recordings, the second one `shift` frames later, as 32-bit floats are added.
fn sum(first: &Audio, second: &Audio, shift: usize, frames: usize) -> Audio {
    let sample = |audio: &Audio, channel: usize, frame: Option<usize>| {
        frame.and_then(|frame| audio.channels[channel].get(frame)).copied().unwrap_or(0.0)
    };
    let channels = (0..first.channels.len()).map(|channel| {
        (0..frames)
            .map(|frame| {
                sample(first, channel, Some(frame)) + sample(second, channel, frame.checked_sub(shift))
            })
            .collect()
    });
    Audio { sample_rate: first.sample_rate, channels: channels.collect() }
}

/// The track's own input: another phrase than what is sent.
fn own() -> Audio {
    let mut audio = phrase(48_000, 3, 12.0);
    audio.channels.remove(0);
    audio
}

#[test]
fn the_stream_is_added_to_the_track_and_alone_on_the_second_output() {
    let stage = Stage::new();
    let (source, own) = (phrase(48_000, 2, 2.0).with_lead(0.2), own());
    let mut options = options();
    options.receive.input = Some(stage.recording("own", &own));
    options.receive.start = true;
    options.send.input = Some(stage.recording("source", &source));
    let mut pair = Pair::start(&stage.tools, &stage.world, &options).expect("a pair");
    pair.wait_live(LIVE).expect("live");
    pair.play(Duration::from_secs(20)).expect("played");
    let outcome = pair.finish(&source).expect("an outcome");
    let alone = outcome.receive.output_2.as_ref().expect("a second output");
    let result = analysis::compare(&source, alone);
    assert!(result.bit_exact, "the stream alone: {result:#?}");
    let shift = usize::try_from(result.offset_frames).expect("later");
    let frames = outcome.receive.output.frames().min(own.frames());
    let expected = sum(&own, &source, shift, frames);
    let main: Vec<&[f32]> =
        outcome.receive.output.channels.iter().map(|channel| &channel[..frames]).collect();
    assert!(main == expected.channels, "the mix is not the sum of both");
}

#[test]
fn the_stream_replaces_the_track() {
    let stage = Stage::new();
    let source = phrase(48_000, 2, 2.0).with_lead(0.2);
    let mut options = options();
    options.receive.input = Some(stage.recording("own", &own()));
    options.receive.start = true;
    options.receive.parameters.push(("mode".into(), "Replace".into()));
    let outcome = stage.stream(&source, &mut options);
    assert!(outcome.comparison.bit_exact, "{:#?}", outcome.comparison);
    // The mode was set in the first call, before anything was heard: nothing is faded.
    let silent = analysis::silence_from(&outcome.receive.output, 0, 4800).expect("silence before the stream");
    assert_eq!((silent, outcome.comparison.stray_frames), (0, 0), "{:#?}", outcome.comparison);
}

#[test]
fn nothing_is_sent_while_transmit_is_off() {
    let stage = Stage::new();
    let source = phrase(48_000, 2, 20.0);
    let mut options = options();
    options.send.input = Some(stage.recording("source", &source));
    options.send.start = true;
    let mut pair = Pair::start(&stage.tools, &stage.world, &options).expect("a pair");
    pair.wait_live(LIVE).expect("live");
    pair.send.command("parameter transmit=off").expect("told");
    let silent =
        |status: &serde_json::Value| (!subscriptions(status).into_iter().any(is_playing)).then_some(());
    pair.world.wait_status(&stage.tools, LIVE, "silent", silent).expect("silent");
    pair.receive.command("run-on 0.5").expect("told");
    pair.receive.wait("ran-on", START).expect("ran on");
    pair.send.command("parameter transmit=on").expect("told");
    pair.wait_live(LIVE).expect("live again");
    pair.receive.command("run-on 0.3").expect("told");
    pair.receive.wait("ran-on", START).expect("ran on");
    let output = pair.receive.finish().expect("a run").output;
    let sounding = (0..output.frames()).find(|frame| output.sounds_at(*frame)).expect("sound before");
    let quiet = analysis::silence_from(&output, sounding, 19_200).expect("silence in between");
    assert!((quiet + 19_200..output.frames()).any(|frame| output.sounds_at(frame)), "no sound after");
    let run = pair.send.finish().expect("a run");
    for (sent, passed) in source.channels.iter().zip(&run.output.channels) {
        assert!(passed[..] == sent[..passed.len()], "the track itself is not touched");
    }
}

#[test]
fn two_receivers_hear_the_same() {
    let stage = Stage::new();
    let source = phrase(48_000, 2, 3.0).with_lead(0.2);
    let mut options = options();
    options.send.input = Some(stage.recording("source", &source));
    let mut pair = Pair::start(&stage.tools, &stage.world, &options).expect("a pair");
    let mut second = pair.world.rig(&stage.tools, "second", &pair.options.receive).expect("a rig");
    second.wait("ready", START).expect("ready");
    let both = |status: &serde_json::Value| {
        let playing = subscriptions(status).into_iter().filter(|entry| is_playing(entry)).count();
        (playing == 2).then_some(())
    };
    pair.world.wait_status(&stage.tools, LIVE, "live twice", both).expect("live");
    pair.play(Duration::from_secs(20)).expect("played");
    second.command("run-on 0.4").expect("told");
    second.wait("ran-on", START).expect("ran on");
    let run = second.finish().expect("a run");
    assert_whole(&pair.finish(&source).expect("an outcome"));
    let result = analysis::compare(&source, &run.output);
    assert!(result.bit_exact, "the second receiver: {result:#?}");
}

#[test]
fn send_and_receive_in_one_process() {
    const STREAM: &str = "00000000000000dd";
    let stage = Stage::new();
    let device = stage.world.identity(&stage.tools).expect("an identity").device;
    let source = phrase(48_000, 2, 2.0).with_lead(0.2);
    let mut options = Options::new(SEND_ID);
    options.fields.push(("stream".into(), send_field(STREAM)));
    options.then = Some((RECEIVE_ID.into(), vec![("stream".into(), receive_field(&device, STREAM))]));
    options.then_parameters =
        vec![("playout".into(), "Fixed".into()), ("delay".into(), PLAYOUT_MS.to_string())];
    options.input = Some(stage.recording("source", &source));
    let mut rig = stage.world.rig(&stage.tools, "both", &options).expect("a rig");
    rig.wait("ready", START).expect("ready");
    let playing =
        |status: &serde_json::Value| subscriptions(status).into_iter().any(is_playing).then_some(());
    stage.world.wait_status(&stage.tools, LIVE, "live", playing).expect("live");
    rig.command("start").expect("told");
    rig.wait("input-done", Duration::from_secs(20)).expect("all in");
    rig.command("run-on 0.3").expect("told");
    rig.wait("ran-on", START).expect("ran on");
    let run = rig.finish().expect("a run");
    assert_eq!(run.report.heap_operations.unwrap_or(0), 0, "{:#?}", run.report);
    // Receive adds the stream to what Send passed through: taking that away leaves the stream.
    let (through, mixed) = (&run.output, run.then_output.as_ref().expect("a second output"));
    let from = usize::try_from(run.report.input_from_frame.expect("begun")).expect("a frame");
    let rest =
        mixed.channels.iter().zip(&through.channels).map(|(mixed, through)| {
            mixed.iter().zip(through).map(|(mixed, through)| mixed - through).collect()
        });
    let rest = Audio { sample_rate: 48_000, channels: rest.collect() };
    let shift =
        analysis::align(&source, &rest).and_then(|offset| usize::try_from(offset).ok()).expect("the stream");
    println!("the stream comes {} frames after the sound", shift - from);
    let expected = sum(through, &source, shift, mixed.frames());
    assert!(mixed.channels == expected.channels, "not the sum of the track and its own stream");
}
