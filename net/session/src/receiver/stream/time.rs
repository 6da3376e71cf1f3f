//! What a stream does by itself as time goes by: it asks for what is missing, gives it up, and reports.

use audiocloud_rt::block_ring::Header;
use audiocloud_units::{Frames, HostTime, MediaTime, Nanos};
use audiocloud_wire::packet::report::{REPORT_BYTES, ReceiverReport};
use audiocloud_wire::packet::request::REQUEST_BYTES;

use super::{Out, REPAIR_STEPS, Stream, common, float, next_step};
use crate::receiver::Output;
use crate::receiver::deadline::Deadlines;
use crate::receiver::figures::State;
use crate::receiver::loss::Wish;
use crate::receiver::missing::{Missing, Pace};
use crate::receiver::samples::Samples;

/// A packet as long as this is waited for no longer than it should take.
const PACKET_LONG: Nanos = Nanos::from_millis(4);

/// How long a missing packet is of use where nothing plays yet.
const PATIENCE: Nanos = Nanos::from_millis(50);
/// How long a step waits for a packet to go along with: whoever owns the stream need not be woken for it alone.
const STEP_WAITS: Nanos = Nanos::from_millis(8);
/// Between reports where nothing comes.
const STEP_IDLE: Nanos = Nanos::from_millis(500);
/// Between reports when events came that the sender repeats until it hears of them.
const ACKNOWLEDGE: Nanos = Nanos::from_millis(5);
/// Between requests for one packet, at least.
const AGAIN_MIN: Nanos = Nanos::from_millis(1);
/// A path that loses less than this loses nothing.
const LOSS_FREE: f64 = 0.001;
/// This many requests in a row bring back as good as everything; with fewer than the second there is a need for more.
const ROUNDS_ENOUGH: f64 = 3.0;
const ROUNDS_FEW: f64 = 2.5;
/// The longest that playouts are told to wait for what was asked for: where that takes longer, repairs are sent.
const RECOVERY_MAX: Nanos = Nanos::from_millis(12);
/// What is waited for on suspicion alone, and what for a third answer, which is hardly ever needed.
const RECOVERY_SHORT: Nanos = Nanos::from_millis(7);
/// For so long a path may lose what it has not lost yet.
const UNKNOWN: Nanos = Nanos::from_secs(2);
/// Where less than this is lost, asking twice suffices.
const LOSS_LITTLE: f64 = 0.02;
/// The most packets that are taken for missing before a later one proves it.
const PRESUMED_MAX: u32 = 8;

impl Stream {
    /// Does what is to be done by now.
    pub(in crate::receiver) fn poll(&mut self, now: HostTime, out: Out<'_>) {
        self.deadlines.refresh();
        let is_step = now >= self.step_at;
        if is_step {
            self.step(now);
        }
        if let Some(epoch) = self.epoch {
            self.presume(now);
            self.seek(epoch, now, out);
            self.make_up(epoch, now, out);
            let is_idle = self.newest_at < self.reported_at && now - self.reported_at < STEP_IDLE;
            if is_step && !is_idle || self.acknowledge_at().is_some_and(|at| at <= now) {
                self.report(epoch, now, out);
            }
        }
        self.wake = self.find_wake();
    }

    fn step(&mut self, now: HostTime) {
        self.step_at = next_step(now);
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

    /// From when a packet usually comes until a lost one has been brought back by asking for it, often enough for what is
    /// lost here: [`Header::recovery`]. In the first seconds, when nobody knows the path, as if a little were lost.
    pub(super) fn recovery(&self) -> Nanos {
        let is_new = self.newest_at - self.epoch_since < UNKNOWN;
        if self.packet.get() <= 0 || !is_new && !self.loss.loses() {
            return Nanos::ZERO;
        }
        let pace = self.pace();
        let asked_once = self.detection() + self.response();
        let (twice, thrice) = (asked_once + pace.again, asked_once + pace.again + pace.again);
        let most = if self.loss.loses() { RECOVERY_MAX } else { RECOVERY_SHORT };
        if self.loss.share() > LOSS_LITTLE && thrice <= RECOVERY_SHORT {
            thrice
        } else if twice <= most {
            twice
        } else if asked_once <= most {
            asked_once
        } else {
            Nanos::ZERO
        }
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
        let again = again.max(AGAIN_MIN);
        let response = self.response_least();
        // Where there are losses among the gaps there has to be the time to ask twice.
        let reserve = if self.loss.share() < LOSS_FREE { response } else { response + again };
        Pace { response, again, disorder: self.disorder.wait(), reserve }
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
        // On a path that loses nothing the next packet tells early enough, unless it is long in coming.
        let is_worth_it = self.loss.loses() || self.packet >= PACKET_LONG;
        if self.presumed >= PRESUMED_MAX || self.packet.get() <= 0 || !is_worth_it {
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
        let Self { missing, deadlines, .. } = &mut *self;
        let expired = missing.expire(now, |one| due_of(deadlines, epoch, one));
        for _ in 0..expired.lost + expired.brought_back {
            self.disorder.stayed();
        }
        if expired.brought_back > 0 {
            self.loss.stayed_away(expired.brought_back, now);
        }
        self.lose(expired.lost, now);
        // What has been learnt from these changes the pace.
        let pace = self.pace();
        let Self { missing, deadlines, echo, .. } = self;
        let repeated = echo.take_due(now, |request| out(Output::Send(request)));
        let due = |one: &Missing| due_of(deadlines, epoch, one);
        let is_lossy = self.loss.is_lossy();
        let requests = missing.ask((self.config.stream, epoch), now, pace, due, |request| {
            let mut bytes = [0; REQUEST_BYTES];
            if request.encode(&mut bytes).is_ok() {
                out(Output::Send(&bytes));
                if is_lossy {
                    echo.push(bytes, now);
                }
            }
        });
        self.figures.requests_sent += u64::from(requests) + repeated;
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

    /// When the sender has to hear of events that it repeats until then.
    fn acknowledge_at(&self) -> Option<HostTime> {
        self.owes_report.then_some(self.reported_at + ACKNOWLEDGE)
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
            needs_us: self.deadlines.needs(epoch).map(micros),
        };
        let mut bytes = [0; REPORT_BYTES];
        if let Ok(length) = report.encode(&mut bytes) {
            self.figures.reports_sent += 1;
            out(Output::Send(&bytes[..length]));
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
            Some(self.step_at + STEP_WAITS),
            self.acknowledge_at(),
            self.presume_at().map(|(at, ..)| at),
            self.missing.next_wake(self.pace(), due),
            self.echo.next_wake(),
            self.events.next_wake(first),
            self.parts.next_wake(self.config.sample_rate, first),
        ];
        all.into_iter().flatten().min()
    }

    /// How the stream comes at the moment.
    pub(in crate::receiver) fn state(&self, now: HostTime) -> State {
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

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// For a report: what is below 0 or beyond an hour is told as the bound.
fn micros(span: Nanos) -> u32 {
    u32::try_from(span.get().max(0) / 1000).unwrap_or(u32::MAX)
}
