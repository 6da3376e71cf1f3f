//! The nodes of the random graphs: what each is, its real-time half for the graph, and one frame of it for the
//! interpreter.

use std::collections::VecDeque;

use audiocloud_dsp::biquad::{Coefficients, Shape};
use audiocloud_dsp::ramp::{Curve, Ramp};
use audiocloud_graph::event::{Body, Event};
use audiocloud_graph::node::{
    Activation, Behaviour, Block, Kernel, Layout, Node, Parameter, Processor, Smoothing,
};
use audiocloud_graph::nodes::{Biquad, Gain};
use audiocloud_rt::event;

use crate::bed::Late;

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Device {
    /// The graph's own input and output, with the widths of the buses.
    Input(Vec<u16>),
    Output(Vec<u16>),
    Gain {
        channels: u16,
        gain: f32,
    },
    Biquad {
        channels: u16,
        shape: Shape,
        frequency_hz: f32,
        q: f32,
        gain_db: f32,
    },
    /// Nothing but latency, in place.
    Late {
        channels: u16,
        frames: u32,
    },
    /// Not linear, with a memory, in place.
    Grind {
        channels: u16,
    },
    /// Quieter while its second port is loud; in place or not.
    Duck {
        channels: u16,
        side: u16,
        in_place: bool,
    },
    /// One channel to two.
    Spread,
    /// Two channels to two ports of one.
    Split,
    /// Not linear, without a memory, in place.
    Clip {
        channels: u16,
    },
    /// A gain that the compiler does not know.
    Trim {
        channels: u16,
        level: f32,
        smoothing: Smoothing,
    },
    /// Rings at each note, is silent at a note-off, and passes all notes on, with another key; late by its latency in
    /// all of it. Adds to its input in place, or has none.
    Chime {
        has_input: bool,
        latency: u32,
    },
}

impl Device {
    /// The control half. There is none for the graph's own input and output.
    pub(crate) fn node(&self) -> Box<dyn Node> {
        match *self {
            Self::Gain { channels, gain } => Box::new(Gain::new(channels, gain)),
            Self::Biquad { channels, shape, frequency_hz, q, gain_db } => {
                Box::new(Biquad { channels, shape, frequency_hz, q, gain_db })
            }
            Self::Late { channels, frames } => Box::new(Late::new(channels, frames)),
            _ => Box::new(Own(self.clone())),
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        let events = Layout { event_input: true, event_output: true, ..Layout::default() };
        match self {
            Self::Input(widths) => Layout { outputs: widths.clone(), ..events },
            Self::Output(widths) => Layout { inputs: widths.clone(), ..events },
            Self::Gain { channels, .. }
            | Self::Biquad { channels, .. }
            | Self::Late { channels, .. }
            | Self::Grind { channels }
            | Self::Clip { channels }
            | Self::Trim { channels, .. } => Layout::effect(*channels),
            Self::Duck { channels, side, .. } => {
                Layout { inputs: vec![*channels, *side], outputs: vec![*channels], ..Layout::default() }
            }
            Self::Spread => Layout { inputs: vec![1], outputs: vec![2], ..Layout::default() },
            Self::Split => Layout { inputs: vec![2], outputs: vec![1, 1], ..Layout::default() },
            Self::Chime { has_input, .. } => {
                Layout { inputs: vec![1; usize::from(*has_input)], outputs: vec![1], ..events }
            }
        }
    }

    pub(crate) fn latency_frames(&self) -> usize {
        match *self {
            Self::Late { frames, .. } => frames as usize,
            Self::Chime { latency, .. } => latency as usize,
            _ => 0,
        }
    }

    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        if matches!(self, Self::Input(_) | Self::Output(_)) { Vec::new() } else { self.node().parameters() }
    }

    /// A bound, or nearly one, of how much louder than its inputs it can be.
    pub(crate) fn gain_max(&self) -> f32 {
        match self {
            Self::Gain { .. } | Self::Trim { .. } => Self::LEVEL_MAX,
            Self::Biquad { shape: Shape::Peak | Shape::LowShelf | Shape::HighShelf, .. } => 2.0,
            Self::Biquad { .. } => 1.2,
            _ => 1.0,
        }
    }

