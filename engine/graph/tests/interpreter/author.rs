//! Random graphs and edits.

use std::collections::BTreeMap;

use audiocloud_dsp::biquad::Shape;
use audiocloud_dsp::ramp::Curve;
use audiocloud_graph::event::Body;
use audiocloud_graph::graph::{Edge, EdgeKey, Flow, Graph, NodeKey, Port};
use audiocloud_graph::node::Smoothing;
use audiocloud_rt::event::{self, NoteAddress};

use super::score::{Part, is_forward};
use super::session::{Act, Op, Session, To};
use super::{Device, Dice, Document};
use crate::bed::noise;

/// Who thinks of graphs and edits. Keeps a graph, so that what it refuses is not done, and a document for the
/// interpreter.
#[derive(Debug)]
pub(crate) struct Author {
    pub dice: Dice,
    pub graph: Graph,
    pub document: Document,
    pub ops: Vec<Op>,
    edges: BTreeMap<EdgeKey, Edge>,
    /// Nodes by age, the graph's own left out.
    nodes: Vec<NodeKey>,
    incarnations: u64,
    inputs: Vec<u16>,
    outputs: Vec<u16>,
    notes: i32,
}

/// How loud a node and the graph's output may become.
const LOUDNESS_MAX: f32 = 6.0;
const OUTPUT_LOUDNESS_MAX: f32 = 24.0;
/// Gains up to this one keep loops from howling.
const QUIET: f32 = 0.4;

impl Author {
    /// With output buses of these widths besides its own, which nothing is connected to.
    pub(crate) fn new(mut dice: Dice, reserved: &[u16]) -> Self {
        let some = |dice: &mut Dice| -> Vec<u16> {
            (0..dice.whole(1..=3)).map(|_| if dice.percent(50) { 1 } else { 2 }).collect()
        };
        let (inputs, outputs) = (some(&mut dice), some(&mut dice));
        let all = [&outputs, reserved].concat();
        let graph = Graph::new(&inputs, &all).expect("widths");
        let mut author = Self {
            dice,
            document: Document::default(),
            ops: Vec::new(),
            edges: BTreeMap::new(),
            nodes: Vec::new(),
            incarnations: 0,
            inputs: inputs.clone(),
            outputs,
            notes: 0,
            graph,
        };
        let (input, output) = (author.graph.input(), author.graph.output());
        author.note(input, Device::Input(inputs));
        author.note(output, Device::Output(all));
        author
    }

    fn note(&mut self, node: NodeKey, device: Device) {
        self.incarnations += 1;
        let values = device.parameters().iter().map(|parameter| parameter.default).collect();
        self.document.parts.insert(node, Part { incarnation: self.incarnations, device, values });
    }

    pub(crate) fn session(
        mut self,
        start_ops: Vec<Op>,
        start: Document,
        acts: Vec<(usize, Act)>,
        frames: usize,
    ) -> Session {
        let mut seed = self.dice.whole(0..=u32::MAX - 1);
        let mut channel = || {
            seed = seed.wrapping_add(1);
            noise(seed, frames)
        };
        let inputs = self.inputs.iter().map(|width| (0..*width).map(|_| channel()).collect()).collect();
        let outputs = match &self.document.parts[&self.graph.output()].device {
            Device::Output(widths) => widths.clone(),
            _ => Vec::new(),
        };
        let (crossfade_ms, fade_frames) =
            self.dice.one_of(&[(1.0, 64), (5.0, 256), (10.0, 512), (10.0, 512)]);
        Session {
            start_ops,
            start,
            acts,
            input: self.graph.input(),
            output: self.graph.output(),
            inputs,
            outputs,
            frames,
            crossfade_ms,
            fade_frames,
        }
    }

    /// Adds so many nodes, and connects the graph's output.
    pub(super) fn grow(&mut self, nodes: usize) {
        for _ in 0..nodes {
            let is_small = nodes < 40;
            let device = self.device(is_small);
            self.place(device);
        }
        self.gather();
        for _ in 0..nodes / 10 {
            if self.dice.percent(30) {
                let from = self.any_output();
                self.feed_back(from);
            }
        }
    }

    /// Whatever goes nowhere goes to the output, mostly.
    fn gather(&mut self) {
        for node in self.nodes.clone() {
            let is_used = self.document.edges.iter().any(|edge| edge.from.node == node);
            if !is_used && self.dice.percent(90) {
                self.put_out(node);
            }
        }
        if let Some(last) = self.nodes.last().copied() {
            self.put_out(last);
        }
    }

