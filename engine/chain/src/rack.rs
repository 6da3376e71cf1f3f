//! What plays a chain: [`RackControl`] takes edits off the audio thread, [`RackAudio`] runs wherever there is a callback's
//! token, in a plug-in or in a node's worker.
//!
//! Both halves are those of a graph ([`audiocloud_graph`]) that is kept as the document says: effects that stay keep their
//! state through every edit, connections that come and go are crossfaded, branches are aligned to the sample, and the
//! latency is what the document promises.

mod audio;
mod report;
mod wiring;

use std::collections::{BTreeMap, BTreeSet};

use audiocloud_effects::effect::{self, Kind, Tail};
use audiocloud_graph::controller::{CommitError, Config, Controller, play};
use audiocloud_graph::graph::{EdgeKey, Flow, Graph, GraphError, NodeKey};
use audiocloud_graph::node::{Activation, Node};
use audiocloud_rt::hand_off::{Lender, loan};
use audiocloud_rt::{callback, log, snapshot};
use audiocloud_units::SampleRate;

use crate::document::{CLAP, Chain, Item, LATENCY_FRAMES_MAX, Slot};
use crate::edit::Edit;
use crate::error::ChainError;
use crate::foreign::Foreign;
use crate::mix::{Fold, Mix, PARALLEL, Pass, gain};
use crate::node::EffectNode;
use audio::{Known, Table};
use report::Tally;
use wiring::{Wiring, latency};

pub use audio::{RackAudio, RackCall};
pub use report::{EffectReport, LoadReport, RackReport};

/// Tables that may be on their way to the audio half at once.
const TABLES: usize = 8;
/// What the audio half may have to tell between two calls of [`RackControl::collect`].
const LOG: usize = 512;
/// The graph times so many groups of nodes one by one; each effect is one, and those beyond share the last.
const GROUP_SHARED: u16 = 15;

/// What a rack is made for; another rate or width means another rack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RackSetup {
    /// Frames per second.
    pub sample_rate: SampleRate,
    /// Channels of the main input, 1 or 2.
    pub inputs: u16,
    /// Channels of the input that effects may listen to, 0 to 2.
    pub side_chain: u16,
    /// Channels of the output, and of every effect: 1 or 2. A mono input feeds both; of a stereo one a mono output has the
    /// mean.
    pub outputs: u16,
}

impl RackSetup {
    /// What the effects are made for.
    #[must_use]
    pub const fn activation(&self) -> effect::Activation {
        effect::Activation { sample_rate: self.sample_rate, channels: self.outputs }
    }

    fn check(&self) -> Result<(), ChainError> {
        let Self { inputs, outputs, side_chain, .. } = *self;
        let fits = (1..=2).contains(&inputs) && (1..=2).contains(&outputs) && side_chain <= 2;
        if fits { Ok(()) } else { Err(ChainError::Widths { inputs, outputs, side_chain }) }
    }
}

/// Where an item's sound comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Own(&'static Kind),
    Foreign,
    /// It cannot be had here.
    Missing,
    Mix,
}

/// An item that plays.
#[derive(Debug)]
struct Placed {
    key: NodeKey,
    kind: String,
    source: Source,
    latency_frames: u32,
    side_chain: bool,
    event_input: bool,
    event_output: bool,
    /// Why it does not do what the document says.
    words: Option<String>,
    group: u16,
    tally: Tally,
}

/// An item that is yet to be placed.
struct Fresh {
    node: Box<dyn Node>,
    kind: String,
    source: Source,
    latency_frames: u32,
    words: Option<String>,
}

/// The control half. Off the audio thread.
#[derive(Debug)]
pub struct RackControl {
    setup: RackSetup,
    chain: Chain,
    graph: Graph,
    controller: Controller,
    foreign: Box<dyn Foreign>,
    fold: Option<NodeKey>,
    placed: BTreeMap<u32, Placed>,
    edges: BTreeMap<wiring::Wire, EdgeKey>,
    groups: BTreeSet<u16>,
    tables: Lender<Table>,
    /// What the audio half does not know yet, for there was no room.
    is_commit_due: bool,
    is_table_due: bool,
    log: log::Consumer,
    words: Vec<String>,
    strays: snapshot::Reader<u64>,
}

