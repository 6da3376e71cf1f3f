//! One stream of a connection, from its packets to blocks and events.

use audiocloud_codec::pack::Packer;
use audiocloud_codec::repair;
use audiocloud_rt::block_ring::{Epoch, Flags, Header};
use audiocloud_rt::event::Event;
use audiocloud_units::{Frames, HostTime, MediaTime, Nanos, SessionTime};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::audio::{self, AUDIO_BYTES_MAX, AudioPacket};
use audiocloud_wire::packet::event::EventPacket;
use audiocloud_wire::packet::repair::RepairPacket;
use audiocloud_wire::packet::report::{REPORT_BYTES, ReceiverReport};
use audiocloud_wire::packet::request::REQUEST_BYTES;
use audiocloud_wire::pcm::Interleaved;

use super::arrival::Arrivals;
use super::deadline::Deadlines;
use super::disorder::Disorder;
use super::events::{self, Events};
use super::figures::{Figures, State};
use super::loss::{Loss, Wish};
use super::missing::{self, AllMissing, Missing, Pace};
use super::opus::{self, Common, Parts};
use super::samples::Samples;
use super::window::{self, Arrival, Window};
use super::{Config, Output};
use crate::convert;

/// How long a missing packet is of use where nothing plays yet.
const PATIENCE: Nanos = Nanos::from_millis(50);
/// Between reports, and the step of all averages.
const STEP: Nanos = Nanos::from_millis(50);
/// Between reports where nothing comes.
const STEP_IDLE: Nanos = Nanos::from_millis(500);
/// Between reports when events came that the sender repeats until it hears of them.
const ACKNOWLEDGE: Nanos = Nanos::from_millis(5);
/// Between requests for one packet, at least.
const AGAIN_MIN: Nanos = Nanos::from_millis(1);
/// This many requests in a row bring back as good as everything; with fewer than the second there is a need for more.
const ROUNDS_ENOUGH: f64 = 3.0;
const ROUNDS_FEW: f64 = 2.5;
/// The most packets that are taken for missing before a later one proves it.
const PRESUMED_MAX: u32 = 8;
/// Steps for which repairs are computed after the last repair packet.
const REPAIR_STEPS: u8 = 40;

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// By itself.
    Sent,
    /// Again.
    Resent,
    /// Computed from a repair.
    Repaired,
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
    /// From a request to its answer, in nanoseconds; none before there was any.
    response: Option<f64>,
    /// Whether there is the time to ask for what is missing often enough.
    asking_suffices: bool,
    repair: repair::Decoder,
    /// Steps for which packets are still kept for repairs.
    repair_steps: u8,

    parts: Parts,
    packer: Packer,
    pcm: Vec<u8>,
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
            response: None,
            asking_suffices: true,
            repair: repair::Decoder::new(),
            repair_steps: 0,
            parts: Parts::default(),
            packer: Packer::default(),
            pcm: Vec::new(),
            events: Events::default(),
            step_at: now + STEP,
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
                let came = if is_repeat { Came::Resent } else { Came::Sent };
                self.handle_audio(packet, came, now, out);
                self.keep_for_repair(packet, bytes, now, out);
            }
            Packet::Repair(packet) => self.handle_repair(packet, now, out),
            Packet::Event(packet) => self.handle_events(packet, now, out),
            Packet::Report(_) | Packet::Request(_) => debug_assert!(false, "those are for the sending half"),
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
        // An original that was brought back, and had not been lost.
        let Some(missing) = self.missing.take(sequence) else {
            self.figures.duplicates += 1;
            return;
        };
        self.figures.needless += 1;
        self.figures.reordered += 1;
        self.disorder.filled(now - missing.noticed);
        self.loss.came();
        self.loss.came_after_all();
    }

    /// Counts a packet that is new, and what its number says about others.
    fn account(&mut self, header: &audio::Header, arrival: Arrival, came: Came, now: HostTime) {
        let start = MediaTime::new(header.first_frame);
        let missing = match came {
            Came::Sent => self.missing.take(header.sequence),
            Came::Resent | Came::Repaired => self.missing.find(header.sequence).copied(),
        };
        match came {
            Came::Sent => {
                self.loss.came();
                if arrival == Arrival::Earlier {
                    self.figures.reordered += 1;
                    if let Some(missing) = missing {
                        self.disorder.filled(now - missing.noticed);
                        if missing.state == missing::State::GivenUp {
                            self.loss.came_after_all();
                        }
                    }
                }
            }
            Came::Resent | Came::Repaired => self.account_recovered(header.sequence, missing, came, now),
        }
        if arrival == Arrival::Earlier {
            self.figures.absent = self.figures.absent.saturating_sub(1);
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
            if missing.is_none_or(|missing| missing.state != missing::State::GivenUp) {
                self.figures.lost += 1;
                self.counts.lost = self.counts.lost.wrapping_add(1);
            }
        }
    }

    fn account_recovered(&mut self, sequence: u32, missing: Option<Missing>, came: Came, now: HostTime) {
        match came {
            Came::Repaired => self.figures.recovered_repair += 1,
            _ => self.figures.recovered_resend += 1,
        }
        self.counts.recovered = self.counts.recovered.wrapping_add(1);
        let Some(missing) = missing else {
            self.loss.stayed_away(1, now);
            return;
        };
        if came == Came::Resent
            && let Some(response) = missing.response(now)
        {
            let response = float(response);
            let known = self.response.get_or_insert(response);
            *known += (response - *known) / 8.0;
        }
        if missing.state == missing::State::Open {
            self.loss.stayed_away(1, now);
            self.disorder.stayed();
        }
        if let Some(missing) = self.missing.find(sequence) {
            missing.state = missing::State::BroughtBack;
            missing.is_presumed = false;
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
            let mut emit = |header: &Header, samples: Samples<'_>| {
                out(Output::Block { stream, header: *header, samples });
            };
            let outcome =
                self.parts.handle(common(&self.config, header.epoch), packet, now, flags, &mut emit);
            self.add_opus(outcome);
            return;
        }
        self.parts.leave(start);
        let (channels, frames) = (usize::from(header.channels), usize::from(header.frames));
        let samples = match (packet.samples(), header.codec.integer_bits()) {
            (Some(samples), _) => samples,
            (None, Some(bits)) => {
                match self.packer.unpack(packet.payload, channels, frames, bits, &mut self.pcm) {
                    Ok(()) => Interleaved::new(header.codec, channels, frames, &self.pcm),
                    Err(_) => {
                        self.figures.undecodable += 1;
                        return;
                    }
                }
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
            session_time: (header.session_time_ns != 0).then(|| SessionTime::new(header.session_time_ns)),
            flags,
        };
        out(Output::Block { stream, header: block, samples: Samples::packet(samples) });
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
                    self.handle_audio(&packet, Came::Repaired, now, out);
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
        self.window = Window::default();
        self.arrivals = Arrivals::new(self.config.sample_rate);
        self.counts = Counts::default();
        self.repair = repair::Decoder::new();
        self.parts.clear();
        true
    }

    // ---- Time.

    /// Does what is to be done by now.
    pub(super) fn poll(&mut self, now: HostTime, out: Out<'_>) {
        self.deadlines.refresh();
        if now >= self.step_at {
            self.step(now);
        }
        if let Some(epoch) = self.epoch {
            self.presume(now);
            self.seek(epoch, now, out);
            self.make_up(epoch, now, out);
            if self.report_at() <= now {
                self.report(epoch, now, out);
            }
        }
        self.wake = self.find_wake();
    }

    fn step(&mut self, now: HostTime) {
        self.step_at = now + STEP;
        self.loss.step();
        self.repair_steps = self.repair_steps.saturating_sub(1);
        let bits_per_second = f64::from(u32::try_from(self.bytes_of_step).unwrap_or(u32::MAX)) * 8.0 * 20.0;
        self.rate_bps += (bits_per_second - self.rate_bps) / 20.0;
        self.bytes_of_step = 0;
        let rounds = self.rounds();
        self.asking_suffices = rounds >= if self.asking_suffices { ROUNDS_FEW } else { ROUNDS_ENOUGH };
    }

    /// How often a packet can be asked for before it is due.
    fn rounds(&self) -> f64 {
        let epoch = self.epoch.unwrap_or_default();
        let Some(hold) = self.deadlines.hold(epoch) else { return f64::MAX };
        let hold = hold + self.deadlines.patience(epoch);
        let pace = self.pace();
        let left = float(hold - self.detection() - pace.response);
        if left < 0.0 { 0.0 } else { 1.0 + left / float(pace.again) }
    }

    /// From when a packet should have come until it is asked for.
    fn detection(&self) -> Nanos {
        let overdue = match (self.arrivals.overdue(self.next_start), self.arrivals.expected(self.next_start))
        {
            (Some(overdue), Some(expected)) => overdue - expected,
            _ => self.packet,
        };
        self.packet.min(overdue) + self.disorder.wait()
    }

    fn pace(&self) -> Pace {
        let again = Nanos::new(self.response().get() / 4 * 5) + self.arrivals.jitter();
        Pace { response: self.response_least(), again: again.max(AGAIN_MIN), disorder: self.disorder.wait() }
    }

    #[allow(clippy::cast_possible_truncation, reason = "saturates")]
    fn response(&self) -> Nanos {
        self.response.map_or(self.rtt, |response| Nanos::new(response as i64))
    }

    /// The least that an answer may take: one slow answer does not end all asking.
    fn response_least(&self) -> Nanos {
        let response = self.response();
        if self.rtt.get() > 0 { response.min(self.rtt) } else { response }
    }

    /// When the next packet should have come, if it would be of use to ask for it then: that, and its number and first
    /// frame.
    fn presume_at(&self) -> Option<(HostTime, u32, MediaTime)> {
        let (epoch, highest) = (self.epoch?, self.window.highest()?);
        if self.presumed >= PRESUMED_MAX || self.packet.get() <= 0 {
            return None;
        }
        let length = self.packet.to_frames_nearest(self.config.sample_rate);
        let start = self.next_start + Frames::new(length.get() * i64::from(self.presumed));
        let at = self.arrivals.overdue(start)?;
        let due = self.deadlines.last(epoch, start)?;
        let sequence = highest.wrapping_add(1).wrapping_add(self.presumed);
        (at + self.response_least() <= due).then_some((at, sequence, start))
    }

    fn presume(&mut self, now: HostTime) {
        while let Some((at, sequence, start)) = self.presume_at()
            && at <= now
        {
            self.presumed += 1;
            self.missing.presume(sequence, start, now);
        }
    }

    /// Asks for what is missing, and gives up what is past its time.
    fn seek(&mut self, epoch: u32, now: HostTime, out: Out<'_>) {
        let pace = self.pace();
        let Self { missing, deadlines, .. } = self;
        let due = |one: &Missing| due_of(deadlines, epoch, one);
        let expired = missing.expire(now, due);
        let copies = if self.loss.is_lossy() { 2 } else { 1 };
        let requests = missing.ask((self.config.stream, epoch), now, pace, due, |request| {
            let mut bytes = [0; REQUEST_BYTES];
            if request.encode(&mut bytes).is_ok() {
                for _ in 0..copies {
                    out(Output::Send(&bytes));
                }
            }
        });
        self.figures.requests_sent += u64::from(requests) * copies;
        for _ in 0..expired.lost {
            self.disorder.stayed();
        }
        self.lose(expired.lost, now);
    }

    /// Makes up what cannot be waited for any longer.
    fn make_up(&mut self, epoch: u32, now: HostTime, out: Out<'_>) {
        let stream = self.config.stream;
        let Self { deadlines, events, parts, config, .. } = self;
        let due = |start| deadlines.first(epoch, start);
        let told = events.poll(now, due, |event| out(Output::Event { stream, event }));
        let mut emit = |header: &Header, samples: Samples<'_>| {
            out(Output::Block { stream, header: *header, samples });
        };
        let made = parts.poll(common(config, epoch), now, due, &mut emit);
        self.add_events(told);
        self.add_opus(made);
    }

    fn report_at(&self) -> HostTime {
        if self.owes_report {
            return self.reported_at + ACKNOWLEDGE;
        }
        let is_idle = self.newest_at < self.reported_at;
        self.reported_at + if is_idle { STEP_IDLE } else { STEP }
    }

    fn report(&mut self, epoch: u32, now: HostTime, out: Out<'_>) {
        (self.reported_at, self.owes_report) = (now, false);
        let wish = self.wish(now);
        if wish != Wish::NONE {
            self.repair_steps = REPAIR_STEPS;
        }
        let report = ReceiverReport {
            stream: self.config.stream,
            epoch,
            highest_sequence: self.window.highest().unwrap_or(0),
            received: self.counts.received,
            lost: self.counts.lost,
            recovered: self.counts.recovered,
            late: self.counts.late,
            jitter_us: micros(self.arrivals.jitter()),
            hold_us: self.deadlines.hold(epoch).map_or(0, micros),
            heard_us: self.deadlines.heard(epoch).map_or(0, micros),
            next_event: self.events.next_number(),
            repair_every: wish.every,
            repair_window: wish.window,
        };
        let mut bytes = [0; REPORT_BYTES];
        if report.encode(&mut bytes).is_ok() {
            self.figures.reports_sent += 1;
            out(Output::Send(&bytes));
        }
    }

    fn wish(&self, now: HostTime) -> Wish {
        if self.asking_suffices { Wish::NONE } else { self.loss.wish(now) }
    }

    fn find_wake(&self) -> Option<HostTime> {
        let epoch = self.epoch?;
        let due = |one: &Missing| due_of(&self.deadlines, epoch, one);
        let first = |start| self.deadlines.first(epoch, start);
        let all = [
            Some(self.step_at),
            Some(self.report_at()),
            self.presume_at().map(|(at, ..)| at),
            self.missing.next_wake(self.pace(), due),
            self.events.next_wake(first),
            self.parts.next_wake(self.config.sample_rate, first),
        ];
        all.into_iter().flatten().min()
    }

    /// How the stream comes at the moment.
    pub(super) fn state(&self, now: HostTime) -> State {
        let of_epoch = |figure: fn(&Deadlines, u32) -> Option<Nanos>| {
            self.epoch.and_then(|epoch| figure(&self.deadlines, epoch)).unwrap_or_default()
        };
        State {
            jitter: self.arrivals.jitter(),
            response: self.response(),
            one_way: Nanos::new(self.rtt.get() / 2) + self.arrivals.queueing(),
            hold: of_epoch(Deadlines::hold),
            heard: of_epoch(Deadlines::heard),
            disorder: self.disorder.wait(),
            rate_bps: whole(self.rate_bps),
            loss: self.loss.share(),
            wish: self.wish(now),
        }
    }
}

/// Until when a missing packet may come.
fn due_of(deadlines: &Deadlines, epoch: u32, one: &Missing) -> HostTime {
    deadlines.last(epoch, one.start).unwrap_or(one.noticed + PATIENCE)
}

fn common(config: &Config, epoch: u32) -> Common {
    Common { epoch, sample_rate: config.sample_rate, stream_channels: config.channels }
}

#[allow(clippy::cast_precision_loss, reason = "spans of less than a hundred days are exact")]
fn float(span: Nanos) -> f64 {
    span.get() as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// For a report: what is below 0 or beyond an hour is told as the bound.
fn micros(span: Nanos) -> u32 {
    u32::try_from(span.get().max(0) / 1000).unwrap_or(u32::MAX)
}
