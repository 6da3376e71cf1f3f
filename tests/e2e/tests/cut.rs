//! `kill -9` of either process during a stream: the other fades, lives, says why, and plays again.

use std::time::Duration;

use audiocloud_e2e::{LIVE, PLAYOUT_MS, Stage, repetitions, sentences};
use audiocloud_rig::{
    analysis,
    audio::{Audio, phrase},
    clock::now_ns,
    process::{Block, Rig, Run},
    session::{Pair, PairOptions, START, subscriptions},
};

/// At 48 kHz: the sound is carried on for 60 ms at most, and fades meanwhile.
const FADE_FRAMES_MAX: usize = 2_880;
/// Nothing sounds for so long: the stream is gone. 50 ms at 48 kHz.
const SILENT_FRAMES: usize = 2400;

fn options(source: std::path::PathBuf) -> PairOptions {
    let mut options = PairOptions::new(2, 48_000, Block::Fixed(128));
    options.playout_ms = Some(PLAYOUT_MS);
    options.send.input = Some(source);
    options.send.start = true;
    options.send.seconds_max = 600.0;
    options.receive.seconds_max = 600.0;
    options
}

/// A rig's time of readiness, in the callback logs' clock.
fn ready_ns(rig: &mut Rig) -> i64 {
    rig.wait("ready", START).expect("ready")["host_ns"].as_i64().expect("a time")
}

/// How the output ended after a cut at `cut_ns`: `(frames of fading, largest step while fading, milliseconds from the
/// cut to silence)`.
fn ending(run: &Run, source: &Audio, cut_ns: i64) -> (usize, f32, i64) {
    let cut = usize::try_from(run.log.frame_at(cut_ns).expect("a call after the cut")).expect("a frame");
    let silent = analysis::silence_from(&run.output, cut, SILENT_FRAMES).expect("silence after the cut");
    // The half second before the silence, found in the source, tells the last frame that was the stream's own.
    let from = silent.saturating_sub(24_000);
    let piece = Audio {
        sample_rate: run.output.sample_rate,
        channels: run.output.channels.iter().map(|channel| channel[from..silent].to_vec()).collect(),
    };
    let offset = analysis::align(&piece, source).expect("the stream in its source");
    let equal = |index: &usize| {
        let at = i64::try_from(*index).expect("small") + offset;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        piece.channels.iter().zip(&source.channels).all(|(got, sent)| sent.get(at) == Some(&got[*index]))
    };
    let last = (0..piece.frames()).rev().find(equal).expect("an exact frame");
    let faded = piece.frames() - 1 - last;
    let (_, step) = analysis::step_max(&run.output, from + last..silent + 1);
    let silent_ns = run.log.call_of(u64::try_from(silent).expect("a frame")).expect("a call").left_ns();
    (faded, step, (silent_ns - cut_ns) / 1_000_000)
}

/// Milliseconds from `ready_ns` until the output sounds.
fn returned_ms(run: &Run, ready_ns: i64) -> i64 {
    let from = run.log.frame_at(ready_ns).expect("a call after the return");
    let from_frame = usize::try_from(from).expect("a frame");
    let sounding = (from_frame..run.output.frames()).find(|frame| run.output.sounds_at(*frame));
    let frame = u64::try_from(sounding.expect("sound after the return")).expect("a frame");
    (run.log.call_of(frame).expect("a call").left_ns() - ready_ns) / 1_000_000
}

fn is_live(status: &serde_json::Value) -> Option<()> {
    subscriptions(status).into_iter().any(audiocloud_rig::session::is_playing).then_some(())
}

