//! The graph as its user edits it: nodes, and the edges between their ports. Nothing in here plays.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::arena::{Arena, Key};
use crate::node::{Activation, Behaviour, CHANNELS_MAX, GRID, Kernel, Layout, Node, Parameter, Shed};

/// Names a node of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeKey(pub(crate) Key);

impl NodeKey {
    /// For logs: the number that an entry of the rt log carries.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0.to_u64()
    }

    /// The key that [`NodeKey::to_u64`] made this number of.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(Key::from_u64(number))
    }
}

/// Names an edge of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EdgeKey(Key);

/// One port of a node: an audio port by its place in the [`Layout`], from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// Whose.
    pub node: NodeKey,
    /// Which. Always 0 for events.
    pub port: u16,
}

/// What flows along an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Flow {
    /// Audio. Edges into one port are summed; a mono source feeds every channel.
    Audio,
    /// Events.
    Events,
    /// Audio against the stream, late by so many frames, at least [`GRID`].
    Feedback { delay_frames: u32 },
}

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Edge {
    /// The output port that it comes from.
    pub from: Port,
    /// The input port that it goes to.
    pub to: Port,
    /// What flows.
    pub flow: Flow,
}

/// A node as the graph keeps it.
#[derive(Debug)]
pub struct Entry {
    pub(crate) node: Box<dyn Node>,
    pub(crate) layout: Layout,
    pub(crate) behaviour: Behaviour,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) values: Vec<f32>,
    pub(crate) name: String,
    pub(crate) group: u16,
    pub(crate) bypassed: bool,
    /// Another one means another processor.
    pub(crate) revision: u64,
}

impl Entry {
    fn new(name: &str, node: Box<dyn Node>, revision: u64) -> Result<Self, GraphError> {
        let (layout, behaviour) = (node.layout(), node.behaviour());
        for channels in layout.inputs.iter().chain(&layout.outputs) {
            if !(1..=CHANNELS_MAX).contains(channels) {
                return Err(GraphError::Channels { node: name.to_owned(), channels: *channels });
            }
        }
        let in_place = !layout.inputs.is_empty() && layout.inputs.first() == layout.outputs.first();
        let leaves = behaviour.in_place || layout.inputs.is_empty();
        if behaviour.in_place && !in_place || matches!(behaviour.shed, Shed::Meter | Shed::Bypass) && !leaves
        {
            return Err(GraphError::NotInPlace { node: name.to_owned() });
        }
        let mut parameters = node.parameters();
        for Parameter { range: (low, high), default, .. } in &mut parameters {
            *default = if default.is_nan() { *low } else { default.clamp(*low, *high) };
        }
        let values = parameters.iter().map(|parameter| parameter.default).collect();
        let name = name.to_owned();
        let bypassed = false;
        Ok(Self { node, layout, behaviour, parameters, values, name, group: 0, bypassed, revision })
    }

    /// For people, and in every message about the node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's control half.
    #[must_use]
    pub fn node(&self) -> &dyn Node {
        &*self.node
    }

    /// What goes in and out.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What can be set, and the values they have, in the same order.
    #[must_use]
    pub fn parameters(&self) -> (&[Parameter], &[f32]) {
        (&self.parameters, &self.values)
    }

    /// The group that its processing time is counted to.
    #[must_use]
    pub fn group(&self) -> u16 {
        self.group
    }

    /// Whether it is bypassed.
    #[must_use]
    pub fn is_bypassed(&self) -> bool {
        self.bypassed
    }
}

