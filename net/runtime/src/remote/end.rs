//! One end of a chain's way over the network: rings on the one side, slices on the other. The plug-in's and the node's are
//! alike but for the kinds of events that go either way.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use audiocloud_rt::block_ring::{self, Epoch};
use audiocloud_rt::chain_event::{self, ChainBody, ChainEvent};
use audiocloud_rt::event::{self, Event};
use audiocloud_rt::host_time;
use audiocloud_rt::wake::Waker;
use audiocloud_session::remote::{self, Config, Intake, IntakeConfig, Output, Way};
use audiocloud_units::{HostTime, Nanos, SampleRate};
use audiocloud_wire::id::RemoteId;
use audiocloud_wire::packet::slice::SlicePacket;
use audiocloud_wire::packet::slice_report::SliceReport;
use bytes::Bytes;
use tokio::sync::Notify;

use super::api::{Arrived, PlugEnds, Transfer};
use super::automation::Automation;
use super::rounds::Rounds;
use super::status::RemoteFigures;
use crate::congestion::{Outlet, Sent};

/// Blocks that one pass takes before the connections get their turn.
const BLOCKS_PER_PASS: usize = 16;
/// Events that wait for their blocks.
const EVENTS_MAX: usize = 8192;

/// What goes each way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// Of a plug-in; else of a node.
    pub(crate) to_node: bool,
    pub(crate) sample_rate: SampleRate,
    pub(crate) channels_out: u16,
    pub(crate) channels_in: u16,
    pub(crate) block_frames_max: u32,
    pub(crate) transfer: Transfer,
    pub(crate) patience: Nanos,
}

impl Form {
    fn open(&self, remote: RemoteId) -> (remote::Outlet, Intake) {
        let (out, back) = if self.to_node { (Way::There, Way::Back) } else { (Way::Back, Way::There) };
        let transfer = match self.transfer {
            Transfer::Live => remote::Transfer::Live,
            Transfer::Exact => remote::Transfer::Exact,
        };
        let sample_rate = self.sample_rate;
        let config = |way, channels| Config { remote, way, sample_rate, channels, transfer };
        let intake = IntakeConfig {
            config: config(back, self.channels_in),
            patience: self.patience,
            block_frames_max: self.block_frames_max,
        };
        (remote::Outlet::new(config(out, self.channels_out)), Intake::new(intake))
    }
}

/// What goes out.
enum Source {
    Chain(chain_event::Consumer),
    Voice(event::Consumer),
}

impl Source {
    fn pop(&mut self) -> Option<ChainEvent> {
        match self {
            Self::Chain(ring) => ring.pop().ok(),
            Self::Voice(ring) => {
                let Event { epoch, time, body } = ring.pop().ok()?;
                Some(ChainEvent { epoch, time, body: ChainBody::Voice(body) })
            }
        }
    }
}

/// What comes in.
enum Sink {
    Chain(chain_event::Producer),
    Voice(event::Producer),
}

impl Sink {
    /// Whether there was room.
    fn push(&mut self, event: ChainEvent) -> bool {
        match (self, event.body) {
            (Self::Chain(ring), _) => ring.push(event).is_ok(),
            (Self::Voice(ring), ChainBody::Voice(body)) => {
                ring.push(Event { epoch: event.epoch, time: event.time, body }).is_ok()
            }
            // A node changes nothing in the plug-in.
            (Self::Voice(_), _) => true,
        }
    }

    fn room(&self) -> usize {
        match self {
            Self::Chain(ring) => ring.slots(),
            Self::Voice(ring) => ring.slots(),
        }
    }
}

/// Who is to hear that something has come, or that there is room.
enum Rouse {
    PlugIn(Arrived),
    Node(Waker),
}

impl Rouse {
    fn ring(&self) {
        match self {
            Self::PlugIn(arrived) => arrived.ring(),
            Self::Node(due) => due.wake(),
        }
    }
}

/// An opening of the chain.
struct Flow {
    remote: RemoteId,
    outlet: remote::Outlet,
    intake: Intake,
    /// How slices leave; none: on a stream, by a task of its own, which takes them.
    way: Option<Rc<RefCell<Outlet>>>,
    /// What automation said is to be told first, to a node that did not hear it.
    untold: bool,
}

/// What the tasks wait for that carry an exact chain.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    /// There may be something to send.
    pub(crate) work: Notify,
    /// There may be room for what came.
    pub(crate) room: Notify,
}

/// What became of a slice from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    Taken,
    /// The ring is full: try again when there is room.
    Full,
    /// The opening is over.
    Over,
}

