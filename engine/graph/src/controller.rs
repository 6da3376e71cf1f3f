//! The control half of a graph that plays: compiles edits, lends them to the audio thread, and frees what comes home.

use std::collections::{BTreeMap, BTreeSet};

use audiocloud_dsp::delay::Ring;
use audiocloud_rt::hand_off::{Lender, loan};
use audiocloud_rt::{log, snapshot};
use audiocloud_units::SampleRate;
use thiserror::Error;

use crate::compiler::compile;
use crate::edit::{Edit, Line, Sizes, Stage, Tables};
use crate::event::Body;
use crate::graph::{Flow, Graph, GraphError, NodeKey};
use crate::node::{Activation, GRID, Shed};
use crate::renderer::{Address, Commands, Renderer, Status};
use crate::schedule::{Fade, SILENCE, Schedule};
use crate::slot::{Player, Slot, frames};
use crate::topology::{Kind, Topology};

/// Edits that may be on their way at once; further ones are gathered until one has come home.
const EDITS: usize = 4;
/// As many lists of commands.
const COMMANDS: usize = 256;

/// Names of nodes that are gone are kept for so many, for what the log still has to say of them.
const NAMES_KEPT: usize = 1024;

/// How a graph plays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// The device's nominal rate.
    pub sample_rate: SampleRate,
    /// How long edits and bypasses are crossfaded, in ms; rounded up to the grid.
    pub crossfade_ms: f32,
}

impl Config {
    /// Crossfades of 10 ms.
    #[must_use]
    pub const fn new(sample_rate: SampleRate) -> Self {
        Self { sample_rate, crossfade_ms: 10.0 }
    }
}

/// Why an edit does not play. What played before goes on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommitError {
    /// The audio thread has not taken the last ones yet. Commit again later: nothing is lost.
    #[error("the host has not called for a while, so the change waits")]
    Busy,
    /// The graph cannot play.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Where a node plays.
#[derive(Clone, Copy, Debug)]
struct Playing {
    slot: u32,
    /// Of its processor.
    revision: u64,
    /// The edit that brought it there.
    since: u64,
}

/// A delay line that a port fills.
#[derive(Clone, Copy, Debug)]
struct PortLine {
    index: u32,
    frames: u32,
}

/// The control half. See [`play`].
#[derive(Debug)]
pub struct Controller {
    activation: Activation,
    fade_frames: u32,
    edits: Lender<Edit>,
    commands: Lender<Commands>,
    /// What the last commit plays.
    topology: Topology,
    latency: u32,
    slots: BTreeMap<NodeKey, Playing>,
    /// Commands that found no room yet.
    unsent: Vec<(Address, Body)>,
    /// For messages: the names of nodes that play or played lately.
    names: BTreeMap<u64, String>,
    lines: BTreeMap<(u32, u16), PortLine>,
    free_slots: Places,
    free_lines: Places,
    sizes: Sizes,
    number: u64,
    status: snapshot::Reader<Status>,
}

/// Places of a table that are free, lowest first.
#[derive(Debug, Default)]
struct Places {
    free: BTreeSet<u32>,
    next: u32,
}

