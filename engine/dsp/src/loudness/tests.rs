//! The test signals of EBU Tech 3341 and Tech 3342, made here.

use std::f64::consts::TAU;

use super::*;
use crate::noise::White;

fn meter(rate_hz: u32, weights: &[f64]) -> Meter {
    Meter::new(SampleRate::new(rate_hz).unwrap(), weights)
}

fn assert_near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} for {expected}");
}

#[allow(clippy::cast_possible_truncation, reason = "samples are single")]
fn single(sample: f64) -> f32 {
    sample as f32
}

/// A sine of 1 kHz at 48 kHz that keeps its phase while its level changes: one period, in frames.
const PERIOD: usize = 48;

/// Feeds every channel with the sine at its peak level in dBFS, for some milliseconds.
fn feed(meter: &mut Meter, levels_dbfs: &[f64], duration_ms: usize) {
    // 20 ms at a time.
    let channels: Vec<Vec<f32>> = levels_dbfs
        .iter()
        .map(|level_dbfs| {
            let amplitude = 10.0_f64.powf(level_dbfs / 20.0);
            let sample = |frame: usize| single(amplitude * (TAU * frame as f64 / PERIOD as f64).sin());
            (0..20 * PERIOD).map(sample).collect()
        })
        .collect();
    for _ in 0..duration_ms / 20 {
        let slices: Vec<&[f32]> = channels.iter().map(Vec::as_slice).collect();
        meter.process(&slices);
    }
}

/// A stereo meter after the sine in both channels at levels in dBFS, each for some milliseconds.
fn after(sections: &[(f64, usize)]) -> Meter {
    let mut meter = meter(48_000, &STEREO);
    for &(level_dbfs, duration_ms) in sections {
        feed(&mut meter, &[level_dbfs; 2], duration_ms);
    }
    meter
}

/// BS.1770-5, Annex 1: the definition of the scale.
#[test]
fn a_sine_at_full_scale_is_minus_3_01_at_every_rate() {
    for rate_hz in [22_050, 44_100, 48_000, 88_200, 96_000, 192_000] {
        let samples: Vec<f32> = (0..rate_hz)
            .map(|frame| single((TAU * 997.0 * f64::from(frame) / f64::from(rate_hz)).sin()))
            .collect();
        let mut meter = meter(rate_hz, &MONO);
        meter.process(&[&samples]);
        assert_near(meter.momentary_lufs(), -3.01, 0.025);
        assert_near(meter.integrated_lufs(), -3.01, 0.05);
    }
}

/// EBU Tech 3341, table 1, test signals 1 and 2.
#[test]
fn steady_sines_read_the_same_on_all_time_scales() {
    for level in [-23.0, -33.0] {
        let meter = after(&[(level, 20_000)]);
        assert_near(meter.momentary_lufs(), level, 0.1);
        assert_near(meter.short_term_lufs(), level, 0.1);
        assert_near(meter.integrated_lufs(), level, 0.1);
        assert_near(meter.momentary_max_lufs(), level, 0.1);
        assert_near(meter.short_term_max_lufs(), level, 0.1);
        // It never changed but for the filter's first milliseconds.
        assert!(meter.range_lu() < 0.02);
    }
}

/// EBU Tech 3341, table 1, test signals 3 to 5.
#[test]
fn gates_leave_out_what_is_soft() {
    let check = |sections: &[(f64, usize)]| assert_near(after(sections).integrated_lufs(), -23.0, 0.1);
    check(&[(-36.0, 10_000), (-23.0, 60_000), (-36.0, 10_000)]);
    check(&[(-72.0, 10_000), (-36.0, 10_000), (-23.0, 60_000), (-36.0, 10_000), (-72.0, 10_000)]);
    check(&[(-26.0, 20_000), (-20.0, 20_100), (-26.0, 20_000)]);
}

/// EBU Tech 3341, table 1, test signal 6, with a loud low-frequency channel that must not count.
#[test]
fn surrounds_weigh_more_and_low_frequency_effects_nothing() {
    let mut meter = meter(48_000, &SURROUND_5_1);
    feed(&mut meter, &[-28.0, -28.0, -24.0, 0.0, -30.0, -30.0], 20_000);
    assert_near(meter.integrated_lufs(), -23.0, 0.1);
}

/// EBU Tech 3341, table 1, test signal 9: within a window of 3 s there is as much of each level at any time.
#[test]
fn short_term_is_constant_where_its_window_is_a_period() {
    let mut meter = meter(48_000, &STEREO);
    for repetition in 0..5 {
        for (level_dbfs, steps_of_20_ms) in [(-20.0, 67), (-30.0, 83)] {
            for _ in 0..steps_of_20_ms {
                feed(&mut meter, &[level_dbfs; 2], 20);
                if repetition > 0 {
                    assert_near(meter.short_term_lufs(), -23.0, 0.1);
                }
            }
        }
    }
}

