//! The key of a dynamics effect: what it listens to, and how loud that is.

use audiocloud_dsp::biquad::Shape;
use audiocloud_dsp::maximum::Maximum;
use audiocloud_dsp::octave::{DECIBELS, log2};
use audiocloud_dsp::svf::Prototype;
use audiocloud_dsp::svf::circuit::Circuit;

use crate::effect::{Activation, Block, CHANNELS_MAX, Due, GRID, GRID_FRAMES};
use crate::parameter::{Parameter, Unit};
use crate::section::Section;

/// Levels in decibels, one array for each channel.
pub(crate) type Levels = [[f32; GRID]; CHANNELS_MAX];

/// Whose level decides.
const SOURCES: &[&str] = &["Input", "Side-chain"];
const SIDE_CHAIN: usize = 1;

/// Crests of a tone down to 50 Hz are held until the next one comes, so that the level does not follow the wave.
const CREST_MS: f64 = 10.0;
/// The time constant of the mean power.
const POWER_MS: f64 = 10.0;
/// −200 dB: what silence counts as.
const FLOOR: f32 = 1e-10;
/// A cut at the end of its range is none.
const LOW_CUT_OFF_HZ: f32 = 20.0;
const HIGH_CUT_OFF_HZ: f32 = 20_000.0;

pub(crate) const fn source(id: u32) -> Parameter {
    Parameter::choice(id, "Key", SOURCES, 0)
}

pub(crate) const fn low_cut(id: u32) -> Parameter {
    Parameter::logarithmic(id, "Key low cut", Unit::Hertz, LOW_CUT_OFF_HZ, 2000.0, LOW_CUT_OFF_HZ)
        .without_glide()
}

pub(crate) const fn high_cut(id: u32) -> Parameter {
    Parameter::logarithmic(id, "Key high cut", Unit::Hertz, 200.0, HIGH_CUT_OFF_HZ, HIGH_CUT_OFF_HZ)
        .without_glide()
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// The crests.
    Peak,
    /// The mean power. A tone reads as its crests do, as AES17 has it: its power counts twice.
    Rms,
}

/// What is asked of it, at the control rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) source: usize,
    pub(crate) low_cut_hz: f32,
    pub(crate) high_cut_hz: f32,
}

#[derive(Debug)]
pub(crate) struct Key {
    rate_hz: f64,
    width: usize,
    setting: Option<Setting>,
    cuts: [Section; 2],
    crests: [Maximum; CHANNELS_MAX],
    powers: [f64; CHANNELS_MAX],
    measure: Measure,
    /// How much of the power is left after a frame.
    power_left: f64,
}

impl Key {
    /// *Realtime-safe: no*, it allocates.
    pub(crate) fn new(activation: &Activation) -> Self {
        let window = activation.frames(CREST_MS);
        Self {
            rate_hz: activation.rate_hz(),
            width: activation.width(),
            setting: None,
            cuts: [Section::new(), Section::new()],
            crests: [Maximum::new(window), Maximum::new(window)],
            powers: [0.0; CHANNELS_MAX],
            measure: Measure::Peak,
            power_left: left_per_frame(POWER_MS, activation.rate_hz()),
        }
    }

    /// As new. *Realtime-safe: yes.*
    pub(crate) fn reset(&mut self) {
        self.setting = None;
        self.cuts.iter_mut().for_each(Section::reset);
        self.measure = Measure::Peak;
        self.forget();
    }

    /// What was measured. *Realtime-safe: yes.*
    fn forget(&mut self) {
        self.crests.iter_mut().for_each(Maximum::reset);
        self.powers = [0.0; CHANNELS_MAX];
    }

    /// *Realtime-safe: yes*.
    pub(crate) fn set(&mut self, due: Due, setting: Setting) {
        if self.setting.replace(setting) == Some(setting) {
            return;
        }
        let cut = |is_on: bool, shape, hz: f32| {
            if is_on {
                Prototype::new(shape, std::f64::consts::FRAC_1_SQRT_2, 0.0, self.rate_hz)
                    .circuit_at(f64::from(hz))
            } else {
                Circuit::PASSING
            }
        };
        let low = cut(setting.low_cut_hz > LOW_CUT_OFF_HZ, Shape::HighPass, setting.low_cut_hz);
        let high = cut(setting.high_cut_hz < HIGH_CUT_OFF_HZ, Shape::LowPass, setting.high_cut_hz);
        for (section, circuit) in self.cuts.iter_mut().zip([low, high]) {
            match due {
                Due::First => section.jump(circuit),
                Due::Grid => section.follow(circuit, GRID_FRAMES),
            }
        }
    }

    /// The levels of a block, before it is changed. A side-chain that is not there is silent; one with fewer channels
    /// is heard by those that have none of their own in its last. What is not a number counts as silence.
    /// *Realtime-safe: yes.*
    pub(crate) fn listen(&mut self, block: &Block<'_, '_>, measure: Measure) -> Levels {
        if measure != self.measure {
            // The other has not listened meanwhile.
            self.measure = measure;
            self.forget();
        }
        let frames = block.frames();
        let mut levels = [[0.0; GRID]; CHANNELS_MAX];
        let from_side_chain = self.setting.is_some_and(|setting| setting.source == SIDE_CHAIN);
        for (channel, level) in levels[..self.width].iter_mut().enumerate() {
            let heard: Option<&[f32]> = if from_side_chain {
                block.side_chain.get(channel).or(block.side_chain.last()).copied()
            } else {
                block.main.get(channel).map(|channel| &**channel)
            };
            for (level, sample) in level[..frames].iter_mut().zip(heard.unwrap_or_default()) {
                *level = if sample.is_finite() { *sample } else { 0.0 };
            }
        }
        let [first, second] = &mut levels;
        let mut channels = [&mut first[..frames], &mut second[..frames]];
        for cut in &mut self.cuts {
            cut.process(&mut channels[..self.width]);
        }
        for (index, level) in channels[..self.width].iter_mut().enumerate() {
            match measure {
                Measure::Peak => {
                    for level in level.iter_mut() {
                        *level = self.crests[index].push(level.abs());
                    }
                    in_decibels(level, DECIBELS);
                }
                Measure::Rms => {
                    let power = &mut self.powers[index];
                    for level in level.iter_mut() {
                        let square = 2.0 * f64::from(*level) * f64::from(*level);
                        *power = square + self.power_left * (*power - square);
                        *level = single(*power);
                    }
                    in_decibels(level, DECIBELS / 2.0);
                }
            }
        }
        levels
    }
}

/// So many decibels for each octave above 1, and at least those of the floor.
fn in_decibels(levels: &mut [f32], decibels_per_octave: f32) {
    // Of the amplitude, which for a power is the root.
    let floor = if decibels_per_octave < DECIBELS { FLOOR * FLOOR } else { FLOOR };
    for level in levels {
        *level = decibels_per_octave * log2(level.clamp(floor, 1e30));
    }
}

/// What is left of a distance after a frame, with a time constant: e^(−1/τ), τ in frames.
pub(crate) fn left_per_frame(time_ms: f64, rate_hz: f64) -> f64 {
    let frames = time_ms * rate_hz / 1000.0;
    if frames > 0.0 { libm::exp(-1.0 / frames) } else { 0.0 }
}

#[allow(clippy::cast_possible_truncation, reason = "the nearest single is what is asked for")]
fn single(value: f64) -> f32 {
    value as f32
}
