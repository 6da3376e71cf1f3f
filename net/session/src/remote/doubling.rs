//! Whether each slice is sent twice: on a path that goes on losing, and for a while after.

use audiocloud_units::{HostTime, Nanos};

/// Two losses within that time are no accident: from then on each slice is sent twice.
const AGAIN_WITHIN: Nanos = Nanos::from_secs(1);
/// So long after the last loss it is taken back.
const HOLD_MIN: Nanos = Nanos::from_secs(20);
/// Taken back too early, it stays twice as long the next time, up to this.
const HOLD_MAX: Nanos = Nanos::from_secs(320);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubling {
    /// Slices that did not come by themselves, as last reported.
    missed: u32,
    missed_at: Option<HostTime>,
    /// None: each is sent once.
    until: Option<HostTime>,
    ended_at: Option<HostTime>,
    hold: Nanos,
}

impl Default for Doubling {
    fn default() -> Self {
        Self { missed: 0, missed_at: None, until: None, ended_at: None, hold: HOLD_MIN }
    }
}

impl Doubling {
    /// The counts begin anew, what was learned stays.
    pub(super) fn restart(&mut self) {
        self.missed = 0;
    }

    /// What the receiver has missed since the epoch began.
    pub(super) fn update(&mut self, missed: u32, now: HostTime) {
        let news = missed.wrapping_sub(self.missed);
        // A report that was overtaken by a later one says less.
        if news == 0 || news > u32::MAX / 2 {
            return;
        }
        self.missed = missed;
        let is_again = news > 1 || self.missed_at.is_some_and(|at| now - at <= AGAIN_WITHIN);
        self.missed_at = Some(now);
        if self.until.is_some() {
            self.until = Some(now + self.hold);
        } else if is_again {
            let was_too_early = self.ended_at.is_some_and(|at| now - at <= self.hold);
            self.hold = if was_too_early { Nanos::new(self.hold.get() * 2).min(HOLD_MAX) } else { HOLD_MIN };
            self.until = Some(now + self.hold);
        }
    }

    /// Whether each is sent twice now.
    pub(super) fn is_on(&mut self, now: HostTime) -> bool {
        if self.until.is_some_and(|until| until <= now) {
            self.ended_at = Some(now);
            self.until = None;
        }
        self.until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: i64) -> HostTime {
        HostTime::new(seconds * 1_000_000_000)
    }

    #[test]
    fn one_loss_is_an_accident_and_two_are_none() {
        let mut doubling = Doubling::default();
        for (at, missed, on) in [(0, 0, false), (1, 1, false), (5, 2, false), (6, 3, true), (25, 3, true)] {
            doubling.update(missed, s(at));
            assert_eq!(doubling.is_on(s(at)), on, "at {at} s");
        }
        assert!(!doubling.is_on(s(26)));
        doubling.update(2, s(27));
        doubling.update(3, s(27));
        assert!(!doubling.is_on(s(27)), "reports that were overtaken");
    }

    #[test]
    fn what_was_taken_back_too_early_stays_longer() {
        let mut doubling = Doubling::default();
        doubling.update(2, s(0));
        assert!(doubling.is_on(s(19)) && !doubling.is_on(s(20)));
        doubling.update(4, s(30));
        assert!(doubling.is_on(s(69)) && !doubling.is_on(s(70)));
        doubling.update(6, s(200));
        assert!(doubling.is_on(s(219)) && !doubling.is_on(s(220)), "long ago");
        doubling.restart();
        doubling.update(2, s(400));
        assert!(doubling.is_on(s(400)), "counts begin anew with an epoch");
    }
}
