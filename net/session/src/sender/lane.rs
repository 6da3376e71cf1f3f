//! One subscriber of a stream: what it is sent, what it has asked for, and what it has to do without.

use audiocloud_codec::repair::Encoder as RepairEncoder;
use audiocloud_units::{HostTime, Nanos, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{ConfigId, StreamId};
use audiocloud_wire::packet::audio::{self, AudioPacket};
use audiocloud_wire::packet::event;
use audiocloud_wire::packet::repair;
use audiocloud_wire::packet::report::ReceiverReport;
use audiocloud_wire::packet::request::ResendRequest;
use audiocloud_wire::quality::Quality;
use bytes::Bytes;

use super::arena::Arena;
use super::encoding::{Encoding, Load};
use super::event_log::{Delivery, EventLog};
use super::figures::Figures;
use super::history::{Answer, History};
use super::ladder::{Ladder, Rung, Step};
use super::rate::RateMeter;
use super::rendition::{Part, Rendition};

/// Names a lane among those of its stream: whatever the owner calls the subscriber's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u64);

/// A wish for repairs is good for so long; reports come twenty times a second.
const WISH_AGE_MAX: Nanos = Nanos::from_secs(2);
/// How often what is sent is compared with what may be.
const CHECK_INTERVAL: Nanos = Nanos::from_millis(50);
/// Resends that may be owed beside one for each original: a peer that asks for everything does not multiply the rate.
const RESENDS_OWED_MAX: u32 = 256;

/// The way out: where packets are written, and who takes them.
pub(super) struct Exit<'a> {
    pub(super) arena: &'a mut Arena,
    pub(super) now: HostTime,
    pub(super) send: &'a mut dyn FnMut(LaneId, Bytes),
}

/// What the packets of all lanes of a stream have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) stream: StreamId,
    pub(super) config: ConfigId,
    pub(super) sample_rate: SampleRate,
    pub(super) preferred: Codec,
}

#[derive(Clone, Copy, Debug)]
struct Wish {
    every: u32,
    window: u8,
    at: HostTime,
}

/// See the module.
#[derive(Debug)]
pub struct Lane {
    id: LaneId,
    identity: Identity,
    quality: Quality,
    epoch: Option<u32>,
    sequence: u32,
    history: History,
    repair: RepairEncoder,
    wish: Option<Wish>,
    since_repair: u32,
    key: u8,
    pub(super) delivery: Delivery,
    ladder: Ladder,
    cap_bps: Option<u64>,
    checked_at: Option<HostTime>,
    /// What is sent; not yet the ladder's while that is being prepared.
    encoding: Encoding,
    /// What was sent before, and still is until the other encoding covers its end.
    leaving: Option<(Encoding, u64)>,
    /// The frame after the last that was sent.
    covered: u64,
    meter: RateMeter,
    resends_owed: u32,
    report: Option<(ReceiverReport, HostTime)>,
    loss_percent: u8,
    /// What it would take if nothing were given up.
    demand_bps: u64,
    pub(super) figures: Figures,
}

impl Lane {
    pub(super) fn new(id: LaneId, identity: Identity, quality: Quality, log: &EventLog) -> Self {
        let wished = Encoding::wished(quality, identity.preferred, identity.sample_rate);
        Self {
            id,
            identity,
            quality,
            epoch: None,
            sequence: 0,
            history: History::default(),
            repair: RepairEncoder::new(),
            wish: None,
            since_repair: 0,
            key: 0,
            delivery: Delivery::new(log),
            ladder: Ladder::new(wished, identity.sample_rate),
            cap_bps: None,
            checked_at: None,
            encoding: wished,
            leaving: None,
            covered: 0,
            meter: RateMeter::default(),
            resends_owed: RESENDS_OWED_MAX,
            report: None,
            loss_percent: 0,
            demand_bps: 0,
            figures: Figures::default(),
        }
    }

    /// Which one it is.
    pub fn id(&self) -> LaneId {
        self.id
    }

    /// What its subscriber asked for.
    pub fn quality(&self) -> Quality {
        self.quality
    }

    /// How samples go to it at present.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// What the ladder allows.
    pub fn rung(&self) -> Rung {
        self.ladder.rung()
    }