    /// How far from 0 the gains are at most.
    pub(crate) const LEVEL_MAX: f32 = 1.1;
}

/// The control half of those that are not the crate's own.
#[derive(Debug)]
struct Own(Device);

impl Node for Own {
    fn kind(&self) -> &'static str {
        "own"
    }

    fn layout(&self) -> Layout {
        self.0.layout()
    }

    fn behaviour(&self) -> Behaviour {
        let is_simple = matches!(self.0, Device::Spread | Device::Split | Device::Clip { .. });
        let in_place = match self.0 {
            Device::Spread | Device::Split => false,
            Device::Duck { in_place, .. } => in_place,
            Device::Chime { has_input, .. } => has_input,
            _ => true,
        };
        Behaviour {
            in_place,
            stateless: is_simple || matches!(self.0, Device::Trim { .. }),
            ..Behaviour::default()
        }
    }

    fn parameters(&self) -> Vec<Parameter> {
        match self.0 {
            Device::Trim { level, smoothing, .. } => {
                vec![Parameter {
                    id: 7,
                    name: "Level",
                    unit: "",
                    range: (0.01, 4.0),
                    default: level,
                    smoothing,
                }]
            }
            _ => Vec::new(),
        }
    }

    fn latency_frames(&self, _activation: &Activation) -> u32 {
        match self.0 {
            Device::Chime { latency, .. } => latency,
            _ => 0,
        }
    }

    fn kernel(&self, _activation: &Activation) -> Kernel {
        let late = self.0.latency_frames();
        let mut past = VecDeque::with_capacity(late + 1);
        past.extend(std::iter::repeat_n(0.0, late));
        Kernel::Processor(Box::new(OwnProcessor {
            device: self.0.clone(),
            memory: vec![0.0; 64],
            past,
            notes: VecDeque::with_capacity(1024),
        }))
    }
}

/// Their audio half.
#[derive(Debug)]
struct OwnProcessor {
    device: Device,
    memory: Vec<f32>,
    past: VecDeque<f32>,
    /// What a chime has heard, and when it answers.
    notes: VecDeque<(u64, Body)>,
}

impl Processor for OwnProcessor {
    fn process(&mut self, block: &mut Block<'_>) {
        let frames = block.frames();
        match self.device {
            Device::Grind { channels } => {
                for channel in 0..usize::from(channels) {
                    let before = &mut self.memory[channel];
                    for sample in block.output(channel) {
                        *sample = 0.9 * *sample + 0.1 * before.abs();
                        *before = *sample;
                    }
                }
            }
            Device::Duck { channels, side, in_place } => {
                let (channels, side) = (usize::from(channels), usize::from(side));
                let first = if in_place { 0 } else { channels };
                for frame in 0..frames {
                    let loudest = (0..side)
                        .map(|channel| block.input(first + channel)[frame].abs())
                        .fold(0.0, f32::max);
                    self.memory[0] = 0.99 * self.memory[0] + 0.01 * loudest;
                    for channel in 0..channels {
                        let sample =
                            if in_place { block.output(channel)[frame] } else { block.input(channel)[frame] };
                        block.output(channel)[frame] = sample / (1.0 + self.memory[0]);
                    }
                }
            }
            Device::Spread => {
                for (channel, gain) in [(0, 0.8), (1, -0.6)] {
                    let (input, output) = block.input_and_output(0, channel);
                    output.iter_mut().zip(input).for_each(|(output, input)| *output = gain * input);
                }
            }
            Device::Split => {
                for frame in 0..frames {
                    let (left, right) = (block.input(0)[frame], block.input(1)[frame]);
                    block.output(0)[frame] = 0.5 * (left + right);
                    block.output(1)[frame] = 0.5 * (left - right);
                }
            }
            Device::Clip { channels } => {
                for channel in 0..usize::from(channels) {
                    block.output(channel).iter_mut().for_each(|sample| *sample = sample.clamp(-0.4, 0.4));
                }
            }
            Device::Trim { channels, .. } => {
                let mut levels = [0.0; 64];
                block.parameter(0).fill(&mut levels[..frames]);
                for channel in 0..usize::from(channels) {
                    let samples = block.output(channel);
                    samples.iter_mut().zip(levels).for_each(|(sample, level)| *sample *= level);
                }
            }
            Device::Chime { has_input, latency } => {
                let position = block.position();
                for event in block.events() {
                    queue(&mut self.notes, position + u64::from(latency), event.body);
                }
                for (offset, at) in (0_u32..).zip(position..position + frames as u64) {
                    while let Some((_, body)) = self.notes.front().filter(|(due, _)| *due == at).copied() {
                        self.notes.pop_front();
                        self.memory[0] = narrow(struck(f64::from(self.memory[0]), &body));
                        assert!(block.give(Event { offset, body: passed(&body, latency) }));
                    }
                    let sample = &mut block.output(0)[offset as usize];
                    self.past.push_back(if has_input { *sample } else { 0.0 });
                    *sample = self.past.pop_front().unwrap_or(0.0) + self.memory[0];
                    self.memory[0] *= 0.99;
                }
            }
            _ => unreachable!("{:?} has a processor of its own", self.device),
        }
    }
}

