//! Closed-form ramps: the value at a frame is a function of the frame's index since the ramp began.
//!
//! Nothing is accumulated from frame to frame, so a ramp is the same however it is cut into blocks, does not drift, and
//! ends on its target exactly.
//!
//! *Realtime-safe: yes*, all of it, on any thread.

use crate::octave::exp2;

/// The longest ramp in frames, 12 hours at 48 kHz: positions convert to floating point as signed integers, which
/// every SIMD instruction set does in one instruction.
const LENGTH_MAX: u32 = i32::MAX as u32;

/// How a ramp goes from its start to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// A constant difference per frame.
    Linear,
    /// A constant ratio per frame: even in decibels, or in octaves. Linear where there is no such ratio, because the
    /// ends differ in sign, or one of them is 0 or subnormal, or they are more than 2¹²⁶ apart.
    Exponential,
}

/// A value on its way to a target.
#[derive(Clone, Copy, Debug)]
pub struct Ramp {
    start: f32,
    target: f32,
    /// Frames since the ramp began; never more than `length`.
    elapsed: u32,
    /// 0 for a value that rests.
    length: u32,
    curve: Curve,
    /// Per frame: a difference if linear, an octave (log₂ of the ratio) if exponential.
    slope: f32,
}

impl Ramp {
    /// A ramp that rests at `value`.
    #[must_use]
    pub const fn constant(value: f32) -> Self {
        Self { start: value, target: value, elapsed: 0, length: 0, curve: Curve::Linear, slope: 0.0 }
    }

    /// Takes `value` from the present frame on.
    pub fn jump(&mut self, value: f32) {
        *self = Self::constant(value);
    }

    /// Starts from the present value, which the present frame still has, and is exactly at the finite `target` after
    /// `frames` frames (at most 2³¹ − 1). With no frames, or no way to go, it jumps.
    pub fn glide(&mut self, target: f32, frames: u32, curve: Curve) {
        let start = self.value();
        let length = frames.min(LENGTH_MAX);
        if length == 0 || start == target {
            return self.jump(target);
        }
        let octaves = if curve == Curve::Exponential { octaves(start, target) } else { None };
        let (curve, way) = match octaves {
            Some(octaves) => (Curve::Exponential, octaves),
            None => (Curve::Linear, target - start),
        };
        *self = Self { start, target, elapsed: 0, length, curve, slope: way / position(length) };
    }

    /// The value at the present frame.
    #[must_use]
    pub fn value(&self) -> f32 {
        if self.is_resting() {
            return self.target;
        }
        match self.curve {
            Curve::Linear => linear(self.start, self.slope, self.elapsed),
            Curve::Exponential => exponential(self.start, self.slope, self.elapsed),
        }
    }

    /// The value at the end.
    #[must_use]
    pub fn target(&self) -> f32 {
        self.target
    }

    /// Whether the target is reached.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.elapsed == self.length
    }

    /// Frames until the target is reached.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.length - self.elapsed
    }

    /// Writes the value of the present frame and of those that follow, one for each of `values`. Does not advance.
    pub fn fill(&self, values: &mut [f32]) {
        let moving =
            usize::try_from(self.remaining()).map_or(values.len(), |frames| frames.min(values.len()));
        let (moving, resting) = values.split_at_mut(moving);
        let (start, slope) = (self.start, self.slope);
        match self.curve {
            Curve::Linear => {
                for (value, frame) in moving.iter_mut().zip(self.elapsed..self.length) {
                    *value = linear(start, slope, frame);
                }
            }
            Curve::Exponential => {
                for (value, frame) in moving.iter_mut().zip(self.elapsed..self.length) {
                    *value = exponential(start, slope, frame);
                }
            }
        }
        resting.fill(self.target);
    }

    /// Moves the present frame on by `frames`, at most to the target.
    pub fn advance(&mut self, frames: u32) {
        self.elapsed = self.elapsed.saturating_add(frames).min(self.length);
    }
}

fn linear(start: f32, slope: f32, frame: u32) -> f32 {
    start + slope * position(frame)
}

fn exponential(start: f32, slope: f32, frame: u32) -> f32 {
    start * exp2(slope * position(frame))
}

/// A frame's index, exact up to 2²⁴ and rounded beyond. `frame` is at most [`LENGTH_MAX`].
fn position(frame: u32) -> f32 {
    frame.cast_signed() as f32
}

