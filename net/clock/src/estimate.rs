//! What is known of another clock.

use audiocloud_units::{HostTime, Nanos, Ppm, SessionTime};

/// A crystal's rate is trusted to this once it was measured, and wanders by that much a second.
const RATE_ERROR_PPM: f64 = 0.2;
const WANDER_PPM_PER_SECOND: f64 = 0.01;

/// The session's time over this machine's, as a line: valid around `at`, and for as long as nothing better is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockEstimate {
    /// When it was made.
    pub at: HostTime,
    /// Session time less host time, then.
    pub offset: Nanos,
    /// By how much the session's clock is faster than ours.
    pub rate: Ppm,
    /// The offset is off by no more than this, then.
    pub bound: Nanos,
}

impl ClockEstimate {
    /// Session less host time at a host time.
    #[must_use]
    pub fn offset_at(&self, host: HostTime) -> Nanos {
        Nanos::new(self.offset.get().saturating_add(part((host - self.at).get(), self.rate)))
    }

    /// The session's time at a host time.
    #[must_use]
    pub fn session_at(&self, host: HostTime) -> SessionTime {
        SessionTime::new(host.get().saturating_add(self.offset_at(host).get()))
    }

    /// By how much that may be off: what it was, and what two crystals may have drifted apart since, for the rate is only
    /// known so well and wanders. *Holdover* is nothing but this, going on.
    #[must_use]
    pub fn bound_at(&self, host: HostTime) -> Nanos {
        let seconds = (host - self.at).as_secs_f64().abs();
        let drifted = (RATE_ERROR_PPM + WANDER_PPM_PER_SECOND * seconds / 2.0) * seconds * 1e3;
        Nanos::new(self.bound.get().saturating_add(rounded(drifted)))
    }
}

/// What a span gains at a rate.
pub(crate) fn part(nanos: i64, rate: Ppm) -> i64 {
    rounded(nanos as f64 * rate.get() * 1e-6)
}

#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
pub(crate) fn rounded(nanos: f64) -> i64 {
    nanos.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_goes_on_at_its_rate_and_knows_less_and_less() {
        let estimate = ClockEstimate {
            at: HostTime::new(5_000_000_000),
            offset: Nanos::from_millis(7),
            rate: Ppm::new(20.0),
            bound: Nanos::from_micros(40),
        };
        let later = estimate.at + Nanos::from_secs(10);
        assert_eq!(estimate.offset_at(later), Nanos::new(7_200_000));
        assert_eq!(estimate.session_at(later), SessionTime::new(15_007_200_000));
        assert_eq!(estimate.bound_at(estimate.at), Nanos::from_micros(40));
        // 0.2 ppm and a twentieth more on average: 2.5 µs in ten seconds, 30 in a minute.
        assert_eq!(estimate.bound_at(later), Nanos::new(42_500));
        assert_eq!(estimate.bound_at(estimate.at + Nanos::from_secs(60)), Nanos::new(70_000));
    }
}
