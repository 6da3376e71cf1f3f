//! The end that sends: blocks and events in, slices out; and again, what is missed.

use audiocloud_rt::block_ring::{self, Epoch, Samples};
use audiocloud_rt::chain_event::ChainEvent;
use audiocloud_units::{HostTime, Nanos};
use audiocloud_wire::packet::slice::{self, EVENT_OVERHEAD_BYTES, Encoder, Flags, HEADER_BYTES};
use audiocloud_wire::packet::slice::{SLICE_BYTES_MAX, SLICE_FRAMES_MAX};
use audiocloud_wire::packet::slice_report::SliceReport;
use bytes::Bytes;

use super::doubling::Doubling;
use super::figures::OutletFigures;
use super::{Config, Transfer, Way, convert, framing};
use crate::sender::arena::Arena;
use crate::sender::history::{Answer, History};

/// How long a slice can be asked for: as long as its events are of use.
const AGE_MAX: Nanos = Nanos::from_secs(1);
/// Resends that may be owed beside one for each slice: who asks for everything does not multiply the rate.
const RESENDS_OWED_MAX: u32 = 256;
/// Where slices go twice, the last of a block goes again after so long, unless another one has taken it along.
const LAST_AGAIN: Nanos = Nanos::from_millis(1);
/// Where nothing follows for this long, the last slice goes again once: that it was lost would not be noticed.
const REMINDER: Nanos = Nanos::from_millis(50);

/// A block that is not of this way: its rate or its channels are others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch;

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the block has another rate or other channels than the chain was opened with")
    }
}

impl std::error::Error for Mismatch {}

/// See the module.
#[derive(Debug)]
pub struct Outlet {
    config: Config,
    epoch: Option<Epoch>,
    sequence: u32,
    next_event: u32,
    next_frame: Option<u64>,
    arena: Arena,
    history: History,
    doubling: Doubling,
    may_double: bool,
    /// The last slice, until it has gone again.
    last: Option<Bytes>,
    again_at: Option<HostTime>,
    resends_owed: u32,
    figures: OutletFigures,
}