    fn put_out(&mut self, node: NodeKey) {
        let (output, buses) = (self.graph.output(), self.outputs.len());
        for port in 0..self.document.parts[&node].device.layout().outputs.len() {
            let bus = self.dice.index(buses);
            self.connect((node, port), (output, bus), Flow::Audio);
        }
        if self.document.parts[&node].device.layout().event_output && self.dice.percent(50) {
            self.connect((node, 0), (output, 0), Flow::Events);
        }
    }

    /// Something that is heard on its way by some node goes to the output's last bus in two ways that cancel, and to the
    /// one before in one way.
    pub(super) fn cancel(&mut self) {
        let loudness = self.loudness().unwrap_or_default();
        let mut tap = None;
        for _ in 0..100 {
            let (node, port) = self.any_output();
            let channels = self.document.parts[&node].device.layout().outputs[port];
            if channels <= 2 && loudness.get(&node).is_some_and(|loudness| *loudness > 0.1) {
                tap = Some((node, port));
            }
        }
        let Some(tap) = tap else { return };
        let channels = self.document.parts[&tap.0].device.layout().outputs[tap.1];
        let (output, bus) = (self.graph.output(), self.outputs.len());
        self.connect(tap, (output, bus), Flow::Audio);
        for sign in [1.0, -1.0] {
            let (mut end, mut product) = (tap, 1.0);
            for _ in 0..self.dice.whole(0..=5) {
                let turn = self.dice.one_of(&[1.0, -1.0]);
                let late = Device::Late { channels, frames: Self::latency(&mut self.dice) };
                product *= turn;
                for device in [late, Device::Gain { channels, gain: turn }] {
                    end = self.follow(end, device);
                }
            }
            end = self.follow(end, Device::Gain { channels, gain: sign * product });
            self.join(end, (output, bus + 1), Flow::Audio);
        }
    }

    /// Adds a node behind a port, that nobody will touch.
    fn follow(&mut self, from: (NodeKey, usize), device: Device) -> (NodeKey, usize) {
        let node = self.add(device);
        self.nodes.pop();
        self.join(from, (node, 0), Flow::Audio);
        (node, 0)
    }

    fn device(&mut self, with_wide: bool) -> Device {
        let dice = &mut self.dice;
        let channels = match dice.whole(0..=99) {
            0 | 1 if with_wide => 64,
            0..=49 => 1,
            _ => 2,
        };
        match dice.whole(0..=99) {
            0..=24 => {
                let gain = Self::gain(dice, true);
                Device::Gain { channels, gain }
            }
            25..=49 => {
                let shape = dice.one_of(&[
                    Shape::LowPass,
                    Shape::HighPass,
                    Shape::BandPassSkirt,
                    Shape::BandPassPeak,
                    Shape::Notch,
                    Shape::AllPass,
                    Shape::Peak,
                    Shape::LowShelf,
                    Shape::HighShelf,
                ]);
                let (frequency_hz, q) = (dice.real(2_000.0, 16_000.0), dice.real(0.5, 1.0));
                Device::Biquad { channels, shape, frequency_hz, q, gain_db: dice.real(-5.0, 5.0) }
            }
            50..=61 => Device::Late { channels, frames: Self::latency(dice) },
            62..=68 => Device::Grind { channels },
            69..=75 => {
                let side = if dice.percent(50) { 1 } else { 2 };
                Device::Duck { channels, side, in_place: dice.percent(50) }
            }
            76..=79 => Device::Spread,
            80..=83 => Device::Split,
            84..=88 => Device::Clip { channels },
            89..=94 => {
                let curve = dice.one_of(&[Curve::Linear, Curve::Exponential]);
                let glide = Smoothing::Glide { ms: dice.real(0.1, 30.0).round(), curve };
                let smoothing = if dice.percent(30) { Smoothing::None } else { glide };
                Device::Trim { channels, level: dice.real(0.5, Device::LEVEL_MAX), smoothing }
            }
            _ => Device::Chime { has_input: dice.percent(50), latency: Self::latency(dice) },
        }
    }

    fn gain(dice: &mut Dice, is_loud: bool) -> f32 {
        let level = if is_loud { dice.real(0.5, Device::LEVEL_MAX) } else { dice.real(0.1, QUIET) };
        if dice.percent(50) { level } else { -level }
    }

