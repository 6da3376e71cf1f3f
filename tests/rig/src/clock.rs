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

/// Processor time that all threads of a process have used, in nanoseconds, those that have ended included: a sum over the
/// threads that are there loses the time of each one that was begun anew. None where there is no such process.
#[cfg(target_os = "linux")]
pub fn process_cpu_ns(process: u32) -> Option<i64> {
    let process = libc::pid_t::try_from(process).ok()?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` may be written.
    let found = unsafe { libc::clock_getcpuclockid(process, &raw mut clock) };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` may be written; of a clock whose process has ended the call fails.
    let is_there = found == 0 && unsafe { libc::clock_gettime(clock, &raw mut time) } == 0;
    is_there.then_some(time.tv_sec * 1_000_000_000 + time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_the_time_of_its_threads_that_have_ended() {
        let worked = std::thread::spawn(|| {
            while thread_cpu_ns() < 5_000_000 {
                std::hint::spin_loop();
            }
        });
        worked.join().expect("it ends");
        let all = process_cpu_ns(std::process::id()).expect("this process");
        assert!(all >= 5_000_000 + thread_cpu_ns(), "{all}");
        assert_eq!(process_cpu_ns(u32::MAX), None);
    }

    #[test]
    fn time_goes_forwards() {
        let before = now_ns();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(now_ns() >= before + 2_000_000);
    }
}
