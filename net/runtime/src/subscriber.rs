//! From packets to rings: one subscription, and the streams that come over one connection.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use audiocloud_rt::block_ring::{self, Epoch, Header};
use audiocloud_rt::event::{self, Body, Event};
use audiocloud_rt::host_time;
use audiocloud_units::{MediaTime, SampleRate, SessionTime};
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
        Self { shared, route: Route::None, was_live: false, blocks, events, owed: 0 }
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
        let samples = packet.samples(self.codec).ok().filter(|_| end <= self.channels);
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
            let is_late =
                !is_ahead && event.number.wrapping_sub(expected).cmp(&(u32::MAX / 2)) == Ordering::Greater;
            if is_late {
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
}
