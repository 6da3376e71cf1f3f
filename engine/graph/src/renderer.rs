//! The graph in the callback: plays a schedule, and exchanges it for another while it plays.
//!
//! A host's block is cut at the grid points, every [`GRID`] frames of the position since reset, and then where events
//! happen. Edits, designs of filters and all else that happens less often than every sample happen at grid points, so
//! that what is heard does not depend on the host's block size.

mod events;
mod run;

use audiocloud_dsp::fade::{self, Curve};
use audiocloud_rt::callback::Callback;
use audiocloud_rt::hand_off::Borrower;
use audiocloud_rt::{host_time, log, snapshot};
use audiocloud_units::SampleRate;

use crate::deadlines::Deadlines;
use crate::edit::{Edit, Tables};
use crate::event::{Body, EventList, Transport};
use crate::inbox::{Inbox, Pending};
use crate::load::Report;
use crate::load::monitor::{Candidates, Decision, Measure, NodeCost};
use crate::node::{GRID, Moment, Shed};
use crate::schedule::Schedule;
use crate::slot::Player;

/// Events that may wait for their time.
const PENDING_MAX: usize = 4096;
/// Under overload an edit waits for so long at most: it may be what ends the overload.
const EDIT_WAIT_MAX_NS: u64 = 1_000_000_000;

/// A node on the audio thread; see [`crate::controller::Controller::address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub(crate) slot: u32,
    pub(crate) key: u64,
}

/// Whom an event of the host's is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The graph's event input.
    Input,
    /// One node.
    Node(Address),
}

/// Something that happens in the host's block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostEvent {
    /// Frames from the block's first one.
    pub offset: u32,
    /// To whom.
    pub target: Target,
    /// What.
    pub body: Body,
}

/// What the control thread wants done at once, or as soon as the edit is taken that brings whom it is for.
#[derive(Debug)]
pub(crate) struct Commands {
    pub(crate) edit: u64,
    pub(crate) list: Vec<(Address, Body)>,
}

/// One call of the host's.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The guard's token.
    pub callback: &'a Callback<'a>,
    /// Where the host's song is at the first frame, where it says so.
    pub transport: Option<Transport>,
    /// Whether it renders without listening: nothing is ever shed then.
    pub offline: bool,
    /// What happens, in any order.
    pub events: &'a [HostEvent],
}

/// The host's buffers and event output. A block is read before the same frames are written: a host may give one
/// memory for both.
pub trait Ports {
    /// Fills `samples` with the frames from `from` on of a channel of an input bus; with silence where there is none.
    fn read(&mut self, bus: usize, channel: usize, from: usize, samples: &mut [f32]);
    /// Takes the frames from `from` on of a channel of an output bus.
    fn write(&mut self, bus: usize, channel: usize, from: usize, samples: &[f32]);
    /// Takes an event that came to the graph's event output.
    fn event(&mut self, _offset: usize, _body: &Body) {}
}

/// What the graph has done, updated at every callback.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Status {
    /// Frames since reset.
    pub position: u64,
    /// From input to output, in frames.
    pub latency_frames: u32,
    /// The whole graph's time against the callback's period; a few times a second.
    pub load: Report,
    /// The number of the last edit that was taken.
    pub edit: u64,
    /// What taking it cost the callback, in ns.
    pub edit_cost_ns: u64,
    /// An edit waits for overload to pass.
    pub edit_waits: bool,
    /// An edit is being crossfaded.
    pub in_transition: bool,
    /// Blocks in which something that is not a number was replaced by silence.
    pub not_finite: u64,
    /// Events that found no room.
    pub events_refused: u64,
    /// What is given up for want of time.
    pub meters_off: bool,
    /// As above.
    pub oversampling_off: bool,
    /// How many nodes are bypassed for want of time.
    pub nodes_bypassed: u32,
    /// Overloaded, with nothing left to give up.
    pub is_helpless: bool,
}