/// The octaves from `start` up to `target`, if there is a way that stays within the range of [`exp2`].
fn octaves(start: f32, target: f32) -> Option<f32> {
    let proportional = start.is_normal() && target.is_normal() && (start < 0.0) == (target < 0.0);
    let octaves = libm::log2f(target.abs()) - libm::log2f(start.abs());
    (proportional && octaves.abs() <= 126.0).then_some(octaves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glided(start: f32, target: f32, frames: u32, curve: Curve) -> Ramp {
        let mut ramp = Ramp::constant(start);
        ramp.glide(target, frames, curve);
        ramp
    }

    fn filled(ramp: &Ramp, frames: usize) -> Vec<f32> {
        let mut values = vec![f32::NAN; frames];
        ramp.fill(&mut values);
        values
    }

    #[test]
    fn a_glide_leaves_from_the_present_value_and_arrives_exactly() {
        for curve in [Curve::Linear, Curve::Exponential] {
            for (start, target) in
                [(0.0, 1.0), (1.0, 0.1), (20.0, 20_000.0), (-3.0, 7.0), (-0.3, -0.7), (1e-30, 1e30)]
            {
                for frames in [1, 2, 3, 7, 64, 1000, 100_003] {
                    let mut ramp = glided(start, target, frames, curve);
                    assert_eq!(ramp.value(), start);
                    assert_eq!((ramp.target(), ramp.remaining(), ramp.is_resting()), (target, frames, false));
                    ramp.advance(frames - 1);
                    assert!(!ramp.is_resting());
                    assert_eq!(filled(&ramp, 3)[1..], [target; 2]);
                    ramp.advance(1);
                    assert_eq!((ramp.value(), ramp.remaining(), ramp.is_resting()), (target, 0, true));
                    ramp.advance(u32::MAX);
                    assert_eq!(ramp.value(), target);
                }
            }
        }
    }

    #[test]
    fn linear_is_a_straight_line() {
        let ramp = glided(-1.0, 3.0, 8, Curve::Linear);
        assert_eq!(filled(&ramp, 10), [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0]);
    }

    #[test]
    fn exponential_is_a_straight_line_in_octaves() {
        for (start, target) in [(20.0_f32, 20_000.0_f32), (-1.0, -1e-6), (0.5, 0.5001)] {
            let frames = 4800;
            for (k, value) in
                filled(&glided(start, target, frames, Curve::Exponential), 4800).into_iter().enumerate()
            {
                let expected =
                    f64::from(start) * (f64::from(target) / f64::from(start)).powf(k as f64 / 4800.0);
                let error = f64::from(value) / expected - 1.0;
                assert!(error.abs() < 3e-6, "{start} to {target}, frame {k}: {error:e}");
            }
        }
    }

    #[test]
    fn exponential_without_a_ratio_is_linear() {
        for (start, target) in [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (1e-40, 1.0), (1e-30, 1e30)] {
            let exponential = filled(&glided(start, target, 100, Curve::Exponential), 120);
            assert_eq!(exponential, filled(&glided(start, target, 100, Curve::Linear), 120));
        }
    }

    #[test]
    fn nowhere_to_go_or_no_time_is_a_jump() {
        assert!(glided(0.5, 0.5, 100, Curve::Linear).is_resting());
        let jumped = glided(0.5, 0.7, 0, Curve::Exponential);
        assert_eq!((jumped.value(), jumped.is_resting()), (0.7, true));
        assert_eq!(filled(&jumped, 2), [0.7, 0.7]);
    }

    #[test]
    fn a_glide_within_a_glide_starts_where_the_first_one_is() {
        let mut ramp = glided(0.0, 1.0, 4, Curve::Linear);
        ramp.advance(2);
        ramp.glide(-0.5, 2, Curve::Linear);
        assert_eq!(filled(&ramp, 4), [0.5, 0.0, -0.5, -0.5]);
    }

    #[test]
    fn the_longest_glide_arrives() {
        let mut ramp = glided(0.0, 1.0, u32::MAX, Curve::Linear);
        assert_eq!(ramp.remaining(), LENGTH_MAX);
        ramp.advance(LENGTH_MAX / 2);
        assert!((ramp.value() - 0.5).abs() < 1e-6);
        ramp.advance(LENGTH_MAX / 2);
        assert_eq!(filled(&ramp, 2), [ramp.value(), 1.0]);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_bits(
            start in -100.0_f32..100.0,
            target in -100.0_f32..100.0,
            frames in 1_u32..300,
            exponential: bool,
            cuts in prop::collection::vec(0_usize..100, 0..10),
        ) {
            let curve = if exponential { Curve::Exponential } else { Curve::Linear };
            let mut ramp = glided(start, target, frames, curve);
            let whole = filled(&ramp, cuts.iter().sum());
            let mut cut = Vec::new();
            for length in cuts {
                let block = filled(&ramp, length);
                prop_assert!(block.first().is_none_or(|first| first.to_bits() == ramp.value().to_bits()));
                cut.extend(block);
                ramp.advance(u32::try_from(length).unwrap());
            }
            prop_assert_eq!(
                whole.into_iter().map(f32::to_bits).collect::<Vec<_>>(),
                cut.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            );
        }
    }
}
