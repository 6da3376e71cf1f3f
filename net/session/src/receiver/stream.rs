//! One stream of a connection, from its packets to blocks and events.

use audiocloud_codec::pack::Packer;
use audiocloud_codec::repair;
use audiocloud_rt::block_ring::{Epoch, Flags, Header};
use audiocloud_rt::event::Event;
use audiocloud_units::{Frames, HostTime, MediaTime, Nanos};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::audio::{self, AUDIO_BYTES_MAX, AudioPacket};
use audiocloud_wire::packet::event::EventPacket;
use audiocloud_wire::packet::repair::RepairPacket;

use super::arrival::Arrivals;
use super::deadline::Deadlines;
use super::disorder::Disorder;
use super::echo::Echo;
use super::events::{self, Events};
use super::figures::Figures;
use super::loss::Loss;
use super::missing::{self, AllMissing, Missing, Way};
use super::opus::{self, Common, Parts};
use super::samples::Samples;
use super::window::{self, Arrival, Window};
use super::{Config, Output};
use crate::convert;

mod time;

/// Between reports, and the step of all averages.
const STEP: Nanos = Nanos::from_millis(50);
/// Steps for which repairs are computed after the last repair packet.
const REPAIR_STEPS: u8 = 40;

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// By itself.
    Sent,
    /// Again.
    Again(Way),
}

/// What the sender is told, counted through the epoch.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    received: u32,
    lost: u32,
    recovered: u32,
    late: u32,
}

