//! From packets to rings: one subscription, and the streams that come over one connection.

use std::collections::HashMap;
use std::sync::Arc;

use audiocloud_rt::block_ring::{self, Header};
use audiocloud_rt::due::Due;
use audiocloud_rt::event::{self, Body, Event};
use audiocloud_rt::{host_time, snapshot};
use audiocloud_session::receiver::{self, Intake, Output, Refused};
use audiocloud_units::{HostTime, Nanos, SampleRate};
use audiocloud_wire::id::StreamId;
use audiocloud_wire::message::StreamAnnouncement;
use audiocloud_wire::packet::Packet;
use audiocloud_wire::quality::Quality;
use bytes::Bytes;

use crate::congestion::Outlet;
use crate::counters::RuntimeCounters;
use crate::status::SubscriptionShared;

/// One subscription of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SubscriptionId(pub(crate) u64);

/// Where a subscription's blocks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// From nowhere.
    None,
    /// From a publication of this process, ring to ring.
    Local,
    /// Over this connection.
    Link(u64),
}

/// One subscription at work.
pub(crate) struct Subscriber {
    pub(crate) shared: Arc<SubscriptionShared>,
    pub(crate) route: Route,
    pub(crate) was_live: bool,
    /// When it began to look for its stream.
    pub(crate) searching_since: HostTime,
    /// What it wishes for, and the number of its wish: of several for one stream the last one holds.
    pub(crate) quality: (u64, Quality),
    due: Option<snapshot::Reader<Option<Due>>>,
    blocks: block_ring::Producer,
    events: event::Producer,
    /// What became of its stream's packets over the connections that are gone.
    past: receiver::Figures,
    /// As they were when it came to the stream that it has now.
    before: receiver::Figures,
    /// Events that the ring had no room for, not yet told as lost.
    owed: u32,
}

impl Subscriber {
    pub(crate) fn new(
        shared: Arc<SubscriptionShared>,
        quality: (u64, Quality),
        due: Option<snapshot::Reader<Option<Due>>>,
        blocks: block_ring::Producer,
        events: event::Producer,
    ) -> Self {
        Self {
            shared,
            route: Route::None,
            was_live: false,
            searching_since: host_time::now(),
            quality,
            due,
            blocks,
            events,
            past: receiver::Figures::default(),
            before: receiver::Figures::default(),
            owed: 0,
        }
    }

    /// What link offset its playout needs, where that plays the stream at the session's time.
    pub(crate) fn needs(&self) -> Option<Nanos> {
        self.due.as_ref()?.read()?.needs
    }

    /// Whether there was room.
    pub(crate) fn push_block(&mut self, header: &Header, fill: impl FnMut(usize, usize, &mut [f32])) -> bool {
        let counters = &self.shared.counters;
        match self.blocks.try_push(header, fill) {
            Ok(()) => {
                counters.packets.add(1);
                true
            }
            Err(block_ring::Full) => {
                counters.ring_full.add(1);
                false
            }
        }
    }

    /// Whether there was room.
    pub(crate) fn push_event(&mut self, event: Event) -> bool {
        let counters = &self.shared.counters;
        if self.owed > 0 {
            let told = Event { body: Body::Lost { count: self.owed }, ..event };
            if self.events.push(told).is_ok() {
                self.owed = 0;
            }
        }
        let pushed = self.owed == 0 && self.events.push(event).is_ok();
        if pushed {
            counters.events.add(1);
        } else {
            self.owed = self.owed.saturating_add(match event.body {
                Body::Lost { count } => count,
                _ => 1,
            });
            counters.event_ring_full.add(1);
        }
        pushed
    }

    /// Shows what has become of the packets of its stream.
    fn show(&self, now: &receiver::Figures, state: &receiver::State) {
        let all = self.past.and(&now.since(&self.before));
        let counters = &self.shared.counters;
        for (counter, value) in [
            (&counters.bytes, all.bytes),
            (&counters.gaps, all.gaps),
            (&counters.sequence_gaps, all.absent),
            (&counters.lost, all.lost),
            (&counters.late, all.late),
            (&counters.recovered_resend, all.recovered_resend),
            (&counters.recovered_repair, all.recovered_repair),
            (&counters.recovered_fec, all.recovered_fec),
            (&counters.concealed_codec, all.concealed_codec),
            (&counters.duplicates, all.duplicates),
            (&counters.needless, all.needless),
            (&counters.reordered, all.reordered),
            (&counters.requests_sent, all.requests_sent),
            (&counters.reports_sent, all.reports_sent),
            (&counters.undecodable, all.undecodable),
            (&counters.unknown_config, all.unknown_config),
            (&counters.event_packets, all.event_packets),
            (&counters.events_lost, all.events_lost),
            (&counters.events_late, all.events_late),
            (&counters.jitter_us, micros(state.jitter)),
            (&counters.hold_us, micros(state.hold)),
            (&counters.heard_us, micros(state.heard)),
            (&counters.rate_bps, state.rate_bps),
        ] {
            counter.set(value);
        }
    }
}

