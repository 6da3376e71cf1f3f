//! The frequency weighting of loudness.

use std::f64::consts::PI;

use audiocloud_units::SampleRate;

/// K-weighting of one channel: a shelf for what a head does to sound, then a high-pass for what an ear hears less of.
///
/// ITU-R BS.1770-5, Annex 1, gives coefficients for 48 kHz alone. The analogue filters below are those that the bilinear
/// transform turns into these coefficients, found by inverting it; transformed for another rate they keep the response.
/// (The method is that of B. De Man, *Evaluation of Implementations of the EBU R128 Loudness Measurement*, AES 145th
/// Convention, 2018.)
///
/// In double precision throughout: the high-pass has poles as near to one as 0.999 at 192 kHz.
#[derive(Clone, Debug)]
pub(super) struct KWeighting {
    shelf: Section,
    high_pass: Section,
}

const SHELF_HZ: f64 = 1_681.974_450_955_532;
const SHELF_Q: f64 = 0.707_175_236_955_419;
/// 4 dB at high frequencies, and its weight in the shelf's middle.
const SHELF_HIGH_GAIN: f64 = 1.584_864_701_130_855;
const SHELF_MIDDLE_GAIN: f64 = 1.258_720_930_232_562;

const HIGH_PASS_HZ: f64 = 38.135_470_876_113;
const HIGH_PASS_Q: f64 = 0.500_327_037_325_042;
/// The gain at high frequencies for which the annex's numerator at 48 kHz is 1, −2, 1.
const HIGH_PASS_GAIN: f64 = 1.004_994_898_714_688;

impl KWeighting {
    pub(super) fn new(sample_rate: SampleRate) -> Self {
        let rate_hz = f64::from(sample_rate.hz());
        Self {
            shelf: Section::bilinear(
                SHELF_HZ / rate_hz,
                SHELF_Q,
                [1.0, SHELF_MIDDLE_GAIN / SHELF_Q, SHELF_HIGH_GAIN],
            ),
            high_pass: Section::bilinear(HIGH_PASS_HZ / rate_hz, HIGH_PASS_Q, [0.0, 0.0, HIGH_PASS_GAIN]),
        }
    }

    pub(super) fn reset(&mut self) {
        self.shelf.state = [0.0; 2];
        self.high_pass.state = [0.0; 2];
    }

    pub(super) fn process(&mut self, sample: f64) -> f64 {
        self.high_pass.process(self.shelf.process(sample))
    }
}

/// A second-order section in transposed direct form II.
#[derive(Clone, Debug)]
struct Section {
    /// Numerator.
    b: [f64; 3],
    /// Denominator, after its leading 1.
    a: [f64; 2],
    state: [f64; 2],
}

impl Section {
    /// (n₀ + n₁s + n₂s²) / (1 + s/Q + s²), s in units of its frequency, by the bilinear transform that keeps the response
    /// at that frequency, given in cycles per frame. A frequency above half the sample rate is taken down to just below.
    fn bilinear(frequency: f64, q: f64, [n0, n1, n2]: [f64; 3]) -> Self {
        let k = libm::tan(PI * frequency.min(0.49));
        let scale = 1.0 / (1.0 + k / q + k * k);
        Self {
            b: [
                (n2 + n1 * k + n0 * k * k) * scale,
                2.0 * (n0 * k * k - n2) * scale,
                (n2 - n1 * k + n0 * k * k) * scale,
            ],
            a: [2.0 * (k * k - 1.0) * scale, (1.0 - k / q + k * k) * scale],
            state: [0.0; 2],
        }
    }

    fn process(&mut self, sample: f64) -> f64 {
        let output = self.b[0] * sample + self.state[0];
        self.state[0] = self.b[1] * sample - self.a[0] * output + self.state[1];
        self.state[1] = self.b[2] * sample - self.a[1] * output;
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn k_weighting(rate_hz: u32) -> KWeighting {
        KWeighting::new(SampleRate::new(rate_hz).unwrap())
    }

    /// The magnitude at a frequency in dB, from the coefficients.
    fn magnitude_db(section: &Section, hz: f64, rate_hz: u32) -> f64 {
        let (sin, cos) = (2.0 * PI * hz / f64::from(rate_hz)).sin_cos();
        let squared = |c0: f64, c1: f64, c2: f64| {
            let (real, imaginary) = ((c0 + c2) * cos + c1, (c0 - c2) * sin);
            real * real + imaginary * imaginary
        };
        let [b0, b1, b2] = section.b;
        10.0 * (squared(b0, b1, b2) / squared(1.0, section.a[0], section.a[1])).log10()
    }

    #[test]
    fn coefficients_at_48_khz_are_those_of_the_recommendation() {
        let found = k_weighting(48_000);
        // BS.1770-5, Annex 1, tables 1 and 2.
        let expected = [
            (found.shelf.b[0], 1.535_124_859_586_97),
            (found.shelf.b[1], -2.691_696_189_406_38),
            (found.shelf.b[2], 1.198_392_810_852_85),
            (found.shelf.a[0], -1.690_659_293_182_41),
            (found.shelf.a[1], 0.732_480_774_215_85),
            (found.high_pass.b[0], 1.0),
            (found.high_pass.b[1], -2.0),
            (found.high_pass.b[2], 1.0),
            (found.high_pass.a[0], -1.990_047_454_833_98),
            (found.high_pass.a[1], 0.990_072_250_366_21),
        ];
        for (found, expected) in expected {
            assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        }
    }

    #[test]
    fn the_response_is_the_same_at_every_rate() {
        let at_48_khz = k_weighting(48_000);
        for rate_hz in [32_000, 44_100, 88_200, 96_000, 192_000] {
            let found = k_weighting(rate_hz);
            for hz in [20.0, 38.0, 100.0, 500.0, 997.0, 2_000.0, 4_000.0, 8_000.0] {
                let difference = magnitude_db(&found.shelf, hz, rate_hz)
                    - magnitude_db(&at_48_khz.shelf, hz, 48_000)
                    + magnitude_db(&found.high_pass, hz, rate_hz)
                    - magnitude_db(&at_48_khz.high_pass, hz, 48_000);
                // What is left is the bilinear transform's warp of the shelf's upper end.
                assert!(difference.abs() < 0.06, "{difference} dB at {hz} Hz of {rate_hz} Hz");
            }
        }
    }

    #[test]
    fn stable_at_any_rate() {
        for rate_hz in [1, 2_000, 8_000, 768_000, u32::MAX] {
            let mut filter = k_weighting(rate_hz);
            let greatest = (0..10_000).map(|_| filter.process(1.0).abs()).fold(0.0, f64::max);
            assert!(greatest < 2.0, "{greatest} at {rate_hz} Hz");
        }
    }
}
