//! Scheduling of the threads that serve audio but are not the host's: the network's, a rig's.

use std::io;

/// Puts the calling thread under real-time scheduling (`SCHED_FIFO`) at `priority`, from 1 to 99. Threads that it
/// starts do not inherit it.
///
/// # Errors
/// The system's, where the user may not do that (see `ulimit -r`), and everywhere but on Linux.
///
/// *Realtime-safe: no* (system call).
pub fn realtime(priority: u8) -> io::Result<()> {
    imp::realtime(priority)
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;

    pub(super) fn realtime(priority: u8) -> io::Result<()> {
        let parameters = libc::sched_param { sched_priority: priority.into() };
        // SAFETY: `parameters` is a valid sched_param for the length of the call, and 0 is the calling thread.
        let result = unsafe {
            libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameters)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;

    pub(super) fn realtime(_priority: u8) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_priority_out_of_range_is_an_error() {
        assert!(super::realtime(100).is_err());
    }
}
