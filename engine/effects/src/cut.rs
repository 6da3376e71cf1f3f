//! A low cut or a high cut: 12 dB per octave, and off at the end of its range.

use audiocloud_dsp::biquad::Shape;
use audiocloud_dsp::svf::Prototype;
use audiocloud_dsp::svf::circuit::{Circuit, Coefficients};

pub(crate) use audiocloud_dsp::svf::circuit::State;

use crate::effect::Due;

/// Where a low cut is off, and where a high cut is: the ends of their parameters' ranges.
pub(crate) const LOW_CUT_OFF_HZ: f32 = 20.0;
pub(crate) const HIGH_CUT_OFF_HZ: f32 = 20_000.0;

/// Butterworth's: flat, without a bump.
pub(crate) const Q: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// A filter that gets from each grid point's setting to the next one's along the way, also into and out of being off. It
/// runs in any case; where it is off, each sample passes as it is, and as early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    shape: Shape,
    rate_hz: f64,
    hz: f32,
    /// At the last grid point, and at the next.
    from: Circuit,
    to: Circuit,
    /// Of `to`.
    resting: Coefficients,
}

impl Cut {
    /// Takes away what lies below a frequency; off.
    pub(crate) fn low(rate_hz: f64) -> Self {
        Self::new(Shape::HighPass, LOW_CUT_OFF_HZ, rate_hz)
    }

    /// Takes away what lies above a frequency; off.
    pub(crate) fn high(rate_hz: f64) -> Self {
        Self::new(Shape::LowPass, HIGH_CUT_OFF_HZ, rate_hz)
    }

    fn new(shape: Shape, hz: f32, rate_hz: f64) -> Self {
        let mut cut = Self {
            shape,
            rate_hz,
            hz: f32::NAN,
            from: Circuit::PASSING,
            to: Circuit::PASSING,
            resting: Circuit::PASSING.coefficients(),
        };
        cut.set(hz, Due::First);
        cut
    }

    /// The frequency at the next grid point, told at the last. *Realtime-safe: yes.*
    pub(crate) fn set(&mut self, hz: f32, due: Due) {
        self.from = self.to;
        if hz != self.hz {
            self.hz = hz;
            self.to = Prototype::new(self.shape, Q, 0.0, self.rate_hz).circuit_at(f64::from(hz));
            if !self.is_on() {
                self.to = self.to.passing();
            }
            // Into being heard only the output is faded: the circuit is the new one's already.
            if self.from.is_passing() {
                self.from = self.to.passing();
            }
            self.resting = self.to.coefficients();
        }
        if due == Due::First {
            self.from = self.to;
        }
    }

    /// Whether it is heard, at the latest from the next grid point on.
    pub(crate) fn is_on(&self) -> bool {
        match self.shape {
            Shape::HighPass => self.hz > LOW_CUT_OFF_HZ,
            _ => self.hz < HIGH_CUT_OFF_HZ,
        }
    }

    /// The next sample, at this share of the way from grid point to grid point. *Realtime-safe: yes.*
    #[inline]
    pub(crate) fn step(&self, state: &mut State, progress: f32, sample: f32) -> f32 {
        if self.from != self.to {
            return self.from.towards(&self.to, f64::from(progress)).coefficients().step(state, sample);
        }
        let cut = self.resting.step(state, sample);
        if self.to.is_passing() { sample } else { cut }
    }
}
