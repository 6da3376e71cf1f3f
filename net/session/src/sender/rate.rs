//! How much is sent, lately.

use audiocloud_units::{HostTime, Nanos};

/// What QUIC adds to a datagram of ours: flags, connection id, packet number, frame header, authentication.
pub(crate) const DATAGRAM_OVERHEAD_BYTES: usize = 32;

const BUCKET: Nanos = Nanos::from_millis(50);
const BUCKETS: usize = 5;

/// Bytes of the last quarter of a second, in buckets of 50 ms.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateMeter {
    begun: Option<HostTime>,
    bucket_start: HostTime,
    current: usize,
    bytes: [u64; BUCKETS],
}

impl Default for RateMeter {
    fn default() -> Self {
        Self { begun: None, bucket_start: HostTime::new(0), current: 0, bytes: [0; BUCKETS] }
    }
}

impl RateMeter {
    /// A datagram of so many bytes was sent.
    pub(super) fn add(&mut self, now: HostTime, bytes: usize) {
        self.advance(now);
        let bytes = u64::try_from(bytes + DATAGRAM_OVERHEAD_BYTES).unwrap_or(u64::MAX);
        self.bytes[self.current] = self.bytes[self.current].saturating_add(bytes);
    }

    /// Bits per second, QUIC's own included.
    pub(super) fn rate_bps(&mut self, now: HostTime) -> u64 {
        self.advance(now);
        let Some(begun) = self.begun else { return 0 };
        let whole = BUCKET.get() * i64::try_from(BUCKETS - 1).unwrap_or(1) + (now - self.bucket_start).get();
        let span = whole.min((now - begun).get()).max(BUCKET.get());
        let bits = self.bytes.iter().sum::<u64>().saturating_mul(8);
        let rate = u128::from(bits) * 1_000_000_000 / u128::from(span.unsigned_abs().max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    fn advance(&mut self, now: HostTime) {
        if self.begun.is_none() {
            self.begun = Some(now);
            self.bucket_start = now;
        }
        for _ in 0..BUCKETS {
            if (now - self.bucket_start).get() < BUCKET.get() {
                return;
            }
            self.bucket_start = self.bucket_start + BUCKET;
            self.current = (self.current + 1) % BUCKETS;
            self.bytes[self.current] = 0;
        }
        // Silent for longer than all buckets.
        if (now - self.bucket_start).get() >= BUCKET.get() {
            self.bucket_start = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_measured() {
        let mut meter = RateMeter::default();
        let mut worst = 0;
        for block in 0..2_000 {
            let now = HostTime::new(block * 2_666_667);
            meter.add(now, 1_058);
            if block > 200 {
                // (1058 + 32) · 8 bits · 375 / s = 3.27 Mbit/s
                worst = worst.max(meter.rate_bps(now).abs_diff(3_270_000));
            }
        }
        assert!(worst < 60_000, "off by {worst} bit/s");
    }

    #[test]
    fn silence_is_forgotten() {
        let mut meter = RateMeter::default();
        assert_eq!(meter.rate_bps(HostTime::new(0)), 0);
        for block in 0..100 {
            meter.add(HostTime::new(block * 1_000_000), 968);
        }
        let rate = |ms: i64, meter: &mut RateMeter| meter.rate_bps(HostTime::new(ms * 1_000_000));
        assert!((7_500_000..=8_500_000).contains(&rate(100, &mut meter)));
        assert!(rate(250, &mut meter) < 4_000_000);
        assert_eq!(rate(10_000, &mut meter), 0);
    }
}