impl Places {
    fn take(&mut self) -> u32 {
        self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    fn give_back(&mut self, place: u32) {
        self.free.insert(place);
    }

    fn len(&self) -> usize {
        self.next as usize
    }
}

/// Both halves of a graph that plays from the renderer's first callback on. What the callbacks have to tell goes into
/// `log`, where there is one. *Realtime-safe: no*.
pub fn play(
    graph: &Graph,
    config: Config,
    log: Option<log::Producer>,
) -> Result<(Controller, Renderer), CommitError> {
    let (edit_lender, edit_borrower) = loan(EDITS);
    let (command_lender, command_borrower) = loan(COMMANDS);
    let (writer, status) = snapshot::snapshot(Status::default());
    let fade = frames(f64::from(config.crossfade_ms) / 1_000.0 * f64::from(config.sample_rate.hz()));
    let mut controller = Controller {
        activation: Activation { sample_rate: config.sample_rate },
        fade_frames: to_grid(fade).max(GRID_FRAMES),
        edits: edit_lender,
        commands: command_lender,
        topology: Topology::default(),
        latency: 0,
        slots: BTreeMap::new(),
        unsent: Vec::new(),
        names: BTreeMap::new(),
        lines: BTreeMap::new(),
        free_slots: Places::default(),
        free_lines: Places::default(),
        sizes: Sizes::default(),
        number: 0,
        status,
    };
    controller.commit(graph)?;
    let output = controller.slots.get(&graph.output()).map_or(0, |playing| playing.slot);
    let renderer = Renderer::new(config.sample_rate, output, edit_borrower, command_borrower, writer, log);
    Ok((controller, renderer))
}

const GRID_FRAMES: u32 = 64;
const _: () = assert!(GRID_FRAMES as usize == GRID);

fn to_grid(frames: u32) -> u32 {
    frames.div_ceil(GRID_FRAMES).saturating_mul(GRID_FRAMES)
}

impl Controller {
    /// Has the audio thread play the graph as it is now, from its next grid point on, by a crossfade of what changed.
    /// The number of the edit, which [`Status::edit`] shows once it is taken.
    ///
    /// *Realtime-safe: no*. Takes as long as the graph is large.
    pub fn commit(&mut self, graph: &Graph) -> Result<u64, CommitError> {
        self.collect();
        if self.edits.under_way() == EDITS {
            return Err(CommitError::Busy);
        }
        let mut next = self.plan(graph)?;
        let old = std::mem::take(&mut self.topology);
        let mut new = std::mem::take(&mut next.topology);
        let old_lines = self.assign_lines(&mut new, &mut next.edit);
        next.edit.retire_lines = old_lines;
        next.edit.transitions = if self.number == 0 { Vec::new() } else { self.transitions(&old, &new) };
        next.edit.schedule = compile(&new);
        next.edit.tell = old.silenced(&new).into_iter().map(|slot| (slot, Body::all_notes_off())).collect();
        let shed = |shed| graph.nodes().any(|(_, entry)| entry.behaviour.shed == shed);
        (next.edit.meters, next.edit.oversampling) = (shed(Shed::Meter), shed(Shed::Oversampling));
        self.size(&mut next.edit);
        self.number += 1;
        next.edit.number = self.number;
        self.latency = next.edit.schedule.latency;
        self.topology = new;
        self.slots = next.slots;
        for key in next.named {
            let name = graph.node(key).map_or_else(String::new, |entry| entry.name.clone());
            self.names.insert(key.to_u64(), name);
        }
        if self.names.len() > 2 * self.slots.len() + NAMES_KEPT {
            let slots = &self.slots;
            self.names.retain(|node, _| slots.contains_key(&NodeKey::from_u64(*node)));
        }
        // There was room, and we are the only ones to lend.
        self.edits.lend(next.edit).map_err(|_| CommitError::Busy)?;
        Ok(self.number)
    }

    /// Sets a parameter in the graph and, at once, where it plays.
    pub fn set_parameter(
        &mut self,
        graph: &mut Graph,
        key: NodeKey,
        id: u32,
        value: f32,
    ) -> Result<(), CommitError> {
        let value = graph.set_value(key, id, value)?;
        self.command(key, Body::parameter(id, value))
    }

    /// Bypasses a node, or no longer, in the graph and where it plays.
    pub fn set_bypassed(
        &mut self,
        graph: &mut Graph,
        key: NodeKey,
        bypassed: bool,
    ) -> Result<(), CommitError> {
        graph.set_bypassed(key, bypassed)?;
        self.command(key, Body::Bypass(bypassed))
    }

    fn command(&mut self, key: NodeKey, body: Body) -> Result<(), CommitError> {
        self.collect();
        let Some(address) = self.address(key) else { return Ok(()) };
        let is_older = |(to, other): &(Address, Body)| {
            *to == address
                && match (other, &body) {
                    (Body::Parameter { id, .. }, Body::Parameter { id: same, .. }) => id == same,
                    (other, body) => std::mem::discriminant(other) == std::mem::discriminant(body),
                }
        };
        self.unsent.retain(|unsent| !is_older(unsent));
        self.unsent.push((address, body));
        if self.send() { Ok(()) } else { Err(CommitError::Busy) }
    }

