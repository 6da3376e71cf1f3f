//! One parameter of an effect: its range, its unit, and its text, both ways.
//!
//! A value is *plain*: in dB, Hz, ms, or the index of a choice. *Normalised* is the same from 0 to 1, as hosts and
//! knobs have it: the plain range along a line, or evenly in octaves where hearing is so.

use audiocloud_dsp::ramp::Curve;

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nothing that has a name.
    None,
    Decibels,
    /// Shown as kHz from 1000 on.
    Hertz,
    /// Shown as seconds from 1000 on.
    Milliseconds,
    Seconds,
    Percent,
    /// Of so many dB at the input, one at the output.
    Ratio,
    Degrees,
    Semitones,
    Octaves,
    /// Quarter notes.
    Beats,
}

/// Which values there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// Even steps of the knob are even steps of the value.
    Linear { min: f32, max: f32 },
    /// Even steps of the knob are even ratios of the value. Both ends are above 0.
    Logarithmic { min: f32, max: f32 },
    /// One of these; the value is the index, from 0.
    Choice(&'static [&'static str]),
    /// 0: off; 1: on.
    Switch,
}

/// How a parameter gets to a new value that came without a ramp of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Smoothing {
    /// At once.
    None,
    /// Along this curve in this many milliseconds.
    Glide { ms: f32, curve: Curve },
}

/// One parameter of an effect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// Stable for ever: projects and automation are kept by it.
    pub id: u32,
    /// For people.
    pub name: &'static str,
    pub unit: Unit,
    pub range: Range,
    /// The plain value of a new effect.
    pub default: f32,
    pub smoothing: Smoothing,
}

/// How long a parameter glides unless it says otherwise: short enough for a gesture, long enough not to be heard as
/// steps.
const GLIDE_MS: f32 = 20.0;

impl Parameter {
    /// A value on a line, which glides.
    #[must_use]
    pub const fn linear(id: u32, name: &'static str, unit: Unit, min: f32, max: f32, default: f32) -> Self {
        let smoothing = Smoothing::Glide { ms: GLIDE_MS, curve: Curve::Linear };
        Self { id, name, unit, range: Range::Linear { min, max }, default, smoothing }
    }

    /// A value in octaves, which glides in octaves.
    #[must_use]
    pub const fn logarithmic(
        id: u32,
        name: &'static str,
        unit: Unit,
        min: f32,
        max: f32,
        default: f32,
    ) -> Self {
        let smoothing = Smoothing::Glide { ms: GLIDE_MS, curve: Curve::Exponential };
        Self { id, name, unit, range: Range::Logarithmic { min, max }, default, smoothing }
    }

    /// One of `names`; a new effect has the one with index `default`.
    #[must_use]
    pub const fn choice(id: u32, name: &'static str, names: &'static [&'static str], default: u16) -> Self {
        let (range, default) = (Range::Choice(names), default as f32);
        Self { id, name, unit: Unit::None, range, default, smoothing: Smoothing::None }
    }

    /// On or off.
    #[must_use]
    pub const fn switch(id: u32, name: &'static str, default: bool) -> Self {
        let default = if default { 1.0 } else { 0.0 };
        Self { id, name, unit: Unit::None, range: Range::Switch, default, smoothing: Smoothing::None }
    }

    /// The same, but its value jumps: for what is used at the control rate and smoothed by the effect itself.
    #[must_use]
    pub const fn without_glide(mut self) -> Self {
        self.smoothing = Smoothing::None;
        self
    }

    /// The smallest and the largest plain value.
    #[must_use]
    pub fn bounds(&self) -> (f32, f32) {
        match self.range {
            Range::Linear { min, max } | Range::Logarithmic { min, max } => (min, max),
            Range::Choice(names) => (0.0, last(names)),
            Range::Switch => (0.0, 1.0),
        }
    }

    /// The plain values between which there is nothing: their count, or `None` where all are allowed.
    #[must_use]
    pub fn steps(&self) -> Option<usize> {
        match self.range {
            Range::Linear { .. } | Range::Logarithmic { .. } => None,
            Range::Choice(names) => Some(names.len()),
            Range::Switch => Some(2),
        }
    }

    /// The nearest value of the range; the default for what is not a number.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn clamp(&self, plain: f32) -> f32 {
        if plain.is_nan() {
            return self.default;
        }
        let (min, max) = self.bounds();
        let plain = plain.clamp(min, max);
        if self.steps().is_some() { libm::roundf(plain) } else { plain }
    }

