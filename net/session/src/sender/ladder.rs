//! What a lane gives up when its path does not carry everything, in which order, and how it is taken back.
//!
//! Down at once, as far as it takes; up a step at a time, slowly, and more slowly after each try that failed.

use audiocloud_units::{HostTime, Nanos, SampleRate};

use super::encoding::{Encoding, Load};

/// After a change, what is sent is measured for so long before the next step down.
const SETTLE: Nanos = Nanos::from_millis(300);
/// How long a level is kept before a better one is tried: no longer than it takes to see that it holds, for beside
/// another's queue whoever comes back slowly finds its share taken.
const HOLD: Nanos = Nanos::from_secs(2);
/// The longest that repeated failures make of it.
const HOLD_MAX: Nanos = Nanos::from_secs(160);

/// One step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Whether repairs are sent as the receiver asks, and packets asked for again are sent twice.
    pub redundancy: bool,
    /// How samples are written.
    pub encoding: Encoding,
}

/// Which way a lane went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Down,
    Up,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ladder {
    /// The best first; never empty.
    rungs: Vec<Rung>,
    level: usize,
    changed_at: Option<HostTime>,
    hold: Nanos,
    /// The level was taken as a try, not yet found to hold.
    trying: bool,
}

impl Ladder {
    pub(super) fn new(wished: Encoding, sample_rate: SampleRate) -> Self {
        let first = [true, false].map(|redundancy| Rung { redundancy, encoding: wished });
        let worse = wished.worse(sample_rate).map(|encoding| Rung { redundancy: false, encoding });
        Self {
            rungs: first.into_iter().chain(worse).collect(),
            level: 0,
            changed_at: None,
            hold: HOLD,
            trying: false,
        }
    }

    /// Steps below what was wished for.
    pub(super) fn level(&self) -> usize {
        self.level
    }

    pub(super) fn rung(&self) -> Rung {
        self.rungs[self.level]
    }

    pub(super) fn wished(&self) -> Encoding {
        self.rungs[0].encoding
    }

    /// Compares what is sent with what may be. `repairs` is how many repairs are sent for 256 packets where redundancy is
    /// not given up.
    pub(super) fn update(
        &mut self,
        now: HostTime,
        cap_bps: Option<u64>,
        measured_bps: u64,
        load: Load,
        repairs: u64,
    ) -> Option<Step> {
        let since = now - *self.changed_at.get_or_insert(now);
        if self.trying && since.get() >= self.hold.get() {
            self.trying = false;
            self.hold = HOLD;
        }
        let cap_bps = cap_bps.unwrap_or(u64::MAX);
        if measured_bps > cap_bps {
            if since.get() < SETTLE.get() && !self.trying {
                return None;
            }
            return self.step_down(now, cap_bps, measured_bps, load, repairs);
        }
        let better = self.level.checked_sub(1)?;
        if since.get() < self.hold.get() {
            return None;
        }
        // A little room is left, so that the better level does not fail for its own jitter.
        let needed = self.estimate_bps(better, measured_bps, load, repairs);
        if needed.saturating_add(needed / 20) > cap_bps {
            return None;
        }
        self.level = better;
        self.changed_at = Some(now);
        self.trying = true;
        Some(Step::Up)
    }

    fn step_down(
        &mut self,
        now: HostTime,
        cap_bps: u64,
        measured_bps: u64,
        load: Load,
        repairs: u64,
    ) -> Option<Step> {
        let last = self.rungs.len() - 1;
        if self.level == last {
            return None;
        }
        let lower = self.level + 1..=last;
        let fits = |level: &usize| self.estimate_bps(*level, measured_bps, load, repairs) <= cap_bps;
        let level = lower.into_iter().find(fits).unwrap_or(last);
        self.level = level;
        self.changed_at = Some(now);
        if self.trying {
            self.trying = false;
            self.hold = Nanos::new(self.hold.get().saturating_mul(2).min(HOLD_MAX.get()));
        }
        Some(Step::Down)
    }

