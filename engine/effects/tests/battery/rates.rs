//! The same sound at any rate.

use audiocloud_effects::KINDS;

use crate::bed::{Dice, Player, RATES, Signal, decibels, rms};

/// Tones between 60 Hz and 6 kHz that are the same at any rate, for 0.3 s.
fn chord(rate: u32, seed: u64) -> Signal {
    let mut dice = Dice(seed);
    let tones: Vec<(f64, f64)> = (0..16)
        .map(|_| {
            (60.0 * 100_f64.powf(f64::from(dice.share())), std::f64::consts::TAU * f64::from(dice.share()))
        })
        .collect();
    let frames = rate * 3 / 10;
    let line: Vec<f32> = (0..frames)
        .map(|frame| {
            let time = f64::from(frame) / f64::from(rate);
            let sum: f64 =
                tones.iter().map(|(hz, phase)| (std::f64::consts::TAU * hz * time + phase).sin()).sum();
            (0.08 * sum) as f32
        })
        .collect();
    vec![line; 2]
}

#[test]
fn levels_are_the_same_at_any_rate() {
    let chords: Vec<(u32, Signal)> = RATES.into_iter().map(|rate| (rate, chord(rate, 5))).collect();
    for kind in KINDS {
        let level = |rate: u32, chord: &Signal| {
            let mut player = Player::new(kind, rate, 2, &kind.defaults());
            let played = player.play(chord);
            assert!(played.iter().flatten().all(|sample| sample.is_finite()));
            decibels(rms(&played[0]))
        };
        let expected = level(chords[1].0, &chords[1].1);
        for (rate, chord) in &chords {
            let error = level(*rate, chord) - expected;
            assert!(error.abs() < 0.3, "{} at {rate} Hz: {error} dB", kind.id);
        }
    }
}
