//! What the compiler compiles: units with slots and links with delays, of one graph or of two that are crossfaded.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::graph::{Flow, Graph, NodeKey};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) slot: u32,
    pub(crate) kind: Kind,
    pub(crate) layout: Layout,
    pub(crate) behaviour: Behaviour,
    pub(crate) latency: u32,
    pub(crate) group: u16,
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
    /// The same for the same connection, whatever its delay.
    fn name(&self) -> ((u32, u16), (u32, u16), bool, bool) {
        (self.from, self.to, self.flow == Flow::Events, !self.is_forward())
    }

    /// Another line, where `after` has one and is the same in all else.
    fn line_moved_to(&self, after: &Self) -> Option<u32> {
        after.line.filter(|line| self.delay == after.delay && self.line != Some(*line))
    }

    fn is_forward(&self) -> bool {
        !matches!(self.flow, Flow::Feedback { .. })
    }
}

/// The links of each slot, by one of their ends.
#[derive(Debug)]
pub(crate) struct Adjacency {
    /// Where each slot's links begin in `links`; one more than there are slots.
    starts: Vec<usize>,
    links: Vec<usize>,
}

impl Adjacency {
    /// The links that `end` gives a slot for, counted into place.
    pub(crate) fn new(links: &[Link], slots: usize, end: impl Fn(&Link) -> Option<u32>) -> Self {
        let mut starts = vec![0; slots + 1];
        for slot in links.iter().filter_map(&end) {
            starts[slot as usize + 1] += 1;
        }
        for slot in 0..slots {
            starts[slot + 1] += starts[slot];
        }
        let mut next = starts.clone();
        let mut places = vec![0; starts[slots]];
        for (index, slot) in links.iter().enumerate().filter_map(|(index, link)| Some((index, end(link)?))) {
            places[next[slot as usize]] = index;
            next[slot as usize] += 1;
        }
        Self { starts, links: places }
    }

    /// Places of a slot's links.
    pub(crate) fn of(&self, slot: u32) -> &[usize] {
        let slot = slot as usize;
        match (self.starts.get(slot), self.starts.get(slot + 1)) {
            (Some(from), Some(to)) => &self.links[*from..*to],
            _ => &[],
        }
    }
}

/// Units and links. See [`crate::compiler`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Topology {
    /// By slot.
    units: Vec<Option<Arc<Unit>>>,
    /// By slot: when audio that entered the graph at 0 is at the unit's inputs.
    pub(crate) arrivals: Vec<u32>,
    /// Sorted by name.
    pub(crate) links: Vec<Link>,
    /// Slots, each behind all that it needs.
    pub(crate) order: Vec<u32>,
    /// Ports that also fill a line that nothing reads yet.
    pub(crate) feeds: BTreeSet<((u32, u16), u32)>,
    /// The graph's output comes no earlier than this.
    latency_min: u32,
}

impl Topology {
    /// The graph, with the slot of each node and its kind; every joining path is delayed to the longest. Units that
    /// `before` has too are shared with it. Or else the nodes of a loop.
    pub(crate) fn of(
        graph: &Graph,
        activation: &Activation,
        before: &Self,
        place: impl Fn(NodeKey) -> Option<(u32, Kind)>,
    ) -> Result<Self, Vec<NodeKey>> {
        let mut topology = Self { latency_min: graph.latency_frames_min(), ..Self::default() };
        let mut keys = Vec::new();
        for (key, entry) in graph.nodes() {
            let Some((slot, kind)) = place(key) else { continue };
            let (latency, group) = (entry.node.latency_frames(activation), entry.group);
            let same = before.units.get(slot as usize).and_then(Option::as_ref);
            let unit = match same.filter(|unit| unit.latency == latency && unit.group == group) {
                Some(unit) => Arc::clone(unit),
                None => {
                    let (layout, behaviour) = (entry.layout.clone(), entry.behaviour);
                    Arc::new(Unit { slot, kind, layout, behaviour, latency, group })
                }
            };
            topology.put(unit);
            keys.resize(keys.len().max(slot as usize + 1), key);
            keys[slot as usize] = key;
        }
        let place = |key| place(key).map(|(slot, _)| slot);
        topology.links.extend(graph.edges().filter_map(|(_, edge)| {
            let from = (place(edge.from.node)?, edge.from.port);
            let to = (place(edge.to.node)?, edge.to.port);
            Some(Link { from, to, flow: edge.flow, delay: 0, line: None, fade: Fade::Steady })
        }));
        topology.links.sort_unstable_by_key(Link::name);
        match topology.find_order() {
            Ok(order) => topology.order = order,
            Err(slots) => return Err(slots.iter().map(|slot| keys[*slot as usize]).collect()),
        }
        topology.align();
        Ok(topology)
    }

