//! Noise gate: makes what is soft softer.
//!
//! Above the threshold it is open. It closes when the level has been below the threshold by the hysteresis for the hold
//! time; closed, it is an expander: for each dB below the threshold the output falls by as many as the ratio says, until
//! it is down by the range. It opens by the attack, a time constant of the gain, and closes by the release, a time
//! constant of the gain in decibels. Both channels share one gain, so that the image stays.

use audiocloud_dsp::octave::{DECIBELS, exp2, log2};

use crate::dynamics::{Dynamics, Places, attack, release};
use crate::effect::{Activation, Block, Effect, GRID, Kind, Tail};
use crate::key::{self, Measure};
use crate::parameter::{Parameter, Unit};

/// Of the list.
pub static GATE: Kind = Kind {
    id: "gate",
    name: "Noise gate",
    about: "Closes when there is nothing but noise; listens to its input or to a side-chain",
    parameters: &[
        Parameter::linear(1, "Threshold", Unit::Decibels, -90.0, 0.0, -45.0),
        Parameter::linear(2, "Hysteresis", Unit::Decibels, 0.0, 24.0, 4.0).without_glide(),
        Parameter::logarithmic(3, "Ratio", Unit::Ratio, 1.0, 100.0, 20.0).without_glide(),
        Parameter::linear(4, "Range", Unit::Decibels, 0.0, 100.0, 80.0),
        attack(5, 0.02, 100.0, 0.5),
        Parameter::linear(6, "Hold", Unit::Milliseconds, 0.0, 2000.0, 40.0).without_glide(),
        release(7, 4000.0),
        key::source(8),
        key::low_cut(9),
        key::high_cut(10),
    ],
    side_chain: true,
    oversamples: false,
    latency_frames: |_| 0,
    tail: |_, _| Tail::Frames(0),
    make: |activation| Box::new(Gate::new(activation)),
};

const THRESHOLD: usize = 0;
const HYSTERESIS: usize = 1;
const RATIO: usize = 2;
const RANGE: usize = 3;
const HOLD: usize = 5;
const PLACES: Places = Places { attack: 4, release: 6, key: 7 };

/// Nearer to its target than this, 10⁻⁵ dB, the gain is there.
const NOTHING_DB: f32 = 1e-5;

#[derive(Debug)]
struct Gate {
    activation: Activation,
    dynamics: Dynamics,
    hysteresis_db: f32,
    /// Reduction per dB below the threshold.
    slope: f32,
    hold_frames: u32,
    is_open: bool,
    /// Until it closes.
    held_frames: u32,
    reduction_db: f32,
}

impl Gate {
    fn new(activation: &Activation) -> Self {
        Self {
            activation: *activation,
            dynamics: Dynamics::new(activation, PLACES),
            hysteresis_db: 0.0,
            slope: 0.0,
            hold_frames: 0,
            is_open: true,
            held_frames: 0,
            reduction_db: 0.0,
        }
    }

    fn set(&mut self, block: &Block<'_, '_>) {
        self.hysteresis_db = block.value(HYSTERESIS);
        self.slope = block.value(RATIO).max(1.0) - 1.0;
        self.hold_frames = self.activation.frames(f64::from(block.value(HOLD)));
        self.held_frames = self.held_frames.min(self.hold_frames);
    }

    /// The reduction that a level asks for.
    fn target_db(&mut self, above_db: f32, range_db: f32) -> f32 {
        if above_db >= 0.0 {
            self.is_open = true;
        }
        if above_db >= -self.hysteresis_db {
            self.held_frames = self.hold_frames;
        } else if self.held_frames > 0 {
            self.held_frames -= 1;
        } else {
            self.is_open = false;
        }
        if self.is_open { 0.0 } else { (-above_db * self.slope).clamp(0.0, range_db) }
    }

    /// The gain after one more frame.
    fn gain(&mut self, target_db: f32) -> f32 {
        let distance_db = self.reduction_db - target_db;
        self.reduction_db = if distance_db.abs() < NOTHING_DB {
            target_db
        } else if distance_db < 0.0 {
            target_db + self.dynamics.release_left * distance_db
        } else {
            let gain = octaves_down(self.reduction_db);
            let target = octaves_down(target_db);
            -DECIBELS * log2(target + self.dynamics.attack_left * (gain - target))
        };
        octaves_down(self.reduction_db)
    }
}

/// The gain of a reduction.
fn octaves_down(reduction_db: f32) -> f32 {
    exp2(reduction_db * (-1.0 / DECIBELS))
}

impl Effect for Gate {
    fn process(&mut self, block: &mut Block<'_, '_>) {
        if self.dynamics.follow(block) {
            self.set(block);
        }
        let frames = block.frames();
        let (mut thresholds_db, mut ranges_db) = ([0.0; GRID], [0.0; GRID]);
        block.ramp(THRESHOLD).fill(&mut thresholds_db[..frames]);
        block.ramp(RANGE).fill(&mut ranges_db[..frames]);
        let [mut gains, other] = self.dynamics.listen(block, Measure::Peak);
        if self.activation.width() == 2 {
            for (level, other) in gains.iter_mut().zip(other) {
                *level = level.max(other);
            }
        }
        for ((gain, threshold_db), range_db) in gains[..frames].iter_mut().zip(thresholds_db).zip(ranges_db) {
            let target_db = self.target_db(*gain - threshold_db, range_db);
            *gain = self.gain(target_db);
        }
        for channel in block.main.iter_mut() {
            for (sample, gain) in channel.iter_mut().zip(&gains) {
                *sample *= gain;
            }
        }
    }

    fn reset(&mut self) {
        self.dynamics.reset();
        self.is_open = true;
        self.held_frames = 0;
        self.reduction_db = 0.0;
    }
}
