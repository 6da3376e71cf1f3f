//! The end that receives: slices in, blocks and events out, and requests for what is missed.

use std::collections::VecDeque;

use audiocloud_rt::block_ring::{self, Epoch};
use audiocloud_rt::chain_event::{ChainBody, ChainEvent};
use audiocloud_rt::event;
use audiocloud_units::{Frames, HostTime, MediaTime, Nanos};
use audiocloud_wire::packet::slice::{Flags, Planar, SLICE_BYTES_MAX, SLICE_FRAMES_MAX, SlicePacket};
use audiocloud_wire::packet::slice_report::{SLICE_REPORT_BYTES, SliceReport};

use super::figures::IntakeFigures;
use super::overdue::Overdue;
use super::window::{Pace, Place, SPAN, State, Window};
use super::{Config, Transfer, Way, convert};
use crate::receiver::disorder::Disorder;

/// Between two requests for one slice, at least.
const AGAIN_MIN: Nanos = Nanos::from_millis(1);
/// How often is reported while slices come.
const REPORT_STEP: Nanos = Nanos::from_millis(50);
/// A patience beyond this is none.
const PATIENCE_MAX: Nanos = Nanos::from_secs(1);
/// Up to so much silence is put in place of what is missing; after more the frames' numbers jump.
const FILL_MAX: Nanos = Nanos::from_millis(200);
/// Epochs that were left, whose last slices may still be on their way.
const PAST_EPOCHS: usize = 8;

/// What an intake is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeConfig {
    /// Which way of which opening.
    pub config: Config,
    /// How long a missing slice may hold up those after it, on the way there; for how long it is asked for, back.
    pub patience: Nanos,
    /// Most frames that are sent at once: a gap that is longer began earlier than it shows.
    pub block_frames_max: u32,
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub enum Output<'a> {
    /// Frames. There: each follows the last, unless flagged
    /// [`DISCONTINUITY`](audiocloud_rt::block_ring::Flags::DISCONTINUITY); what was filled in is flagged as silence. Back:
    /// as they came. Those that did not come by themselves are flagged
    /// [`REPEAT`](audiocloud_rt::block_ring::Flags::REPEAT). The host time is that of arrival.
    Block {
        /// What they are.
        header: block_ring::Header,
        /// To be copied from.
        samples: Planar<'a>,
    },
    /// An event, before the block that it belongs to.
    Event(ChainEvent),
    /// To be sent to the other end as a datagram.
    Send(&'a [u8]),
}

