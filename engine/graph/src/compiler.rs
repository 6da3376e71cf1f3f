//! The compiler: from units and links to a flat schedule. Off the audio thread.
//!
//! Units are visited in topological order. What a port gives is a *value*: buffers that are known by number, taken from
//! a free list and given back after their last use, so that a chain of any length lives in one or two buffers
//! (linear-scan colouring, after Poletto and Sarkar, 1999). A value may be *lazy*: a chain of gains, or a chain of
//! filters, that has one consumer. Gains melt into the sum that uses them; filters that wait at the same time are run
//! side by side in SIMD lanes, and a chain of them as a pipeline.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::Flow;
use crate::schedule::{Fade, LANES_MAX, Lane, Mono, Op, Route, SILENCE, Schedule, Span, Term};
use crate::topology::{Adjacency, Kind, Link, Topology, Unit};

/// From how many channels on filters are run side by side rather than one after the other as pipelines.
const BANK_LANES_MIN: usize = 4;

type ValueId = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    Gains,
    Filters,
}

/// Whether all samples are known to be numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doubt {
    /// They are.
    None,
    /// Made of numbers by gains and sums, which may have grown too large.
    Overflow,
    /// A processor without state made them.
    Any,
}

#[derive(Clone, Debug)]
struct Lazy {
    chain: Chain,
    base: ValueId,
    slots: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Value {
    /// One for each channel; none while lazy.
    buffers: Vec<u32>,
    channels: u16,
    /// Consumers that are still to come.
    uses: usize,
    doubt: Doubt,
    /// Who made it.
    slot: u32,
    lazy: Option<Lazy>,
}

/// Compiles a topology that has an order.
pub(crate) fn compile(topology: &Topology) -> Schedule {
    let mut compiler = Compiler::new(topology);
    for slot in &topology.order {
        if let Some(unit) = topology.unit(*slot) {
            compiler.unit(unit);
        }
    }
    compiler.finish()
}

struct Compiler<'t> {
    topology: &'t Topology,
    schedule: Schedule,
    /// Links into a unit, and out of one.
    into: Adjacency,
    out: Adjacency,
    values: Vec<Value>,
    /// What an output port gives.
    ports: BTreeMap<(u32, u16), ValueId>,
    /// Chains of filters that wait.
    waiting: Vec<ValueId>,
    free: Vec<u32>,
    group: Option<u16>,
}

impl<'t> Compiler<'t> {
    fn new(topology: &'t Topology) -> Self {
        let adjacency =
            |end: fn(&Link) -> Option<u32>| Adjacency::new(&topology.links, topology.slots(), end);
        let output = topology.units().find(|unit| unit.kind == Kind::Output);
        let latency = output.map_or(0, |unit| topology.arrival(unit.slot));
        let arrivals = topology.arrivals.clone();
        let schedule = Schedule { arrivals, latency, pool: SILENCE + 1, ..Schedule::default() };
        Self {
            topology,
            schedule,
            into: adjacency(|link| Some(link.to.0)),
            out: adjacency(|link| Some(link.from.0)),
            values: Vec::new(),
            ports: BTreeMap::new(),
            waiting: Vec::new(),
            free: Vec::new(),
            group: None,
        }
    }

    fn finish(mut self) -> Schedule {
        // Those that nobody listens to.
        self.filter();
        // One group needs no stamps: the whole callback is timed anyhow.
        let stamps = self.schedule.ops.iter().filter(|op| matches!(op, Op::Stamp { .. })).count();
        if let Some(Op::Stamp { group }) = self.schedule.ops.iter().find(|op| matches!(op, Op::Stamp { .. }))
        {
            self.schedule.group = *group;
        }
        if stamps <= 1 {
            self.schedule.ops.retain(|op| !matches!(op, Op::Stamp { .. }));
        }
        self.schedule
    }

    fn unit(&mut self, unit: &Unit) {
        match unit.kind {
            Kind::Input => self.input(unit),
            Kind::Output => self.output(unit),
            Kind::Gain => self.chain(unit, Chain::Gains),
            Kind::Biquad => self.chain(unit, Chain::Filters),
            Kind::Processor => self.processor(unit),
        }
    }

    fn stamp(&mut self, unit: &Unit) {
        if self.group != Some(unit.group) {
            self.group = Some(unit.group);
            self.schedule.ops.push(Op::Stamp { group: unit.group });
        }
    }

