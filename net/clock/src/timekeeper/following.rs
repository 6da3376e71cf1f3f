//! How the time that is shown follows the one that is measured.

use audiocloud_units::{HostTime, Nanos, Ppm, SessionLine, SessionTime};

use crate::estimate::ClockEstimate;
use crate::filter::{Filter, Measurement, MinimumDelay};
use crate::overlay::{Followed, Overlay};

/// Round trips up to here are the local network's; twice as long ones are not.
const LOCAL: Nanos = Nanos::from_millis(3);
/// What contradicts the estimate by its bound and this, so many times in a row, says that a clock has jumped.
const CONTRADICTED_BY: Nanos = Nanos::from_millis(1);
const CONTRADICTED_TIMES: u32 = 6;
/// The line is bent so often at least.
const FOLLOW_EVERY: Nanos = Nanos::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Following {
    overlay: Option<Overlay>,
    /// What it heads for.
    estimate: Option<ClockEstimate>,
    /// The time is this machine's: it is right by definition.
    is_own: bool,
    filter: Option<MinimumDelay>,
    is_wide: bool,
    /// It is another time than the one that is shown: the first estimate is gone over to at once.
    jumps: bool,
    /// The filter has just begun: its first estimates are worth less than what was known before.
    waits: bool,
    /// Syncs, and delay requests, that contradict what is known, in a row.
    contradictions: [u32; 2],
    asymmetry: Nanos,
    /// Of who gives the time.
    source_bound: Nanos,
    followed: Option<HostTime>,
    slew_left: Nanos,
    steps: u64,
    /// The time went over to another master: what was known of the one before.
    before: Option<ClockEstimate>,
}

impl Following {
    pub(super) fn line(&self) -> Option<SessionLine> {
        self.overlay.map(|overlay| overlay.line())
    }

    /// By how much the line may be off the master's time.
    pub(super) fn bound_at(&self, now: HostTime) -> Option<Nanos> {
        let estimate = self.estimate?;
        if self.is_own {
            return Some(Nanos::ZERO);
        }
        let off =
            self.line().map_or(Nanos::ZERO, |line| (estimate.session_at(now) - line.session_at(now)).abs());
        Some(estimate.bound_at(now) + off + self.source_bound)
    }

    /// By how much it may be off where the master before the present one would have it by now.
    pub(super) fn drift_bound_at(&self, now: HostTime) -> Option<Nanos> {
        self.before.map(|before| before.bound_at(now))
    }

    pub(super) fn rate(&self) -> Ppm {
        self.estimate.map_or(Ppm::new(0.0), |estimate| estimate.rate)
    }

