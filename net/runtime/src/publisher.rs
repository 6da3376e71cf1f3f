//! From rings to packets: one publication, and who gets it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use audiocloud_rt::block_ring::{self, SessionStamp};
use audiocloud_rt::event::{self, Event};
use audiocloud_rt::host_time;
use audiocloud_session::sender::{self, Lane, LaneId};
use audiocloud_units::HostTime;
use audiocloud_wire::id::ConfigId;
use audiocloud_wire::message::{StreamAnnouncement, Text};
use audiocloud_wire::packet::{self, Packet};
use audiocloud_wire::quality::Quality;
use bytes::Bytes;

use crate::congestion::{Outlet, Sent};
use crate::counters::LaneFigures;
use crate::health::{Heard, ListenerStatus, PathFigures};
use crate::hub::Connected;
use crate::status::{PublicationShared, lock};
use crate::subscriber::{Subscriber, SubscriptionId};

/// Blocks that one pass of the pump takes from one publication before the connections get their turn.
const BLOCKS_PER_PASS: usize = 16;
/// Events likewise.
const EVENTS_PER_PASS: usize = 512;
/// The delay of the pump is smoothed over about so many blocks.
const DELAY_SMOOTHING: u64 = 16;

/// A subscriber at the other end of a connection.
struct Remote {
    link: u64,
    outlet: Rc<RefCell<Outlet>>,
    gone: bool,
    dropped: Dropped,
}

/// Datagrams that did not leave, by cause.
#[derive(Clone, Copy, Default)]
struct Dropped {
    beyond_cap: u64,
    queue_full: u64,
    unsendable: u64,
}

/// One publication at work.
pub(crate) struct Publisher {
    pub(crate) shared: Arc<PublicationShared>,
    /// Tells this publication from an earlier one of the same stream.
    pub(crate) serial: u64,
    pub(crate) config: ConfigId,
    pub(crate) block_frames_max: u32,
    blocks: block_ring::Consumer,
    events: event::Consumer,
    /// Emptied in each pass.
    batch: Vec<Event>,
    stream: sender::Stream,
    remotes: Vec<Remote>,
    locals: Vec<SubscriptionId>,
}

/// What one pass of the pump left behind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pass {
    /// More is waiting.
    pub(crate) more: bool,
    /// The announcement has changed.
    pub(crate) announce: bool,
}

impl Publisher {
    pub(crate) fn new(
        shared: Arc<PublicationShared>,
        serial: u64,
        config: ConfigId,
        block_frames_max: u32,
        blocks: block_ring::Consumer,
        events: event::Consumer,
    ) -> Self {
        let description = sender::Description {
            stream: shared.stream,
            config,
            sample_rate: shared.sample_rate,
            channels: shared.channels,
            codec: shared.codec,
        };
        Self {
            shared,
            serial,
            config,
            block_frames_max,
            blocks,
            events,
            batch: Vec::with_capacity(EVENTS_PER_PASS),
            stream: sender::Stream::new(description),
            remotes: Vec::new(),
            locals: Vec::new(),
        }
    }

    pub(crate) fn announcement(&self) -> StreamAnnouncement {
        StreamAnnouncement {
            stream: self.shared.stream,
            name: Text::new(&lock(&self.shared.name)),
            config: self.config,
            epoch: self.stream.epoch().map_or(0, |epoch| epoch.0),
            sample_rate_hz: self.shared.sample_rate.hz(),
            channels: u8::try_from(self.shared.channels).unwrap_or(u8::MAX).clamp(1, packet::CHANNELS_MAX),
            codec: Some(self.shared.codec),
            codecs: self.shared.codecs.clone(),
            clock_domain: Text::default(),
            block_frames_max: self.block_frames_max,
            session: self.shared.session,
            purpose: self.shared.purpose,
        }
    }

    // ---- Who gets it.

    /// A subscriber, or one that asks for another quality now. A codec that is not offered reads as no wish.
    pub(crate) fn add_remote(&mut self, link: u64, outlet: &Rc<RefCell<Outlet>>, quality: Quality) {
        if self.remotes.iter().all(|remote| remote.link != link) {
            let outlet = Rc::clone(outlet);
            self.remotes.push(Remote { link, outlet, gone: false, dropped: Dropped::default() });
            self.count_subscribers();
        }
        let codec = quality.codec.filter(|codec| self.shared.codecs.contains(codec));
        let bitrate_bps = match (quality.bitrate_bps, self.shared.bitrate_max_bps) {
            (wish, 0) => wish,
            (0, most) => most,
            (wish, most) => wish.min(most),
        };
        self.with_stream(|stream, now, send| {
            stream.subscribe(LaneId(link), Quality { codec, bitrate_bps, ..quality }, now, send);
        });
    }

    pub(crate) fn has_remote(&self, link: u64) -> bool {
        self.remotes.iter().any(|remote| remote.link == link)
    }

