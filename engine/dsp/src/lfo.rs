//! Low-frequency oscillators.

use audiocloud_units::SampleRate;

use crate::fade::{raised_cosine, sine_of_quarter};
use crate::noise::{key, random, uniform};

/// What an oscillator does within a turn, from −1 to 1.
///
/// Corners and jumps are exact and not limited in bandwidth: right for a control signal, wrong for an audible tone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shape {
    /// From 0 upwards. Within 2e-7 of a sine.
    #[default]
    Sine,
    /// From 0 upwards, in lines, at the sine's pace.
    Triangle,
    /// From −1 up to 1, then a jump back.
    SawUp,
    /// From 1 down to −1, then a jump back.
    SawDown,
    /// 1 for the first half of a turn, −1 for the second.
    Square,
    /// A random value that holds for a turn.
    SampleAndHold,
    /// From one random value to the next within a turn, along a raised cosine.
    SmoothRandom,
}

/// A low-frequency oscillator.
///
/// Its phase is a whole number of 2⁻⁶⁴ turns that grows by the same amount at each frame: at frame n it is n times that,
/// exactly, however long it ran and however it was cut. The frequency is rounded to multiples of 2⁻⁶⁴ of the sample rate,
/// 3e-15 Hz at 48 kHz: that is less than 10⁻⁷ turns in a year.
#[derive(Clone, Debug)]
pub struct Lfo {
    shape: Shape,
    rate_hz: f64,
    /// Turns since frame 0: the lower 64 bits are the phase, the upper ones count whole turns.
    turns: u128,
    /// 2⁻⁶⁴ turns for each frame.
    step: u64,
    /// 2⁻⁶⁴ turns ahead.
    offset: u64,
    key: u64,
}

impl Lfo {
    /// At frame 0, standing still until it is given a frequency.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn new(shape: Shape, sample_rate: SampleRate) -> Self {
        Self { shape, rate_hz: f64::from(sample_rate.hz()), turns: 0, step: 0, offset: 0, key: key(0) }
    }

    /// *Realtime-safe: yes*.
    pub fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// The frequency from the next frame on, from 0 to half the sample rate. The phase goes on where it is.
    ///
    /// *Realtime-safe: yes*.
    pub fn set_frequency_hz(&mut self, frequency_hz: f64) {
        let turns_per_frame = (frequency_hz / self.rate_hz).clamp(0.0, 0.5);
        self.step = fixed_point(turns_per_frame);
    }

    /// How many turns the oscillator is ahead of its phase, its fraction counting: 0.25 makes a cosine of a sine.
    ///
    /// *Realtime-safe: yes*.
    pub fn set_phase_offset(&mut self, turns: f64) {
        self.offset = fixed_point(turns - libm::floor(turns));
    }

    /// The seed of the random shapes.
    ///
    /// *Realtime-safe: yes*.
    pub fn set_seed(&mut self, seed: u64) {
        self.key = key(seed);
    }

    /// Goes to `frame`, as if the frequency of now had held since frame 0.
    ///
    /// *Realtime-safe: yes*.
    pub fn seek(&mut self, frame: u64) {
        self.turns = u128::from(self.step) * u128::from(frame);
    }

    /// Back to frame 0.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        self.turns = 0;
    }

    /// The value at this frame, from −1 to 1.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn value(&self) -> f32 {
        let turns = self.turns.wrapping_add(u128::from(self.offset));
        match self.shape {
            Shape::Sine => sine(phase(turns)),
            Shape::Triangle => triangle(phase(turns)),
            Shape::SawUp => saw(phase(turns)),
            Shape::SawDown => -saw(phase(turns)),
            Shape::Square => square(phase(turns)),
            Shape::SampleAndHold => held(self.key, turns),
            Shape::SmoothRandom => smooth_random(self.key, turns),
        }
    }

    /// Goes on by some frames.
    ///
    /// *Realtime-safe: yes*.
    pub fn advance(&mut self, frames: u64) {
        self.turns = self.turns.wrapping_add(u128::from(self.step) * u128::from(frames));
    }

    /// Fills `values` with those of the next frames, and goes on by as many.
    ///
    /// *Realtime-safe: yes*.
    pub fn fill(&mut self, values: &mut [f32]) {
        let key = self.key;
        // The match stands outside of the loops, which the compiler then makes as tight as each shape allows.
        match self.shape {
            Shape::Sine => self.fill_with(values, |turns| sine(phase(turns))),
            Shape::Triangle => self.fill_with(values, |turns| triangle(phase(turns))),
            Shape::SawUp => self.fill_with(values, |turns| saw(phase(turns))),
            Shape::SawDown => self.fill_with(values, |turns| -saw(phase(turns))),
            Shape::Square => self.fill_with(values, |turns| square(phase(turns))),
            Shape::SampleAndHold => self.fill_with(values, |turns| held(key, turns)),
            Shape::SmoothRandom => self.fill_with(values, |turns| smooth_random(key, turns)),
        }
    }

    fn fill_with(&mut self, values: &mut [f32], value_at: impl Fn(u128) -> f32) {
        let offset = u128::from(self.offset);
        let step = u128::from(self.step);
        let mut turns = self.turns;
        for value in values {
            *value = value_at(turns.wrapping_add(offset));
            turns = turns.wrapping_add(step);
        }
        self.turns = turns;
    }
}

