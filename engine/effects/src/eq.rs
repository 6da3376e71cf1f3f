//! Equaliser: eight bands in series, each of any shape.
//!
//! The shapes are those of Robert Bristow-Johnson's *Cookbook formulae for audio equalizer biquad filter coefficients*,
//! as state-variable filters in double precision, which do not click when they move. Cuts
//! steeper than 12 dB per octave are Butterworth filters in sections of second order; a Q other than 0.707 makes the
//! last section more or less resonant.

use audiocloud_dsp::biquad::Shape;
use audiocloud_dsp::level::gain_from_db_f64;
use audiocloud_dsp::svf::Prototype;
use audiocloud_dsp::svf::circuit::Circuit;

use crate::decibels;
use crate::effect::{Activation, Block, Control, Due, Effect, GRID_FRAMES, Kind, Tail};
use crate::parameter::{Parameter, Unit, index};
use crate::section::Section;

/// Of the list.
pub static EQ: Kind = Kind {
    id: "eq",
    name: "EQ",
    about: "Eight bands of any shape: bells, shelves, cuts up to 48 dB per octave, notches and tilts",
    parameters: &PARAMETERS,
    side_chain: false,
    oversamples: false,
    latency_frames: |_| 0,
    tail,
    make: |activation| Box::new(Eq::new(activation)),
};

const BANDS: usize = 8;
/// Second-order sections of a band: four for 48 dB per octave.
const SECTIONS: usize = 4;
/// A band that is turned on or off, or takes another shape, does so within this time.
const CHANGE_MS: f64 = 10.0;
const BUTTERWORTH_Q: f64 = std::f64::consts::FRAC_1_SQRT_2;

const SHAPES: &[&str] =
    &["Bell", "Low shelf", "High shelf", "Low cut", "High cut", "Notch", "Band pass", "All pass", "Tilt"];
const BELL: u16 = 0;
const LOW_SHELF: u16 = 1;
const HIGH_SHELF: u16 = 2;
const LOW_CUT: u16 = 3;
const HIGH_CUT: u16 = 4;

const SLOPES: &[&str] = &["12 dB/oct", "24 dB/oct", "36 dB/oct", "48 dB/oct"];

// Places of a band's parameters, counted from its first.
const ON: usize = 0;
const SHAPE: usize = 1;
const FREQUENCY: usize = 2;
const GAIN: usize = 3;
const Q: usize = 4;
const SLOPE: usize = 5;
const OF_A_BAND: usize = 6;
/// The place behind all bands.
const OUTPUT: usize = BANDS * OF_A_BAND;

/// A band's parameters have the ids 10, 11 … 15 for the first band, 20 … 25 for the second, and so on.
macro_rules! bands {
    ($($number:literal $on:literal $shape:ident $frequency:literal $q:literal;)*) => {
        [
            $(
                Parameter::switch(10 * $number, concat!("Band ", $number, " on"), $on),
                Parameter::choice(10 * $number + 1, concat!("Band ", $number, " shape"), SHAPES, $shape),
                Parameter::logarithmic(
                    10 * $number + 2, concat!("Band ", $number, " frequency"), Unit::Hertz, 10.0, 22_000.0, $frequency,
                ),
                Parameter::linear(
                    10 * $number + 3, concat!("Band ", $number, " gain"), Unit::Decibels, -30.0, 30.0, 0.0,
                ),
                Parameter::logarithmic(
                    10 * $number + 4, concat!("Band ", $number, " Q"), Unit::None, 0.1, 40.0, $q,
                ),
                Parameter::choice(10 * $number + 5, concat!("Band ", $number, " slope"), SLOPES, 1),
            )*
            Parameter::linear(1, "Output", Unit::Decibels, -30.0, 30.0, 0.0),
        ]
    };
}

static PARAMETERS: [Parameter; OUTPUT + 1] = bands! {
    1 false LOW_CUT 30.0 0.707;
    2 true LOW_SHELF 100.0 0.707;
    3 true BELL 250.0 1.0;
    4 true BELL 700.0 1.0;
    5 true BELL 1800.0 1.0;
    6 true BELL 4500.0 1.0;
    7 true HIGH_SHELF 10_000.0 0.707;
    8 false HIGH_CUT 18_000.0 0.707;
};

/// What a band is asked to be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Setting {
    on: bool,
    shape: u16,
    slope: u16,
    frequency_hz: f32,
    gain_db: f32,
    q: f32,
}

impl Setting {
    fn new(value: impl Fn(usize) -> f32) -> Self {
        let choice = |place| u16::try_from(index(value(place))).unwrap_or(0);
        Self {
            on: value(ON) > 0.5,
            shape: choice(SHAPE),
            slope: choice(SLOPE),
            frequency_hz: value(FREQUENCY),
            gain_db: value(GAIN),
            q: value(Q),
        }
    }

    /// Whether this is the same filter at another place.
    fn is_alike(&self, other: &Self) -> bool {
        (self.on, self.shape, self.slope) == (other.on, other.shape, other.slope)
    }

