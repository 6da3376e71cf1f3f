//! From time stamps of packets to host times.
//!
//! The kernel stamps packets by the wall clock, a network interface by a clock of its own. Both are read beside the
//! monotonic clock right after a stamp came, and the stamp is moved over by the difference: a millisecond later no two
//! clocks of one machine are further apart than 100 ns.

use std::fs::File;

use audiocloud_rt::host_time;
use audiocloud_units::{HostTime, Nanos};
use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};
use timestamped_socket::socket::{Timestamp, TimestampData};

use std::os::fd::AsFd;

/// A stamp is not older than this when it is read, or it is not ours.
const AGE_MAX: Nanos = Nanos::from_millis(500);
/// The wall clock and the monotonic one are steered alike; when their difference moves, the former was set.
const SET: Nanos = Nanos::from_micros(50);
/// Of so many readings the quickest one counts.
const READINGS: usize = 5;

/// Where packets get their stamps.
#[derive(Debug)]
pub(super) enum Stamps {
    /// The kernel, by the wall clock; by how much that was ahead last.
    Kernel { ahead: Option<Nanos> },
    /// The interface's clock.
    Hardware(File),
}

impl Stamps {
    /// The machine's monotonic clock at a stamp; nothing where it cannot be trusted.
    pub(super) fn host(&mut self, data: &TimestampData) -> Option<HostTime> {
        let (stamp, ahead) = match self {
            Self::Kernel { ahead } => {
                let now = ahead_of_host(|| clock_gettime(ClockId::Realtime));
                let before = ahead.replace(now);
                // A stamp may be of either side of the setting.
                if before.is_some_and(|before| (before - now).abs() > SET) {
                    return None;
                }
                (data.software?, now)
            }
            Self::Hardware(clock) => {
                let read = || clock_gettime_dynamic(DynamicClockId::Dynamic(clock.as_fd()));
                // It can be read as long as the interface is there.
                read().ok()?;
                (data.hardware?, ahead_of_host(|| read().unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 })))
            }
        };
        let host = HostTime::new(nanos(stamp).checked_sub(ahead.get())?);
        let age = host_time::now() - host;
        (age > -SET && age < AGE_MAX).then_some(host)
    }
}

fn nanos(stamp: Timestamp) -> i64 {
    stamp.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(stamp.nanos))
}

/// By how much another clock is ahead of the monotonic one.
fn ahead_of_host(read: impl Fn() -> Timespec) -> Nanos {
    let reading = || {
        let before = host_time::now();
        let Timespec { tv_sec, tv_nsec } = read();
        let after = host_time::now();
        let other = tv_sec.saturating_mul(1_000_000_000).saturating_add(tv_nsec);
        let took = (after - before).get();
        (took, other.saturating_sub(before.get() + took / 2))
    };
    let quickest = (0..READINGS).map(|_| reading()).min();
    Nanos::new(quickest.map_or(0, |(_, ahead)| ahead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(at: Timespec) -> TimestampData {
        let software = Some(Timestamp { seconds: at.tv_sec, nanos: u32::try_from(at.tv_nsec).unwrap() });
        TimestampData { software, ..TimestampData::default() }
    }

    #[test]
    fn a_stamp_of_the_kernel_is_an_instant_of_this_machine() {
        let mut stamps = Stamps::Kernel { ahead: None };
        let before = host_time::now();
        let stamp = stamped(clock_gettime(ClockId::Realtime));
        let after = host_time::now();
        let host = stamps.host(&stamp).unwrap();
        // A thread may lose its processor between two readings, but not in the quickest of five.
        assert!(host > before - Nanos::from_micros(20) && host < after + Nanos::from_micros(20));
    }

    #[test]
    fn stamps_that_cannot_be_are_none() {
        let mut stamps = Stamps::Kernel { ahead: None };
        let now = clock_gettime(ClockId::Realtime);
        assert!(stamps.host(&TimestampData::default()).is_none());
        assert!(stamps.host(&stamped(Timespec { tv_sec: now.tv_sec - 2, ..now })).is_none());
        assert!(stamps.host(&stamped(Timespec { tv_sec: now.tv_sec + 2, ..now })).is_none());
        assert!(stamps.host(&stamped(Timespec { tv_sec: i64::MAX, ..now })).is_none());
        // The clock was set since the last stamp.
        let Stamps::Kernel { ahead } = &mut stamps else { unreachable!() };
        *ahead = ahead.map(|ahead| ahead + Nanos::from_millis(10));
        assert!(stamps.host(&stamped(clock_gettime(ClockId::Realtime))).is_none());
        assert!(stamps.host(&stamped(clock_gettime(ClockId::Realtime))).is_some());
    }
}
