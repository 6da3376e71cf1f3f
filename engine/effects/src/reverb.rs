//! Reverb: a room by algorithm. A few first reflections, diffusers, and a feedback delay network whose decay is set for
//! three bands.

use audiocloud_dsp::delay::Ring;
use audiocloud_dsp::diffuser::Diffuser;
use audiocloud_dsp::feedback_delay_network::{Decay, LINES, Network, PAIRS};
use audiocloud_dsp::lfo::{self, Lfo};

use crate::cut::{Cut, HIGH_CUT_OFF_HZ, LOW_CUT_OFF_HZ, State};
use crate::dip::Dip;
use crate::effect::{Activation, Block, CHANNELS_MAX, Control, Due, Effect, GRID, Kind, Tail};
use crate::finite::keep_finite;
use crate::parameter::{Parameter, Unit};

const DECAY: usize = 0;
const LOW_DECAY: usize = 1;
const HIGH_DECAY: usize = 2;
const LOW_BELOW: usize = 3;
const HIGH_ABOVE: usize = 4;
const SIZE: usize = 5;
const PRE_DELAY: usize = 6;
const DIFFUSION: usize = 7;
const MOTION: usize = 8;
const EARLY: usize = 9;
const WIDTH: usize = 10;
const LOW_CUT: usize = 11;
const HIGH_CUT: usize = 12;
const MIX: usize = 13;

const SIZE_MAX: f64 = 150.0;
const PRE_DELAY_MS_MAX: f32 = 250.0;

static PARAMETERS: [Parameter; 14] = [
    Parameter::logarithmic(1, "Decay", Unit::Seconds, 0.1, 30.0, 2.0),
    Parameter::linear(2, "Low decay", Unit::Percent, 20.0, 250.0, 120.0),
    Parameter::linear(3, "High decay", Unit::Percent, 5.0, 150.0, 45.0),
    Parameter::logarithmic(4, "Low below", Unit::Hertz, 60.0, 1000.0, 250.0),
    Parameter::logarithmic(5, "High above", Unit::Hertz, 1000.0, 12_000.0, 4000.0),
    Parameter::linear(6, "Size", Unit::Percent, 40.0, 150.0, 100.0).without_glide(),
    Parameter::linear(7, "Pre-delay", Unit::Milliseconds, 0.0, PRE_DELAY_MS_MAX, 15.0).without_glide(),
    Parameter::linear(8, "Diffusion", Unit::Percent, 0.0, 100.0, 80.0),
    Parameter::linear(9, "Motion", Unit::Percent, 0.0, 100.0, 40.0),
    Parameter::linear(10, "Early", Unit::Percent, 0.0, 100.0, 50.0),
    Parameter::linear(11, "Width", Unit::Percent, 0.0, 150.0, 100.0),
    Parameter::logarithmic(12, "Low cut", Unit::Hertz, LOW_CUT_OFF_HZ, 1000.0, LOW_CUT_OFF_HZ),
    Parameter::logarithmic(13, "High cut", Unit::Hertz, 1000.0, HIGH_CUT_OFF_HZ, HIGH_CUT_OFF_HZ),
    Parameter::linear(14, "Mix", Unit::Percent, 0.0, 100.0, 30.0),
];

/// *Decay* is the time in which the middle band falls by 60 dB; *Low decay* and *High decay* are those of the outer bands
/// in percent of it. Steady noise comes out as loud as it went in, whatever the decay. *Motion* keeps the echoes from
/// settling into tones, and changes no decay. *Size* and *Pre-delay* change in a dip of 40 ms.
pub static REVERB: Kind = Kind {
    id: "reverb",
    name: "Reverb",
    about: "A room: first reflections, and a tail with a decay of its own in each of three bands",
    parameters: &PARAMETERS,
    side_chain: false,
    oversamples: false,
    latency_frames: |_| 0,
    tail: |activation, values| {
        let value = |place: usize| f64::from(values.get(place).copied().unwrap_or(0.0));
        let longest_s = value(DECAY) * value(LOW_DECAY).max(value(HIGH_DECAY)).max(100.0) / 100.0;
        // 100 dB instead of 60, once everything before the network has passed, and its filters have rung.
        let ms = 100.0 / 60.0 * longest_s * 1000.0 + value(PRE_DELAY) + 600.0;
        Tail::Frames(u64::from(activation.frames(ms)))
    },
    make: |activation| Box::new(Reverb::new(activation)),
};

