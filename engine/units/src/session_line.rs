use crate::{HostTime, Nanos, Ppm, SessionTime};

/// Session time over this machine's, as a straight line: what a clock hands to those who have to know the session's time
/// of an instant, until the next line comes. Small enough for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionLine {
    /// An instant on this machine's clock.
    pub host: HostTime,
    /// The session's time then.
    pub session: SessionTime,
    /// Of a nanosecond, to be added to that, so that a thousand lines that join lose nothing.
    pub fraction: f64,
    /// By how much the session's clock is faster than ours.
    pub rate: Ppm,
}

impl SessionLine {
    /// The session's time at a host time.
    #[must_use]
    pub fn session_at(&self, host: HostTime) -> SessionTime {
        let elapsed = (host - self.host).get();
        let gained = rounded(elapsed as f64 * self.rate.get() * 1e-6 + self.fraction);
        SessionTime::new(self.session.get().saturating_add(elapsed).saturating_add(gained))
    }

    /// When the session's time will be, or was, this.
    #[must_use]
    pub fn host_at(&self, session: SessionTime) -> HostTime {
        let elapsed = (session - self.session).get();
        let lost = (elapsed as f64 - self.fraction) / self.rate.to_factor() - elapsed as f64;
        HostTime::new(self.host.get().saturating_add(elapsed).saturating_add(rounded(lost)))
    }

    /// The same line, given by another instant of it, at another rate from there on.
    #[must_use]
    pub fn bent_at(&self, host: HostTime, rate: Ppm) -> Self {
        let elapsed = (host - self.host).get();
        let gained = elapsed as f64 * self.rate.get() * 1e-6 + self.fraction;
        let session = self.session + Nanos::new(elapsed) + Nanos::new(rounded(gained));
        Self { host, session, fraction: gained - gained.round(), rate }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn rounded(nanos: f64) -> i64 {
    nanos.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same_instant_however_often_it_bends() {
        let at = HostTime::new(1_700_000_000_000);
        let mut line =
            SessionLine { host: at, session: SessionTime::new(-5), fraction: 0.0, rate: Ppm::new(87.3) };
        let straight = line;
        for piece in 1..=1_000 {
            line = line.bent_at(at + Nanos::from_millis(997 * piece), Ppm::new(87.3));
            let host = line.host + Nanos::new(123_456_789);
            let back = line.host_at(line.session_at(host));
            assert!((back - host).abs() <= Nanos::new(1), "{piece}");
            assert!((line.session_at(host) - straight.session_at(host)).abs() <= Nanos::new(1), "{piece}");
        }
    }
}
