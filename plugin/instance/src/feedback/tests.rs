//! A studio in miniature: a Send, a Receive, the delay between them, and a wire back, or none.

#![allow(clippy::cast_possible_truncation, reason = "test signals in single precision")]

use super::*;

const HZ: u32 = 48_000;

struct Studio {
    block: usize,
    /// From the Send's input to the Receive's output, frames.
    delay: usize,
    /// From the Receive's output to the Send's input; 0 is no wire.
    wire: f32,
    /// Blocks between the Receive's output and the Send's input.
    later: usize,
}

struct Outcome {
    /// When the loop was found, ms.
    found_ms: Option<u64>,
    /// Frames of the Receive's output that were not as the stream had them.
    touched: usize,
    /// Loudest sample of the Send's input in the last 100 ms.
    end_peak: f32,
}

impl Studio {
    fn run(&self, seconds: usize, mut own: impl FnMut(usize) -> f32) -> Outcome {
        let stream = StreamRef { publisher: crate::time::random(), stream: 1 };
        let mut listener = Listener::new(Meeting::of(stream), HZ, u32::try_from(self.block).unwrap());
        let mut player = Player::new(Meeting::of(stream), HZ).unwrap();
        let mut line = std::collections::VecDeque::from(vec![0.0_f32; self.delay - self.delay % self.block]);
        let mut returned = std::collections::VecDeque::from(vec![vec![0.0_f32; self.block]; self.later]);
        let mut outcome = Outcome { found_ms: None, touched: 0, end_peak: 0.0 };
        let total = seconds * 48_000 / self.block;
        for block in 0..total {
            let before: Vec<f32> = line.drain(..self.block).collect();
            let mut output = [before.clone(), before.iter().map(|sample| -sample).collect()];
            player.play(&mut output);
            outcome.touched +=
                before.iter().zip(&output[0]).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            returned.push_back(output[0].clone());
            let back = returned.pop_front().unwrap();
            let input: Vec<f32> = (0..self.block)
                .map(|index| (own(block * self.block + index) + self.wire * back[index]).clamp(-4.0, 4.0))
                .collect();
            listener.hear(&[&input, &input.iter().map(|sample| -sample).collect::<Vec<_>>()]);
            line.extend(&input);
            if player.is_looped() && outcome.found_ms.is_none() {
                outcome.found_ms = Some((block * self.block / 48) as u64);
            }
            if block * self.block > total * self.block - 4_800 {
                outcome.end_peak = input.iter().fold(outcome.end_peak, |peak, sample| peak.max(sample.abs()));
            }
        }
        outcome
    }
}

fn noise(seed: u32) -> impl FnMut(usize) -> f32 {
    let mut state = seed;
    move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f64::from(state) / f64::from(u32::MAX) - 0.5) as f32 * 0.2
    }
}

/// Notes of a few partials, a new pitch every quarter of a second.
fn music(frame: usize) -> f32 {
    let note = frame / 12_000;
    let hz = 110.0 * 2_f64.powf(((note * 7) % 24) as f64 / 12.0);
    let (time, since) = (frame as f64 / 48_000.0, (frame % 12_000) as f64 / 48_000.0);
    let partial = |n: f64| (time * hz * n * std::f64::consts::TAU).sin() / n;
    ((-6.0 * since).exp() * (1..=8).map(|n| partial(f64::from(n) * 1.0003)).sum::<f64>()) as f32 * 0.1
}

fn sine(frame: usize) -> f32 {
    (frame as f32 * 1_000.0 / 48_000.0 * std::f32::consts::TAU).sin() * 0.25
}

#[test]
fn a_loop_is_found_and_broken() {
    for (block, delay, wire, later) in [
        (128, 512, 1.0, 0),
        (128, 512, 1.0, 1),
        (64, 480, 0.9, 0),
        (480, 960, 1.0, 2),
        (1_024, 2_048, 1.0, 0),
        (128, 512, 0.7, 0),
    ] {
        let studio = Studio { block, delay, wire, later };
        for (name, outcome) in [("noise", studio.run(8, noise(7))), ("music", studio.run(8, music))] {
            let found = outcome.found_ms.unwrap_or(u64::MAX);
            assert!(
                found < if wire < 0.8 { 8_000 } else { 2_000 },
                "{name} {block} {delay} {wire} {later}: {found} ms"
            );
            assert!(outcome.end_peak < 1.0, "{name} {block}: {}", outcome.end_peak);
        }
    }
}

#[test]
fn what_only_looks_alike_is_no_loop() {
    let monitored = Studio { block: 128, delay: 512, wire: 0.0, later: 0 };
    let saw = |frame: usize| (frame % 96) as f32 / 96.0 - 0.5;
    assert!(monitored.run(20, sine).found_ms.is_none());
    assert!(monitored.run(20, saw).found_ms.is_none());
    assert!(monitored.run(20, music).found_ms.is_none());
    assert!(monitored.run(20, noise(3)).found_ms.is_none());
    assert!(Studio { delay: 480, block: 48, ..monitored }.run(10, sine).found_ms.is_none());
}

#[test]
fn music_that_is_only_monitored_is_not_touched() {
    let monitored = Studio { block: 128, delay: 512, wire: 0.0, later: 0 };
    assert_eq!(monitored.run(20, music).touched, 0);
    assert_eq!(monitored.run(20, noise(5)).touched, 0);
    assert_eq!(monitored.run(5, |_| 0.0).touched, 0);
}

#[test]
fn a_place_is_free_again() {
    let stream = StreamRef { publisher: crate::time::random(), stream: 1 };
    let meeting = Meeting::of(stream);
    let mut players: Vec<_> = (0..MARKS).map(|_| Player::new(meeting.clone(), HZ).unwrap()).collect();
    assert!(Player::new(meeting.clone(), HZ).is_none());
    players.pop();
    assert!(Player::new(Meeting::of(stream), HZ).is_some());
    drop(players);
    assert!(!meeting.is_looped());
}