impl Outlet {
    /// Nothing is sent before the first block.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            epoch: None,
            sequence: 0,
            next_event: 0,
            next_frame: None,
            arena: Arena::default(),
            history: History::keeping(AGE_MAX),
            doubling: Doubling::default(),
            may_double: true,
            last: None,
            again_at: None,
            resends_owed: RESENDS_OWED_MAX,
            figures: OutletFigures::default(),
        }
    }

    /// Which way of which opening.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether slices may go twice where that helps; a path that carries no more is not helped.
    pub fn allow_doubling(&mut self, may: bool) {
        self.may_double = may;
    }

    /// See [`OutletFigures`].
    #[must_use]
    pub fn figures(&mut self, now: HostTime) -> OutletFigures {
        OutletFigures { doubling: self.is_doubling(now), ..self.figures }
    }

    fn is_doubling(&mut self, now: HostTime) -> bool {
        self.may_double && self.doubling.is_on(now)
    }

    /// Sends a block, and the events up to its end, in the order of their time: all that are before the next block's
    /// first frame. One that is late goes with the block's first frame.
    ///
    /// Exact, each [`Bytes`] is a slice with its length in front, for the stream; live, it is a datagram.
    ///
    /// # Errors
    ///
    /// [`Mismatch`]: nothing was sent.
    pub fn push(
        &mut self,
        block: &block_ring::Header,
        samples: &Samples<'_>,
        events: &[ChainEvent],
        now: HostTime,
        send: &mut dyn FnMut(Bytes),
    ) -> Result<(), Mismatch> {
        let Config { channels, sample_rate, .. } = self.config;
        if block.channels != channels || block.first_channel != 0 || block.sample_rate != sample_rate {
            return Err(Mismatch);
        }
        if self.epoch != Some(block.epoch) {
            self.restart(block.epoch);
        }
        let start = block.start.get();
        let is_torn = block.flags.contains(block_ring::Flags::DISCONTINUITY)
            || self.next_frame.is_some_and(|expected| expected != start);
        self.figures.discontinuities += u64::from(is_torn);
        self.next_frame = Some(start.saturating_add(block.frames.into()));
        let silence = if is_silent(block, samples) { Flags::SILENCE } else { Flags::NONE };
        let most = match silence {
            Flags::SILENCE => SLICE_FRAMES_MAX,
            _ => slice::frames_max(self.config.channel_count()),
        };
        let pieces = block.frames.div_ceil(u32::from(most.max(1))).max(1);
        let (each, longer) = (block.frames / pieces, block.frames % pieces);
        let mut rest = events;
        let mut from = 0;
        for piece in 0..pieces {
            let frames = each + u32::from(piece < longer);
            let end = start.saturating_add(u64::from(from + frames));
            let count = if piece + 1 == pieces {
                rest.len()
            } else {
                rest.iter().position(|event| event.time.get() >= end).unwrap_or(rest.len())
            };
            let (here, after) = rest.split_at(count);
            rest = after;
            let torn = if is_torn && piece == 0 { Flags::DISCONTINUITY } else { Flags::NONE };
            let part = Part {
                flags: self.config.way.flags() | silence | torn,
                epoch: block.epoch,
                start: start.saturating_add(from.into()),
                offset: usize::try_from(from).unwrap_or(usize::MAX),
                frames: u16::try_from(frames).unwrap_or(SLICE_FRAMES_MAX),
            };
            self.send_part(&part, samples, here, now, send);
            from += frames;
        }
        Ok(())
    }

    fn restart(&mut self, epoch: Epoch) {
        self.epoch = Some(epoch);
        (self.sequence, self.next_event, self.next_frame) = (0, 0, None);
        self.history.restart(0);
        self.doubling.restart();
        (self.last, self.again_at) = (None, None);
        self.figures.far = None;
    }

    /// Sends frames that one slice holds, and before them slices of the events that it has no room for.
    fn send_part(
        &mut self,
        part: &Part,
        samples: &Samples<'_>,
        events: &[ChainEvent],
        now: HostTime,
        send: &mut dyn FnMut(Bytes),
    ) {
        let mut rest = events;
        let room = SLICE_BYTES_MAX - HEADER_BYTES;
        let with_samples = self.header(part, part.frames).sample_bytes();
        while !(rest.is_empty() || rest.len() <= usize::from(u8::MAX) && with_samples + bytes(rest) <= room) {
            let taken = self.send_slice(part, None, rest, now, send).max(1);
            rest = rest.get(taken..).unwrap_or_default();
        }
        if part.frames > 0 || !rest.is_empty() {
            self.send_slice(part, Some(samples), rest, now, send);
        }
    }

    fn header(&self, part: &Part, frames: u16) -> slice::Header {
        slice::Header {
            remote: self.config.remote,
            flags: part.flags,
            epoch: part.epoch.0,
            sequence: self.sequence,
            first_event: self.next_event,
            first_frame: part.start,
            frames,
            channels: self.config.channel_count(),
        }
    }

    /// Sends one slice, without samples that of events alone. How many of the events are done with.
    fn send_slice(
        &mut self,
        part: &Part,
        samples: Option<&Samples<'_>>,
        events: &[ChainEvent],
        now: HostTime,
        send: &mut dyn FnMut(Bytes),
    ) -> usize {
        let header = self.header(part, if samples.is_some() { part.frames } else { 0 });
        let (mut taken, mut written) = (0, 0);
        let prefix = match self.config.transfer {
            Transfer::Live => 0,
            Transfer::Exact => framing::LENGTH_BYTES,
        };
        let packet = self.arena.packet(|room| {
            let (length_room, room) = room.split_at_mut_checked(prefix)?;
            let mut encoder = Encoder::new(&header, room).ok()?;
            for event in events {
                let offset = event.time.get().saturating_sub(part.start);
                let offset = u16::try_from(offset).unwrap_or(u16::MAX);
                if event.epoch == part.epoch
                    && let Some(body) = convert::body_to_wire(&event.body)
                {
                    match encoder.try_push(offset, &body) {
                        Err(slice_error) if slice_error == NO_ROOM => break,
                        pushed => written += u32::from(pushed.is_ok()),
                    }
                }
                taken += 1;
            }
            let length = encoder.finish(|channel, bytes| {
                if let Some(samples) = samples {
                    write(samples, channel, part.offset, header.frames, bytes);
                }
            });
            framing::write_length(length, length_room);
            Some(prefix + length)
        });
        let Some(packet) = packet else { return taken };
        self.figures.slices += 1;
        self.figures.events += u64::from(written);
        self.figures.events_refused += u64::try_from(taken).unwrap_or(0) - u64::from(written);
        self.next_event = self.next_event.wrapping_add(written);
        self.sequence = self.sequence.wrapping_add(1);
        self.send(packet.clone(), send);
        if self.config.transfer == Transfer::Live {
            self.keep(packet, now, send);
        }
        taken
    }

    fn send(&mut self, packet: Bytes, send: &mut dyn FnMut(Bytes)) {
        self.figures.bytes += u64::try_from(packet.len()).unwrap_or(0);
        send(packet);
    }

    /// What has just been sent may be missed.
    fn keep(&mut self, packet: Bytes, now: HostTime, send: &mut dyn FnMut(Bytes)) {
        self.history.push(now, packet.clone());
        self.resends_owed = (self.resends_owed + 1).min(RESENDS_OWED_MAX);
        let before = self.last.replace(packet);
        if self.is_doubling(now) {
            if let Some(before) = before {
                self.repeat(&before, send);
                self.figures.repeats += 1;
            }
            self.again_at = Some(now + LAST_AGAIN);
        } else {
            // Whole steps, so that not every block moves an alarm.
            let step = (now.get() + REMINDER.get()).div_euclid(REMINDER.get()) + 1;
            self.again_at = Some(HostTime::new(step * REMINDER.get()));
        }
    }

    fn repeat(&mut self, packet: &Bytes, send: &mut dyn FnMut(Bytes)) {
        let repeat = self.arena.packet(|room| {
            let room = room.get_mut(..packet.len())?;
            room.copy_from_slice(packet);
            slice::set_repeat(room);
            Some(packet.len())
        });
        if let Some(repeat) = repeat {
            self.send(repeat, send);
        }
    }

    /// When there is something to do next.
    #[must_use]
    pub fn next_wake(&self) -> Option<HostTime> {
        self.again_at
    }

    /// Does what is to be done by now.
    pub fn poll(&mut self, now: HostTime, send: &mut dyn FnMut(Bytes)) {
        if self.again_at.is_none_or(|at| at > now) {
            return;
        }
        self.again_at = None;
        if let Some(last) = self.last.take() {
            self.repeat(&last, send);
            self.figures.repeats += 1;
        }
    }

    /// What the other end says of this way: it is sent again what it misses.
    pub fn handle(&mut self, report: &SliceReport, now: HostTime, send: &mut dyn FnMut(Bytes)) {
        let is_ours = report.remote == self.config.remote && Way::of(report.back) == self.config.way;
        if !is_ours || self.epoch != Some(Epoch(report.epoch)) {
            return;
        }
        self.figures.far = Some(*report);
        self.doubling.update(report.missed, now);
        for sequence in report.sequences() {
            let (packet, copies) = match self.history.ask(now, sequence) {
                Answer::Send(packet, copies) => (packet, u32::from(copies)),
                Answer::OnItsWay => continue,
                Answer::Gone => {
                    self.figures.requests_too_old += 1;
                    continue;
                }
            };
            if self.resends_owed < copies {
                self.figures.requests_refused += 1;
                continue;
            }
            self.resends_owed -= copies;
            for _ in 0..copies {
                self.figures.resends += 1;
                self.repeat(&packet, send);
            }
        }
    }
}