/// See the module.
pub(crate) struct End {
    form: Form,
    blocks: block_ring::Consumer,
    events: Source,
    back: block_ring::Producer,
    back_events: Sink,
    rouse: Rouse,
    flow: Option<Flow>,
    pub(crate) bells: Rc<Bells>,
    /// Events whose blocks have not come yet.
    waiting: Vec<ChainEvent>,
    epoch: Option<Epoch>,
    automation: Automation,
    rounds: Rounds,
    /// When the first block was sent since anything came back.
    unanswered: Option<HostTime>,
    /// What is counted here, and in openings that are over.
    past: RemoteFigures,
}

impl End {
    /// Of a plug-in.
    pub(crate) fn of_plug_in(form: Form, ends: PlugEnds, arrived: Arrived) -> Self {
        let PlugEnds { blocks, events, back, back_events } = ends;
        let made = (blocks, Source::Chain(events));
        Self::new(form, made, (back, Sink::Voice(back_events)), Rouse::PlugIn(arrived))
    }

    /// Of a node: what its worker made, and where its worker takes from.
    pub(crate) fn of_node(
        form: Form,
        made: (block_ring::Consumer, event::Consumer),
        (taken, taken_events): (block_ring::Producer, chain_event::Producer),
        due: Waker,
    ) -> Self {
        let (blocks, events) = made;
        let made = (blocks, Source::Voice(events));
        Self::new(form, made, (taken, Sink::Chain(taken_events)), Rouse::Node(due))
    }

    fn new(
        form: Form,
        (blocks, events): (block_ring::Consumer, Source),
        (back, back_events): (block_ring::Producer, Sink),
        rouse: Rouse,
    ) -> Self {
        Self {
            form,
            blocks,
            events,
            back,
            back_events,
            rouse,
            flow: None,
            bells: Rc::default(),
            waiting: Vec::with_capacity(256),
            epoch: None,
            automation: Automation::default(),
            rounds: Rounds::default(),
            unanswered: None,
            past: RemoteFigures::default(),
        }
    }

    // ---- Openings.

    /// The other side has the chain. Without a way, slices wait for the task that carries them.
    pub(crate) fn begin(&mut self, remote: RemoteId, rtt: Nanos, way: Option<Rc<RefCell<Outlet>>>) {
        self.end();
        let (outlet, mut intake) = self.form.open(remote);
        intake.set_rtt(rtt);
        self.flow = Some(Flow { remote, outlet, intake, way, untold: self.form.to_node });
        self.past.opened += 1;
        self.ring();
    }

    /// It has it no longer.
    pub(crate) fn end(&mut self) {
        if let Some(mut flow) = self.flow.take() {
            count(&mut self.past, &mut flow);
        }
        self.unanswered = None;
        self.rounds.restart();
        self.ring();
    }

    /// Whether this opening is the one that is in force.
    pub(crate) fn is_open(&self, remote: RemoteId) -> bool {
        self.flow.as_ref().is_some_and(|flow| flow.remote == remote)
    }

    /// The document holds all values in force: what automation said before counts no more.
    pub(crate) fn forget_automation(&mut self) {
        self.automation = Automation::default();
    }

    /// Its node works no more.
    pub(crate) fn lost_node(&mut self) {
        self.past.lost_nodes += 1;
    }

    /// How long the path takes there and back, and whether it has room for slices that go twice.
    pub(crate) fn set_path(&mut self, rtt: Nanos, may_double: bool) {
        if let Some(flow) = &mut self.flow {
            flow.intake.set_rtt(rtt);
            flow.outlet.allow_doubling(may_double);
        }
    }

    /// Tells a callback, a worker and the tasks that there is something to look at.
    pub(crate) fn ring(&self) {
        self.rouse.ring();
        self.bells.work.notify_one();
        self.bells.room.notify_one();
    }

    /// For how long sound has gone out, and nothing has come back.
    pub(crate) fn waited(&self, now: HostTime) -> Option<Nanos> {
        self.unanswered.map(|since| now - since)
    }

    /// Since the beginning.
    pub(crate) fn figures(&mut self) -> RemoteFigures {
        let mut figures = self.past;
        if let Some(flow) = &mut self.flow {
            count(&mut figures, flow);
        }
        figures.round_us = self.rounds.micros();
        figures
    }

    // ---- From the rings.

