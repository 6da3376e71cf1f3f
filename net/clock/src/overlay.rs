//! Session time as this machine shows it.

use audiocloud_units::{HostTime, Nanos, Ppm, SessionLine};

use crate::estimate::ClockEstimate;

/// What is further off than this is stepped to; everything else is slewed away.
const STEP: Nanos = Nanos::from_millis(20);
/// A difference is worked off with this time constant, and never faster than that.
const SLEW_SECONDS: f64 = 4.0;
const SLEW_MAX_PPM: f64 = 200.0;

/// A line over host time, in pieces that join: it never goes backwards, and it jumps only where [`Overlay::follow`] says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overlay {
    line: SessionLine,
}

/// What [`Overlay::follow`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The difference is being worked off.
    Slewing {
        /// What there is of it.
        left: Nanos,
    },
    /// Session time jumped by so much.
    Stepped(Nanos),
}

impl Overlay {
    /// Shows what the estimate says.
    #[must_use]
    pub fn new(estimate: &ClockEstimate, now: HostTime) -> Self {
        let session = estimate.session_at(now);
        Self { line: SessionLine { host: now, session, fraction: 0.0, rate: estimate.rate } }
    }

    /// Goes on from a line.
    #[must_use]
    pub fn of(line: SessionLine) -> Self {
        Self { line }
    }

    /// The present piece; of the past, as it would have it.
    #[must_use]
    pub fn line(&self) -> SessionLine {
        self.line
    }

    /// Heads for what the estimate says: by a step where that is further off than 20 ms, else at the estimate's rate and a
    /// little more or less. To be called at least once a second.
    pub fn follow(&mut self, estimate: &ClockEstimate, now: HostTime) -> Followed {
        let off = estimate.session_at(now) - self.line.session_at(now);
        if off.abs() > STEP {
            *self = Self::new(estimate, now);
            return Followed::Stepped(off);
        }
        let slew = (off.get() as f64 * 1e-3 / SLEW_SECONDS).clamp(-SLEW_MAX_PPM, SLEW_MAX_PPM);
        self.line = self.line.bent_at(now, Ppm::new(estimate.rate.get() + slew));
        Followed::Slewing { left: off }
    }
}

#[cfg(test)]
mod tests {
    use audiocloud_units::SessionTime;

    use super::*;

    fn estimate(at: HostTime, offset_us: i64, ppm: f64) -> ClockEstimate {
        ClockEstimate { at, offset: Nanos::from_micros(offset_us), rate: Ppm::new(ppm), bound: Nanos::ZERO }
    }

    #[test]
    fn pieces_lose_nothing() {
        let at = HostTime::new(0);
        let exact = estimate(at, 500, 12.345_678);
        let mut overlay = Overlay::new(&exact, at);
        for step in 1..=100_000 {
            overlay.follow(&exact, at + Nanos::from_millis(7 * step));
        }
        let now = at + Nanos::from_millis(700_000);
        assert!((overlay.line().session_at(now) - exact.session_at(now)).abs() <= Nanos::new(1));
    }

    #[test]
    fn what_is_off_is_slewed_away_without_a_jump_and_never_backwards() {
        let at = HostTime::new(0);
        let mut overlay = Overlay::new(&estimate(at, 0, 0.0), at);
        let truth = estimate(at, -900, 30.0);
        let mut last = overlay.line().session_at(at);
        let mut within = None;
        for millis in (0..40_000).step_by(100) {
            let now = at + Nanos::from_millis(millis);
            let before = overlay.line().session_at(now);
            assert!(matches!(overlay.follow(&truth, now), Followed::Slewing { .. }));
            let shown = overlay.line().session_at(now);
            assert!((shown - before).abs() <= Nanos::new(1), "a jump at {millis} ms");
            assert!(shown >= last, "backwards at {millis} ms");
            last = shown;
            let off = (truth.session_at(now) - shown).abs();
            if within.is_none() && off < Nanos::from_micros(10) {
                within = Some(millis);
            }
        }
        // 900 µs at 200 ppm at most, then e-fold each four seconds.
        assert!((10_000..25_000).contains(&within.unwrap()), "{within:?}");
    }

    #[test]
    fn far_off_is_stepped_to() {
        let at = HostTime::new(0);
        let mut overlay = Overlay::new(&estimate(at, 0, 0.0), at);
        let now = at + Nanos::from_secs(1);
        assert_eq!(
            overlay.follow(&estimate(at, 21_000, 0.0), now),
            Followed::Stepped(Nanos::from_millis(21))
        );
        assert_eq!(overlay.line().session_at(now), SessionTime::new(1_021_000_000));
        let slewing = overlay.follow(&estimate(at, 40_000, 0.0), now);
        assert_eq!(slewing, Followed::Slewing { left: Nanos::from_millis(19) });
    }
}