/// Why an edit was refused. The graph is as it was.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GraphError {
    /// The key of a node or edge that is gone.
    #[error("this node or connection is no longer in the graph")]
    Gone,
    /// No such port.
    #[error("“{node}” has no {direction} port {port} for {flow}")]
    NoPort { node: String, direction: &'static str, port: u16, flow: &'static str },
    /// Widths that do not fit.
    #[error("“{from}” has {from_channels} channels, but “{to}” takes {to_channels}")]
    Widths { from: String, from_channels: u16, to: String, to_channels: u16 },
    /// A port that is too wide, or empty.
    #[error("“{node}” has a port of {channels} channels; 1 to 64 are possible")]
    Channels { node: String, channels: u16 },
    /// In place or bypassed, with a first output unlike its first input.
    #[error("“{node}” cannot work in place, for its first input and output differ")]
    NotInPlace { node: String },
    /// The same connection twice.
    #[error("“{from}” is already connected to “{to}” in this way")]
    Connected { from: String, to: String },
    /// A loop without a delay.
    #[error("a loop without a delay: {}; connect one of them by feedback", .0.join(" → "))]
    Cycle(Vec<String>),
    /// A feedback that is too quick.
    #[error("a feedback of {delay_frames} frames is too short; at least {GRID} are needed")]
    FeedbackTooShort { delay_frames: u32 },
    /// No such parameter.
    #[error("“{node}” has no parameter {id}")]
    NoParameter { node: String, id: u32 },
    /// The graph's own input and output stay.
    #[error("the graph's input and output cannot be removed or replaced")]
    Terminal,
    /// A node that has to be in place.
    #[error("“{node}” cannot be bypassed")]
    NoBypass { node: String },
}

/// Nodes and edges, between one input and one output, each with a port for each of the host's buses.
#[derive(Debug)]
pub struct Graph {
    nodes: Arena<Entry>,
    edges: Arena<Edge>,
    /// Edges that leave and enter a node, so that a path is found without looking at all.
    out: BTreeMap<NodeKey, BTreeSet<EdgeKey>>,
    into: BTreeMap<NodeKey, BTreeSet<EdgeKey>>,
    input: NodeKey,
    output: NodeKey,
    latency_frames_min: u32,
    revision: u64,
}

/// The graph's own input or output.
#[derive(Debug)]
struct Terminal {
    kind: &'static str,
    layout: Layout,
}

impl Node for Terminal {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn layout(&self) -> Layout {
        self.layout.clone()
    }

    /// Never played: the compiler reads and writes the host's buses in its place.
    fn kernel(&self, _activation: &Activation) -> Kernel {
        Kernel::Gain
    }
}

impl Graph {
    /// An input and an output with a port of so many channels for each bus, and nothing between them.
    pub fn new(inputs: &[u16], outputs: &[u16]) -> Result<Self, GraphError> {
        let input = Layout { outputs: inputs.to_vec(), event_output: true, ..Layout::default() };
        let output = Layout { inputs: outputs.to_vec(), event_input: true, ..Layout::default() };
        let mut nodes = Arena::default();
        let mut terminal = |kind, layout| -> Result<NodeKey, GraphError> {
            Ok(NodeKey(nodes.insert(Entry::new(kind, Box::new(Terminal { kind, layout }), 0)?)))
        };
        let (input, output) = (terminal("input", input)?, terminal("output", output)?);
        let (edges, out, into) = (Arena::default(), BTreeMap::new(), BTreeMap::new());
        Ok(Self { nodes, edges, out, into, input, output, latency_frames_min: 0, revision: 0 })
    }

    /// Where the host's audio and events come in.
    #[must_use]
    pub fn input(&self) -> NodeKey {
        self.input
    }

    /// Where audio and events go out to the host.
    #[must_use]
    pub fn output(&self) -> NodeKey {
        self.output
    }

    /// Has the output come this many frames after the input, where the nodes themselves are sooner: so that a latency
    /// that somebody was told stays what it is through edits.
    pub fn set_latency_frames_min(&mut self, frames: u32) {
        self.latency_frames_min = frames;
    }

    /// See [`Graph::set_latency_frames_min`].
    #[must_use]
    pub fn latency_frames_min(&self) -> u32 {
        self.latency_frames_min
    }

    /// Adds a node, connected to nothing.
    pub fn add(&mut self, name: &str, node: impl Node + 'static) -> Result<NodeKey, GraphError> {
        self.add_boxed(name, Box::new(node))
    }

    /// As [`Graph::add`].
    pub fn add_boxed(&mut self, name: &str, node: Box<dyn Node>) -> Result<NodeKey, GraphError> {
        self.revision += 1;
        Ok(NodeKey(self.nodes.insert(Entry::new(name, node, self.revision)?)))
    }

