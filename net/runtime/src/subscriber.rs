//! From packets to rings: one subscription, and the streams that come over one connection.

use std::collections::HashMap;
use std::sync::Arc;

use audiocloud_rt::block_ring::{self, Epoch, Header};
use audiocloud_rt::event::{self, Body, Event};
use audiocloud_rt::host_time;
use audiocloud_units::{HostTime, MediaTime, SampleRate, SessionTime};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{ConfigId, StreamId};
use audiocloud_wire::message::StreamAnnouncement;
use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::audio::AudioPacket;
use audiocloud_wire::packet::event::EventPacket;

use crate::convert;
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
    blocks: block_ring::Producer,
    events: event::Producer,
    /// Events that the ring had no room for, not yet told as lost.
    owed: u32,
}

impl Subscriber {
    pub(crate) fn new(
        shared: Arc<SubscriptionShared>,
        blocks: block_ring::Producer,
        events: event::Producer,
    ) -> Self {
        Self {
            shared,
            route: Route::None,
            was_live: false,
            searching_since: host_time::now(),
            blocks,
            events,
            owed: 0,
        }
    }

    /// Whether there was room.
    pub(crate) fn push_block(
        &mut self,
        header: &Header,
        bytes: usize,
        fill: impl FnMut(usize, usize, &mut [f32]),
    ) -> bool {
        let counters = &self.shared.counters;
        match self.blocks.try_push(header, fill) {
            Ok(()) => {
                counters.packets.add(1);
                counters.bytes.add(u64::try_from(bytes).unwrap_or(0));
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
}

/// Which of the last 64 sequence numbers were seen.
#[derive(Clone, Copy, Debug, Default)]
struct SequenceWindow {
    epoch: Option<u32>,
    highest: u32,
    /// Bit n: `highest` − n was seen.
    seen: u64,
}

/// What a sequence number says about its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// The next one, or a later one after this many that are missing.
    After(u32),
    /// An earlier one that was missing.
    Late,
    /// Seen before, or so old that it might have been.
    Duplicate,
}

impl SequenceWindow {
    fn arrive(&mut self, epoch: u32, sequence: u32) -> Arrival {
        if self.epoch != Some(epoch) {
            *self = Self { epoch: Some(epoch), highest: sequence, seen: 1 };
            return Arrival::After(0);
        }
        let ahead = sequence.wrapping_sub(self.highest);
        if ahead == 0 {
            return Arrival::Duplicate;
        }
        if ahead <= u32::MAX / 2 {
            self.highest = sequence;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            return Arrival::After(ahead - 1);
        }
        match 1_u64.checked_shl(ahead.wrapping_neg()) {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                Arrival::Late
            }
            _ => Arrival::Duplicate,
        }
    }
}

/// A stream that comes over one connection.
#[derive(Debug)]
struct Incoming {
    config: ConfigId,
    codec: Codec,
    sample_rate: SampleRate,
    channels: u16,
    sequence: SequenceWindow,
    /// Epoch, and the number of the next event in it.
    next_event: Option<(u32, u32)>,
    subscriptions: Vec<SubscriptionId>,
}

/// All streams that come over one connection because somebody here asked for them.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    streams: HashMap<StreamId, Incoming>,
}

impl Intake {
    /// Adds a subscription. Whether the stream has to be asked for: it is new, or its configuration is.
    pub(crate) fn add(
        &mut self,
        subscription: SubscriptionId,
        announcement: &StreamAnnouncement,
        codec: Codec,
        sample_rate: SampleRate,
    ) -> bool {
        let mut ask = false;
        let incoming = self.streams.entry(announcement.stream).or_insert_with(|| {
            ask = true;
            Incoming {
                config: announcement.config,
                codec,
                sample_rate,
                channels: announcement.channels.into(),
                sequence: SequenceWindow::default(),
                next_event: None,
                subscriptions: Vec::new(),
            }
        });
        if incoming.config != announcement.config {
            ask = true;
            incoming.config = announcement.config;
            // Published anew, and so is its counting.
            incoming.sequence = SequenceWindow::default();
            incoming.next_event = None;
        }
        (incoming.codec, incoming.sample_rate) = (codec, sample_rate);
        incoming.channels = announcement.channels.into();
        if !incoming.subscriptions.contains(&subscription) {
            incoming.subscriptions.push(subscription);
        }
        ask
    }

    /// Whether nobody here wants the stream any more.
    pub(crate) fn remove(&mut self, stream: StreamId, subscription: SubscriptionId) -> bool {
        let Some(incoming) = self.streams.get_mut(&stream) else { return false };
        incoming.subscriptions.retain(|other| *other != subscription);
        let unwanted = incoming.subscriptions.is_empty();
        if unwanted {
            self.streams.remove(&stream);
        }
        unwanted
    }