    fn latency(dice: &mut Dice) -> u32 {
        match dice.whole(0..=9) {
            0 => 0,
            1..=3 => dice.whole(1..=5),
            4..=8 => dice.whole(1..=200),
            _ => dice.whole(300..=900),
        }
    }

    /// Adds a node, and connects what it needs.
    fn place(&mut self, device: Device) -> NodeKey {
        let node = self.add(device.clone());
        for port in 0..device.layout().inputs.len() {
            for _ in 0..self.dice.one_of(&[0, 1, 1, 1, 1, 2, 2, 3]) {
                let (from, out) = self.any_output();
                self.connect((from, out), (node, port), Flow::Audio);
            }
        }
        if device.layout().event_input {
            let from = self.any_output().0;
            self.connect((from, 0), (node, 0), Flow::Events);
            if self.dice.percent(60) {
                self.connect((self.graph.input(), 0), (node, 0), Flow::Events);
            }
        }
        node
    }

    /// Some output port, of a young node rather than of an old one.
    fn any_output(&mut self) -> (NodeKey, usize) {
        let young = self.nodes.len().min(8);
        let node = match self.dice.whole(0..=9) {
            0..=1 => None,
            2..=6 if young > 0 => Some(self.nodes[self.nodes.len() - 1 - self.dice.index(young)]),
            _ if young > 0 => Some(self.dice.one_of(&self.nodes)),
            _ => None,
        };
        let node = node.unwrap_or(self.graph.input());
        let ports = self.document.parts[&node].device.layout().outputs.len();
        (node, self.dice.index(ports))
    }

    fn add(&mut self, device: Device) -> NodeKey {
        let node = self.graph.add_boxed("node", device.node()).expect("a layout");
        self.ops.push(Op::Add(device.clone()));
        self.nodes.push(node);
        self.note(node, device);
        node
    }

    /// Connects, where the graph allows it and nothing becomes too loud.
    fn connect(&mut self, from: (NodeKey, usize), to: (NodeKey, usize), flow: Flow) {
        let key = self.join(from, to, flow);
        if let Some(key) = key.filter(|_| self.is_too_loud()) {
            self.disconnect(key);
        }
    }

    /// Connects, where the graph allows it.
    fn join(&mut self, from: (NodeKey, usize), to: (NodeKey, usize), flow: Flow) -> Option<EdgeKey> {
        let port =
            |(node, port): (NodeKey, usize)| Port { node, port: u16::try_from(port).expect("few ports") };
        let (from, to) = (port(from), port(to));
        let key = self.graph.connect(from, to, flow).ok()?;
        self.ops.push(Op::Connect(from, to, flow));
        self.edges.insert(key, *self.graph.edge(key).expect("just made"));
        self.list_edges();
        Some(key)
    }

    fn disconnect(&mut self, key: EdgeKey) {
        self.graph.disconnect(key).expect("it is there");
        self.ops.push(Op::Disconnect(key));
        self.edges.remove(&key);
        self.list_edges();
    }

    fn list_edges(&mut self) {
        self.document.edges = self.edges.values().copied().collect();
    }

    /// One change of what is there.
    pub(super) fn edit(&mut self) {
        let node = if self.nodes.is_empty() { None } else { Some(self.dice.one_of(&self.nodes)) };
        let keys: Vec<EdgeKey> = self.edges.keys().copied().collect();
        let edge = if keys.is_empty() { None } else { Some(self.dice.one_of(&keys)) };
        match (self.dice.whole(0..=99), node, edge) {
            (0..=19, Some(node), _) => self.replace(node),
            (20..=34, Some(node), _) => self.remove(node),
            (35..=44, _, Some(edge)) => self.disconnect(edge),
            (45..=54, _, Some(edge)) => self.turn_round(edge),
            (55..=59, ..) => {
                let from = self.any_output();
                self.feed_back(from);
            }
            (60..=69, Some(node), _) => self.put_out(node),
            (70..=84, Some(node), _) => {
                let (from, to) = (self.any_output(), self.document.parts[&node].device.layout());
                if !to.inputs.is_empty() {
                    let port = self.dice.index(to.inputs.len());
                    self.connect(from, (node, port), Flow::Audio);
                }
                self.connect((from.0, 0), (node, 0), Flow::Events);
            }
            _ => {
                let device = self.device(true);
                let node = self.place(device);
                self.put_out(node);
            }
        }
    }