    /// Puts another node in a node's place: its connections stay, its processor is a new one. Refused where the
    /// ports differ. Values of parameters that both have stay.
    pub fn replace(&mut self, key: NodeKey, node: Box<dyn Node>) -> Result<(), GraphError> {
        self.no_terminal(key)?;
        let before = self.nodes.get(key.0).ok_or(GraphError::Gone)?;
        let mut entry = Entry::new(&before.name, node, self.revision + 1)?;
        if entry.layout != before.layout {
            return Err(GraphError::NotInPlace { node: before.name.clone() });
        }
        for (parameter, value) in entry.parameters.iter().zip(&mut entry.values) {
            if let Some(index) = before.parameters.iter().position(|other| other.id == parameter.id) {
                *value = before.values[index].clamp(parameter.range.0, parameter.range.1);
            }
        }
        (entry.group, entry.bypassed) = (before.group, before.bypassed);
        self.revision += 1;
        if let Some(place) = self.nodes.get_mut(key.0) {
            *place = entry;
        }
        Ok(())
    }

    /// Removes a node with all its connections.
    pub fn remove(&mut self, key: NodeKey) -> Result<(), GraphError> {
        self.no_terminal(key)?;
        self.nodes.remove(key.0).ok_or(GraphError::Gone)?;
        let touching = [self.out.remove(&key), self.into.remove(&key)];
        for edge in touching.into_iter().flatten().flatten() {
            self.take_edge(edge);
        }
        Ok(())
    }

    /// Connects an output port to an input port.
    pub fn connect(&mut self, from: Port, to: Port, flow: Flow) -> Result<EdgeKey, GraphError> {
        let edge = Edge { from, to, flow };
        let (source, target) = (self.entry(from.node)?, self.entry(to.node)?);
        let no_port = |entry: &Entry, direction, port, flow| {
            Err(GraphError::NoPort { node: entry.name.clone(), direction, port, flow })
        };
        if flow == Flow::Events {
            if !source.layout.event_output || from.port != 0 {
                return no_port(source, "output", from.port, "events");
            }
            if !target.layout.event_input || to.port != 0 {
                return no_port(target, "input", to.port, "events");
            }
        } else {
            let Some(from_channels) = source.layout.outputs.get(usize::from(from.port)).copied() else {
                return no_port(source, "output", from.port, "audio");
            };
            let Some(to_channels) = target.layout.inputs.get(usize::from(to.port)).copied() else {
                return no_port(target, "input", to.port, "audio");
            };
            if from_channels != to_channels && from_channels != 1 {
                let (from, to) = (source.name.clone(), target.name.clone());
                return Err(GraphError::Widths { from, from_channels, to, to_channels });
            }
        }
        let alike = |other: &Edge| {
            let both = |flow| matches!(flow, Flow::Feedback { .. });
            other.from == from && other.to == to && (other.flow == flow || both(other.flow) && both(flow))
        };
        if self.into.get(&to.node).into_iter().flatten().any(|key| self.edge(*key).is_some_and(alike)) {
            let (from, to) = (source.name.clone(), target.name.clone());
            return Err(GraphError::Connected { from, to });
        }
        match flow {
            Flow::Feedback { delay_frames } if u64::from(delay_frames) < GRID as u64 => {
                return Err(GraphError::FeedbackTooShort { delay_frames });
            }
            Flow::Feedback { .. } => {}
            Flow::Audio | Flow::Events => {
                if let Some(path) = self.path(to.node, from.node) {
                    let names = path.iter().chain(path.first()).filter_map(|key| self.nodes.get(key.0));
                    return Err(GraphError::Cycle(names.map(|entry| entry.name.clone()).collect()));
                }
            }
        }
        let key = EdgeKey(self.edges.insert(edge));
        self.out.entry(from.node).or_default().insert(key);
        self.into.entry(to.node).or_default().insert(key);
        Ok(key)
    }

    /// Connects two nodes' audio at these ports.
    pub fn connect_audio(&mut self, from: (NodeKey, u16), to: (NodeKey, u16)) -> Result<EdgeKey, GraphError> {
        let port = |(node, port)| Port { node, port };
        self.connect(port(from), port(to), Flow::Audio)
    }

    /// Connects two nodes' events.
    pub fn connect_events(&mut self, from: NodeKey, to: NodeKey) -> Result<EdgeKey, GraphError> {
        let port = |node| Port { node, port: 0 };
        self.connect(port(from), port(to), Flow::Events)
    }

    /// Takes a connection away.
    pub fn disconnect(&mut self, key: EdgeKey) -> Result<Edge, GraphError> {
        self.take_edge(key).ok_or(GraphError::Gone)
    }

