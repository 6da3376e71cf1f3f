//! The one call out of the callback: waking the runtime's pump, once per block.

use std::io;

pub use imp::{WakeReceiver, Waker, wake_pair};

/// Makes the platform's cold paths warm, so that no callback meets them first.
fn warm_up() -> io::Result<()> {
    std::hint::black_box(crate::host_time::now());
    Ok(())
}

#[cfg(target_os = "linux")]
mod imp {
    use super::{io, warm_up};
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
    use std::sync::Arc;
    use std::time::Duration;

    /// The callback's end. Cloning is off the audio thread; so is dropping, for the last one closes the descriptor.
    #[derive(Clone, Debug)]
    pub struct Waker {
        event: Arc<OwnedFd>,
    }

    /// The runtime's end: becomes readable after a wake, until drained.
    #[derive(Debug)]
    pub struct WakeReceiver {
        event: Arc<OwnedFd>,
    }

    /// Both ends of one eventfd, non-blocking and closed on exec.
    ///
    /// # Errors
    /// The system's, when the process has no file descriptor left.
    pub fn wake_pair() -> io::Result<(Waker, WakeReceiver)> {
        warm_up()?;
        // SAFETY: takes no pointer.
        let raw = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open, and this is its only owner.
        let event = Arc::new(unsafe { OwnedFd::from_raw_fd(raw) });
        Ok((Waker { event: Arc::clone(&event) }, WakeReceiver { event }))
    }

    impl Waker {
        /// Wakes the runtime. The only system call that the audio thread makes: non-blocking, at most once per
        /// block. Wakes that were not yet drained count as one.
        ///
        /// *Realtime-safe: yes*, any thread.
        pub fn wake(&self) {
            // SAFETY: takes no pointer, and the descriptor is open for as long as the Arc lives.
            let result = unsafe { libc::eventfd_write(self.event.as_raw_fd(), 1) };
            // It can only refuse when 2^64 − 2 wakes are pending, and then the receiver is awake already.
            debug_assert!(result == 0, "eventfd_write refused");
        }
    }

    impl WakeReceiver {
        /// Takes all pending wakes; whether there were any.
        ///
        /// *Realtime-safe: no* (system call).
        #[allow(clippy::must_use_candidate, reason = "often called for its effect alone")]
        pub fn drain(&self) -> bool {
            let mut count: libc::eventfd_t = 0;
            // SAFETY: `count` is live and writable, and the descriptor is open.
            let result = unsafe { libc::eventfd_read(self.event.as_raw_fd(), &raw mut count) };
            result == 0
        }

        /// Sleeps until there is a wake, for `timeout` at most, and takes it; whether there was one. May return early
        /// without one. For a thread that has nothing else to wait for.
        ///
        /// *Realtime-safe: no* (waits).
        #[allow(clippy::must_use_candidate, reason = "often called for its effect alone")]
        pub fn wait(&self, timeout: Duration) -> bool {
            let mut poll = libc::pollfd { fd: self.event.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            let timeout = libc::timespec {
                tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: timeout.subsec_nanos().into(),
            };
            // SAFETY: one live pollfd and its count, a live timespec, and no signal mask.
            let ready = unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, std::ptr::null()) };
            ready > 0 && self.drain()
        }
    }

    impl AsFd for WakeReceiver {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.event.as_fd()
        }
    }

    impl AsRawFd for WakeReceiver {
        fn as_raw_fd(&self) -> RawFd {
            self.event.as_raw_fd()
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::{io, warm_up};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    /// How often a waiting thread looks.
    const LOOK_EVERY: Duration = Duration::from_micros(500);

    /// The callback's end.
    #[derive(Clone, Debug)]
    pub struct Waker {
        flag: Arc<AtomicBool>,
    }

    /// The runtime's end: here a flag, which the pump polls every millisecond.
    #[derive(Debug)]
    pub struct WakeReceiver {
        flag: Arc<AtomicBool>,
    }

    /// Both ends of a flag.
    ///
    /// # Errors
    /// None on this platform.
    pub fn wake_pair() -> io::Result<(Waker, WakeReceiver)> {
        warm_up()?;
        let flag = Arc::new(AtomicBool::new(false));
        Ok((Waker { flag: Arc::clone(&flag) }, WakeReceiver { flag }))
    }

    impl Waker {
        /// Raises the flag.
        ///
        /// *Realtime-safe: yes*, any thread.
        pub fn wake(&self) {
            self.flag.store(true, Ordering::Release);
        }
    }

    impl WakeReceiver {
        /// Takes the flag; whether it was up.
        ///
        /// *Realtime-safe: yes*.
        #[allow(clippy::must_use_candidate, reason = "often called for its effect alone")]
        pub fn drain(&self) -> bool {
            self.flag.swap(false, Ordering::Acquire)
        }

        /// Sleeps until the flag is up, for `timeout` at most, and takes it; whether it was up. For a thread that has
        /// nothing else to wait for.
        ///
        /// *Realtime-safe: no* (waits).
        #[allow(clippy::must_use_candidate, reason = "often called for its effect alone")]
        pub fn wait(&self, timeout: Duration) -> bool {
            let began = Instant::now();
            while !self.drain() {
                if began.elapsed() >= timeout {
                    return false;
                }
                std::thread::sleep(LOOK_EVERY);
            }
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_collapse_into_one() {
        let (waker, receiver) = wake_pair().unwrap();
        assert!(!receiver.drain());
        waker.wake();
        waker.clone().wake();
        assert!(receiver.drain());
        assert!(!receiver.drain());
    }

    #[test]
    fn a_wait_ends_with_a_wake_or_in_time() {
        let (waker, receiver) = wake_pair().unwrap();
        let began = std::time::Instant::now();
        assert!(!receiver.wait(std::time::Duration::from_millis(3)));
        assert!(began.elapsed() >= std::time::Duration::from_millis(3));
        let waking = std::thread::spawn(move || waker.wake());
        assert!(receiver.wait(std::time::Duration::from_secs(5)));
        assert!(!receiver.drain(), "it was taken");
        waking.join().unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn is_readable_after_a_wake_from_another_thread() {
        use std::os::fd::AsRawFd;
        let (waker, receiver) = wake_pair().unwrap();
        let waking = std::thread::spawn(move || waker.wake());
        let mut poll = libc::pollfd { fd: receiver.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live pollfd, and its count is one.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 5_000) };
        assert_eq!((ready, poll.revents), (1, libc::POLLIN));
        assert!(receiver.drain());
        waking.join().unwrap();
    }
}
