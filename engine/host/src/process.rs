//! The end of a child, waited for as the system tells it: a process is a descriptor that can be read when it is over.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A child that has not been waited for, as a descriptor.
pub(crate) fn descriptor(child: &Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Until there is something to read, or an end, for at most so long. Whether there is.
pub(crate) fn wait_to_read(from: impl AsFd, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    let mut fds = [PollFd::new(&from, PollFlags::IN)];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Has a child be gone, after so long in which it may end by itself; how it ended.
pub(crate) fn end(child: &mut Child, grace: Duration) -> io::Result<ExitStatus> {
    let has_ended = descriptor(child).and_then(|descriptor| wait_to_read(descriptor, grace));
    if !has_ended.unwrap_or(false) {
        child.kill()?;
    }
    child.wait()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    /// It ends when its input does.
    fn cat() -> Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn who_ends_by_itself_is_not_killed() {
        let mut child = cat();
        drop(child.stdin.take());
        assert_eq!(end(&mut child, Duration::from_secs(20)).unwrap().code(), Some(0));
    }

    #[test]
    fn who_does_not_end_is() {
        let mut child = cat();
        assert!(!wait_to_read(descriptor(&child).unwrap(), Duration::ZERO).unwrap());
        assert_eq!(end(&mut child, Duration::from_millis(5)).unwrap().signal(), Some(9));
    }
}