    fn remove(&mut self, node: NodeKey) {
        self.graph.remove(node).expect("it is there");
        self.ops.push(Op::Remove(node));
        self.nodes.retain(|other| *other != node);
        self.document.parts.remove(&node);
        self.edges.retain(|_, edge| edge.from.node != node && edge.to.node != node);
        self.list_edges();
    }

    /// Another node of the same ports. Parameters that both have keep their values, so both must mean the same by them.
    fn replace(&mut self, node: NodeKey) {
        let before = self.document.parts[&node].clone();
        let mut device = self.device(true);
        if let (Device::Gain { gain, .. }, Device::Gain { gain: other, .. }) = (&mut device, &before.device) {
            *gain = Self::gain(&mut self.dice, other.abs() > QUIET);
        }
        if let (Device::Late { channels, .. }, Device::Late { channels: width, .. }) =
            (&mut device, &before.device)
        {
            *channels = *width;
        }
        let fits = device.layout() == before.device.layout();
        let is_mixed = matches!(
            (&device, &before.device),
            (Device::Gain { .. }, Device::Biquad { .. }) | (Device::Biquad { .. }, Device::Gain { .. })
        );
        if !fits || is_mixed {
            return;
        }
        self.graph.replace(node, device.node()).expect("the ports are the same");
        self.ops.push(Op::Replace(node, device.clone()));
        self.note(node, device);
        let (old, new) =
            (before.device.parameters(), &mut self.document.parts.get_mut(&node).expect("noted"));
        for (parameter, value) in new.device.parameters().iter().zip(&mut new.values) {
            if let Some(index) = old.iter().position(|other| other.id == parameter.id) {
                *value = before.values[index].clamp(parameter.range.0, parameter.range.1);
            }
        }
        // What was quiet may have become loud.
        if self.is_too_loud() {
            self.remove(node);
        }
    }

    /// A connection goes the other way from now on: old and new are a loop together. Often with something that makes
    /// a delay line longer, which is the harder in this case.
    fn turn_round(&mut self, key: EdgeKey) {
        let edge = self.edges[&key];
        self.disconnect(key);
        self.connect((edge.to.node, 0), (edge.from.node, 0), edge.flow);
        let output = self.graph.output();
        let heard = self.edges.values().filter(|edge| edge.to.node == output && edge.flow == Flow::Audio);
        let heard: Vec<Port> = heard.map(|edge| edge.from).collect();
        if !heard.is_empty() && self.dice.percent(60) {
            let from = self.dice.one_of(&heard);
            self.feed_back((from.node, usize::from(from.port)));
        }
    }

    /// Something comes back to where it was before, by a gain that keeps it quiet.
    fn feed_back(&mut self, from: (NodeKey, usize)) {
        if self.nodes.is_empty() {
            return;
        }
        let to = self.dice.one_of(&self.nodes);
        let channels = self.document.parts[&from.0].device.layout().outputs[from.1];
        let gain = Self::gain(&mut self.dice, false);
        let quiet = self.add(Device::Gain { channels, gain });
        let flow = Flow::Feedback { delay_frames: self.dice.whole(64..=700) };
        if self.dice.percent(50) {
            self.connect(from, (quiet, 0), flow);
            self.connect((quiet, 0), (to, 0), Flow::Audio);
        } else {
            self.connect(from, (quiet, 0), Flow::Audio);
            self.connect((quiet, 0), (to, 0), flow);
        }
    }

