//! What is to be heard of a graph, and while one becomes another: which connection, how late, how loud.

use std::collections::{BTreeMap, BTreeSet};

use audiocloud_graph::graph::{Edge, Flow, NodeKey};
use audiocloud_graph::node::GRID;

use super::Device;

/// A node until it is replaced: what has a memory of its own.
pub(super) type Incarnation = u64;
pub(super) type PortOf = (Incarnation, u16);

/// A node of a [`Document`].
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub incarnation: Incarnation,
    pub device: Device,
    pub values: Vec<f32>,
}

/// A graph as it was committed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    pub parts: BTreeMap<NodeKey, Part>,
    pub edges: Vec<Edge>,
}

impl Document {
    /// When what entered the graph at 0 is at each node: by the longest way there.
    pub(crate) fn arrivals(&self) -> BTreeMap<NodeKey, usize> {
        fn arrival(document: &Document, node: NodeKey, known: &mut BTreeMap<NodeKey, usize>) -> usize {
            if let Some(arrival) = known.get(&node) {
                return *arrival;
            }
            let mut longest = 0;
            for edge in document.edges.iter().filter(|edge| edge.to.node == node && is_forward(edge.flow)) {
                let source = arrival(document, edge.from.node, known);
                longest = longest.max(source + document.parts[&edge.from.node].device.latency_frames());
            }
            known.insert(node, longest);
            longest
        }
        let mut known = BTreeMap::new();
        for node in self.parts.keys() {
            arrival(self, *node, &mut known);
        }
        known
    }
}

pub(super) fn is_forward(flow: Flow) -> bool {
    !matches!(flow, Flow::Feedback { .. })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Audio,
    Events,
    Feedback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fade {
    Steady,
    In,
    Out,
}

/// A connection as it sounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    pub(super) from: PortOf,
    pub(super) to: PortOf,
    pub(super) kind: Kind,
    pub(super) delay: usize,
    pub(super) line: Option<Line>,
    pub(super) fade: Fade,
}

impl Wire {
    pub(super) fn ends(&self) -> (PortOf, PortOf, Kind) {
        (self.from, self.to, self.kind)
    }

    /// What makes it the same before and after an edit.
    pub(super) fn identity(&self) -> (PortOf, PortOf, Kind, usize) {
        (self.from, self.to, self.kind, self.delay)
    }
}

/// A port's delay line remembers from when it began on; what was before is silence. A port keeps its line for as long
/// as it is delayed by no more than the line can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) begin: usize,
    pub(super) capacity: usize,
}

/// A document as it sounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Score {
    pub(super) arrivals: BTreeMap<Incarnation, usize>,
    pub(super) wires: Vec<Wire>,
    pub(super) lines: BTreeMap<PortOf, Line>,
}

impl Score {
    /// `line` is asked for the line of each port that is delayed, by so many frames at most.
    pub(super) fn of(document: &Document, mut line: impl FnMut(PortOf, usize) -> Line) -> Self {
        let name = |node| document.parts[&node].incarnation;
        let by_key = document.arrivals();
        let mut wires = Vec::new();
        for Edge { from, to, flow } in &document.edges {
            let leaving = by_key[&from.node] + document.parts[&from.node].device.latency_frames();
            let (kind, delay) = match flow {
                Flow::Audio => (Kind::Audio, by_key[&to.node] - leaving),
                Flow::Events => (Kind::Events, by_key[&to.node] - leaving),
                Flow::Feedback { delay_frames } => (Kind::Feedback, *delay_frames as usize),
            };
            let (from, to) = ((name(from.node), from.port), (name(to.node), to.port));
            wires.push(Wire { from, to, kind, delay, line: None, fade: Fade::Steady });
        }
        let mut longest: BTreeMap<PortOf, usize> = BTreeMap::new();
        for wire in wires.iter().filter(|wire| wire.kind != Kind::Events && wire.delay > 0) {
            let frames = longest.entry(wire.from).or_default();
            *frames = wire.delay.max(*frames);
        }
        let lines: BTreeMap<_, _> =
            longest.into_iter().map(|(port, frames)| (port, line(port, frames))).collect();
        for wire in wires.iter_mut().filter(|wire| wire.kind != Kind::Events && wire.delay > 0) {
            wire.line = lines.get(&wire.from).copied();
        }
        let arrivals = by_key.into_iter().map(|(node, arrival)| (name(node), arrival)).collect();
        Self { arrivals, wires, lines }
    }