    /// The last report of its receiver, and when it came.
    pub fn report(&self) -> Option<&(ReceiverReport, HostTime)> {
        self.report.as_ref()
    }

    /// What its samples would take in bits per second if nothing were given up: its share of a path's rate is measured
    /// by that.
    pub fn demand_bps(&self) -> u64 {
        self.demand_bps
    }

    /// Of a hundred packets, how many did not come by themselves, by the last two reports.
    pub fn loss_percent(&self) -> u8 {
        self.loss_percent
    }

    /// What was done for it.
    pub fn figures(&mut self, now: HostTime) -> Figures {
        let level = u64::try_from(self.ladder.level()).unwrap_or(u64::MAX);
        Figures { level, rate_bps: self.meter.rate_bps(now), ..self.figures }
    }

    /// What is given up and why, in words; none: nothing is.
    pub fn given_up(&self) -> Option<String> {
        if self.ladder.level() == 0 {
            return None;
        }
        let (rung, wished) = (self.ladder.rung(), self.ladder.wished());
        let cause = match self.cap_bps {
            Some(cap_bps) => {
                format!(
                    "the path carries no more than {}.{} Mbit/s",
                    cap_bps / 1_000_000,
                    cap_bps / 100_000 % 10
                )
            }
            None => "the path carried no more a moment ago".to_owned(),
        };
        Some(if rung.encoding == wished {
            format!("no repairs are sent: {cause}")
        } else {
            format!("{} is sent instead of {wished}, without repairs: {cause}", rung.encoding)
        })
    }

    /// Another quality, from the next block on.
    pub(super) fn set_quality(&mut self, quality: Quality) {
        if self.quality != quality {
            self.quality = quality;
            let Identity { preferred, sample_rate, .. } = self.identity;
            self.ladder = Ladder::new(Encoding::wished(quality, preferred, sample_rate), sample_rate);
        }
    }

    pub(super) fn set_rate_cap(&mut self, cap_bps: Option<u64>) {
        self.cap_bps = cap_bps;
    }

    /// Whether packets of this encoding go to it, or soon will.
    pub(super) fn needs(&self, encoding: Encoding) -> bool {
        self.encodings().contains(&Some(encoding))
    }

    /// The encodings that [`Lane::needs`] says yes to; some may be alike.
    pub(super) fn encodings(&self) -> [Option<Encoding>; 3] {
        let leaving = self.leaving.map(|(encoding, _)| encoding);
        [Some(self.encoding), Some(self.ladder.rung().encoding), leaving]
    }

    /// An encoding that cannot be made is given up like one that the path does not carry.
    pub(super) fn cannot_have(&mut self, encoding: Encoding) {
        let fallback = Encoding::pcm(Codec::PcmS16);
        if self.encoding == encoding {
            self.encoding = fallback;
        }
        if self.ladder.rung().encoding == encoding {
            self.ladder = Ladder::new(fallback, self.identity.sample_rate);
        }
        self.leaving = None;
    }

    /// Numbers begin anew.
    pub(super) fn restart(&mut self, epoch: u32) {
        if self.epoch == Some(epoch) {
            return;
        }
        self.epoch = Some(epoch);
        self.sequence = 0;
        self.history.restart(0);
        self.repair = RepairEncoder::new();
        self.since_repair = 0;
        self.encoding = self.ladder.rung().encoding;
        self.leaving = None;
        self.covered = 0;
    }

    // ---- Blocks.

