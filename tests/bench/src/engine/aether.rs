//! aetherdsp-core 0.1.6: a scheduler that walks levels of a graph, and is edited from within the callback.

use std::hint::black_box;

use aether_core::arena::{Arena, NodeId};
use aether_core::command::Command;
use aether_core::node::DspNode;
use aether_core::param::{Param, ParamBlock};
use aether_core::scheduler::Scheduler;
use aether_core::{BUFFER_SIZE, MAX_INPUTS};
use ringbuf::HeapRb;
use ringbuf::traits::{Producer, Split};

use super::kernels::{Biquad, GAIN};
use super::{Block, FRAMES, INPUT, SAMPLE_RATE_HZ, Shape, Work, edit};
use crate::measure::Contestant;

const _: () = assert!(BUFFER_SIZE == FRAMES);

/// What an unconnected node hears: the engine has no input of its own.
static CONSTANT: Block = [INPUT; FRAMES];

struct Nothing;

impl DspNode for Nothing {
    fn process(&mut self, _: &[Option<&Block>; MAX_INPUTS], output: &mut Block, _: &mut ParamBlock, _: f32) {
        output.fill(0.0);
    }

    fn type_name(&self) -> &'static str {
        "nothing"
    }
}

struct Gain;

impl DspNode for Gain {
    fn process(
        &mut self,
        inputs: &[Option<&Block>; MAX_INPUTS],
        output: &mut Block,
        _: &mut ParamBlock,
        _: f32,
    ) {
        let input = inputs[0].unwrap_or(&CONSTANT);
        for (output, input) in output.iter_mut().zip(input) {
            *output = input * GAIN;
        }
    }

    fn type_name(&self) -> &'static str {
        "gain"
    }
}

struct Filter(Biquad);

impl DspNode for Filter {
    fn process(
        &mut self,
        inputs: &[Option<&Block>; MAX_INPUTS],
        output: &mut Block,
        _: &mut ParamBlock,
        _: f32,
    ) {
        self.0.process(inputs[0].unwrap_or(&CONSTANT), output);
    }

    fn type_name(&self) -> &'static str {
        "biquad"
    }
}

fn node(work: Work) -> Box<dyn DspNode> {
    match work {
        Work::Nothing => Box::new(Nothing),
        Work::Gain => Box::new(Gain),
        Work::Biquad => Box::new(Filter(Biquad::low_pass())),
    }
}

/// A scheduler at 48 kHz with its nodes, the last of which is heard.
fn scheduler(shape: Shape, work: Work, nodes: usize) -> (Scheduler, Vec<NodeId>) {
    let rate = u16::try_from(SAMPLE_RATE_HZ).expect("48 kHz fit");
    let mut scheduler = Scheduler::new(f32::from(rate));
    let graph = &mut scheduler.graph;
    let ids: Vec<NodeId> = (0..nodes).map(|_| graph.add_node(node(work)).expect("there is room")).collect();
    if shape == Shape::Chain {
        for pair in ids.windows(2) {
            assert!(graph.connect(pair[0], pair[1], 0));
        }
    }
    graph.set_output_node(*ids.last().expect("there is a node"));
    (scheduler, ids)
}

pub(super) fn graph(shape: Shape, work: Work, nodes: usize) -> impl FnMut() -> f32 {
    let (mut scheduler, _) = scheduler(shape, work, nodes);
    let (_commands, mut pending) = HeapRb::<Command>::new(64).split();
    // It plays stereo.
    let mut output = [0.0; 2 * FRAMES];
    move || {
        scheduler.process_block(&mut pending, black_box(&mut output));
        output[2 * FRAMES - 1]
    }
}

/// Always on its way: the value is set back before each block, the target stays far.
pub(super) fn ramp() -> impl FnMut(&mut Block) {
    let mut parameter = Param::new(440.0);
    parameter.set_target(880.0, 4410);
    move |block| {
        parameter.current = 440.0;
        black_box(&mut parameter).fill_buffer(block);
    }
}

pub(super) fn arena() -> Contestant {
    let mut keys = Vec::with_capacity(1000);
    Contestant::new("aether", move || {
        let mut arena = Arena::<u64>::with_capacity(1000);
        keys.extend((0..1000).filter_map(|value| arena.insert(black_box(value))));
        for key in keys.drain(..) {
            black_box(arena.remove(key));
        }
    })
}

/// A command takes the edge to the callback, which sorts the graph again.
pub(super) fn edits(nodes: usize) -> (impl FnMut(edit::Request), impl FnMut() + Send) {
    let (mut scheduler, ids) = scheduler(Shape::Chain, Work::Nothing, nodes);
    let (mut commands, mut pending) = HeapRb::<Command>::new(64).split();
    let mut output = [0.0; 2 * FRAMES];
    let (first, last) = (ids[0], ids[nodes - 1]);
    let control = move |request| {
        let command = match request {
            edit::Request::Nothing => return,
            edit::Request::Add => Command::Connect { src: first, dst: last, slot: 1 },
            edit::Request::Remove => Command::Disconnect { dst: last, slot: 1 },
        };
        assert!(commands.try_push(command).is_ok(), "the callback takes every command");
    };
    (control, move || scheduler.process_block(&mut pending, black_box(&mut output)))
}