    /// From 0 to 1.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn normalised(&self, plain: f32) -> f32 {
        let plain = self.clamp(plain);
        let (min, max) = self.bounds();
        if max <= min {
            return 0.0;
        }
        match self.range {
            Range::Logarithmic { .. } => {
                let (plain, min, max) = (f64::from(plain), f64::from(min), f64::from(max));
                single(libm::log2(plain / min) / libm::log2(max / min)).clamp(0.0, 1.0)
            }
            _ => (plain - min) / (max - min),
        }
    }

    /// The plain value at 0 to 1; the default for what is not a number.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn plain(&self, normalised: f32) -> f32 {
        if normalised.is_nan() {
            return self.default;
        }
        let (min, max) = self.bounds();
        // The ends exactly, whatever the arithmetic between them rounds to.
        if normalised <= 0.0 {
            return min;
        }
        if normalised >= 1.0 {
            return max;
        }
        let (low, high, way) = (f64::from(min), f64::from(max), f64::from(normalised));
        let plain = match self.range {
            Range::Logarithmic { .. } => low * libm::exp2(way * libm::log2(high / low)),
            _ => low + way * (high - low),
        };
        self.clamp(single(plain))
    }

    /// For people: with its unit, to about three digits.
    ///
    /// *Realtime-safe: no*, it allocates.
    #[must_use]
    pub fn to_text(&self, plain: f32) -> String {
        let plain = self.clamp(plain);
        match self.range {
            Range::Switch => return if plain > 0.5 { "on" } else { "off" }.to_owned(),
            Range::Choice(names) => return names.get(index(plain)).copied().unwrap_or("?").to_owned(),
            Range::Linear { .. } | Range::Logarithmic { .. } => {}
        }
        match self.unit {
            Unit::None => digits(plain),
            // Always one decimal: a column of levels is read by its points.
            Unit::Decibels => format!("{} dB", fixed(plain, 1)),
            Unit::Hertz if plain >= 1000.0 => format!("{} kHz", digits(plain / 1000.0)),
            Unit::Hertz => format!("{} Hz", digits(plain)),
            Unit::Milliseconds if plain >= 1000.0 => format!("{} s", digits(plain / 1000.0)),
            Unit::Milliseconds => format!("{} ms", digits(plain)),
            Unit::Seconds => format!("{} s", digits(plain)),
            Unit::Percent => format!("{} %", digits(plain)),
            Unit::Ratio => format!("{}:1", digits(plain)),
            Unit::Degrees => format!("{}°", digits(plain)),
            Unit::Semitones => format!("{} st", digits(plain)),
            Unit::Octaves => format!("{} oct", digits(plain)),
            Unit::Beats => format!("{} beats", digits(plain)),
        }
    }

    /// What a person wrote: a number with or without its unit, a choice by its name or the beginning of it. A value
    /// beyond the range becomes the range's end.
    ///
    /// # Errors
    /// In words, with what could be written instead.
    ///
    /// *Realtime-safe: no*, it allocates.
    pub fn from_text(&self, text: &str) -> Result<f32, String> {
        let text = text.trim().to_lowercase();
        match self.range {
            Range::Switch => switch(&text),
            Range::Choice(names) => choice(&text, names),
            Range::Linear { .. } | Range::Logarithmic { .. } => {
                self.number(&text).map(|plain| self.clamp(plain)).ok_or_else(|| {
                    let example = self.to_text(self.default);
                    format!("“{text}” is no value of {}: write one such as “{example}”", self.name)
                })
            }
        }
    }

    /// A number and perhaps a unit that suits.
    fn number(&self, text: &str) -> Option<f32> {
        // A typographical minus is what some programs show.
        let text = &text.replacen('−', "-", 1);
        let split = text
            .char_indices()
            .find(|(at, c)| {
                !(c.is_ascii_digit() || matches!(c, '.' | ',') || (*at == 0 && matches!(c, '+' | '-')))
            })
            .map_or(text.len(), |(at, _)| at);
        let (number, suffix) = text.split_at(split);
        let number = number.replace(',', ".").parse::<f32>().ok().filter(|number| number.is_finite())?;
        let suffix = suffix.trim();
        let factor = match (self.unit, suffix) {
            (_, "") => 1.0,
            (Unit::Decibels, "db") | (Unit::Percent, "%") | (Unit::Degrees, "°" | "deg" | "degrees") => 1.0,
            (Unit::Hertz, "hz") | (Unit::Milliseconds, "ms") | (Unit::Seconds, "s") => 1.0,
            (Unit::Ratio, ":1" | ": 1") | (Unit::Semitones, "st" | "semitones") => 1.0,
            (Unit::Octaves, "oct" | "octaves") | (Unit::Beats, "beats" | "beat") => 1.0,
            (Unit::Hertz, "k" | "khz") | (Unit::Milliseconds, "s") => 1000.0,
            (Unit::Seconds, "ms") => 0.001,
            _ => return None,
        };
        Some(number * factor)
    }
}

