//! When a descriptor can be read from, or written to.

#![allow(
    unsafe_code,
    reason = "Tokio wants a promise that a descriptor stays open, which only its owner can give"
)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// Events of one descriptor, one way. An event is seen once and again until it is cleared; what happens later is one of its
/// own, whether what was there has been read or not.
#[derive(Debug)]
pub(crate) struct Readiness {
    descriptor: AsyncFd<OwnedFd>,
}

impl Readiness {
    /// Through a copy of the descriptor, for an event loop knows each one once.
    pub(crate) fn new(descriptor: BorrowedFd<'_>, interest: Interest) -> io::Result<Self> {
        let descriptor = descriptor.try_clone_to_owned()?;
        // SAFETY: an `OwnedFd` has the same open descriptor until it is dropped, and is dropped with what is made of it.
        let descriptor = unsafe { AsyncFd::register_with_interest(descriptor, interest) }?;
        Ok(Self { descriptor })
    }

    pub(crate) fn poll_read(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, OwnedFd>>> {
        self.descriptor.poll_read_ready(context)
    }

    pub(crate) fn poll_write(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.descriptor.poll_write_ready(context))?.retain_ready();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    use tokio::time::timeout;

    fn pair() -> (UnixDatagram, UnixDatagram) {
        let (one, two) = UnixDatagram::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        two.set_nonblocking(true).unwrap();
        (one, two)
    }

    #[tokio::test]
    async fn who_has_no_room_is_told_when_there_is() {
        let (sending, receiving) = pair();
        while sending.send(&[0; 1000]).is_ok() {}
        let room = Readiness::new(sending.as_fd(), Interest::WRITABLE).unwrap();
        let full = timeout(Duration::from_millis(5), poll_fn(|context| room.poll_write(context))).await;
        assert!(full.is_err());
        while receiving.recv(&mut [0; 1000]).is_ok() {}
        poll_fn(|context| room.poll_write(context)).await.unwrap();
        sending.send(&[0; 1000]).unwrap();
    }

    #[tokio::test]
    async fn what_comes_after_an_event_was_cleared_is_another_one() {
        let (sending, receiving) = pair();
        let came = Readiness::new(receiving.as_fd(), Interest::READABLE).unwrap();
        for _ in 0..10 {
            sending.send(&[0]).unwrap();
            poll_fn(|context| came.poll_read(context)).await.unwrap().clear_ready();
        }
        let more = timeout(Duration::from_millis(5), poll_fn(|context| came.poll_read(context))).await;
        assert!(more.is_err(), "nothing came, though nothing was read");
    }
}