    pub(super) fn slew_left(&self) -> Nanos {
        self.slew_left
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn asymmetry(&self) -> Nanos {
        self.asymmetry
    }

    /// What messages were measured to take there and back.
    pub(super) fn round_trip(&self) -> Option<Nanos> {
        self.filter.as_ref().and_then(MinimumDelay::round_trip)
    }

    /// By how much the source's time is ahead of this machine's.
    pub(super) fn measured_offset(&self) -> Option<Nanos> {
        self.estimate.filter(|_| self.filter.is_some()).map(|estimate| estimate.offset)
    }

    /// Whether the estimate is of the present source, and good.
    pub(super) fn is_settled(&self) -> bool {
        self.filter.as_ref().is_some_and(MinimumDelay::is_settled) && !self.waits
    }

    pub(super) fn set_asymmetry(&mut self, longer_from_master: Nanos) {
        self.asymmetry = longer_from_master;
        if let Some(filter) = &mut self.filter {
            filter.set_asymmetry(longer_from_master);
        }
    }

    pub(super) fn set_source_bound(&mut self, bound: Nanos) {
        self.source_bound = bound;
    }

    // ---- Own time.

    /// A time is begun here.
    pub(super) fn begin(&mut self, wall: SessionTime, now: HostTime) {
        let offset = Nanos::new(wall.get().saturating_sub(now.get()));
        let estimate = ClockEstimate { at: now, offset, rate: Ppm::new(0.0), bound: Nanos::ZERO };
        self.overlay = Some(Overlay::new(&estimate, now));
        self.estimate = Some(estimate);
        self.own(true);
    }

    /// The time goes on here as it was shown, at the rate that it had: this machine is master now.
    pub(super) fn go_on(&mut self, now: HostTime) {
        let Some(overlay) = self.overlay else { return };
        let steady = self.filter.as_ref().filter(|_| self.is_settled()).and_then(MinimumDelay::steady_rate);
        let rate = steady.unwrap_or_else(|| self.rate());
        self.before = self.estimate.map(|estimate| self.known(estimate));
        let session = overlay.line().session_at(now);
        let offset = Nanos::new(session.get().saturating_sub(now.get()));
        let estimate = ClockEstimate { at: now, offset, rate, bound: Nanos::ZERO };
        let line = overlay.line().bent_at(now, rate);
        self.overlay = Some(Overlay::of(line));
        self.estimate = Some(estimate);
        self.own(true);
    }

    /// With what is not known of the source's own time.
    fn known(&self, estimate: ClockEstimate) -> ClockEstimate {
        ClockEstimate { bound: estimate.bound + self.source_bound, ..estimate }
    }

    /// Nothing is measured any more.
    fn own(&mut self, is_own: bool) {
        self.is_own = is_own;
        self.jumps = false;
        self.filter = None;
        self.waits = false;
        self.source_bound = Nanos::ZERO;
        self.slew_left = Nanos::ZERO;
    }

    /// As another process of this machine has it.
    pub(super) fn take(&mut self, line: SessionLine, bound: Nanos, now: HostTime) {
        let offset = Nanos::new(line.session_at(now).get().saturating_sub(now.get()));
        self.own(false);
        self.overlay = Some(Overlay::of(line));
        self.estimate = Some(ClockEstimate { at: now, offset, rate: line.rate, bound });
    }

    // ---- Another's time.

    /// Measuring begins, over a way that takes so long. Of another time than the one that is shown the first estimate counts;
    /// of the same one it goes on as it is until the new estimates are as good as the old.
    pub(super) fn start(&mut self, round_trip: Nanos, is_other_time: bool, now: HostTime) {
        self.is_wide = round_trip > LOCAL;
        if std::mem::take(&mut self.is_own) {
            // It was right until now.
            self.estimate =
                self.estimate.map(|own| ClockEstimate { at: now, offset: own.offset_at(now), ..own });
        }
        self.before = self.estimate.filter(|_| !is_other_time).map(|estimate| self.known(estimate));
        self.jumps = is_other_time;
        self.restart(!is_other_time && self.overlay.is_some());
    }

    fn restart(&mut self, waits: bool) {
        let filter = if self.is_wide { MinimumDelay::wide() } else { MinimumDelay::local() };
        let rate = if waits { self.rate() } else { Ppm::new(0.0) };
        let mut filter = filter.at_rate(rate);
        filter.set_asymmetry(self.asymmetry);
        self.filter = Some(filter);
        self.waits = waits;
        self.contradictions = [0; 2];
    }

    /// Takes a measurement. Whether the line is another one now.
    pub(super) fn measure(&mut self, measurement: Measurement, now: HostTime) -> bool {
        if !self.waits && self.contradicts(measurement, now) {
            // A machine has slept, or the master's time was set: what was known is worth nothing.
            self.restart(false);
        }
        let Some(filter) = &mut self.filter else { return false };
        let Some(estimate) = filter.measure(measurement) else { return false };
        if self.waits && !filter.is_settled() {
            return false;
        }
        self.waits = false;
        self.follow(estimate, now);
        self.judge_way();
        true
    }

    /// Heads for an estimate. By how much the line has jumped, if it has.
    pub(super) fn follow(&mut self, estimate: ClockEstimate, now: HostTime) -> Option<Nanos> {
        self.estimate = Some(estimate);
        self.is_own = false;
        self.followed = Some(now);
        let jumps = std::mem::take(&mut self.jumps);
        let Some(overlay) = &mut self.overlay else {
            self.overlay = Some(Overlay::new(&estimate, now));
            return None;
        };
        if jumps {
            let by = estimate.session_at(now) - overlay.line().session_at(now);
            *overlay = Overlay::new(&estimate, now);
            (self.slew_left, self.steps) = (Nanos::ZERO, self.steps + 1);
            return Some(by);
        }
        match overlay.follow(&estimate, now) {
            Followed::Slewing { left } => {
                self.slew_left = left;
                None
            }
            Followed::Stepped(by) => {
                self.slew_left = Nanos::ZERO;
                self.steps += 1;
                Some(by)
            }
        }
    }

    /// Whether a jump of either clock is the only way to understand this. A sync cannot come before it was sent, nor a delay
    /// request.
    fn contradicts(&mut self, measurement: Measurement, now: HostTime) -> bool {
        let Some(estimate) = self.estimate.filter(|_| self.is_settled()) else { return false };
        let slack = estimate.bound_at(now) + CONTRADICTED_BY;
        let (way, contradicts) = match measurement {
            Measurement::Sync { sent, received } => {
                (0, sent.get().saturating_sub(received.get()) > (estimate.offset_at(received) + slack).get())
            }
            Measurement::DelayRequest { sent, received } => {
                (1, received.get().saturating_sub(sent.get()) < (estimate.offset_at(sent) - slack).get())
            }
        };
        let Some(count) = self.contradictions.get_mut(way) else { return false };
        *count = if contradicts { *count + 1 } else { 0 };
        *count >= CONTRADICTED_TIMES
    }

    /// The way was judged by what QUIC knew of it in the beginning; messages about time know it better.
    fn judge_way(&mut self) {
        let Some(round_trip) = self.round_trip() else { return };
        let is_wrong = if self.is_wide { round_trip < LOCAL } else { round_trip.get() > 2 * LOCAL.get() };
        if is_wrong {
            self.is_wide = !self.is_wide;
            // What is known so far is worth going on with only if it is good.
            self.restart(self.is_settled());
        }
    }

    /// Whether the line was not bent for a while.
    pub(super) fn is_due(&self, now: HostTime) -> bool {
        self.followed.is_none_or(|followed| now - followed >= FOLLOW_EVERY)
    }

    /// Time goes by: without new estimates it goes on by the last. Whether the line is another one now.
    pub(super) fn tick(&mut self, now: HostTime) -> bool {
        let is_due = self.is_due(now);
        let (Some(overlay), Some(estimate), true) = (&mut self.overlay, self.estimate, is_due) else {
            return false;
        };
        self.followed = Some(now);
        let before = overlay.line();
        let is_exact = before.rate == estimate.rate
            && (estimate.session_at(now) - before.session_at(now)).abs() <= Nanos::new(1);
        if is_exact {
            self.slew_left = Nanos::ZERO;
            return false;
        }
        match overlay.follow(&estimate, now) {
            Followed::Slewing { left } => self.slew_left = left,
            Followed::Stepped(_) => self.steps += 1,
        }
        overlay.line() != before
    }
}
