//! Random edits.

use audiocloud_dsp::biquad::Shape;
use audiocloud_graph::controller::Controller;
use audiocloud_graph::graph::{EdgeKey, Flow, Graph, NodeKey, Port};
use audiocloud_graph::node::Node;
use audiocloud_graph::nodes::{Biquad, Gain};

use super::Random;
use super::member::{Member, Sort, World};

const SHAPES: [Shape; 6] =
    [Shape::LowPass, Shape::HighPass, Shape::Peak, Shape::Notch, Shape::LowShelf, Shape::AllPass];

/// What an edit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Add,
    Remove,
    Connect,
    Feedback,
    Events,
    Disconnect,
    Replace,
    Group,
    Bypass,
    Parameter,
    /// Nothing: the graph refused.
    Refused,
}

impl Act {
    pub(crate) const ALL: [Self; 11] = [
        Self::Add,
        Self::Remove,
        Self::Connect,
        Self::Feedback,
        Self::Events,
        Self::Disconnect,
        Self::Replace,
        Self::Group,
        Self::Bypass,
        Self::Parameter,
        Self::Refused,
    ];
}

/// A graph and the one who edits it.
#[derive(Debug)]
pub(crate) struct Editor {
    pub(crate) graph: Graph,
    pub(crate) world: World,
    pub(crate) nodes: Vec<NodeKey>,
    edges: Vec<EdgeKey>,
    pub(crate) random: Random,
    /// How many nodes there are in the long run.
    pub(crate) nodes_max: usize,
    /// How often each act was done, by its place in [`Act::ALL`].
    pub(crate) acts: [u64; Act::ALL.len()],
}

impl Editor {
    /// With two input buses and two output buses, and a wire.
    pub(crate) fn new(seed: u64) -> Self {
        let mut graph = Graph::new(&[2, 1], &[2, 1]).unwrap();
        let wire = graph.connect_audio((graph.input(), 0), (graph.output(), 0)).unwrap();
        Self {
            graph,
            world: World::default(),
            nodes: Vec::new(),
            edges: vec![wire],
            random: Random::new(seed),
            nodes_max: 60,
            acts: [0; Act::ALL.len()],
        }
    }

    /// Nodes whose processors are counted.
    pub(crate) fn members(&self) -> usize {
        self.graph.nodes().filter(|(_, entry)| entry.node().kind() == Member::KIND).count()
    }

    /// One random change of the graph, which is yet to be committed.
    pub(crate) fn edit(&mut self) {
        let act = if self.nodes.len() > self.nodes_max {
            self.remove()
        } else {
            match self.random.below(16) {
                0..4 => self.add(),
                4..6 => self.remove(),
                6..9 => self.connect(),
                9 => self.connect_events(),
                10 => self.connect_back(),
                11..13 => self.disconnect(),
                13..15 => self.replace(),
                _ => self.group(),
            }
        };
        self.count(act);
    }

    /// One random change that is heard at once.
    pub(crate) fn turn(&mut self, controller: &mut Controller) {
        let Some(key) = self.random.pick(&self.nodes) else { return };
        if self.random.one_in(3) {
            let bypassed = self.random.one_in(2);
            let done = controller.set_bypassed(&mut self.graph, key, bypassed).is_ok();
            return self.count(if done { Act::Bypass } else { Act::Refused });
        }
        let (ids, ranges): (Vec<u32>, Vec<(f32, f32)>) = match self.graph.node(key) {
            Some(entry) => entry.parameters().0.iter().map(|one| (one.id, one.range)).unzip(),
            None => return,
        };
        let Some(index) = (!ids.is_empty()).then(|| self.random.index(ids.len())) else { return };
        // Beyond both ends too, and now and then not a number.
        let (low, high) = ranges[index];
        let value = low + (high - low) * (1.2 * self.random.unit() - 0.1);
        let value = if self.random.one_in(50) { f32::NAN } else { value };
        let done = controller.set_parameter(&mut self.graph, key, ids[index], value).is_ok();
        self.count(if done { Act::Parameter } else { Act::Refused });
    }

    fn count(&mut self, act: Act) {
        if let Some(index) = Act::ALL.iter().position(|other| *other == act) {
            self.acts[index] += 1;
        }
    }

    pub(crate) fn add(&mut self) -> Act {
        let channels = 1 + u16::try_from(self.random.below(2)).unwrap();
        let node = match self.random.below(3) {
            0 => self.gain(channels),
            1 => self.biquad(channels),
            _ => {
                let sort = self.random.pick(&Sort::ALL).unwrap();
                self.member(sort, channels)
            }
        };
        self.insert(node);
        Act::Add
    }

