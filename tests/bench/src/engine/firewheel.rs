//! Firewheel 0.14: a graph compiled off the audio thread into a schedule that the processor exchanges.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use audioadapter_buffers::direct::InterleavedSlice;
use firewheel_core::channel_config::{ChannelConfig, ChannelCount};
use firewheel_core::node::{
    AudioNode, AudioNodeInfo, AudioNodeProcessor, ConstructProcessorContext, EmptyConfig, NodeError, NodeID,
    ProcBuffers, ProcExtra, ProcInfo, ProcessStatus, StreamStatus,
};
use firewheel_core::param::smoother::{SmoothedParam, SmootherConfig};
use firewheel_graph::backend::BackendProcessInfo;
use firewheel_graph::processor::FirewheelProcessor;
use firewheel_graph::{ActivateInfo, FirewheelConfig, FirewheelContext};

use super::kernels::{GAIN, Kernel};
use super::{Block, FRAMES, INPUT, SAMPLE_RATE_HZ, Shape, Work, edit};

const RATE: NonZeroU32 = NonZeroU32::new(SAMPLE_RATE_HZ).expect("not zero");
const BLOCK: NonZeroU32 = NonZeroU32::new(64).expect("not zero");

/// One output, and the processor works in place.
struct Node {
    work: Work,
    inputs: ChannelCount,
}

impl AudioNode for Node {
    type Configuration = EmptyConfig;

    fn info(&self, _: &EmptyConfig) -> Result<AudioNodeInfo, NodeError> {
        let channels = ChannelConfig { num_inputs: self.inputs, num_outputs: ChannelCount::MONO };
        Ok(AudioNodeInfo::new().channel_config(channels).in_place_buffers(true))
    }

    fn construct_processor(
        &self,
        _: &EmptyConfig,
        _: ConstructProcessorContext,
    ) -> Result<impl AudioNodeProcessor, NodeError> {
        Ok(Processor(Kernel::new(self.work)))
    }
}

struct Processor(Kernel);

impl AudioNodeProcessor for Processor {
    fn process(&mut self, _: &ProcInfo, buffers: ProcBuffers, _: &mut ProcExtra) -> ProcessStatus {
        let block: &mut [f32] = buffers.outputs[0];
        let block: &mut Block = block.try_into().expect("blocks are whole");
        match &mut self.0 {
            Kernel::Nothing => block.fill(0.0),
            Kernel::Gain => block.iter_mut().for_each(|sample| *sample *= GAIN),
            Kernel::Biquad(biquad) => biquad.process_in_place(block),
        }
        ProcessStatus::OutputsModified
    }
}

/// A context with its nodes, the last of which is heard and has `last_inputs`, and what plays it.
fn context(
    shape: Shape,
    work: Work,
    nodes: usize,
    last_inputs: ChannelCount,
) -> (FirewheelContext, FirewheelProcessor, Vec<NodeID>) {
    let mut context = FirewheelContext::new(FirewheelConfig {
        num_graph_inputs: ChannelCount::MONO,
        num_graph_outputs: ChannelCount::MONO,
        clamp_graph_inputs_below: None,
        ..FirewheelConfig::default()
    });
    let input = context.graph_in_node_id();
    let mut ids: Vec<NodeID> = Vec::with_capacity(nodes);
    for index in 0..nodes {
        let inputs = if index + 1 == nodes { last_inputs } else { ChannelCount::MONO };
        let id = context.add_node(Node { work, inputs }, None).expect("a node is taken");
        let from = match shape {
            Shape::Chain => ids.last().copied().unwrap_or(input),
            Shape::Independent => input,
        };
        context.connect(from, id, &[(0, 0)], false).expect("an edge is taken");
        ids.push(id);
    }
    let output = context.graph_out_node_id();
    context.connect(ids[nodes - 1], output, &[(0, 0)], false).expect("an edge is taken");
    let stream = ActivateInfo {
        sample_rate: RATE,
        max_block_frames: BLOCK,
        num_stream_in_channels: 1,
        num_stream_out_channels: 1,
        input_to_output_latency_seconds: 0.0,
    };
    let processor = context.activate(stream).expect("nothing was active");
    context.update().expect("the schedule is taken");
    (context, processor, ids)
}

/// Plays one block and shows its last sample.
fn player(mut processor: FirewheelProcessor) -> impl FnMut() -> f32 + Send {
    let (input, mut output) = ([INPUT; FRAMES], [0.0; FRAMES]);
    let info = BackendProcessInfo {
        frames: FRAMES,
        process_timestamp: Some(Instant::now()),
        duration_since_stream_start: Duration::ZERO,
        input_stream_status: StreamStatus::empty(),
        output_stream_status: StreamStatus::empty(),
        dropped_frames: 0,
        process_to_playback_delay: None,
    };
    move || {
        let from = InterleavedSlice::new(black_box(&input), 1, FRAMES).expect("it is as long as we say");
        let mut to =
            InterleavedSlice::new_mut(black_box(&mut output), 1, FRAMES).expect("it is as long as we say");
        processor.process(&from, &mut to, info.clone());
        output[FRAMES - 1]
    }
}

pub(super) fn graph(shape: Shape, work: Work, nodes: usize) -> impl FnMut() -> f32 {
    let (mut context, processor, _) = context(shape, work, nodes, ChannelCount::MONO);
    let mut block = player(processor);
    // The first block takes the schedule and fades in; what it leaves behind is freed.
    for _ in 0..100 {
        block();
    }
    context.update().expect("nothing changed");
    // The context ends the stream when dropped.
    move || {
        let _alive = &context;
        block()
    }
}

/// Always on its way: the target changes with each block.
pub(super) fn ramp() -> impl FnMut(&mut Block) {
    let mut parameter = SmoothedParam::new(0.0, 1.0, SmootherConfig::default(), RATE);
    let mut target = 0.0;
    move |block| {
        target = 1.0 - target;
        parameter.set_value(target);
        black_box(&mut parameter).process_into_buffer(block);
    }
}

/// The graph is compiled on the control thread; the processor exchanges its schedule.
pub(super) fn edits(nodes: usize) -> (impl FnMut(edit::Request), impl FnMut() + Send) {
    let (mut context, processor, ids) = context(Shape::Chain, Work::Nothing, nodes, ChannelCount::STEREO);
    let mut block = player(processor);
    let (first, last) = (ids[0], ids[nodes - 1]);
    let control = move |request| {
        match request {
            edit::Request::Nothing => return,
            edit::Request::Add => {
                drop(context.connect(first, last, &[(0, 1)], false).expect("an edge is taken"))
            }
            edit::Request::Remove => assert!(!context.disconnect(first, last, &[(0, 1)]).is_empty()),
        }
        context.update().expect("the schedule is taken");
    };
    (control, move || {
        black_box(block());
    })
}
