//! State-variable filter: the shapes of [`crate::biquad`], for cutoffs that move.
//!
//! Two trapezoidal integrators, solved without a delay in their loop: Vadim Zavalishin, *The Art of VA Filter Design*,
//! chapter 4, in the form of Andrew Simper, *Solving the continuous SVF equations using trapezoidal integration and
//! equivalent currents* (2013). Its memory is what the integrators hold, whatever the cutoff is: so it stays stable and
//! does not click when the cutoff changes with every sample, and it keeps its precision at the lowest of cutoffs, where
//! a biquad in singles is noisy.

use crate::biquad::Shape;

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

/// A filter at one frequency as its circuit has it: what can be moved, each by itself, to that of another filter, while
/// the signal runs. Every circuit on the way is a stable filter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circuit {
    /// The integrators' gain per half a frame: the warped frequency.
    gain: f32,
    damping: f32,
    /// Of the input, the band and the low output.
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

    /// As [`Self::at`], to be moved. *Realtime-safe: yes*; it computes a tangent.
    #[must_use]
    pub fn circuit_at(&self, frequency_hz: f64) -> Circuit {
        Circuit {
            gain: single(self.loop_gain(frequency_hz)),
            damping: single(self.damping),
            mix: self.mix.map(single),
        }
    }

    fn loop_gain(&self, frequency_hz: f64) -> f64 {
        let frequency = frequency_hz / self.sample_rate_hz;
        let frequency =
            if frequency.is_finite() { frequency.clamp(FREQUENCY_MIN, FREQUENCY_MAX) } else { FREQUENCY_MIN };
        libm::tan(std::f64::consts::PI * frequency) * self.detune
    }
}

impl Circuit {
    /// A filter that passes every signal as it is, yet listens: the way into any other begins here.
    pub const PASSING: Self = Self { gain: 1.0, damping: 2.0, mix: [1.0, 0.0, 0.0] };

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
    pub fn scaled(self, gain: f32) -> Self {
        Self { mix: self.mix.map(|part| part * gain), ..self }
    }

    /// The circuit at `way` (0 to 1) of the way to `other`; each end exactly. *Realtime-safe: yes.*
    #[must_use]
    pub fn towards(&self, other: &Self, way: f32) -> Self {
        let between = |from: f32, to: f32| from * (1.0 - way) + to * way;
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
        let (g, damping) = (f64::from(self.gain), f64::from(self.damping));
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

    #[test]
    fn a_circuit_filters_as_its_coefficients_do_and_ends_where_it_says() {
        for shape in SHAPES {
            let prototype = Prototype::new(shape, 1.7, 5.0, RATE);
            let (circuit, other) = (prototype.circuit_at(700.0), Circuit::PASSING);
            let (mut exact, mut moved) = (noise(2000, 3), noise(2000, 3));
            process(&prototype.at(700.0), &mut State::default(), &mut exact);
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
            let level = |state: &State| f64::from(state.s1).hypot(state.s2.into());
            // Long enough for the slow pole to be alone, and for a ringing one to be seen at any phase.
            let frames = (libm::log(1e-3) / libm::log(circuit.decay_per_frame())).ceil();
            let mut run = |frames: f64| {
                let mut left = frames;
                while left > 0.0 {
                    coefficients.step(&mut state, 0.0);
                    left -= 1.0;
                }
                level(&state)
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
