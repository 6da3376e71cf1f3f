//! State-variable filter: the shapes of [`crate::biquad`], for cutoffs that move.
//!
//! Two trapezoidal integrators, solved without a delay in their loop: Vadim Zavalishin, *The Art of VA Filter Design*,
//! chapter 4, in the form of Andrew Simper, *Solving the continuous SVF equations using trapezoidal integration and
//! equivalent currents* (2013). Its memory is what the integrators hold, whatever the cutoff is: so it stays stable and
//! does not click when the cutoff changes with every sample, and it keeps its precision at the lowest of cutoffs, where
//! a biquad in singles is noisy.

pub mod circuit;

use crate::biquad::Shape;
use circuit::Circuit;

/// Of the sample rate.
const FREQUENCY_MIN: f64 = 1e-6;
/// Of the sample rate. At half of it the bilinear transform has no frequency left.
const FREQUENCY_MAX: f64 = 0.49;
const Q_MIN: f64 = 0.01;
const Q_MAX: f64 = 1000.0;
const GAIN_DB_MAX: f64 = 120.0;

/// All of a design but its frequency.
#[derive(Clone, Copy, Debug)]
pub struct Prototype {
    /// 1 / Q of the loop.
    damping: f64,
    /// The loop's frequency over the design's, after warping.
    detune: f64,
    /// Of the input, the band and the low output.
    mix: [f64; 3],
    sample_rate_hz: f64,
}

/// A filter at one frequency.
#[derive(Clone, Copy, Debug)]
pub struct Coefficients {
    /// Of the solution for the band output: the first integrator's memory.
    a1: f32,
    /// Of the difference between the input and the second integrator's memory.
    a2: f32,
    /// The same in the solution for the low output.
    a3: f32,
    mix: [f32; 3],
}

/// What the two integrators hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    /// Of the band output.
    pub s1: f32,
    /// Of the low output.
    pub s2: f32,
}

impl Prototype {
    /// A shape whose Q is kept between 0.01 and 1000 and whose gain, if it has one, is kept within ±120 dB. A Q or gain
    /// that is not finite counts as 1 and 0 dB.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn new(shape: Shape, q: f64, gain_db: f64, sample_rate_hz: f64) -> Self {
        let q = if q.is_finite() { q.clamp(Q_MIN, Q_MAX) } else { 1.0 };
        let gain_db = if gain_db.is_finite() { gain_db.clamp(-GAIN_DB_MAX, GAIN_DB_MAX) } else { 0.0 };
        // The square root of the gain, as in Bristow-Johnson's cookbook.
        let gain = libm::pow(10.0, gain_db / 40.0);
        let k = 1.0 / q;
        let (damping, detune, mix) = match shape {
            Shape::LowPass => (k, 1.0, [0.0, 0.0, 1.0]),
            Shape::HighPass => (k, 1.0, [1.0, -k, -1.0]),
            Shape::BandPassSkirt => (k, 1.0, [0.0, 1.0, 0.0]),
            Shape::BandPassPeak => (k, 1.0, [0.0, k, 0.0]),
            Shape::Notch => (k, 1.0, [1.0, -k, 0.0]),
            Shape::AllPass => (k, 1.0, [1.0, -2.0 * k, 0.0]),
            Shape::Peak => (k / gain, 1.0, [1.0, k / gain * (gain * gain - 1.0), 0.0]),
            Shape::LowShelf => (k, 1.0 / gain.sqrt(), [1.0, k * (gain - 1.0), gain * gain - 1.0]),
            Shape::HighShelf => (k, gain.sqrt(), [gain * gain, k * (1.0 - gain) * gain, 1.0 - gain * gain]),
        };
        Self { damping, detune, mix, sample_rate_hz }
    }

    /// The filter at a frequency, which is kept between a millionth and 49 % of the sample rate.
    ///
    /// *Realtime-safe: yes*; it computes a tangent.
    #[must_use]
    pub fn at(&self, frequency_hz: f64) -> Coefficients {
        let g = self.loop_gain(frequency_hz);
        let a1 = 1.0 / (1.0 + g * (g + self.damping));
        Coefficients { a1: single(a1), a2: single(g * a1), a3: single(g * g * a1), mix: self.mix.map(single) }
    }

    /// As [`Self::at`], in double precision and to be moved. *Realtime-safe: yes*; it computes a tangent.
    #[must_use]
    pub fn circuit_at(&self, frequency_hz: f64) -> Circuit {
        Circuit::new(self.loop_gain(frequency_hz), self.damping, self.mix)
    }

    fn loop_gain(&self, frequency_hz: f64) -> f64 {
        let frequency = frequency_hz / self.sample_rate_hz;
        let frequency =
            if frequency.is_finite() { frequency.clamp(FREQUENCY_MIN, FREQUENCY_MAX) } else { FREQUENCY_MIN };
        libm::tan(std::f64::consts::PI * frequency) * self.detune
    }
}

