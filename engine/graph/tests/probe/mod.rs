//! A node that writes down what it is given, and hosts that play it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::{Arc, Mutex};

use audiocloud_dsp::delay::Ring;
use audiocloud_dsp::ramp::Curve;
use audiocloud_graph::controller::{Config, Controller, play};
use audiocloud_graph::event::{Body, Transport};
use audiocloud_graph::graph::{Graph, NodeKey};
use audiocloud_graph::node::{
    Activation, Behaviour, Block, Kernel, Layout, Node, Parameter, Processor, Smoothing,
};
use audiocloud_graph::renderer::{HostEvent, Renderer, Target};
use audiocloud_rt::event::{self, NoteAddress};

use crate::bed::{Host, rate};

/// The host's block sizes that must make no difference.
pub(crate) const BLOCKS: [usize; 6] = [1, 7, 64, 100, 509, 4096];

/// What a [`Probe`] saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Record {
    Block { position: u64, frames: usize, transport: Transport },
    Event { position: u64, body: Body },
}

pub(crate) type Seen = Arc<Mutex<Vec<Record>>>;

/// Writes down what it is given, and does what its script says; its audio passes, late and times its factor.
#[derive(Clone)]
pub(crate) struct Probe {
    /// Of its audio; none with 0.
    pub channels: u16,
    pub latency_frames: u32,
    pub factor: f32,
    /// How many parameters it has, ids from 0, unsmoothed, 0 to 10 000.
    pub parameters: u32,
    pub seen: Seen,
    pub script: fn(&mut Block<'_>),
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Probe")
    }
}

impl Probe {
    pub(crate) fn new(channels: u16) -> Self {
        // Room for all, so that nothing is allocated in a callback.
        let seen = Arc::new(Mutex::new(Vec::with_capacity(100_000)));
        Self { channels, latency_frames: 0, factor: 1.0, parameters: 1, seen, script: |_| {} }
    }

    pub(crate) fn with(channels: u16, script: fn(&mut Block<'_>)) -> Self {
        Self { script, ..Self::new(channels) }
    }

    pub(crate) fn events(&self) -> Vec<(u64, Body)> {
        let seen = self.seen.lock().unwrap();
        let event = |record: &Record| match *record {
            Record::Event { position, body } => Some((position, body)),
            Record::Block { .. } => None,
        };
        seen.iter().filter_map(event).collect()
    }

    pub(crate) fn blocks(&self) -> Vec<(u64, usize, Transport)> {
        let seen = self.seen.lock().unwrap();
        let block = |record: &Record| match *record {
            Record::Block { position, frames, transport } => Some((position, frames, transport)),
            Record::Event { .. } => None,
        };
        seen.iter().filter_map(block).collect()
    }
}

impl Node for Probe {
    fn kind(&self) -> &'static str {
        "probe"
    }

    fn layout(&self) -> Layout {
        let ports = if self.channels > 0 { vec![self.channels] } else { Vec::new() };
        Layout { inputs: ports.clone(), outputs: ports, event_input: true, event_output: true }
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour { in_place: self.channels > 0, ..Behaviour::default() }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let parameter = |id| Parameter {
            id,
            name: "Value",
            unit: "",
            range: (0.0, 10_000.0),
            default: 1.0,
            smoothing: Smoothing::None,
        };
        (0..self.parameters).map(parameter).collect()
    }

    fn latency_frames(&self, _activation: &Activation) -> u32 {
        self.latency_frames
    }

    fn kernel(&self, _activation: &Activation) -> Kernel {
        let lines = (0..self.channels).map(|_| Ring::new(self.latency_frames as usize + 64));
        Kernel::Processor(Box::new(ProbeProcessor { lines: lines.collect(), probe: self.clone() }))
    }
}

#[derive(Debug)]
struct ProbeProcessor {
    lines: Vec<Ring>,
    probe: Probe,
}

