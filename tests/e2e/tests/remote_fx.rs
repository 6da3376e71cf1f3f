//! Remote FX: what a node plays comes back *D* frames later, the same bits as *Run here*.

use std::time::Duration;

use audiocloud_e2e::{
    Stage, recording,
    remote_fx::{
        FxNode, Played, chain, delay_frames, kept_with_slots, late::differing, launch, levels, options, play,
        wait_report,
    },
    seconds,
};
use audiocloud_rig::{
    audio::{Audio, seconds_to_frames},
    notes::{Body, NoteEvent},
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

/// The same chain in the host's own process, rendered as fast as it goes.
fn expected(stage: &Stage, wanted: &Options, delay: u32, seconds: f64) -> Audio {
    let mut wanted = here(wanted.clone());
    (wanted.offline, wanted.pace) = (true, Pace::Fast);
    let played = play(stage, launch(stage, "here", &wanted, delay, false), seconds);
    assert_calm(&played.run);
    assert_eq!(played.report["source"], "here");
    played.heard
}

/// The recording over and over, where it is to last longer than it is.
fn repeated(mut audio: Audio, seconds: f64) -> Audio {
    let frames = seconds_to_frames(seconds, audio.sample_rate);
    for channel in &mut audio.channels {
        *channel = channel.iter().copied().cycle().take(frames).collect();
    }
    audio
}

fn first_sound(audio: &Audio) -> usize {
    (0..audio.frames()).find(|frame| audio.sounds_at(*frame)).expect("a sound")
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
fn run_here_gives_the_same_bits_in_real_time_and_as_fast_as_it_goes() {
    let stage = Stage::new();
    let source = recording("strings-48k.wav", 48_000, 2, 3.0);
    let wanted = with_input(&stage, &source, options(&chain(&EFFECTS), 64));
    let fast = expected(&stage, &wanted, delay_frames(64), seconds(&source));
    let rig = launch(&stage, "in-time", &here(wanted), delay_frames(64), false);
    let played = play(&stage, rig, seconds(&source));
    assert_eq!(differing(&played.heard, &fast).len(), 0, "not the same bits");
    assert_eq!(first_sound(&fast), first_sound(&source) + 176, "at exactly D");
}

/// The recording through a node, with so many ms for the network, and what *Run here* gives: for as many seconds as
/// `AUDIOCLOUD_REMOTE_FX_SECONDS` says.
fn there_and_here(block: u32, network_ms: u32) -> (Played, Audio) {
    let length = f64::from(audiocloud_e2e::repetitions("AUDIOCLOUD_REMOTE_FX_SECONDS", 6));
    let stage = Stage::new();
    let source = repeated(recording("strings-48k.wav", 48_000, 2, length), length);
    let mut wanted = with_input(&stage, &source, options(&chain(&EFFECTS), block));
    wanted.seconds_max = length + 60.0;
    wanted.parameters[0].1 = network_ms.to_string();
    let delay = 2 * block + 48 * network_ms;
    let expected = expected(&stage, &wanted, delay, seconds(&source));
    let _node = FxNode::new(&stage);
    let played = play(&stage, launch(&stage, "there", &wanted, delay, true), seconds(&source));
    let Played { run, heard, .. } = &played;
    assert_calm(run);
    assert_eq!((played.figure("delay_frames"), run.report.latency_frames), (delay.into(), Some(delay)));
    let at = first_sound(&source) + usize::try_from(delay).expect("an index");
    assert_eq!(first_sound(heard), at, "at exactly D");
    (played, expected)
}

#[test]
fn a_node_gives_back_what_run_here_gives_bit_for_bit_at_exactly_d() {
    for block in [64, 128] {
        let (played, expected) = there_and_here(block, 1);
        let Played { run, report, .. } = &played;
        let verdict = played.verdict(&expected);
        println!(
            "{:.0} s of {block} frames, D {}: {verdict}; late by host {}, its stalls {} (longest {:.1} ms), \
             margin {} frames, round trip {} µs",
            seconds(&expected),
            delay_frames(block),
            report["late_by_host"],
            run.report.stalls,
            run.report.stall_max_ms,
            report["margin_frames"],
            report["round_us"],
        );
        verdict.assert_good();
    }
}

/// The same with a delay that outlasts a machine's stalls: then every frame is judged.
#[test]
fn with_time_for_stalls_every_frame_is_the_same() {
    for block in [64, 128] {
        let (played, expected) = there_and_here(block, 200);
        let different = differing(&played.heard, &expected).len();
        let frames = expected.frames();
        println!(
            "{block} frames, D {}: {different} of {frames} frames differ, {} callbacks late",
            2 * block + 9_600,
            played.late
        );
        assert_eq!((different, played.late), (0, 0), "{:#}", played.report);
    }
}

#[test]
fn an_offline_render_waits_and_is_exact() {
    let stage = Stage::new();
    let source = recording("strings-48k.wav", 48_000, 2, 4.0);
    let mut wanted = with_input(&stage, &source, options(&chain(&["eq", "limiter", "reverb"]), 512));
    (wanted.offline, wanted.pace) = (true, Pace::Fast);
    wanted.parameters = vec![("Network".into(), "10".into()), ("Head-room".into(), "8".into())];
    let delay = 2 * 512 + 480 + 384;
    let expected = expected(&stage, &wanted, delay, seconds(&source));
    let _node = FxNode::new(&stage);
    let played = play(&stage, launch(&stage, "there", &wanted, delay, true), seconds(&source));
    let Played { run, heard, report, .. } = &played;
    assert_eq!((run.report.process_errors, played.figure("given_up"), played.late), (0, 0, 0), "{report:#}");
    assert_eq!(differing(heard, &expected).len(), 0, "not the same bits: {report:#}");
}

/// Xorshift; the seed is fixed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn automated(
    stage: &Stage,
    mut options: Options,
    (chain, slots): &(Value, Value),
    moves: &[NoteEvent],
) -> Options {
    options.fields = vec![("chain".into(), kept_with_slots(chain, slots))];
    let path = stage.path("moves.json");
    std::fs::write(&path, serde_json::to_vec(moves).expect("JSON")).expect("written");
    options.notes = Some(path);
    options
}

fn slot_moves(slot: u64, frame: u64, value: f64) -> NoteEvent {
    NoteEvent {
        frame,
        body: Body::Parameter { id: Body::parameter_id(&format!("slot_{}", slot + 1)), value },
    }
}

#[test]
fn sixty_four_slots_move_at_their_frames() {
    let stage = Stage::new();
    let source = recording("strings-48k.wav", 48_000, 2, 3.0);
    let wanted = with_input(&stage, &source, options(&chain(&[]), 128));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut moves: Vec<NoteEvent> = (0..1_500)
        .map(|index| {
            #[allow(clippy::cast_precision_loss, reason = "below a thousand")]
            let value = random.below(1_000) as f64 / 1_000.0;
            slot_moves(index % 64, 100 + random.below(130_000), value)
        })
        .collect();
    moves.sort_by_key(|event| event.frame);
    let levels = levels(8, 8, -18.0, (-60.0, -15.0));
    let wanted = automated(&stage, wanted, &levels, &moves);
    let expected = expected(&stage, &wanted, delay_frames(128), seconds(&source));
    let _node = FxNode::new(&stage);
    let played = play(&stage, launch(&stage, "there", &wanted, delay_frames(128), true), seconds(&source));
    let run = &played.run;
    assert_calm(run);
    let verdict = played.verdict(&expected);
    println!("64 slots: {verdict}");
    verdict.assert_good();
    assert!(expected.channels[0].iter().any(|sample| sample.abs() > 1e-6), "it is heard");
    let field = run.state["fields"]["chain"].as_str().expect("the field");
    let kept: Value = serde_json::from_str(field).expect("its document");
    let position = kept["positions"][63].as_f64().expect("a position");
    let last = moves
        .iter()
        .rev()
        .find(|event| *event == &slot_moves(63, event.frame, value_of(event)))
        .expect("a move");
    assert!((position - value_of(last)).abs() < 1e-6, "the project follows the host: {position}");
}

fn value_of(event: &NoteEvent) -> f64 {
    match event.body {
        Body::Parameter { value, .. } => value,
        _ => f64::NAN,
    }
}

#[test]
fn a_ramp_is_heard_at_its_frame_along_its_curve() {
    let stage = Stage::new();
    let tone = Audio { sample_rate: 48_000, channels: vec![vec![0.5; 48_000]; 2] };
    let wanted = with_input(&stage, &tone, options(&chain(&[]), 128));
    // From 0 dB to -6 dB at frame 20,011, and to silence at 30,000.
    let moves = [slot_moves(0, 20_011, 90.0 / 120.0), slot_moves(0, 30_000, 0.0)];
    let mut wanted = automated(&stage, wanted, &levels(1, 1, 0.0, (-96.0, 24.0)), &moves);
    // Time enough for a machine that stalls: nothing is to be late here.
    wanted.parameters[0].1 = "50".into();
    let late_by = 2 * 128 + 2_400;
    let _node = FxNode::new(&stage);
    let Played { heard, report, .. } = play(&stage, launch(&stage, "there", &wanted, late_by, true), 1.0);
    let six = 10_f64.powf(-6.0 / 20.0);
    // A glide of 20 ms along a line, from the event's frame on.
    let glide = |frame: usize, from: f64, to: f64| from + (to - from) * (frame.min(960) as f64 / 960.0);
    let gain = |frame: usize| match frame {
        0..20_011 => 1.0,
        20_011..30_000 => glide(frame - 20_011, 1.0, six),
        _ => glide(frame - 30_000, six, 0.0),
    };
    let delay = usize::try_from(late_by).expect("an index");
    let worst = (0..47_000)
        .map(|frame| (f64::from(heard.channels[0][frame + delay]) - 0.5 * gain(frame)).abs())
        .fold(0.0, f64::max);
    assert!(worst < 3e-6, "off by {worst}: {report:#}");
}

/// The steepest kink of a span: the third difference, which for a low tone is next to nothing.
fn kink(heard: &[f32]) -> (f64, usize) {
    let at = |index: usize| f64::from(heard[index]);
    (3..heard.len())
        .map(|index| ((at(index) - 3.0 * at(index - 1) + 3.0 * at(index - 2) - at(index - 3)).abs(), index))
        .fold((0.0, 0), |worst, one| if one.0 > worst.0 { one } else { worst })
}

#[test]
fn a_node_that_is_killed_leaves_the_policy_without_a_seam_and_comes_back() {
    let kills = audiocloud_e2e::repetitions("AUDIOCLOUD_REMOTE_FX_KILLS", 3);
    let stage = Stage::new();
    let tone = |frame: u32| {
        let phase = f64::from(frame) * 110.0 / 48_000.0 * std::f64::consts::TAU;
        #[allow(clippy::cast_possible_truncation, reason = "a sample")]
        let sample = (0.5 * phase.sin()) as f32;
        sample
    };
    let length = 48_000 * 4 * (kills + 1);
    let source = Audio { sample_rate: 48_000, channels: vec![(0..length).map(tone).collect(); 2] };
    // What the node plays is half as loud, so that everybody hears who plays.
    let (half, slots) = levels(1, 1, -6.0, (-96.0, 24.0));
    let mut wanted = with_input(&stage, &source, options(&half, 128));
    wanted.fields = vec![("chain".into(), kept_with_slots(&half, &slots))];
    let mut node = FxNode::new(&stage);
    let rig = launch(&stage, "there", &wanted, delay_frames(128), true);
    let mut last = Value::Null;
    for kill in 0..kills {
        wait_report(&stage, "on the node", |report| {
            report["source"] == "node" && report["answering"] == true
        });
        std::thread::sleep(Duration::from_millis(400 + 137 * u64::from(kill % 3)));
        node.kill();
        wait_report(&stage, "dry", |report| report["source"] == "dry");
        node.start(&stage);
        last = wait_report(&stage, "on the node again", |report| {
            report["state"] == "live" && report["source"] == "node"
        });
    }
    let Played { run, heard, .. } = play(&stage, rig, seconds(&source));
    assert_calm(&run);
    // Answers may come after they are due, as a machine stands still; answers to nothing that was asked may not.
    assert_eq!(figure(&last, "strange_frames"), 0, "{last:#}");
    let delay = usize::try_from(delay_frames(128)).expect("an index");
    let (worst, at) = kink(&heard.channels[0][delay + 3..source.frames()]);
    let worst_db = 20.0 * worst.log10();
    println!(
        "{kills} kills: the worst discontinuity has {worst_db:.1} dBFS, at frame {at}; callbacks late {}, unanswered {}, \
         frames that came late {}, host stalls {} (longest {:.1} ms)",
        last["late_callbacks"],
        last["unanswered_callbacks"],
        last["came_late_frames"],
        run.report.stalls,
        run.report.stall_max_ms,
    );
    assert!(worst_db < -60.0, "{worst_db:.1} dBFS at frame {at}: {last:#}");
    // Each sample is the node's, the track's, or between the two; a gap of the fill is short.
    let level = |frame: usize| heard.channels[0][frame + delay] / source.channels[0][frame];
    let strays = (4_800..source.frames() - delay)
        .filter(|frame| source.channels[0][*frame].abs() > 0.1)
        .filter(|frame| !(0.45..1.05).contains(&level(*frame)))
        .count();
    assert!(strays < 48 * 20 * kills as usize, "{strays} frames are neither");
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
    let Played { run, heard, .. } = play(&stage, rig, seconds(&source));
    assert_calm(&run);
    let delay = 304;
    for frame in delay + 400..source.frames() {
        assert_eq!(heard.channels[0][frame], source.channels[0][frame - delay], "frame {frame}");
    }
}