    /// Adds this node, and connects it to some others.
    fn insert(&mut self, node: Box<dyn Node>) {
        let key = self.graph.add_boxed("node", node).unwrap();
        self.nodes.push(key);
        for _ in 0..2 {
            let other = self.any_node();
            self.connect_nodes(other, key, Flow::Audio);
            let other = self.any_node();
            self.connect_nodes(key, other, Flow::Audio);
        }
    }

    /// Adds a node that is never removed at random.
    pub(crate) fn keep(&mut self, sort: Sort) -> NodeKey {
        let node = self.member(sort, 1);
        self.graph.add_boxed("kept", node).unwrap()
    }

    fn gain(&mut self, channels: u16) -> Box<dyn Node> {
        Box::new(Gain { channels, gain: 1.5 * self.random.unit(), smoothing_ms: self.random.unit() })
    }

    fn biquad(&mut self, channels: u16) -> Box<dyn Node> {
        let shape = self.random.pick(&SHAPES).unwrap();
        let frequency_hz = 50.0 + 10_000.0 * self.random.unit();
        Box::new(Biquad { channels, shape, frequency_hz, q: 0.5 + 4.0 * self.random.unit(), gain_db: 3.0 })
    }

    fn member(&mut self, sort: Sort, channels: u16) -> Box<dyn Node> {
        let sort = match sort {
            Sort::Late { .. } => Sort::Late { latency: self.random.number(40) },
            sort => sort,
        };
        let fault_grids = if self.random.one_in(10) { 1 + self.random.number(200) } else { 0 };
        Box::new(Member { world: self.world.clone(), sort, channels, fault_grids })
    }

    pub(crate) fn remove(&mut self) -> Act {
        if self.nodes.is_empty() {
            return Act::Refused;
        }
        let index = self.random.index(self.nodes.len());
        let key = self.nodes.swap_remove(index);
        self.graph.remove(key).unwrap();
        Act::Remove
    }

    fn any_node(&mut self) -> NodeKey {
        match self.random.below(8) {
            0 => self.graph.input(),
            1 => self.graph.output(),
            _ => self.random.pick(&self.nodes).unwrap_or(self.graph.input()),
        }
    }

    fn connect(&mut self) -> Act {
        let (from, to) = (self.any_node(), self.any_node());
        self.connect_nodes(from, to, Flow::Audio)
    }

    fn connect_back(&mut self) -> Act {
        let (from, to) = (self.any_node(), self.any_node());
        let delay_frames = 64 + self.random.number(200);
        match self.connect_nodes(from, to, Flow::Feedback { delay_frames }) {
            Act::Connect => Act::Feedback,
            act => act,
        }
    }

    fn connect_events(&mut self) -> Act {
        // Most nodes have no events at all.
        for _ in 0..20 {
            let (from, to) = (self.any_node(), self.any_node());
            if self.connect_nodes(from, to, Flow::Events) == Act::Connect {
                return Act::Events;
            }
        }
        Act::Refused
    }

    fn connect_nodes(&mut self, from: NodeKey, to: NodeKey, flow: Flow) -> Act {
        let mut port = |node: NodeKey, output: bool| {
            let layout = self.graph.node(node).map(|entry| entry.layout());
            let ports =
                layout.map_or(0, |layout| if output { &layout.outputs } else { &layout.inputs }.len());
            let port = if flow == Flow::Events { 0 } else { self.random.below(ports.max(1) as u64) };
            Port { node, port: u16::try_from(port).unwrap() }
        };
        let (from, to) = (port(from, true), port(to, false));
        match self.graph.connect(from, to, flow) {
            Ok(edge) => {
                self.edges.push(edge);
                Act::Connect
            }
            Err(_) => Act::Refused,
        }
    }

    fn disconnect(&mut self) -> Act {
        while !self.edges.is_empty() {
            let index = self.random.index(self.edges.len());
            let edge = self.edges.swap_remove(index);
            // It may have gone with a node.
            if self.graph.disconnect(edge).is_ok() {
                return Act::Disconnect;
            }
        }
        Act::Refused
    }

    fn replace(&mut self) -> Act {
        let Some(key) = self.random.pick(&self.nodes) else { return Act::Refused };
        let channels = 1 + u16::try_from(self.random.below(2)).unwrap();
        for _ in 0..8 {
            let sort = self.random.pick(&Sort::ALL).unwrap();
            let node = match self.random.below(3) {
                0 => self.gain(channels),
                1 => self.biquad(channels),
                _ => self.member(sort, channels),
            };
            if self.graph.replace(key, node).is_ok() {
                return Act::Replace;
            }
        }
        Act::Refused
    }

    fn group(&mut self) -> Act {
        let Some(key) = self.random.pick(&self.nodes) else { return Act::Refused };
        // More groups than are counted one by one.
        let group = u16::try_from(self.random.below(20)).unwrap();
        self.graph.set_group(key, group).unwrap();
        Act::Group
    }
}