/// EBU Tech 3341, table 1, test signal 12: the same for 400 ms.
#[test]
fn momentary_is_constant_where_its_window_is_a_period() {
    let mut meter = meter(48_000, &STEREO);
    for repetition in 0..25 {
        for (level_dbfs, duration_ms) in [(-20.0, 180), (-30.0, 220)] {
            feed(&mut meter, &[level_dbfs; 2], duration_ms);
            if repetition > 1 {
                assert_near(meter.momentary_lufs(), -23.0, 0.1);
            }
        }
    }
}

/// EBU Tech 3342, table 1, test signals 1 to 4, whose tolerance is ±1 LU.
#[test]
fn range_is_the_difference_of_levels() {
    let check = |levels: &[f64], expected_lu: f64| {
        let sections: Vec<(f64, usize)> = levels.iter().map(|&level| (level, 20_000)).collect();
        assert_near(after(&sections).range_lu(), expected_lu, 0.1);
    };
    check(&[-20.0, -30.0], 10.0);
    check(&[-20.0, -15.0], 5.0);
    check(&[-40.0, -20.0], 20.0);
    check(&[-50.0, -35.0, -20.0, -35.0, -50.0], 15.0);
}

#[test]
fn nothing_is_read_before_a_window_is_full() {
    let mut meter = meter(48_000, &STEREO);
    feed(&mut meter, &[-20.0; 2], 380);
    assert_eq!(meter.momentary_lufs(), f64::NEG_INFINITY);
    assert_eq!(meter.integrated_lufs(), f64::NEG_INFINITY);
    feed(&mut meter, &[-20.0; 2], 20);
    assert_near(meter.momentary_lufs(), -20.0, 0.1);
    assert_near(meter.integrated_lufs(), -20.0, 0.1);
    assert_eq!(meter.short_term_lufs(), f64::NEG_INFINITY);
    assert_eq!(meter.range_lu(), 0.0);
    feed(&mut meter, &[-20.0; 2], 2_600);
    assert_near(meter.short_term_lufs(), -20.0, 0.1);
    meter.reset();
    assert_eq!(meter.momentary_lufs(), f64::NEG_INFINITY);
    assert_eq!(meter.momentary_max_lufs(), f64::NEG_INFINITY);
    assert_eq!(meter.integrated_lufs(), f64::NEG_INFINITY);
}

#[test]
fn what_is_not_finite_costs_a_tenth_of_a_second() {
    let mut meter = after(&[(-23.0, 2_000)]);
    meter.process(&[&[f32::NAN; 3], &[f32::INFINITY; 3]]);
    feed(&mut meter, &[-23.0; 2], 2_000);
    assert_near(meter.momentary_lufs(), -23.0, 0.1);
    // Four of some 37 blocks lost a quarter of their power.
    assert_near(meter.integrated_lufs(), -23.0, 0.2);
}

#[test]
fn channels_too_few_or_too_many_or_of_unequal_length_are_taken_as_far_as_they_go() {
    let samples = [0.5; 4800];
    let mut few = meter(48_000, &STEREO);
    let mut many = meter(48_000, &MONO);
    let mut unequal = meter(48_000, &STEREO);
    for _ in 0..5 {
        few.process(&[&samples]);
        many.process(&[&samples, &samples, &[]]);
        unequal.process(&[&samples, &[0.0; 4800], &[]]);
        unequal.process(&[&samples, &[]]);
        unequal.process(&[]);
    }
    assert!(few.momentary_lufs().is_finite());
    assert_eq!(few.momentary_lufs().to_bits(), many.momentary_lufs().to_bits());
    assert_eq!(few.momentary_lufs().to_bits(), unequal.momentary_lufs().to_bits());
    meter(48_000, &[]).process(&[&samples]);
}

#[test]
fn the_same_in_any_cut_to_the_bit() {
    // A rate that ten does not divide: tenths of 1,102 and 1,103 frames.
    const RATE_HZ: u32 = 11_025;
    let mut left = vec![0.0; 50_000];
    let mut right = vec![0.0; 50_000];
    White::new(1).fill(&mut left);
    White::new(2).fill(&mut right);
    let mut whole = meter(RATE_HZ, &STEREO);
    whole.process(&[&left, &right]);
    let readings = |meter: &Meter| {
        [
            meter.momentary_lufs(),
            meter.short_term_lufs(),
            meter.momentary_max_lufs(),
            meter.short_term_max_lufs(),
            meter.integrated_lufs(),
            meter.range_lu(),
        ]
        .map(f64::to_bits)
    };
    for cuts in [&[1][..], &[64], &[1102, 1103], &[7, 500, 1, 9_999]] {
        let mut cut = meter(RATE_HZ, &STEREO);
        let mut start = 0;
        for count in cuts.iter().cycle() {
            let end = (start + count).min(left.len());
            cut.process(&[&left[start..end], &right[start..end]]);
            start = end;
            if start == left.len() {
                break;
            }
        }
        assert_eq!(readings(&whole), readings(&cut), "{cuts:?}");
    }
}

#[test]
fn tenths_do_not_drift() {
    let mut meter = meter(11_025, &MONO);
    let samples = vec![0.0; 11_025];
    let mut tenths = 0;
    for sample in samples.chunks(1) {
        meter.process(&[sample]);
        tenths += u32::from(meter.frames == 0);
    }
    assert_eq!((tenths, meter.progress), (10, 0));
}
