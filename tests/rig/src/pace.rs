//! When the next call is due, and the audio thread's scheduling.

#![allow(unsafe_code, reason = "a clock's call of the C library")]

use audiocloud_rig::{
    card::Card,
    clock::now_ns,
    process::{Block, Pace},
    scheduling,
};

/// A host that is later than this gives the lost time up, instead of racing through what it missed.
const CATCH_UP_MAX_NS: i64 = 100_000_000;
/// A simulated card's interrupt comes when it is due, however long a sleeping processor takes to wake: so long before, the
/// thread stays awake and watches the clock.
const WATCH_NS: i64 = 150_000;
/// So many of those are remembered one by one.
const GIVEN_UP_MAX: usize = 64;

fn sleep_until(deadline_ns: i64) {
    let time = libc::timespec { tv_sec: deadline_ns / 1_000_000_000, tv_nsec: deadline_ns % 1_000_000_000 };
    loop {
        // SAFETY: `time` is a valid time; the remainder is not asked for.
        let result = unsafe {
            libc::clock_nanosleep(
                libc::CLOCK_MONOTONIC,
                libc::TIMER_ABSTIME,
                &raw const time,
                std::ptr::null_mut(),
            )
        };
        if result != libc::EINTR {
            break;
        }
    }
}

/// Asks for `SCHED_FIFO` at `priority` for this thread and says what it got.
pub(crate) fn schedule(priority: Option<u32>) -> String {
    let Some(priority) = priority else { return "ordinary".to_owned() };
    match scheduling::fifo(priority) {
        Ok(()) => format!("SCHED_FIFO {priority}"),
        Err(refused) => format!("ordinary (SCHED_FIFO refused: {refused})"),
    }
}

/// Sizes of successive blocks.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    block: Block,
    random: u64,
}

impl Sizes {
    pub(crate) fn new(block: Block) -> Self {
        let seed = if let Block::Random(_, _, seed) = block { seed } else { 0 };
        Self { block, random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    pub(crate) fn most(&self) -> u32 {
        match self.block {
            Block::Fixed(frames) | Block::Random(_, frames, _) => frames,
        }
    }

    pub(crate) fn next(&mut self) -> u32 {
        match self.block {
            Block::Fixed(frames) => frames,
            Block::Random(low, high, _) => {
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                let span = u64::from(high - low) + 1;
                low + u32::try_from((self.random >> 16) % span).unwrap_or(0)
            }
        }
    }
}

/// Deadlines of calls.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    sample_rate: u32,
    card: Option<Card>,
    ahead_ns: i64,
    origin_ns: i64,
    frames: i64,
    calls_in_group: u32,
    group_ns: i64,
    /// Time that was given up after long stalls.
    pub(crate) given_up_ns: i64,
    /// The first of them: at which frame, and how much.
    pub(crate) given_up: Vec<(i64, i64)>,
}

impl Pacer {
    pub(crate) fn new(pace: Pace, sample_rate: u32, card: Option<Card>, ahead_ms: u32) -> Self {
        Self {
            pace,
            sample_rate,
            card,
            ahead_ns: i64::from(ahead_ms) * 1_000_000,
            origin_ns: 0,
            frames: 0,
            calls_in_group: 0,
            group_ns: 0,
            given_up_ns: 0,
            given_up: Vec::with_capacity(GIVEN_UP_MAX),
        }
    }

    /// Begins to count time now; the first call is due at once.
    pub(crate) fn begin(&mut self) {
        self.origin_ns = now_ns();
        self.frames = 0;
        self.calls_in_group = 0;
    }

    /// When the first frame of all was due.
    pub(crate) fn origin_ns(&self) -> i64 {
        self.origin_ns - self.given_up_ns
    }

    /// Waits until the next call, of `frames`, is due, and returns how late it is, in nanoseconds. Before the input begins
    /// nobody is in a hurry: the memory of the recording is not endless.
    pub(crate) fn wait(&mut self, frames: u32, has_begun: bool) -> i64 {
        let deadline = self.deadline(has_begun);
        self.frames += i64::from(frames);
        let Some(deadline) = deadline else { return 0 };
        if self.card.is_some() {
            sleep_until(deadline - WATCH_NS);
            while now_ns() < deadline {
                std::hint::spin_loop();
            }
        } else {
            sleep_until(deadline);
        }
        let late = now_ns() - deadline;
        if late > CATCH_UP_MAX_NS {
            self.origin_ns += late;
            self.group_ns += late;
            self.given_up_ns += late;
            if self.given_up.len() < GIVEN_UP_MAX {
                self.given_up.push((self.frames - i64::from(frames), late));
            }
        }
        late
    }

    fn deadline(&mut self, has_begun: bool) -> Option<i64> {
        let since = match self.card {
            None => self.frames * 1_000_000_000 / i64::from(self.sample_rate),
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                reason = "hours in nanoseconds"
            )]
            Some(card) => card.due_ns(self.frames as f64, self.sample_rate).round() as i64,
        };
        let due = self.origin_ns + since - self.ahead_ns;
        let due = due.max(self.origin_ns);
        match self.pace {
            Pace::Fast if has_begun => None,
            Pace::Fast | Pace::Realtime => Some(due),
            Pace::Burst(calls) => {
                if self.calls_in_group == 0 {
                    self.group_ns = due;
                }
                self.calls_in_group = (self.calls_in_group + 1) % calls;
                Some(self.group_ns)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_sizes_stay_in_range_and_repeat_with_the_seed() {
        let mut sizes = Sizes::new(Block::Random(1, 512, 7));
        let first: Vec<u32> = (0..1000).map(|_| sizes.next()).collect();
        assert!(first.iter().all(|frames| (1..=512).contains(frames)));
        assert!(first.iter().min() < Some(&20) && first.iter().max() > Some(&490));
        let mut again = Sizes::new(Block::Random(1, 512, 7));
        assert!(first.iter().all(|frames| *frames == again.next()));
    }

    #[test]
    fn deadlines_follow_the_rate_the_group_and_the_lead() {
        let deadlines_of = |pace, ahead_ms, has_begun| {
            let mut pacer = Pacer::new(pace, 1000, None, ahead_ms);
            let mut due = Vec::new();
            for _ in 0..5 {
                due.push(pacer.deadline(has_begun).map(|ns| ns / 1_000_000));
                pacer.frames += 10;
            }
            due
        };
        let deadlines = |pace, ahead_ms| deadlines_of(pace, ahead_ms, true);
        let all = |list: [i64; 5]| list.map(Some).to_vec();
        assert_eq!(deadlines(Pace::Realtime, 0), all([0, 10, 20, 30, 40]));
        assert_eq!(deadlines(Pace::Burst(2), 0), all([0, 0, 20, 20, 40]));
        assert_eq!(deadlines(Pace::Realtime, 25), all([0, 0, 0, 5, 15]));
        assert_eq!(deadlines(Pace::Fast, 0), vec![None; 5]);
        assert_eq!(
            deadlines_of(Pace::Fast, 0, false),
            all([0, 10, 20, 30, 40]),
            "nothing to be fast about yet"
        );
    }
}