/// The audio half of a graph. Owned by the audio thread.
#[derive(Debug)]
pub struct Renderer {
    schedule: Schedule,
    tables: Tables,
    edits: Borrower<Edit>,
    commands: Borrower<Commands>,
    /// Commands that wait for their edit.
    held: Option<Box<Commands>>,
    edit: Option<Box<Edit>>,
    /// Which transition of it plays, and for how long already.
    stage: usize,
    stage_frames: u32,
    edit_waited_ns: u64,
    /// What the host told, until it happens: only then is it known whom it reaches and when, for an edit may be taken
    /// before.
    arriving: Inbox<Target>,
    inbox: Inbox<u32>,
    position: u64,
    sample_rate: SampleRate,
    transport: Transport,
    transport_at: u64,
    /// The crossfade's gains in this block.
    fade_in: [f32; GRID],
    fade_out: [f32; GRID],
    /// Where events go that nobody takes.
    nowhere: EventList,
    deadlines: Deadlines,
    /// While above 0, nodes without state are checked one by one too, for one of them made something that is not a
    /// number.
    naming: u32,
    meters: bool,
    oversampling: bool,
    output_slot: u32,
    status: Status,
    writer: snapshot::Writer<Status>,
    log: Option<log::Producer>,
}

impl Renderer {
    /// Plays nothing until the first edit comes. *Realtime-safe: no* (allocates); nor is dropping it.
    pub(crate) fn new(
        sample_rate: SampleRate,
        output_slot: u32,
        edits: Borrower<Edit>,
        commands: Borrower<Commands>,
        writer: snapshot::Writer<Status>,
        log: Option<log::Producer>,
    ) -> Self {
        Self {
            schedule: Schedule::default(),
            tables: Tables::default(),
            edits,
            commands,
            held: None,
            edit: None,
            stage: 0,
            stage_frames: 0,
            edit_waited_ns: 0,
            arriving: Inbox::with_capacity(PENDING_MAX),
            inbox: Inbox::with_capacity(PENDING_MAX),
            position: 0,
            sample_rate,
            transport: Transport::default(),
            transport_at: 0,
            fade_in: [1.0; GRID],
            fade_out: [0.0; GRID],
            nowhere: EventList::default(),
            deadlines: Deadlines::default(),
            naming: 0,
            meters: false,
            oversampling: false,
            output_slot,
            status: Status::default(),
            writer,
            log,
        }
    }