/// Half a turn of a phase.
const HALF: u32 = 1 << 31;

/// The phase within the turn, in 2⁻³² turns: as fine as an `f32` can use.
fn phase(turns: u128) -> u32 {
    #[allow(clippy::cast_possible_truncation, reason = "whole turns are left out on purpose")]
    let phase = (turns >> 32) as u32;
    phase
}

/// The number of whole turns.
fn whole(turns: u128) -> u64 {
    // What is left of 128 bits fits.
    (turns >> 64) as u64
}

fn sine(phase: u32) -> f32 {
    signed(phase, sine_of_quarter(nearness(phase)))
}

fn triangle(phase: u32) -> f32 {
    signed(phase, nearness(phase))
}

fn saw(phase: u32) -> f32 {
    phase as f32 / HALF as f32 - 1.0
}

fn square(phase: u32) -> f32 {
    signed(phase, 1.0)
}

/// How near the phase is to the crest of its half of the turn: 0 at both ends, 1 in the middle, exactly mirrored.
fn nearness(phase: u32) -> f32 {
    let half = phase % HALF;
    half.min(HALF - half) as f32 / (HALF / 2) as f32
}

/// Negative in the second half of the turn.
fn signed(phase: u32, value: f32) -> f32 {
    if phase < HALF { value } else { -value }
}

fn held(key: u64, turns: u128) -> f32 {
    uniform(random(key, whole(turns)))
}

fn smooth_random(key: u64, turns: u128) -> f32 {
    let from = uniform(random(key, whole(turns)));
    let to = uniform(random(key, whole(turns).wrapping_add(1)));
    let progress = raised_cosine(phase(turns) as f32 / (2.0 * HALF as f32));
    from + progress * (to - from)
}

