//! A state-variable filter in double precision that moves from one setting to another while the signal runs.
//!
//! Singles leave a bell of 30 Hz at 192 kHz 110 dB of room; doubles leave nothing to be heard of, and where one sample waits
//! for the one before they take no longer.

/// A filter at one frequency as its circuit has it: what can be moved, each by itself, to that of another filter. Every
/// circuit on the way is a stable filter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circuit {
    /// The integrators' gain per half a frame: the warped frequency.
    gain: f64,
    damping: f64,
    /// Of the input, the band and the low output.
    mix: [f64; 3],
}

/// What filters.
#[derive(Clone, Copy, Debug)]
pub struct Coefficients {
    a1: f64,
    a2: f64,
    a3: f64,
    mix: [f64; 3],
}

/// What the two integrators hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    /// Of the band output.
    s1: f64,
    /// Of the low output.
    s2: f64,
}

impl Circuit {
    /// A filter that passes every signal as it is, yet listens: the way into any other begins here.
    pub const PASSING: Self = Self { gain: 1.0, damping: 2.0, mix: [1.0, 0.0, 0.0] };

    pub(super) fn new(gain: f64, damping: f64, mix: [f64; 3]) -> Self {
        Self { gain, damping, mix }
    }

    /// The same filter, with its output turned off and its input passed on. *Realtime-safe: yes.*
    #[must_use]
    pub fn passing(self) -> Self {
        Self { mix: Self::PASSING.mix, ..self }
    }

    /// Whether it passes every signal as it is. *Realtime-safe: yes.*
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.mix == Self::PASSING.mix
    }

    /// The same filter, louder or softer. *Realtime-safe: yes.*
    #[must_use]
    pub fn scaled(self, gain: f64) -> Self {
        Self { mix: self.mix.map(|part| part * gain), ..self }
    }

    /// The circuit at `way` (0 to 1) of the way to `other`; each end exactly. *Realtime-safe: yes.*
    #[must_use]
    pub fn towards(&self, other: &Self, way: f64) -> Self {
        let between = |from: f64, to: f64| from * (1.0 - way) + to * way;
        let mut mix = self.mix;
        for (from, to) in mix.iter_mut().zip(other.mix) {
            *from = between(*from, to);
        }
        Self { gain: between(self.gain, other.gain), damping: between(self.damping, other.damping), mix }
    }

    /// What filters. *Realtime-safe: yes.*
    #[must_use]
    pub fn coefficients(&self) -> Coefficients {
        let Self { gain: g, damping, mix } = *self;
        let a1 = 1.0 / (1.0 + g * (g + damping));
        Coefficients { a1, a2: g * a1, a3: g * (g * a1), mix }
    }

    /// What is left of its memory after a frame without input, at the least: the magnitude of its slowest pole.
    /// *Realtime-safe: yes.*
    #[must_use]
    pub fn decay_per_frame(&self) -> f64 {
        if self.is_passing() {
            return 0.0;
        }
        let (g, damping) = (self.gain, self.damping);
        let half = damping / 2.0;
        if half < 1.0 {
            // A pair, whose product is the square of its magnitude.
            ((1.0 - g * damping + g * g) / (1.0 + g * damping + g * g)).sqrt()
        } else {
            let root = (half * half - 1.0).sqrt();
            // The product of the two is 1 in the analogue filter, so that neither is a difference of large numbers.
            let (fast, slow) = (half + root, 1.0 / (half + root));
            let pole = |s: f64| ((1.0 - g * s) / (1.0 + g * s)).abs();
            pole(fast).max(pole(slow))
        }
    }
}

impl Coefficients {
    /// Filters a sample. *Realtime-safe: yes.*
    #[inline]
    pub fn step(&self, state: &mut State, sample: f32) -> f32 {
        let x = f64::from(sample);
        let difference = x - state.s2;
        let band = self.a1 * state.s1 + self.a2 * difference;
        let low = state.s2 + (self.a2 * state.s1 + self.a3 * difference);
        state.s1 = 2.0 * band - state.s1;
        state.s2 = 2.0 * low - state.s2;
        single(self.mix[0] * x + (self.mix[1] * band + self.mix[2] * low))
    }
}