    /// Those who play, each behind all that it needs; `None` where that is a loop.
    pub(super) fn order(&self) -> Option<Vec<Incarnation>> {
        let mut waiting: BTreeSet<Incarnation> = self.arrivals.keys().copied().collect();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let forward = self.wires.iter().filter(|wire| wire.kind != Kind::Feedback);
            let late: BTreeSet<Incarnation> =
                forward.filter(|wire| waiting.contains(&wire.from.0)).map(|wire| wire.to.0).collect();
            let ready: Vec<Incarnation> = waiting.difference(&late).copied().collect();
            if ready.is_empty() {
                return None;
            }
            waiting.retain(|unit| late.contains(unit));
            order.extend(ready);
        }
        Some(order)
    }

    pub(super) fn has(&self, unit: Incarnation) -> bool {
        self.arrivals.contains_key(&unit)
    }
}

/// What plays while `old` becomes `new`: both. Where they differ, audio fades, if its target is in both; notes take
/// the new way at once.
pub(super) fn union(old: &Score, new: &Score) -> Score {
    let mut arrivals = old.arrivals.clone();
    arrivals.extend(&new.arrivals);
    let stays = |unit| old.has(unit) && new.has(unit);
    let before: BTreeSet<_> = old.wires.iter().map(Wire::identity).collect();
    let after: BTreeSet<_> = new.wires.iter().map(Wire::identity).collect();
    let mut wires = Vec::new();
    for wire in &old.wires {
        let fade = match wire.kind {
            _ if after.contains(&wire.identity()) => Fade::Steady,
            Kind::Events if stays(wire.to.0) => continue,
            _ if stays(wire.to.0) => Fade::Out,
            _ => Fade::Steady,
        };
        wires.push(Wire { fade, ..*wire });
    }
    for wire in new.wires.iter().filter(|wire| !before.contains(&wire.identity())) {
        let fades = stays(wire.to.0) && wire.kind != Kind::Events;
        wires.push(Wire { fade: if fades { Fade::In } else { Fade::Steady }, ..*wire });
    }
    Score { arrivals, wires, lines: BTreeMap::new() }
}

/// What plays of `old` while what `new` lacks fades out. Notes take the new way at once, or none.
pub(super) fn leaving(old: &Score, new: &Score) -> Score {
    let stays: BTreeSet<_> = new.wires.iter().map(Wire::identity).collect();
    let ways: BTreeMap<_, _> = new.wires.iter().map(|wire| (wire.ends(), wire.delay)).collect();
    let mut score = old.clone();
    score
        .wires
        .retain(|wire| wire.kind != Kind::Events || ways.contains_key(&wire.ends()) || !new.has(wire.to.0));
    for wire in &mut score.wires {
        match ways.get(&wire.ends()) {
            Some(delay) if wire.kind == Kind::Events => wire.delay = *delay,
            _ if !stays.contains(&wire.identity()) && new.has(wire.to.0) => wire.fade = Fade::Out,
            _ => {}
        }
    }
    score
}

/// What plays of `new` while what `old` lacked fades in.
pub(super) fn entering(new: &Score, old: &Score) -> Score {
    let was: BTreeSet<_> = old.wires.iter().map(Wire::identity).collect();
    let mut score = new.clone();
    for wire in score.wires.iter_mut().filter(|wire| wire.kind != Kind::Events) {
        if !was.contains(&wire.identity()) && old.has(wire.to.0) {
            wire.fade = Fade::In;
        }
    }
    score
}

/// Connections of `new` that are as they were, but for a new delay line.
pub(super) fn swapped<'a>(old: &'a Score, new: &'a Score) -> impl Iterator<Item = &'a Wire> {
    let before: BTreeMap<_, _> = old.wires.iter().map(|wire| (wire.identity(), wire.line)).collect();
    new.wires.iter().filter(move |wire| before.get(&wire.identity()).is_some_and(|line| *line != wire.line))
}

/// How long the new connections wait before they fade in: until new lines and new nodes are filled with sound.
pub(super) fn warm_up(old: &Score, new: &Score) -> usize {
    let needs = |wire: &Wire| {
        let is_line_new = wire.line.is_some() && wire.line != old.lines.get(&wire.from).copied();
        let by_line = if is_line_new { wire.delay } else { 0 };
        let by_node = if old.has(wire.from.0) { 0 } else { new.arrivals[&wire.to.0] };
        by_line.max(by_node)
    };
    to_grid(new.wires.iter().map(needs).max().unwrap_or(0))
}

pub(super) fn to_grid(frames: usize) -> usize {
    frames.div_ceil(GRID) * GRID
}
