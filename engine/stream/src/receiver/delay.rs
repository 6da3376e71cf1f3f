use audiocloud_units::SampleRate;

/// Seconds that are looked back over before the delay becomes shorter; more, where that was regretted.
const BUCKETS: usize = 20;
/// A delay that was made shorter, and was too short within so many seconds, is regretted: from now on twice as much is
/// looked back over, up to so many times, until nothing was late for as long as three times that.
const REGRET_SECONDS: u64 = 40;
const CAUTION_MAX: u64 = 8;
const CALM: u64 = 3;
/// Until then a stream is at its start.
pub(super) const START_SECONDS: u64 = 10;
/// A block that arrives this close to the callback that takes it might as well have missed it.
const GUARD_MICROS: i64 = 300;
/// What there must be to gain for the delay to become shorter.
const WORTH_MICROS: i64 = 1_000;
/// What comes in the first seconds may still be a connection warming up: it is forgotten, and the delay does not become
/// shorter before another one has been seen.
const WARM_UP_SECONDS: u64 = 2;
const FIRST_LOOK_SECONDS: u64 = 4;
/// What comes this much too late is an outage; only a second one soon after calls for a longer delay.
const OUTAGE_MILLIS: i64 = 5;
const OUTAGE_MEMORY_SECONDS: u64 = 30;

/// Decides how long frames wait: as briefly as what was seen in the last twenty seconds allows, longer at once when
/// something comes too late.
///
/// The *margin* of a block is the number of frames from the read position at the callback that took it to its first
/// frame: below 0 it came too late. As long as both ends share a sample clock, a block is taken by the same callback
/// again and again, and the least margin says exactly how much shorter the delay could have been. Where clocks drift it
/// will be taken by another one sooner or later, so that it must wait out a whole callback.
#[derive(Debug)]
pub(super) struct Delay {
    second: i64,
    elapsed: i64,
    /// The least slack in each of the last seconds, the present one first.
    slack: [i64; BUCKETS],
    seconds: u64,
    outage_at: Option<u64>,
    shortened_at: Option<u64>,
    lengthened_at: Option<u64>,
    late_at: u64,
    /// Seconds in each of `slack`, but for the first.
    caution: u64,
    guard: i64,
    worth: i64,
    outage: i64,
}

/// How early or late one block was, in frames of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observed {
    pub(super) margin: i64,
    /// From its arrival to the callback that took it.
    pub(super) waited: i64,
    /// The longest callback.
    pub(super) callback: i64,
    /// Whether it may be taken by any callback in time, since the clocks differ.
    pub(super) is_drifting: bool,
}

impl Delay {
    pub(super) fn new(sample_rate: SampleRate) -> Self {
        let second = i64::from(sample_rate.hz());
        Self {
            second,
            elapsed: 0,
            slack: [i64::MAX; BUCKETS],
            seconds: 0,
            outage_at: None,
            shortened_at: None,
            lengthened_at: None,
            late_at: 0,
            caution: 1,
            guard: GUARD_MICROS * second / 1_000_000,
            worth: WORTH_MICROS * second / 1_000_000,
            outage: OUTAGE_MILLIS * second / 1_000,
        }
    }

    /// Forgets what it saw: another stream, or the same one set anew.
    pub(super) fn relearn(&mut self) {
        self.slack = [i64::MAX; BUCKETS];
        (self.elapsed, self.seconds, self.outage_at) = (0, 0, None);
        (self.shortened_at, self.lengthened_at) = (None, None);
        (self.late_at, self.caution) = (0, 1);
    }

    pub(super) fn observe(&mut self, block: Observed) {
        self.slack[0] = self.slack[0].min(block.margin - self.wait(block));
    }

    /// The least margin with which such a block comes in time again and again.
    pub(super) fn wait(&self, block: Observed) -> i64 {
        if block.is_drifting {
            block.callback - block.waited + self.guard
        } else if block.waited < self.guard {
            block.callback
        } else {
            0
        }
    }

    /// What may be missing of a delay without its being changed.
    pub(super) fn guard(&self) -> i64 {
        self.guard
    }

    /// For how many seconds it has watched.
    pub(super) fn seconds(&self) -> u64 {
        self.seconds
    }

    /// The read position was moved back by so many frames: all margins are larger.
    pub(super) fn shift(&mut self, frames: i64) {
        // What is found out at the start is no matter of regret.
        if self.seconds >= START_SECONDS {
            let moved = if frames < 0 { &mut self.shortened_at } else { &mut self.lengthened_at };
            *moved = Some(self.seconds);
        }
        for seen in self.slack.iter_mut().filter(|seen| **seen != i64::MAX) {
            *seen = seen.saturating_add(frames);
        }
    }

    /// All blocks have come so many frames earlier for a moment now, or, below 0, later: what came before would have, too.
    /// It tells what may not be given away; a longer delay is called for by what comes, not by that.
    pub(super) fn step(&mut self, frames: i64) {
        // The moment itself lies in the present bucket, or, when that has just begun, in the one before.
        let seen_since = if self.elapsed < self.second / 10 { 2 } else { 1 };
        for seen in self.slack[seen_since..].iter_mut().filter(|seen| **seen != i64::MAX) {
            *seen = seen.saturating_add(frames).max((*seen).min(0));
        }
    }

