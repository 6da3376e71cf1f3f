//! Compressor: feed-forward, with a soft knee and a side-chain.
//!
//! The design that D. Giannoulis, M. Massberg and J. D. Reiss recommend in *Digital Dynamic Range Compressor Design: A
//! Tutorial and Analysis*, J. Audio Eng. Soc. 60(6), 2012: level to gain in decibels, then a smooth, decoupled peak
//! detector on the gain (their figure 7c). Attack and release are time constants: after them 63 % of the way is gone.

use audiocloud_dsp::octave::{DECIBELS, exp2};

use crate::decibels;
use crate::dynamics::{Dynamics, Places, attack, release};
use crate::effect::{Activation, Block, CHANNELS_MAX, Effect, GRID, Kind, Tail};
use crate::key::{self, Levels, Measure};
use crate::parameter::{Parameter, Unit};

/// Of the list.
pub static COMPRESSOR: Kind = Kind {
    id: "compressor",
    name: "Compressor",
    about: "Makes what is loud softer, by a ratio above a threshold; listens to its input or to a side-chain",
    parameters: &[
        Parameter::linear(1, "Threshold", Unit::Decibels, -60.0, 0.0, -18.0),
        Parameter::logarithmic(2, "Ratio", Unit::Ratio, 1.0, 100.0, 4.0).without_glide(),
        Parameter::linear(3, "Knee", Unit::Decibels, 0.0, 24.0, 6.0).without_glide(),
        attack(4, 0.05, 250.0, 5.0),
        release(5, 2500.0),
        Parameter::linear(6, "Make-up", Unit::Decibels, -12.0, 36.0, 0.0),
        Parameter::choice(7, "Detector", &["Peak", "RMS"], 0),
        Parameter::linear(8, "Link", Unit::Percent, 0.0, 100.0, 100.0).without_glide(),
        Parameter::linear(9, "Mix", Unit::Percent, 0.0, 100.0, 100.0),
        key::source(10),
        key::low_cut(11),
        key::high_cut(12),
    ],
    side_chain: true,
    oversamples: false,
    latency_frames: |_| 0,
    tail: |_, _| Tail::Frames(0),
    make: |activation| Box::new(Compressor::new(activation)),
};

const THRESHOLD: usize = 0;
const RATIO: usize = 1;
const KNEE: usize = 2;
const MAKE_UP: usize = 5;
const DETECTOR: usize = 6;
const LINK: usize = 7;
const MIX: usize = 8;
const PLACES: Places = Places { attack: 3, release: 4, key: 9 };

/// Less than this is no reduction: 10⁻⁶ dB, so that what is left alone is left to the bit.
const NOTHING_DB: f32 = 1e-6;

#[derive(Debug)]
struct Compressor {
    width: usize,
    dynamics: Dynamics,
    curve: Curve,
    measure: Measure,
    link: f32,
    /// The reduction of each channel in dB: released, and what the attack has made of that.
    released: [f32; CHANNELS_MAX],
    reduction: [f32; CHANNELS_MAX],
}

/// The static curve, but for its threshold.
#[derive(Clone, Copy, Debug)]
struct Curve {
    /// Reduction per dB above the threshold: 1 − 1/ratio.
    slope: f32,
    knee_db: f32,
    /// Reduction per dB² within the knee.
    bend: f32,
}

impl Curve {
    fn new(ratio: f32, knee_db: f32) -> Self {
        let slope = 1.0 - 1.0 / ratio.max(1.0);
        Self { slope, knee_db, bend: if knee_db > 0.0 { slope / (2.0 * knee_db) } else { 0.0 } }
    }

    /// The reduction in dB at a level so far above the threshold: none below the knee, a parabola within it, a line
    /// above. Equation 4 of Giannoulis et al., without its branches.
    #[inline]
    fn reduction_db(&self, above_db: f32) -> f32 {
        let half = self.knee_db / 2.0;
        let within = (above_db + half).clamp(0.0, self.knee_db);
        let beyond = (above_db - half).max(0.0);
        self.bend * within * within + self.slope * beyond
    }
}

impl Compressor {
    fn new(activation: &Activation) -> Self {
        Self {
            width: activation.width(),
            dynamics: Dynamics::new(activation, PLACES),
            curve: Curve::new(1.0, 0.0),
            measure: Measure::Peak,
            link: 1.0,
            released: [0.0; CHANNELS_MAX],
            reduction: [0.0; CHANNELS_MAX],
        }
    }

    fn set(&mut self, block: &Block<'_, '_>) {
        self.curve = Curve::new(block.value(RATIO), block.value(KNEE));
        self.measure = if block.choice(DETECTOR) == 0 { Measure::Peak } else { Measure::Rms };
        self.link = block.value(LINK) / 100.0;
    }

    /// From levels to reductions that are not smoothed yet.
    fn compute(&self, levels: &mut Levels, thresholds_db: &[f32]) {
        for level in &mut levels[..self.width] {
            for (level, threshold_db) in level.iter_mut().zip(thresholds_db) {
                *level = self.curve.reduction_db(*level - threshold_db);
            }
        }
        if let ([first, second], 2) = (&mut *levels, self.width) {
            for (first, second) in first.iter_mut().zip(second) {
                let greatest = first.max(*second);
                *first += self.link * (greatest - *first);
                *second += self.link * (greatest - *second);
            }
        }
    }

    /// The reductions over time.
    fn smooth(&mut self, reductions: &mut Levels, frames: usize) {
        let Dynamics { attack_left, release_left, .. } = self.dynamics;
        for (channel, reductions) in reductions[..self.width].iter_mut().enumerate() {
            let (mut released, mut smooth) = (self.released[channel], self.reduction[channel]);
            for reduction in &mut reductions[..frames] {
                let target = *reduction;
                released = target.max(target + release_left * (released - target));
                smooth = released + attack_left * (smooth - released);
                if smooth < NOTHING_DB && released < NOTHING_DB {
                    (released, smooth) = (0.0, 0.0);
                }
                *reduction = smooth;
            }
            (self.released[channel], self.reduction[channel]) = (released, smooth);
        }
    }
}

impl Effect for Compressor {
    fn process(&mut self, block: &mut Block<'_, '_>) {
        if self.dynamics.follow(block) {
            self.set(block);
        }
        let frames = block.frames();
        let mut lane = [0.0; GRID];
        block.ramp(THRESHOLD).fill(&mut lane[..frames]);
        let mut levels = self.dynamics.listen(block, self.measure);
        self.compute(&mut levels, &lane[..frames]);
        self.smooth(&mut levels, frames);

        let (make_up, mix) = (&mut lane, &mut [0.0; GRID]);
        decibels::fill(&block.ramp(MAKE_UP), &mut make_up[..frames]);
        block.ramp(MIX).fill(&mut mix[..frames]);
        for (channel, reductions) in block.main.iter_mut().zip(&levels) {
            for (((sample, reduction_db), make_up), mix) in
                channel.iter_mut().zip(reductions).zip(&*make_up).zip(&*mix)
            {
                let wet = make_up * exp2((reduction_db * (-1.0 / DECIBELS)).max(-126.0));
                // Exactly 1 where nothing is reduced, whatever the mix.
                *sample *= 1.0 + mix * 0.01 * (wet - 1.0);
            }
        }
    }

    fn reset(&mut self) {
        self.dynamics.reset();
        self.released = [0.0; CHANNELS_MAX];
        self.reduction = [0.0; CHANNELS_MAX];
    }
}
