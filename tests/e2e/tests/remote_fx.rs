//! Remote FX: what a node plays comes back *D* frames later, the same bits as *Run here*.

use std::time::Duration;

use audiocloud_e2e::{
    Stage, recording,
    remote_fx::{FxNode, chain, delay_frames, launch, options, play, wait_report},
    seconds,
};
use audiocloud_rig::{
    audio::Audio,
    process::{Options, Pace, Run},
};
use serde_json::Value;

const EFFECTS: [&str; 3] = ["eq", "compressor", "reverb"];

fn with_input(stage: &Stage, source: &Audio, mut options: Options) -> Options {
    options.input = Some(stage.recording("source", source));
    options.fifo = Some(70);
    options
}

fn here(mut options: Options) -> Options {
    options.parameters.push(("Run here".into(), "On".into()));
    options
}

/// The frames that are not the same bits, of how many.
fn differences(one: &Audio, two: &Audio) -> (usize, usize) {
    let frames = one.frames().min(two.frames());
    let differs = |frame: &usize| {
        one.channels.iter().zip(&two.channels).any(|(a, b)| a[*frame].to_bits() != b[*frame].to_bits())
    };
    ((0..frames).filter(differs).count(), frames)
}

#[track_caller]
fn assert_calm(run: &Run) {
    let report = &run.report;
    assert_eq!((report.process_errors, report.not_finite), (0, 0), "{report:#?}");
    assert_eq!(report.heap_operations.unwrap_or(0), 0, "the heap in process: {report:#?}");
}

#[track_caller]
fn figure(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

#[test]
fn a_node_gives_back_what_run_here_gives_bit_for_bit_at_exactly_d() {
    let length = f64::from(audiocloud_e2e::repetitions("AUDIOCLOUD_REMOTE_FX_SECONDS", 6));
    for block in [64, 128] {
        let stage = Stage::new();
        let source = recording("strings-48k.wav", 48_000, 2, length);
        let wanted = with_input(&stage, &source, options(&chain(&EFFECTS), block));
        let rig = launch(&stage, "here", &here(wanted.clone()), delay_frames(block), false);
        let (run, expected, report) = play(&stage, rig, seconds(&source));
        assert_calm(&run);
        assert_eq!(report.expect("a report")["source"], "here");

        let node = FxNode::new(&stage);
        let rig = launch(&stage, "there", &wanted, delay_frames(block), true);
        let (run, heard, report) = play(&stage, rig, seconds(&source));
        let report = report.expect("a report");
        assert_calm(&run);
        let delay = delay_frames(block);
        assert_eq!((figure(&report, "delay_frames"), run.report.latency_frames), (delay.into(), delay));
        let first =
            |audio: &Audio| (0..audio.frames()).find(|frame| audio.sounds_at(*frame)).expect("a sound");
        assert_eq!(first(&heard), first(&source) + usize::try_from(delay).unwrap(), "at exactly D");
        let (late, by_host) = (figure(&report, "late_callbacks"), figure(&report, "late_by_host"));
        let (different, frames) = differences(&expected, &heard);
        let figures = format!(
            "{block} frames, D {delay}: {different} of {frames} frames differ, late {late}, by host {by_host}, host stalls {} \
             (longest {:.1} ms), margin {} frames, round trip {} µs",
            run.report.stalls, run.report.stall_max_ms, report["margin_frames"], report["round_us"],
        );
        println!("{figures}");
        // A machine that stalls is no fault of ours, and what it made late is not there.
        assert!(different == 0 || (late > 0 && late == by_host), "{figures}\n{report:#}");
        drop(node);
    }
}

#[test]
fn an_offline_render_waits_and_is_exact() {
    let stage = Stage::new();
    let source = recording("strings-48k.wav", 48_000, 2, 4.0);
    let offline = |mut options: Options| {
        (options.offline, options.pace) = (true, Pace::Fast);
        options
    };
    let wanted = offline(with_input(&stage, &source, options(&chain(&["eq", "limiter", "reverb"]), 512)));
    let mut wanted = wanted;
    wanted.parameters = vec![("Network".into(), "10".into()), ("Head-room".into(), "8".into())];
    let delay = 2 * 512 + 480 + 384;
    let (_, expected, _) =
        play(&stage, launch(&stage, "here", &here(wanted.clone()), delay, false), seconds(&source));
    let _node = FxNode::new(&stage);
    // From the very first block on: the render waits for the node to be found.
    let mut rig = stage.world.rig(&stage.tools, "there", &Options { start: true, ..wanted }).expect("a rig");
    rig.wait("ready", Duration::from_secs(30)).expect("ready");
    let (run, heard, report) = play(&stage, rig, seconds(&source));
    let report = report.expect("a report");
    assert_eq!((run.report.process_errors, figure(&report, "given_up")), (0, 0), "{report:#}");
    assert_eq!(figure(&report, "late_callbacks") + figure(&report, "unanswered_callbacks"), 0, "{report:#}");
    let (different, frames) = differences(&expected, &heard);
    assert_eq!(different, 0, "of {frames} frames: {report:#}");
}

#[test]
fn without_a_node_the_window_says_so_and_the_track_is_heard_dry() {
    let stage = Stage::new();
    let source = recording("strings-48k.wav", 48_000, 2, 1.0);
    let wanted = with_input(&stage, &source, options(&chain(&EFFECTS), 128));
    let rig = launch(&stage, "alone", &wanted, delay_frames(128), false);
    let report = wait_report(&stage, "a search", |report| report["state"] == "searching");
    let sentence = report["sentence"].as_str().unwrap_or_default().to_owned();
    assert!(sentence.contains("dry meanwhile") && sentence.contains("audiocloud node"), "{sentence}");
    let (run, heard, _) = play(&stage, rig, seconds(&source));
    assert_calm(&run);
    let delay = 304;
    for frame in delay + 400..source.frames() {
        assert_eq!(heard.channels[0][frame], source.channels[0][frame - delay], "frame {frame}");
    }
}