/// The index that a choice's value stands for.
///
/// *Realtime-safe: yes*.
#[must_use]
pub fn index(plain: f32) -> usize {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and makes what is not a number zero"
    )]
    let index = libm::roundf(plain) as usize;
    index
}

fn switch(text: &str) -> Result<f32, String> {
    match text {
        "on" | "yes" | "true" | "1" => Ok(1.0),
        "off" | "no" | "false" | "0" => Ok(0.0),
        _ => Err(format!("“{text}” is neither on nor off: write “on” or “off”")),
    }
}

/// By the whole name, or by a beginning that only one name has.
fn choice(text: &str, names: &[&str]) -> Result<f32, String> {
    let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let whole = lower.iter().position(|name| name == text);
    let mut beginnings = lower.iter().enumerate().filter(|(_, name)| name.starts_with(text));
    let found = whole.or_else(|| match (beginnings.next(), beginnings.next()) {
        (Some((index, _)), None) => Some(index),
        _ => None,
    });
    let index = found.ok_or_else(|| format!("“{text}” is not one of: {}", names.join(", ")))?;
    Ok(position(index))
}

fn last(names: &[&str]) -> f32 {
    position(names.len().saturating_sub(1))
}

fn position(index: usize) -> f32 {
    u16::try_from(index).map_or(f32::MAX, f32::from)
}

/// Three digits or so, without trailing zeros.
fn digits(value: f32) -> String {
    let places = match value.abs() {
        0.0..9.995 => 2,
        9.995..99.95 => 1,
        _ => 0,
    };
    let text = fixed(value, places);
    match text.split_once('.') {
        Some((_, _)) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text,
    }
}

