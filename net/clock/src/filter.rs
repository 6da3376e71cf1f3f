//! What time stamps say of a master's clock.
//!
//! Both ways of an exchange are taken apart, as PTP sends them (IEEE 1588-2019, 11.3): a *sync* comes to us with the
//! master's time of sending, a *delay request* goes from us and comes back with the master's time of receipt. All of it is
//! reckoned on this machine's free-running clock, so that no filter sees its own steering.

mod minimum_delay;

pub use minimum_delay::MinimumDelay;

use audiocloud_units::{HostTime, Nanos, SessionTime};

use crate::estimate::ClockEstimate;

/// One message's two time stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measurement {
    /// The master sent it at `sent`; we received it at `received`.
    Sync {
        /// The master's clock.
        sent: SessionTime,
        /// Ours.
        received: HostTime,
    },
    /// We sent it at `sent`; the master received it at `received`.
    DelayRequest {
        /// Ours.
        sent: HostTime,
        /// The master's clock.
        received: SessionTime,
    },
}

/// Makes an estimate of measurements.
pub trait Filter {
    /// Takes one measurement; an estimate, where it led to a new one. Those that cannot be are passed over and counted.
    fn measure(&mut self, measurement: Measurement) -> Option<ClockEstimate>;

    /// The way from the master takes so much longer than the way to it, as somebody knows: 0 else. What nobody knows may be
    /// as much as the whole round trip, and lies within the bound.
    fn set_asymmetry(&mut self, longer_from_master: Nanos);

    /// The quickest round trip that was seen lately.
    fn round_trip(&self) -> Option<Nanos>;
}

/// A measurement as numbers: when, on our clock, in seconds; and how much the master's clock is ahead by it, in
/// nanoseconds, too little for the way there and too much for the way back.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    seconds: f64,
    ahead: f64,
    is_sync: bool,
}

/// Numbers that keep their nanoseconds: counted from the first measurement.
#[derive(Clone, Copy, Debug, Default)]
struct Zero(Option<(HostTime, i64)>);

impl Zero {
    fn seen(&mut self, measurement: Measurement) -> Seen {
        let (session, host, is_sync) = match measurement {
            Measurement::Sync { sent, received } => (sent, received, true),
            Measurement::DelayRequest { sent, received } => (received, sent, false),
        };
        let ahead = session.get().saturating_sub(host.get());
        let (at, offset) = *self.0.get_or_insert((host, ahead));
        Seen { seconds: (host - at).as_secs_f64(), ahead: ahead.saturating_sub(offset) as f64, is_sync }
    }

    /// The line back from numbers.
    fn estimate(&self, seconds: f64, ahead: f64, ppm: f64, bound: f64) -> Option<ClockEstimate> {
        let (at, offset) = self.0?;
        let rounded = crate::estimate::rounded;
        Some(ClockEstimate {
            at: at + Nanos::new(rounded(seconds * 1e9)),
            offset: Nanos::new(offset.saturating_add(rounded(ahead))),
            rate: audiocloud_units::Ppm::new(ppm),
            bound: Nanos::new(rounded(bound.abs()).saturating_add(1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A master, a slave, and a network between them, in numbers; the same for equal seeds.
    pub(super) struct Network {
        pub(super) state: u64,
        /// By how much the master is faster.
        pub(super) ppm: f64,
        /// The rate's wander: so much either way, with a period of so many seconds.
        pub(super) wander: (f64, f64),
        pub(super) there_us: f64,
        pub(super) back_us: f64,
        pub(super) jitter_us: f64,
        pub(super) spikes: Option<(f64, f64)>,
        pub(super) loss: f64,
    }

    impl Network {
        pub(super) fn new(seed: u64) -> Self {
            Self {
                state: seed,
                ppm: 40.0,
                wander: (0.5, 120.0),
                there_us: 60.0,
                back_us: 60.0,
                jitter_us: 20.0,
                spikes: None,
                loss: 0.0,
            }
        }

        /// SplitMix64, from 0 to 1.
        fn random(&mut self) -> f64 {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }

        /// Session less host time, in nanoseconds, after so many seconds.
        pub(super) fn truth(&self, seconds: f64) -> f64 {
            let (most, period) = self.wander;
            let turn = std::f64::consts::TAU / period;
            let wandered = most * (1.0 - (seconds * turn).cos()) / turn;
            7.0e9 + (self.ppm * seconds + wandered) * 1e3
        }

        fn delay_us(&mut self, least: f64) -> f64 {
            let mut delay = least - self.jitter_us * (1.0 - self.random()).ln();
            if let Some((probability, length_us)) = self.spikes
                && self.random() < probability
            {
                delay += length_us;
            }
            delay
        }

        /// Plays so many seconds at eight exchanges a second; after `settled` of them, the errors of what the filter says at
        /// each tenth of a second, in µs, and how often the bound did not hold.
        pub(super) fn play(
            &mut self,
            filter: &mut impl Filter,
            seconds: f64,
            settled: f64,
        ) -> (Vec<f64>, usize) {
            let (mut errors, mut outside, mut estimate) = (Vec::new(), 0, None::<ClockEstimate>);
            let mut at = 1_000.0;
            let (end, from) = (at + seconds, at + settled);
            let mut checked = at;
            while at < end {
                for is_sync in [true, false] {
                    let least = if is_sync { self.there_us } else { self.back_us };
                    let delay = self.delay_us(least) * 1e-6;
                    if self.random() < self.loss {
                        continue;
                    }
                    let (leaves, arrives) = (at, at + delay);
                    let measurement = if is_sync {
                        Measurement::Sync { sent: self.session(leaves), received: host(arrives) }
                    } else {
                        Measurement::DelayRequest { sent: host(leaves), received: self.session(arrives) }
                    };
                    estimate = filter.measure(measurement).or(estimate);
                }
                while checked < at {
                    checked += 0.1;
                    if let Some(estimate) = estimate.filter(|_| checked > from) {
                        let now = host(checked);
                        let error = (estimate.session_at(now) - self.session(checked)).get() as f64;
                        errors.push(error.abs() / 1e3);
                        outside += usize::from(error.abs() > estimate.bound_at(now).get() as f64);
                    }
                }
                at += 0.125;
            }
            errors.sort_by(f64::total_cmp);
            (errors, outside)
        }

        fn session(&self, seconds: f64) -> SessionTime {
            SessionTime::new(host(seconds).get() + crate::estimate::rounded(self.truth(seconds)))
        }
    }

    fn host(seconds: f64) -> HostTime {
        HostTime::new(crate::estimate::rounded(seconds * 1e9))
    }

    pub(super) fn p99(errors: &[f64]) -> f64 {
        errors[errors.len() * 99 / 100]
    }
}