    pub(crate) fn remove_remote(&mut self, link: u64) {
        self.remotes.retain(|remote| remote.link != link);
        self.stream.unsubscribe(LaneId(link), host_time::now());
        self.count_subscribers();
    }

    pub(crate) fn add_local(&mut self, subscription: SubscriptionId) {
        if !self.locals.contains(&subscription) {
            self.locals.push(subscription);
            self.count_subscribers();
        }
    }

    pub(crate) fn remove_local(&mut self, subscription: SubscriptionId) {
        self.locals.retain(|other| *other != subscription);
        self.count_subscribers();
    }

    fn count_subscribers(&self) {
        self.shared.subscribers.store(self.remotes.len() + self.locals.len(), Ordering::Relaxed);
    }

    // ---- What the callback left.

    /// Takes what the callback left, and sends it: events first, for they belong to the blocks that follow them. Blocks
    /// that come meanwhile wait for the next pass, or they would overtake their events.
    pub(crate) fn pump(&mut self, subscribers: &mut HashMap<SubscriptionId, Subscriber>) -> Pass {
        let waiting = self.blocks.blocks();
        let mut pass = Pass { more: self.pump_events(subscribers), announce: false };
        for _ in 0..waiting.min(BLOCKS_PER_PASS) {
            let Some(header) = self.blocks.peek() else { return pass };
            let epoch = self.stream.epoch();
            self.pump_block(subscribers);
            pass.announce |= self.stream.epoch() != epoch;
            self.count_block(&header);
        }
        pass.more |= self.blocks.peek().is_some();
        pass
    }

    fn pump_block(&mut self, subscribers: &mut HashMap<SubscriptionId, Subscriber>) {
        let needs = self.locals.iter().filter_map(|id| subscribers.get(id)?.needs()).max();
        self.stream.set_needs_here(needs);
        let Self { shared, blocks, stream, remotes, locals, .. } = self;
        blocks.try_pop(|header, samples| {
            shared.counters.blocks.add(1);
            let mut send = exit(remotes, shared);
            if stream.push_block(header, &samples, host_time::now(), &mut send).is_err() {
                shared.counters.dropped_mismatched.add(1);
                return;
            }
            let link_offset = stream.link_offset();
            let session_time = header.session_time.map(|stamp| SessionStamp { link_offset, ..stamp });
            let header = block_ring::Header { session_time, ..*header };
            for id in locals.iter() {
                let pushed = subscribers.get_mut(id).is_none_or(|subscriber| {
                    subscriber.push_block(&header, |channel, from, out| copy(&samples, channel, from, out))
                });
                if !pushed {
                    shared.counters.dropped_local_full.add(1);
                }
            }
        });
        self.drop_gone();
    }

    fn count_block(&mut self, header: &block_ring::Header) {
        let now = host_time::now();
        let counters = &self.shared.counters;
        let delay = u64::try_from((now - header.host_time).get()).unwrap_or(0);
        counters.pump_delay_max_ns.set(counters.pump_delay_max_ns.get().max(delay));
        let smoothed = counters.pump_delay_ns.get();
        counters.pump_delay_ns.set(smoothed - smoothed / DELAY_SMOOTHING + delay / DELAY_SMOOTHING);
        counters.block_frames.set(header.frames.into());
        let figures = self.stream.figures(now);
        for (counter, value) in [
            (&counters.packets, figures.packets),
            (&counters.event_packets, figures.event_packets),
            (&counters.repeats, figures.repeats),
            (&counters.repairs, figures.repairs),
            (&counters.events_repeated, figures.events_repeated),
            (&counters.requests_answered, figures.requests_answered),
            (&counters.requests_too_old, figures.requests_too_old),
            (&counters.requests_refused, figures.requests_refused),
            (&counters.steps_down, figures.steps_down),
            (&counters.dropped_unencodable, figures.unencodable),
        ] {
            counter.set(value);
        }
    }

    /// Whether more are waiting.
    fn pump_events(&mut self, subscribers: &mut HashMap<SubscriptionId, Subscriber>) -> bool {
        let mut batch = std::mem::take(&mut self.batch);
        while batch.len() < EVENTS_PER_PASS
            && let Ok(event) = self.events.pop()
        {
            self.shared.counters.events.add(1);
            for id in &self.locals {
                if subscribers.get_mut(id).is_some_and(|subscriber| !subscriber.push_event(event)) {
                    self.shared.counters.dropped_local_full.add(1);
                }
            }
            batch.push(event);
        }
        if !batch.is_empty() {
            self.with_stream(|stream, now, send| stream.push_events(&batch, now, send));
            batch.clear();
        }
        self.batch = batch;
        self.events.slots() > 0
    }

    // ---- What the peers say.

    /// A report or a request of the subscriber at the other end of `link`.
    pub(crate) fn handle_feedback(&mut self, link: u64, packet: &Packet<'_>) {
        let lane = LaneId(link);
        self.with_stream(|stream, now, send| match packet {
            Packet::Report(report) => stream.handle_report(lane, report, now),
            Packet::Request(request) => stream.handle_request(lane, request, now, send),
            Packet::Audio(_)
            | Packet::Event(_)
            | Packet::Repair(_)
            | Packet::Clock(_)
            | Packet::Slice(_)
            | Packet::SliceReport(_) => {}
        });
    }

