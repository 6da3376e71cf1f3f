//! From rings to packets: one publication, and who gets it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use audiocloud_rt::block_ring::{self, Epoch, Header};
use audiocloud_rt::event::{self, Event};
use audiocloud_rt::host_time;
use audiocloud_units::Frames;
use audiocloud_wire::id::ConfigId;
use audiocloud_wire::message::{StreamAnnouncement, Text};
use audiocloud_wire::packet::packetizer::{Piece, Shape};
use audiocloud_wire::packet::{self, EncodeError, PACKET_BYTES_MAX, audio};
use audiocloud_wire::pcm::InterleavedMut;
use bytes::{Bytes, BytesMut};
use quinn::SendDatagramError;

use crate::convert;
use crate::status::{PublicationShared, lock};
use crate::subscriber::{Subscriber, SubscriptionId};

/// Blocks that one pass of the pump takes from one publication before the connections get their turn.
const BLOCKS_PER_PASS: usize = 16;
/// Events likewise.
const EVENTS_PER_PASS: usize = 512;
/// Packets are cut from allocations of this size.
const ARENA_BYTES: usize = 64 << 10;
/// How often, after the last event, its number is said again, so that its loss is noticed.
const NUMBER_REMINDERS: u8 = 3;

/// A subscriber at the other end of a connection.
#[derive(Debug)]
struct Remote {
    link: u64,
    connection: quinn::Connection,
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
    epoch: Option<Epoch>,
    sequence: u32,
    event_epoch: Option<Epoch>,
    event_number: u32,
    reminders: u8,
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
        Self {
            shared,
            serial,
            config,
            block_frames_max,
            blocks,
            events,
            epoch: None,
            sequence: 0,
            event_epoch: None,
            event_number: 0,
            reminders: 0,
            remotes: Vec::new(),
            locals: Vec::new(),
        }
    }

    pub(crate) fn announcement(&self) -> StreamAnnouncement {
        StreamAnnouncement {
            stream: self.shared.stream,
            name: Text::new(&lock(&self.shared.name)),
            config: self.config,
            epoch: self.epoch.map_or(0, |epoch| epoch.0),
            sample_rate_hz: self.shared.sample_rate.hz(),
            channels: u8::try_from(self.shared.channels).unwrap_or(u8::MAX).clamp(1, packet::CHANNELS_MAX),
            codec: Some(self.shared.codec),
            codecs: Vec::new(),
            clock_domain: Text::default(),
            block_frames_max: self.block_frames_max,
        }
    }

    pub(crate) fn add_remote(&mut self, link: u64, connection: quinn::Connection, arena: &mut BytesMut) {
        if self.remotes.iter().all(|remote| remote.link != link) {
            self.remotes.push(Remote { link, connection });
            self.count_subscribers();
        }
        // The newcomer learns where the numbers are, so that it misses the loss of not even its first event.
        self.send_number(arena);
    }

    pub(crate) fn remove_remote(&mut self, link: u64) {
        self.remotes.retain(|remote| remote.link != link);
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

    /// Takes what the callback left, and sends it: events first, for they belong to the blocks that follow them. Blocks
    /// that come meanwhile wait for the next pass, or they would overtake their events.
    pub(crate) fn pump(
        &mut self,
        subscribers: &mut HashMap<SubscriptionId, Subscriber>,
        arena: &mut BytesMut,
    ) -> Pass {
        let waiting = self.blocks.blocks();
        let mut pass = Pass { more: self.pump_events(subscribers, arena), announce: false };
        for _ in 0..waiting.min(BLOCKS_PER_PASS) {
            let Some(header) = self.blocks.peek() else { return pass };
            pass.announce |= self.enter_epoch(header.epoch);
            self.pump_block(subscribers, arena);
            let delay = (host_time::now() - header.host_time).get();
            let counters = &self.shared.counters;
            counters
                .pump_delay_max_ns
                .set(counters.pump_delay_max_ns.get().max(u64::try_from(delay).unwrap_or(0)));
        }
        pass.more |= self.blocks.peek().is_some();
        pass
    }

    fn enter_epoch(&mut self, epoch: Epoch) -> bool {
        let is_new = self.epoch != Some(epoch);
        if is_new {
            self.epoch = Some(epoch);
            self.sequence = 0;
        }
        is_new
    }

    fn pump_block(&mut self, subscribers: &mut HashMap<SubscriptionId, Subscriber>, arena: &mut BytesMut) {
        let Self { shared, blocks, config, sequence, remotes, locals, .. } = self;
        blocks.try_pop(|header, samples| {
            shared.counters.blocks.add(1);
            let fits = header.sample_rate == shared.sample_rate
                && header.stream_channels == shared.channels
                && header
                    .first_channel
                    .checked_add(header.channels)
                    .is_some_and(|end| end <= shared.channels);
            if !fits {
                shared.counters.dropped_mismatched.add(1);
                return;
            }
            for id in locals.iter() {
                let pushed = subscribers.get_mut(id).is_none_or(|subscriber| {
                    subscriber.push_block(header, 0, |channel, from, out| copy(&samples, channel, from, out))
                });
                if !pushed {
                    shared.counters.dropped_local_full.add(1);
                }
            }
            if remotes.is_empty() {
                return;
            }
            let Some(shape) = shape(header, shared) else {
                shared.counters.dropped_mismatched.add(1);
                return;
            };
            for piece in shape.pieces() {
                let packet = encode_piece(header, &samples, &piece, *config, *sequence, shared, arena);
                let Some(packet) = packet else {
                    shared.counters.dropped_mismatched.add(1);
                    continue;
                };
                *sequence = sequence.wrapping_add(1);
                shared.counters.packets.add(1);
                send(remotes, &packet, shared);
            }
        });
    }

    /// Whether more are waiting.
    fn pump_events(
        &mut self,
        subscribers: &mut HashMap<SubscriptionId, Subscriber>,
        arena: &mut BytesMut,
    ) -> bool {
        let mut batch: Vec<Event> = Vec::new();
        for _ in 0..EVENTS_PER_PASS {
            let Ok(event) = self.events.pop() else { break };
            self.shared.counters.events.add(1);
            for id in &self.locals {
                if subscribers.get_mut(id).is_some_and(|subscriber| !subscriber.push_event(event)) {
                    self.shared.counters.dropped_local_full.add(1);
                }
            }
            if self.event_epoch != Some(event.epoch) {
                self.send_events(&mut batch, arena);
                self.event_epoch = Some(event.epoch);
                self.event_number = 0;
            }
            if let event::Body::Lost { count } = event.body {
                self.send_events(&mut batch, arena);
                self.event_number = self.event_number.wrapping_add(count);
            } else {
                batch.push(event);
            }
        }
        self.send_events(&mut batch, arena);
        self.events.slots() > 0
    }

    /// Sends events of one epoch, in as many packets as it takes.
    fn send_events(&mut self, batch: &mut Vec<Event>, arena: &mut BytesMut) {
        let mut rest = batch.as_slice();
        while let Some(first) = rest.first() {
            let before = self.event_number;
            let taken = self.send_event_packet(first.time.get(), rest, arena);
            // An event that cannot be said on the wire is skipped; its number goes by, so that it counts as lost.
            self.event_number = before.wrapping_add(u32::try_from(taken.max(1)).unwrap_or(1));
            rest = rest.get(taken.max(1)..).unwrap_or_default();
            self.reminders = NUMBER_REMINDERS;
        }
        batch.clear();
    }

    /// Says again which number is next, if events were sent lately. Called now and then.
    pub(crate) fn remind(&mut self, arena: &mut BytesMut) {
        if self.reminders > 0 {
            self.reminders -= 1;
            self.send_number(arena);
        }
    }

    fn send_number(&mut self, arena: &mut BytesMut) {
        // Before the first event the numbers are those of the epoch that the audio is in.
        if self.event_epoch.is_none() {
            self.event_epoch = self.epoch;
        }
        self.send_event_packet(0, &[], arena);
    }

    /// How many of `events` went into the packet.
    fn send_event_packet(&mut self, base_frame: u64, events: &[Event], arena: &mut BytesMut) -> usize {
        let Some(epoch) = self.event_epoch else { return 0 };
        if self.remotes.is_empty() {
            return events.len();
        }
        let header = packet::event::Header {
            stream: self.shared.stream,
            epoch: epoch.0,
            config: self.config,
            first_number: self.event_number,
            base_frame,
        };
        let room = room(arena);
        let Ok(mut encoder) = packet::event::Encoder::new(&header, &[], room) else { return 0 };
        let mut taken = 0;
        for event in events {
            let Some(body) = convert::body_to_wire(&event.body) else { break };
            match encoder.try_push(event.time.get(), &body) {
                Ok(()) => taken += 1,
                Err(EncodeError::NoRoom | EncodeError::OutOfReach) => break,
                Err(_) => break,
            }
        }
        let length = encoder.finish();
        let packet = arena.split_to(length).freeze();
        self.shared.counters.event_packets.add(1);
        send(&mut self.remotes, &packet, &self.shared);
        taken
    }
}