    /// Puts a datagram into the rings of those who asked for its stream.
    pub(crate) fn handle_datagram(
        &mut self,
        datagram: &[u8],
        subscribers: &mut HashMap<SubscriptionId, Subscriber>,
        counters: &RuntimeCounters,
    ) {
        match Packet::decode(datagram) {
            Ok(Packet::Audio(packet)) => match self.streams.get_mut(&packet.header.stream) {
                Some(incoming) => incoming.handle_audio(&packet, datagram.len(), subscribers),
                None => counters.unknown_stream.add(1),
            },
            Ok(Packet::Event(packet)) => match self.streams.get_mut(&packet.header.stream) {
                Some(incoming) => incoming.handle_events(&packet, subscribers),
                None => counters.unknown_stream.add(1),
            },
            // Nothing here makes use of these yet.
            Ok(Packet::Repair(_) | Packet::Report(_) | Packet::Request(_)) => (),
            Err(error) => {
                tracing::trace!(target: "audiocloud::net", code = error.code(), "undecodable packet");
                counters.undecodable_packets.add(1);
            }
        }
    }
}

impl Incoming {
    fn each(
        &self,
        subscribers: &mut HashMap<SubscriptionId, Subscriber>,
        mut visit: impl FnMut(&mut Subscriber),
    ) {
        for id in &self.subscriptions {
            if let Some(subscriber) = subscribers.get_mut(id) {
                visit(subscriber);
            }
        }
    }

    fn handle_audio(
        &mut self,
        packet: &AudioPacket<'_>,
        bytes: usize,
        subscribers: &mut HashMap<SubscriptionId, Subscriber>,
    ) {
        let header = packet.header;
        if header.config != self.config {
            self.each(subscribers, |one| one.shared.counters.unknown_config.add(1));
            return;
        }
        let end = u16::from(header.first_channel) + u16::from(header.channels);
        let samples = packet.samples().filter(|_| end <= self.channels);
        let Some(samples) = samples else {
            self.each(subscribers, |one| one.shared.counters.undecodable.add(1));
            return;
        };
        let arrival = self.sequence.arrive(header.epoch, header.sequence);
        let block = Header {
            epoch: Epoch(header.epoch),
            sample_rate: self.sample_rate,
            start: MediaTime::new(header.first_frame),
            frames: header.frames.into(),
            first_channel: header.first_channel.into(),
            channels: header.channels.into(),
            stream_channels: self.channels,
            host_time: host_time::now(),
            session_time: (header.session_time_ns != 0).then(|| SessionTime::new(header.session_time_ns)),
            flags: convert::flags_from_wire(header.flags),
        };
        self.each(subscribers, |one| {
            let counters = &one.shared.counters;
            match arrival {
                Arrival::After(missing) => counters.sequence_gaps.add(missing.into()),
                Arrival::Late => {
                    counters.reordered.add(1);
                    counters.sequence_gaps.set(counters.sequence_gaps.get().saturating_sub(1));
                }
                Arrival::Duplicate => {
                    counters.duplicates.add(1);
                    return;
                }
            }
            one.push_block(&block, bytes, |channel, from, out| samples.read(channel, from, out));
        });
    }