    /// Lends what is yet to be sent. False where there is no room: then it is kept for the next time.
    fn send(&mut self) -> bool {
        if self.unsent.is_empty() {
            return true;
        }
        let since = |(to, _): &(Address, Body)| {
            self.slots.get(&NodeKey::from_u64(to.key)).map_or(0, |playing| playing.since)
        };
        let edit = self.unsent.iter().map(since).max().unwrap_or(0);
        let commands = Commands { edit, list: std::mem::take(&mut self.unsent) };
        match self.commands.lend(Box::new(commands)) {
            Ok(()) => true,
            Err(commands) => {
                self.unsent = commands.list;
                false
            }
        }
    }

    /// Where the audio thread finds a node that plays, for events of the host's.
    #[must_use]
    pub fn address(&self, key: NodeKey) -> Option<Address> {
        self.slots.get(&key).map(|playing| Address { slot: playing.slot, key: key.to_u64() })
    }

    /// Edits that the audio thread has yet to take, or to send home when their crossfade is over.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.edits.under_way()
    }

    /// From input to output in frames, once the last commit plays.
    #[must_use]
    pub fn latency_frames(&self) -> u32 {
        self.latency
    }

    /// Frees what came home, and sends what found no room. Done by every commit; call it now and then where there is
    /// none.
    pub fn collect(&mut self) {
        while let Some(edit) = self.edits.returned() {
            edit.retire.iter().for_each(|slot| self.free_slots.give_back(*slot));
            edit.retire_lines.iter().for_each(|line| self.free_lines.give_back(*line));
        }
        while let Some(commands) = self.commands.returned() {
            drop(commands);
        }
        self.send();
    }

