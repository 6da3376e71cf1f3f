use std::f64::consts::TAU;

use audiocloud_dsp::biquad::Shape;
use audiocloud_dsp::svf::{self, Prototype};

use super::*;
use crate::stage::Stage;

/// An octave of an impulse response: a band-pass of fourth order, twice a biquad's.
fn octave(samples: &[f32], centre_hz: f64) -> Vec<f64> {
    let band = Prototype::new(Shape::BandPassPeak, 2.0, 0.0, 48_000.0).at(centre_hz);
    let (mut first, mut second) = (svf::State::default(), svf::State::default());
    samples.iter().map(|x| f64::from(band.step(&mut second, band.step(&mut first, *x)))).collect()
}

/// The time in which a response falls by 60 dB: by Schroeder's backward integration, from the slope between −5 and −35 dB
/// (ISO 3382's T30).
fn reverberation_s(response: &[f64]) -> f64 {
    let mut energies: Vec<f64> = response
        .iter()
        .rev()
        .scan(0.0, |sum, x| {
            *sum += x * x;
            Some(*sum)
        })
        .collect();
    energies.reverse();
    let (mut n, mut time, mut level, mut time_2, mut both) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (frame, energy) in energies.iter().enumerate() {
        let db = 10.0 * (energy / energies[0]).log10();
        if (-35.0..=-5.0).contains(&db) {
            let seconds = frame as f64 / 48_000.0;
            n += 1.0;
            time += seconds;
            level += db;
            time_2 += seconds * seconds;
            both += seconds * db;
        }
    }
    -60.0 * (n * time_2 - time * time) / (n * both - time * level)
}

fn response(values: &[(&str, f32)], seconds: usize) -> Vec<f32> {
    let mut stage = Stage::new(&REVERB, 48_000, 2);
    stage.set(&[("Mix", 100.0), ("Early", 0.0)]);
    stage.set(values);
    let mut input = [vec![0.0; 48_000 * seconds], vec![0.0; 48_000 * seconds]];
    input[0][0] = 1.0;
    input[1][0] = 1.0;
    stage.play(&input).remove(0)
}

#[test]
fn each_band_decays_in_its_own_time() {
    let check = |decay_s: f32, low: f32, high: f32, motion: f32, size: f32| {
        let values = [
            ("Decay", decay_s),
            ("Low decay", low),
            ("High decay", high),
            ("Low below", 350.0),
            ("High above", 3000.0),
            ("Motion", motion),
            ("Size", size),
        ];
        // T30 needs no more of it than what falls by 40 dB in the slowest band.
        let found = response(&values, 2);
        for (centre_hz, expected) in
            [(63.0, decay_s * low / 100.0), (1000.0, decay_s), (12_000.0, decay_s * high / 100.0)]
        {
            let seconds = reverberation_s(&octave(&found, centre_hz));
            let error = seconds / f64::from(expected) - 1.0;
            assert!(error.abs() < 0.06, "{values:?}, {centre_hz} Hz: {seconds:.3} s for {expected}");
        }
    };
    check(1.5, 100.0, 100.0, 40.0, 100.0);
    check(1.0, 180.0, 50.0, 40.0, 100.0);
    check(1.2, 60.0, 60.0, 100.0, 60.0);
    check(1.6, 120.0, 45.0, 0.0, 150.0);
}

#[test]
fn steady_noise_is_as_loud_as_it_was() {
    for (decay_s, channels) in [(0.5, 2), (2.0, 2), (2.0, 1)] {
        let mut stage = Stage::new(&REVERB, 48_000, channels);
        stage.set(&[
            ("Mix", 100.0),
            ("Early", 0.0),
            ("Decay", decay_s),
            ("Low decay", 100.0),
            ("High decay", 100.0),
        ]);
        let mut white = audiocloud_dsp::noise::White::new(5);
        let input: Vec<Vec<f32>> = (0..channels)
            .map(|_| {
                let mut samples = vec![0.0; 48_000 * 4];
                white.fill(&mut samples);
                samples
            })
            .collect();
        let output = stage.play(&input);
        let power = |samples: &[f32]| samples[96_000..].iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let level_db = 10.0 * (power(&output[0]) / power(&input[0])).log10();
        assert!(level_db.abs() < 1.5, "{decay_s} s, {channels} channels: {level_db} dB");
    }
}

#[test]
fn first_reflections_come_when_they_should() {
    let mut stage = Stage::new(&REVERB, 48_000, 2);
    stage.set(&[("Mix", 100.0), ("Early", 100.0), ("Pre-delay", 20.0), ("Size", 50.0)]);
    let mut input = [vec![0.0; 4_800], vec![0.0; 4_800]];
    input[0][0] = 1.0;
    let output = stage.play(&input);
    let loudest = output[0][..1_240]
        .iter()
        .enumerate()
        .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
        .map(|(frame, _)| frame);
    // 20 ms, and half of 7.3 ms.
    assert_eq!(loudest, Some(960 + 175));
    assert!(output[0][..1_100].iter().all(|x| x.abs() < 1e-6));
}

/// A tail without tones: no partial of its late spectrum stands out. Of Gaussian noise of as many bins the greatest
/// is some 11 dB above the mean.
#[test]
fn no_tone_stands_out_of_the_tail() {
    let tail = response(&[("Decay", 3.0), ("High decay", 100.0), ("Low decay", 100.0)], 2);
    let tail = &tail[48_000..48_000 + 16_384];
    let mut levels: Vec<f64> = Vec::new();
    for bin in (400..3_000).step_by(13) {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, x) in tail.iter().enumerate() {
            let window = 0.5 - 0.5 * (TAU * n as f64 / 16_384.0).cos();
            let angle = TAU * ((bin * n) % 16_384) as f64 / 16_384.0;
            re += window * f64::from(*x) * angle.cos();
            im += window * f64::from(*x) * angle.sin();
        }
        levels.push(re * re + im * im);
    }
    let mean = levels.iter().sum::<f64>() / levels.len() as f64;
    let greatest = levels.iter().copied().fold(0.0, f64::max);
    let above_db = 10.0 * (greatest / mean).log10();
    assert!(above_db < 12.0, "{above_db} dB");
}

#[test]
fn another_size_makes_no_click() {
    let mut stage = Stage::new(&REVERB, 48_000, 1);
    stage.set(&[("Mix", 100.0)]);
    let tone: Vec<f32> =
        (0_u16..48_000).map(|n| 0.5 * (f32::from(n % 480) * std::f32::consts::TAU / 480.0).sin()).collect();
    let before = stage.play(std::slice::from_ref(&tone)).remove(0);
    stage.set(&[("Size", 63.0), ("Pre-delay", 33.0)]);
    let after = stage.play(&[tone]).remove(0);
    // A second difference shows a click that a slow tone hides.
    let bend = |samples: &[f32]| {
        samples.windows(3).map(|three| (three[0] - 2.0 * three[1] + three[2]).abs()).fold(0.0, f32::max)
    };
    let (usual, found) = (bend(&before[24_000..]), bend(&after));
    assert!(found < 3.0 * usual, "{found}, usually {usual}");
}
