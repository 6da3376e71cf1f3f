//! Ours.

use std::hint::black_box;

use audiocloud_dsp::biquad::{self, Coefficients, State, lanes};
use audiocloud_dsp::ramp::{Curve, Ramp};
use audiocloud_graph::arena::Arena;
use audiocloud_graph::controller::{Config, play};
use audiocloud_graph::graph::{EdgeKey, Graph, NodeKey};
use audiocloud_graph::node::{self, Activation, Behaviour, Kernel, Layout, Node, Processor};
use audiocloud_graph::nodes::{Biquad, Gain};
use audiocloud_graph::renderer::{Call, Ports, Renderer};
use audiocloud_rt::callback;
use audiocloud_units::SampleRate;

use super::{Aligned, Block, FRAMES, INPUT, SAMPLE_RATE_HZ, Shape, Work, edit, kernels};
use crate::measure::Contestant;

/// Writes silence.
#[derive(Clone, Copy, Debug)]
struct Nothing {
    inputs: usize,
}

impl Node for Nothing {
    fn kind(&self) -> &'static str {
        "nothing"
    }

    fn layout(&self) -> Layout {
        Layout { inputs: vec![1; self.inputs], outputs: vec![1], ..Layout::default() }
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour { stateless: true, ..Behaviour::default() }
    }

    fn kernel(&self, _: &Activation) -> Kernel {
        Kernel::Processor(Box::new(*self))
    }
}

impl Processor for Nothing {
    fn process(&mut self, block: &mut node::Block<'_>) {
        block.output(0).fill(0.0);
    }
}

/// A host of one channel in and out.
struct Host {
    output: Block,
}

impl Ports for Host {
    fn read(&mut self, _: usize, _: usize, _: usize, samples: &mut [f32]) {
        samples.fill(INPUT);
    }

    fn write(&mut self, _: usize, _: usize, from: usize, samples: &[f32]) {
        self.output[from..from + samples.len()].copy_from_slice(samples);
    }
}

fn config() -> Config {
    Config::new(SampleRate::new(SAMPLE_RATE_HZ).expect("a rate"))
}

/// A graph, the last of whose nodes has `last_inputs`. All play; of independent nodes, only the last is heard, as in the
/// peers' graphs.
fn nodes(shape: Shape, work: Work, count: usize, last_inputs: usize) -> (Graph, Vec<NodeKey>) {
    let mut graph = Graph::new(&[1], &[1]).expect("one channel is possible");
    let (input, output) = (graph.input(), graph.output());
    let mut keys: Vec<NodeKey> = Vec::with_capacity(count);
    let connect = |graph: &mut Graph, from, to| graph.connect_audio((from, 0), (to, 0)).expect("ports fit");
    for index in 0..count {
        let inputs = if index + 1 == count { last_inputs } else { 1 };
        let q = std::f32::consts::FRAC_1_SQRT_2;
        let shape_of_filter = biquad::Shape::LowPass;
        let node: Box<dyn Node> = match work {
            Work::Nothing => Box::new(Nothing { inputs }),
            Work::Gain => Box::new(Gain::new(1, kernels::GAIN)),
            Work::Biquad => Box::new(Biquad {
                channels: 1,
                shape: shape_of_filter,
                frequency_hz: 1000.0,
                q,
                gain_db: 0.0,
            }),
        };
        let key = graph.add_boxed("node", node).expect("one channel is possible");
        let from = match shape {
            Shape::Chain => keys.last().copied().unwrap_or(input),
            Shape::Independent => input,
        };
        connect(&mut graph, from, key);
        keys.push(key);
    }
    connect(&mut graph, keys[count - 1], output);
    (graph, keys)
}

/// Plays one block and shows its last sample.
fn player(mut renderer: Renderer) -> impl FnMut() -> f32 + Send {
    let mut host = Host { output: [0.0; FRAMES] };
    move || {
        callback::enter(|callback| {
            let call = Call { callback, transport: None, offline: false, events: &[] };
            renderer.process(&call, FRAMES, black_box(&mut host));
        });
        host.output[FRAMES - 1]
    }
}

pub(super) fn graph(shape: Shape, work: Work, count: usize) -> impl FnMut() -> f32 {
    let (graph, _) = nodes(shape, work, count, 1);
    let (controller, renderer) = play(&graph, config(), None).expect("the graph can play");
    let mut block = player(renderer);
    move || {
        let _alive = &controller;
        block()
    }
}

/// The graph is compiled on the control thread; the callback crossfades to it, and this edge concerns all of it.
pub(super) fn edits(count: usize) -> (impl FnMut(edit::Request), impl FnMut() + Send) {
    let (mut graph, keys) = nodes(Shape::Chain, Work::Nothing, count, 2);
    let (mut controller, renderer) = play(&graph, config(), None).expect("the graph can play");
    let mut block = player(renderer);
    let (first, last) = (keys[0], keys[count - 1]);
    let mut edge: Option<EdgeKey> = None;
    let control = move |request| {
        match request {
            edit::Request::Nothing => return,
            edit::Request::Add => edge = Some(graph.connect_audio((first, 0), (last, 1)).expect("ports fit")),
            edit::Request::Remove => {
                assert!(edge.take().is_some_and(|edge| graph.disconnect(edge).is_ok()))
            }
        }
        controller.commit(&graph).expect("the callback has taken the edit before");
    };
    (control, move || {
        black_box(block());
    })
}

/// Always on its way: it takes 12 hours.
pub(super) fn ramp() -> impl FnMut(&mut Block) {
    let mut ramp = Ramp::constant(440.0);
    ramp.glide(880.0, u32::MAX, Curve::Linear);
    move |block| {
        black_box(&mut ramp).fill(block);
        ramp.advance(64);
    }
}

pub(super) fn arena() -> Contestant {
    let mut keys = Vec::with_capacity(1000);
    Contestant::new("ours", move || {
        let mut arena = Arena::<u64>::with_capacity(1000);
        keys.extend((0..1000).map(|value| arena.insert(black_box(value))));
        for key in keys.drain(..) {
            black_box(arena.remove(key));
        }
    })
}

fn low_pass() -> Coefficients {
    let kernels::Coefficients { b0, b1, b2, a1, a2 } = kernels::Coefficients::low_pass();
    Coefficients { b0, b1, b2, a1, a2 }
}

/// One signal through filters in series, in place.
pub(super) fn series(filters: usize) -> Contestant {
    let coefficients = vec![low_pass(); filters];
    let mut states = vec![State::default(); filters];
    let mut block = Aligned([INPUT; FRAMES]);
    Contestant::new("ours", move || lanes::series(&coefficients, &mut states, black_box(&mut block.0)))
}

/// As many signals, each through a filter of its own, in place.
pub(super) fn bank(filters: usize) -> Contestant {
    let coefficients = vec![low_pass(); filters];
    let mut states = vec![State::default(); filters];
    let mut blocks = vec![Aligned([INPUT; FRAMES]); filters];
    Contestant::new("ours", move || {
        lanes::bank(&coefficients, &mut states, &[], black_box(&mut blocks), 0..FRAMES)
    })
}
