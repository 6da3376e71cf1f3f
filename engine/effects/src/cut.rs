//! A low cut or a high cut: 12 dB per octave, and off at the end of its range.

use audiocloud_dsp::biquad::Shape;
use audiocloud_dsp::svf::{Coefficients, Prototype, State};

/// Where a low cut is off, and where a high cut is: the ends of their parameters' ranges.
pub(crate) const LOW_CUT_OFF_HZ: f32 = 20.0;
pub(crate) const HIGH_CUT_OFF_HZ: f32 = 20_000.0;

/// Butterworth's: flat, without a bump.
pub(crate) const Q: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// A filter, and whether it is heard. It runs in any case, so that it may begin to be without a click; where it is not,
/// each sample passes as it is, and as early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    coefficients: Coefficients,
    on: bool,
}

impl Cut {
    /// Takes away what lies below `hz`.
    pub(crate) fn low(hz: f32, rate_hz: f64) -> Self {
        Self { coefficients: designed(Shape::HighPass, hz, rate_hz), on: hz > LOW_CUT_OFF_HZ }
    }

    /// Takes away what lies above `hz`.
    pub(crate) fn high(hz: f32, rate_hz: f64) -> Self {
        Self { coefficients: designed(Shape::LowPass, hz, rate_hz), on: hz < HIGH_CUT_OFF_HZ }
    }

    /// Whether it is heard.
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// The next sample.
    #[inline]
    pub(crate) fn step(&self, state: &mut State, sample: f32) -> f32 {
        let cut = self.coefficients.step(state, sample);
        if self.on { cut } else { sample }
    }
}

fn designed(shape: Shape, hz: f32, rate_hz: f64) -> Coefficients {
    Prototype::new(shape, Q, 0.0, rate_hz).at(f64::from(hz))
}