/// Both halves of a rack, at position 0. *Realtime-safe: no*.
///
/// # Errors
/// In words: a document that cannot be played, or channels that effects do not have. A kind that cannot be had here is
/// no error: it passes its input, and the report says so.
pub fn rack(
    chain: &Chain,
    setup: &RackSetup,
    foreign: Box<dyn Foreign>,
) -> Result<(RackControl, RackAudio), ChainError> {
    setup.check()?;
    let buses = [setup.inputs, setup.side_chain];
    let buses = if setup.side_chain > 0 { &buses[..] } else { &buses[..1] };
    let mut graph = Graph::new(buses, &[setup.outputs])?;
    let fold = if setup.inputs > setup.outputs { Some(graph.add("Mono", Fold)?) } else { None };
    let (log_producer, log) = log::log_ring(LOG);
    let (controller, mut renderer) = match play(&graph, Config::new(setup.sample_rate), Some(log_producer)) {
        Ok(playing) => playing,
        Err(CommitError::Graph(error)) => return Err(error.into()),
        // Nothing is under way of what has only just begun.
        Err(CommitError::Busy) => return Err(GraphError::Gone.into()),
    };
    let (tables, borrower) = loan(TABLES);
    let (writer, strays) = snapshot::snapshot(0);
    let mut control = RackControl {
        setup: *setup,
        chain: Chain::default(),
        graph,
        controller,
        foreign,
        fold,
        placed: BTreeMap::new(),
        edges: BTreeMap::new(),
        groups: (1..GROUP_SHARED).collect(),
        tables,
        is_commit_due: true,
        is_table_due: true,
        log,
        words: Vec::new(),
        strays,
    };
    control.become_as(chain, true)?;
    // So that the first block is heard as it is, and not faded in.
    callback::enter(|callback| renderer.catch_up(callback));
    let audio = RackAudio::new(renderer, borrower, control.table(), writer);
    control.collect();
    Ok((control, audio))
}

impl RackControl {
    /// Changes the document and what plays, values included: they are on their way from the next block on.
    ///
    /// # Errors
    /// In words; all is as it was.
    pub fn apply(&mut self, edit: &Edit) -> Result<Option<u32>, ChainError> {
        match edit {
            // A hand on a knob: what plays stays as it is, and hears of it also where the document knew it already.
            Edit::Set { effect, parameter, .. } => {
                self.chain.apply(edit)?;
                let value = self.chain.value(*effect, *parameter);
                if let (Some(placed), Some(value)) = (self.placed.get(effect), value) {
                    let value = if matches!(placed.source, Source::Mix) { gain(value) } else { value };
                    let Self { controller, graph, .. } = self;
                    // Without room it is kept for the next time; what a node does not have is nobody's loss.
                    drop(controller.set_parameter(graph, placed.key, *parameter, value));
                }
                Ok(None)
            }
            Edit::Bypass(id, on) => {
                self.chain.apply(edit)?;
                if let Some(placed) = self.placed.get(id) {
                    drop(self.controller.set_bypassed(&mut self.graph, placed.key, *on));
                }
                Ok(None)
            }
            _ => {
                let mut next = self.chain.clone();
                let added = next.apply(edit)?;
                self.become_as(&next, true)?;
                Ok(added)
            }
        }
    }

    /// Has the rack be as in this document, by crossfades of what changed. Effects that stay (same id, same kind) keep their
    /// state, and also the values, levels and bypass that are in force, for those travel as events, by the frame; what is
    /// new has the document's, and so has a parallel with more or fewer branches than before.
    ///
    /// # Errors
    /// In words; all is as it was.
    pub fn set_chain(&mut self, chain: &Chain) -> Result<(), ChainError> {
        self.become_as(chain, false)
    }

    /// Makes a foreign effect anew, by a crossfade: one that crashed, or that has been installed since.
    ///
    /// # Errors
    /// There is no such effect, or it has become too late.
    pub fn reload(&mut self, id: u32) -> Result<(), ChainError> {
        let slot = self.chain.slot(id).ok_or(ChainError::NoItem { id })?;
        let fresh = make(&mut *self.foreign, &Item::Effect(slot.clone()), &self.setup);
        let chain = self.chain.clone();
        self.place(&chain, BTreeMap::from([(id, fresh)]), false)
    }