/// So many decimals, and no minus in front of nothing.
fn fixed(value: f32, places: usize) -> String {
    let text = format!("{value:.places$}");
    if text.trim_start_matches('-').chars().all(|c| matches!(c, '0' | '.')) {
        text.trim_start_matches('-').to_owned()
    } else {
        text
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the nearest single is what is asked for")]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREQUENCY: Parameter = Parameter::logarithmic(1, "Frequency", Unit::Hertz, 20.0, 20_000.0, 1000.0);
    const GAIN: Parameter = Parameter::linear(2, "Gain", Unit::Decibels, -24.0, 24.0, 0.0);
    const TIME: Parameter = Parameter::logarithmic(3, "Release", Unit::Milliseconds, 1.0, 5000.0, 100.0);
    const RATIO: Parameter = Parameter::logarithmic(4, "Ratio", Unit::Ratio, 1.0, 100.0, 4.0);
    const SHAPE: Parameter = Parameter::choice(5, "Shape", &["Bell", "Low shelf", "Low cut", "Notch"], 0);
    const ON: Parameter = Parameter::switch(6, "On", true);

    #[test]
    fn text_is_what_a_person_would_write() {
        fn check(parameter: &Parameter, plain: f32, text: &str) {
            assert_eq!(parameter.to_text(plain), text);
        }
        check(&FREQUENCY, 20.0, "20 Hz");
        check(&FREQUENCY, 440.0, "440 Hz");
        check(&FREQUENCY, 82.41, "82.4 Hz");
        check(&FREQUENCY, 1234.0, "1.23 kHz");
        check(&FREQUENCY, 20_000.0, "20 kHz");
        check(&GAIN, -6.02, "-6.0 dB");
        check(&GAIN, -0.01, "0.0 dB");
        check(&TIME, 2.5, "2.5 ms");
        check(&TIME, 1500.0, "1.5 s");
        check(&RATIO, 4.0, "4:1");
        check(&SHAPE, 2.0, "Low cut");
        check(&ON, 1.0, "on");
        check(&GAIN, f32::NAN, "0.0 dB");
    }

    #[test]
    fn text_is_read_with_or_without_its_unit() {
        fn check(parameter: &Parameter, text: &str, plain: f32) {
            let read = parameter.from_text(text).unwrap();
            assert!((read - plain).abs() <= 1e-6 * plain.abs(), "{text}: {read}");
        }
        check(&FREQUENCY, "440", 440.0);
        check(&FREQUENCY, " 1.2 kHz ", 1200.0);
        check(&FREQUENCY, "1,2k", 1200.0);
        check(&FREQUENCY, "99999", 20_000.0);
        check(&GAIN, "-6 dB", -6.0);
        check(&GAIN, "−6", -6.0);
        check(&GAIN, "+3", 3.0);
        check(&TIME, "1.5 s", 1500.0);
        check(&RATIO, "8:1", 8.0);
        check(&SHAPE, "low s", 1.0);
        check(&SHAPE, "NOTCH", 3.0);
        check(&ON, "Off", 0.0);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_an_example() {
        for (parameter, text, hint) in [
            (&FREQUENCY, "loud", "1 kHz"),
            (&FREQUENCY, "3 dB", "1 kHz"),
            (&GAIN, "", "0.0 dB"),
            (&GAIN, "inf", "0.0 dB"),
            (&GAIN, "1.2.3", "0.0 dB"),
            (&SHAPE, "low", "Bell, Low shelf, Low cut, Notch"),
            (&ON, "maybe", "“off”"),
        ] {
            let error = parameter.from_text(text).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn normalised_and_plain_undo_each_other_and_meet_at_the_ends() {
        for parameter in [&FREQUENCY, &GAIN, &TIME, &RATIO, &SHAPE, &ON] {
            let (min, max) = parameter.bounds();
            assert_eq!((parameter.plain(0.0), parameter.plain(1.0)), (min, max));
            assert_eq!((parameter.normalised(min), parameter.normalised(max)), (0.0, 1.0));
            assert_eq!((parameter.plain(-1.0), parameter.plain(2.0)), (min, max));
            assert_eq!(parameter.plain(f32::NAN), parameter.default);
            for step in 0_u8..=200 {
                let plain = parameter.plain(f32::from(step) / 200.0);
                let again = parameter.plain(parameter.normalised(plain));
                assert!(
                    (again - plain).abs() <= 2e-6 * plain.abs().max(1.0),
                    "{}: {plain} {again}",
                    parameter.name
                );
            }
        }
        assert!((FREQUENCY.plain(0.5) - 632.455_5).abs() < 0.01);
    }

    #[test]
    fn shown_and_read_again_is_as_near_as_three_digits_are() {
        for parameter in [&FREQUENCY, &GAIN, &TIME, &RATIO, &SHAPE, &ON] {
            for step in 0_u8..=200 {
                let plain = parameter.plain(f32::from(step) / 200.0);
                let read = parameter.from_text(&parameter.to_text(plain)).unwrap();
                assert!(
                    (read - plain).abs() <= 0.0051 * plain.abs().max(11.0),
                    "{}: {plain} {read}",
                    parameter.name
                );
            }
        }
    }
}