/// What is heard at one frame has no order, but that silence comes first.
fn queue<T: Copy + PartialEq>(notes: &mut VecDeque<(T, Body)>, due: T, body: Body) {
    let is_off = matches!(body, Body::Voice(event::Body::NoteOff { .. }));
    let first = notes.iter().position(|(other, _)| is_off && *other == due);
    notes.insert(first.unwrap_or(notes.len()), (due, body));
}

#[allow(clippy::cast_possible_truncation, reason = "rounding to single precision is what it is for")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// What a chime makes of a note: another key, by which one sees which way it came.
fn passed(body: &Body, latency: u32) -> Body {
    let mut passed = *body;
    if let Body::Voice(event::Body::NoteOn { note, .. }) = &mut passed {
        let key = u32::from(note.key.unsigned_abs()) * 5 + latency + 1;
        note.key = i16::try_from(key % 128).expect("a key");
    }
    passed
}

/// How loud a chime rings after it heard something.
fn struck(level: f64, body: &Body) -> f64 {
    match body {
        Body::Voice(event::Body::NoteOn { velocity, .. }) => level + velocity,
        Body::Voice(event::Body::NoteOff { .. }) => 0.0,
        _ => level,
    }
}

/// A device as the interpreter plays it: one frame at a time, in double precision, with all it ever heard.
#[derive(Debug)]
pub(crate) struct Machine {
    device: Device,
    memory: Vec<f64>,
    filters: Vec<[f64; 2]>,
    coefficients: Coefficients,
    past: Vec<Vec<f64>>,
    notes: VecDeque<(usize, Body)>,
}

impl Machine {
    pub(crate) fn new(device: &Device) -> Self {
        let inputs: usize = device.layout().inputs.iter().map(|channels| usize::from(*channels)).sum();
        Self {
            device: device.clone(),
            memory: vec![0.0; inputs.max(1)],
            filters: vec![[0.0; 2]; inputs],
            coefficients: Coefficients::IDENTITY,
            past: vec![Vec::new(); inputs],
            notes: VecDeque::new(),
        }
    }

    /// What happens once in a while: a filter follows its parameters.
    pub(crate) fn at_grid(&mut self, parameters: &[f64]) {
        if let Device::Biquad { shape, .. } = self.device {
            self.coefficients =
                Coefficients::design(shape, parameters[0], parameters[1], parameters[2], 48_000.0);
        }
    }

