//! Low-pass filters by Kaiser's window.
//!
//! J. F. Kaiser, *Nonrecursive digital filter design using the I₀-sinh window function*, Proc. IEEE Int. Symp. Circuits
//! and Systems, 1974, with its empirical formulas for shape and length.

use std::f64::consts::PI;

/// A low-pass impulse response of any time: a sinc of unit gain at zero frequency, cut by a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LowPass {
    /// The middle of the transition, in cycles per frame.
    cutoff: f64,
    /// The response is zero beyond this many frames on either side.
    reach_frames: f64,
    beta: f64,
    /// What scales the window to 1 in the middle.
    window_gain: f64,
}

impl LowPass {
    /// A response of `2 × reach_frames`, whose error is `attenuation_db` down in both bands.
    pub(crate) fn new(cutoff: f64, reach_frames: f64, attenuation_db: f64) -> Self {
        let beta = 0.1102 * (attenuation_db - 8.7);
        Self { cutoff, reach_frames, beta, window_gain: 1.0 / bessel_i0(beta) }
    }

    /// The response at `time_frames` from its middle.
    pub(crate) fn at(&self, time_frames: f64) -> f64 {
        let position = time_frames / self.reach_frames;
        let inside = 1.0 - position * position;
        if inside < 0.0 {
            return 0.0;
        }
        let window = bessel_i0(self.beta * inside.sqrt()) * self.window_gain;
        2.0 * self.cutoff * sinc(2.0 * self.cutoff * time_frames) * window
    }
}

/// How wide the transition of a response of `length_frames` is, in cycles per frame, and the other way round: their
/// product depends on the attenuation alone, which is more than 50 dB.
pub(crate) fn width_times_length(attenuation_db: f64) -> f64 {
    (attenuation_db - 7.95) / 14.36
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { libm::sin(PI * x) / (PI * x) }
}

/// The modified Bessel function of order zero, by its power series, whose terms are all positive.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term) = (1.0, 1.0);
    // For x below 20, as in all windows in use, the terms have long died away.
    for k in 1..=60u32 {
        term *= quarter / f64::from(k * k);
        sum += term;
        if term < 1e-17 * sum {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bessel_function_is_the_tables() {
        // M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions, table 9.8, to more digits.
        for (x, expected) in [
            (0.0, 1.0),
            (1.0, 1.266_065_877_752_01),
            (5.0, 27.239_871_823_604_4),
            (10.0, 2_815.716_628_466_25),
        ] {
            assert!((bessel_i0(x) / expected - 1.0).abs() < 1e-11, "{x}: {}", bessel_i0(x));
        }
    }

    #[test]
    fn the_bands_are_as_deep_as_asked() {
        for attenuation_db in [60.0, 80.0, 100.0, 120.0] {
            let (cutoff, reach) = (0.2, 64.0);
            let low_pass = LowPass::new(cutoff, reach, attenuation_db);
            let width = width_times_length(attenuation_db) / (2.0 * reach);
            let response = |frequency: f64| -> f64 {
                let cosine = |n: i32| (2.0 * PI * frequency * f64::from(n)).cos();
                (-64..=64).map(|n| low_pass.at(f64::from(n)) * cosine(n)).sum()
            };
            let mut worst = 0.0f64;
            for step in 0..200 {
                let part = f64::from(step) / 199.0;
                worst = worst.max((response((cutoff - width / 2.0) * part) - 1.0).abs());
                worst = worst.max(response(cutoff + width / 2.0 + (0.5 - cutoff - width / 2.0) * part).abs());
            }
            let worst_db = 20.0 * worst.log10();
            assert!(worst_db < 2.0 - attenuation_db, "{attenuation_db} dB asked: {worst_db:.1} dB");
        }
    }
}