    /// The document.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What the rack was made for.
    #[must_use]
    pub fn setup(&self) -> &RackSetup {
        &self.setup
    }

    /// From input to output in frames, once the last edit plays: what the document promises, or what its effects need.
    #[must_use]
    pub fn latency_frames(&self) -> u32 {
        self.controller.latency_frames()
    }

    /// How long it sounds on, with the document's values.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.chain.tail(&self.setup.activation())
    }

    /// Whether the audio half has yet to take something: an edit, or the crossfade to one.
    #[must_use]
    pub fn is_settling(&self) -> bool {
        let status = self.controller.status();
        self.is_commit_due || self.is_table_due || status.in_transition || self.controller.under_way() > 0
    }

    /// Frees what came home, sends what found no room, and reads what the audio half told. To be called a few times a
    /// second.
    pub fn collect(&mut self) {
        self.controller.collect();
        while let Some(table) = self.tables.returned() {
            drop(table);
        }
        if self.is_commit_due {
            // A graph that cannot play was refused when the edit was made.
            self.is_commit_due = self.controller.commit(&self.graph) == Err(CommitError::Busy);
            self.is_table_due = true;
        }
        if self.is_table_due && !self.is_commit_due {
            self.is_table_due = self.tables.lend(Box::new(self.table())).is_err();
        }
        self.read_log();
    }

    /// Makes nodes for what is new in the document, and plays it.
    fn become_as(&mut self, chain: &Chain, with_values: bool) -> Result<(), ChainError> {
        chain.check()?;
        let mut fresh = BTreeMap::new();
        let mut items = Vec::new();
        chain.each(&mut |item| items.push(item));
        for item in &items {
            if !self.stays(item) {
                fresh.insert(item.id(), make(&mut *self.foreign, item, &self.setup));
            }
        }
        if let Err(refused) = self.fits(chain, &fresh) {
            self.give_up(&fresh);
            return Err(refused);
        }
        // Nothing else is refused now, but for what a new state makes of a foreign effect.
        for item in items {
            if let Item::Effect(slot) = item
                && self.has_another_state(slot)
                && !self.foreign.set_state(slot)
            {
                fresh.insert(slot.id, make(&mut *self.foreign, item, &self.setup));
            }
        }
        self.place(chain, fresh, with_values)
    }

    /// Whether what plays can go on for this item.
    fn stays(&self, item: &Item) -> bool {
        self.placed.get(&item.id()).is_some_and(|placed| match item {
            Item::Parallel(_) => matches!(placed.source, Source::Mix),
            Item::Effect(slot) => !matches!(placed.source, Source::Mix) && slot.kind == placed.kind,
        })
    }

    /// Whether a foreign effect that stays is to have another state.
    fn has_another_state(&self, slot: &Slot) -> bool {
        let is_foreign =
            |placed: &Placed| matches!(placed.source, Source::Foreign) && placed.kind == slot.kind;
        let before = self.chain.slot(slot.id).and_then(|before| before.state.as_ref());
        self.placed.get(&slot.id).is_some_and(is_foreign) && before != slot.state.as_ref()
    }

    /// Whether the effects, some of them new, are no later than was promised.
    fn fits(&self, chain: &Chain, fresh: &BTreeMap<u32, Fresh>) -> Result<(), ChainError> {
        let frames = |id: u32| match (fresh.get(&id), self.placed.get(&id)) {
            (Some(fresh), _) => fresh.latency_frames,
            (None, Some(placed)) => placed.latency_frames,
            (None, None) => 0,
        };
        let needed_frames = latency(&chain.items, &frames);
        let frames = chain.latency_frames.unwrap_or(LATENCY_FRAMES_MAX);
        if needed_frames > frames { Err(ChainError::Latency { needed_frames, frames }) } else { Ok(()) }
    }

    /// Those that were made for nothing.
    fn give_up(&mut self, fresh: &BTreeMap<u32, Fresh>) {
        for (id, _) in fresh.iter().filter(|(_, fresh)| matches!(fresh.source, Source::Foreign)) {
            if self.placed.contains_key(id) {
                self.foreign.refused(*id);
            } else {
                self.foreign.left(*id);
            }
        }
    }

    /// Has the graph be as in the document. Until all that can be refused was, nothing is changed.
    fn place(
        &mut self,
        chain: &Chain,
        fresh: BTreeMap<u32, Fresh>,
        with_values: bool,
    ) -> Result<(), ChainError> {
        if let Err(refused) = self.fits(chain, &fresh) {
            self.give_up(&fresh);
            return Err(refused);
        }
        let promised = chain.latency_frames.unwrap_or(0);
        let mut changed = self.graph.latency_frames_min() != promised;
        self.graph.set_latency_frames_min(promised);
        let gone: Vec<u32> = {
            let goes = |id: &&u32| chain.item(**id).is_none() || fresh.contains_key(id);
            self.placed.keys().filter(goes).copied().collect()
        };
        for id in gone {
            changed = true;
            self.remove(id, chain.item(id).is_none())?;
        }
        self.send_values(chain, with_values);
        for (id, fresh) in fresh {
            changed = true;
            if let Some(item) = chain.item(id) {
                self.add(item, fresh)?;
            }
        }
        changed |= self.connect(chain)?;
        self.chain = chain.clone();
        self.is_commit_due |= changed;
        self.collect();
        Ok(())
    }

    fn add(&mut self, item: &Item, fresh: Fresh) -> Result<(), ChainError> {
        let Fresh { node, kind, source, latency_frames, words } = fresh;
        let layout = node.layout();
        let key = self.graph.add_boxed(item.title(), node)?;
        match item {
            Item::Effect(slot) => {
                for (id, value) in values(slot) {
                    // A foreign plug-in may have lost a parameter since.
                    self.graph.set_value(key, id, value).ok();
                }
                if slot.bypassed {
                    self.graph.set_bypassed(key, true).ok();
                }
            }
            Item::Parallel(parallel) => {
                for (id, branch) in (0..).zip(&parallel.branches) {
                    self.graph.set_value(key, id, gain(branch.level_db))?;
                }
            }
        }
        let group = self.groups.pop_first().unwrap_or(GROUP_SHARED);
        self.graph.set_group(key, group)?;
        let width = layout.inputs.get(1).copied();
        let side_chain = !matches!(source, Source::Mix)
            && self.setup.side_chain > 0
            && width.is_some_and(|width| width == self.setup.side_chain || self.setup.side_chain == 1);
        let (event_input, event_output) = (layout.event_input, layout.event_output);
        let tally = Tally::default();
        self.placed.insert(
            item.id(),
            Placed {
                key,
                kind,
                source,
                latency_frames,
                side_chain,
                event_input,
                event_output,
                words,
                group,
                tally,
            },
        );
        Ok(())
    }

    fn remove(&mut self, id: u32, for_good: bool) -> Result<(), ChainError> {
        let Some(placed) = self.placed.remove(&id) else { return Ok(()) };
        self.edges.retain(|(from, to, _), _| from.node != placed.key && to.node != placed.key);
        self.graph.remove(placed.key)?;
        if placed.group < GROUP_SHARED {
            self.groups.insert(placed.group);
        }
        if for_good && matches!(placed.source, Source::Foreign) {
            self.foreign.left(id);
        }
        Ok(())
    }

    /// What changed in the values of what stays, where that is wanted; and in any case the levels of a parallel that has
    /// more or fewer branches: those that are in force belong to the branches that it had.
    fn send_values(&mut self, chain: &Chain, with_values: bool) {
        let Self { placed, graph, controller, chain: before, .. } = self;
        for (id, placed) in placed {
            // Without room they are kept for the next time; what a node does not have is nobody's loss.
            let mut set =
                |parameter, value| drop(controller.set_parameter(graph, placed.key, parameter, value));
            match (before.item(*id), chain.item(*id)) {
                (Some(Item::Effect(old)), Some(Item::Effect(new))) if with_values => {
                    let old_values: BTreeMap<u32, f32> = values(old).into_iter().collect();
                    for (parameter, value) in values(new) {
                        if old_values.get(&parameter) != Some(&value) {
                            set(parameter, value);
                        }
                    }
                    if old.bypassed != new.bypassed {
                        drop(controller.set_bypassed(graph, placed.key, new.bypassed));
                    }
                }
                (Some(Item::Parallel(old)), Some(Item::Parallel(new))) => {
                    let (old, new) = (&old.branches, &new.branches);
                    for (place, branch) in (0..).zip(new) {
                        let same = usize::try_from(place).ok().and_then(|place| old.get(place));
                        let same = same.is_some_and(|same| same.level_db == branch.level_db);
                        if old.len() != new.len() || with_values && !same {
                            set(place, gain(branch.level_db));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Connects what is to be, and nothing else. Whether anything changed.
    fn connect(&mut self, chain: &Chain) -> Result<bool, ChainError> {
        let wiring = Wiring {
            placed: &self.placed,
            input: self.graph.input(),
            output: self.graph.output(),
            fold: self.fold,
        };
        let wires = wiring.wires(chain);
        let gone: Vec<_> = self.edges.keys().filter(|wire| !wires.contains(wire)).copied().collect();
        let mut changed = !gone.is_empty();
        for wire in gone {
            if let Some(edge) = self.edges.remove(&wire) {
                self.graph.disconnect(edge)?;
            }
        }
        for wire in wires {
            if !self.edges.contains_key(&wire) {
                let (from, to, is_event) = wire;
                let flow = if is_event { Flow::Events } else { Flow::Audio };
                self.edges.insert(wire, self.graph.connect(from, to, flow)?);
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Where the audio half finds whom events are for.
    fn table(&self) -> Table {
        let known = |(id, placed): (&u32, &Placed)| {
            let address = self.controller.address(placed.key)?;
            Some(Known { id: *id, address, is_mix: matches!(placed.source, Source::Mix) })
        };
        Table::new(self.placed.iter().filter_map(known).collect())
    }
}

/// Every value of an effect: of ours all there are, of others what the document has.
fn values(slot: &Slot) -> Vec<(u32, f32)> {
    match slot.effect_kind() {
        Some(kind) => kind.parameters.iter().map(|parameter| (parameter.id, slot.value(parameter))).collect(),
        None => slot.values.iter().map(|(id, value)| (*id, *value)).collect(),
    }
}

/// A node for an item; one that passes its input where there is no better one.
fn make(foreign: &mut dyn Foreign, item: &Item, setup: &RackSetup) -> Fresh {
    let activation = Activation { sample_rate: setup.sample_rate };
    let channels = setup.outputs;
    let fresh = |node: Box<dyn Node>, kind: &str, source, words| {
        let latency_frames = node.latency_frames(&activation);
        Fresh { node, kind: kind.to_owned(), source, latency_frames, words }
    };
    let slot = match item {
        Item::Parallel(_) => return fresh(Box::new(Mix { channels }), PARALLEL, Source::Mix, None),
        Item::Effect(slot) => slot,
    };
    if let Some(kind) = slot.effect_kind() {
        let node = EffectNode::new(kind, channels, setup.side_chain);
        return fresh(Box::new(node), &slot.kind, Source::Own(kind), None);
    }
    let made = if slot.kind.starts_with(CLAP) {
        foreign.node(slot, setup).and_then(|node| suits(node, channels, &activation))
    } else {
        Err(format!("“{}” is no effect of this version: it passes what comes in", slot.title()))
    };
    match made {
        Ok(node) => fresh(node, &slot.kind, Source::Foreign, None),
        Err(words) => fresh(Box::new(Pass { channels }), &slot.kind, Source::Missing, Some(words)),
    }
}

/// Whether a stranger's node can be an insert.
fn suits(node: Box<dyn Node>, channels: u16, activation: &Activation) -> Result<Box<dyn Node>, String> {
    let layout = node.layout();
    if layout.inputs.first() != Some(&channels) || layout.outputs.first() != Some(&channels) {
        return Err(format!("it has no input and output of {channels} channels: it passes what comes in"));
    }
    if !node.behaviour().in_place {
        return Err("it does not work in place, so that it could not be bypassed".to_owned());
    }
    let frames = node.latency_frames(activation);
    if frames > LATENCY_FRAMES_MAX {
        return Err(format!("it is late by {frames} frames, which is more than makes sense"));
    }
    Ok(node)
}
