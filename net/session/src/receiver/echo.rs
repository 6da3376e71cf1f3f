//! The second copy of what is asked for on a lossy path, a moment after the first: what is sent in one go shares a
//! datagram, and is lost with it.

use audiocloud_units::{HostTime, Nanos};
use audiocloud_wire::packet::request::REQUEST_BYTES;

/// Long enough for the first copy to have left, short enough for the second to be in time.
const AFTER: Nanos = Nanos::from_micros(250);
/// The most requests that wait to be said again; others were said once.
const WAITING_MAX: usize = 8;

/// Requests that are to be sent once more.
#[derive(Debug, Default)]
pub(super) struct Echo {
    waiting: Vec<(HostTime, [u8; REQUEST_BYTES])>,
}

impl Echo {
    /// Sent at `now` for the first time.
    pub(super) fn push(&mut self, request: [u8; REQUEST_BYTES], now: HostTime) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push((now + AFTER, request));
        }
    }

    /// Those whose time has come. How many.
    pub(super) fn take_due(&mut self, now: HostTime, mut send: impl FnMut(&[u8])) -> u64 {
        let before = self.waiting.len();
        self.waiting.retain(|(at, request)| {
            let is_due = *at <= now;
            if is_due {
                send(request);
            }
            !is_due
        });
        u64::try_from(before - self.waiting.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn next_wake(&self) -> Option<HostTime> {
        self.waiting.iter().map(|(at, _)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once_more_and_a_moment_later() {
        let start = HostTime::new(1_000_000);
        let mut echo = Echo::default();
        for number in 0..10 {
            echo.push([number; REQUEST_BYTES], start);
        }
        assert_eq!(echo.next_wake(), Some(start + AFTER));
        let mut sent = Vec::new();
        assert_eq!(echo.take_due(start, |request| sent.push(request[0])), 0);
        assert_eq!(echo.take_due(start + AFTER, |request| sent.push(request[0])), 8);
        assert_eq!(sent, [0, 1, 2, 3, 4, 5, 6, 7], "and no more than there is room for");
        assert_eq!(echo.next_wake(), None);
    }
}
