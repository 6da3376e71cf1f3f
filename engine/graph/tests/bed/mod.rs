//! What the tests of this crate play on: a host of vectors, and nodes that are easy to foretell.

#![allow(dead_code, reason = "each test file uses a part of it")]

use audiocloud_dsp::delay::Ring;
use audiocloud_graph::event::Body;
use audiocloud_graph::node::{Activation, Behaviour, Block, Kernel, Layout, Node, Processor, Shed};
use audiocloud_graph::renderer::{Call, HostEvent, Ports, Renderer};
use audiocloud_rt::callback;
use audiocloud_units::SampleRate;

pub(crate) fn rate() -> SampleRate {
    SampleRate::new(48_000).unwrap()
}

/// A host whose buses are vectors: `inputs[bus][channel][frame]`.
#[derive(Debug, Default)]
pub(crate) struct Host {
    pub inputs: Vec<Vec<Vec<f32>>>,
    pub outputs: Vec<Vec<Vec<f32>>>,
    pub events: Vec<(usize, Body)>,
    /// The first frame of the block that is being processed.
    pub at: usize,
}

impl Host {
    /// One input bus with these channels, and output buses of these widths, as long.
    pub(crate) fn new(input: Vec<Vec<f32>>, outputs: &[usize]) -> Self {
        let frames = input.first().map_or(0, Vec::len);
        let bus = |channels: &usize| vec![vec![f32::NAN; frames]; *channels];
        Self { inputs: vec![input], outputs: outputs.iter().map(bus).collect(), ..Self::default() }
    }

    pub(crate) fn frames(&self) -> usize {
        self.inputs[0].first().map_or(0, Vec::len)
    }

    /// Plays up to frame `to` in one callback.
    pub(crate) fn play(&mut self, renderer: &mut Renderer, to: usize, events: &[HostEvent]) {
        let frames = to - self.at;
        callback::enter(|callback| {
            let call = Call { callback, transport: None, offline: true, events };
            renderer.process(&call, frames, self);
        });
        self.at = to;
    }

    /// Plays to the end in blocks of this many frames.
    pub(crate) fn play_all(&mut self, renderer: &mut Renderer, block: usize) {
        while self.at < self.frames() {
            let to = (self.at + block).min(self.frames());
            self.play(renderer, to, &[]);
        }
    }
}

impl Ports for Host {
    fn read(&mut self, bus: usize, channel: usize, from: usize, samples: &mut [f32]) {
        let from = self.at + from;
        match self.inputs.get(bus).and_then(|bus| bus.get(channel)) {
            Some(input) => samples.copy_from_slice(&input[from..from + samples.len()]),
            None => samples.fill(0.0),
        }
    }

    fn write(&mut self, bus: usize, channel: usize, from: usize, samples: &[f32]) {
        let from = self.at + from;
        self.outputs[bus][channel][from..from + samples.len()].copy_from_slice(samples);
    }

    fn event(&mut self, offset: usize, body: &Body) {
        self.events.push((self.at + offset, *body));
    }
}

/// Noise that is the same for the same seed, within ±0.5.
pub(crate) fn noise(seed: u32, frames: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f32::from(u16::try_from(state >> 16).unwrap()) / 65_536.0 - 0.5
    };
    (0..frames).map(|_| next()).collect()
}

/// Delays by its latency, in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late {
    pub channels: u16,
    pub frames: u32,
    pub shed: Shed,
}

impl Late {
    pub(crate) fn new(channels: u16, frames: u32) -> Self {
        Self { channels, frames, shed: Shed::Never }
    }
}

impl Node for Late {
    fn kind(&self) -> &'static str {
        "late"
    }

    fn layout(&self) -> Layout {
        Layout::effect(self.channels)
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour { in_place: true, stateless: false, shed: self.shed }
    }

    fn latency_frames(&self, _activation: &Activation) -> u32 {
        self.frames
    }

    fn kernel(&self, _activation: &Activation) -> Kernel {
        let ring = |_| Ring::new(self.frames as usize + 64);
        Kernel::Processor(Box::new(LateProcessor {
            lines: (0..self.channels).map(ring).collect(),
            frames: self.frames as usize,
        }))
    }
}

#[derive(Debug)]
struct LateProcessor {
    lines: Vec<Ring>,
    frames: usize,
}

impl Processor for LateProcessor {
    fn process(&mut self, block: &mut Block<'_>) {
        for (channel, line) in self.lines.iter_mut().enumerate() {
            let samples = block.output(channel);
            line.write(samples);
            line.read_back(self.frames + samples.len(), samples);
        }
    }

    fn reset(&mut self) {
        self.lines.iter_mut().for_each(Ring::reset);
    }
}

/// Calls a function for each block.
pub(crate) struct Custom<F> {
    pub layout: Layout,
    pub behaviour: Behaviour,
    pub make: F,
}

impl<F> std::fmt::Debug for Custom<F> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Custom")
    }
}

struct CustomProcessor<P>(P);

impl<P> std::fmt::Debug for CustomProcessor<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CustomProcessor")
    }
}

impl<F, P> Node for Custom<F>
where
    F: Fn() -> P + Send,
    P: FnMut(&mut Block<'_>) + Send + 'static,
{
    fn kind(&self) -> &'static str {
        "custom"
    }

    fn layout(&self) -> Layout {
        self.layout.clone()
    }

    fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    fn kernel(&self, _activation: &Activation) -> Kernel {
        Kernel::Processor(Box::new(CustomProcessor((self.make)())))
    }
}

impl<P: FnMut(&mut Block<'_>) + Send> Processor for CustomProcessor<P> {
    fn process(&mut self, block: &mut Block<'_>) {
        (self.0)(block);
    }
}