fn shape(header: &Header, shared: &PublicationShared) -> Option<Shape> {
    let mut shape = Shape::new(shared.codec, header.frames, u8::try_from(header.channels).ok()?);
    shape.first_channel = u8::try_from(header.first_channel).ok()?;
    if header.flags.contains(block_ring::Flags::SILENCE) {
        shape.bytes_per_sample = 0;
    }
    Some(shape)
}

fn encode_piece(
    block: &Header,
    samples: &block_ring::Samples<'_>,
    piece: &Piece,
    config: ConfigId,
    sequence: u32,
    shared: &PublicationShared,
    arena: &mut BytesMut,
) -> Option<Bytes> {
    let offset = Frames::new(i64::from(piece.frame_offset));
    let session_time = block.session_time.map_or(0, |time| {
        let first = time + offset.to_nanos_floor(block.sample_rate);
        first.get()
    });
    let header = audio::Header {
        stream: shared.stream,
        epoch: block.epoch.0,
        config,
        sequence,
        first_frame: (block.start + offset).get(),
        frames: piece.frames,
        first_channel: piece.first_channel,
        channels: piece.channels,
        codec: shared.codec,
        session_time_ns: session_time,
        flags: convert::flags_to_wire(block.flags, piece.frame_offset == 0),
    };
    let room = room(arena);
    let start = header.encode(&[], room).ok()?;
    let mut length = start;
    if header.payload_bytes() != Some(0) {
        let payload = room.get_mut(start..)?;
        let mut writer =
            InterleavedMut::new(shared.codec, piece.channels.into(), piece.frames.into(), payload)?;
        let first = usize::from(piece.first_channel).checked_sub(block.first_channel.into())?;
        let skip = usize::try_from(piece.frame_offset).ok()?;
        for channel in 0..usize::from(piece.channels) {
            writer.write_pair(channel, samples.channel(first + channel), skip);
        }
        length += writer.length();
    }
    Some(arena.split_to(length).freeze())
}

