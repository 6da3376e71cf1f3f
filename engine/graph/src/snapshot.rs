//! A graph as a document: what is saved, sent, compared, and made into a graph again.
//!
//! The order of nodes and edges is part of it: sums are summed in this order, so that a restored graph plays the same
//! bits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::graph::{Edge, Entry, Flow, Graph, GraphError, NodeKey, Port};
use crate::node::{CHANNELS_MAX, Layout};
use crate::registry::Registry;

/// The most nodes of a graph that is restored.
pub const NODES_MAX: usize = 8_192;
/// The most edges.
pub const EDGES_MAX: usize = 32_768;
/// The most audio ports of a node in one direction, and of buses.
pub const PORTS_MAX: usize = 256;
/// The longest feedback: 5 minutes at 48 kHz.
pub const FEEDBACK_FRAMES_MAX: u32 = 14_400_000;

/// The id of the graph's input.
pub const INPUT: u32 = 0;
/// The id of the graph's output.
pub const OUTPUT: u32 = 1;

/// The version of the document's form. Later ones are refused before anything else is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Schema(u32);

impl Schema {
    /// The one that is written.
    pub const CURRENT: Self = Self(1);
}

impl TryFrom<u32> for Schema {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        let known = Self::CURRENT.0;
        match number {
            0 => Err("this is no snapshot of a graph: there is no schema 0".to_owned()),
            _ if number > known => Err(format!(
                "this snapshot was made by a newer version (schema {number}; up to {known} can be read here); update this one"
            )),
            _ => Ok(Self(number)),
        }
    }
}

impl From<Schema> for u32 {
    fn from(schema: Schema) -> Self {
        schema.0
    }
}

/// A graph. Fields that are unknown are ignored when it is read.
///
/// *Realtime-safe: no*, all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// First, so that it is read first.
    pub schema: Schema,
    /// The host's buses into the graph.
    pub input: Buses,
    /// The host's buses out of the graph.
    pub output: Buses,
    /// See [`Graph::latency_frames_min`].
    #[serde(default)]
    pub latency_frames_min: u32,
    /// All nodes but the input and the output.
    pub nodes: Vec<NodeDescription>,
    /// All edges.
    pub edges: Vec<EdgeDescription>,
}

/// The graph's input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buses {
    /// Channels of each bus.
    pub channels: Vec<u16>,
    /// See [`crate::graph::Entry::group`].
    #[serde(default)]
    pub group: u16,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeDescription {
    /// Its name among the edges: its place in [`Graph::nodes`], after [`INPUT`] and [`OUTPUT`].
    pub id: u32,
    /// See [`crate::node::Node::kind`].
    pub kind: String,
    /// For people.
    pub name: String,
    /// What goes in and out; what the constructor makes must agree.
    pub layout: Layout,
    /// See [`crate::graph::Entry::group`].
    #[serde(default)]
    pub group: u16,
    /// Whether it is bypassed.
    #[serde(default)]
    pub bypassed: bool,
    /// Values of parameters by their ids; those that are missing have their defaults.
    #[serde(default)]
    pub values: BTreeMap<u32, f32>,
    /// See [`crate::node::Node::state`].
    #[serde(default)]
    pub state: String,
}

impl NodeDescription {
    /// For constructors of nodes with one input and one output: how wide they are.
    pub fn channels(&self) -> Result<u16, String> {
        match (&self.layout.inputs[..], &self.layout.outputs[..]) {
            ([channels], [others]) if channels == others => Ok(*channels),
            _ => Err("it needs one input and one output, as wide as each other".to_owned()),
        }
    }
}

/// A connection between ports, each `(node, port)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeDescription {
    /// The output port.
    pub from: (u32, u16),
    /// The input port.
    pub to: (u32, u16),
    /// What flows.
    pub flow: Flow,
}

