//! Biquadratic filters: two poles and two zeros, in the transposed direct form II.
//!
//! The structure is that of Julius O. Smith, *Introduction to Digital Filters with Audio Applications*, chapter
//! "Transposed Direct Forms"; the shapes are those of Robert Bristow-Johnson, *Cookbook formulae for audio equalizer
//! biquad filter coefficients*. [`lanes`] runs many at once.

mod design;
pub mod lanes;
#[cfg(test)]
pub(crate) mod tests;

/// What a biquad is designed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// 12 dB per octave down above the cutoff, where its gain is Q.
    LowPass,
    /// 12 dB per octave down below the cutoff, where its gain is Q.
    HighPass,
    /// A band whose skirts stay where they are when Q changes; its gain at the centre is Q.
    BandPassSkirt,
    /// A band whose gain at the centre is 0 dB.
    BandPassPeak,
    /// All but the centre.
    Notch,
    /// Everything, turned by half a cycle at the centre and by a whole one far above it.
    AllPass,
    /// The gain at the centre, 0 dB far from it. Bandwidth is measured at half the gain in decibels, so that a boost
    /// and a cut of the same gain and Q cancel.
    Peak,
    /// The gain far below the corner, half of it in decibels at the corner.
    LowShelf,
    /// The gain far above the corner, half of it in decibels at the corner.
    HighShelf,
}

/// The transfer function `(b0 + b1 z⁻¹ + b2 z⁻²) / (1 + a1 z⁻¹ + a2 z⁻²)`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Coefficients {
    /// Of the present sample.
    pub b0: f32,
    /// Of the sample before.
    pub b1: f32,
    /// Of the sample before that.
    pub b2: f32,
    /// Of the output before.
    pub a1: f32,
    /// Of the output before that.
    pub a2: f32,
}

impl Coefficients {
    /// Passes every signal as it is.
    pub const IDENTITY: Self = Self { b0: 1.0, b1: 0.0, b2: 0.0, a1: 0.0, a2: 0.0 };

    /// The complex gain at a frequency, as real and imaginary part.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn response(&self, frequency_hz: f64, sample_rate_hz: f64) -> (f64, f64) {
        let angle = std::f64::consts::TAU * frequency_hz / sample_rate_hz;
        let (cos1, cos2) = (libm::cos(angle), libm::cos(2.0 * angle));
        let (sin1, sin2) = (libm::sin(angle), libm::sin(2.0 * angle));
        let polynomial = |c0: f64, c1: f32, c2: f32| {
            let (c1, c2) = (f64::from(c1), f64::from(c2));
            (c0 + c1 * cos1 + c2 * cos2, -c1 * sin1 - c2 * sin2)
        };
        let (b_re, b_im) = polynomial(f64::from(self.b0), self.b1, self.b2);
        let (a_re, a_im) = polynomial(1.0, self.a1, self.a2);
        let power = a_re * a_re + a_im * a_im;
        ((b_re * a_re + b_im * a_im) / power, (b_im * a_re - b_re * a_im) / power)
    }

    /// The gain at a frequency.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn magnitude(&self, frequency_hz: f64, sample_rate_hz: f64) -> f64 {
        let (re, im) = self.response(frequency_hz, sample_rate_hz);
        (re * re + im * im).sqrt()
    }
}

/// What a filter remembers of the samples before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct State {
    /// What is due at the next sample.
    pub s1: f32,
    /// What is due at the sample after that, before its output is known.
    pub s2: f32,
}

impl State {
    /// Forgets every sample.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Filters `samples` in place.
///
/// The order of the arithmetic is part of the contract: [`lanes`] reproduces it, bit for bit.
///
/// *Realtime-safe: yes*.
pub fn process(coefficients: &Coefficients, state: &mut State, samples: &mut [f32]) {
    let Coefficients { b0, b1, b2, a1, a2 } = *coefficients;
    let State { mut s1, mut s2 } = *state;
    for sample in samples {
        let x = *sample;
        let y = b0 * x + s1;
        s1 = (b1 * x + s2) - a1 * y;
        s2 = b2 * x - a2 * y;
        *sample = y;
    }
    *state = State { s1, s2 };
}