    // ---- Now and then.

    /// About every 50 ms.
    pub(crate) fn tick(&mut self) {
        self.with_stream(sender::Stream::tick);
    }

    /// What the subscriber at the other end of `link` would take if nothing were given up, in bits per second; 0 without
    /// one.
    pub(crate) fn demand_bps(&self, link: u64) -> u64 {
        self.lane(link).map_or(0, Lane::demand_bps)
    }

    /// What may go to it, in bits per second; none: anything.
    pub(crate) fn set_rate_cap(&mut self, link: u64, cap_bps: Option<u64>) {
        self.stream.set_rate_cap(LaneId(link), cap_bps);
    }

    fn lane(&self, link: u64) -> Option<&Lane> {
        self.stream.lanes().iter().find(|lane| lane.id() == LaneId(link))
    }

    /// Brings what is shown of each subscriber up to date.
    pub(crate) fn show_listeners(&mut self, links: &BTreeMap<u64, Connected>) {
        let now = host_time::now();
        let Self { shared, stream, remotes, .. } = self;
        let Ok(mut listeners) = shared.listeners.try_lock() else { return };
        listeners.clear();
        for remote in remotes {
            if let Some(link) = links.get(&remote.link)
                && let Some(lane) = stream.lane_mut(LaneId(remote.link))
            {
                listeners.push(listener(link, lane, remote.dropped, now));
            }
        }
    }

    /// Lets `act` send through the stream.
    fn with_stream(
        &mut self,
        act: impl FnOnce(&mut sender::Stream, HostTime, &mut dyn FnMut(LaneId, Bytes)),
    ) {
        let Self { shared, stream, remotes, .. } = self;
        act(stream, host_time::now(), &mut exit(remotes, shared));
        self.drop_gone();
    }

    /// Takes leave of those whose connection has ended.
    fn drop_gone(&mut self) {
        while let Some(gone) = self.remotes.iter().find(|remote| remote.gone) {
            self.remove_remote(gone.link);
        }
    }
}

/// Hands each packet to the connection of its lane, and counts what becomes of it.
fn exit<'a>(remotes: &'a mut [Remote], shared: &'a PublicationShared) -> impl FnMut(LaneId, Bytes) + 'a {
    let now = Instant::now();
    move |LaneId(link), packet| {
        let Some(remote) = remotes.iter_mut().find(|remote| remote.link == link) else { return };
        let (bytes, counters) = (packet.len(), &shared.counters);
        match remote.outlet.borrow_mut().send(packet, now) {
            Sent::Queued => counters.bytes.add(u64::try_from(bytes).unwrap_or(0)),
            Sent::BeyondCap => {
                remote.dropped.beyond_cap += 1;
                counters.dropped_beyond_cap.add(1);
            }
            Sent::QueuedInPlaceOf(older) => {
                counters.bytes.add(u64::try_from(bytes).unwrap_or(0));
                remote.dropped.queue_full += u64::from(older);
                counters.dropped_queue_full.add(u64::from(older));
            }
            Sent::Unsendable => {
                remote.dropped.unsendable += 1;
                counters.dropped_unsendable.add(1);
            }
            Sent::Gone => remote.gone = true,
        }
    }
}

fn listener(link: &Connected, lane: &mut Lane, dropped: Dropped, now: HostTime) -> ListenerStatus {
    let figures = lane.figures(now);
    let encoding = lane.encoding();
    ListenerStatus {
        device: link.peer.device,
        instance: link.peer.instance,
        name: link.peer.name.clone(),
        address: link.address,
        path: PathFigures::of(&link.connection),
        codec: encoding.codec,
        bitrate_bps: encoding.bitrate_bps,
        frame_us: encoding.frame_us,
        given_up: lane.given_up(),
        figures: LaneFigures {
            packets: figures.packets,
            bytes: figures.bytes,
            repeats: figures.repeats,
            repairs: figures.repairs,
            events_repeated: figures.events_repeated,
            requests_answered: figures.requests_answered,
            requests_too_old: figures.requests_too_old,
            dropped_beyond_cap: dropped.beyond_cap,
            dropped_queue_full: dropped.queue_full,
            dropped_unsendable: dropped.unsendable,
            level: figures.level,
            rate_bps: figures.rate_bps,
        },
        heard: lane.report().map(|(report, at)| {
            Heard::new(report, u64::try_from((now - *at).get() / 1_000_000).unwrap_or(0))
        }),
    }
}

fn copy(samples: &block_ring::Samples<'_>, channel: usize, from: usize, out: &mut [f32]) {
    let (first, second) = samples.channel(channel);
    let source = first.iter().chain(second).skip(from);
    for (out, sample) in out.iter_mut().zip(source) {
        *out = *sample;
    }
}
