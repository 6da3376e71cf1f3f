//! The clock of callback logs.

#![allow(unsafe_code, reason = "a clock of the C library")]

/// `CLOCK_MONOTONIC` in nanoseconds: one clock for every process of a machine.
///
/// *Realtime-safe: yes.*
pub fn now_ns() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` may be written, and the clock exists on every system this builds for.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Processor time that the calling thread has used, in nanoseconds: what it computed, and what the system did for it,
/// without the time that others held its processor.
pub fn thread_cpu_ns() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` may be written, and the clock exists on every system this builds for.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forwards() {
        let before = now_ns();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(now_ns() >= before + 2_000_000);
    }
}
