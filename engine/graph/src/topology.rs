//! What the compiler compiles: units with slots and links with delays, of one graph or of two that are crossfaded.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{Edge, Flow, Graph, NodeKey};
use crate::node::{Activation, Behaviour, Layout};
use crate::schedule::Fade;

/// How the compiler treats a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Input,
    Output,
    Gain,
    Biquad,
    Processor,
}

/// A node, as it plays.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) slot: u32,
    pub(crate) key: NodeKey,
    pub(crate) kind: Kind,
    pub(crate) layout: Layout,
    pub(crate) behaviour: Behaviour,
    pub(crate) latency: u32,
    pub(crate) group: u16,
    /// When audio that entered the graph at 0 is at this unit's inputs.
    pub(crate) arrival: u32,
}

/// A connection, as it plays. Units by slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) from: (u32, u16),
    pub(crate) to: (u32, u16),
    pub(crate) flow: Flow,
    pub(crate) delay: u32,
    /// The line that delays it, where it is delayed.
    pub(crate) line: Option<u32>,
    pub(crate) fade: Fade,
}

impl Link {
    /// The same connection, perhaps with another delay.
    fn name(&self) -> ((u32, u16), (u32, u16), bool, bool) {
        (self.from, self.to, self.flow == Flow::Events, matches!(self.flow, Flow::Feedback { .. }))
    }

    fn is_forward(&self) -> bool {
        !matches!(self.flow, Flow::Feedback { .. })
    }
}

/// Units and links. See [`crate::compiler`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Topology {
    pub(crate) units: BTreeMap<u32, Unit>,
    pub(crate) links: Vec<Link>,
    /// Ports that also fill a line that nothing reads yet.
    pub(crate) feeds: BTreeSet<((u32, u16), u32)>,
}

impl Topology {
    /// The graph, with the slot of each node and its kind; every joining path is delayed to the longest.
    pub(crate) fn of(
        graph: &Graph,
        activation: &Activation,
        slot: impl Fn(NodeKey) -> (u32, Kind),
    ) -> Result<Self, Vec<String>> {
        let mut slots = BTreeMap::new();
        let mut units = BTreeMap::new();
        for (key, entry) in graph.nodes() {
            let (slot, kind) = slot(key);
            slots.insert(key, slot);
            let unit = Unit {
                slot,
                key,
                kind,
                layout: entry.layout.clone(),
                behaviour: entry.behaviour,
                latency: entry.node.latency_frames(activation),
                group: entry.group,
                arrival: 0,
            };
            units.insert(slot, unit);
        }
        let link = |edge: &Edge| {
            let from = (*slots.get(&edge.from.node)?, edge.from.port);
            let to = (*slots.get(&edge.to.node)?, edge.to.port);
            Some(Link { from, to, flow: edge.flow, delay: 0, line: None, fade: Fade::Steady })
        };
        let links = graph.edges().filter_map(|(_, edge)| link(edge)).collect();
        let mut topology = Self { units, links, feeds: BTreeSet::new() };
        topology.align().map_err(|slots| {
            let keys = slots.iter().filter_map(|slot| topology.units.get(slot)).map(|unit| unit.key);
            keys.filter_map(|key| graph.node(key)).map(|entry| entry.name.clone()).collect::<Vec<_>>()
        })?;
        Ok(topology)
    }

    /// Delays every link so that what left the graph's input together arrives together.
    fn align(&mut self) -> Result<(), Vec<u32>> {
        let mut arrivals: BTreeMap<u32, u32> = BTreeMap::new();
        let mut into: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for link in self.links.iter().filter(|link| link.is_forward()) {
            into.entry(link.to.0).or_default().push(link.from.0);
        }
        for slot in self.order()? {
            let sources = into.get(&slot).into_iter().flatten();
            let leaving = |from: &u32| {
                let latency = self.units.get(from).map_or(0, |unit| unit.latency);
                arrivals.get(from).copied().unwrap_or(0).saturating_add(latency)
            };
            let arrival = sources.map(leaving).max().unwrap_or(0);
            arrivals.insert(slot, arrival);
            if let Some(unit) = self.units.get_mut(&slot) {
                unit.arrival = arrival;
            }
        }
        for link in &mut self.links {
            let arrival = |slot| arrivals.get(&slot).copied().unwrap_or(0);
            let latency = self.units.get(&link.from.0).map_or(0, |unit| unit.latency);
            link.delay = match link.flow {
                Flow::Feedback { delay_frames } => delay_frames,
                _ => arrival(link.to.0).saturating_sub(arrival(link.from.0).saturating_add(latency)),
            };
        }
        Ok(())
    }

