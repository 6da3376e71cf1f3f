use super::*;
use proptest::prelude::*;
use std::f64::consts::TAU;

fn made_for(quality: Quality, input_per_output: f64) -> Resampler {
    let mut resampler = Resampler::new(1, Config { quality, input_per_output_max: input_per_output });
    resampler.set_ratio(input_per_output);
    resampler
}

fn sine(cycles_per_frame: f64, frames: usize) -> Vec<f32> {
    (0..frames).map(|n| narrow((TAU * (cycles_per_frame * n as f64).fract()).sin())).collect()
}

/// Amplitude, phase in cycles, and the power of all the rest over that of the sine in dB: a least-squares fit.
fn fit(signal: &[f32], cycles_per_frame: f64) -> (f64, f64, f64) {
    let basis = |n: usize| (TAU * (cycles_per_frame * n as f64).fract()).sin_cos();
    let (mut ss, mut sc, mut cc, mut sx, mut cx) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (n, x) in signal.iter().enumerate() {
        let (s, c) = basis(n);
        let x = f64::from(*x);
        (ss, sc, cc, sx, cx) = (ss + s * s, sc + s * c, cc + c * c, sx + s * x, cx + c * x);
    }
    let determinant = ss * cc - sc * sc;
    let (a, b) = ((sx * cc - cx * sc) / determinant, (cx * ss - sx * sc) / determinant);
    let rest = signal.iter().enumerate().map(|(n, x)| {
        let (s, c) = basis(n);
        (f64::from(*x) - a * s - b * c).powi(2)
    });
    let power = (a * a + b * b) / 2.0 * signal.len() as f64;
    (a.hypot(b), b.atan2(a) / TAU, 10.0 * (rest.sum::<f64>() / power).log10())
}

/// The output of a sine of so many hertz, after the filter has filled.
fn resampled(quality: Quality, from_hz: f64, to_hz: f64, frequency_hz: f64) -> Vec<f32> {
    let mut resampler = made_for(quality, from_hz / to_hz);
    let mut output = vec![0.0; 6_000];
    let input = sine(frequency_hz / from_hz, resampler.frames_needed(output.len()));
    assert_eq!(resampler.process(&[&input], &mut [&mut output]), (input.len(), 6_000));
    output.split_off(2_000)
}

#[test]
fn a_sine_stays_a_sine() {
    let check = |quality, from_hz: f64, to_hz: f64, frequency_hz: f64, at_most_db: f64| {
        let (amplitude, _, rest_db) =
            fit(&resampled(quality, from_hz, to_hz, frequency_hz), frequency_hz / to_hz);
        let what =
            format!("{quality:?} {from_hz} to {to_hz}, {frequency_hz} Hz: {amplitude}, {rest_db:.1} dB");
        assert!(rest_db < at_most_db, "{what}");
        assert!((20.0 * amplitude.log10()).abs() < 0.01, "{what}");
    };
    for (from_hz, to_hz) in
        [(44_100.0, 48_000.0), (48_000.0, 44_100.0), (48_000.0, 48_024.0), (48_000.0, 192_000.0)]
    {
        check(Quality::Economy, from_hz, to_hz, 1_000.0, -84.0);
        check(Quality::Economy, from_hz, to_hz, 15_000.0, -75.0);
        check(Quality::Economy, from_hz, to_hz, 17_000.0, -75.0);
        check(Quality::Standard, from_hz, to_hz, 1_000.0, -109.0);
        check(Quality::Standard, from_hz, to_hz, 15_000.0, -102.0);
        check(Quality::Standard, from_hz, to_hz, 19_000.0, -97.0);
        check(Quality::High, from_hz, to_hz, 1_000.0, -137.0);
        check(Quality::High, from_hz, to_hz, 10_000.0, -128.0);
        check(Quality::High, from_hz, to_hz, 15_000.0, -121.0);
        check(Quality::High, from_hz, to_hz, 20_000.0, -115.5);
    }
    check(Quality::High, 192_000.0, 48_000.0, 15_000.0, -135.0);
    check(Quality::High, 96_000.0, 44_100.0, 20_000.0, -130.0);
}

#[test]
fn what_would_alias_is_gone() {
    let cases = [
        (Quality::Economy, 0.597, -74.0),
        (Quality::Standard, 0.566, -102.0),
        (Quality::High, 0.535, -118.0),
    ];
    for (quality, stop_edge, at_most_db) in cases {
        for (from_hz, to_hz) in [(96_000.0, 44_100.0), (192_000.0, 48_000.0), (96_000.0, 48_000.0)] {
            for part in [0.0, 0.1, 0.3, 0.6, 0.9] {
                let stop_edge_hz = to_hz * stop_edge;
                let frequency_hz = stop_edge_hz + part * (from_hz / 2.0 - stop_edge_hz);
                let output = resampled(quality, from_hz, to_hz, frequency_hz);
                let peak = output.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
                let peak_db = 20.0 * f64::from(peak).log10();
                assert!(
                    peak_db < at_most_db,
                    "{quality:?}, {from_hz} to {to_hz}: {frequency_hz} Hz at {peak_db:.1} dB"
                );
            }
        }
    }
}

#[test]
fn the_latency_is_as_reported() {
    for quality in [Quality::Economy, Quality::Standard, Quality::High] {
        for input_per_output in [0.25, 147.0 / 160.0, 1.0, 1.0005, 160.0 / 147.0, 4.0] {
            let mut resampler = made_for(quality, input_per_output);
            let (cycles_per_input, frames) = (0.01, 4_000);
            let mut output = vec![0.0; frames];
            resampler
                .process(&[&sine(cycles_per_input, resampler.frames_needed(frames))], &mut [&mut output]);
            let (_, phase, _) = fit(&output[frames / 2..], cycles_per_input * input_per_output);
            // The first of the frames that were fitted is this frame of the input.
            let at = input_per_output * (frames / 2) as f64 - resampler.latency_frames() as f64;
            let error = phase - cycles_per_input * at;
            let error_frames = (error - error.round()) / cycles_per_input;
            assert!(error_frames.abs() < 1e-4, "{quality:?} by {input_per_output}: {error_frames} frames");
        }
    }
}