impl Processor for ProbeProcessor {
    fn process(&mut self, block: &mut Block<'_>) {
        let (position, frames) = (block.position(), block.frames());
        if let Ok(mut seen) = self.probe.seen.try_lock()
            && seen.len() + 1 + block.events().len() <= seen.capacity()
        {
            seen.push(Record::Block { position, frames, transport: block.transport() });
            seen.extend(block.events().iter().map(|event| Record::Event { position, body: event.body }));
        }
        for (channel, line) in self.lines.iter_mut().enumerate() {
            let samples = block.output(channel);
            line.write(samples);
            line.read_back(self.probe.latency_frames as usize + frames, samples);
            samples.iter_mut().for_each(|sample| *sample *= self.probe.factor);
        }
        (self.probe.script)(block);
    }

    fn reset(&mut self) {
        self.lines.iter_mut().for_each(Ring::reset);
    }
}

/// Writes the first parameter's value at each frame.
pub(crate) fn show_parameter(block: &mut Block<'_>) {
    let ramp = block.parameter(0);
    ramp.fill(block.output(0));
}

/// Frames of the block for which `is_due` holds.
pub(crate) fn due(block: &Block<'_>, is_due: fn(u64) -> bool) -> impl Iterator<Item = (u32, u64)> + use<> {
    (0_u32..)
        .zip(block.position()..block.position() + block.frames() as u64)
        .filter(move |(_, at)| is_due(*at))
}

pub(crate) fn note(id: i32) -> NoteAddress {
    NoteAddress { note_id: id, port: 0, channel: 3, key: 60 }
}

pub(crate) fn note_on(id: i32) -> Body {
    Body::Voice(event::Body::NoteOn { note: note(id), velocity: 0.75 })
}

pub(crate) fn note_off(id: i32) -> Body {
    Body::Voice(event::Body::NoteOff { note: note(id), velocity: 0.25 })
}

pub(crate) fn set(id: u32, value: f32, frames: u32, curve: Curve) -> Body {
    Body::Parameter { id, value, ramp_frames: Some(frames), curve }
}

pub(crate) fn graph() -> Graph {
    Graph::new(&[1], &[1]).unwrap()
}

/// Adds a probe between the graph's audio input and output, and its events too.
pub(crate) fn through(graph: &mut Graph, name: &str, probe: &Probe) -> NodeKey {
    let key = graph.add(name, probe.clone()).unwrap();
    let (input, output) = (graph.input(), graph.output());
    if probe.channels > 0 {
        graph.connect_audio((input, 0), (key, 0)).unwrap();
        graph.connect_audio((key, 0), (output, 0)).unwrap();
    }
    graph.connect_events(input, key).unwrap();
    key
}

pub(crate) fn playing(graph: &Graph) -> (Controller, Renderer) {
    play(graph, Config::new(rate()), None).unwrap()
}

pub(crate) fn host(frames: usize) -> Host {
    Host::new(vec![vec![1.0; frames]], &[1])
}

/// Plays up to frame `to` in blocks of the host's, with the events at their frames.
pub(crate) fn play_to(
    host: &mut Host,
    renderer: &mut Renderer,
    to: usize,
    block: usize,
    events: &[(usize, Target, Body)],
) {
    while host.at < to {
        let (from, end) = (host.at, (host.at + block).min(to));
        let now = events.iter().filter(|(at, ..)| (from..end).contains(at));
        let offset = |at: usize| u32::try_from(at - from).unwrap();
        let now: Vec<HostEvent> = now
            .map(|(at, target, body)| HostEvent { offset: offset(*at), target: *target, body: *body })
            .collect();
        host.play(renderer, end, &now);
    }
}

pub(crate) fn bits(samples: &[f32]) -> Vec<u32> {
    samples.iter().map(|sample| sample.to_bits()).collect()
}

/// What a mono host hears with these events, the same for all block sizes.
pub(crate) fn heard(
    graph: &Graph,
    frames: usize,
    events: impl Fn(&Controller) -> Vec<(usize, Target, Body)>,
) -> Vec<f32> {
    let played = BLOCKS.map(|block| {
        let (controller, mut renderer) = playing(graph);
        let mut host = host(frames);
        play_to(&mut host, &mut renderer, frames, block, &events(&controller));
        host.outputs[0][0].clone()
    });
    for (other, block) in played.iter().zip(BLOCKS) {
        assert!(bits(other) == bits(&played[0]), "another sound in blocks of {block}");
    }
    let [first, ..] = played;
    first
}