impl State {
    /// Forgets every sample. *Realtime-safe: yes.*
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Filters `samples` in place, at one setting. *Realtime-safe: yes.*
pub fn process(coefficients: &Coefficients, state: &mut State, samples: &mut [f32]) {
    for sample in samples {
        *sample = coefficients.step(state, *sample);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the signal's precision")]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::biquad::Shape;
    use crate::biquad::tests::{SHAPES, noise};
    use crate::svf::{self, Prototype};

    const RATE: f64 = 48_000.0;

    #[test]
    fn a_circuit_filters_as_its_coefficients_do_and_ends_where_it_says() {
        for shape in SHAPES {
            let prototype = Prototype::new(shape, 1.7, 5.0, RATE);
            let (circuit, other) = (prototype.circuit_at(700.0), Circuit::PASSING);
            let (mut exact, mut moved) = (noise(2000, 3), noise(2000, 3));
            svf::process(&prototype.at(700.0), &mut svf::State::default(), &mut exact);
            process(&circuit.coefficients(), &mut State::default(), &mut moved);
            let error =
                exact.iter().zip(&moved).map(|(exact, moved)| (exact - moved).abs()).fold(0.0, f32::max);
            assert!(error < 1e-5, "{shape:?}: {error:e}");
            assert_eq!((circuit.towards(&other, 0.0), circuit.towards(&other, 1.0)), (circuit, other));
            assert!(circuit.passing().is_passing() && !circuit.is_passing());
        }
    }

    #[test]
    fn memory_decays_as_the_slowest_pole_says() {
        for (frequency, q) in [(50.0, 8.0), (1000.0, 0.7), (300.0, 0.2), (15_000.0, 0.4), (9000.0, 3.0)] {
            let circuit = Prototype::new(Shape::LowPass, q, 0.0, RATE).circuit_at(frequency);
            let coefficients = circuit.coefficients();
            let mut state = State::default();
            coefficients.step(&mut state, 1.0);
            // Long enough for the slow pole to be alone, and for a ringing one to be seen at any phase.
            let frames = (libm::log(1e-3) / libm::log(circuit.decay_per_frame())).ceil();
            let mut run = |frames: f64| {
                let mut left = frames;
                while left > 0.0 {
                    coefficients.step(&mut state, 0.0);
                    left -= 1.0;
                }
                state.s1.hypot(state.s2)
            };
            let before = run(frames);
            let decayed = run(frames) / before;
            let expected = libm::pow(circuit.decay_per_frame(), frames);
            assert!(
                (0.1..10.0).contains(&(decayed / expected)),
                "{frequency} Hz, Q {q}: {decayed:e} {expected:e}"
            );
        }
    }

    /// Against a biquad in direct form, which has nothing in common with it but the transfer function.
    #[test]
    fn low_filters_leave_only_the_rounding_of_the_signal() {
        let (rate, gain_db, q) = (192_000.0, 12.0, 4.0);
        let circuit = Prototype::new(Shape::Peak, q, gain_db, rate).circuit_at(30.0);
        let mut found = noise(60_000, 5);
        let signal = found.clone();
        process(&circuit.coefficients(), &mut State::default(), &mut found);
        // Bristow-Johnson's cookbook.
        let (sin, cos) = (std::f64::consts::TAU * 30.0 / rate).sin_cos();
        let (alpha, a) = (sin / (2.0 * q), 10_f64.powf(gain_db / 40.0));
        let (b0, b1, b2) = (1.0 + alpha * a, -2.0 * cos, 1.0 - alpha * a);
        let (a0, a1, a2) = (1.0 + alpha / a, -2.0 * cos, 1.0 - alpha / a);
        let (mut x1, mut x2, mut y1, mut y2, mut worst) = (0.0, 0.0, 0.0, 0.0, 0.0_f64);
        for (sample, found) in signal.iter().zip(found) {
            let x = f64::from(*sample);
            let y = (b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2) / a0;
            (x2, x1, y2, y1) = (x1, x, y1, y);
            worst = worst.max((y - f64::from(found)).abs());
        }
        assert!(worst < 1.5e-7, "{worst:e}");
    }
}