    /// Takes what is in the rings and sends it. Whether more is waiting. What is exact a task takes, and what no node has is
    /// thrown away.
    pub(crate) fn pump(&mut self) -> bool {
        let way = match &self.flow {
            Some(Flow { way: Some(way), .. }) => Rc::clone(way),
            None if self.form.transfer == Transfer::Live => {
                self.throw_away();
                return false;
            }
            _ => {
                // Each wake may have brought blocks, and room.
                self.bells.work.notify_one();
                self.bells.room.notify_one();
                return false;
            }
        };
        let mut exit = Exit::new(&way);
        let more = self.take(BLOCKS_PER_PASS, &mut |slice| exit.send(slice));
        exit.end(&mut self.past);
        more
    }

    /// For the task that carries an exact chain: appends slices to `out`, each with its length in front of it, until it holds
    /// so many bytes or the ring is empty.
    pub(crate) fn take_framed(&mut self, bytes: usize, out: &mut Vec<u8>) {
        let events = self.waiting.len();
        self.take_events();
        let mut taken = self.waiting.len() > events;
        while out.len() < bytes && self.blocks.peek().is_some() {
            taken = true;
            self.take(1, &mut |slice: Bytes| out.extend_from_slice(&slice));
        }
        if taken {
            // There is room for who waits for it.
            self.rouse.ring();
        }
    }

    /// Events first, for they belong to the blocks that follow them. Blocks that come meanwhile wait for the next pass, or
    /// they would overtake their events. Whether there are such.
    fn take(&mut self, most: usize, send: &mut dyn FnMut(Bytes)) -> bool {
        let all = self.blocks.blocks();
        self.take_events();
        let Self { form, blocks, flow: Some(flow), waiting, epoch, automation, rounds, past, .. } = self
        else {
            return false;
        };
        let now = host_time::now();
        for _ in 0..all.min(most) {
            blocks.try_pop(|header, samples| {
                past.blocks += 1;
                if std::mem::take(&mut flow.untold) {
                    automation.tell(header.epoch, header.start, waiting);
                }
                drop_stale(waiting, epoch.replace(header.epoch).filter(|before| *before != header.epoch));
                let here = events_of(waiting, header);
                if form.to_node {
                    waiting[..here].iter().for_each(|event| automation.hear(&event.body));
                }
                let pushed = flow.outlet.push(header, &samples, &waiting[..here], now, send);
                waiting.drain(..here);
                if pushed.is_err() {
                    past.mismatched += 1;
                } else if form.to_node {
                    rounds.sent(header, now);
                    self.unanswered.get_or_insert(now);
                }
            });
        }
        self.blocks.peek().is_some()
    }

    fn take_events(&mut self) {
        while self.waiting.len() < EVENTS_MAX
            && let Some(event) = self.events.pop()
        {
            self.waiting.push(event);
        }
    }

    /// No node has the chain: what comes now is late already when one does. What automation says is remembered.
    fn throw_away(&mut self) {
        let blocks = self.blocks.blocks();
        self.take_events();
        self.waiting.drain(..).for_each(|event| self.automation.hear(&event.body));
        for _ in 0..blocks {
            if self.blocks.try_pop(|_, _| ()).is_some() {
                self.past.blocks += 1;
                self.past.blocks_unopened += 1;
            }
        }
    }

    // ---- From the network.

    /// What came by datagram. Whether it belongs here.
    pub(crate) fn handle_slice(&mut self, slice: &SlicePacket<'_>, now: HostTime) -> bool {
        if !self.is_open(slice.header.remote) || self.form.transfer == Transfer::Exact {
            return false;
        }
        self.unanswered = None;
        self.with_intake(|intake, out| intake.handle(slice, now, out));
        true
    }

    /// How what was sent arrives.
    pub(crate) fn handle_report(&mut self, report: &SliceReport, now: HostTime) {
        let Some(Flow { outlet, way: Some(way), .. }) = &mut self.flow else { return };
        let mut exit = Exit::new(way);
        outlet.handle(report, now, &mut |slice| exit.send(slice));
        exit.end(&mut self.past);
    }

    /// What came by stream.
    pub(crate) fn give(&mut self, slice: &SlicePacket<'_>, now: HostTime) -> Given {
        if !self.is_open(slice.header.remote) || self.form.transfer == Transfer::Live {
            return Given::Over;
        }
        let samples = usize::from(slice.header.frames) * usize::from(slice.header.channels);
        let events = self.back_events.room();
        if !self.back.has_room(samples) || events < usize::from(slice.count()) {
            return Given::Full;
        }
        self.with_intake(|intake, out| intake.handle(slice, now, out));
        Given::Taken
    }

