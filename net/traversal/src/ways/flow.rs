//! Whether media flows: more packets than QUIC needs to stay alive.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_millis(250);
/// In a window, both directions: QUIC's own are about four, media's shortest stream has a dozen.
const PACKETS_MIN: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Flow {
    began: Option<Instant>,
    packets: u32,
    flowing: bool,
}

impl Flow {
    /// A packet was sent or has come. Whether media begins to flow with it.
    pub(super) fn count(&mut self, now: Instant) -> bool {
        if self.began.is_none_or(|began| now >= began + WINDOW) {
            self.flowing = self.is_flowing(now) && self.packets >= PACKETS_MIN;
            self.began = Some(now);
            self.packets = 0;
        }
        self.packets += 1;
        let begins = !self.flowing && self.packets >= PACKETS_MIN;
        self.flowing |= begins;
        begins
    }

    pub(super) fn is_flowing(&self, now: Instant) -> bool {
        self.flowing && self.began.is_some_and(|began| now < began + 2 * WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_flows_and_keep_alives_do_not() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut flow = Flow::default();
        // A ping and its acknowledgement, each 400 ms, both ways.
        for ms in (0..10_000).step_by(100) {
            assert!(!flow.count(at(ms)));
        }
        // Opus in packets of 20 ms.
        let began: Vec<u64> = (10_000..12_000).step_by(20).filter(|ms| flow.count(at(*ms))).collect();
        assert_eq!(began.len(), 1);
        assert!(began[0] < 10_500, "{began:?}");
        assert!(flow.is_flowing(at(12_000)));
        assert!(!flow.is_flowing(at(12_500)));
        assert!(!flow.count(at(13_000)));
    }
}
