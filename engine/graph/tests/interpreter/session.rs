//! A graph and what is done to it while it plays; and the graph's own answer.

use audiocloud_graph::controller::{CommitError, Config, play};
use audiocloud_graph::event::Body;
use audiocloud_graph::graph::{EdgeKey, Flow, Graph, NodeKey, Port};
use audiocloud_graph::renderer::{HostEvent, Target};

use super::author::Author;
use super::{Device, Dice, Document};
use crate::bed::{Host, rate};

/// One change of the graph.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Add(Device),
    Remove(NodeKey),
    Replace(NodeKey, Device),
    Connect(Port, Port, Flow),
    Disconnect(EdgeKey),
}

/// To whom an event goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    Input,
    Node(NodeKey),
}

/// What happens while it plays.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// The graph is changed and committed.
    Commit { ops: Vec<Op>, document: Document },
    /// The control thread sets a parameter.
    Set { node: NodeKey, id: u32, value: f32 },
    /// The host tells something.
    Event { to: To, body: Body },
}

/// A graph and all that is done to it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub start_ops: Vec<Op>,
    pub start: Document,
    /// By frame; at one frame the host's events are the last.
    pub acts: Vec<(usize, Act)>,
    pub input: NodeKey,
    pub output: NodeKey,
    /// By bus, channel and frame.
    pub inputs: Vec<Vec<Vec<f32>>>,
    /// The widths of the output buses.
    pub outputs: Vec<u16>,
    pub frames: usize,
    pub crossfade_ms: f32,
    /// As long, on the grid.
    pub fade_frames: usize,
}

/// How large a session is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub nodes: usize,
    pub edits: usize,
    pub events: usize,
    pub frames: usize,
}

/// What the graph made of a session.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub outputs: Vec<Vec<Vec<f32>>>,
    pub events: Vec<(usize, Body)>,
    pub accepted: Vec<bool>,
    pub latency: usize,
    pub events_refused: u64,
}

impl Op {
    fn apply(&self, graph: &mut Graph) {
        match self.clone() {
            Self::Add(device) => graph.add_boxed("node", device.node()).map(|_| ()),
            Self::Remove(node) => graph.remove(node),
            Self::Replace(node, device) => graph.replace(node, device.node()),
            Self::Connect(from, to, flow) => graph.connect(from, to, flow).map(|_| ()),
            Self::Disconnect(edge) => graph.disconnect(edge).map(|_| ()),
        }
        .expect("it was done before");
    }
}

impl Session {
    pub(crate) fn random(seed: u64, limits: Limits) -> Self {
        let mut author = Author::new(Dice::new(seed), &[]);
        author.grow(limits.nodes);
        Self::with(author, limits)
    }

    /// One that is silent on its last bus, for all that comes there comes by two ways that cancel; on the last but one
    /// it comes by one way. Nothing is edited.
    pub(crate) fn cancelling(seed: u64, limits: Limits) -> Self {
        let mut author = Author::new(Dice::new(seed), &[2, 2]);
        author.grow(limits.nodes);
        author.cancel();
        Self::with(author, Limits { edits: 0, ..limits })
    }

    fn with(mut author: Author, limits: Limits) -> Self {
        let (start_ops, start) = (std::mem::take(&mut author.ops), author.document.clone());
        let mut acts = Vec::new();
        // Some edits right behind each other, so that they have to wait.
        let mut at = 0;
        let mut times: Vec<(usize, u32)> = Vec::new();
        for _ in 0..limits.edits {
            let pause = if author.dice.percent(25) { 100 } else { 2 * limits.frames / limits.edits };
            at += author.dice.index(pause);
            times.push((at, 0));
        }
        times.extend((0..limits.events).map(|_| (author.dice.index(limits.frames), 1)));
        times.retain(|(at, _)| *at < limits.frames);
        times.sort_unstable();
        for (at, kind) in times {
            match kind {
                0 => {
                    for _ in 0..author.dice.whole(1..=4) {
                        author.edit();
                    }
                    let ops = std::mem::take(&mut author.ops);
                    acts.push((at, Act::Commit { ops, document: author.document.clone() }));
                }
                _ => acts.extend(author.act().map(|act| (at, act))),
            }
        }
        acts.sort_by_key(|(at, act)| (*at, matches!(act, Act::Event { .. })));
        author.session(start_ops, start, acts, limits.frames)
    }

    /// Plays it, each block as long as `block` says, but for those that end where the control thread acts.
    pub(crate) fn render(&self, mut block: impl FnMut() -> usize) -> Rendered {
        let widths = |buses: &[Vec<Vec<f32>>]| -> Vec<u16> {
            buses.iter().map(|bus| u16::try_from(bus.len()).expect("few channels")).collect()
        };
        let mut graph = Graph::new(&widths(&self.inputs), &self.outputs).expect("widths");
        self.start_ops.iter().for_each(|op| op.apply(&mut graph));
        let config = Config { crossfade_ms: self.crossfade_ms, ..Config::new(rate()) };
        let (mut controller, mut renderer) = play(&graph, config, None).expect("it plays");
        let bus = |width: &u16| vec![vec![f32::NAN; self.frames]; usize::from(*width)];
        let outputs = self.outputs.iter().map(bus).collect();
        let mut host = Host { inputs: self.inputs.clone(), outputs, ..Host::default() };
        let mut accepted = Vec::new();
        let mut acts = self.acts.iter().peekable();
        while host.at < self.frames {
            let is_now = |(at, act): &&(usize, Act)| *at == host.at && !matches!(act, Act::Event { .. });
            while let Some((_, act)) = acts.next_if(is_now) {
                match act {
                    Act::Commit { ops, .. } => {
                        ops.iter().for_each(|op| op.apply(&mut graph));
                        match controller.commit(&graph) {
                            Ok(_) => accepted.push(true),
                            Err(CommitError::Busy) => accepted.push(false),
                            Err(error) => panic!("{error}"),
                        }
                    }
                    Act::Set { node, id, value } => {
                        controller.set_parameter(&mut graph, *node, *id, *value).expect("room for a command");
                    }
                    Act::Event { .. } => {}
                }
            }
            let control = acts.clone().find(|(_, act)| !matches!(act, Act::Event { .. }));
            let end = control.map_or(self.frames, |(at, _)| *at);
            let to = (host.at + block().max(1)).min(end);
            let mut events = Vec::new();
            while let Some((at, act)) = acts.next_if(|(at, _)| *at < to) {
                let Act::Event { to: target, body } = *act else { continue };
                let target = match target {
                    To::Input => Some(Target::Input),
                    To::Node(node) => controller.address(node).map(Target::Node),
                };
                let offset = u32::try_from(*at - host.at).expect("a short block");
                events.extend(target.map(|target| HostEvent { offset, target, body }));
            }
            host.play(&mut renderer, to, &events);
        }
        Rendered {
            outputs: host.outputs,
            events: host.events,
            accepted,
            latency: controller.latency_frames() as usize,
            events_refused: controller.status().events_refused,
        }
    }
}