/// The front of `arena`, long enough for any packet.
fn room(arena: &mut BytesMut) -> &mut [u8] {
    if arena.len() < PACKET_BYTES_MAX {
        *arena = BytesMut::zeroed(ARENA_BYTES);
    }
    &mut arena[..PACKET_BYTES_MAX]
}

fn copy(samples: &block_ring::Samples<'_>, channel: usize, from: usize, out: &mut [f32]) {
    let (first, second) = samples.channel(channel);
    let source = first.iter().chain(second).skip(from);
    for (out, sample) in out.iter_mut().zip(source) {
        *out = *sample;
    }
}

fn send(remotes: &mut Vec<Remote>, packet: &Bytes, shared: &PublicationShared) {
    let counters = &shared.counters;
    let mut gone = false;
    for remote in remotes.iter() {
        if remote.connection.datagram_send_buffer_space() < packet.len() {
            counters.dropped_queue_full.add(1);
        }
        match remote.connection.send_datagram(packet.clone()) {
            Ok(()) => counters.bytes.add(u64::try_from(packet.len()).unwrap_or(0)),
            Err(SendDatagramError::ConnectionLost(_)) => gone = true,
            Err(_) => counters.dropped_unsendable.add(1),
        }
    }
    if gone {
        remotes.retain(|remote| remote.connection.close_reason().is_none());
    }
}