/// The first reflections: when, at a size of 100 %, and how loud, on either side. Made up, with gaps that are not alike.
const EARLY_MS: [[f64; 6]; CHANNELS_MAX] =
    [[7.3, 13.1, 21.9, 29.3, 41.7, 55.1], [9.1, 15.7, 19.3, 33.1, 44.3, 59.9]];
const EARLY_GAINS: [[f32; 6]; CHANNELS_MAX] =
    [[0.71, -0.58, 0.47, 0.39, -0.30, 0.22], [0.66, 0.55, -0.50, 0.36, 0.28, -0.21]];
/// The diffusers' delays at a size of 100 %, on either side.
const DIFFUSERS_MS: [[f64; 4]; CHANNELS_MAX] = [[4.77, 3.59, 12.73, 9.31], [4.91, 3.73, 12.29, 9.67]];
const DIFFUSION_MAX: f32 = 0.7;
/// The network's shortest and longest delay at a size of 100 %; the others lie between them in equal ratios.
const LINES_MS: (f64, f64) = (29.9, 83.3);
/// How fast the pairs turn to and fro, and how far at most.
const TURN_HZ: (f64, f64) = (0.31, 0.93);
const TURN_ANGLE: f32 = 0.9;

/// One channel before the network.
#[derive(Debug)]
struct Channel {
    ring: Ring,
    early_frames: [usize; 6],
    diffusers: [Diffuser; 4],
    low_cut: State,
    high_cut: State,
    wet: [f32; GRID],
    late: [f32; GRID],
}

/// What changes in a dip.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Room {
    size: f32,
    pre_delay_ms: f32,
}

#[derive(Debug)]
struct Reverb {
    activation: Activation,
    control: Control,
    dip: Dip,
    room: Room,
    pre_delay_frames: usize,
    channels: Vec<Channel>,
    network: Network,
    turns: [Lfo; PAIRS],
    low_cut: Cut,
    high_cut: Cut,
    /// What makes the network as loud as its input: at the last grid point, and at the next.
    loudness: [f32; 2],
    decay: Option<Decay>,
    diffusion: f32,
}

impl Reverb {
    fn new(activation: &Activation) -> Self {
        let rate_hz = activation.rate_hz();
        let frames_max = |ms: f64| activation.frames(ms * SIZE_MAX / 100.0) as usize + 1;
        let remembered = frames_max(60.0) + activation.frames(f64::from(PRE_DELAY_MS_MAX)) as usize + GRID;
        let channel = |delays_ms: [f64; 4]| Channel {
            ring: Ring::new(remembered),
            early_frames: [0; 6],
            diffusers: delays_ms.map(|ms| Diffuser::new(frames_max(ms))),
            low_cut: State::default(),
            high_cut: State::default(),
            wet: [0.0; GRID],
            late: [0.0; GRID],
        };
        let turns = std::array::from_fn(|pair| {
            let mut lfo = Lfo::new(lfo::Shape::Sine, activation.sample_rate);
            let share = pair as f64 / PAIRS as f64;
            lfo.set_frequency_hz(TURN_HZ.0 + (TURN_HZ.1 - TURN_HZ.0) * share);
            lfo.set_phase_offset(share * 5.0);
            lfo
        });
        Self {
            activation: *activation,
            control: Control::default(),
            dip: Dip::new(20.0, rate_hz),
            room: Room { size: 0.0, pre_delay_ms: 0.0 },
            pre_delay_frames: 0,
            channels: DIFFUSERS_MS[..activation.width()].iter().map(|delays| channel(*delays)).collect(),
            network: Network::new(frames_max(LINES_MS.1)),
            turns,
            low_cut: Cut::low(rate_hz),
            high_cut: Cut::high(rate_hz),
            loudness: [0.0; 2],
            decay: None,
            diffusion: 0.0,
        }
    }

