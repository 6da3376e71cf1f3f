//! Where effects are tried: one effect, its parameters, and signals of any length in blocks of any length.
#![allow(dead_code, reason = "each test uses a part of the bed")]

use audiocloud_dsp::ramp::Ramp;
use audiocloud_effects::effect::{Activation, Block, Effect, GRID, Kind, Transport};
use audiocloud_effects::parameter::{Parameter, Smoothing};
use audiocloud_units::SampleRate;

/// The rates that every effect is made for.
pub(crate) const RATES: [u32; 6] = [44_100, 48_000, 88_200, 96_000, 176_400, 192_000];

/// A signal: one line of samples for each channel.
pub(crate) type Signal = Vec<Vec<f32>>;

pub(crate) fn activation(rate_hz: u32, channels: u16) -> Activation {
    Activation { sample_rate: SampleRate::new(rate_hz).unwrap(), channels }
}

/// Numbers that look random: SplitMix64, by Sebastiano Vigna.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, not with, `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// From 0 to 1.
    pub(crate) fn share(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }
}

/// White noise between ±`peak`.
pub(crate) fn noise(seed: u64, channels: u16, frames: usize, peak: f32) -> Signal {
    let mut dice = Dice(seed);
    (0..channels).map(|_| (0..frames).map(|_| peak * (2.0 * dice.share() - 1.0)).collect()).collect()
}

/// A tone, the same in each channel.
pub(crate) fn tone(rate_hz: u32, hz: f64, peak: f64, channels: u16, frames: usize) -> Signal {
    let step = std::f64::consts::TAU * hz / f64::from(rate_hz);
    let line: Vec<f32> = (0..frames).map(|frame| (peak * (step * frame as f64).sin()) as f32).collect();
    vec![line; usize::from(channels)]
}

pub(crate) fn silence(channels: u16, frames: usize) -> Signal {
    vec![vec![0.0; frames]; usize::from(channels)]
}

pub(crate) fn rms(line: &[f32]) -> f64 {
    (line.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / line.len() as f64).sqrt()
}

pub(crate) fn decibels(gain: f64) -> f64 {
    20.0 * gain.log10()
}

/// Where and how two signals differ first, to the bit.
pub(crate) fn difference(one: &Signal, other: &Signal) -> Option<String> {
    for (channel, (one, other)) in one.iter().zip(other).enumerate() {
        assert_eq!(one.len(), other.len());
        let at = one.iter().zip(other).position(|(one, other)| one.to_bits() != other.to_bits());
        if let Some(at) = at {
            return Some(format!("channel {channel}, frame {at}: {:e} and {:e}", one[at], other[at]));
        }
    }
    None
}

/// Plain values of a kind's parameters: the defaults for seed 0, else any that a user could choose.
pub(crate) fn settings(kind: &Kind, seed: u64) -> Vec<f32> {
    if seed == 0 {
        return kind.defaults();
    }
    let mut dice = Dice(seed);
    kind.parameters.iter().map(|parameter| any(parameter, &mut dice)).collect()
}

/// Any value of a parameter; the ends often.
pub(crate) fn any(parameter: &Parameter, dice: &mut Dice) -> f32 {
    let share = match dice.below(8) {
        0 => 0.0,
        1 => 1.0,
        _ => dice.share(),
    };
    parameter.plain(share)
}

/// Plain values with which it only delays, by its latency.
pub(crate) fn transparent(kind: &Kind) -> Vec<f32> {
    let mut values = kind.defaults();
    for (value, parameter) in values.iter_mut().zip(kind.parameters) {
        match (kind.id, parameter.name) {
            ("gate", "Range") | (_, "Mix") => *value = 0.0,
            _ => {}
        }
    }
    values
}

/// How a parameter is moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) frame: usize,
    pub(crate) place: usize,
    pub(crate) value: f32,
    /// `None`: by its own smoothing.
    pub(crate) frames: Option<u32>,
}

/// Moves at any frame, sorted.
pub(crate) fn moves(kind: &Kind, seed: u64, count: usize, frames: usize) -> Vec<Move> {
    let mut dice = Dice(seed);
    let mut moves: Vec<Move> = (0..count)
        .map(|_| {
            let place = dice.below(kind.parameters.len());
            let ramp = [None, Some(0), Some(1 + u32::try_from(dice.below(500)).unwrap())][dice.below(3)];
            let value = any(&kind.parameters[place], &mut dice);
            Move { frame: dice.below(frames), place, value, frames: ramp }
        })
        .collect();
    moves.sort_by_key(|movement| movement.frame);
    moves
}

