//! The calling thread's scheduling.

#![allow(unsafe_code, reason = "scheduling calls of the C library")]

use std::io;

/// Puts the calling thread under `SCHED_FIFO` at `priority`, from 1 to 99.
///
/// # Errors
/// The system's, where the user may not do that (see `ulimit -r`).
pub fn fifo(priority: u32) -> io::Result<()> {
    let priority = libc::c_int::try_from(priority).map_err(io::Error::other)?;
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: it has no preconditions.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: the calling thread exists, and `parameters` is read during the call only.
    let result = unsafe { libc::pthread_setschedparam(thread, libc::SCHED_FIFO, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}
