//! A rate that is limited, with a queue in front that drops what comes when it is full.

use std::collections::VecDeque;

use audiocloud_units::Nanos;

/// How fast, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Bits per second, at least 1.
    pub bits_per_second: u64,
    /// Bytes that may be in the queue, the packet on its way out included. A packet that finds less room is dropped.
    pub queue_bytes_max: usize,
    /// Bytes that each packet has beyond those it was sent with: 28 of IPv4 and UDP, 48 of IPv6 and UDP.
    pub overhead_bytes: usize,
}

impl RateLimit {
    /// A queue that holds so much time.
    #[must_use]
    pub fn with_queue_of(bits_per_second: u64, queue: Nanos) -> Self {
        let bits = u128::from(bits_per_second) * u128::from(queue.get().unsigned_abs()) / 1_000_000_000;
        let queue_bytes_max = usize::try_from(bits / 8).unwrap_or(usize::MAX);
        Self { bits_per_second, queue_bytes_max, overhead_bytes: 28 }
    }

    /// How long a packet of so many bytes, without overhead, takes to leave; rounded up.
    #[must_use]
    pub fn duration(&self, bytes: usize) -> Nanos {
        let bits = 8 * (bytes.saturating_add(self.overhead_bytes)) as u128;
        let nanos = (bits * 1_000_000_000).div_ceil(u128::from(self.bits_per_second.max(1)));
        Nanos::new(i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

/// A rate limit at work: drop-tail, first in, first out.
#[derive(Clone, Debug)]
pub struct Bottleneck {
    limit: RateLimit,
    /// When each waiting packet will have left, and its bytes.
    waiting: VecDeque<(Nanos, usize)>,
    waiting_bytes: usize,
    free_at: Nanos,
}

impl Bottleneck {
    /// An empty queue.
    #[must_use]
    pub const fn new(limit: RateLimit) -> Self {
        Self { limit, waiting: VecDeque::new(), waiting_bytes: 0, free_at: Nanos::ZERO }
    }

    /// When the last bit of a packet that comes now will have left; none if it is dropped. `now` never goes back.
    pub fn try_enter(&mut self, now: Nanos, bytes: usize) -> Option<Nanos> {
        while let Some((_, gone)) = self.waiting.pop_front_if(|(leaves_at, _)| *leaves_at <= now) {
            self.waiting_bytes -= gone;
        }
        let on_the_wire = bytes.saturating_add(self.limit.overhead_bytes);
        let filled = self.waiting_bytes.saturating_add(on_the_wire);
        if filled > self.limit.queue_bytes_max {
            return None;
        }
        self.waiting_bytes = filled;
        self.free_at = self.free_at.max(now) + self.limit.duration(bytes);
        self.waiting.push_back((self.free_at, on_the_wire));
        Some(self.free_at)
    }

    /// Bytes in the queue when the last packet came, that packet included.
    #[must_use]
    pub const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_one_after_the_other() {
        // 8 Mbit/s: a byte in a microsecond.
        let limit = RateLimit { bits_per_second: 8_000_000, queue_bytes_max: 2_500, overhead_bytes: 0 };
        let mut bottleneck = Bottleneck::new(limit);
        let mut check = |now_us: i64, bytes: usize, expected_us: Option<i64>| {
            let found = bottleneck.try_enter(Nanos::from_micros(now_us), bytes);
            assert_eq!(found, expected_us.map(Nanos::from_micros), "{bytes} at {now_us}");
        };
        check(0, 1_000, Some(1_000));
        check(0, 1_000, Some(2_000));
        check(0, 1_000, None);
        check(0, 500, Some(2_500));
        check(999, 1, None);
        check(1_000, 1_000, Some(3_500));
        check(9_000, 100, Some(9_100));
        check(9_000, 9_000, None);
    }
}