    /// What the callbacks did.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.read()
    }

    /// The name of a node that an entry of the rt log speaks of, also where it is gone already.
    #[must_use]
    pub fn name(&self, node: u64) -> Option<&str> {
        self.names.get(&node).map(String::as_str)
    }

    /// An entry of the rt log in words; `None` where it is not of the graph.
    #[must_use]
    pub fn explain(&self, entry: &log::Entry) -> Option<String> {
        crate::words::explain(entry, |node| self.name(node).unwrap_or("a node that is gone").to_owned())
    }

    /// What the graph is to be, with slots and processors for what is new in it.
    fn plan(&mut self, graph: &Graph) -> Result<Plan, CommitError> {
        let mut edit = Box::<Edit>::default();
        let mut slots = BTreeMap::new();
        let mut kinds = BTreeMap::new();
        let mut named = Vec::new();
        for (key, entry) in graph.nodes() {
            let known = self.slots.get(&key).filter(|playing| playing.revision == entry.revision);
            let terminal = key == graph.input() || key == graph.output();
            let (playing, kind) = match known
                .and_then(|playing| Some((*playing, self.topology.unit(playing.slot)?.kind)))
            {
                Some(known) => known,
                None => {
                    let slot = self.free_slots.take();
                    let new = Slot::new(entry, key.to_u64(), &self.activation, self.fade_frames, terminal);
                    let kind = match &new.player {
                        _ if key == graph.input() => Kind::Input,
                        _ if key == graph.output() => Kind::Output,
                        Player::Nobody | Player::Plain => Kind::Gain,
                        Player::Filter(_) => Kind::Biquad,
                        Player::Processor(_) => Kind::Processor,
                    };
                    edit.install.push((slot, new));
                    named.push(key);
                    (Playing { slot, revision: entry.revision, since: self.number + 1 }, kind)
                }
            };
            slots.insert(key, playing);
            kinds.insert(key, (playing.slot, kind));
        }
        let place = |key| kinds.get(&key).copied();
        let topology = match Topology::of(graph, &self.activation, &self.topology, place) {
            Ok(topology) => topology,
            Err(keys) => {
                edit.install.iter().for_each(|(slot, _)| self.free_slots.give_back(*slot));
                let names = keys.iter().filter_map(|key| graph.node(*key)).map(|entry| entry.name.clone());
                return Err(GraphError::Cycle(names.collect()).into());
            }
        };
        let kept: BTreeSet<u32> = slots.values().map(|playing| playing.slot).collect();
        edit.retire =
            self.slots.values().map(|playing| playing.slot).filter(|slot| !kept.contains(slot)).collect();
        edit.retired.reserve_exact(edit.retire.len());
        Ok(Plan { topology, slots, named, edit })
    }

    /// A delay line for each port with delayed links, long enough for all of them. The lines that are left.
    fn assign_lines(&mut self, topology: &mut Topology, edit: &mut Edit) -> Vec<u32> {
        let mut needed: BTreeMap<(u32, u16), u32> = BTreeMap::new();
        for link in topology.links.iter().filter(|link| link.delay > 0 && link.flow != Flow::Events) {
            let frames = needed.entry(link.from).or_default();
            *frames = link.delay.max(*frames);
        }
        let mut retired = Vec::new();
        self.lines.retain(|port, line| {
            let stays = needed.get(port).is_some_and(|frames| *frames <= line.frames);
            if !stays {
                retired.push(line.index);
            }
            stays
        });
        for (port, frames) in needed {
            if self.lines.contains_key(&port) {
                continue;
            }
            let outputs = topology.unit(port.0).map(|unit| &unit.layout.outputs);
            let channels = outputs.and_then(|outputs| outputs.get(usize::from(port.1))).copied().unwrap_or(0);
            // Some room, so that a little more delay needs no other line.
            let frames = frames.next_power_of_two().max(256);
            let line: Line = (0..channels).map(|_| Ring::new(frames as usize + GRID)).collect();
            let index = self.free_lines.take();
            edit.install_lines.push((index, line));
            self.lines.insert(port, PortLine { index, frames });
        }
        for link in topology.links.iter_mut().filter(|link| link.delay > 0 && link.flow != Flow::Events) {
            link.line = self.lines.get(&link.from).map(|line| line.index);
        }
        edit.retired_lines.reserve_exact(retired.len());
        retired
    }

    /// What plays in between.
    fn transitions(&self, old: &Topology, new: &Topology) -> Vec<Stage> {
        let fades = |topology: &Topology| topology.links.iter().any(|link| link.fade != Fade::Steady);
        let stage = |topology: &Topology, warm_up_frames| Stage {
            schedule: compile(topology),
            warm_up_frames,
            fade_frames: self.fade_frames,
        };
        let warm_up = to_grid(new.warm_up(old));
        match Topology::union(old, new) {
            // Nothing would be heard of it.
            Some(union) if !fades(&union) && union.feeds.is_empty() => Vec::new(),
            Some(union) => vec![stage(&union, warm_up)],
            None => {
                let (parting, filling) = old.parting(new);
                vec![stage(&parting, to_grid(filling)), stage(&new.entering(old), warm_up)]
            }
        }
    }

    /// Larger tables, where this edit or one on its way needs them.
    fn size(&mut self, edit: &mut Edit) {
        let mut needed = Sizes {
            slots: self.free_slots.len(),
            lines: self.free_lines.len(),
            pool: SILENCE as usize + 1,
            spare: 1,
            filters: 0,
        };
        let schedules = edit.transitions.iter().map(|stage| &stage.schedule).chain([&edit.schedule]);
        for Schedule { pool, widest, filters, .. } in schedules {
            needed.pool = needed.pool.max(*pool as usize);
            needed.spare = needed.spare.max(*widest as usize);
            needed.filters = needed.filters.max(*filters as usize);
        }
        let grown = self.sizes.grown(needed);
        if grown != self.sizes {
            edit.tables = Some(Tables::new(grown));
            self.sizes = grown;
        }
    }
}

/// See [`Controller::plan`].
struct Plan {
    topology: Topology,
    slots: BTreeMap<NodeKey, Playing>,
    /// Nodes whose names are to be kept.
    named: Vec<NodeKey>,
    edit: Box<Edit>,
}