/// What is below 0 is shown as 0.
fn micros(span: Nanos) -> u64 {
    u64::try_from(span.get() / 1000).unwrap_or(0)
}

/// Who wants a stream of a connection, and as what it was asked for.
#[derive(Debug)]
struct Wanted {
    config: receiver::Config,
    quality: Quality,
    subscriptions: Vec<SubscriptionId>,
}

/// All streams that come over one connection because somebody here asked for them.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    intake: Intake,
    wanted: HashMap<StreamId, Wanted>,
}

impl Incoming {
    /// Adds a subscription. As what the stream has to be asked for, if it has to be: it is new, or its configuration is, or
    /// the wish.
    pub(crate) fn add(
        &mut self,
        subscription: SubscriptionId,
        announcement: &StreamAnnouncement,
        sample_rate: SampleRate,
        subscribers: &mut HashMap<SubscriptionId, Subscriber>,
    ) -> Option<Quality> {
        let stream = announcement.stream;
        let channels = announcement.channels.into();
        let config = receiver::Config { stream, config: announcement.config, sample_rate, channels };
        self.intake.open(config, host_time::now());
        let is_new = self.wanted.get(&stream).is_none_or(|wanted| wanted.config != config);
        let wanted = self.wanted.entry(stream).or_insert_with(|| Wanted {
            config,
            quality: Quality::default(),
            subscriptions: Vec::new(),
        });
        wanted.config = config;
        if !wanted.subscriptions.contains(&subscription) {
            wanted.subscriptions.push(subscription);
            if let Some(subscriber) = subscribers.get_mut(&subscription) {
                subscriber.before = self.intake.figures(stream).unwrap_or_default();
            }
            self.intake.set_dues(stream, wanted.dues(subscribers));
        }
        let quality = wanted.wish(announcement, subscribers);
        let ask = is_new || wanted.quality != quality;
        wanted.quality = quality;
        ask.then_some(quality)
    }

    /// Whether nobody here wants the stream any more.
    pub(crate) fn remove(
        &mut self,
        stream: StreamId,
        subscription: SubscriptionId,
        subscribers: &mut HashMap<SubscriptionId, Subscriber>,
    ) -> bool {
        let Some(wanted) = self.wanted.get_mut(&stream) else { return false };
        let figures = self.intake.figures(stream).unwrap_or_default();
        if let Some(subscriber) = subscribers.get_mut(&subscription) {
            subscriber.past = subscriber.past.and(&figures.since(&subscriber.before));
            subscriber.before = receiver::Figures::default();
            subscriber.show(&receiver::Figures::default(), &receiver::State::default());
        }
        wanted.subscriptions.retain(|other| *other != subscription);
        self.intake.set_dues(stream, wanted.dues(subscribers));
        let unwanted = wanted.subscriptions.is_empty();
        if unwanted {
            self.wanted.remove(&stream);
            self.intake.close(stream);
        }
        unwanted
    }

    /// Puts what comes of a packet into the rings of those who asked for its stream, and sends what it calls for.
    pub(crate) fn handle(
        &mut self,
        packet: &Packet<'_>,
        datagram: &[u8],
        subscribers: &mut HashMap<SubscriptionId, Subscriber>,
        counters: &RuntimeCounters,
        outlet: &Outlet,
    ) {
        let Self { intake, wanted } = self;
        let mut out = |output: Output<'_>| deliver(output, wanted, subscribers, outlet);
        match intake.handle_packet(packet, datagram, host_time::now(), &mut out) {
            Ok(()) => {}
            Err(Refused::UnknownStream) => counters.unknown_stream.add(1),
            Err(Refused::Undecodable(_) | Refused::Feedback) => counters.undecodable_packets.add(1),
        }
    }

    /// Does what is to be done by now.
    pub(crate) fn poll(&mut self, subscribers: &mut HashMap<SubscriptionId, Subscriber>, outlet: &Outlet) {
        let Self { intake, wanted } = self;
        intake.poll(host_time::now(), &mut |output| deliver(output, wanted, subscribers, outlet));
    }

    /// When [`Self::poll`] has something to do.
    pub(crate) fn next_wake(&self) -> Option<HostTime> {
        self.intake.next_wake()
    }

    /// Takes in how long the connection's round trip is, and shows how its streams fare.
    pub(crate) fn tick(&mut self, rtt: Nanos, subscribers: &HashMap<SubscriptionId, Subscriber>) {
        self.intake.set_rtt(rtt);
        for (stream, wanted) in &self.wanted {
            let state = self.intake.state(*stream, host_time::now());
            let (Some(figures), Some(state)) = (self.intake.figures(*stream), state) else { continue };
            for subscriber in wanted.subscriptions.iter().filter_map(|id| subscribers.get(id)) {
                subscriber.show(&figures, &state);
            }
        }
    }
}

