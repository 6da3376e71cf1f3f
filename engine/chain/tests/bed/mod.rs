//! What the tests of this crate play on: a host of vectors, and foreign effects that are easy to foretell.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod author;

use std::sync::{Arc, Mutex};

use audiocloud_chain::document::{Chain, Slot};
use audiocloud_chain::edit::{Edit, Place};
use audiocloud_chain::error::ChainError;
use audiocloud_chain::foreign::{Description, Foreign, NoForeign};
use audiocloud_chain::rack::{RackAudio, RackCall, RackControl, RackSetup, rack};
use audiocloud_dsp::delay::Ring;
use audiocloud_graph::event::{Body, Transport};
use audiocloud_graph::node::{
    Activation, Behaviour, Block, Kernel, Layout, Node, Parameter, Processor, Smoothing,
};
use audiocloud_graph::renderer::Ports;
use audiocloud_rt::callback;
use audiocloud_rt::chain_event::ChainBody;
use audiocloud_units::SampleRate;

/// The host's block sizes that must make no difference.
pub(crate) const BLOCKS: [usize; 8] = [1, 7, 50, 60, 64, 100, 509, 8_192];

pub(crate) fn setup() -> RackSetup {
    RackSetup { sample_rate: SampleRate::new(48_000).unwrap(), inputs: 2, side_chain: 0, outputs: 2 }
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

/// A host with vectors for buses: `inputs[bus][channel][frame]`.
#[derive(Debug)]
pub(crate) struct Host {
    pub inputs: Vec<Vec<Vec<f32>>>,
    pub output: Vec<Vec<f32>>,
    pub events: Vec<(usize, Body)>,
    /// The first frame of the block that is being processed.
    pub at: usize,
    pub offline: bool,
}

impl Host {
    /// Two channels of noise in, and so many out.
    pub(crate) fn new(frames: usize) -> Self {
        Self::with(vec![vec![noise(1, frames), noise(2, frames)]], 2)
    }

    pub(crate) fn with(inputs: Vec<Vec<Vec<f32>>>, outputs: usize) -> Self {
        let output = vec![vec![f32::NAN; inputs[0][0].len()]; outputs];
        Self { inputs, output, events: Vec::with_capacity(100), at: 0, offline: true }
    }

    pub(crate) fn frames(&self) -> usize {
        self.output[0].len()
    }

    /// Plays up to frame `to` in one callback. The events have frames of the whole.
    pub(crate) fn call(&mut self, audio: &mut RackAudio, to: usize, events: &[(usize, ChainBody)]) {
        let frames = to - self.at;
        let here = events.iter().filter(|(at, _)| (self.at..to).contains(at));
        let here: Vec<(u32, ChainBody)> =
            here.map(|(at, body)| (u32::try_from(at - self.at).unwrap(), *body)).collect();
        callback::enter(|callback| {
            let call = RackCall { callback, offline: self.offline, transport: None, events: &here };
            audio.process(&call, frames, self);
        });
        self.at = to;
    }

    /// Plays up to frame `to` in blocks of this many frames.
    pub(crate) fn play(
        &mut self,
        audio: &mut RackAudio,
        to: usize,
        block: usize,
        events: &[(usize, ChainBody)],
    ) {
        while self.at < to {
            let end = (self.at + block).min(to);
            self.call(audio, end, events);
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
        assert_eq!(bus, 0);
        self.output[channel][from..from + samples.len()].copy_from_slice(samples);
    }

    fn event(&mut self, offset: usize, body: &Body) {
        self.events.push((self.at + offset, *body));
    }
}

pub(crate) fn bits(output: &[Vec<f32>]) -> Vec<Vec<u32>> {
    output.iter().map(|channel| channel.iter().map(|sample| sample.to_bits()).collect()).collect()
}

/// The largest difference between two samples that follow each other.
pub(crate) fn step(samples: &[f32]) -> f32 {
    samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

pub(crate) fn add(chain: &mut Chain, kind: &str) -> u32 {
    add_at(chain, Place::END, kind)
}

pub(crate) fn add_at(chain: &mut Chain, at: Place, kind: &str) -> u32 {
    chain.apply(&Edit::Add { at, kind: kind.to_owned() }).unwrap().unwrap()
}

pub(crate) fn add_parallel(chain: &mut Chain, branches: u16) -> u32 {
    chain.apply(&Edit::AddParallel { at: Place::END, branches }).unwrap().unwrap()
}

pub(crate) fn set(effect: u32, parameter: u32, value: f32) -> ChainBody {
    ChainBody::Parameter { effect, parameter, value, ramp_frames: None }
}

pub(crate) fn ramp(effect: u32, parameter: u32, value: f32, frames: u32) -> ChainBody {
    ChainBody::Parameter { effect, parameter, value, ramp_frames: Some(frames) }
}

/// A rack with the effects of [`Shelf`].
pub(crate) fn racked(chain: &Chain) -> (RackControl, RackAudio) {
    rack(chain, &setup(), Box::new(Shelf::default())).unwrap()
}

pub(crate) fn racked_alone(chain: &Chain, setup: &RackSetup) -> Result<(RackControl, RackAudio), ChainError> {
    rack(chain, setup, Box::new(NoForeign))
}

/// What a foreign effect saw.
pub(crate) type Seen = Arc<Mutex<Vec<(u64, Body)>>>;

/// Foreign effects: `clap:late:N` delays by N frames, `clap:gain` multiplies by its parameter 0, `clap:sum` adds up all
/// it hears, `clap:probe` writes down events and transport and sends the events on, `clap:bad` makes no numbers, and
/// others are not there.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub seen: Seen,
    /// Whether states are taken as they are.
    pub takes_states: bool,
    /// Ids of nodes made, and of effects that left.
    pub made: Arc<Mutex<Vec<u32>>>,
    pub left: Arc<Mutex<Vec<u32>>>,
    /// Those that were told of another state.
    pub stated: Arc<Mutex<Vec<u32>>>,
    /// Whose successor was too late.
    pub refused: Arc<Mutex<Vec<u32>>>,
    /// How much later than they say those are that are made from now on.
    pub later_frames: Arc<Mutex<u32>>,
}

impl Foreign for Shelf {
    fn node(&mut self, slot: &Slot, setup: &RackSetup) -> Result<Box<dyn Node>, String> {
        self.made.lock().unwrap().push(slot.id);
        let (channels, latency_frames) = (setup.outputs, 0);
        let node = |sort| Toy { sort, channels, latency_frames, seen: Arc::clone(&self.seen) };
        let sort = slot.kind.strip_prefix("clap:").unwrap_or_default();
        Ok(Box::new(match (sort, sort.strip_prefix("late:")) {
            ("gain", _) => node(Sort::Gain),
            ("sum", _) => node(Sort::Sum),
            ("probe", _) => node(Sort::Probe),
            ("bad", _) => node(Sort::Bad),
            (_, Some(frames)) => {
                let frames: u32 = frames.parse().unwrap();
                Toy { latency_frames: frames + *self.later_frames.lock().unwrap(), ..node(Sort::Late) }
            }
            _ => return Err(format!("there is no “{sort}” here")),
        }))
    }

    fn set_state(&mut self, slot: &Slot) -> bool {
        self.stated.lock().unwrap().push(slot.id);
        self.takes_states
    }

    fn describe(&self, id: u32) -> Description {
        Description { words: Some(format!("toy {id}")), ..Description::default() }
    }

    fn refused(&mut self, id: u32) {
        self.refused.lock().unwrap().push(id);
    }

    fn left(&mut self, id: u32) {
        self.left.lock().unwrap().push(id);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sort {
    Late,
    Gain,
    Sum,
    Probe,
    Bad,
}

#[derive(Clone, Debug)]
struct Toy {
    sort: Sort,
    channels: u16,
    latency_frames: u32,
    seen: Seen,
}

impl Node for Toy {
    fn kind(&self) -> &'static str {
        "toy"
    }

    fn layout(&self) -> Layout {
        let events = self.sort == Sort::Probe;
        Layout { event_input: events, event_output: events, ..Layout::effect(self.channels) }
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour { in_place: true, ..Behaviour::default() }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let range = (-100.0, 100.0);
        let smoothing = Smoothing::None;
        vec![Parameter { id: 0, name: "Value", unit: "", range, default: 1.0, smoothing }]
    }

    fn latency_frames(&self, _activation: &Activation) -> u32 {
        self.latency_frames
    }

    fn kernel(&self, _activation: &Activation) -> Kernel {
        let ring = |_| Ring::new(self.latency_frames as usize + 64);
        let channels = usize::from(self.channels);
        Kernel::Processor(Box::new(ToyProcessor {
            toy: self.clone(),
            lines: (0..channels).map(ring).collect(),
            sums: vec![0.0; channels],
        }))
    }
}

#[derive(Debug)]
struct ToyProcessor {
    toy: Toy,
    lines: Vec<Ring>,
    sums: Vec<f32>,
}

impl ToyProcessor {
    fn write_down(&self, block: &mut Block<'_>) {
        let Ok(mut seen) = self.toy.seen.lock() else { return };
        if block.is_at_grid() && seen.len() < seen.capacity() {
            seen.push((block.position(), Body::Transport(block.transport())));
        }
        let position = block.position();
        for index in 0..block.events().len() {
            let event = block.events()[index];
            if seen.len() < seen.capacity() {
                seen.push((position, event.body));
            }
            block.give(event);
        }
    }
}

impl Processor for ToyProcessor {
    fn process(&mut self, block: &mut Block<'_>) {
        if self.toy.sort == Sort::Probe {
            self.write_down(block);
        }
        let ramp = block.parameter(0);
        let latency = self.toy.latency_frames as usize;
        for (channel, (line, total)) in self.lines.iter_mut().zip(&mut self.sums).enumerate() {
            let samples = block.output(channel);
            match self.toy.sort {
                Sort::Late => {
                    line.write(samples);
                    line.read_back(latency + samples.len(), samples);
                }
                Sort::Gain => {
                    let mut gains = [0.0; 64];
                    ramp.fill(&mut gains);
                    samples.iter_mut().zip(gains).for_each(|(sample, gain)| *sample *= gain);
                }
                Sort::Sum => {
                    for sample in samples {
                        *total += *sample;
                        *sample = *total;
                    }
                }
                Sort::Bad => samples.fill(f32::NAN),
                Sort::Probe => {}
            }
        }
    }

    fn reset(&mut self) {
        self.lines.iter_mut().for_each(Ring::reset);
        self.sums.fill(0.0);
    }
}

pub(crate) fn rolling(position_beats: f64) -> Transport {
    Transport { playing: true, tempo_bpm: 120.0, position_beats, signature: (3, 4) }
}

pub(crate) fn told(transport: Transport) -> ChainBody {
    let Transport { playing, tempo_bpm, position_beats, signature } = transport;
    ChainBody::Transport { playing, tempo_bpm, position_beats, signature }
}
