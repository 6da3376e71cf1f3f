//! Waveshapers: curves without memory that bend a signal, and hardly alias.
//!
//! A bent sine has overtones without end, and those beyond half the sample rate come back as other tones. Here each
//! output sample is the curve's mean along the straight line from one input sample to the next, which an antiderivative
//! gives at once: J. D. Parker, V. Zavalishin and E. Le Bivic, *Reducing the aliasing of nonlinear waveshaping using
//! continuous-time convolution*, DAFx 2016. That takes away most of what would fold back to low frequencies, costs half
//! a frame of delay, and goes together with oversampling.

/// How the gain of a fuzz exceeds that of the other curves, and how far it leans to one side.
const FUZZ: (f64, f64) = (3.0, 0.4);
/// Where the lower side of [`Curve::Asymmetric`] ends.
const LOWER: f64 = 0.5;
/// Closer samples than this are taken for one: the quotient of differences would lose more than the line gains.
const SAME: f64 = 1e-5;

/// What is made of a sample. All curves leave silence as it is, and but for [`Curve::Rectifier`] all end at ±1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Curve {
    /// `x / √(1 + x²)`: bends from the first, odd overtones.
    #[default]
    Soft,
    /// A straight line, cut at ±1.
    Clip,
    /// `tanh(3x + 0.4)`, without its offset: nearly a square, whose halves are of unlike length.
    Fuzz,
    /// Exponential to 1 above and to −0.5 below: even overtones too.
    Asymmetric,
    /// `√(1 + x²) − 1`: what is far from zero is turned upwards, what is near it is squared.
    Rectifier,
}

impl Curve {
    /// The curve itself.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn at(self, x: f64) -> f64 {
        match self {
            Self::Soft => x / (1.0 + x * x).sqrt(),
            Self::Clip => x.clamp(-1.0, 1.0),
            Self::Fuzz => libm::tanh(FUZZ.0 * x + FUZZ.1) - libm::tanh(FUZZ.1),
            Self::Asymmetric => {
                let (end, sign) = side(x);
                -sign * end * libm::expm1(-x.abs() / end)
            }
            Self::Rectifier => (1.0 + x * x).sqrt() - 1.0,
        }
    }

    /// Its antiderivative, 0 at 0 or near it.
    fn integral(self, x: f64) -> f64 {
        match self {
            Self::Soft => (1.0 + x * x).sqrt(),
            Self::Clip => {
                let size = x.abs();
                if size <= 1.0 { 0.5 * x * x } else { size - 0.5 }
            }
            Self::Fuzz => log_cosh(FUZZ.0 * x + FUZZ.1) / FUZZ.0 - libm::tanh(FUZZ.1) * x,
            Self::Asymmetric => {
                let (end, _) = side(x);
                end * (x.abs() + end * libm::expm1(-x.abs() / end))
            }
            Self::Rectifier => 0.5 * (x * (1.0 + x * x).sqrt() + libm::asinh(x)) - x,
        }
    }
}

/// Where the side of [`Curve::Asymmetric`] that `x` is on ends, and its sign.
fn side(x: f64) -> (f64, f64) {
    if x < 0.0 { (LOWER, -1.0) } else { (1.0, 1.0) }
}

/// ln cosh `x`, for `x` of any size.
fn log_cosh(x: f64) -> f64 {
    x.abs() + libm::log1p(libm::exp(-2.0 * x.abs())) - std::f64::consts::LN_2
}

/// One channel through a curve.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shaper {
    curve: Curve,
    /// The input before, and the antiderivative there.
    before: f64,
    integral: f64,
}

impl Shaper {
    /// At rest.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn new(curve: Curve) -> Self {
        Self { curve, before: 0.0, integral: curve.integral(0.0) }
    }

    /// Which curve it is.
    #[must_use]
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// Another curve from the next sample on: a jump.
    ///
    /// *Realtime-safe: yes*.
    pub fn set_curve(&mut self, curve: Curve) {
        (self.curve, self.integral) = (curve, curve.integral(self.before));
    }

    /// Forgets the sample before.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        *self = Self::new(self.curve);
    }

    /// The next output, half a frame late.
    ///
    /// *Realtime-safe: yes*.
    #[inline]
    pub fn tick(&mut self, sample: f32) -> f32 {
        let x = f64::from(sample);
        let integral = self.curve.integral(x);
        let way = x - self.before;
        let mean = if way.abs() < SAME {
            self.curve.at(0.5 * (x + self.before))
        } else {
            (integral - self.integral) / way
        };
        (self.before, self.integral) = (x, integral);
        single(mean)
    }

    /// Bends `samples` in place.
    ///
    /// *Realtime-safe: yes*.
    pub fn process(&mut self, samples: &mut [f32]) {
        for sample in samples {
            *sample = self.tick(*sample);
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "samples are singles")]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURVES: [Curve; 5] = [Curve::Soft, Curve::Clip, Curve::Fuzz, Curve::Asymmetric, Curve::Rectifier];

    #[test]
    fn the_antiderivative_is_one() {
        for curve in CURVES {
            for step in -400..=400 {
                let x = f64::from(step) / 40.0 + 0.003;
                let slope = (curve.integral(x + 1e-4) - curve.integral(x - 1e-4)) / 2e-4;
                assert!((slope - curve.at(x)).abs() < 1e-4, "{curve:?} at {x}: {slope}");
            }
        }
    }

    #[test]
    fn silence_stays_silence() {
        for curve in CURVES {
            let mut samples = [0.0; 8];
            Shaper::new(curve).process(&mut samples);
            assert_eq!(samples, [0.0; 8], "{curve:?}");
        }
    }

    #[test]
    fn a_slow_signal_follows_the_curve_and_all_but_the_rectifier_end() {
        for curve in CURVES {
            let mut shaper = Shaper::new(curve);
            let mut before = 0.0;
            for step in 0..=4_000 {
                let x = (f64::from(step) / 4_000.0 * std::f64::consts::TAU).sin() * 3.0;
                let y = f64::from(shaper.tick(single(x)));
                let expected = curve.at(0.5 * (x + before));
                before = x;
                // The curve's bend within one step of 5e-3, and the corner of the one that has corners.
                let allowed = if curve == Curve::Clip { 6e-4 } else { 5e-5 };
                assert!((y - expected).abs() < allowed, "{curve:?} at {x}: {y} for {expected}");
            }
            if curve != Curve::Rectifier {
                assert!((curve.at(1e9) - curve.at(-1e9)) <= 2.0 && curve.at(1e9) > 0.6, "{curve:?}");
            }
        }
    }

    #[test]
    fn large_and_close_samples_keep_their_precision() {
        for curve in CURVES {
            let mut shaper = Shaper::new(curve);
            for (n, x) in [300.0, 300.000_03, 300.0, -300.0, -300.000_03].into_iter().enumerate() {
                let y = f64::from(shaper.tick(x));
                if n % 3 != 0 {
                    let expected = curve.at(f64::from(x));
                    assert!((y - expected).abs() < 1e-4 * expected.abs().max(1.0), "{curve:?}: {y}");
                }
            }
        }
    }

    #[test]
    fn another_curve_begins_where_the_signal_is() {
        let mut shaper = Shaper::new(Curve::Clip);
        assert_eq!(shaper.tick(3.0).to_bits(), single((3.0 - 0.5) / 3.0).to_bits());
        shaper.set_curve(Curve::Soft);
        assert!((f64::from(shaper.tick(3.0)) - Curve::Soft.at(3.0)).abs() < 1e-7);
    }
}