    /// Plays one block of the host's, of any length.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn process(&mut self, call: &Call<'_>, frames: usize, ports: &mut dyn Ports) {
        if let Some(transport) = call.transport {
            (self.transport, self.transport_at) = (transport, self.position);
        }
        self.deadlines.begin(self.schedule.group);
        if call.offline {
            let decision = self.deadlines.offline();
            self.decide(call.callback, decision);
        }
        // An edit comes first: commands and events may be for what it brings.
        if frames > 0 && self.position.is_multiple_of(GRID as u64) {
            self.at_grid(call);
        }
        self.obey(call.callback);
        for event in call.events {
            self.receive(call.callback, event, frames);
        }
        let mut done = 0;
        while done < frames {
            let into_grid = usize::try_from(self.position % GRID as u64).unwrap_or(0);
            if into_grid == 0 && done > 0 {
                self.at_grid(call);
            }
            // Up to the next grid point no edit comes between.
            let last = self.position + (GRID - into_grid) as u64 - 1;
            while let Some(event) = self.arriving.pop_due(last) {
                self.schedule_event(call.callback, &event);
            }
            while let Some(pending) = self.inbox.pop_due(self.position) {
                self.tell(pending.to, &pending.body);
            }
            let mut length = (GRID - into_grid).min(frames - done).min(self.until_rest());
            if let Some(due) = self.inbox.next_due() {
                length = length.min(usize::try_from(due - self.position).unwrap_or(length));
            }
            self.block(call, length, done, ports);
            done += length;
        }
        self.settle(call, frames);
    }

    /// Takes every edit and command that waits, without a crossfade: before a reset, where nobody would hear one.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn catch_up(&mut self, callback: &Callback<'_>) {
        self.finish_edit();
        while self.install_edit(callback) {
            self.finish_edit();
        }
        self.obey(callback);
    }

    /// Begins anew at position 0: nothing that was heard is remembered, every ramp is where it was going, and an edit
    /// that is being crossfaded is done.
    ///
    /// *Realtime-safe: yes*, audio thread; takes as long as the graph is large.
    pub fn reset(&mut self, callback: &Callback<'_>) {
        self.reset_at(callback, 0);
    }

    /// As [`Renderer::reset`], where the next frame has this position: a multiple of [`GRID`], what is above one is cut
    /// off.
    ///
    /// *Realtime-safe: yes*, audio thread; takes as long as the graph is large.
    pub fn reset_at(&mut self, _callback: &Callback<'_>, position: u64) {
        self.finish_edit();
        self.tables.slots.iter_mut().for_each(crate::slot::Slot::reset);
        self.tables.lines.iter_mut().flatten().for_each(audiocloud_dsp::delay::Ring::reset);
        self.tables.moving.clear();
        self.arriving.clear();
        self.inbox.clear();
        self.position = position - position % GRID as u64;
        self.transport_at = self.position;
        self.tell_status();
    }

    /// From input to output in frames, as it is played now.
    ///
    /// *Realtime-safe: yes*, audio thread.
    #[must_use]
    pub fn latency_frames(&self) -> u32 {
        self.schedule.latency
    }

    /// Frames until a gain comes to rest. From then on it is left out of sums where it is 0, and a copy where it is 1:
    /// at the same frame wherever the host's blocks end.
    fn until_rest(&self) -> usize {
        let Tables { moving, slots, .. } = &self.tables;
        let moving = moving.iter().filter_map(|slot| slots.get(*slot as usize));
        let gains = moving.filter(|slot| matches!(slot.player, Player::Plain));
        let ramps = gains.filter_map(|slot| slot.parameters.first()).filter(|ramp| !ramp.is_resting());
        ramps.map(|ramp| ramp.remaining() as usize).min().unwrap_or(GRID)
    }

    /// What happens at grid points alone.
    fn at_grid(&mut self, call: &Call<'_>) {
        self.move_stage();
        if self.edit.is_none() && self.edits.is_waiting() {
            self.take_edit(call);
        }
        let Tables { moving, slots, .. } = &mut self.tables;
        let mut index = 0;
        while let Some(slot) = moving.get(index).and_then(|slot| slots.get_mut(*slot as usize)) {
            if slot.is_filter() {
                slot.design();
            }
            if slot.parameters.iter().all(audiocloud_dsp::ramp::Ramp::is_resting) {
                slot.moving = false;
                moving.swap_remove(index);
            } else {
                index += 1;
            }
        }
        self.naming = self.naming.saturating_sub(1);
    }

    /// The next transition of an edit, or its end.
    fn move_stage(&mut self) {
        let Some(edit) = &mut self.edit else { return };
        let Some(stage) = edit.transitions.get(self.stage) else { return };
        if self.stage_frames < stage.warm_up_frames + stage.fade_frames {
            return;
        }
        self.stage += 1;
        self.stage_frames = 0;
        match edit.transitions.get_mut(self.stage) {
            Some(next) => std::mem::swap(&mut self.schedule, &mut next.schedule),
            None => self.finish_edit(),
        }
    }

    fn take_edit(&mut self, call: &Call<'_>) {
        if !call.offline && self.deadlines.is_overloaded() && self.edit_waited_ns < EDIT_WAIT_MAX_NS {
            if !std::mem::replace(&mut self.status.edit_waits, true) {
                let load = self.deadlines.load_in_65536ths();
                self.note(call.callback, log::What::EditWaits, self.edit_waited_ns / 1_000_000, load);
            }
            return;
        }
        self.install_edit(call.callback);
    }

    /// Begins the crossfade to the edit that waits. False where there is none.
    fn install_edit(&mut self, callback: &Callback<'_>) -> bool {
        let began = host_time::now();
        let Some(mut edit) = self.edits.take() else { return false };
        if let Some(tables) = &mut edit.tables {
            tables.take_over(&mut self.tables);
            std::mem::swap(tables, &mut self.tables);
        }
        for (index, new) in &mut edit.install {
            let place = *index as usize;
            if let (Player::Processor(processor), Shed::Oversampling, false) =
                (&mut new.player, new.shed, self.deadlines.is_oversampling())
            {
                processor.set_oversampling(false);
            }
            if let (Some(slot), Some(cost)) =
                (self.tables.slots.get_mut(place), self.tables.costs.get_mut(place))
            {
                *cost = NodeCost { spent_ns: 0, sheddable: new.shed == Shed::Bypass };
                std::mem::swap(slot, new);
            }
        }
        for (index, line) in &mut edit.install_lines {
            if let Some(place) = self.tables.lines.get_mut(*index as usize) {
                std::mem::swap(place, line);
            }
        }
        for (slot, body) in &edit.tell {
            // Behind all that is on its way to it.
            let due = self.inbox.last_due(*slot);
            let waits = due.map(|due| Pending { due, given: due, to: *slot, body: *body });
            if !waits.is_some_and(|pending| self.inbox.push(pending)) {
                self.tell(*slot, body);
            }
        }
        (self.meters, self.oversampling) = (edit.meters, edit.oversampling);
        self.stage = 0;
        self.stage_frames = 0;
        self.status.edit = edit.number;
        edit.waited_ns = std::mem::take(&mut self.edit_waited_ns);
        if let Some(stage) = edit.transitions.first_mut() {
            std::mem::swap(&mut self.schedule, &mut stage.schedule);
        }
        let is_done = edit.transitions.is_empty();
        self.edit = Some(edit);
        if is_done {
            self.finish_edit();
        }
        self.status.edit_waits = false;
        if self.held.is_some() {
            self.obey(callback);
        }
        let cost = host_time::now() - began;
        self.status.edit_cost_ns = u64::try_from(cost.get()).unwrap_or(0);
        self.note(callback, log::What::EditTaken, self.status.edit, self.status.edit_cost_ns);
        true
    }

    /// What stays plays; what left comes home.
    fn finish_edit(&mut self) {
        let Some(mut edit) = self.edit.take() else { return };
        std::mem::swap(&mut self.schedule, &mut edit.schedule);
        for index in &edit.retire {
            let Some(slot) = self.tables.slots.get_mut(*index as usize) else { continue };
            if slot.moving {
                self.tables.moving.retain(|other| other != index);
            }
            self.deadlines.forget(*index);
            if slot.bypass.as_mut().is_some_and(|bypass| bypass.set_by_load(false)) {
                self.status.nodes_bypassed = self.status.nodes_bypassed.saturating_sub(1);
            }
            if let Some(cost) = self.tables.costs.get_mut(*index as usize) {
                *cost = NodeCost::default();
            }
            // There is room for all that retire.
            edit.retired.push(std::mem::take(slot));
        }
        if !edit.retire.is_empty() {
            // Or it would happen to who comes next in their place.
            let slots = &self.tables.slots;
            let is_there = |slot: &crate::slot::Slot| !matches!(slot.player, Player::Nobody);
            self.inbox.retain(|index| slots.get(index as usize).is_some_and(is_there));
        }
        for index in &edit.retire_lines {
            if let Some(line) = self.tables.lines.get_mut(*index as usize) {
                edit.retired_lines.push(std::mem::take(line));
            }
        }
        self.edits.send_home(edit);
    }

    /// One block of the graph's own.
    fn block(&mut self, call: &Call<'_>, length: usize, done: usize, ports: &mut dyn Ports) {
        if let Some(stage) = self.edit.as_ref().and_then(|edit| edit.transitions.get(self.stage)) {
            let warm = stage.warm_up_frames.saturating_sub(self.stage_frames);
            if warm > 0 {
                // Both are multiples of the grid: no block is half warm.
                self.fade_in.fill(0.0);
                self.fade_out.fill(1.0);
            } else {
                let (frame, frames) = (self.stage_frames - stage.warm_up_frames, stage.fade_frames);
                fade::fill_in(Curve::RaisedCosine, frame, frames, &mut self.fade_in[..length]);
                fade::fill_out(Curve::RaisedCosine, frame, frames, &mut self.fade_out[..length]);
            }
            self.stage_frames += u32::try_from(length).unwrap_or(0);
        }
        let moment = Moment {
            callback: call.callback,
            position: self.position,
            transport: self.transport,
            transport_frames: self.position - self.transport_at,
            sample_rate: self.sample_rate,
            offline: call.offline,
        };
        self.run(&moment, length, done, ports);
        self.deliver_output(call.callback, done, ports);
        let Tables { moving, slots, .. } = &mut self.tables;
        for slot in moving.iter() {
            if let Some(slot) = slots.get_mut(*slot as usize) {
                slot.advance(u32::try_from(length).unwrap_or(0));
            }
        }
        self.position += length as u64;
    }

    /// The callback is over: how long it took, and what follows from it.
    fn settle(&mut self, call: &Call<'_>, frames: usize) {
        let period_ns = frames as u64 * 1_000_000_000 / u64::from(self.sample_rate.hz());
        if self.edits.is_waiting() && self.edit.is_none() {
            self.edit_waited_ns += period_ns;
        }
        let candidates =
            Candidates { meters: self.meters, oversampling: self.oversampling, nodes: &self.tables.costs };
        if !call.offline {
            let decision = self.deadlines.end(period_ns, &candidates);
            self.decide(call.callback, decision);
        }
        if let Some(log) = &mut self.log {
            self.deadlines.write(call.callback, log);
        }
        self.status.load = self.deadlines.report();
        self.tell_status();
    }

    fn tell_status(&mut self) {
        self.status.position = self.position;
        self.status.latency_frames = self.schedule.latency;
        self.status.in_transition = self.edit.is_some();
        self.writer.write(self.status);
    }

    fn decide(&mut self, callback: &Callback<'_>, decision: Decision) {
        match decision {
            Decision::Nothing | Decision::StopProbing => {}
            Decision::ProbeNodes => self.tables.costs.iter_mut().for_each(|cost| cost.spent_ns = 0),
            Decision::Shed(measure) => self.shed(callback, measure, true),
            Decision::Restore(measure) => self.shed(callback, measure, false),
            Decision::RestoreAll => {
                self.shed(callback, Measure::Meters, false);
                self.shed(callback, Measure::Oversampling, false);
                for index in 0..u32::try_from(self.tables.slots.len()).unwrap_or(0) {
                    self.shed(callback, Measure::Node(index), false);
                }
            }
            Decision::Helpless => {}
        }
        self.status.is_helpless = match decision {
            Decision::Helpless => true,
            _ => self.status.is_helpless && self.deadlines.is_overloaded(),
        };
    }

    fn shed(&mut self, callback: &Callback<'_>, measure: Measure, off: bool) {
        let what = if off { log::What::Shed } else { log::What::Restored };
        match measure {
            Measure::Meters => {
                if std::mem::replace(&mut self.status.meters_off, off) != off {
                    self.note(callback, what, 0, 0);
                }
            }
            Measure::Oversampling => {
                if std::mem::replace(&mut self.status.oversampling_off, off) != off {
                    self.deadlines.set_oversampling(!off);
                    for slot in self.tables.slots.iter_mut().filter(|slot| slot.shed == Shed::Oversampling) {
                        if let Player::Processor(processor) = &mut slot.player {
                            processor.set_oversampling(!off);
                        }
                    }
                    self.note(callback, what, 0, 1);
                }
            }
            Measure::Node(index) => {
                let Some(slot) = self.tables.slots.get_mut(index as usize) else { return };
                let key = slot.key;
                if slot.bypass.as_mut().is_some_and(|bypass| bypass.set_by_load(off)) {
                    let count = self.status.nodes_bypassed;
                    self.status.nodes_bypassed = if off { count + 1 } else { count.saturating_sub(1) };
                    self.note(callback, what, key, 2);
                }
            }
        }
    }

    fn note(&mut self, callback: &Callback<'_>, what: log::What, a: u64, b: u64) {
        if let Some(log) = &mut self.log {
            log.push(log::Entry { at: callback.entered_at(), what, a, b });
        }
    }
}