const NO_ROOM: audiocloud_wire::packet::EncodeError = audiocloud_wire::packet::EncodeError::NoRoom;

/// What becomes one slice.
#[derive(Clone, Copy, Debug)]
struct Part {
    flags: Flags,
    epoch: Epoch,
    /// Its first frame.
    start: u64,
    /// That frame's place in the block.
    offset: usize,
    frames: u16,
}

/// Bytes that these events take.
fn bytes(events: &[ChainEvent]) -> usize {
    let body = |event: &ChainEvent| Some(convert::body_to_wire(&event.body)?.encoded_length());
    events.iter().filter_map(body).map(|length| EVENT_OVERHEAD_BYTES + length).sum()
}

/// Whether every sample is zero, bit for bit: −0 is not.
fn is_silent(block: &block_ring::Header, samples: &Samples<'_>) -> bool {
    let is_zero = |samples: &[f32]| samples.iter().fold(0, |bits, sample| bits | sample.to_bits()) == 0;
    (0..usize::from(block.channels)).all(|channel| {
        let (one, two) = samples.channel(channel);
        is_zero(one) && is_zero(two)
    })
}

/// Copies a channel's frames from `from` on, which may lie in two pieces.
fn write(samples: &Samples<'_>, channel: usize, from: usize, frames: u16, out: &mut [u8]) {
    let (one, two) = samples.channel(channel);
    let until = from + usize::from(frames);
    let first = one.get(from.min(one.len())..until.min(one.len())).unwrap_or_default();
    let (from, until) = (from.saturating_sub(one.len()), until.saturating_sub(one.len()));
    let second = two.get(from.min(two.len())..until.min(two.len())).unwrap_or_default();
    let (out_one, out_two) = out.split_at_mut(size_of_val(first).min(out.len()));
    slice::write_samples(first, out_one);
    slice::write_samples(second, out_two);
}
