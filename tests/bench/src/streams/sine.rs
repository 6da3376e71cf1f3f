//! A received sine: where its amplitude, its phase or what is left beside it is not a sine's.
//!
//! A sine is fitted to each window by least squares. A window is bad when the amplitude is more than a tenth off the
//! median, when the phase moved more than 0.1 rad against the frequency since the window before, or when the residual
//! exceeds -30 dB.

use std::f64::consts::{PI, TAU};

use super::signal::{SAMPLE_RATE_HZ, SINE_AMPLITUDE, SINE_HZ, count};
use super::verdict::{HOP, RESIDUAL_MAX, WINDOW, Windows};

const AMPLITUDE_OFF_MAX: f64 = 0.1;
const PHASE_JUMP_MAX: f64 = 0.1;
/// Below this nothing was received.
const AMPLITUDE_MIN: f64 = 0.05;

struct Fit {
    amplitude: f64,
    phase: f64,
    residual: f64,
}

/// The windows of `samples`, which are the left channel's sine and begin at received frame `from`.
pub(crate) fn windows(samples: &[f32], from: usize) -> Windows {
    let step = TAU * SINE_HZ[0] / f64::from(SAMPLE_RATE_HZ);
    let fits: Vec<Fit> = samples.windows(WINDOW).step_by(HOP).map(|window| fit(window, step)).collect();
    let median = crate::measure::median(fits.iter().map(|fit| fit.amplitude).collect()).unwrap_or(0.0);
    if median < AMPLITUDE_MIN {
        return Windows { from, bad: vec![true; fits.len()], residuals: vec![1.0; fits.len()] };
    }
    let level = median / 2f64.sqrt();
    let residuals: Vec<f64> = fits.iter().map(|fit| fit.residual / level).collect();
    let mut bad = Vec::with_capacity(fits.len());
    let mut before: Option<f64> = None;
    for (fit, residual) in fits.iter().zip(&residuals) {
        let moved = before.map_or(0.0, |phase| wrapped(fit.phase - phase - step * count(HOP)));
        bad.push(
            (fit.amplitude - median).abs() > AMPLITUDE_OFF_MAX * median
                || moved.abs() > PHASE_JUMP_MAX
                || *residual > RESIDUAL_MAX,
        );
        before = Some(fit.phase);
    }
    Windows { from, bad, residuals }
}

/// Steps in the waveform: places where the second difference is several times what a full sine's can be. Each is heard as a
/// click, where a window that is merely wrong may be a concealment that nobody hears.
pub(crate) fn discontinuities(samples: &[f32], stalled: impl Fn(usize) -> bool) -> u32 {
    let step = TAU * SINE_HZ[0] / f64::from(SAMPLE_RATE_HZ);
    let most = 4.0 * SINE_AMPLITUDE * step * step;
    let (mut found, mut last) = (0, None::<usize>);
    for (index, triple) in samples.windows(3).enumerate() {
        let [a, b, c] = [f64::from(triple[0]), f64::from(triple[1]), f64::from(triple[2])];
        if (a - 2.0 * b + c).abs() > most && !stalled(index) {
            found += u32::from(last.is_none_or(|last| index - last > WINDOW));
            last = Some(index);
        }
    }
    found
}

/// a·sin + b·cos by the normal equations; the sums of products over a window hardly differ from N/2 and 0, but do.
fn fit(window: &[f32], step: f64) -> Fit {
    let (mut ss, mut cc, mut sc, mut sy, mut cy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let basis = |n: usize| (step * count(n)).sin_cos();
    for (n, sample) in window.iter().enumerate() {
        let ((sine, cosine), y) = (basis(n), f64::from(*sample));
        ss += sine * sine;
        cc += cosine * cosine;
        sc += sine * cosine;
        sy += sine * y;
        cy += cosine * y;
    }
    let determinant = ss * cc - sc * sc;
    let a = (sy * cc - cy * sc) / determinant;
    let b = (cy * ss - sy * sc) / determinant;
    let energy: f64 = window
        .iter()
        .enumerate()
        .map(|(n, sample)| {
            let (sine, cosine) = basis(n);
            (f64::from(*sample) - a * sine - b * cosine).powi(2)
        })
        .sum();
    Fit { amplitude: a.hypot(b), phase: b.atan2(a), residual: (energy / count(window.len())).sqrt() }
}

fn wrapped(phase: f64) -> f64 {
    (phase + PI).rem_euclid(TAU) - PI
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::cast_possible_truncation, reason = "a test's samples")]
    fn sine(length: usize) -> Vec<f32> {
        let step = TAU * SINE_HZ[0] / f64::from(SAMPLE_RATE_HZ);
        (0..length).map(|n| (SINE_AMPLITUDE * (step * count(n) + 0.3).sin()) as f32).collect()
    }

    #[test]
    fn a_whole_sine_is_good_and_a_hole_is_bad_where_it_is() {
        let mut samples = sine(48_000);
        let bad = |samples: &[f32]| windows(samples, 0).bad.iter().filter(|bad| **bad).count();
        assert_eq!(bad(&samples), 0);
        assert_eq!(discontinuities(&samples, |_| false), 0);
        samples[10_000..10_128].fill(0.0);
        let found = bad(&samples);
        assert!((5..=7).contains(&found), "{found}");
        assert_eq!(discontinuities(&samples, |_| false), 2);
        assert_eq!(discontinuities(&samples, |frame| frame > 10_050), 1);
    }

    #[test]
    fn one_frame_left_out_is_a_phase_jump() {
        let mut samples = sine(48_000);
        samples.remove(20_000);
        let windows = windows(&samples, 0);
        assert!(windows.bad.iter().any(|bad| *bad));
        assert!(windows.bad.iter().filter(|bad| **bad).count() <= 3);
    }

    #[test]
    fn nothing_is_all_bad() {
        assert!(windows(&vec![0.0; 4800], 0).bad.iter().all(|bad| *bad));
    }
}