    /// One frame of all ports' channels in a row; `heard` is what happens at it, `given` what it passes on.
    pub(crate) fn tick(
        &mut self,
        at: usize,
        input: &[f64],
        parameters: &[f64],
        heard: &[Body],
        output: &mut [f64],
        given: &mut Vec<Body>,
    ) {
        match self.device {
            Device::Input(_) | Device::Output(_) => {}
            Device::Gain { .. } | Device::Trim { .. } => {
                output.iter_mut().zip(input).for_each(|(output, input)| *output = input * parameters[0]);
            }
            Device::Biquad { .. } => {
                let Coefficients { b0, b1, b2, a1, a2 } = self.coefficients;
                let [b0, b1, b2, a1, a2] = [b0, b1, b2, a1, a2].map(f64::from);
                for ((x, y), [s1, s2]) in input.iter().zip(output).zip(&mut self.filters) {
                    *y = b0 * x + *s1;
                    *s1 = b1 * x - a1 * *y + *s2;
                    *s2 = b2 * x - a2 * *y;
                }
            }
            Device::Late { .. } => {
                for ((x, y), past) in input.iter().zip(output).zip(&mut self.past) {
                    past.push(*x);
                    *y = before(past, self.device.latency_frames());
                }
            }
            Device::Grind { .. } => {
                for ((x, y), memory) in input.iter().zip(output).zip(&mut self.memory) {
                    *y = 0.9 * x + 0.1 * memory.abs();
                    *memory = *y;
                }
            }
            Device::Duck { .. } => {
                let (input, side) = input.split_at(output.len());
                let loudest = side.iter().fold(0.0_f64, |loudest, sample| loudest.max(sample.abs()));
                self.memory[0] = 0.99 * self.memory[0] + 0.01 * loudest;
                output.iter_mut().zip(input).for_each(|(y, x)| *y = x / (1.0 + self.memory[0]));
            }
            Device::Spread => {
                output[0] = 0.8 * input[0];
                output[1] = -0.6 * input[0];
            }
            Device::Split => {
                output[0] = 0.5 * (input[0] + input[1]);
                output[1] = 0.5 * (input[0] - input[1]);
            }
            Device::Clip { .. } => {
                output.iter_mut().zip(input).for_each(|(y, x)| *y = x.clamp(-0.4, 0.4));
            }
            Device::Chime { has_input, latency } => {
                let late = self.device.latency_frames();
                heard.iter().for_each(|body| queue(&mut self.notes, at + late, *body));
                while let Some((_, body)) = self.notes.front().filter(|(due, _)| *due == at).copied() {
                    self.notes.pop_front();
                    self.memory[0] = struck(self.memory[0], &body);
                    given.push(passed(&body, latency));
                }
                output[0] = self.memory[0];
                if has_input {
                    self.past[0].push(input[0]);
                    output[0] += before(&self.past[0], late);
                }
                self.memory[0] *= 0.99;
            }
        }
    }
}

/// What came this many frames before the last sample.
fn before(past: &[f64], frames: usize) -> f64 {
    (past.len() - 1).checked_sub(frames).map_or(0.0, |index| past[index])
}

/// A value on its way, since when. The way itself is the ramp's, which is tested where it is: half a step in the last
/// place of a frequency is more than 10⁻⁶ behind a filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glide {
    ramp: Ramp,
    begin: usize,
}

impl Glide {
    pub(crate) fn rest(value: f32) -> Self {
        Self { ramp: Ramp::constant(value), begin: 0 }
    }

    fn ramp(&self, at: usize) -> Ramp {
        let mut ramp = self.ramp;
        ramp.advance(u32::try_from(at - self.begin).expect("a short session"));
        ramp
    }

    pub(crate) fn value(&self, at: usize) -> f64 {
        f64::from(self.ramp(at).value())
    }

    /// Sets out for a value from where it is.
    pub(crate) fn set_out(&mut self, at: usize, to: f32, frames: u32, curve: Curve) {
        *self = Self { ramp: self.ramp(at), begin: at };
        self.ramp.glide(to, frames, curve);
    }
}
