//! MIDI clock and time code at a JACK server, heard by JACK's own monitor.
//!
//! The server plays to nobody (`jackd -d dummy`), with periods of 1,024 frames: 21 ms. Messages that were not placed at their
//! frames would be that far from where they belong.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audiocloud_e2e::beat::Beat;
use audiocloud_e2e::jack::{Jack, until};
use audiocloud_rig::{
    clock::now_ns,
    processors::{Processors, Stall},
};

const RATE_HZ: f64 = 48_000.0;
/// Of the server.
const PERIOD_FRAMES: u32 = 1_024;
const BPM: f64 = 120.0;
/// Clocks a second.
const CLOCKS_HZ: f64 = BPM / 60.0 * 24.0;
const FRAMES_HZ: f64 = 25.0;
/// A processor that wakes later than this has stood still.
const STALL: Duration = Duration::from_millis(2);
/// From the end of a stall until what is read has nothing to do with it: the server follows its own clock that slowly.
const AFTER_A_STALL_US: f64 = 1e6;

/// A message, the frame that it came with, and when its line was read.
#[derive(Clone, Debug)]
struct Heard {
    frame: f64,
    bytes: Vec<u8>,
    read: Instant,
}

/// What JACK's monitor hears, in order.
struct Monitor(Arc<Mutex<Vec<Heard>>>);

impl Monitor {
    fn start(jack: &mut Jack) -> Self {
        let mut monitor = jack.command("stdbuf");
        monitor.args(["-oL", "jack_midi_dump", "-a", "monitor"]).stdout(Stdio::piped());
        let output = jack.spawn(&mut monitor).expect("jack_midi_dump belongs to jackd").expect("piped");
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let ours = Arc::clone(&heard);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let read = Instant::now();
                heard.lock().expect("no panic").extend(parse(&line, read));
            }
        });
        Self(ours)
    }

    fn heard(&self) -> Vec<Heard> {
        self.0.lock().expect("no panic").clone()
    }

    /// The first message of this status.
    fn first(&self, wanted: u8) -> Option<usize> {
        self.heard().iter().position(|heard| heard.bytes.first() == Some(&wanted))
    }
}

