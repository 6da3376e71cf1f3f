//! The clock that session time is laid over.

use audiocloud_rt::host_time;
use audiocloud_units::{HostTime, Nanos, Ppm};

/// Where host time comes from, for the shared time alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostClock {
    /// This machine's monotonic clock.
    #[default]
    Machine,
    /// A clock of its own that is wrong by so much: several on one machine are like several machines. For tests and
    /// benchmarks; what has its host times from elsewhere, as callbacks do, is not on it.
    Simulated {
        /// Faster than the machine's.
        ppm: Ppm,
        /// Its rate wanders by so much either way,
        wander: Ppm,
        /// once in this time.
        wander_period: Nanos,
        /// Ahead of the machine's at its zero.
        offset: Nanos,
    },
}

impl HostClock {
    /// What it shows when the machine's clock shows `machine`. *Realtime-safe: yes.*
    #[must_use]
    pub fn at(&self, machine: HostTime) -> HostTime {
        match *self {
            Self::Machine => machine,
            Self::Simulated { ppm, wander, wander_period, offset } => {
                let nanos = machine.get() as f64;
                let turn = std::f64::consts::TAU / (wander_period.get().max(1) as f64);
                let wandered = wander.get() * 1e-6 * (1.0 - (nanos * turn).cos()) / turn;
                machine + offset + Nanos::new(rounded(nanos * ppm.get() * 1e-6 + wandered))
            }
        }
    }

    /// Now. *Realtime-safe: yes.*
    #[must_use]
    pub fn now(&self) -> HostTime {
        self.at(host_time::now())
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
    fn a_simulated_clock_is_wrong_by_what_was_said() {
        let clock = HostClock::Simulated {
            ppm: Ppm::new(50.0),
            wander: Ppm::new(0.5),
            wander_period: Nanos::from_secs(120),
            offset: Nanos::from_secs(7),
        };
        let gained = |seconds| {
            (clock.at(HostTime::new(0) + Nanos::from_secs(seconds)) - HostTime::new(0)).get()
                - (seconds + 7) * 1_000_000_000
        };
        assert_eq!(gained(0), 0);
        // After a whole period the wander is where it was: 50 µs a second are left.
        assert!((gained(120) - 6_000_000).abs() <= 1, "{}", gained(120));
        // After half of one it is furthest: 0.5 ppm × 120 s / π.
        assert!((gained(60) - 3_000_000 - 19_099).abs() <= 1, "{}", gained(60));
        assert_eq!(HostClock::Machine.at(HostTime::new(5)), HostTime::new(5));
    }
}
