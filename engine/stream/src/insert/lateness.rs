//! Whose fault a late frame is: whether the far end had as long for it as the sample clock says.

use audiocloud_units::{Frames, HostTime, Nanos, SampleRate};

/// Callbacks that are remembered: more than lie within any sensible delay.
const CALLBACKS: usize = 512;
/// A host is never exact: it has to have given less time than this much short of a block's length.
const TOLERANCE: Nanos = Nanos::from_micros(700);

/// When which frames were handed over. *Realtime-safe: yes*, all of it but [`Lateness::new`].
#[derive(Debug)]
pub(super) struct Lateness {
    sample_rate: SampleRate,
    /// First frame and time of the last callbacks, as a ring.
    callbacks: Box<[(u64, HostTime)]>,
    next: usize,
    /// The time between the last two, and what it should have been.
    stall: Nanos,
}

impl Lateness {
    pub(super) fn new(sample_rate: SampleRate) -> Self {
        let nothing = (u64::MAX, HostTime::new(0));
        Self { sample_rate, callbacks: vec![nothing; CALLBACKS].into(), next: 0, stall: Nanos::ZERO }
    }

    pub(super) fn restart(&mut self) {
        self.callbacks.fill((u64::MAX, HostTime::new(0)));
        self.stall = Nanos::ZERO;
    }

    /// A callback at `at` hands over frames from `first` on. By how much later it came than the one before it and the sample
    /// clock would have had it.
    pub(super) fn observe(&mut self, at: HostTime, first: u64) -> Nanos {
        let (before, then) = self.callbacks[(self.next + CALLBACKS - 1) % CALLBACKS];
        self.stall = if before < first { (at - then) - self.span(first - before) } else { Nanos::ZERO };
        self.callbacks[self.next] = (first, at);
        self.next = (self.next + 1) % CALLBACKS;
        self.stall
    }

    /// Whether the host gave less time for `frame` than it should have: it caught up after a stall, or renders in bursts.
    /// The present callback, at `now`, began with frame `position`.
    pub(super) fn is_hosts(&self, frame: u64, position: u64, now: HostTime) -> bool {
        let handed_over =
            self.callbacks.iter().filter(|(first, _)| *first <= frame).max_by_key(|(first, _)| *first);
        let Some((first, at)) = handed_over else { return false };
        (now - *at) + TOLERANCE < self.span(position.saturating_sub(*first))
    }

    fn span(&self, frames: u64) -> Nanos {
        Frames::new(i64::try_from(frames).unwrap_or(i64::MAX)).to_nanos_floor(self.sample_rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_catches_up_owns_what_is_late() {
        let mut lateness = Lateness::new(SampleRate::new(48_000).unwrap());
        let at = |ms: i64| HostTime::new(0) + Nanos::from_millis(ms);
        // Blocks of 10 ms; the fourth comes 20 ms too late, the fifth at once after it.
        for (block, ms) in [(0, 0), (1, 10), (2, 20)] {
            assert_eq!(lateness.observe(at(ms), block * 480), Nanos::ZERO);
        }
        assert!(!lateness.is_hosts(0, 960, at(20)));
        assert_eq!(lateness.observe(at(50), 3 * 480), Nanos::from_millis(20));
        assert!(!lateness.is_hosts(2 * 480, 3 * 480, at(50)), "it had more time than it should");
        lateness.observe(at(51), 4 * 480);
        assert!(lateness.is_hosts(3 * 480, 4 * 480, at(51)), "it had a tenth of it");
        assert!(!lateness.is_hosts(100, 4 * 480, at(51)), "the first block has had all its time");
        lateness.restart();
        assert!(!lateness.is_hosts(3 * 480, 4 * 480, at(51)));
    }
}