/// `  43280: f2 7f 00 song position…`: the frame and the bytes.
fn parse(line: &str, read: Instant) -> Option<Heard> {
    let (frame, rest) = line.split_once(':')?;
    let is_byte = |word: &&str| word.len() == 2;
    let bytes = rest.split_whitespace().take_while(is_byte);
    let bytes: Vec<u8> = bytes.map_while(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    Some(Heard { frame: frame.trim().parse().ok()?, bytes, read })
}

/// The middle of them.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The 99th percentile, in ms, of how far those of the instants (in seconds) that are judged are from a grid: the grid's
/// phase being the median of the second around each, for the server's clock may be another than ours.
fn jitter_ms(instants: &[f64], is_judged: &[bool], hz: f64) -> f64 {
    let phases: Vec<f64> = instants.iter().enumerate().map(|(index, at)| at - index as f64 / hz).collect();
    let around = 24;
    let error = |index: usize| {
        let from = index.saturating_sub(around);
        let to = (index + around).min(phases.len());
        (phases[index] - median(&phases[from..to])).abs()
    };
    let mut errors: Vec<f64> = (0..phases.len()).filter(|index| is_judged[*index]).map(error).collect();
    errors.sort_by(f64::total_cmp);
    errors.get(errors.len() * 99 / 100).copied().unwrap_or(0.0) * 1e3
}

/// Those that were read while no processor stood still, nor just after one had: a message is late by the machine's fault
/// then. All, where nobody may watch the processors.
fn undisturbed(clocks: &[&Heard], processors: Processors) -> Vec<bool> {
    let (now_us, now) = (now_ns() / 1000, Instant::now());
    let stalls = processors.finish().unwrap_or_default();
    let is_undisturbed = |clock: &&Heard| {
        #[allow(clippy::cast_precision_loss, reason = "less than 285 years in microseconds")]
        let read_us = now_us as f64 - (now - clock.read).as_secs_f64() * 1e6;
        let is_near = |stall: &Stall| (stall.from_us..stall.to_us + AFTER_A_STALL_US).contains(&read_us);
        !stalls.iter().any(is_near)
    };
    clocks.iter().map(is_undisturbed).collect()
}

/// Labels of the time code, in seconds, each with the instant of its first piece: eight quarter frames in order.
fn labels(heard: &[Heard]) -> Vec<(f64, f64)> {
    let mut labels = Vec::new();
    let mut pieces: Vec<(u8, f64)> = Vec::new();
    for message in heard {
        let [0xf1, data] = message.bytes[..] else { continue };
        if usize::from(data >> 4) != pieces.len() {
            pieces.clear();
        }
        if usize::from(data >> 4) == pieces.len() {
            pieces.push((data & 15, message.frame / RATE_HZ));
        }
        if pieces.len() == 8 {
            let digit = |index: usize, mask: u8| f64::from(pieces[index].0 & mask);
            let two = |low: usize, mask: u8| digit(low, 15) + 16.0 * digit(low + 1, mask);
            assert_eq!(pieces[7].0 >> 1 & 3, 1, "25 frames a second");
            let seconds = (two(6, 1) * 60.0 + two(4, 3)) * 60.0 + two(2, 3);
            labels.push((seconds + two(0, 1) / FRAMES_HZ, pieces[0].1));
            pieces.clear();
        }
    }
    labels
}

/// Ten minutes with `AUDIOCLOUD_SLOW` set, as `cargo xtask test --slow` does.
fn length() -> Duration {
    let is_slow = std::env::var_os("AUDIOCLOUD_SLOW").is_some();
    Duration::from_secs(if is_slow { 600 } else { 6 })
}

#[test]
fn clocks_and_time_code_are_on_the_beat_at_a_jack_peer() {
    let Some(mut jack) = Jack::start(PERIOD_FRAMES) else { return };
    let monitor = Monitor::start(&mut jack);
    let mut beat = Beat::start(&["--midi", "--timecode", "25"], &[("JACK_DEFAULT_SERVER", &jack.server)]);
    until("the port", || jack.succeeds("jack_connect", &["audiocloud:clock", "monitor:input"]));
    // At rest it sends clocks, too.
    beat.edit("stop 0 120");
    until("a clock", || monitor.first(0xf8).is_some());
    let processors = Processors::watch(STALL).expect("watchers");
    let begins = beat.edit("play 0 120");
    std::thread::sleep(length());
    let status = beat.status();
    beat.edit("stop 0 120");
    until("the stop", || monitor.first(0xfc).is_some());
    let all = monitor.heard();
    drop(beat);

    let start = monitor.first(0xfa).unwrap_or_else(|| panic!("no start: {status}"));
    let stop = monitor.first(0xfc).expect("there is one");
    let song = &all[start..stop];
    let clocks: Vec<&Heard> = song.iter().filter(|heard| heard.bytes == [0xf8]).collect();
    let frames: Vec<f64> = clocks.iter().map(|clock| clock.frame / RATE_HZ).collect();
    let expected = (length() + Duration::from_millis(300)).as_secs_f64() * CLOCKS_HZ;
    assert!((frames.len() as f64 - expected).abs() < CLOCKS_HZ, "{} clocks: {status}", frames.len());
    let is_judged = undisturbed(&clocks, processors);
    let jitter = jitter_ms(&frames, &is_judged, CLOCKS_HZ);
    let judged = is_judged.iter().filter(|judged| **judged).count();
    println!("{} clocks, of {judged} outside of host stalls jitter {jitter:.3} ms (p99)", frames.len());
    assert!(jitter < 1.0, "{jitter} ms: {status}");

    // When they are read is later by what the server and the monitor take, which does not become more.
    let late: Vec<f64> = clocks
        .iter()
        .enumerate()
        .map(|(index, clock)| {
            clock.read.saturating_duration_since(begins).as_secs_f64() - index as f64 / CLOCKS_HZ
        })
        .collect();
    let part = late.len() / 4;
    let (early, end) = (median(&late[..part]), median(&late[late.len() - part..]));
    println!("read {:.3} ms late at first, {:.3} ms at the end", early * 1e3, end * 1e3);
    // A stall may cost the server a period.
    let most = if judged == frames.len() { 0.004 } else { f64::from(PERIOD_FRAMES) / RATE_HZ };
    assert!((end - early).abs() < most, "drift of {} ms: {status}", (end - early) * 1e3);

    // Time code and clock are one song: zero is where the first clock is.
    let labels = labels(song);
    assert!(labels.len() as f64 > length().as_secs_f64() * FRAMES_HZ / 2.0 - 10.0, "{} labels", labels.len());
    let mut errors: Vec<f64> = labels.iter().map(|(song, at)| (at - frames[0] - song).abs()).collect();
    errors.sort_by(f64::total_cmp);
    println!("{} labels, time code within {:.3} ms (median)", labels.len(), errors[errors.len() / 2] * 1e3);
    // The server's own clock may jump in the middle, but not for most of the time.
    if length() < Duration::from_secs(60) {
        assert!(errors[errors.len() / 2] < 0.001, "{errors:?}");
    }
}
