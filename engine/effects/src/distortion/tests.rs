use std::f64::consts::TAU;

use super::*;
use crate::stage::Stage;

const SORTS: [f32; 5] = [0.0, 1.0, 2.0, 3.0, 4.0];

fn tone(frequency_hz: f64, rate_hz: f64, frames: usize) -> Vec<f32> {
    let cycles = frequency_hz / rate_hz;
    (0..frames).map(|n| single((TAU * (cycles * n as f64).fract()).sin())).collect()
}

#[allow(clippy::cast_possible_truncation, reason = "samples are singles")]
fn single(value: f64) -> f32 {
    value as f32
}

/// The amplitude of one partial of a windowed signal, in dB, by Goertzel's recursion.
fn level_db(samples: &[f64], cycles_per_frame: f64) -> f64 {
    let turn = TAU * cycles_per_frame;
    let (coefficient, mut before, mut last) = (2.0 * turn.cos(), 0.0, 0.0);
    for sample in samples {
        (before, last) = (last, sample + coefficient * last - before);
    }
    let power = before * before + last * last - coefficient * before * last;
    10.0 * power.max(1e-30).log10()
}

/// Through a window of Blackman and Harris, whose side lobes lie 92 dB down, scaled for [`level_db`].
fn windowed(samples: &[f32]) -> Vec<f64> {
    let length = samples.len() as f64;
    let weight = |n: usize| {
        let angle = TAU * (n as f64 + 0.5) / length;
        0.35875 - 0.48829 * angle.cos() + 0.14128 * (2.0 * angle).cos() - 0.01168 * (3.0 * angle).cos()
    };
    let scale = 2.0 / (0.35875 * length);
    samples.iter().enumerate().map(|(n, x)| f64::from(*x) * weight(n) * scale).collect()
}

/// What comes of a tone that no multiple of the high rate is a multiple of: every partial that is no overtone is an alias.
/// The loudest of those, against the loudest of all, up to 20 kHz.
fn alias_floor_db(sort: f32, rate: u32, drive_db: f32) -> f64 {
    const FRAMES: usize = 4_096;
    let (rate_hz, tone_hz) = (f64::from(rate), 4_000.0);
    let mut stage = Stage::new(&DISTORTION, rate, 1);
    stage.set(&[("Sort", sort), ("Drive", drive_db), ("Output", 0.0)]);
    // The offset takes its time to go.
    let output = stage.play(&[tone(tone_hz, rate_hz, 16_384 + FRAMES)]).remove(0);
    let samples = windowed(&output[16_384..]);
    let step_hz = rate_hz / FRAMES as f64;
    let (mut loudest, mut alias) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    let mut bin = 6.0;
    while bin * step_hz < 20_000.0 {
        let hz = bin * step_hz;
        let level = level_db(&samples, hz / rate_hz);
        loudest = loudest.max(level);
        // The window is four bins wide to either side.
        if (hz / tone_hz - (hz / tone_hz).round()).abs() * tone_hz > 5.0 * step_hz {
            alias = alias.max(level);
        }
        bin += 1.0;
    }
    alias - loudest
}

#[test]
fn aliases_of_four_kilohertz_at_twenty_decibels_are_eighty_down() {
    for sort in SORTS {
        let floor = alias_floor_db(sort, 44_100, 20.0);
        assert!(floor < -80.0, "{}: {floor:.1} dB", PARAMETERS[SORT].to_text(sort));
    }
}

#[test]
fn so_they_are_at_twice_and_four_times_the_rate() {
    for sort in SORTS {
        for rate in [88_200, 176_400] {
            let floor = alias_floor_db(sort, rate, 20.0);
            assert!(floor < -80.0, "{} at {rate}: {floor:.1} dB", PARAMETERS[SORT].to_text(sort));
        }
    }
}

