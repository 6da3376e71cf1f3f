//! What keeps media within its cap: a bucket of two or three packet times.
//!
//! It stands before QUIC's queue, so that nothing waits in that queue but for the socket: a message that QUIC is given
//! goes out at once, however much media there is, and what does not fit is refused to its owner, who counts it, while
//! it is still the newest.

use std::time::Instant;

/// The bucket's depth in seconds of the cap, and at least in bytes.
const DEPTH: f64 = 0.03;
const DEPTH_MIN: f64 = 6e3;

/// See the module. Without a cap everything passes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shaper {
    /// In bytes a second.
    cap: Option<f64>,
    tokens: f64,
    filled: Instant,
}

impl Shaper {
    pub(super) fn new(now: Instant) -> Self {
        Self { cap: None, tokens: 0.0, filled: now }
    }

    pub(super) fn set_cap(&mut self, cap: Option<f64>, now: Instant) {
        self.fill(now);
        if self.cap.is_none() {
            self.tokens = f64::INFINITY;
        }
        self.cap = cap;
        self.tokens = self.tokens.min(self.depth());
    }

    /// Whether a packet of so many bytes may go.
    pub(super) fn admits(&mut self, bytes: usize, now: Instant) -> bool {
        if self.cap.is_none() {
            return true;
        }
        self.fill(now);
        let bytes = float(bytes);
        let fits = bytes <= self.tokens;
        if fits {
            self.tokens -= bytes;
        }
        fits
    }

    fn fill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + seconds * self.cap.unwrap_or(0.0)).min(self.depth());
    }

    fn depth(&self) -> f64 {
        self.cap.map_or(f64::INFINITY, |cap| (DEPTH * cap).max(DEPTH_MIN))
    }
}

#[allow(clippy::cast_precision_loss, reason = "bytes of one packet")]
fn float(value: usize) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_passes_in_a_second_is_the_cap_and_one_bucket() {
        let start = Instant::now();
        let mut shaper = Shaper::new(start);
        assert!((0..1000).all(|_| shaper.admits(1200, start)), "without a cap everything passes");
        shaper.set_cap(Some(1e6), start);
        let passed = (0..10_000u32).filter(|n| shaper.admits(1000, start + *n * Duration::from_micros(100)));
        assert_eq!(passed.count(), 1000 + 30 - 1);
        shaper.set_cap(None, start + Duration::from_secs(1));
        assert!((0..1000).all(|_| shaper.admits(1200, start + Duration::from_secs(1))));
    }

    #[test]
    fn a_burst_after_silence_is_one_bucket() {
        let start = Instant::now();
        let mut shaper = Shaper::new(start);
        shaper.set_cap(Some(1e6), start);
        let later = start + Duration::from_secs(60);
        assert_eq!((0..100).filter(|_| shaper.admits(1000, later)).count(), 30);
    }
}