    fn control(&mut self, block: &Block<'_, '_>, due: Due) {
        let room = Room { size: block.value(SIZE), pre_delay_ms: block.value(PRE_DELAY) };
        if due == Due::First || (room != self.room && self.dip.may_jump()) {
            self.build(room);
        }
        self.decay(block, due);
        self.diffusion = DIFFUSION_MAX * 0.01 * block.value(DIFFUSION);
        self.low_cut.set(block.value(LOW_CUT), due);
        self.high_cut.set(block.value(HIGH_CUT), due);
        let reach = TURN_ANGLE * 0.01 * block.value(MOTION);
        self.turns.iter_mut().for_each(|lfo| lfo.advance(GRID as u64));
        let angles = std::array::from_fn(|pair| reach * self.turns[pair].value());
        self.network.turn(&angles);
    }

    /// All lengths anew.
    fn build(&mut self, room: Room) {
        self.room = room;
        let size = f64::from(room.size) / 100.0;
        let frames = |ms: f64| self.activation.frames(ms) as usize;
        self.pre_delay_frames = frames(f64::from(room.pre_delay_ms));
        for ((channel, diffusers_ms), early_ms) in self.channels.iter_mut().zip(DIFFUSERS_MS).zip(EARLY_MS) {
            channel.early_frames = early_ms.map(|ms| frames(ms * size));
            for (diffuser, ms) in channel.diffusers.iter_mut().zip(diffusers_ms) {
                diffuser.set_delay_frames(frames(ms * size));
            }
        }
        let ratio = LINES_MS.1 / LINES_MS.0;
        self.network.set_lengths(std::array::from_fn(|line| {
            let share = line as f64 / (LINES - 1) as f64;
            // Odd numbers have fewer divisors in common.
            frames(LINES_MS.0 * libm::pow(ratio, share) * size) | 1
        }));
        self.decay = None;
    }

    fn decay(&mut self, block: &Block<'_, '_>, due: Due) {
        let value = |place| f64::from(block.value(place));
        let middle_s = value(DECAY);
        let decay = Decay {
            low_s: middle_s * value(LOW_DECAY) / 100.0,
            middle_s,
            high_s: middle_s * value(HIGH_DECAY) / 100.0,
            low_hz: value(LOW_BELOW),
            high_hz: value(HIGH_ABOVE),
        };
        let rate_hz = self.activation.rate_hz();
        if self.decay != Some(decay) {
            self.decay = Some(decay);
            self.network.set_decay(&decay, rate_hz);
        }
        // What a turn keeps of the power, and so how loud steady noise would be.
        let keeps = libm::pow(10.0, -6.0 * self.network.length_mean() / rate_hz / middle_s);
        let next = single((8.0 * (1.0 / keeps - 1.0)).sqrt());
        self.loudness = [if due == Due::First { next } else { self.loudness[1] }, next];
    }

    /// The first reflections into `wet`, and what goes into the network into `late`.
    fn reflect(&mut self, frames: usize, gates: &[f32], early: &[f32]) {
        let mut tap = [0.0; GRID];
        let tap = &mut tap[..frames];
        for (channel, gains) in self.channels.iter_mut().zip(EARLY_GAINS) {
            let (wet, late) = (&mut channel.wet[..frames], &mut channel.late[..frames]);
            wet.fill(0.0);
            for (early_frames, gain) in channel.early_frames.iter().zip(gains) {
                channel.ring.read_back(self.pre_delay_frames + early_frames + frames, tap);
                for (wet, sample) in wet.iter_mut().zip(&*tap) {
                    *wet += gain * sample;
                }
            }
            for ((wet, gate), early) in wet.iter_mut().zip(gates).zip(early) {
                *wet *= gate * 0.01 * early;
            }
            channel.ring.read_back(self.pre_delay_frames + frames, late);
            for (sample, gate) in late.iter_mut().zip(gates) {
                *sample *= gate;
            }
            for diffuser in &mut channel.diffusers {
                diffuser.process(late, self.diffusion, gates);
            }
        }
    }