#[test]
fn a_slow_tone_follows_the_curve() {
    for (sort, curve) in
        [Curve::Soft, Curve::Clip, Curve::Fuzz, Curve::Asymmetric, Curve::Rectifier].into_iter().enumerate()
    {
        let mut stage = Stage::new(&DISTORTION, 48_000, 1);
        stage.set(&[("Sort", f32::from(u8::try_from(sort).unwrap())), ("Drive", 10.0), ("Output", 0.0)]);
        let input = tone(100.0, 48_000.0, 48_000);
        let output = stage.play(std::slice::from_ref(&input)).remove(0);
        // Without the offset, which the effect takes out, and at the tone's own frequency, where the filters are flat.
        let drive = 10_f64.powf(0.5);
        let level = if curve == Curve::Rectifier { drive } else { 1.0 };
        let expected: Vec<f64> = input.iter().map(|x| curve.at(drive * f64::from(*x)) / level).collect();
        let strength = |samples: &[f64], harmonic: f64| {
            let (mut re, mut im) = (0.0, 0.0);
            for (n, x) in samples.iter().enumerate() {
                let angle = TAU * harmonic * 100.0 * n as f64 / 48_000.0;
                re += x * angle.cos();
                im += x * angle.sin();
            }
            re.hypot(im) / 12_000.0
        };
        let found: Vec<f64> = output[24_000..].iter().map(|x| f64::from(*x)).collect();
        for harmonic in [1.0, 2.0, 3.0, 4.0, 5.0] {
            let (found, expected) = (strength(&found, harmonic), strength(&expected[24_000..], harmonic));
            // 10 Hz of the offset's end and 20 Hz of the low cut leave 100 Hz 0.05 dB.
            assert!((found - expected).abs() < 0.008, "{curve:?}, {harmonic}: {found} for {expected}");
        }
    }
}

#[test]
fn latency_is_what_is_told_with_and_without_oversampling() {
    for (rate, latency) in [(44_100, 85), (48_000, 85), (96_000, 82), (192_000, 73)] {
        for full in [true, false] {
            let mut stage = Stage::new(&DISTORTION, rate, 1);
            stage.set_oversampling(full);
            stage.set(&[("Drive", 0.0)]);
            let mut input = vec![0.0; 400];
            input[10] = 0.01;
            let output = stage.play(&[input]).remove(0);
            let loudest = (0..400).max_by(|a, b| output[*a].abs().total_cmp(&output[*b].abs())).unwrap();
            assert!(loudest.abs_diff(10 + latency) <= usize::from(!full), "{rate}, {full}: {loudest}");
        }
    }
}

#[test]
fn neither_another_curve_nor_path_clicks() {
    let bend = |samples: &[f32]| {
        samples.windows(3).map(|three| (three[0] - 2.0 * three[1] + three[2]).abs()).fold(0.0, f32::max)
    };
    let check = |act: &dyn Fn(&mut Stage), what: &str| {
        let mut stage = Stage::new(&DISTORTION, 48_000, 1);
        stage.set(&[("Drive", 6.0), ("Output", 0.0)]);
        let input = tone(480.0, 48_000.0, 9_600);
        let before = stage.play(std::slice::from_ref(&input)).remove(0);
        act(&mut stage);
        let after = stage.play(std::slice::from_ref(&input)).remove(0);
        let settled = stage.play(&[input]).remove(0);
        let usual = bend(&before[4_800..]).max(bend(&settled));
        let found = bend(&before.iter().chain(&after).copied().collect::<Vec<_>>()[4_800..]);
        assert!(found < 1.5 * usual, "{what}: {found}, usually {usual}");
    };
    for sort in [1.0, 3.0, 4.0] {
        check(&|stage| stage.set(&[("Sort", sort)]), "another sort");
    }
    check(&|stage| stage.set_oversampling(false), "no oversampling");
    check(
        &|stage| {
            stage.set_oversampling(false);
            stage.play(&[tone(480.0, 48_000.0, 4_800)]);
            stage.set_oversampling(true);
        },
        "oversampling again",
    );
}