/// A fraction of a turn in units of 2⁻⁶⁴ turns. What is not a number is none.
fn fixed_point(turns: f64) -> u64 {
    const TURN: f64 = 18_446_744_073_709_551_616.0;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 1 of a turn; the cast saturates"
    )]
    let units = libm::round(turns * TURN) as u64;
    units
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    const SHAPES: [Shape; 7] = [
        Shape::Sine,
        Shape::Triangle,
        Shape::SawUp,
        Shape::SawDown,
        Shape::Square,
        Shape::SampleAndHold,
        Shape::SmoothRandom,
    ];

    fn lfo(shape: Shape, frequency_hz: f64) -> Lfo {
        let mut lfo = Lfo::new(shape, SampleRate::new(48_000).unwrap());
        lfo.set_frequency_hz(frequency_hz);
        lfo
    }

    fn values(mut lfo: Lfo, count: usize) -> Vec<f32> {
        let mut values = vec![f32::NAN; count];
        lfo.fill(&mut values);
        values
    }

    #[test]
    fn sine_is_a_sine() {
        for (frame, value) in (0_u32..).zip(values(lfo(Shape::Sine, 3.7), 100_000)) {
            let expected = (TAU * 3.7 * f64::from(frame) / 48_000.0).sin();
            assert!((f64::from(value) - expected).abs() < 2.5e-7, "frame {frame}: {value} for {expected}");
        }
    }

    #[test]
    fn shapes_have_their_values_at_eighths_of_a_turn() {
        let check = |shape, expected: [f32; 8]| {
            assert_eq!(values(lfo(shape, 6_000.0), 16)[8..], expected, "{shape:?}");
        };
        let s = 0.5_f32.sqrt();
        check(Shape::Triangle, [0.0, 0.5, 1.0, 0.5, 0.0, -0.5, -1.0, -0.5]);
        check(Shape::SawUp, [-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75]);
        check(Shape::SawDown, [1.0, 0.75, 0.5, 0.25, 0.0, -0.25, -0.5, -0.75]);
        check(Shape::Square, [1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0]);
        for (value, expected) in
            values(lfo(Shape::Sine, 6_000.0), 8).into_iter().zip([0.0, s, 1.0, s, 0.0, -s, -1.0, -s])
        {
            assert!((value - expected).abs() < 2e-7, "{value} for {expected}");
        }
    }

    #[test]
    fn every_shape_stays_within_one() {
        for shape in SHAPES {
            for value in values(lfo(shape, 1234.567), 100_000) {
                assert!((-1.0..=1.0).contains(&value), "{shape:?}: {value}");
            }
        }
    }

    #[test]
    fn no_drift_after_a_year() {
        // A third of a hertz, which no binary fraction is, over 48,000 frames a second for a year.
        let frame = 48_000_u64 * 86_400 * 365;
        let mut far = lfo(Shape::Sine, 1.0 / 3.0);
        far.advance(frame);
        // A year is a whole number of such turns: the phase is back at zero, but for the rounding of the frequency.
        assert!(far.value().abs() < 3e-7, "{}", far.value());
        let mut sought = lfo(Shape::Sine, 1.0 / 3.0);
        sought.seek(frame);
        assert_eq!(far.value().to_bits(), sought.value().to_bits());
    }

    #[test]
    fn the_offset_turns_a_sine_into_a_cosine() {
        for (turns, expected) in
            [(0.25, 1.0), (-0.25, -1.0), (7.5, 0.0), (f64::NAN, 0.0), (0.125, 0.5_f32.sqrt())]
        {
            let mut lfo = lfo(Shape::Sine, 1.0);
            lfo.set_phase_offset(turns);
            assert!((lfo.value() - expected).abs() < 2e-7, "{turns}: {}", lfo.value());
        }
    }

    #[test]
    fn random_shapes_hold_and_glide() {
        // 1,024 frames a turn, exactly.
        let frequency_hz = 48_000.0 / 1024.0;
        let held = values(lfo(Shape::SampleAndHold, frequency_hz), 10 * 1024);
        for (turn, next) in held.chunks(1024).zip(held.chunks(1024).skip(1)) {
            assert!(turn.iter().all(|value| *value == turn[0]));
            assert_ne!(turn[0], next[0]);
        }
        let smooth = values(lfo(Shape::SmoothRandom, frequency_hz), 10 * 1024);
        for start in (0..9).map(|turn| turn * 1024) {
            assert_eq!(smooth[start], held[start]);
            assert!((smooth[start + 512] - 0.5 * (held[start] + held[start + 1024])).abs() < 1e-6);
        }
        // The greatest slope of a raised cosine of 1,024 frames from −1 to 1.
        let slope_max = smooth.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(slope_max < std::f32::consts::PI / 1024.0 + 1e-6, "{slope_max}");

        let mut other = lfo(Shape::SampleAndHold, frequency_hz);
        other.set_seed(1);
        assert_ne!(other.value(), held[0]);
    }

    #[test]
    fn a_change_of_frequency_does_not_jump() {
        let mut lfo = lfo(Shape::Triangle, 100.0);
        lfo.advance(60);
        let before = lfo.value();
        lfo.set_frequency_hz(400.0);
        assert_eq!(lfo.value(), before);
        lfo.advance(1);
        assert!((lfo.value() - before - 4.0 * 400.0 / 48_000.0).abs() < 1e-6);
    }

    #[test]
    fn absurd_frequencies_are_bounded() {
        for (frequency_hz, step) in [(-1.0, 0), (f64::NAN, 0), (1e9, 1 << 63), (f64::INFINITY, 1 << 63)] {
            assert_eq!(lfo(Shape::Sine, frequency_hz).step, step, "{frequency_hz}");
        }
    }

    proptest! {
        #[test]
        fn the_same_in_any_cut_to_the_bit(
            which in 0..7_usize, frequency_hz in 0.0..24_000.0, cuts in prop::collection::vec(0..100_usize, 0..20),
        ) {
            let mut cut = lfo(SHAPES[which], frequency_hz);
            let whole = values(cut.clone(), cuts.iter().sum());
            let mut start = 0;
            for count in cuts {
                let mut part = vec![f32::NAN; count];
                let frame = u64::try_from(start).unwrap();
                if let Some(&expected) = whole.get(start) {
                    let mut sought = lfo(SHAPES[which], frequency_hz);
                    sought.seek(frame);
                    prop_assert_eq!(sought.value().to_bits(), expected.to_bits());
                }
                cut.fill(&mut part);
                for (part, whole) in part.iter().zip(&whole[start..]) {
                    prop_assert_eq!(part.to_bits(), whole.to_bits());
                }
                start += count;
            }
        }
    }
}