    fn put(&mut self, unit: Arc<Unit>) {
        let slot = unit.slot as usize;
        let slots = self.units.len().max(slot + 1);
        self.units.resize(slots, None);
        self.arrivals.resize(slots, 0);
        self.units[slot] = Some(unit);
    }

    pub(crate) fn unit(&self, slot: u32) -> Option<&Unit> {
        self.units.get(slot as usize)?.as_deref()
    }

    pub(crate) fn units(&self) -> impl Iterator<Item = &Arc<Unit>> {
        self.units.iter().flatten()
    }

    /// How many slots there are, with or without a unit.
    pub(crate) fn slots(&self) -> usize {
        self.units.len()
    }

    pub(crate) fn arrival(&self, slot: u32) -> u32 {
        self.arrivals.get(slot as usize).copied().unwrap_or(0)
    }

    /// When audio that entered the graph at 0 leaves the unit.
    fn leaving(&self, slot: u32) -> u32 {
        self.arrival(slot).saturating_add(self.unit(slot).map_or(0, |unit| unit.latency))
    }

    /// Delays every link so that what left the graph's input together arrives together.
    fn align(&mut self) {
        let into = Adjacency::new(&self.links, self.slots(), |link| link.is_forward().then_some(link.to.0));
        for slot in std::mem::take(&mut self.order) {
            let sources = into.of(slot).iter().map(|link| self.links[*link].from.0);
            let is_output = self.unit(slot).is_some_and(|unit| unit.kind == Kind::Output);
            let least = if is_output { self.latency_min } else { 0 };
            let arrival = sources.map(|from| self.leaving(from)).max().unwrap_or(0);
            self.arrivals[slot as usize] = arrival.max(least);
            self.order.push(slot);
        }
        let delays: Vec<u32> = self.links.iter().map(|link| self.delay(link)).collect();
        self.links.iter_mut().zip(delays).for_each(|(link, delay)| link.delay = delay);
    }

    fn delay(&self, link: &Link) -> u32 {
        match link.flow {
            Flow::Feedback { delay_frames } => delay_frames,
            Flow::Audio | Flow::Events => self.arrival(link.to.0).saturating_sub(self.leaving(link.from.0)),
        }
    }