    /// Sets a parameter, within its range: what the node begins with, and what a snapshot keeps. While it plays,
    /// [`crate::controller::Controller::set_parameter`] sets both.
    pub fn set_value(&mut self, key: NodeKey, id: u32, value: f32) -> Result<f32, GraphError> {
        let entry = self.nodes.get_mut(key.0).ok_or(GraphError::Gone)?;
        let Some(index) = entry.parameters.iter().position(|parameter| parameter.id == id) else {
            return Err(GraphError::NoParameter { node: entry.name.clone(), id });
        };
        let (low, high) = entry.parameters[index].range;
        let value = if value.is_nan() { entry.parameters[index].default } else { value.clamp(low, high) };
        entry.values[index] = value;
        Ok(value)
    }

    /// Counts a node's processing time to a group; all begin in group 0.
    pub fn set_group(&mut self, key: NodeKey, group: u16) -> Result<(), GraphError> {
        self.nodes.get_mut(key.0).ok_or(GraphError::Gone)?.group = group;
        Ok(())
    }

    /// What the node begins with; see [`Graph::set_value`].
    pub fn set_bypassed(&mut self, key: NodeKey, bypassed: bool) -> Result<(), GraphError> {
        let entry = self.nodes.get_mut(key.0).ok_or(GraphError::Gone)?;
        if !entry.can_be_bypassed() {
            return Err(GraphError::NoBypass { node: entry.name.clone() });
        }
        entry.bypassed = bypassed;
        Ok(())
    }

    /// A node, where it is still there.
    #[must_use]
    pub fn node(&self, key: NodeKey) -> Option<&Entry> {
        self.nodes.get(key.0)
    }

    /// All nodes, the graph's input and output first.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeKey, &Entry)> {
        self.nodes.iter().map(|(key, entry)| (NodeKey(key), entry))
    }

    /// An edge, where it is still there.
    #[must_use]
    pub fn edge(&self, key: EdgeKey) -> Option<&Edge> {
        self.edges.get(key.0)
    }

    /// All edges.
    pub fn edges(&self) -> impl Iterator<Item = (EdgeKey, &Edge)> {
        self.edges.iter().map(|(key, edge)| (EdgeKey(key), edge))
    }

    fn entry(&self, key: NodeKey) -> Result<&Entry, GraphError> {
        self.nodes.get(key.0).ok_or(GraphError::Gone)
    }

    fn no_terminal(&self, key: NodeKey) -> Result<(), GraphError> {
        if key == self.input || key == self.output { Err(GraphError::Terminal) } else { Ok(()) }
    }

    fn take_edge(&mut self, key: EdgeKey) -> Option<Edge> {
        let edge = self.edges.remove(key.0)?;
        for (map, node) in [(&mut self.out, edge.from.node), (&mut self.into, edge.to.node)] {
            if let Some(edges) = map.get_mut(&node) {
                edges.remove(&key);
            }
        }
        Some(edge)
    }

    /// The nodes from one to another along edges that do not wait, both included.
    fn path(&self, from: NodeKey, to: NodeKey) -> Option<Vec<NodeKey>> {
        let mut came: BTreeMap<NodeKey, NodeKey> = BTreeMap::new();
        let mut open = vec![from];
        while let Some(node) = open.pop() {
            if node == to {
                let mut path = vec![node];
                while let Some(before) = path.last().filter(|key| **key != from).and_then(|key| came.get(key))
                {
                    path.push(*before);
                }
                path.reverse();
                return Some(path);
            }
            let edges = self.out.get(&node).into_iter().flatten().filter_map(|key| self.edge(*key));
            for edge in edges.filter(|edge| !matches!(edge.flow, Flow::Feedback { .. })) {
                if edge.to.node != from && !came.contains_key(&edge.to.node) {
                    came.insert(edge.to.node, node);
                    open.push(edge.to.node);
                }
            }
        }
        None
    }
}

impl Entry {
    /// Whether what comes in can stand for what goes out.
    pub(crate) fn can_be_bypassed(&self) -> bool {
        self.behaviour.in_place || self.layout.inputs.is_empty() && !self.layout.outputs.is_empty()
    }
}

#[cfg(test)]
mod tests;