    /// A parameter, or a note.
    pub(super) fn act(&mut self) -> Option<Act> {
        let notes = self.dice.percent(30);
        if notes {
            let chimes: Vec<NodeKey> =
                self.nodes.iter().copied().filter(|node| self.is_chime(*node)).collect();
            let to = if chimes.is_empty() || self.dice.percent(50) {
                To::Input
            } else {
                To::Node(self.dice.one_of(&chimes))
            };
            self.notes += 1;
            return Some(Act::Event { to, body: note(self.notes, f64::from(self.dice.real(0.1, 0.5))) });
        }
        let with = |node: &NodeKey| !self.document.parts[node].values.is_empty();
        let candidates: Vec<NodeKey> = self.nodes.iter().copied().filter(with).collect();
        if candidates.is_empty() {
            return None;
        }
        let node = self.dice.one_of(&candidates);
        let part = self.document.parts.get_mut(&node)?;
        let dice = &mut self.dice;
        let (id, value) = match part.device {
            Device::Gain { gain, .. } if gain.abs() > QUIET && dice.percent(30) => {
                (0, dice.one_of(&[0.0, 1.0, -1.0]))
            }
            Device::Gain { gain, .. } => (0, Self::gain(dice, gain.abs() > QUIET)),
            Device::Biquad { .. } => match dice.whole(0..=2) {
                0 => (0, dice.real(2_000.0, 16_000.0)),
                1 => (1, dice.real(0.5, 1.0)),
                _ => (2, dice.real(-5.0, 5.0)),
            },
            _ => (7, dice.real(0.5, Device::LEVEL_MAX)),
        };
        if dice.percent(30) {
            let index = part.device.parameters().iter().position(|parameter| parameter.id == id)?;
            part.values[index] = value;
            self.graph.set_value(node, id, value).expect("it has this parameter");
            return Some(Act::Set { node, id, value });
        }
        let ramp_frames = if dice.percent(50) { None } else { Some(dice.whole(0..=1_000)) };
        let curve = dice.one_of(&[Curve::Linear, Curve::Exponential]);
        let body = Body::Parameter { id, value, ramp_frames, curve };
        Some(Act::Event { to: To::Node(node), body })
    }

    fn is_chime(&self, node: NodeKey) -> bool {
        matches!(self.document.parts[&node].device, Device::Chime { .. })
    }

    fn is_too_loud(&self) -> bool {
        let output = self.graph.output();
        self.loudness().is_none_or(|loudness| {
            loudness.iter().any(|(node, loudness)| {
                *loudness > if *node == output { OUTPUT_LOUDNESS_MAX } else { LOUDNESS_MAX }
            })
        })
    }

    /// How loud each node is at most, roughly; `None` where loops do not die away.
    fn loudness(&self) -> Option<BTreeMap<NodeKey, f32>> {
        let order = self.order();
        let mut into: BTreeMap<NodeKey, Vec<NodeKey>> = BTreeMap::new();
        for edge in self.document.edges.iter().filter(|edge| edge.flow != Flow::Events) {
            into.entry(edge.to.node).or_default().push(edge.from.node);
        }
        let mut loudness: BTreeMap<NodeKey, f32> = BTreeMap::new();
        for _ in 0..40 {
            let mut change = 0.0_f32;
            for node in &order {
                let device = &self.document.parts[node].device;
                let from = into.get(node).into_iter().flatten();
                let input: f32 = from.filter_map(|from| loudness.get(from)).sum();
                let own = match device {
                    Device::Input(_) | Device::Chime { .. } => 0.5,
                    _ => 0.0,
                };
                let quiet = matches!(device, Device::Gain { gain, .. } if gain.abs() <= QUIET);
                let value = own + input * if quiet { QUIET } else { device.gain_max() };
                let before = loudness.insert(*node, value).unwrap_or(0.0);
                change = change.max((value - before).abs());
            }
            if change < 0.01 {
                return Some(loudness);
            }
        }
        None
    }

    fn order(&self) -> Vec<NodeKey> {
        let mut waiting: BTreeMap<NodeKey, usize> =
            self.document.parts.keys().map(|node| (*node, 0)).collect();
        let mut next: BTreeMap<NodeKey, Vec<NodeKey>> = BTreeMap::new();
        for edge in self.document.edges.iter().filter(|edge| is_forward(edge.flow)) {
            *waiting.entry(edge.to.node).or_default() += 1;
            next.entry(edge.from.node).or_default().push(edge.to.node);
        }
        let mut open: Vec<NodeKey> =
            waiting.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
        let mut order = Vec::new();
        while let Some(node) = open.pop() {
            order.push(node);
            for target in next.get(&node).into_iter().flatten() {
                let count = waiting.get_mut(target).expect("all are there");
                *count -= 1;
                if *count == 0 {
                    open.push(*target);
                }
            }
        }
        order
    }
}

/// A note that is known by its number.
pub(crate) fn note(note_id: i32, velocity: f64) -> Body {
    let note = NoteAddress { note_id, port: 0, channel: 0, key: 60 };
    Body::Voice(event::Body::NoteOn { note, velocity })
}