#[test]
fn the_ratio_of_one_keeps_the_pass_band() {
    let input = sine(0.2, 3_000);
    let mut output = vec![0.0; 3_000];
    let mut resampler = made_for(Quality::High, 1.0);
    assert_eq!(resampler.process(&[&input], &mut [&mut output]), (3_000, 3_000));
    let delayed = &output[resampler.latency_frames()..];
    let worst = input.iter().zip(delayed).skip(100).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 3e-6, "{worst}");
}

#[test]
fn a_day_of_frames_is_counted_exactly() {
    let resampler = made_for(Quality::High, 147.0 / 160.0);
    let day = 86_400 * 48_000;
    let consumed = resampler.frames_needed(day + 1) - resampler.frames_needed(1);
    assert!((86_400 * 44_100 - 1..=86_400 * 44_100).contains(&consumed), "{consumed}");
    assert_eq!(resampler.frames_needed(0), 0);
    assert_eq!(resampler.frames_needed(1), 1);
    assert!(resampler.frames_needed(usize::MAX) > usize::MAX / 2);
}

#[test]
fn a_drifting_ratio_leaves_the_signal_whole() {
    // The ratio swings by ±500 ppm; the phase of each output is known from the sum of the ratios.
    let mut resampler = made_for(Quality::High, 1.0);
    let cycles_per_frame = 0.0213;
    let input = sine(cycles_per_frame, 20_000);
    let mut rest = &input[..];
    let mut position = -(resampler.latency_frames() as f64);
    let mut worst = 0.0f64;
    for n in 0..18_000 {
        let ratio = 1.0 + 500e-6 * (TAU * f64::from(n) / 6_000.0).sin();
        resampler.set_ratio(ratio);
        let mut output = [0.0];
        let (consumed, produced) = resampler.process(&[rest], &mut [&mut output]);
        assert_eq!(produced, 1);
        rest = &rest[consumed..];
        if n > 200 {
            worst = worst.max((f64::from(output[0]) - (TAU * cycles_per_frame * position).sin()).abs());
        }
        position += ratio;
    }
    assert!(20.0 * worst.log10() < -112.0, "{:.1} dB", 20.0 * worst.log10());
}

#[test]
fn ratios_are_held() {
    let mut resampler =
        Resampler::new(0, Config { quality: Quality::Economy, input_per_output_max: f64::NAN });
    let mut check = |asked: f64, expected: usize| {
        resampler.set_ratio(asked);
        assert_eq!(resampler.frames_needed(10_001), expected, "{asked}");
    };
    check(1.0, 10_001);
    check(f64::INFINITY, 10_010);
    check(f64::NAN, 10_010);
    check(-1.0, 1_251);
    let widest = made_for(Quality::Economy, 1e9);
    assert_eq!(widest.frames_needed(101), 801);
}

#[test]
fn channels_are_the_same_moment() {
    let (left, right) = (sine(0.01, 900), sine(0.013, 900));
    let mut stereo = Resampler::new(2, Config { quality: Quality::Standard, input_per_output_max: 1.3 });
    stereo.set_ratio(1.3);
    let (mut a, mut b, mut beyond) = (vec![0.0; 600], vec![0.0; 600], vec![9.0; 600]);
    let counts = stereo.process(&[&left, &right], &mut [&mut a, &mut b, &mut beyond]);
    for (input, output) in [(&left, &a), (&right, &b)] {
        let mut alone = vec![0.0; 600];
        assert_eq!(made_for(Quality::Standard, 1.3).process(&[input], &mut [&mut alone]), counts);
        assert!(alone.iter().zip(output).all(|(x, y)| x.to_bits() == y.to_bits()));
    }
    assert_eq!(beyond, vec![0.0; 600]);
    stereo.reset();
    let mut missing = vec![9.0; 600];
    stereo.process(&[&left], &mut [&mut a, &mut missing]);
    assert_eq!(missing, vec![0.0; 600]);
    assert_eq!(stereo.process(&[], &mut [&mut a]).1, 0);
    assert_eq!(stereo.process(&[&left], &mut []), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_cut_changes_a_bit(cuts in prop::collection::vec((0usize..150, 0usize..150), 60), ratio in 0.2f64..4.0) {
        let input = sine(0.0317, 9_000);
        let mut resampler = made_for(Quality::Economy, ratio);
        let mut whole = vec![0.0; 9_000];
        let (_, frames) = resampler.process(&[&input], &mut [&mut whole]);
        resampler.process(&[&[f32::NAN; 70]], &mut [&mut [0.0; 40]]);
        resampler.reset();
        let (mut consumed, mut parts) = (0, Vec::new());
        for (given, room) in cuts {
            let until = (consumed + given).min(input.len());
            let mut output = vec![0.0; room];
            let needed = resampler.frames_needed(room);
            let (used, produced) = resampler.process(&[&input[consumed..until]], &mut [&mut output]);
            prop_assert_eq!(used, needed.min(until - consumed));
            prop_assert_eq!(produced == room, needed <= until - consumed);
            consumed += used;
            parts.extend_from_slice(&output[..produced]);
        }
        prop_assert!(parts.len() <= frames || frames == 9_000);
        prop_assert!(whole.iter().zip(&parts).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