    fn input(&mut self, unit: &Unit) {
        for (port, channels) in (0_u16..).zip(&unit.layout.outputs) {
            let uses = self.uses(unit.slot, port);
            if uses == 0 {
                continue;
            }
            let buffers = self.take(*channels);
            for (channel, to) in (0_u16..).zip(&buffers) {
                self.schedule.ops.push(Op::Read { bus: port, channel, to: *to });
            }
            let value = Value {
                buffers,
                channels: *channels,
                uses,
                // Reading checks.
                doubt: Doubt::None,
                slot: unit.slot,
                lazy: None,
            };
            self.provide(unit, port, value);
        }
        self.schedule.input_slot = unit.slot;
        self.schedule.input_routes = self.routes(unit);
    }

    fn output(&mut self, unit: &Unit) {
        for (port, channels) in (0_u16..).zip(&unit.layout.inputs) {
            let value = self.port_input(unit, port, *channels);
            self.realise(value);
            self.check(value);
            for (channel, from) in (0_u16..).zip(self.values[value].buffers.clone()) {
                self.schedule.ops.push(Op::Write { bus: port, channel, from });
            }
            self.release(value);
        }
    }

    /// A gain or a filter: lazy, where it has one consumer.
    fn chain(&mut self, unit: &Unit, chain: Chain) {
        let channels = unit.layout.inputs.first().copied().unwrap_or(1);
        let base = self.port_input(unit, 0, channels);
        let alike = self.values[base].lazy.as_ref().is_some_and(|lazy| lazy.chain == chain);
        let lazy = if alike {
            // The chain grows; what it was has no other consumer.
            let mut lazy = self.values[base].lazy.take();
            self.values[base].uses = 0;
            self.waiting.retain(|value| *value != base);
            lazy.iter_mut().for_each(|lazy| lazy.slots.push(unit.slot));
            lazy
        } else {
            self.realise(base);
            Some(Lazy { chain, base, slots: vec![unit.slot] })
        };
        let uses = self.uses(unit.slot, 0);
        // With none it is still played, so that it sounds the same whenever it is connected again.
        let value = Value { buffers: Vec::new(), channels, uses, doubt: Doubt::Any, slot: unit.slot, lazy };
        let id = self.provide(unit, 0, value);
        if chain == Chain::Filters && self.values[id].lazy.is_some() {
            self.waiting.push(id);
        }
        if uses > 1 {
            self.realise(id);
        } else if uses == 0 && chain == Chain::Gains {
            self.release(id);
        }
    }

    fn processor(&mut self, unit: &Unit) {
        let inputs: Vec<ValueId> = (0_u16..)
            .zip(&unit.layout.inputs)
            .map(|(port, channels)| {
                let value = self.port_input(unit, port, *channels);
                self.realise(value);
                if !unit.behaviour.stateless {
                    self.check(value);
                }
                value
            })
            .collect();
        let mut ports: Vec<Vec<u32>> = Vec::new();
        if unit.behaviour.in_place {
            ports.push(self.own(inputs[0]));
        }
        for channels in unit.layout.outputs.iter().skip(ports.len()) {
            let buffers = self.take(*channels);
            ports.push(buffers);
        }
        self.stamp(unit);
        let read: Vec<u32> = inputs
            .iter()
            .skip(usize::from(unit.behaviour.in_place))
            .flat_map(|value| self.values[*value].buffers.clone())
            .collect();
        let written: Vec<u32> = ports.iter().flatten().copied().collect();
        match (&read[..], &written[..]) {
            ([input], [output]) if is_plain(unit) => {
                let check = !unit.behaviour.stateless;
                self.process_mono(Mono { slot: unit.slot, input: *input, output: *output, check });
            }
            _ => {
                let inputs = push_all(&mut self.schedule.buffers, read);
                let outputs = push_all(&mut self.schedule.buffers, written);
                self.schedule.widest = self.schedule.widest.max(outputs.len);
                self.schedule.ops.push(Op::Process { slot: unit.slot, inputs, outputs });
            }
        }
        // The input of a node in place is its own already.
        for value in inputs.into_iter().skip(usize::from(unit.behaviour.in_place)) {
            self.release(value);
        }
        let routes = self.routes(unit);
        if routes.len > 0 {
            self.schedule.ops.push(Op::Deliver { slot: unit.slot, routes });
        }
        for ((port, channels), buffers) in (0_u16..).zip(&unit.layout.outputs).zip(ports) {
            let uses = self.uses(unit.slot, port);
            if uses == 0 {
                self.free.extend(buffers);
                continue;
            }
            let doubt = if unit.behaviour.stateless { Doubt::Any } else { Doubt::None };
            let value = Value { buffers, channels: *channels, uses, doubt, slot: unit.slot, lazy: None };
            self.provide(unit, port, value);
        }
    }

