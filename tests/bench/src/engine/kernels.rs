//! What nodes of peers that bring no such node do: as fast as one scalar filter goes.

use super::{Block, SAMPLE_RATE_HZ, Work};

pub(super) const GAIN: f32 = 0.999;

/// A second-order section in direct form I, its recursion ordered so that only one multiplication and one subtraction
/// wait for the sample before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Biquad {
    pub(super) coefficients: Coefficients,
    x1: f32,
    x2: f32,
    y1: f32,
    y2: f32,
}

/// Normalised to a0 = 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coefficients {
    pub(super) b0: f32,
    pub(super) b1: f32,
    pub(super) b2: f32,
    pub(super) a1: f32,
    pub(super) a2: f32,
}

impl Coefficients {
    /// A low pass at 1 kHz with Q = 1/√2: Robert Bristow-Johnson, "Audio EQ Cookbook".
    pub(super) fn low_pass() -> Self {
        let omega = std::f64::consts::TAU * 1000.0 / f64::from(SAMPLE_RATE_HZ);
        let alpha = omega.sin() / (2.0 * std::f64::consts::FRAC_1_SQRT_2);
        let (cosine, a0) = (omega.cos(), 1.0 + alpha);
        let b1 = single((1.0 - cosine) / a0);
        Self {
            b0: b1 / 2.0,
            b1,
            b2: b1 / 2.0,
            a1: single(-2.0 * cosine / a0),
            a2: single((1.0 - alpha) / a0),
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "coefficients are designed in double precision and rounded once"
)]
fn single(value: f64) -> f32 {
    value as f32
}

impl Biquad {
    pub(super) fn low_pass() -> Self {
        Self { coefficients: Coefficients::low_pass(), x1: 0.0, x2: 0.0, y1: 0.0, y2: 0.0 }
    }

    #[inline]
    fn next(&mut self, x: f32) -> f32 {
        let Coefficients { b0, b1, b2, a1, a2 } = self.coefficients;
        let y = ((b0 * x + b1 * self.x1 + b2 * self.x2) - a2 * self.y2) - a1 * self.y1;
        (self.x2, self.x1) = (self.x1, x);
        (self.y2, self.y1) = (self.y1, y);
        y
    }

    #[inline]
    pub(super) fn process_in_place(&mut self, block: &mut Block) {
        let mut filter = *self;
        for sample in block {
            *sample = filter.next(*sample);
        }
        *self = filter;
    }

    #[inline]
    pub(super) fn process(&mut self, input: &Block, output: &mut Block) {
        let mut filter = *self;
        for (output, input) in output.iter_mut().zip(input) {
            *output = filter.next(*input);
        }
        *self = filter;
    }
}

/// A node's state: what it does with its block.
#[derive(Debug)]
pub(super) enum Kernel {
    Nothing,
    Gain,
    Biquad(Biquad),
}

impl Kernel {
    pub(super) fn new(work: Work) -> Self {
        match work {
            Work::Nothing => Self::Nothing,
            Work::Gain => Self::Gain,
            Work::Biquad => Self::Biquad(Biquad::low_pass()),
        }
    }
}
