//! A bound on a rate: so much per second in the long run, and some of it at once.

use std::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    per_s: u32,
    most: u64,
    /// In billionths, so that nothing is lost to rounding.
    level: u128,
    filled: Instant,
}

const BILLION: u128 = 1_000_000_000;

impl Bucket {
    /// Full, with room for `burst_ms` milliseconds' worth.
    pub(super) fn new(per_s: u32, burst_ms: u32, now: Instant) -> Self {
        let most = (u64::from(per_s) * u64::from(burst_ms)).div_ceil(1000).max(1);
        Self { per_s, most, level: u128::from(most) * BILLION, filled: now }
    }

    /// Takes so much out, if there is as much.
    pub(super) fn take(&mut self, amount: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_nanos();
        self.filled = self.filled.max(now);
        let gained = passed.saturating_mul(u128::from(self.per_s));
        self.level = self.level.saturating_add(gained).min(u128::from(self.most) * BILLION);
        let taken = u128::try_from(amount).unwrap_or(u128::MAX).saturating_mul(BILLION);
        let enough = self.level >= taken;
        if enough {
            self.level -= taken;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rate_holds_in_the_long_run() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, 250, start);
        let taken =
            (0..100_000_u32).filter(|step| bucket.take(1, start + *step * Duration::from_micros(100)));
        // What came in until the last step, after 9.9999 s, and what was in it at first.
        assert_eq!(taken.count(), 9_999 + 250);
        assert!(!bucket.take(251, start + Duration::from_secs(3600)), "never more than fits");
        assert!(bucket.take(250, start + Duration::from_secs(3600)));
    }
}