    /// What a level would take, told from what the present one takes: packing saves about as many bits of each sample,
    /// however many it has.
    fn estimate_bps(&self, level: usize, measured_bps: u64, load: Load, repairs: u64) -> u64 {
        let with_repairs = |rung: &Rung, rate: u64| {
            if rung.redundancy { rate.saturating_add(rate / 256 * repairs) } else { rate }
        };
        let (now, then) = (self.rungs[self.level], self.rungs[level]);
        let nominal = then.encoding.rate_bps(load);
        let is_packed = |rung: Rung| rung.encoding.codec.integer_bits().is_some();
        let rate = if now.encoding == then.encoding || (is_packed(now) && is_packed(then)) {
            let all = 256 + if now.redundancy { repairs } else { 0 };
            let media = measured_bps / all * 256;
            media.saturating_add(nominal).saturating_sub(now.encoding.rate_bps(load)).min(nominal)
        } else {
            nominal
        };
        with_repairs(&then, rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_wire::codec::Codec;

    const RATE: u32 = 48_000;

    fn load() -> Load {
        Load { sample_rate: SampleRate::new(RATE).unwrap(), channels: 2, block_frames: 128 }
    }

    fn ladder() -> Ladder {
        Ladder::new(Encoding::pcm(Codec::PcmF32), load().sample_rate)
    }

    /// Runs a ladder over a path that carries `cap` of bits per second, checked every 50 ms; when, and to which level, it
    /// went.
    fn run(ladder: &mut Ladder, seconds: i64, repairs: u64, cap: impl Fn(i64) -> u64) -> Vec<(i64, usize)> {
        let mut steps = Vec::new();
        for tick in 0..seconds * 20 {
            let rung = ladder.rung();
            let media = rung.encoding.rate_bps(load());
            let measured = media + if rung.redundancy { media / 256 * repairs } else { 0 };
            let ms = tick * 50;
            let now = HostTime::new(ms * 1_000_000);
            if ladder.update(now, Some(cap(ms)), measured, load(), repairs).is_some() {
                steps.push((ms, ladder.level()));
            }
        }
        steps
    }

    #[test]
    fn redundancy_goes_first_and_comes_back_last() {
        // 3.27 Mbit/s of f32, half as much again of repairs.
        let cap = |ms: i64| if (1_000..20_000).contains(&ms) { 3_500_000 } else { 10_000_000 };
        assert_eq!(run(&mut ladder(), 40, 128, cap), [(1_000, 1), (20_000, 0)]);
    }

    #[test]
    fn it_goes_down_at_once_as_far_as_needed_and_up_step_by_step() {
        // 24 bit takes 2.5 Mbit/s, 16 bit 1.73, Opus at 256 kbit/s 0.36.
        let cap = |ms: i64| if (1_000..8_000).contains(&ms) { 500_000 } else { 10_000_000 };
        let steps = run(&mut ladder(), 60, 0, cap);
        assert_eq!(steps, [(1_000, 4), (8_000, 3), (10_000, 2), (12_000, 1), (14_000, 0)]);
    }

    #[test]
    fn a_try_that_fails_doubles_the_wait() {
        // The path seems to carry all, but gives in 200 ms after everything is sent.
        let mut ladder = ladder();
        let mut tries = Vec::new();
        let mut full_since = None;
        for tick in 0..200 * 20 {
            let ms = tick * 50;
            let now = HostTime::new(ms * 1_000_000);
            let measured = ladder.rung().encoding.rate_bps(load());
            let is_full = ladder.level() < 2;
            full_since = if is_full { full_since.or(Some(ms)) } else { None };
            let cap = if full_since.is_some_and(|since| ms - since >= 200) { 2_600_000 } else { 10_000_000 };
            if let Some(step) = ladder.update(now, Some(cap), measured, load(), 0)
                && step == Step::Up
            {
                tries.push(ms);
            }
        }
        let waits: Vec<_> = tries.windows(2).map(|two| (two[1] - two[0]) / 1000).collect();
        assert!(waits.starts_with(&[4, 8, 16, 32]), "{tries:?}");
    }

    #[test]
    fn no_cap_means_nothing_is_given_up() {
        let mut ladder = ladder();
        for second in 0..100 {
            let now = HostTime::new(second * 1_000_000_000);
            assert_eq!(ladder.update(now, None, u64::MAX, load(), 256), None);
        }
        assert_eq!(ladder.level(), 0);
    }

    #[test]
    fn at_the_bottom_it_stays() {
        let mut ladder = ladder();
        let steps = run(&mut ladder, 30, 0, |_| 1_000);
        assert_eq!(steps.len(), 1);
        assert_eq!(ladder.rung().encoding, Encoding::opus(64_000, 20_000));
    }

    #[test]
    fn what_packing_saves_is_counted_on() {
        let mut ladder = Ladder::new(Encoding::pcm(Codec::PcmS24), load().sample_rate);
        // 24 bit packed to 14, so 1.6 instead of 2.5 Mbit/s; a moment of noise does not fit.
        let at = |ms: i64| HostTime::new(ms * 1_000_000);
        assert_eq!(ladder.update(at(0), Some(2_000_000), 1_600_000, load(), 0), None);
        assert_eq!(ladder.update(at(1_000), Some(2_000_000), 2_500_000, load(), 0), Some(Step::Down));
        assert_eq!(ladder.rung().encoding.codec, Codec::PcmS16);
        // 16 bit packed to 6.
        assert_eq!(ladder.update(at(7_000), Some(2_000_000), 830_000, load(), 0), Some(Step::Up));
        assert_eq!(ladder.rung(), Rung { redundancy: false, encoding: Encoding::pcm(Codec::PcmS24) });
    }
}
