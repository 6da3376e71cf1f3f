//! The rig sees a plug-in that allocates in its callback, and nothing in one that does not.

use std::time::Duration;

use audiocloud_rig::{
    analysis, audio,
    process::{Block, Options, Pace, Run},
};

mod built;

fn run(id: &str, change: impl FnOnce(&mut Options)) -> (audio::Audio, Run) {
    let folder = tempfile::tempdir().expect("a folder");
    let source = audio::phrase(48_000, 2, 0.5);
    let input = folder.path().join("in.wav");
    audio::write_f32(&input, &source).expect("written");
    let mut options = Options::new(id);
    options.input = Some(input);
    options.seconds_max = 1.0;
    options.pace = Pace::Fast;
    // By itself: at this pace it may have ended before it could be told.
    options.start = true;
    change(&mut options);
    let mut rig = built::ready(folder.path(), &options);
    rig.wait("finished", Duration::from_secs(20)).expect("finished");
    (source, rig.finish().expect("a run"))
}

#[test]
fn a_plugin_that_allocates_is_caught() {
    let (_, run) = run("org.audiocloud.test.allocating", |_| {});
    assert_eq!(
        run.report.heap_operations,
        Some(2 * run.report.calls),
        "one allocation and one release a call"
    );
    assert_eq!(run.report.heap_at_frames.first(), Some(&0));
    assert!(run.log.records.iter().all(|record| record.heap_operations == 2));
}

#[test]
fn a_plugin_that_does_not_is_clean_and_its_output_is_exact() {
    let (source, run) = run("org.audiocloud.test.clean", |options| {
        options.block = Block::Random(1, 600, 3);
    });
    assert_eq!(run.report.heap_operations, Some(0));
    assert_eq!((run.report.process_errors, run.report.calls_unlogged), (0, 0));
    let result = analysis::compare(&source, &run.output);
    assert!(result.bit_exact, "{result:?}");
    assert_eq!(
        Some(result.offset_frames),
        run.report.input_from_frame.and_then(|from| i64::try_from(from).ok())
    );
    assert_eq!(run.output.frames(), 48_000);
}

#[test]
fn real_time_is_kept() {
    let (_, run) = run("org.audiocloud.test.clean", |options| options.pace = Pace::Realtime);
    let first = run.log.records.first().expect("a call");
    let last = run.log.records.last().expect("a call");
    let expected_ns = i64::try_from(last.first_frame).expect("small") * 1_000_000_000 / 48_000;
    let deviation_ms = (last.entered_ns - first.entered_ns - expected_ns) / 1_000_000;
    assert!(deviation_ms.abs() < 100, "{deviation_ms} ms off after a second");
}