impl Coefficients {
    /// The band and the low output for a sample.
    #[inline]
    pub(crate) fn solve(&self, state: &mut State, x: f32) -> (f32, f32) {
        let difference = x - state.s2;
        let band = self.a1 * state.s1 + self.a2 * difference;
        let low = state.s2 + (self.a2 * state.s1 + self.a3 * difference);
        state.s1 = 2.0 * band - state.s1;
        state.s2 = 2.0 * low - state.s2;
        (band, low)
    }

    /// The solution's three factors and the outputs' three, for filters that run in lanes of their own.
    pub(crate) fn parts(&self) -> ([f32; 3], [f32; 3]) {
        ([self.a1, self.a2, self.a3], self.mix)
    }

    /// Filters a sample.
    ///
    /// *Realtime-safe: yes*.
    #[inline]
    pub fn step(&self, state: &mut State, x: f32) -> f32 {
        let (band, low) = self.solve(state, x);
        self.mix[0] * x + (self.mix[1] * band + self.mix[2] * low)
    }
}

impl State {
    /// Forgets every sample.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Filters `samples` in place, at one frequency.
///
/// *Realtime-safe: yes*.
pub fn process(coefficients: &Coefficients, state: &mut State, samples: &mut [f32]) {
    for sample in samples {
        *sample = coefficients.step(state, *sample);
    }
}

/// Filters `samples` in place, each at its own frequency; those without one are left as they are.
///
/// *Realtime-safe: yes*; it computes a tangent for each sample.
pub fn process_modulated(
    prototype: &Prototype,
    frequencies_hz: &[f32],
    state: &mut State,
    samples: &mut [f32],
) {
    for (sample, frequency_hz) in samples.iter_mut().zip(frequencies_hz) {
        *sample = prototype.at(f64::from(*frequency_hz)).step(state, *sample);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the nearest single is what is asked for")]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::biquad::tests::{SHAPES, decibels, noise, prototype_magnitude};
    use proptest::prelude::*;

    const RATE: f64 = 48_000.0;

    fn magnitude(response: &[f32], frequency_hz: f64) -> f64 {
        let angle = std::f64::consts::TAU * frequency_hz / RATE;
        let (mut re, mut im) = (0.0, 0.0);
        for (k, sample) in response.iter().enumerate() {
            re += f64::from(*sample) * (angle * k as f64).cos();
            im += f64::from(*sample) * (angle * k as f64).sin();
        }
        re.hypot(im)
    }

    #[test]
    fn every_shape_is_its_analogue_prototype_through_the_bilinear_transform() {
        let warp = |hz: f64| (std::f64::consts::PI * hz / RATE).tan();
        for shape in SHAPES {
            for (centre, q, gain_db) in [(20.0, 0.7, 6.0), (1000.0, 4.0, -12.0), (15_000.0, 0.5, 9.0)] {
                let mut response = vec![0.0; 24_000];
                response[0] = 1.0;
                process(
                    &Prototype::new(shape, q, gain_db, RATE).at(centre),
                    &mut State::default(),
                    &mut response,
                );
                for frequency in [5.0, 20.0, 70.0, 900.0, 1000.0, 1100.0, 15_000.0, 20_000.0] {
                    let expected = prototype_magnitude(shape, warp(frequency) / warp(centre), q, gain_db);
                    let error = magnitude(&response, frequency) - expected;
                    assert!(
                        error.abs() < 2e-4 * expected.max(0.1),
                        "{shape:?} {centre} Hz at {frequency} Hz: {error:e} off {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn low_filters_stay_quiet() {
        // Against the same recursion in double precision: a biquad in singles is at −75 dB here.
        let coefficients = Prototype::new(Shape::HighPass, 2.0, 0.0, RATE).at(30.0);
        let signal = noise(48_000, 4);
        let mut filtered = signal.clone();
        process(&coefficients, &mut State::default(), &mut filtered);
        let [a1, a2, a3] = [coefficients.a1, coefficients.a2, coefficients.a3].map(f64::from);
        let mix = coefficients.mix.map(f64::from);
        let (mut s1, mut s2, mut power) = (0.0, 0.0, 0.0);
        for (x, found) in signal.iter().zip(filtered) {
            let x = f64::from(*x);
            let band = a1 * s1 + a2 * (x - s2);
            let low = s2 + a2 * s1 + a3 * (x - s2);
            (s1, s2) = (2.0 * band - s1, 2.0 * low - s2);
            power += (mix[0] * x + mix[1] * band + mix[2] * low - f64::from(found)).powi(2);
        }
        let error_db = decibels((power / 48_000.0).sqrt());
        assert!(error_db < -110.0, "{error_db} dB");
    }

    #[test]
    fn what_is_not_a_number_is_moved_to_where_the_maths_holds() {
        for bad in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
            let mut samples = noise(1000, 6);
            let coefficients = Prototype::new(Shape::Peak, bad, bad, RATE).at(bad);
            process(&coefficients, &mut State::default(), &mut samples);
            assert!(samples.iter().all(|sample| sample.is_finite()), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_cutoff_that_jumps_with_every_sample_stays_bounded(seed: u32, q in 0.5_f64..20.0) {
            let frequencies_hz: Vec<f32> =
                noise(4000, seed).iter().map(|octave| 600.0 * (octave * 5.0).exp2()).collect();
            for shape in [Shape::LowPass, Shape::HighPass, Shape::BandPassSkirt, Shape::Notch] {
                let prototype = Prototype::new(shape, q, 0.0, RATE);
                let mut samples = noise(4000, seed ^ 1);
                let mut state = State::default();
                process_modulated(&prototype, &frequencies_hz, &mut state, &mut samples);
                prop_assert!(samples.iter().all(|sample| f64::from(sample.abs()) < 4.0 * (1.0 + q)));

                // Without an input, it falls silent however the cutoff moves.
                let energy = |state: &State| f64::from(state.s1).hypot(state.s2.into());
                let before = energy(&state);
                process_modulated(&prototype, &frequencies_hz, &mut state, &mut vec![0.0; 4000]);
                prop_assert!(energy(&state) < before * 1e-3);
            }
        }

        #[test]
        fn any_cut_gives_the_same_bits(seed: u32, cuts in prop::collection::vec(0_usize..100, 0..10)) {
            let frames = cuts.iter().sum();
            let frequencies_hz: Vec<f32> = noise(frames, seed).iter().map(|x| 1000.0 + 900.0 * x).collect();
            let prototype = Prototype::new(Shape::LowShelf, 0.8, 5.0, RATE);
            let (mut whole, mut cut) = (noise(frames, 8), noise(frames, 8));
            process_modulated(&prototype, &frequencies_hz, &mut State::default(), &mut whole);
            let (mut state, mut start) = (State::default(), 0);
            for length in cuts {
                let range = start..start + length;
                process_modulated(&prototype, &frequencies_hz[range.clone()], &mut state, &mut cut[range]);
                start += length;
            }
            prop_assert!(whole.iter().zip(&cut).all(|(whole, cut)| whole.to_bits() == cut.to_bits()));
        }
    }
}