    /// The slots, each behind all that it needs; filters and gains as early as they can be, so that many of them are
    /// ready at once, and nodes of one group together. Or else the slots of a loop.
    pub(crate) fn order(&self) -> Result<Vec<u32>, Vec<u32>> {
        let mut waiting: BTreeMap<u32, usize> = self.units.keys().map(|slot| (*slot, 0)).collect();
        let mut next: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for link in self.links.iter().filter(|link| link.is_forward()) {
            *waiting.entry(link.to.0).or_default() += 1;
            next.entry(link.from.0).or_default().push(link.to.0);
        }
        // Filters, gains, and all others.
        let (mut filters, mut gains, mut late) = (Vec::new(), Vec::new(), Vec::new());
        let mut order = Vec::with_capacity(self.units.len());
        let mut ready: Vec<u32> =
            waiting.iter().filter(|(_, count)| **count == 0).map(|(slot, _)| *slot).collect();
        // Backwards, so that the lowest slot is taken first.
        ready.reverse();
        let mut group = None;
        let group_of = |slot: &u32| self.units.get(slot).map(|unit| unit.group);
        loop {
            for slot in ready.drain(..) {
                match self.units.get(&slot).map(|unit| unit.kind) {
                    Some(Kind::Biquad | Kind::Input) => filters.push(slot),
                    Some(Kind::Gain) => gains.push(slot),
                    _ => late.push(slot),
                }
            }
            let slot = match filters.pop().or_else(|| gains.pop()) {
                Some(slot) => slot,
                // Most recently made ready first, so that what it needs is still near; its group before that.
                None => {
                    let near = late.len().saturating_sub(8);
                    let same = late[near..].iter().rposition(|slot| group_of(slot) == group);
                    match same.map(|at| late.remove(near + at)).or_else(|| late.pop()) {
                        Some(slot) => slot,
                        None => break,
                    }
                }
            };
            group = group_of(&slot);
            order.push(slot);
            waiting.remove(&slot);
            for target in next.get(&slot).into_iter().flatten() {
                if let Some(count) = waiting.get_mut(target) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(*target);
                    }
                }
            }
        }
        if waiting.is_empty() { Ok(order) } else { Err(self.find_loop(&waiting)) }
    }

    /// One loop among units that wait for each other.
    fn find_loop(&self, waiting: &BTreeMap<u32, usize>) -> Vec<u32> {
        let before = |slot: u32| {
            let forward = self.links.iter().filter(|link| link.is_forward());
            forward
                .filter(|link| link.to.0 == slot)
                .map(|link| link.from.0)
                .find(|from| waiting.contains_key(from))
        };
        let mut path: Vec<u32> = Vec::new();
        let mut at = waiting.keys().next().copied();
        while let Some(slot) = at {
            if let Some(begin) = path.iter().position(|seen| *seen == slot) {
                path.drain(..begin);
                break;
            }
            path.push(slot);
            at = before(slot);
        }
        path.reverse();
        path.extend(path.first().copied());
        path
    }

    /// What plays while `old` becomes `new`: all that either has. Links that are in one alone fade, where their
    /// target is in both; the rest is steady. `Err` where that would be a loop.
    pub(crate) fn union(old: &Self, new: &Self) -> Option<Self> {
        let mut union = Self::default();
        for unit in old.units.values().chain(new.units.values()) {
            union.units.insert(unit.slot, unit.clone());
        }
        let stays = |slot: u32| old.units.contains_key(&slot) && new.units.contains_key(&slot);
        let by_name = |topology: &Self| -> BTreeMap<_, Link> {
            topology.links.iter().map(|link| (link.name(), *link)).collect()
        };
        let (before, after) = (by_name(old), by_name(new));
        for (name, link) in &before {
            match after.get(name) {
                Some(same) if same.delay == link.delay => {
                    union.links.push(*link);
                    if let (Some(line), true) = (same.line, same.line != link.line) {
                        union.feeds.insert((same.from, line));
                    }
                }
                // Events take the new way at once.
                _ if link.flow == Flow::Events && stays(link.to.0) => {}
                _ => {
                    let fade = if stays(link.to.0) { Fade::Out } else { Fade::Steady };
                    union.links.push(Link { fade, ..*link });
                }
            }
        }
        for (name, link) in &after {
            if before.get(name).is_none_or(|other| other.delay != link.delay) {
                let fades = stays(link.to.0) && link.flow != Flow::Events;
                let fade = if fades { Fade::In } else { Fade::Steady };
                union.links.push(Link { fade, ..*link });
            }
        }
        union.order().ok().map(|_| union)
    }

    /// `self` while links that `new` lacks fade out: the first half of what is no [`Topology::union`].
    pub(crate) fn leaving(&self, new: &Self) -> Self {
        self.fading(new, Fade::Out)
    }

    /// `self` while links that `old` lacked fade in: the second half.
    pub(crate) fn entering(&self, old: &Self) -> Self {
        self.fading(old, Fade::In)
    }

    fn fading(&self, other: &Self, fade: Fade) -> Self {
        let names: BTreeMap<_, u32> = other.links.iter().map(|link| (link.name(), link.delay)).collect();
        let mut result = self.clone();
        for link in result.links.iter_mut().filter(|link| link.flow != Flow::Events) {
            let changed = names.get(&link.name()) != Some(&link.delay);
            if changed && other.units.contains_key(&link.to.0) {
                link.fade = fade;
            }
        }
        result
    }

    /// Targets that lose a source of events on the way to `new`.
    pub(crate) fn silenced(&self, new: &Self) -> BTreeSet<u32> {
        let stays: BTreeSet<_> = new.links.iter().map(Link::name).collect();
        let lost =
            self.links.iter().filter(|link| link.flow == Flow::Events && !stays.contains(&link.name()));
        lost.map(|link| link.to.0).filter(|slot| new.units.contains_key(slot)).collect()
    }

    /// How long what is new in `self` takes to be filled with sound, in frames.
    pub(crate) fn warm_up(&self, old: &Self) -> u32 {
        let lines: BTreeSet<_> = old.links.iter().filter_map(|link| link.line).collect();
        let needs = |link: &Link| {
            let line = link.line.filter(|line| !lines.contains(line)).map_or(0, |_| link.delay);
            let new_source = !old.units.contains_key(&link.from.0);
            let arrival = self.units.get(&link.to.0).filter(|_| new_source).map_or(0, |unit| unit.arrival);
            line.max(arrival)
        };
        self.links.iter().map(needs).max().unwrap_or(0)
    }
}