    fn handle_events(
        &mut self,
        packet: &EventPacket<'_>,
        subscribers: &mut HashMap<SubscriptionId, Subscriber>,
    ) {
        let header = packet.header;
        if header.config != self.config {
            self.each(subscribers, |one| one.shared.counters.unknown_config.add(1));
            return;
        }
        self.each(subscribers, |one| one.shared.counters.event_packets.add(1));
        // Numbers begin at 0 in each epoch; whoever comes into a running one begins with the first that is heard of.
        let expected = match self.next_event {
            Some((epoch, next)) if epoch == header.epoch => next,
            Some(_) => 0,
            None => header.first_number,
        };
        let missing = header.first_number.wrapping_sub(expected);
        let is_ahead = missing <= u32::MAX / 2;
        if is_ahead && missing > 0 {
            let time = packet.events().next().map_or(header.base_frame, |event| event.frame);
            let lost = Event {
                epoch: Epoch(header.epoch),
                time: MediaTime::new(time),
                body: Body::Lost { count: missing },
            };
            self.each(subscribers, |one| {
                one.shared.counters.events_lost.add(missing.into());
                one.push_event(lost);
            });
        }
        for event in packet.events() {
            if event.number.wrapping_sub(expected) > u32::MAX / 2 {
                self.each(subscribers, |one| one.shared.counters.events_late.add(1));
                continue;
            }
            let Some(body) = convert::body_from_wire(&event.body) else { continue };
            let event = Event { epoch: Epoch(header.epoch), time: MediaTime::new(event.frame), body };
            self.each(subscribers, |one| {
                one.push_event(event);
            });
        }
        let next = packet.next_number();
        let advances = next.wrapping_sub(expected) <= u32::MAX / 2;
        self.next_event = Some((header.epoch, if advances { next } else { expected }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_wire::id::{DeviceId, StreamKey};
    use audiocloud_wire::message::Text;
    use audiocloud_wire::packet::{PACKET_BYTES_MAX, audio, event as wire_event};

    #[test]
    fn sequence_numbers_tell_loss_from_disorder() {
        let mut window = SequenceWindow::default();
        let mut check =
            |sequence: u32, expected| assert_eq!(window.arrive(7, sequence), expected, "{sequence}");
        check(u32::MAX - 1, Arrival::After(0));
        check(u32::MAX, Arrival::After(0));
        check(0, Arrival::After(0));
        check(0, Arrival::Duplicate);
        check(3, Arrival::After(2));
        check(1, Arrival::Late);
        check(1, Arrival::Duplicate);
        check(100, Arrival::After(96));
        check(2, Arrival::Duplicate);
        check(99, Arrival::Late);
        assert_eq!(window.arrive(8, 500), Arrival::After(0), "a new epoch counts anew");
    }

    const STREAM: StreamId = StreamId(5);
    const ID: SubscriptionId = SubscriptionId(1);

    struct Bench {
        intake: Intake,
        subscribers: HashMap<SubscriptionId, Subscriber>,
        counters: RuntimeCounters,
        blocks: block_ring::Consumer,
        events: event::Consumer,
    }

    fn announcement(config: u16) -> StreamAnnouncement {
        StreamAnnouncement {
            stream: STREAM,
            name: Text::new("test"),
            config: ConfigId(config),
            epoch: 1,
            sample_rate_hz: 48_000,
            channels: 2,
            codec: Some(Codec::PcmF32),
            codecs: Vec::new(),
            clock_domain: Text::default(),
            block_frames_max: 0,
        }
    }

    impl Bench {
        fn new(blocks: usize, events: usize) -> Self {
            let (blocks_in, blocks_out) = block_ring::block_ring(blocks, 4096);
            let (events_in, events_out) = event::event_ring(events);
            let key = StreamKey::new(DeviceId([0; 32]), STREAM);
            let shared = Arc::new(SubscriptionShared::new(key, Box::new(|| serde_json::Value::Null)));
            let mut bench = Self {
                intake: Intake::default(),
                subscribers: HashMap::from([(ID, Subscriber::new(shared, blocks_in, events_in))]),
                counters: RuntimeCounters::default(),
                blocks: blocks_out,
                events: events_out,
            };
            assert!(bench.announce(1), "a new stream is asked for");
            bench
        }

        fn announce(&mut self, config: u16) -> bool {
            self.intake.add(ID, &announcement(config), Codec::PcmF32, SampleRate::new(48_000).unwrap())
        }

        fn receive(&mut self, datagram: &[u8]) {
            self.intake.handle_datagram(datagram, &mut self.subscribers, &self.counters);
        }

        fn audio(&mut self, config: u16, sequence: u32, channels: u8) {
            let header = audio::Header {
                stream: STREAM,
                epoch: 1,
                config: ConfigId(config),
                sequence,
                first_frame: u64::from(sequence) * 4,
                frames: 4,
                first_channel: 0,
                channels,
                codec: Codec::PcmF32,
                session_time_ns: 0,
                flags: audio::Flags::NONE,
            };
            let mut out = [0; PACKET_BYTES_MAX];
            let payload = vec![0; 16 * usize::from(channels)];
            let length = AudioPacket::encode(&header, &[], &payload, &mut out).unwrap();
            self.receive(&out[..length]);
        }

        fn notes(&mut self, epoch: u32, first_number: u32, count: u32) {
            let header = wire_event::Header {
                stream: STREAM,
                epoch,
                config: ConfigId(1),
                first_number,
                base_frame: 0,
            };
            let mut out = [0; PACKET_BYTES_MAX];
            let mut encoder = wire_event::Encoder::new(&header, &[], &mut out).unwrap();
            for number in first_number..first_number + count {
                let [low, high, ..] = number.to_le_bytes();
                let body = wire_event::Body::Midi1 { port: 0, bytes: [0x90, low, high] };
                encoder.try_push(number.into(), &body).unwrap();
            }
            let length = encoder.finish();
            self.receive(&out[..length]);
        }

        /// Numbers of notes, and losses as negative counts.
        fn heard(&mut self) -> Vec<i64> {
            let events = std::iter::from_fn(|| self.events.pop().ok());
            let number = |event: Event| match event.body {
                Body::Midi1 { bytes: [_, low, high], .. } => i64::from(u16::from_le_bytes([low, high])),
                Body::Lost { count } => -i64::from(count),
                other => panic!("{other:?}"),
            };
            events.map(number).collect()
        }

        fn figures(&self) -> crate::counters::SubscriptionFigures {
            self.subscribers[&ID].shared.counters.figures()
        }
    }

    #[test]
    fn packets_are_counted_by_what_is_wrong_with_them() {
        let mut bench = Bench::new(64, 8);
        for sequence in [0, 1, 4, 3, 3] {
            bench.audio(1, sequence, 2);
        }
        bench.audio(2, 5, 2);
        bench.audio(1, 6, 3);
        bench.receive(&[]);
        bench.receive(&[0x10; 100]);
        let figures = bench.figures();
        assert_eq!((figures.packets, figures.sequence_gaps), (4, 1));
        assert_eq!((figures.reordered, figures.duplicates), (1, 1));
        assert_eq!((figures.unknown_config, figures.undecodable), (1, 1));
        assert_eq!(bench.counters.undecodable_packets.get() + bench.counters.unknown_stream.get(), 2);
        let starts = std::iter::from_fn(|| bench.blocks.try_pop(|header, _| header.start.get()));
        assert_eq!(starts.collect::<Vec<_>>(), [0, 4, 16, 12]);
        assert!(bench.announce(2), "a new configuration is asked for");
        bench.audio(2, 0, 2);
        assert_eq!(bench.figures().packets, 5, "and counts anew");
        assert!(!bench.announce(2));
    }

    #[test]
    fn a_full_ring_is_counted() {
        let mut bench = Bench::new(2, 8);
        for sequence in 0..5 {
            bench.audio(1, sequence, 2);
        }
        assert_eq!((bench.figures().packets, bench.figures().ring_full), (2, 3));
    }

    #[test]
    fn lost_events_are_noticed_by_their_numbers() {
        let mut bench = Bench::new(8, 64);
        bench.notes(1, 3, 2);
        assert_eq!(bench.heard(), [3, 4], "who comes late has missed nothing");
        bench.notes(1, 7, 1);
        assert_eq!(bench.heard(), [-2, 7]);
        bench.notes(1, 5, 2);
        assert_eq!(bench.heard(), [0; 0], "given up already");
        bench.notes(1, 10, 0);
        assert_eq!(bench.heard(), [-2], "the last ones are missed too");
        bench.notes(1, 9, 3);
        assert_eq!(bench.heard(), [10, 11], "of a packet that overlaps the new part is heard");
        bench.notes(2, 1, 1);
        assert_eq!(bench.heard(), [-1, 1], "a new epoch begins with 0");
        assert_eq!((bench.figures().events_lost, bench.figures().events_late), (5, 3));
    }

    #[test]
    fn events_without_room_are_told_as_lost() {
        let mut bench = Bench::new(8, 2);
        bench.notes(1, 0, 5);
        assert_eq!(bench.heard(), [0, 1]);
        bench.notes(1, 5, 1);
        assert_eq!(bench.heard(), [-3, 5]);
        assert_eq!(bench.figures().event_ring_full, 3);
    }

    #[test]
    fn whatever_a_peer_sends_is_survived() {
        let mut bench = Bench::new(8, 8);
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33).to_le_bytes()[0]
        };
        for round in (0..=u8::MAX).cycle().take(20_000) {
            let mut datagram: Vec<u8> = (0..usize::from(random())).map(|_| random()).collect();
            if let [first, config @ ..] = datagram.as_mut_slice()
                && config.len() > 40
            {
                // Close to valid, so that it gets far.
                *first = 0x10 + (round % 2);
                config[1..3].copy_from_slice(&[0, 1]);
                config[7..15].copy_from_slice(&STREAM.to_bytes());
                config[39..41].copy_from_slice(&[0, 0]);
            }
            bench.receive(&datagram);
            bench.heard_any();
        }
    }

    impl Bench {
        fn heard_any(&mut self) {
            while self.events.pop().is_ok() {}
            while self.blocks.try_pop(|_, _| ()).is_some() {}
        }
    }
}