    /// `late` through the network, added to `wet`.
    fn reverberate(&mut self, frames: usize, offset: u32, gates: &[f32]) {
        match &mut self.channels[..] {
            [left, right] => {
                self.network.process(&mut left.late[..frames], &mut right.late[..frames], offset, gates);
            }
            [only] => {
                let mut other = only.late;
                self.network.process(&mut only.late[..frames], &mut other[..frames], offset, gates);
            }
            _ => {}
        }
        for channel in &mut self.channels {
            let late = &channel.late[..frames];
            for ((wet, late), moment) in channel.wet.iter_mut().zip(late).zip(offset..) {
                let progress = moment as f32 / GRID as f32;
                let loudness = self.loudness[0] + progress * (self.loudness[1] - self.loudness[0]);
                *wet += loudness * late;
            }
        }
    }
}

impl Effect for Reverb {
    fn process(&mut self, block: &mut Block<'_, '_>) {
        if let Some(due) = self.control.due(block) {
            self.control(block, due);
        }
        let frames = block.frames();
        let fill = |place: usize| {
            let mut values = [0.0; GRID];
            block.ramp(place).fill(&mut values[..frames]);
            values
        };
        let (early, width, mix) = (fill(EARLY), fill(WIDTH), fill(MIX));
        let mut gates = [0.0; GRID];
        let gates = &mut gates[..frames];
        self.dip.fill(gates);
        let block_offset = block.offset();
        for (samples, channel) in block.main.iter_mut().zip(&mut self.channels) {
            keep_finite(samples);
            let wet = &mut channel.wet[..frames];
            for ((wet, sample), moment) in wet.iter_mut().zip(samples.iter()).zip(block_offset..) {
                let progress = moment as f32 / GRID as f32;
                let sample = self.low_cut.step(&mut channel.low_cut, progress, *sample);
                *wet = self.high_cut.step(&mut channel.high_cut, progress, sample);
            }
            channel.ring.write(wet);
        }
        self.reflect(frames, gates, &early[..frames]);
        self.reverberate(frames, block.offset(), gates);
        if let [left, right] = &mut self.channels[..] {
            widen(&mut left.wet[..frames], &mut right.wet[..frames], &width);
        }
        for (samples, channel) in block.main.iter_mut().zip(&self.channels) {
            for ((sample, wet), mix) in samples.iter_mut().zip(&channel.wet[..frames]).zip(&mix) {
                *sample += 0.01 * mix * (wet - *sample);
            }
        }
    }

    fn reset(&mut self) {
        self.control.reset();
        self.dip.reset();
        self.network.reset();
        self.turns.iter_mut().for_each(Lfo::reset);
        for channel in &mut self.channels {
            channel.ring.reset();
            channel.diffusers.iter_mut().for_each(Diffuser::reset);
            channel.low_cut.reset();
            channel.high_cut.reset();
        }
    }
}

/// The sides become as loud as `width` says, in percent; the middle stays.
fn widen(left: &mut [f32], right: &mut [f32], width: &[f32]) {
    for ((left, right), width) in left.iter_mut().zip(right).zip(width) {
        let (middle, side) = (0.5 * (*left + *right), 0.005 * width * (*left - *right));
        (*left, *right) = (middle + side, middle - side);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a gain, rounded to the precision of the signal")]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
#[path = "reverb/tests.rs"]
mod tests;