    /// A block came `late` frames too late: by how much the delay should be longer.
    pub(super) fn late(&mut self, late: i64) -> i64 {
        self.late_at = self.seconds;
        if self.shortened_at.take().is_some_and(|at| self.seconds - at <= REGRET_SECONDS * self.caution) {
            self.caution = (2 * self.caution).min(CAUTION_MAX);
        }
        if late <= self.outage {
            // Where clocks drift, a frame now is a frame each few callbacks.
            return late.max(self.guard);
        }
        let before = self.outage_at.replace(self.seconds);
        let again = before.is_some_and(|at| at < self.seconds && self.seconds - at <= OUTAGE_MEMORY_SECONDS);
        if again { late } else { 0 }
    }

    /// `frames` frames go by. Once a second: how much shorter (above 0) or longer (below 0) the delay should be.
    pub(super) fn advance(&mut self, frames: i64) -> Option<i64> {
        self.elapsed += frames;
        if self.elapsed < self.second {
            return None;
        }
        self.elapsed = 0;
        self.seconds += 1;
        let least = self.slack.iter().copied().min().unwrap_or(i64::MAX);
        if self.seconds == WARM_UP_SECONDS {
            (self.slack, self.outage_at) = ([i64::MAX; BUCKETS], None);
            return None;
        }
        if self.seconds.is_multiple_of(self.caution) {
            self.slack.rotate_right(1);
            self.slack[0] = i64::MAX;
        }
        if self.caution > 1 && self.seconds - self.late_at >= CALM * self.caution * BUCKETS as u64 {
            (self.caution, self.late_at) = (self.caution / 2, self.seconds);
        }
        if least == i64::MAX || self.seconds < FIRST_LOOK_SECONDS {
            return None;
        }
        // Phases that move in steps leave little of what was seen before the last one.
        // The more there is to gain, the sooner it may go.
        let longer_since = self.lengthened_at.map_or(BUCKETS as u64, |at| self.seconds - at);
        let may_shorten = least > self.worth
            && longer_since.saturating_mul(least.unsigned_abs())
                >= BUCKETS as u64 * self.worth.unsigned_abs();
        // A little of the guard may be used up: that is what it is for.
        (least < -self.guard / 2 || may_shorten).then_some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 48_000;

    fn delay() -> Delay {
        Delay::new(SampleRate::new(48_000).unwrap())
    }

    fn block(margin: i64, waited: i64) -> Observed {
        Observed { margin, waited, callback: 128, is_drifting: false }
    }

    /// What it says after each of `seconds` seconds of blocks of this kind.
    fn watch(delay: &mut Delay, seconds: usize, seen: Observed) -> Vec<Option<i64>> {
        (0..seconds)
            .map(|_| {
                for _ in 0..10 {
                    delay.observe(seen);
                }
                delay.advance(SECOND)
            })
            .collect()
    }

    #[test]
    fn on_one_clock_all_that_is_to_spare_goes_after_four_seconds() {
        assert_eq!(watch(&mut delay(), 4, block(200, 60)), [None, None, None, Some(200)]);
        assert_eq!(watch(&mut delay(), 4, block(10, 60))[3], None, "not worth it");
        assert_eq!(watch(&mut delay(), 4, block(200, 5))[3], Some(72), "it nearly missed the callback");
        assert_eq!(watch(&mut delay(), 4, block(0, 5))[3], Some(-128), "longer, before one is late");
    }

    #[test]
    fn where_clocks_differ_a_whole_callback_is_kept() {
        let drifting = |margin, waited| Observed { is_drifting: true, ..block(margin, waited) };
        assert_eq!(watch(&mut delay(), 4, drifting(200, 60))[3], Some(200 + 60 - 128 - 14));
        assert_eq!(watch(&mut delay(), 4, drifting(68, 60))[3], Some(-14));
        assert_eq!(watch(&mut delay(), 4, drifting(76, 60))[3], None);
    }

    #[test]
    fn one_tight_moment_counts_for_twenty_seconds() {
        let mut delay = delay();
        assert_eq!(watch(&mut delay, 4, block(300, 60))[3], Some(300));
        delay.observe(block(50, 60));
        let said = watch(&mut delay, 22, block(300, 60));
        assert_eq!(said[..20], [Some(50); 20]);
        assert_eq!(said[20..], [Some(300); 2]);
        delay.shift(-300);
        assert_eq!(delay.advance(SECOND), None);
    }

    #[test]
    fn a_delay_that_became_too_short_is_looked_back_over_for_longer() {
        let mut delay = delay();
        watch(&mut delay, 10, block(100, 60));
        delay.shift(-100);
        assert_eq!(delay.late(50), 50);
        delay.observe(block(-50, 60));
        delay.shift(50);
        let said = watch(&mut delay, 60, block(300, 60));
        let first = said.iter().position(|said| *said == Some(300));
        assert!((38..=40).contains(&first.unwrap()), "{said:?}");
    }

    #[test]
    fn what_is_late_makes_it_longer_but_for_a_lone_outage() {
        let mut delay = delay();
        watch(&mut delay, 3, block(300, 60));
        assert_eq!(delay.late(37), 37);
        assert_eq!(delay.late(241), 0);
        assert_eq!(delay.late(1_900), 0, "the same outage");
        watch(&mut delay, 5, block(300, 60));
        assert_eq!(delay.late(2_000), 2_000, "again, within half a minute");
        watch(&mut delay, 40, block(300, 60));
        assert_eq!(delay.late(2_000), 0);
    }
}