#[test]
fn the_sender_is_killed_and_returns() {
    let stage = Stage::new();
    let source = phrase(48_000, 2, 30.0);
    let path = stage.recording("source", &source);
    let mut pair = Pair::start(&stage.tools, &stage.world, &options(path)).expect("a pair");
    pair.wait_live(LIVE).expect("live");
    let largest_step = analysis::step_max(&source, 0..source.frames()).1;
    let mut times = Vec::new();
    for round in 0..repetitions("AUDIOCLOUD_KILLS", 3) {
        pair.receive.command("run-on 0.5").expect("told");
        pair.receive.wait("ran-on", START).expect("ran on");
        let cut_ns = now_ns();
        pair.send.kill().expect("killed");
        let world = &pair.world;
        let why = world
            .wait_status(&stage.tools, LIVE, "telling why", |status| {
                let gone = !subscriptions(status).into_iter().any(audiocloud_rig::session::is_playing);
                let said = sentences(status).into_iter().next()?;
                (gone && !said.contains("Playing")).then_some(said)
            })
            .expect("a reason");
        println!("round {round}: {why}");
        if round == 0 {
            // The hardest return is the immediate one; once, the connection may time out first.
            let lost = world.wait_status(&stage.tools, Duration::from_secs(40), "lost", |status| {
                let lost = subscriptions(status).into_iter().find(|entry| entry["link"] == "lost")?;
                let reason = lost["reason"].as_str()?.to_owned();
                sentences(status).into_iter().next().map(|sentence| (reason, sentence))
            });
            println!("round {round}, later: {:?}", lost.expect("a lost link"));
        }
        let name = format!("send-{round}");
        pair.send = world.rig(&stage.tools, &name, &pair.options.send).expect("a rig");
        let back_ns = ready_ns(&mut pair.send);
        world.wait_status(&stage.tools, LIVE, "live again", is_live).expect("live again");
        times.push((cut_ns, back_ns));
    }
    pair.receive.command("run-on 0.4").expect("told");
    pair.receive.wait("ran-on", START).expect("ran on");
    let run = pair.receive.finish().expect("Receive lives");
    assert_eq!(run.report.process_errors, 0);
    assert_eq!(run.report.heap_operations.unwrap_or(0), 0, "{:#?}", run.report);
    for (cut_ns, back_ns) in times {
        let (faded, step, silent_ms) = ending(&run, &source, cut_ns);
        let returned = returned_ms(&run, back_ns);
        println!("faded in {faded} frames, silent {silent_ms} ms after the cut, back after {returned} ms");
        assert!(faded <= FADE_FRAMES_MAX, "faded over {faded} frames");
        assert!(step <= largest_step * 1.5, "a click of {step} while fading");
        assert!(returned <= 1000, "played {returned} ms after the return");
    }
}

#[test]
fn the_receiver_is_killed_and_returns() {
    let stage = Stage::new();
    let source = phrase(48_000, 2, 30.0);
    let path = stage.recording("source", &source);
    let mut pair = Pair::start(&stage.tools, &stage.world, &options(path)).expect("a pair");
    pair.wait_live(LIVE).expect("live");
    for round in 0..repetitions("AUDIOCLOUD_KILLS", 3) {
        pair.receive.kill().expect("killed");
        let name = format!("receive-{round}");
        pair.receive = pair.world.rig(&stage.tools, &name, &pair.options.receive).expect("a rig");
        let back_ns = ready_ns(&mut pair.receive);
        pair.world.wait_status(&stage.tools, LIVE, "live again", is_live).expect("live again");
        pair.receive.command("run-on 0.4").expect("told");
        pair.receive.wait("ran-on", START).expect("ran on");
        let fresh = pair.world.rig(&stage.tools, "idle", &pair.options.receive).expect("a rig");
        let run = std::mem::replace(&mut pair.receive, fresh).finish().expect("a run");
        let returned = returned_ms(&run, back_ns);
        println!("round {round}: back after {returned} ms");
        assert!(returned <= 1000, "played {returned} ms after the return");
        assert!(pair.send.ended().expect("told").is_none(), "Send died: {}", pair.send.errors());
        pair.receive.wait("ready", START).expect("ready");
    }
    // A Receive that is gone is no subscriber after a while, and Send's callbacks never noticed.
    pair.receive.kill().expect("killed");
    let none = |status: &serde_json::Value| {
        let publications = audiocloud_rig::session::publications(status);
        publications.into_iter().any(|entry| entry["subscribers"] == 0).then_some(())
    };
    pair.world
        .wait_status(&stage.tools, Duration::from_secs(30), "without subscribers", none)
        .expect("counted");
    let run = pair.send.finish().expect("Send lives");
    assert_eq!(run.report.process_errors, 0);
    assert_eq!(run.report.heap_operations.unwrap_or(0), 0, "{:#?}", run.report);
    assert!(analysis::compare(&source.cut(1.0), &run.output).bit_exact, "Send passes its input through");
}