    fn circuits(&self, rate_hz: f64) -> [Circuit; SECTIONS] {
        let (frequency_hz, q, gain_db) =
            (f64::from(self.frequency_hz), f64::from(self.q), f64::from(self.gain_db));
        let mut circuits = [Circuit::PASSING; SECTIONS];
        let one = |shape| Prototype::new(shape, q, gain_db, rate_hz).circuit_at(frequency_hz);
        if !self.on {
            return circuits;
        }
        circuits[0] = match self.shape {
            LOW_CUT => return self.cut(Shape::HighPass, rate_hz),
            HIGH_CUT => return self.cut(Shape::LowPass, rate_hz),
            // Without a gain they are nothing but work and rounding.
            BELL | LOW_SHELF | HIGH_SHELF | 8.. if self.gain_db == 0.0 => Circuit::PASSING,
            BELL => one(Shape::Peak),
            LOW_SHELF => one(Shape::LowShelf),
            HIGH_SHELF => one(Shape::HighShelf),
            5 => one(Shape::Notch),
            6 => one(Shape::BandPassPeak),
            7 => one(Shape::AllPass),
            // As much up above the frequency as down below it.
            8.. => one(Shape::HighShelf).scaled(gain_from_db_f64(-gain_db / 2.0)),
        };
        circuits
    }

    /// A Butterworth cut of 12 dB per octave and section.
    fn cut(&self, shape: Shape, rate_hz: f64) -> [Circuit; SECTIONS] {
        let mut circuits = [Circuit::PASSING; SECTIONS];
        let count = (usize::from(self.slope) + 1).min(SECTIONS);
        for (section, circuit) in circuits[..count].iter_mut().enumerate() {
            let resonance = if section + 1 == count { f64::from(self.q) / BUTTERWORTH_Q } else { 1.0 };
            let q = butterworth_q(section, count) * resonance;
            *circuit = Prototype::new(shape, q, 0.0, rate_hz).circuit_at(f64::from(self.frequency_hz));
        }
        circuits
    }
}

/// The Q of one of the sections of a Butterworth filter of the order 2 `count`, the last of them the most resonant: its
/// poles lie evenly on a half-circle.
fn butterworth_q(section: usize, count: usize) -> f64 {
    let angle = std::f64::consts::PI * (2 * section + 1) as f64 / (4 * count) as f64;
    0.5 / libm::cos(angle)
}

#[derive(Debug)]
struct Eq {
    rate_hz: f64,
    change_frames: u32,
    control: Control,
    bands: [Band; BANDS],
}

#[derive(Debug)]
struct Band {
    /// Of the last design.
    setting: Setting,
    sections: [Section; SECTIONS],
}

impl Eq {
    fn new(activation: &Activation) -> Self {
        let band = || Band { setting: Setting::default(), sections: std::array::from_fn(|_| Section::new()) };
        // In whole grid steps, as everything that begins at one.
        let change_frames = activation.frames(CHANGE_MS).next_multiple_of(GRID_FRAMES);
        Self {
            rate_hz: activation.rate_hz(),
            change_frames,
            control: Control::default(),
            bands: std::array::from_fn(|_| band()),
        }
    }

    /// Designs what was changed: for the next grid point, so that a filter is where its parameters are when they are.
    fn design(&mut self, due: Due, block: &Block<'_, '_>) {
        for (index, band) in self.bands.iter_mut().enumerate() {
            let place = |of_band| index * OF_A_BAND + of_band;
            let next = Setting::new(|of_band| block.ahead(place(of_band)));
            if due == Due::First {
                let present = Setting::new(|of_band| block.value(place(of_band)));
                band.setting = present;
                for (section, circuit) in band.sections.iter_mut().zip(present.circuits(self.rate_hz)) {
                    section.jump(circuit);
                }
            }
            let before = std::mem::replace(&mut band.setting, next);
            if before == next {
                continue;
            }
            let is_alike = before.is_alike(&next);
            let is_moving = (0..OF_A_BAND).any(|of_band| !block.ramp(place(of_band)).is_resting());
            let frames = GRID_FRAMES - block.offset();
            for (section, circuit) in band.sections.iter_mut().zip(next.circuits(self.rate_hz)) {
                match (is_alike, is_moving) {
                    (true, true) => section.follow(circuit, frames),
                    (true, false) => section.fade(circuit, frames),
                    (false, _) => section.fade(circuit, self.change_frames),
                }
            }
        }
    }
}

impl Effect for Eq {
    fn process(&mut self, block: &mut Block<'_, '_>) {
        if let Some(due) = self.control.due(block) {
            self.design(due, block);
        }
        for section in self.bands.iter_mut().flat_map(|band| &mut band.sections) {
            section.process(block.main);
        }
        decibels::apply(&block.ramp(OUTPUT), block.main);
    }

    fn reset(&mut self) {
        self.control.reset();
        for band in &mut self.bands {
            band.sections.iter_mut().for_each(Section::reset);
        }
    }
}

/// Until the poles have rung out, one section after the other.
fn tail(activation: &Activation, values: &[f32]) -> Tail {
    /// To −100 dB, from what gains and resonances may have added.
    const DECAY: f64 = 1e-8;
    let value = |place: usize| values.get(place).copied().unwrap_or_default();
    let mut frames = 0.0;
    for band in 0..BANDS {
        for circuit in Setting::new(|place| value(band * OF_A_BAND + place)).circuits(activation.rate_hz()) {
            let decay = circuit.decay_per_frame();
            if decay > 0.0 {
                frames += libm::ceil(libm::log(DECAY) / libm::log(decay.min(1.0 - 1e-9)));
            }
        }
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    let frames = frames as u64;
    Tail::Frames(frames)
}