    /// Those that follow each other become one operation.
    fn process_mono(&mut self, node: Mono) {
        let span = push_all(&mut self.schedule.monos, [node]);
        match self.schedule.ops.last_mut() {
            Some(Op::ProcessMonos { nodes }) => nodes.len += 1,
            _ => self.schedule.ops.push(Op::ProcessMonos { nodes: span }),
        }
    }

    fn links_from(&self, slot: u32) -> impl Iterator<Item = &'t Link> {
        let links = &self.topology.links;
        self.out.of(slot).iter().filter_map(move |link| links.get(*link))
    }

    /// How often what the port gives is used: by each link, but only once by all delay lines together.
    fn uses(&self, slot: u32, port: u16) -> usize {
        let links = self.links_from(slot).filter(|link| link.from.1 == port);
        let audio = links.filter(|link| link.flow != Flow::Events);
        let direct = audio.filter(|link| link.delay == 0).count();
        direct + usize::from(!self.lines(slot, port).is_empty())
    }

    /// The lines that the port fills.
    fn lines(&self, slot: u32, port: u16) -> Vec<u32> {
        let links = self.links_from(slot).filter(|link| link.from.1 == port);
        let fed = self.topology.feeds.iter().filter(|((from, at), _)| (*from, *at) == (slot, port));
        let mut lines: Vec<u32> =
            links.filter_map(|link| link.line).chain(fed.map(|(_, line)| *line)).collect();
        lines.sort_unstable();
        lines.dedup();
        lines
    }

    /// Makes a value known as what a port gives, and fills the port's delay lines.
    fn provide(&mut self, unit: &Unit, port: u16, value: Value) -> ValueId {
        let id = self.values.len();
        self.values.push(value);
        self.ports.insert((unit.slot, port), id);
        let lines = self.lines(unit.slot, port);
        if !lines.is_empty() {
            if matches!(&self.values[id].lazy, Some(lazy) if lazy.chain == Chain::Filters) {
                self.waiting.push(id);
            }
            self.realise(id);
            self.check(id);
            for line in lines {
                for (channel, from) in (0_u32..).zip(self.values[id].buffers.clone()) {
                    self.schedule.ops.push(Op::Remember { line, channel, from });
                }
            }
            self.release(id);
        }
        id
    }

    fn routes(&mut self, unit: &Unit) -> Span {
        let links = self.links_from(unit.slot).filter(|link| link.flow == Flow::Events);
        let routes: Vec<Route> = links.map(|link| Route { slot: link.to.0, delay: link.delay }).collect();
        push_all(&mut self.schedule.routes, routes)
    }

    /// What comes into a port: the only source itself, silence, or a sum.
    fn port_input(&mut self, unit: &Unit, port: u16, channels: u16) -> ValueId {
        let topology = self.topology;
        let links = self.into.of(unit.slot).iter().filter_map(|link| topology.links.get(*link));
        let links: Vec<&Link> = links.filter(|link| link.to.1 == port && link.flow != Flow::Events).collect();
        match links[..] {
            [] => self.constant(vec![SILENCE; usize::from(channels)], unit.slot),
            [link] if link.delay == 0 && link.fade == Fade::Steady => match self.ports.get(&link.from) {
                Some(value) if self.values[*value].channels == channels => *value,
                _ => self.sum(unit, channels, &links),
            },
            _ => self.sum(unit, channels, &links),
        }
    }

    fn constant(&mut self, buffers: Vec<u32>, slot: u32) -> ValueId {
        let channels = u16::try_from(buffers.len()).unwrap_or(u16::MAX);
        self.values.push(Value { buffers, channels, uses: 1, doubt: Doubt::None, slot, lazy: None });
        self.values.len() - 1
    }

    fn sum(&mut self, unit: &Unit, channels: u16, links: &[&Link]) -> ValueId {
        let summands: Vec<(ValueId, Fade)> =
            links.iter().filter_map(|link| Some((self.summand(link)?, link.fade))).collect();
        self.stamp(unit);
        let doubt = summands.iter().map(|(value, _)| self.base(*value).doubt).max().unwrap_or(Doubt::None);
        // Onto the first one that nobody needs afterwards.
        let onto = summands.iter().position(|(value, fade)| {
            let value = &self.values[*value];
            let own = value.uses == 1 && value.lazy.is_none() && value.channels == channels;
            own && *fade == Fade::Steady && !value.buffers.contains(&SILENCE)
        });
        let buffers = match onto {
            Some(index) => self.own(summands[index].0),
            None => self.take(channels),
        };
        for (channel, to) in buffers.iter().enumerate() {
            let terms: Vec<Term> = summands
                .iter()
                .enumerate()
                .filter(|(index, _)| Some(*index) != onto)
                .map(|(_, (value, fade))| self.term(*value, channel, *fade))
                .collect();
            let terms = push_all(&mut self.schedule.terms, terms);
            self.schedule.ops.push(Op::Mix { to: *to, terms, onto: onto.is_some() });
        }
        for (index, (value, _)) in summands.iter().enumerate() {
            if Some(index) != onto {
                self.release(*value);
            }
        }
        self.values.push(Value {
            buffers,
            channels,
            uses: 1,
            doubt: doubt.max(Doubt::Overflow),
            slot: unit.slot,
            lazy: None,
        });
        self.values.len() - 1
    }

    /// What a link brings, late where it is delayed. Gains stay lazy.
    fn summand(&mut self, link: &Link) -> Option<ValueId> {
        let source = self.topology.unit(link.from.0)?;
        let channels = *source.layout.outputs.get(usize::from(link.from.1))?;
        let known = self.ports.get(&link.from).copied();
        let Some(line) = link.line else {
            let value = known?;
            if self.values[value].lazy.as_ref().is_some_and(|lazy| lazy.chain == Chain::Filters) {
                self.realise(value);
            }
            return Some(value);
        };
        let buffers = self.take(channels);
        for (channel, to) in (0_u32..).zip(&buffers) {
            let behind = known.is_some();
            self.schedule.ops.push(Op::Recall { line, channel, delay: link.delay, to: *to, behind });
        }
        Some(self.constant(buffers, link.from.0))
    }

    fn base(&self, value: ValueId) -> &Value {
        match &self.values[value].lazy {
            Some(lazy) => &self.values[lazy.base],
            None => &self.values[value],
        }
    }

    fn term(&mut self, value: ValueId, channel: usize, fade: Fade) -> Term {
        let gains = self.values[value].lazy.as_ref().map_or_else(Vec::new, |lazy| lazy.slots.clone());
        let gains = push_all(&mut self.schedule.slots, gains);
        let buffers = &self.base(value).buffers;
        let buffer = buffers.get(channel).or(buffers.first()).copied().unwrap_or(SILENCE);
        Term { buffer, gains, fade }
    }

    /// Has a lazy value's buffers hold what it is.
    fn realise(&mut self, value: ValueId) {
        match self.values[value].lazy.as_ref().map(|lazy| lazy.chain) {
            None => {}
            Some(Chain::Gains) => {
                if let Some(Lazy { base, slots, .. }) = self.values[value].lazy.take() {
                    self.values[value].doubt = self.values[base].doubt.max(Doubt::Overflow);
                    let buffers = self.own(base);
                    let gains = push_all(&mut self.schedule.slots, slots);
                    for buffer in &buffers {
                        self.schedule.ops.push(Op::Scale { buffer: *buffer, gains });
                    }
                    self.values[value].buffers = buffers;
                }
            }
            Some(Chain::Filters) => self.filter(),
        }
    }

    /// Runs all filters that wait.
    fn filter(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let mut chains: Vec<(ValueId, Lazy)> = Vec::new();
        for value in waiting {
            let Some(lazy) = self.values[value].lazy.take() else { continue };
            // What is too large for a filter it finds in its own state.
            if self.values[lazy.base].doubt == Doubt::Any {
                self.check(lazy.base);
            }
            self.values[value].doubt = Doubt::None;
            chains.push((value, lazy));
        }
        if let Some(unit) = chains.first().and_then(|(_, lazy)| self.topology.unit(*lazy.slots.first()?)) {
            self.stamp(unit);
        }
        let lanes: usize = chains.iter().map(|(_, lazy)| self.values[lazy.base].buffers.len()).sum();
        let longest = chains.iter().map(|(_, lazy)| lazy.slots.len()).max().unwrap_or(0);
        if lanes >= BANK_LANES_MIN || longest == 1 {
            self.banks(&chains, longest);
        } else {
            self.series(&chains);
        }
        for (value, _) in chains {
            if self.values[value].uses == 0 {
                self.release(value);
            }
        }
    }

    /// Chains side by side, stage by stage.
    fn banks(&mut self, chains: &[(ValueId, Lazy)], longest: usize) {
        let mut buffers = Vec::new();
        let mut shared = Vec::new();
        for (value, Lazy { base, .. }) in chains {
            let from = self.values[*base].buffers.clone();
            let to = if self.is_last_use(*base) {
                self.own(*base)
            } else {
                shared.push(*base);
                self.take(self.values[*base].channels)
            };
            self.values[*value].buffers.clone_from(&to);
            buffers.push((from, to));
        }
        // Only now: no lane may write to what another one has yet to read.
        for base in shared {
            self.release(base);
        }
        debug_assert!({
            let read: BTreeSet<u32> =
                buffers.iter().filter(|(from, to)| from != to).flat_map(|(from, _)| from.clone()).collect();
            buffers.iter().flat_map(|(_, to)| to).all(|to| !read.contains(to))
        });
        for stage in 0..longest {
            let mut lanes = Vec::new();
            for ((_, Lazy { slots, .. }), (from, to)) in chains.iter().zip(&buffers) {
                let Some(slot) = slots.get(stage) else { continue };
                let from = if stage == 0 { from } else { to };
                lanes.extend((0_u32..).zip(from.iter().zip(to)).map(|(channel, (from, to))| Lane {
                    slot: *slot,
                    channel,
                    from: *from,
                    to: *to,
                }));
            }
            // In even parts, of whole vectors: a lane left alone takes as long as many.
            let parts = lanes.len().div_ceil(LANES_MAX).max(1);
            let part = lanes.len().div_ceil(parts).next_multiple_of(LANES_MAX / 4);
            for lanes in lanes.chunks(part.max(1)) {
                let lanes = push_all(&mut self.schedule.lanes, lanes.iter().copied());
                self.schedule.filters = self.schedule.filters.max(lanes.len);
                self.schedule.widest = self.schedule.widest.max(lanes.len);
                self.schedule.ops.push(Op::Bank { lanes });
            }
        }
    }

    /// Chains one after the other, each as a pipeline.
    fn series(&mut self, chains: &[(ValueId, Lazy)]) {
        for (value, Lazy { base, slots, .. }) in chains {
            let buffers = self.own(*base);
            self.values[*value].buffers.clone_from(&buffers);
            let slots = push_all(&mut self.schedule.slots, slots.iter().copied());
            self.schedule.filters = self.schedule.filters.max(slots.len);
            for (channel, buffer) in (0_u32..).zip(buffers) {
                self.schedule.ops.push(Op::Series { slots, channel, buffer });
            }
        }
    }

    /// Whether the next consumer may write where the value is.
    fn is_last_use(&self, value: ValueId) -> bool {
        self.values[value].uses == 1 && !self.values[value].buffers.contains(&SILENCE)
    }

    /// Consumes a value for its buffers, to be written: its own where this is its last use, else copies.
    fn own(&mut self, value: ValueId) -> Vec<u32> {
        if self.is_last_use(value) {
            self.values[value].uses = 0;
            return std::mem::take(&mut self.values[value].buffers);
        }
        let copies = self.take(self.values[value].channels);
        for (from, to) in self.values[value].buffers.iter().zip(&copies) {
            self.schedule.ops.push(Op::Copy { from: *from, to: *to });
        }
        self.release(value);
        copies
    }

    fn check(&mut self, value: ValueId) {
        if std::mem::replace(&mut self.values[value].doubt, Doubt::None) != Doubt::None {
            let slot = self.values[value].slot;
            for buffer in &self.values[value].buffers {
                self.schedule.ops.push(Op::Check { buffer: *buffer, slot });
            }
        }
    }

    fn release(&mut self, value: ValueId) {
        self.values[value].uses = self.values[value].uses.saturating_sub(1);
        if self.values[value].uses > 0 {
            return;
        }
        if let Some(lazy) = self.values[value].lazy.take() {
            self.release(lazy.base);
        }
        let buffers = std::mem::take(&mut self.values[value].buffers);
        self.free.extend(buffers.into_iter().filter(|buffer| *buffer != SILENCE));
    }

    fn take(&mut self, channels: u16) -> Vec<u32> {
        let fresh = &mut self.schedule.pool;
        let mut next = || {
            *fresh += 1;
            *fresh - 1
        };
        (0..channels).map(|_| self.free.pop().unwrap_or_else(&mut next)).collect()
    }
}

/// Whether nothing but the processor has to be looked after.
fn is_plain(unit: &Unit) -> bool {
    let has_events = unit.layout.event_input || unit.layout.event_output;
    let has_bypass = unit.behaviour.in_place || unit.layout.inputs.is_empty();
    !has_events && !has_bypass
}

fn push_all<T>(table: &mut Vec<T>, items: impl IntoIterator<Item = T>) -> Span {
    let from = u32::try_from(table.len()).unwrap_or(u32::MAX);
    table.extend(items);
    Span { from, len: u32::try_from(table.len()).unwrap_or(u32::MAX) - from }
}
