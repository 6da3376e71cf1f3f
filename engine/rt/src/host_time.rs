//! Reading this machine's monotonic clock.

use audiocloud_units::HostTime;

/// Now, on the machine's monotonic clock.
///
/// Linux: `CLOCK_MONOTONIC`, the same in every process, read through the vDSO without a system call. Elsewhere the
/// zero is the process's own, so that times of two processes cannot be compared there.
///
/// *Realtime-safe: yes*, any thread. (Outside Linux the very first call in a process may block for a moment;
/// [`crate::wake::wake_pair`], which comes before any callback, makes that call.)
#[must_use]
pub fn now() -> HostTime {
    imp::now()
}

#[cfg(target_os = "linux")]
mod imp {
    use super::HostTime;
    use audiocloud_units::Nanos;

    pub(super) fn now() -> HostTime {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid, writable timespec for the length of the call.
        let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        debug_assert_eq!(result, 0, "CLOCK_MONOTONIC exists on every Linux");
        HostTime::new(0) + Nanos::from_secs(time.tv_sec) + Nanos::new(time.tv_nsec)
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::HostTime;
    use audiocloud_units::Nanos;
    use std::sync::OnceLock;
    use std::time::Instant;

    static ZERO: OnceLock<Instant> = OnceLock::new();

    pub(super) fn now() -> HostTime {
        HostTime::new(0) + Nanos::from(ZERO.get_or_init(Instant::now).elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_forward() {
        let mut last = now();
        for _ in 0..1_000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
    }
}