    /// Sends what the renditions made of a block.
    pub(super) fn send_block(&mut self, renditions: &[Rendition], load: Load, exit: &mut Exit<'_>) {
        self.compare_rates(load, exit.now);
        let find = |encoding| renditions.iter().find(|rendition| rendition.encoding() == encoding);
        let next = self.ladder.rung().encoding;
        if next != self.encoding
            && self.leaving.is_none()
            && let Some(start) = find(next).and_then(|rendition| self.begins(rendition))
        {
            self.leaving = Some((self.encoding, start));
            self.encoding = next;
        }
        // The old encoding goes on until the new one continues where it ends: what comes twice does no harm.
        if let Some((leaving, until)) = self.leaving {
            if self.covered < until
                && let Some(rendition) = find(leaving)
            {
                for (part, payload) in rendition.parts().filter(|(part, _)| part.first_frame < until) {
                    self.send_part(part, rendition.encoding().codec, payload, exit);
                    self.covered = self.covered.max(part.first_frame + u64::from(part.frames));
                }
            }
            if self.covered >= until {
                self.leaving = None;
            }
        }
        if let Some(rendition) = find(self.encoding) {
            let mut end = self.covered;
            for (part, payload) in rendition.parts() {
                self.send_part(part, rendition.encoding().codec, payload, exit);
                end = end.max(part.first_frame + u64::from(part.frames));
            }
            if self.leaving.is_none() {
                self.covered = end;
            }
        }
    }

    /// Where a rendition could take over with this block, if it can.
    fn begins(&self, rendition: &Rendition) -> Option<u64> {
        if !rendition.is_warm() {
            return None;
        }
        rendition.parts().map(|(part, _)| part.first_frame).next()
    }

    fn send_part(&mut self, part: &Part, codec: Codec, payload: &[u8], exit: &mut Exit<'_>) {
        let Some(epoch) = self.epoch else { return };
        let header = audio::Header {
            stream: self.identity.stream,
            epoch,
            config: self.identity.config,
            sequence: self.sequence,
            first_frame: part.first_frame,
            frames: part.frames,
            first_channel: part.first_channel,
            channels: part.channels,
            codec,
            session_time_ns: part.session_time_ns,
            link_offset_us: part.link_offset_us,
            flags: part.flags,
        };
        let packet = exit.arena.packet(|room| AudioPacket::encode(&header, &[], payload, room).ok());
        let Some(packet) = packet else {
            self.figures.unencodable += 1;
            return;
        };
        self.history.push(exit.now, packet.clone());
        self.repair.push(self.sequence, &packet);
        self.sequence = self.sequence.wrapping_add(1);
        self.resends_owed = (self.resends_owed + 1).min(RESENDS_OWED_MAX);
        self.figures.packets += 1;
        self.send(packet, exit);
        self.send_repair(epoch, exit);
    }

    fn send(&mut self, packet: Bytes, exit: &mut Exit<'_>) {
        self.figures.bytes += u64::try_from(packet.len()).unwrap_or(0);
        self.meter.add(exit.now, packet.len());
        (exit.send)(self.id, packet);
    }

    fn compare_rates(&mut self, load: Load, now: HostTime) {
        if self.checked_at.is_some_and(|at| (now - at).get() < CHECK_INTERVAL.get()) {
            return;
        }
        self.checked_at = Some(now);
        self.demand_bps = self.ladder.wished().rate_bps(load);
        let measured = self.meter.rate_bps(now);
        let repairs = self.active_wish(now).map_or(0, |wish| 256 / u64::from(wish.every));
        match self.ladder.update(now, self.cap_bps, measured, load, repairs) {
            Some(Step::Down) => self.figures.steps_down += 1,
            Some(Step::Up) => self.figures.steps_up += 1,
            None => {}
        }
    }

    // ---- Redundancy.

    fn active_wish(&self, now: HostTime) -> Option<Wish> {
        self.wish.filter(|wish| wish.every > 0 && (now - wish.at).get() <= WISH_AGE_MAX.get())
    }

    fn send_repair(&mut self, epoch: u32, exit: &mut Exit<'_>) {
        self.since_repair = self.since_repair.saturating_add(1);
        let Some(wish) = self.active_wish(exit.now).filter(|_| self.ladder.rung().redundancy) else { return };
        if self.since_repair < wish.every {
            return;
        }
        self.since_repair = 0;
        self.key = if wish.window == 1 { 0 } else { self.key.checked_add(1).unwrap_or(1) };
        let (key, repair, stream) = (self.key, &self.repair, self.identity.stream);
        let packet = exit.arena.packet(|room| {
            let (header_room, symbol_room) = room.split_at_mut_checked(repair::HEADER_BYTES)?;
            let (last_sequence, window, bytes) = repair.encode(wish.window, key, symbol_room)?;
            let header = repair::Header { stream, epoch, last_sequence, window, key };
            Some(header.encode(header_room).ok()? + bytes)
        });
        if let Some(packet) = packet {
            self.figures.repairs += 1;
            self.send(packet, exit);
        }
    }