    /// The slots, each behind all that it needs; filters and gains as early as they can be, so that many of them are
    /// ready at once, and nodes of one group together. Or else the slots of a loop.
    fn find_order(&self) -> Result<Vec<u32>, Vec<u32>> {
        let forward = |link: &Link| link.is_forward().then_some(link.from.0);
        let out = Adjacency::new(&self.links, self.slots(), forward);
        let mut needs = vec![0_u32; self.slots()];
        for link in self.links.iter().filter(|link| link.is_forward()) {
            needs[link.to.0 as usize] += 1;
        }
        let mut ready: Vec<u32> =
            self.units().map(|unit| unit.slot).filter(|slot| needs[*slot as usize] == 0).collect();
        // Backwards, so that the lowest slot is taken first.
        ready.reverse();
        let (mut filters, mut gains, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let mut order = Vec::with_capacity(self.slots());
        let mut group = None;
        let group_of = |slot: &u32| self.unit(*slot).map(|unit| unit.group);
        loop {
            for slot in ready.drain(..) {
                match self.unit(slot).map(|unit| unit.kind) {
                    Some(Kind::Biquad | Kind::Input) => filters.push(slot),
                    Some(Kind::Gain) => gains.push(slot),
                    _ => others.push(slot),
                }
            }
            let slot = match filters.pop().or_else(|| gains.pop()) {
                Some(slot) => slot,
                // Most recently made ready first, so that what it needs is still near; its group before that.
                None => {
                    let near = others.len().saturating_sub(8);
                    let same = others[near..].iter().rposition(|slot| group_of(slot) == group);
                    match same.map(|at| others.remove(near + at)).or_else(|| others.pop()) {
                        Some(slot) => slot,
                        None => break,
                    }
                }
            };
            group = group_of(&slot);
            order.push(slot);
            for link in out.of(slot) {
                let target = self.links[*link].to.0;
                needs[target as usize] -= 1;
                if needs[target as usize] == 0 {
                    ready.push(target);
                }
            }
        }
        if order.len() == self.units().count() { Ok(order) } else { Err(self.find_loop(&needs)) }
    }

    /// One loop among units that still need something.
    fn find_loop(&self, needs: &[u32]) -> Vec<u32> {
        let waits = |slot: &u32| needs[*slot as usize] > 0;
        let before = |slot: u32| {
            let into = self.links.iter().filter(|link| link.is_forward() && link.to.0 == slot);
            into.map(|link| link.from.0).find(waits)
        };
        let mut path: Vec<u32> = Vec::new();
        let mut at = self.units().map(|unit| unit.slot).find(waits);
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
    /// target is in both; the rest is steady. `None` where that would be a loop.
    pub(crate) fn union(old: &Self, new: &Self) -> Option<Self> {
        let mut union = Self::default();
        for unit in old.units().chain(new.units()) {
            union.put(Arc::clone(unit));
            let arrival = if new.unit(unit.slot).is_some() { new } else { old }.arrival(unit.slot);
            union.arrivals[unit.slot as usize] = arrival;
        }
        let fade = |link: &Link, fade| {
            let stays = old.unit(link.to.0).is_some() && new.unit(link.to.0).is_some();
            if stays && link.flow != Flow::Events { fade } else { Fade::Steady }
        };
        for (before, after) in pairs(&old.links, &new.links) {
            match (before, after) {
                (Some(before), Some(after)) if before.delay == after.delay => {
                    union.links.push(*before);
                    union.feeds.extend(before.line_moved_to(after).map(|line| (after.from, line)));
                }
                _ => {
                    // Events take the new way at once.
                    let gone =
                        before.filter(|link| link.flow != Flow::Events || new.unit(link.to.0).is_none());
                    union.links.extend(gone.map(|link| Link { fade: fade(link, Fade::Out), ..*link }));
                    union.links.extend(after.map(|link| Link { fade: fade(link, Fade::In), ..*link }));
                }
            }
        }
        union.order = union.find_order().ok()?;
        Some(union)
    }

    /// `self` while what `new` lacks fades out: the first half of what is no [`Topology::union`]. Events take the new way
    /// at once, or none. And how long lines that connections move to have to be filled before, in frames.
    pub(crate) fn parting(&self, new: &Self) -> (Self, u32) {
        let mut parting = Self { links: Vec::new(), ..self.clone() };
        let mut filling = 0;
        for (mine, theirs) in pairs(&self.links, &new.links) {
            let Some(mine) = mine else { continue };
            let stays = new.unit(mine.to.0).is_some();
            parting.links.push(match theirs {
                Some(same) if same.delay == mine.delay => {
                    if let Some(line) = mine.line_moved_to(same) {
                        parting.feeds.insert((same.from, line));
                        filling = same.delay.max(filling);
                    }
                    *mine
                }
                Some(other) if mine.flow == Flow::Events => Link { delay: other.delay, ..*mine },
                None if mine.flow == Flow::Events && stays => continue,
                _ if stays => Link { fade: Fade::Out, ..*mine },
                _ => *mine,
            });
        }
        (parting, filling)
    }

    /// `self` while what `old` lacked fades in: the second half.
    pub(crate) fn entering(&self, old: &Self) -> Self {
        let mut entering = Self { links: Vec::new(), ..self.clone() };
        for (theirs, mine) in pairs(&old.links, &self.links) {
            let is_new = theirs.map(|link| link.delay) != mine.map(|link| link.delay);
            let fades = |link: &Link| is_new && link.flow != Flow::Events && old.unit(link.to.0).is_some();
            let fade = |link: &Link| if fades(link) { Fade::In } else { Fade::Steady };
            entering.links.extend(mine.map(|link| Link { fade: fade(link), ..*link }));
        }
        entering
    }

    /// Targets that lose a source of events on the way to `new`, or will hear from it sooner, so that the end of a note
    /// could overtake its beginning.
    pub(crate) fn silenced(&self, new: &Self) -> BTreeSet<u32> {
        let lost = pairs(&self.links, &new.links).filter_map(|(mine, theirs)| {
            mine.filter(|mine| theirs.is_none_or(|theirs| theirs.delay < mine.delay))
        });
        let events = lost.filter(|link| link.flow == Flow::Events);
        events.map(|link| link.to.0).filter(|slot| new.unit(*slot).is_some()).collect()
    }

    /// How long what is new in `self` takes to be filled with sound, in frames.
    pub(crate) fn warm_up(&self, old: &Self) -> u32 {
        let lines: BTreeSet<_> = old.links.iter().filter_map(|link| link.line).collect();
        let needs = |link: &Link| {
            let line = link.line.filter(|line| !lines.contains(line)).map_or(0, |_| link.delay);
            let is_new = old.unit(link.from.0).is_none();
            line.max(if is_new { self.arrival(link.to.0) } else { 0 })
        };
        self.links.iter().map(needs).max().unwrap_or(0)
    }
}

/// Links of the same name side by side, of two lists that are sorted by it.
fn pairs<'a>(old: &'a [Link], new: &'a [Link]) -> impl Iterator<Item = (Option<&'a Link>, Option<&'a Link>)> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.name().cmp(&new.name()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return None,
        };
        Some((old.next_if(|_| order.is_le()), new.next_if(|_| order.is_ge())))
    })
}