/// Why a snapshot is no graph.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RestoreError {
    /// More than is believed.
    #[error("{count} {what} are too many; at most {max} can be restored")]
    TooMany { what: &'static str, count: usize, max: usize },
    /// A kind that the registry lacks.
    #[error("“{node}” is of the kind “{kind}”, which is not installed here")]
    UnknownKind { node: String, kind: String },
    /// The constructor refused.
    #[error("“{node}” ({kind}) cannot be made: {reason}")]
    Refused { node: String, kind: String, reason: String },
    /// The constructor made a node with other ports.
    #[error("“{node}” ({kind}) was saved with other ports than it has here")]
    OtherPorts { node: String, kind: String },
    /// A parameter that is infinite or not a number.
    #[error("parameter {id} of “{node}” is not a number")]
    NotANumber { node: String, id: u32 },
    /// The same id again.
    #[error("two nodes have the number {id}; the second one is “{node}”")]
    SameId { node: String, id: u32 },
    /// An edge to or from nowhere.
    #[error("a connection names node {id}, which is not there")]
    NoNode { id: u32 },
    /// Too long a feedback.
    #[error("a feedback of {delay_frames} frames is too long; at most {FEEDBACK_FRAMES_MAX} can be restored")]
    FeedbackTooLong { delay_frames: u32 },
    /// Too long a latency.
    #[error("a latency of {frames} frames is too long; at most {FEEDBACK_FRAMES_MAX} can be restored")]
    LatencyTooLong { frames: u32 },
    /// What the graph itself refuses.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// A graph, and which of its nodes has which id of the snapshot.
pub type Restored = (Graph, BTreeMap<u32, NodeKey>);

impl Snapshot {
    /// The graph as it is now. Two graphs with the same nodes and edges in the same order give the same.
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let ids: BTreeMap<NodeKey, u32> = graph.nodes().map(|(key, _)| key).zip(0..).collect();
        let id = |key| ids.get(&key).copied().unwrap_or_default();
        let group = |key| graph.node(key).map_or(0, |entry| entry.group());
        let layout = |key| graph.node(key).map(|entry| entry.layout().clone()).unwrap_or_default();
        let nodes = graph.nodes().filter(|(key, _)| *key != graph.input() && *key != graph.output());
        let node = |(key, entry): (NodeKey, &Entry)| {
            let (parameters, values) = entry.parameters();
            let ids = parameters.iter().map(|parameter| parameter.id);
            NodeDescription {
                id: id(key),
                kind: entry.node().kind().to_owned(),
                name: entry.name().to_owned(),
                layout: entry.layout().clone(),
                group: entry.group(),
                bypassed: entry.is_bypassed(),
                values: ids.zip(values.iter().copied()).collect(),
                state: entry.node().state(),
            }
        };
        let edge = |edge: &Edge| EdgeDescription {
            from: (id(edge.from.node), edge.from.port),
            to: (id(edge.to.node), edge.to.port),
            flow: edge.flow,
        };
        Self {
            schema: Schema::CURRENT,
            input: Buses { channels: layout(graph.input()).outputs, group: group(graph.input()) },
            output: Buses { channels: layout(graph.output()).inputs, group: group(graph.output()) },
            latency_frames_min: graph.latency_frames_min(),
            nodes: nodes.map(node).collect(),
            edges: graph.edges().map(|(_, it)| edge(it)).collect(),
        }
    }

    /// The graph again. Values beyond a parameter's range are held within it.
    ///
    /// # Errors
    /// Whatever a document can have wrong, that of a stranger too; nothing is made in part.
    pub fn restore(&self, registry: &Registry) -> Result<Restored, RestoreError> {
        at_most("nodes", self.nodes.len(), NODES_MAX)?;
        at_most("connections", self.edges.len(), EDGES_MAX)?;
        at_most("input buses", self.input.channels.len(), PORTS_MAX)?;
        at_most("output buses", self.output.channels.len(), PORTS_MAX)?;
        if self.latency_frames_min > FEEDBACK_FRAMES_MAX {
            return Err(RestoreError::LatencyTooLong { frames: self.latency_frames_min });
        }
        let mut graph = Graph::new(&self.input.channels, &self.output.channels)?;
        graph.set_latency_frames_min(self.latency_frames_min);
        let mut keys = BTreeMap::from([(INPUT, graph.input()), (OUTPUT, graph.output())]);
        graph.set_group(graph.input(), self.input.group)?;
        graph.set_group(graph.output(), self.output.group)?;
        for node in &self.nodes {
            let key = node.restore(&mut graph, registry)?;
            if keys.insert(node.id, key).is_some() {
                return Err(RestoreError::SameId { node: node.name.clone(), id: node.id });
            }
        }
        for edge in &self.edges {
            if let Flow::Feedback { delay_frames } = edge.flow
                && delay_frames > FEEDBACK_FRAMES_MAX
            {
                return Err(RestoreError::FeedbackTooLong { delay_frames });
            }
            let port = |(id, port)| {
                let node = *keys.get(&id).ok_or(RestoreError::NoNode { id })?;
                Ok::<_, RestoreError>(Port { node, port })
            };
            graph.connect(port(edge.from)?, port(edge.to)?, edge.flow)?;
        }
        Ok((graph, keys))
    }
}

impl NodeDescription {
    fn restore(&self, graph: &mut Graph, registry: &Registry) -> Result<NodeKey, RestoreError> {
        let (node, kind) = (|| self.name.clone(), || self.kind.clone());
        at_most("input ports", self.layout.inputs.len(), PORTS_MAX)?;
        at_most("output ports", self.layout.outputs.len(), PORTS_MAX)?;
        // Before anything is made that is as wide.
        for channels in self.layout.inputs.iter().chain(&self.layout.outputs) {
            if !(1..=CHANNELS_MAX).contains(channels) {
                return Err(GraphError::Channels { node: node(), channels: *channels }.into());
            }
        }
        if let Some((id, _)) = self.values.iter().find(|(_, value)| !value.is_finite()) {
            return Err(RestoreError::NotANumber { node: node(), id: *id });
        }
        let constructor = registry.constructor(&self.kind);
        let constructor =
            constructor.ok_or_else(|| RestoreError::UnknownKind { node: node(), kind: kind() })?;
        let refused = |reason| RestoreError::Refused { node: node(), kind: kind(), reason };
        let made = constructor(self).map_err(refused)?;
        if made.kind() != self.kind {
            return Err(refused(format!("it calls itself “{}”", made.kind())));
        }
        if made.layout() != self.layout {
            return Err(RestoreError::OtherPorts { node: node(), kind: kind() });
        }
        let key = graph.add_boxed(&self.name, made)?;
        for (id, value) in &self.values {
            graph.set_value(key, *id, *value)?;
        }
        graph.set_group(key, self.group)?;
        if self.bypassed {
            graph.set_bypassed(key, true)?;
        }
        Ok(key)
    }
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), RestoreError> {
    if count > max { Err(RestoreError::TooMany { what, count, max }) } else { Ok(()) }
}