    /// What the receiver has to say.
    pub(super) fn handle_report(&mut self, report: &ReceiverReport, log: &EventLog, now: HostTime) {
        let window = report.repair_window.clamp(1, repair::WINDOW_MAX);
        self.wish = Some(Wish { every: report.repair_every.into(), window, at: now });
        self.delivery.acknowledge(log, report.epoch, report.next_event);
        if let Some((before, _)) = &self.report
            && before.epoch == report.epoch
        {
            let missed = |one: &ReceiverReport| u64::from(one.lost) + u64::from(one.recovered);
            let all = |one: &ReceiverReport| u64::from(one.lost) + u64::from(one.received);
            let all = all(report).saturating_sub(all(before));
            let missed = missed(report).saturating_sub(missed(before)).min(all);
            if let Some(percent) = (missed * 100).checked_div(all) {
                let percent = u8::try_from(percent).unwrap_or(100);
                // Up at once, down slowly.
                self.loss_percent = percent.max(self.loss_percent.saturating_sub(1));
            }
        }
        self.report = Some((*report, now));
    }

    /// Sends again what is asked for and still there.
    pub(super) fn handle_request(&mut self, request: &ResendRequest, exit: &mut Exit<'_>) {
        if self.epoch != Some(request.epoch) {
            self.figures.requests_too_old += u64::from(request.mask.count_ones());
            return;
        }
        for sequence in request.sequences() {
            let (packet, copies) = match self.history.ask(exit.now, sequence) {
                Answer::Send(packet, copies) => (packet, copies),
                Answer::OnItsWay => continue,
                Answer::Gone => {
                    self.figures.requests_too_old += 1;
                    continue;
                }
            };
            let repeat = exit.arena.packet(|room| {
                let room = room.get_mut(..packet.len())?;
                room.copy_from_slice(&packet);
                audio::set_repeat(room, true);
                Some(packet.len())
            });
            let Some(repeat) = repeat else { continue };
            let copies = if self.ladder.rung().redundancy { copies } else { 1 };
            if self.resends_owed < u32::from(copies) {
                self.figures.requests_refused += 1;
                continue;
            }
            self.resends_owed -= u32::from(copies);
            self.figures.requests_answered += 1;
            for _ in 0..copies {
                self.figures.repeats += 1;
                self.send(repeat.clone(), exit);
            }
        }
    }

    // ---- Events.

    /// Sends events that were not sent yet.
    pub(super) fn send_events(&mut self, log: &EventLog, exit: &mut Exit<'_>) {
        let mut repeated = 0;
        while let Some(packet) = exit.arena.packet(|room| {
            let (written, again) = self.delivery.write_unsent(log, exit.now, room)?;
            repeated = again;
            Some(written.bytes)
        }) {
            self.figures.events_repeated += u64::from(repeated);
            self.figures.event_packets += 1;
            self.send(packet, exit);
        }
    }

    /// Sends again what was not acknowledged, when it is time.
    pub(super) fn repeat_events(&mut self, log: &EventLog, exit: &mut Exit<'_>) {
        let mut repeated = 0;
        let packet = exit.arena.packet(|room| {
            let written = self.delivery.write_repeats(log, exit.now, room)?;
            repeated = written.events;
            Some(written.bytes)
        });
        if let Some(packet) = packet {
            self.figures.events_repeated += u64::from(repeated);
            self.figures.event_packets += 1;
            self.send(packet, exit);
        }
    }

    /// Says which event is next, so that the loss of the last ones is noticed.
    pub(super) fn send_number(&mut self, log: &EventLog, exit: &mut Exit<'_>) {
        let packet = exit.arena.packet(|room| Some(Delivery::write_number(log, room)?.bytes));
        if let Some(packet) = packet {
            debug_assert!(packet.len() >= event::HEADER_BYTES);
            self.figures.event_packets += 1;
            self.send(packet, exit);
        }
    }
}