    /// When [`Self::poll`] has something to do.
    pub(crate) fn next_wake(&self) -> Option<HostTime> {
        let Flow { outlet, intake, way: Some(_), .. } = self.flow.as_ref()? else { return None };
        outlet.next_wake().into_iter().chain(intake.next_wake()).min()
    }

    /// Does what is to be done by now.
    pub(crate) fn poll(&mut self, now: HostTime) {
        if let Some(Flow { outlet, way: Some(way), .. }) = &mut self.flow {
            let mut exit = Exit::new(way);
            outlet.poll(now, &mut |slice| exit.send(slice));
            exit.end(&mut self.past);
        }
        self.with_intake(|intake, out| intake.poll(now, out));
    }

    fn with_intake(&mut self, act: impl FnOnce(&mut Intake, &mut dyn FnMut(Output<'_>))) {
        let Self { flow: Some(flow), back, back_events, rounds, past, form, rouse, .. } = self else {
            return;
        };
        let Flow { intake, way, .. } = flow;
        let mut came = false;
        act(intake, &mut |output| match output {
            Output::Block { header, samples } => {
                came = true;
                if form.to_node {
                    rounds.answered(&header);
                }
                let pushed = back.try_push(&header, |channel, from, out| samples.read(channel, from, out));
                past.ring_full += u64::from(pushed.is_err());
            }
            Output::Event(event) => past.ring_full += u64::from(!back_events.push(event)),
            // Whoever does not hear of it hears of it again.
            Output::Send(report) => {
                if let Some(way) = way {
                    way.borrow().send_always(Bytes::copy_from_slice(report));
                }
            }
        });
        if came {
            rouse.ring();
        }
    }
}

/// Of events that wait, those that belong to a block, or are late for it. Those of an epoch that is not the block's are of a
/// later one.
fn events_of(waiting: &[ChainEvent], header: &block_ring::Header) -> usize {
    let end = header.start.get().saturating_add(header.frames.into());
    let later = |event: &ChainEvent| event.epoch != header.epoch || event.time.get() >= end;
    let count = waiting.iter().position(later).unwrap_or(waiting.len());
    // Those that wait for a block that never comes are not to stop all others.
    if count == 0 && waiting.len() >= EVENTS_MAX { waiting.len() } else { count }
}

/// Events of an epoch that is over belong to no block any more.
fn drop_stale(waiting: &mut Vec<ChainEvent>, over: Option<Epoch>) {
    if let Some(over) = over {
        waiting.retain(|event| event.epoch != over);
    }
}

/// Adds what an opening has counted.
fn count(figures: &mut RemoteFigures, flow: &mut Flow) {
    let (out, came) = (flow.outlet.figures(host_time::now()), flow.intake.figures());
    figures.sent += out.slices;
    figures.resent += out.resends;
    figures.doubled += out.repeats;
    figures.too_old += out.requests_too_old;
    figures.requests_refused += out.requests_refused;
    figures.events_refused += out.events_refused;
    figures.received += came.slices;
    figures.missed += came.missed;
    figures.recovered += came.recovered;
    figures.lost += came.lost;
    figures.late += came.late;
    figures.filled_frames += came.filled_frames;
    figures.events_lost += came.events_lost;
    figures.duplicates += came.duplicates;
    figures.refused += came.refused + came.stale;
    figures.requests += came.requests;
}

/// The way out for one pass, and what became of what went there.
struct Exit<'a> {
    way: std::cell::RefMut<'a, Outlet>,
    at: Instant,
    beyond_cap: u64,
    queue_full: u64,
    unsendable: u64,
}

impl<'a> Exit<'a> {
    fn new(way: &'a RefCell<Outlet>) -> Self {
        let (way, at) = (way.borrow_mut(), Instant::now());
        Self { way, at, beyond_cap: 0, queue_full: 0, unsendable: 0 }
    }

    fn send(&mut self, slice: Bytes) {
        match self.way.send(slice, self.at) {
            Sent::Queued => {}
            Sent::BeyondCap => self.beyond_cap += 1,
            Sent::QueuedInPlaceOf(older) => self.queue_full += u64::from(older),
            // A connection that has ended says so itself.
            Sent::Unsendable | Sent::Gone => self.unsendable += 1,
        }
    }

    fn end(self, figures: &mut RemoteFigures) {
        figures.beyond_cap += self.beyond_cap;
        figures.queue_full += self.queue_full;
        figures.unsendable += self.unsendable;
    }
}