/// Where everything goes.
pub(super) type Out<'a> = &'a mut dyn FnMut(Output<'_>);

/// See the module.
#[derive(Debug)]
pub(super) struct Stream {
    config: Config,
    rtt: Nanos,
    pub(super) deadlines: Deadlines,
    pub(super) figures: Figures,

    epoch: Option<u32>,
    /// When that began.
    epoch_since: HostTime,
    /// The one before, of which packets may still come.
    epoch_before: Option<u32>,
    window: Window,
    arrivals: Arrivals,
    missing: AllMissing,
    /// Packets after the newest one that have been taken for missing.
    presumed: u32,
    counts: Counts,
    /// Where the packet after the newest one begins.
    next_start: MediaTime,
    /// The length of the newest packet.
    packet: Nanos,
    /// When the newest packet came.
    newest_at: HostTime,

    disorder: Disorder,
    loss: Loss,
    echo: Echo,
    /// From a request to its answer, in nanoseconds; none before there was any.
    response: Option<f64>,
    /// Whether there is the time to ask for what is missing often enough.
    asking_suffices: bool,
    repair: repair::Decoder,
    /// Steps for which packets are still kept for repairs.
    repair_steps: u8,

    parts: Parts,
    packer: Packer,
    /// What a packed packet holds, a slice for each channel.
    unpacked: Vec<Vec<f32>>,
    events: Events,

    step_at: HostTime,
    reported_at: HostTime,
    owes_report: bool,
    bytes_of_step: u64,
    rate_bps: f64,
    wake: Option<HostTime>,
}

impl Stream {
    pub(super) fn new(config: Config, rtt: Nanos, now: HostTime) -> Self {
        Self {
            config,
            rtt,
            deadlines: Deadlines::default(),
            figures: Figures::default(),
            epoch: None,
            epoch_since: now,
            epoch_before: None,
            window: Window::default(),
            arrivals: Arrivals::new(config.sample_rate),
            missing: AllMissing::default(),
            presumed: 0,
            counts: Counts::default(),
            next_start: MediaTime::ZERO,
            packet: Nanos::new(0),
            newest_at: now,
            disorder: Disorder::default(),
            loss: Loss::default(),
            echo: Echo::default(),
            response: None,
            asking_suffices: true,
            repair: repair::Decoder::new(),
            repair_steps: 0,
            parts: Parts::default(),
            packer: Packer::default(),
            unpacked: Vec::new(),
            events: Events::default(),
            step_at: next_step(now),
            reported_at: now,
            owes_report: false,
            bytes_of_step: 0,
            rate_bps: 0.0,
            wake: None,
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn set_rtt(&mut self, rtt: Nanos) {
        self.rtt = rtt;
    }

    pub(super) fn next_wake(&self) -> Option<HostTime> {
        self.wake
    }

    // ---- Packets.

    /// Takes in a packet of this stream.
    pub(super) fn handle(&mut self, packet: &Packet<'_>, bytes: &[u8], now: HostTime, out: Out<'_>) {
        let length = u64::try_from(bytes.len()).unwrap_or(0);
        self.figures.bytes += length;
        self.bytes_of_step += length;
        self.deadlines.refresh();
        match packet {
            Packet::Audio(packet) => {
                let is_repeat = packet.header.flags.contains(audio::Flags::REPEAT);
                let came = if is_repeat { Came::Again(Way::Resend) } else { Came::Sent };
                self.handle_audio(packet, came, now, out);
                self.keep_for_repair(packet, bytes, now, out);
            }
            Packet::Repair(packet) => self.handle_repair(packet, now, out),
            Packet::Event(packet) => self.handle_events(packet, now, out),
            Packet::Report(_)
            | Packet::Request(_)
            | Packet::Clock(_)
            | Packet::Slice(_)
            | Packet::SliceReport(_) => {
                debug_assert!(false, "those are for others");
            }
        }
        self.poll(now, out);
    }

    fn handle_audio(&mut self, packet: &AudioPacket<'_>, came: Came, now: HostTime, out: Out<'_>) {
        let header = &packet.header;
        if header.config != self.config.config {
            self.figures.unknown_config += 1;
            return;
        }
        if u16::from(header.first_channel) + u16::from(header.channels) > self.config.channels {
            self.figures.undecodable += 1;
            return;
        }
        if !self.enter(header.epoch, now, out) {
            self.figures.late += 1;
            return;
        }
        let start = MediaTime::new(header.first_frame);
        if came == Came::Sent {
            self.arrivals.observe(now, start, header.frames.into());
        }
        let arrival = self.window.arrive(header.sequence);
        if arrival == Arrival::Duplicate {
            self.handle_duplicate(header.sequence, came, now);
            return;
        }
        self.figures.packets += 1;
        self.counts.received = self.counts.received.wrapping_add(1);
        self.account(header, arrival, came, now);
        self.pass_on(packet, came, now, out);
    }

    /// Its number was seen before.
    fn handle_duplicate(&mut self, sequence: u32, came: Came, now: HostTime) {
        if came != Came::Sent {
            self.figures.needless += 1;
            return;
        }
        let Some(missing) = self.missing.take(sequence) else {
            self.figures.duplicates += 1;
            return;
        };
        // An original that was brought back, and had not been lost.
        self.figures.needless += 1;
        match missing.brought_back() {
            Some(Way::Resend) => self.uncount(|figures| &mut figures.recovered_resend),
            Some(Way::Repair) => self.uncount(|figures| &mut figures.recovered_repair),
            None => {}
        }
        self.counts.recovered = self.counts.recovered.wrapping_sub(1);
        self.account_overtaken(&missing, now);
    }

    fn uncount(&mut self, count: impl Fn(&mut Figures) -> &mut u64) {
        let count = count(&mut self.figures);
        *count = count.saturating_sub(1);
    }

    /// An original came that had been missed.
    fn account_overtaken(&mut self, missing: &Missing, now: HostTime) {
        self.loss.came();
        if matches!(missing.state, missing::State::Over { .. }) {
            self.loss.came_after_all();
        }
        if !missing.is_presumed {
            self.figures.reordered += 1;
            self.disorder.filled(now - missing.noticed);
        }
    }

    /// Counts a packet that is new, and what its number says about others.
    fn account(&mut self, header: &audio::Header, arrival: Arrival, came: Came, now: HostTime) {
        let start = MediaTime::new(header.first_frame);
        let missing = match came {
            Came::Sent => self.missing.take(header.sequence),
            Came::Again(_) => self.missing.find(header.sequence).copied(),
        };
        match (came, missing) {
            (Came::Sent, Some(missing)) => self.account_overtaken(&missing, now),
            (Came::Sent, None) => {
                self.loss.came();
                self.figures.reordered += u64::from(arrival == Arrival::Earlier);
            }
            (Came::Again(way), missing) => self.account_recovered(header.sequence, start, missing, way, now),
        }
        if arrival == Arrival::Earlier {
            self.uncount(|figures| &mut figures.absent);
        } else {
            if let Arrival::After(count @ 1..) = arrival {
                self.note_gap(header.sequence, count, start, now);
            }
            let is_last =
                u16::from(header.first_channel) + u16::from(header.channels) == self.config.channels;
            let frames = Frames::from(u32::from(header.frames));
            self.next_start = if is_last { start + frames } else { start };
            self.packet = frames.to_nanos_floor(self.config.sample_rate);
            self.newest_at = now;
            self.presumed = 0;
        }
        let due = self.deadlines.last(header.epoch, start);
        if due.is_some_and(|due| due < now) {
            self.figures.late += 1;
            self.counts.late = self.counts.late.wrapping_add(1);
            // Whatever is late is lost to the playout, known to be missing or not.
            if missing.is_none_or(|missing| missing.state == missing::State::Open) {
                self.figures.lost += 1;
                self.counts.lost = self.counts.lost.wrapping_add(1);
            }
        }
    }

    /// Something was brought back that had not come before.
    fn account_recovered(
        &mut self,
        sequence: u32,
        start: MediaTime,
        missing: Option<Missing>,
        way: Way,
        now: HostTime,
    ) {
        match way {
            Way::Resend => self.figures.recovered_resend += 1,
            Way::Repair => self.figures.recovered_repair += 1,
        }
        self.counts.recovered = self.counts.recovered.wrapping_add(1);
        if way == Way::Resend
            && let Some(response) = missing.and_then(|missing| missing.response(now))
        {
            let response = float(response);
            let known = self.response.get_or_insert(response);
            // One that took very long says little about the next.
            *known += (response.min(2.0 * *known) - *known) / 8.0;
        }
        match self.missing.find(sequence) {
            Some(missing) if missing.state == missing::State::Open => {
                missing.state = missing::State::BroughtBack(way);
            }
            Some(missing) => missing.state = missing::State::Over { brought_back: Some(way) },
            None => self.missing.anticipate(sequence, start, now, way),
        }
    }

    /// `count` packets before this one are missing.
    fn note_gap(&mut self, sequence: u32, count: u32, start: MediaTime, now: HostTime) {
        self.figures.gaps += u64::from(count);
        self.figures.absent += u64::from(count);
        // Of a gap longer than what is remembered the beginning can neither be asked for nor recognised.
        let noted = count.min(window::SPAN / 2);
        self.lose(count - noted, now);
        let span = (start - self.next_start).get().max(0);
        for back in (1..=noted).rev() {
            let place = i64::from(count - back);
            let frame = self.next_start + Frames::new(span / i64::from(count) * place);
            if self.missing.is_full() && self.missing.pop_oldest().is_some_and(|one| one.is_awaited()) {
                self.lose(1, now);
            }
            self.missing.prove(sequence.wrapping_sub(back), frame, now);
        }
    }

    /// So many packets did not come while they could be played.
    fn lose(&mut self, count: u32, now: HostTime) {
        self.figures.lost += u64::from(count);
        self.counts.lost = self.counts.lost.wrapping_add(count);
        if count > 0 {
            self.loss.stayed_away(count, now);
        }
    }

    /// Makes a block of a packet.
    fn pass_on(&mut self, packet: &AudioPacket<'_>, came: Came, now: HostTime, out: Out<'_>) {
        let header = &packet.header;
        let start = MediaTime::new(header.first_frame);
        let mut flags = convert::flags_from_wire(header.flags);
        if came != Came::Sent {
            flags |= Flags::REPEAT;
        }
        let stream = self.config.stream;
        if header.codec == Codec::Opus {
            let recovery = self.recovery();
            let mut emit = |header: &Header, samples: Samples<'_>| {
                out(Output::Block { stream, header: Header { recovery, ..*header }, samples });
            };
            let outcome =
                self.parts.handle(common(&self.config, header.epoch), packet, now, flags, &mut emit);
            self.add_opus(outcome);
            return;
        }
        self.parts.leave(start);
        let (channels, frames) = (usize::from(header.channels), usize::from(header.frames));
        let samples = match (packet.samples(), header.codec.integer_bits()) {
            (Some(samples), _) => Samples::packet(samples),
            (None, Some(bits)) => {
                let Self { packer, unpacked, .. } = &mut *self;
                if packer.unpack_planar(packet.payload, channels, frames, bits, unpacked).is_err() {
                    self.figures.undecodable += 1;
                    return;
                }
                Samples::planar(&self.unpacked)
            }
            (None, None) => {
                self.figures.undecodable += 1;
                return;
            }
        };
        let block = Header {
            epoch: Epoch(header.epoch),
            sample_rate: self.config.sample_rate,
            start,
            frames: header.frames.into(),
            first_channel: header.first_channel.into(),
            channels: header.channels.into(),
            stream_channels: self.config.channels,
            host_time: now,
            session_time: convert::stamp(header),
            flags,
            recovery: self.recovery(),
        };
        out(Output::Block { stream, header: block, samples });
    }

    fn handle_repair(&mut self, packet: &RepairPacket<'_>, now: HostTime, out: Out<'_>) {
        self.figures.repair_packets += 1;
        self.repair_steps = REPAIR_STEPS;
        let header = &packet.header;
        if self.epoch == Some(header.epoch) {
            self.repair.repair(header.last_sequence, header.window, header.key, packet.symbol);
            self.take_repaired(now, out);
        }
    }

    fn keep_for_repair(&mut self, packet: &AudioPacket<'_>, bytes: &[u8], now: HostTime, out: Out<'_>) {
        if self.repair_steps == 0 || self.epoch != Some(packet.header.epoch) {
            return;
        }
        let mut original = [0; AUDIO_BYTES_MAX];
        let Some(original) = original.get_mut(..bytes.len()) else { return };
        original.copy_from_slice(bytes);
        // A repair is made of packets as they were sent first.
        audio::set_repeat(original, false);
        self.repair.source(packet.header.sequence, original);
        self.take_repaired(now, out);
    }

    fn take_repaired(&mut self, now: HostTime, out: Out<'_>) {
        while let Some((sequence, bytes)) = self.repair.next_recovered() {
            match AudioPacket::decode(&bytes) {
                Ok(packet)
                    if packet.header.stream == self.config.stream
                        && packet.header.sequence == sequence
                        && self.epoch == Some(packet.header.epoch) =>
                {
                    self.handle_audio(&packet, Came::Again(Way::Repair), now, out);
                }
                _ => self.figures.undecodable += 1,
            }
        }
    }

    fn handle_events(&mut self, packet: &EventPacket<'_>, now: HostTime, out: Out<'_>) {
        let header = &packet.header;
        if header.config != self.config.config {
            self.figures.unknown_config += 1;
            return;
        }
        self.figures.event_packets += 1;
        if !self.enter(header.epoch, now, out) {
            self.figures.events_late += u64::from(packet.count());
            return;
        }
        let stream = self.config.stream;
        let outcome = self.events.handle(packet, now, |event| out(Output::Event { stream, event }));
        self.add_events(outcome);
    }

    fn add_events(&mut self, outcome: events::Outcome) {
        self.figures.events_lost += u64::from(outcome.lost);
        self.figures.events_late += u64::from(outcome.late);
        self.owes_report |= outcome.is_news;
    }

    fn add_opus(&mut self, outcome: opus::Outcome) {
        self.figures.undecodable += u64::from(outcome.undecodable);
        self.figures.recovered_fec += u64::from(outcome.recovered_fec);
        self.figures.concealed_codec += u64::from(outcome.concealed);
    }

    /// Whether a packet of this epoch belongs to the one at hand, which a new one ends.
    fn enter(&mut self, epoch: u32, now: HostTime, out: Out<'_>) -> bool {
        if self.epoch == Some(epoch) {
            return true;
        }
        if self.epoch_before == Some(epoch) {
            return false;
        }
        let stream = self.config.stream;
        let outcome = self.events.finish(|event: Event| out(Output::Event { stream, event }));
        self.add_events(outcome);
        while let Some(one) = self.missing.pop_oldest() {
            if one.is_awaited() {
                self.lose(1, now);
            }
        }
        self.events = Events::new(epoch, self.epoch.is_none());
        self.epoch_before = self.epoch.replace(epoch);
        self.epoch_since = now;
        self.window = Window::default();
        self.arrivals = Arrivals::new(self.config.sample_rate);
        self.counts = Counts::default();
        self.repair = repair::Decoder::new();
        self.parts.clear();
        true
    }
}

/// Steps of all streams fall together, so that one waking does for all of them.
fn next_step(now: HostTime) -> HostTime {
    HostTime::new((now.get().div_euclid(STEP.get()) + 1) * STEP.get())
}

fn common(config: &Config, epoch: u32) -> Common {
    Common { epoch, sample_rate: config.sample_rate, stream_channels: config.channels }
}

#[allow(clippy::cast_precision_loss, reason = "spans of less than a hundred days are exact")]
fn float(span: Nanos) -> f64 {
    span.get() as f64
}