/// Takes an output of the intake to where it belongs.
fn deliver(
    output: Output<'_>,
    wanted: &HashMap<StreamId, Wanted>,
    subscribers: &mut HashMap<SubscriptionId, Subscriber>,
    outlet: &Outlet,
) {
    match output {
        Output::Block { stream, header, samples } => {
            for id in wanted.get(&stream).into_iter().flat_map(|wanted| &wanted.subscriptions) {
                if let Some(one) = subscribers.get_mut(id) {
                    one.push_block(&header, |channel, from, out| samples.read(channel, from, out));
                }
            }
        }
        Output::Event { stream, event } => {
            for id in wanted.get(&stream).into_iter().flat_map(|wanted| &wanted.subscriptions) {
                if let Some(one) = subscribers.get_mut(id) {
                    one.push_event(event);
                }
            }
        }
        // Whoever does not hear of it hears of it again: requests are repeated, and so are reports.
        Output::Send(bytes) => drop(outlet.send_always(Bytes::copy_from_slice(bytes))),
    }
}

impl Wanted {
    fn dues(&self, subscribers: &HashMap<SubscriptionId, Subscriber>) -> Vec<snapshot::Reader<Option<Due>>> {
        let here = self.subscriptions.iter().filter_map(|id| subscribers.get(id));
        here.filter_map(|subscriber| subscriber.due.clone()).collect()
    }

    /// The latest wish; where the publisher prefers a codec that we do not know, the best that we do.
    fn wish(
        &self,
        announcement: &StreamAnnouncement,
        subscribers: &HashMap<SubscriptionId, Subscriber>,
    ) -> Quality {
        let here = self.subscriptions.iter().filter_map(|id| subscribers.get(id));
        let wish = here.map(|subscriber| subscriber.quality).max_by_key(|(number, _)| *number);
        let mut quality = wish.map_or_else(Quality::default, |(_, quality)| quality);
        if announcement.codec.is_none() && quality.codec.is_none() {
            quality.codec = announcement.codecs.first().copied();
        }
        quality
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_rt::block_ring::{Epoch, Flags};
    use audiocloud_units::MediaTime;
    use audiocloud_wire::id::{DeviceId, StreamKey};

    fn subscriber(blocks: usize, events: usize) -> (Subscriber, block_ring::Consumer, event::Consumer) {
        let (blocks_in, blocks_out) = block_ring::block_ring(blocks, 4096);
        let (events_in, events_out) = event::event_ring(events);
        let key = StreamKey::new(DeviceId([0; 32]), StreamId(5));
        let shared = Arc::new(SubscriptionShared::new(key, Box::new(|| serde_json::Value::Null)));
        (Subscriber::new(shared, (0, Quality::default()), None, blocks_in, events_in), blocks_out, events_out)
    }

    #[test]
    fn a_full_ring_is_counted() {
        let (mut subscriber, _blocks, _events) = subscriber(2, 8);
        let header = Header {
            epoch: Epoch(1),
            sample_rate: SampleRate::new(48_000).unwrap(),
            start: MediaTime::new(0),
            frames: 4,
            first_channel: 0,
            channels: 2,
            stream_channels: 2,
            host_time: host_time::now(),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        let pushed = (0..5).filter(|_| subscriber.push_block(&header, |_, _, out| out.fill(0.5))).count();
        let figures = subscriber.shared.counters.figures();
        assert_eq!((pushed, figures.packets, figures.ring_full), (2, 2, 3));
    }

    #[test]
    fn events_without_room_are_told_as_lost() {
        let (mut subscriber, _blocks, mut events) = subscriber(8, 2);
        let mut push = |number: u8| {
            let body = Body::Midi1 { port: 0, bytes: [0x90, number, 1] };
            subscriber.push_event(Event { epoch: Epoch(1), time: MediaTime::new(0), body });
        };
        let mut heard = || {
            let number = |event: Event| match event.body {
                Body::Midi1 { bytes: [_, number, _], .. } => i64::from(number),
                Body::Lost { count } => -i64::from(count),
                other => panic!("{other:?}"),
            };
            std::iter::from_fn(|| events.pop().ok()).map(number).collect::<Vec<_>>()
        };
        (0..5).for_each(&mut push);
        assert_eq!(heard(), [0, 1]);
        push(5);
        assert_eq!(heard(), [-3, 5]);
        assert_eq!(subscriber.shared.counters.figures().event_ring_full, 3);
    }

    #[test]
    fn figures_go_on_over_connections() {
        let (mut subscriber, _blocks, _events) = subscriber(8, 2);
        let figures = |lost, absent| receiver::Figures { lost, absent, ..receiver::Figures::default() };
        subscriber.past = figures(5, 1);
        subscriber.before = figures(100, 7);
        subscriber.show(&figures(103, 6), &receiver::State::default());
        let shown = subscriber.shared.counters.figures();
        assert_eq!(
            (shown.lost, shown.sequence_gaps),
            (8, 1),
            "what comes after all is no reason to go below 0"
        );
    }
}