/// Takes them.
type Out<'a> = &'a mut dyn FnMut(Output<'_>);

/// What reports say, of the present epoch.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    received: u32,
    missed: u32,
    lost: u32,
    late: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Intake {
    config: IntakeConfig,
    rtt: Nanos,
    epoch: Option<Epoch>,
    past: VecDeque<u32>,
    window: Window,
    overdue: Overdue,
    disorder: Disorder,
    /// There, the frame after the last that was handed over.
    next_frame: Option<u64>,
    /// The frame after the last that came.
    newest_frame: Option<u64>,
    next_event: u32,
    has_events: bool,
    counts: Counts,
    report_at: Option<HostTime>,
    figures: IntakeFigures,
}

impl Intake {
    /// Before the first slice. The first one to come may begin at any frame.
    #[must_use]
    pub fn new(config: IntakeConfig) -> Self {
        let patience = config.patience.max(Nanos::ZERO).min(PATIENCE_MAX);
        Self {
            config: IntakeConfig { patience, ..config },
            rtt: Nanos::from_millis(1),
            epoch: None,
            past: VecDeque::with_capacity(PAST_EPOCHS),
            window: Window::new(),
            overdue: Overdue::default(),
            disorder: Disorder::default(),
            next_frame: None,
            newest_frame: None,
            next_event: 0,
            has_events: false,
            counts: Counts::default(),
            report_at: None,
            figures: IntakeFigures::default(),
        }
    }

    /// Which way of which opening.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config.config
    }

    /// How long the path takes there and back, lately.
    pub fn set_rtt(&mut self, rtt: Nanos) {
        self.rtt = rtt.max(Nanos::ZERO).min(PATIENCE_MAX);
    }

    /// See [`IntakeFigures`].
    #[must_use]
    pub fn figures(&self) -> IntakeFigures {
        self.figures
    }

    fn pace(&self) -> Pace {
        let again = Nanos::new(self.rtt.get() / 4 * 5).max(AGAIN_MIN);
        Pace { rtt: self.rtt, again }
    }

    // ---- Slices.

    /// Takes in a slice. Exact, it leads to its events and its block alone, so there must be room for these.
    pub fn handle(&mut self, slice: &SlicePacket<'_>, now: HostTime, out: Out<'_>) {
        let Config { remote, way, transfer, .. } = self.config.config;
        let header = &slice.header;
        let is_ours = header.remote == remote
            && Way::of(header.flags.contains(Flags::BACK)) == way
            && header.channels == self.config.config.channel_count();
        if !is_ours {
            self.figures.refused += 1;
            return;
        }
        if !self.enter(Epoch(header.epoch)) {
            self.figures.stale += 1;
            return;
        }
        let sequence = header.sequence;
        if transfer == Transfer::Exact {
            if sequence != self.window.next() {
                self.figures.refused += 1;
                return;
            }
            self.window.restart(sequence.wrapping_add(1));
            self.count(slice);
            self.emit(slice, now, out);
            return;
        }
        let Some(ahead) = self.window.ahead(sequence) else {
            self.take_overdue(slice, now, out);
            return;
        };
        if ahead >= SPAN {
            self.skip_to(sequence.wrapping_sub(SPAN - 1), now, out);
        }
        if !self.arrive(slice, now) {
            self.figures.duplicates += 1;
            return;
        }
        self.count(slice);
        match way {
            Way::Back => {
                self.window.finish(sequence);
                self.emit(slice, now, out);
                self.window.advance_past_done();
            }
            Way::There if sequence == self.window.next() => {
                self.window.advance();
                self.emit(slice, now, out);
                self.release(now, out);
            }
            Way::There => {
                self.window.hold(sequence, slice.as_bytes());
                self.release(now, out);
            }
        }
        self.ask(now, out);
        // Whole steps, so that not every slice moves an alarm.
        let step = now.get().div_euclid(REPORT_STEP.get()) + 1;
        self.report_at.get_or_insert(HostTime::new(step * REPORT_STEP.get()));
    }

    /// Whether the epoch is the present one, or becomes it.
    fn enter(&mut self, epoch: Epoch) -> bool {
        if self.epoch == Some(epoch) {
            return true;
        }
        if self.past.contains(&epoch.0) {
            return false;
        }
        if let Some(before) = self.epoch.replace(epoch) {
            if self.past.len() >= PAST_EPOCHS {
                self.past.pop_front();
            }
            self.past.push_back(before.0);
        }
        self.window.restart(0);
        self.figures.events_lost += u64::from(self.overdue.clear());
        (self.next_frame, self.newest_frame, self.next_event, self.has_events) = (None, None, 0, false);
        self.counts = Counts::default();
        true
    }

    fn count(&mut self, slice: &SlicePacket<'_>) {
        self.counts.received = self.counts.received.wrapping_add(1);
        self.figures.slices += 1;
        self.figures.frames += u64::from(slice.header.frames);
    }

    /// Notes that a slice is there, and which before it are not. Whether it is new.
    fn arrive(&mut self, slice: &SlicePacket<'_>, now: HostTime) -> bool {
        let sequence = slice.header.sequence;
        let is_repeat = slice.header.flags.contains(Flags::REPEAT);
        if self.window.ahead(sequence).is_none_or(|ahead| ahead >= self.window.span()) {
            let expires = now - self.age_of_gap(slice) + self.config.patience;
            let missing = Place::missing(now, expires, self.disorder.wait(), self.pace());
            self.window.extend(sequence, missing);
            self.newest_frame = self.newest_frame.max(Some(slice.end()));
            if is_repeat {
                self.miss(1);
                self.figures.recovered += 1;
            }
            return true;
        }
        let place = *self.window.place(sequence);
        if place.state != State::Missing {
            return false;
        }
        if is_repeat {
            self.disorder.stayed();
        } else {
            self.disorder.filled(now - place.since);
        }
        if is_repeat && place.asks == 0 {
            self.miss(1);
        }
        if is_repeat || place.asks > 0 {
            self.figures.recovered += 1;
        }
        self.window.finish(sequence);
        true
    }

    fn miss(&mut self, count: u32) {
        self.counts.missed = self.counts.missed.wrapping_add(count);
        self.figures.missed += u64::from(count);
    }

    /// For how long the first of what is missing before a slice has been due: not at all, if all of it may have been sent
    /// at once with that slice.
    fn age_of_gap(&self, slice: &SlicePacket<'_>) -> Nanos {
        let Some(newest) = self.newest_frame else { return Nanos::ZERO };
        let gap = slice.header.first_frame.saturating_sub(newest);
        let gap = gap.saturating_sub(self.config.block_frames_max.into());
        self.span(gap).min(PATIENCE_MAX)
    }

    /// How long so many frames last; a minute stands for all that is longer.
    fn span(&self, frames: u64) -> Nanos {
        let rate = self.config.config.sample_rate;
        let frames = frames.min(u64::from(rate.hz()) * 60);
        Frames::new(i64::try_from(frames).unwrap_or(0)).to_nanos_floor(rate)
    }

    // ---- Handing over.

    /// Hands over what waits for nothing any more, and gives up what has been waited for long enough.
    fn release(&mut self, now: HostTime, out: Out<'_>) {
        while self.window.span() > 0 {
            match self.window.place(self.window.next()).state {
                State::Missing if self.window.place(self.window.next()).expires > now => return,
                State::Missing => self.give_up_run(now),
                State::Held | State::Done => self.hand_over_next(now, out),
            }
        }
    }

    fn hand_over_next(&mut self, now: HostTime, out: Out<'_>) {
        let mut copy = [0; SLICE_BYTES_MAX];
        let mut length = 0;
        if let Some(held) = self.window.held(self.window.next()) {
            length = held.len();
            copy[..length].copy_from_slice(held);
        }
        self.window.advance();
        if let Ok(slice) = SlicePacket::decode(&copy[..length]) {
            self.emit(&slice, now, out);
        }
    }

    /// Gives up those that are missing one after the other, up to the next one that came.
    fn give_up_run(&mut self, now: HostTime) {
        let run = self.window.run_of_missing();
        let after = self.window.next().wrapping_add(run);
        let next = self.window.held(after).and_then(|held| SlicePacket::decode(held).ok());
        let events = next.map_or(0, |slice| self.events_before(&slice));
        for _ in 0..run {
            self.lose(self.window.next());
            self.overdue.push(self.window.next(), events > 0, now);
            self.window.advance();
        }
    }

    /// A slice is given up. It may not have been asked for, if there was no use.
    fn lose(&mut self, sequence: u32) {
        self.lose_many(1, u32::from(self.window.place(sequence).asks == 0));
    }

    fn lose_many(&mut self, count: u32, unasked: u32) {
        self.counts.lost = self.counts.lost.wrapping_add(count);
        self.figures.lost += u64::from(count);
        self.miss(unasked);
    }

    /// How many events between the last slice and this one did not come.
    fn events_before(&self, slice: &SlicePacket<'_>) -> u32 {
        let count = slice.header.first_event.wrapping_sub(self.next_event);
        if count <= u32::MAX / 2 { count } else { 0 }
    }

    /// Leaves behind all before `sequence`: what comes now is too far ahead for it.
    fn skip_to(&mut self, sequence: u32, now: HostTime, out: Out<'_>) {
        while self.window.span() > 0 && self.window.ahead(sequence).is_some_and(|ahead| ahead > 0) {
            match (self.config.config.way, self.window.place(self.window.next()).state) {
                (Way::There, State::Missing) => self.give_up_run(now),
                (Way::There, _) => self.hand_over_next(now, out),
                (Way::Back, State::Missing) => {
                    self.lose(self.window.next());
                    self.window.advance();
                }
                (Way::Back, _) => self.window.advance(),
            }
        }
        if let Some(ahead) = self.window.ahead(sequence).filter(|ahead| *ahead > 0) {
            self.lose_many(ahead, ahead);
            self.window.restart(sequence);
        }
    }

    /// Hands over a slice: events first, then frames.
    fn emit(&mut self, slice: &SlicePacket<'_>, now: HostTime, out: Out<'_>) {
        let Some(epoch) = self.epoch else { return };
        if self.config.config.way == Way::There {
            self.overdue.expect(self.events_before(slice));
            self.fill_until(slice, now, out);
            self.next_event = slice.next_event();
        }
        self.has_events |= slice.next_event() != 0;
        for event in slice.events() {
            if let Some(body) = convert::body_from_wire(&event.body) {
                self.overdue.touch(event.number, &body);
                self.figures.events += 1;
                out(Output::Event(ChainEvent { epoch, time: MediaTime::new(event.frame), body }));
            }
        }
        if slice.header.frames == 0 {
            return;
        }
        let mut flags = block_ring::Flags::NONE;
        let start = slice.header.first_frame;
        if self.config.config.way == Way::There && self.next_frame.is_some_and(|expected| expected != start) {
            flags |= block_ring::Flags::DISCONTINUITY;
            self.figures.jumps += 1;
        }
        for (theirs, ours) in
            [(Flags::SILENCE, block_ring::Flags::SILENCE), (Flags::REPEAT, block_ring::Flags::REPEAT)]
        {
            if slice.header.flags.contains(theirs) {
                flags |= ours;
            }
        }
        self.next_frame = Some(slice.end());
        let header = self.header(epoch, start, slice.header.frames, flags, now);
        out(Output::Block { header, samples: slice.samples });
    }

    /// Puts silence in place of what is missing before a slice, unless that is too long.
    fn fill_until(&mut self, slice: &SlicePacket<'_>, now: HostTime, out: Out<'_>) {
        let Some(epoch) = self.epoch else { return };
        let until = slice.header.first_frame;
        let mut from = match self.next_frame {
            Some(next) => next,
            // An epoch whose beginning was lost began at 0, not long ago; whoever takes over hears its slice 0.
            None if slice.header.sequence != 0 => 0,
            None => return,
        };
        if until <= from || self.span(until - from) > FILL_MAX {
            return;
        }
        while from < until {
            let frames = u16::try_from(until - from).unwrap_or(u16::MAX).min(SLICE_FRAMES_MAX);
            let header = self.header(epoch, from, frames, block_ring::Flags::SILENCE, now);
            out(Output::Block { header, samples: Planar::default() });
            self.figures.filled_frames += u64::from(frames);
            from += u64::from(frames);
        }
        self.next_frame = Some(until);
    }

    fn header(
        &self,
        epoch: Epoch,
        start: u64,
        frames: u16,
        flags: block_ring::Flags,
        now: HostTime,
    ) -> block_ring::Header {
        let Config { sample_rate, channels, .. } = self.config.config;
        block_ring::Header {
            epoch,
            sample_rate,
            start: MediaTime::new(start),
            frames: frames.into(),
            first_channel: 0,
            channels,
            stream_channels: channels,
            host_time: now,
            session_time: None,
            flags,
            recovery: Nanos::ZERO,
        }
    }

    /// A slice that was left behind: it came before, or was given up.
    fn take_overdue(&mut self, slice: &SlicePacket<'_>, now: HostTime, out: Out<'_>) {
        if !self.overdue.take(slice.header.sequence) {
            self.figures.duplicates += 1;
            return;
        }
        self.counts.late = self.counts.late.wrapping_add(1);
        self.figures.late += 1;
        if self.config.config.way == Way::Back {
            // Each of its frames has its time, and whoever plays it knows whether that is over.
            self.count(slice);
            self.emit(slice, now, out);
            return;
        }
        let (Some(epoch), Some(at)) = (self.epoch, self.next_frame) else { return };
        for event in slice.events() {
            if let Some(body) = convert::body_from_wire(&event.body)
                && self.overdue.admit(event.number, &body)
            {
                self.figures.events += 1;
                self.figures.events_late += 1;
                out(Output::Event(ChainEvent { epoch, time: MediaTime::new(at), body }));
            }
        }
    }

    // ---- Time.

    /// Does what is to be done by now.
    pub fn poll(&mut self, now: HostTime, out: Out<'_>) {
        match self.config.config.way {
            Way::There => self.release(now, out),
            Way::Back => self.expire_back(now),
        }
        let lost = self.overdue.expire(now);
        self.figures.events_lost += u64::from(lost);
        if lost > 0
            && let (Some(epoch), Some(at)) = (self.epoch, self.next_frame)
        {
            let body = ChainBody::Voice(event::Body::Lost { count: lost });
            out(Output::Event(ChainEvent { epoch, time: MediaTime::new(at), body }));
        }
        self.ask(now, out);
        if self.report_at.is_some_and(|at| at <= now) {
            self.report(0, 0, out);
        }
    }

    /// Back, each slice is given up by itself.
    fn expire_back(&mut self, now: HostTime) {
        if self.window.missing() == 0 {
            return;
        }
        for sequence in self.window.sequences() {
            let place = self.window.place(sequence);
            if place.state == State::Missing && place.expires <= now {
                self.window.finish(sequence);
                self.lose(sequence);
                self.overdue.push(sequence, self.has_events, now);
            }
        }
        self.window.advance_past_done();
    }

    /// When there is something to do next.
    #[must_use]
    pub fn next_wake(&self) -> Option<HostTime> {
        let wake = [self.report_at, self.overdue.next_wake()].into_iter().flatten().min();
        if self.window.missing() == 0 {
            return wake;
        }
        let pace = self.pace();
        let missing = self.window.sequences().map(|sequence| self.window.place(sequence));
        let missing = missing.filter(|place| place.state == State::Missing);
        // There, only the first holds up the others.
        let expiring = match self.config.config.way {
            Way::There => 1,
            Way::Back => usize::MAX,
        };
        let each = missing.enumerate().filter_map(|(number, place)| {
            let expires = (number < expiring).then_some(place.expires);
            place.next_ask(pace).into_iter().chain(expires).min()
        });
        wake.into_iter().chain(each).min()
    }

    /// Asks for what is missing, when it is time.
    fn ask(&mut self, now: HostTime, out: Out<'_>) {
        let pace = self.pace();
        let (mut first, mut mask) = (0, 0);
        if self.window.missing() > 0 {
            for sequence in self.window.sequences() {
                let place = self.window.place_mut(sequence);
                if place.next_ask(pace).is_some_and(|at| at <= now) {
                    let is_first = place.asks == 0;
                    place.asked(now, pace);
                    self.miss(u32::from(is_first));
                    self.request(sequence, &mut first, &mut mask, out);
                }
            }
        }
        let mut overdue = std::mem::take(&mut self.overdue);
        overdue.ask(now, pace, |sequence| self.request(sequence, &mut first, &mut mask, out));
        self.overdue = overdue;
        if mask != 0 {
            self.report(first, mask, out);
        }
    }

    /// Adds a number to the request, or sends that and begins another.
    fn request(&mut self, sequence: u32, first: &mut u32, mask: &mut u64, out: Out<'_>) {
        self.figures.requests += 1;
        let bit = sequence.wrapping_sub(*first);
        if *mask != 0 && bit < u64::BITS {
            *mask |= 1 << bit;
            return;
        }
        if *mask != 0 {
            self.report(*first, *mask, out);
        }
        (*first, *mask) = (sequence, 1);
    }

    fn report(&mut self, first_missing: u32, missing: u64, out: Out<'_>) {
        self.report_at = None;
        let Some(epoch) = self.epoch else { return };
        let Counts { received, missed, lost, late } = self.counts;
        let report = SliceReport {
            remote: self.config.config.remote,
            back: self.config.config.way == Way::Back,
            epoch: epoch.0,
            next_sequence: self.window.next(),
            received,
            missed,
            lost,
            late,
            first_missing,
            missing,
        };
        let mut bytes = [0; SLICE_REPORT_BYTES];
        if report.encode(&mut bytes).is_ok() {
            out(Output::Send(&bytes));
        }
    }
}