/// An effect at work.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) kind: &'static Kind,
    pub(crate) effect: Box<dyn Effect>,
    activation: Activation,
    ramps: Vec<Ramp>,
    position: u64,
    pub(crate) transport: Option<Transport>,
}

impl Player {
    pub(crate) fn new(kind: &'static Kind, rate_hz: u32, channels: u16, values: &[f32]) -> Self {
        let activation = activation(rate_hz, channels);
        Self {
            kind,
            effect: (kind.make)(&activation),
            activation,
            ramps: values.iter().map(|value| Ramp::constant(*value)).collect(),
            position: 0,
            transport: None,
        }
    }

    /// With the values named here, and else the defaults.
    pub(crate) fn with(kind: &'static Kind, rate_hz: u32, channels: u16, values: &[(&str, f32)]) -> Self {
        let mut player = Self::new(kind, rate_hz, channels, &kind.defaults());
        for (name, value) in values {
            player.set(name, *value);
        }
        player
    }

    /// A parameter jumps.
    pub(crate) fn set(&mut self, name: &str, value: f32) {
        let place = self.kind.parameters.iter().position(|parameter| parameter.name == name);
        self.ramps[place.unwrap_or_else(|| panic!("{} has no {name}", self.kind.id))].jump(value);
    }

    pub(crate) fn latency(&self) -> usize {
        (self.kind.latency_frames)(&self.activation) as usize
    }

    pub(crate) fn reset(&mut self) {
        self.effect.reset();
        self.position = 0;
    }

    fn go(&mut self, movement: &Move) {
        let parameter = &self.kind.parameters[movement.place];
        let ramp = &mut self.ramps[movement.place];
        match (movement.frames, parameter.smoothing) {
            (None, Smoothing::None) => ramp.jump(movement.value),
            (None, Smoothing::Glide { ms, curve }) => {
                ramp.glide(movement.value, self.activation.frames(f64::from(ms)), curve);
            }
            (Some(frames), _) => ramp.glide(movement.value, frames, audiocloud_dsp::ramp::Curve::Linear),
        }
    }

    /// Plays in place, in blocks as long as `lengths` says, cut at grid points.
    pub(crate) fn play_in(
        &mut self,
        main: &mut [Vec<f32>],
        side: &[Vec<f32>],
        lengths: &mut dyn FnMut() -> usize,
    ) {
        self.play_moving(main, side, &[], lengths);
    }

    /// The same, and parameters move. Allocates nothing.
    pub(crate) fn play_moving(
        &mut self,
        main: &mut [Vec<f32>],
        side: &[Vec<f32>],
        moves: &[Move],
        lengths: &mut dyn FnMut() -> usize,
    ) {
        let frames = main[0].len();
        let (mut from, mut moves) = (0, moves.iter().peekable());
        while from < frames {
            while let Some(movement) = moves.next_if(|movement| movement.frame <= from) {
                self.go(movement);
            }
            let room = GRID - usize::try_from(self.position % GRID as u64).unwrap();
            let next = moves.peek().map_or(frames, |movement| movement.frame);
            let to = frames.min(from + lengths().clamp(1, room)).min(next);
            let mut heard: [&[f32]; 2] = [&[]; 2];
            for (heard, line) in heard.iter_mut().zip(side) {
                *heard = &line[from..to];
            }
            let side_chain = &heard[..side.len()];
            match main {
                [one] => self.block(&mut [&mut one[from..to]], side_chain),
                [left, right] => self.block(&mut [&mut left[from..to], &mut right[from..to]], side_chain),
                _ => panic!("one channel or two"),
            }
            from = to;
        }
    }

    fn block<'b>(&mut self, main: &mut [&'b mut [f32]], side_chain: &[&'b [f32]]) {
        let frames = main[0].len();
        self.effect.process(&mut Block {
            main,
            side_chain,
            parameters: &self.ramps,
            position: self.position,
            transport: self.transport,
            offline: false,
        });
        self.position += frames as u64;
        for ramp in &mut self.ramps {
            ramp.advance(u32::try_from(frames).unwrap());
        }
        if let Some(transport) = &mut self.transport {
            transport.position_beats +=
                frames as f64 * transport.tempo_bpm / (60.0 * self.activation.rate_hz());
        }
    }

    /// Plays a copy in whole blocks.
    pub(crate) fn play(&mut self, main: &Signal) -> Signal {
        self.play_keyed(main, &silence(0, 0))
    }

    pub(crate) fn play_keyed(&mut self, main: &Signal, side: &Signal) -> Signal {
        let mut output = main.clone();
        self.play_in(&mut output, side, &mut || GRID);
        output
    }
}
