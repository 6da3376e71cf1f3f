//! Measuring: contestants take turns, so that whatever else the machine does hits all alike.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How often each contestant has its turn.
const ROUNDS: usize = 201;
/// CPU time of one turn: the clock's own cost, a system call at either end, is some thousandth of it.
const TURN: Duration = Duration::from_micros(400);

/// The CPU time that this thread has used: what preempts it does not count.
pub(crate) fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime))
        .expect("no thread has run for less than no time")
}

pub(crate) fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// The middle of some values; nothing of none.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// Somebody who does a piece of work as often as asked.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    // The loop is inside: one dynamic call for each turn, none for each repetition.
    work: Box<dyn FnMut(u32)>,
}

impl Contestant {
    pub(crate) fn new(name: &'static str, mut once: impl FnMut() + 'static) -> Self {
        let work = move |repetitions| {
            for _ in 0..repetitions {
                once();
            }
        };
        Self { name, work: Box::new(work) }
    }

    fn time(&mut self, repetitions: u32) -> Duration {
        let start = thread_time();
        (self.work)(repetitions);
        thread_time() - start
    }

    /// How many repetitions fill a turn. Finding out warms up.
    fn repetitions(&mut self) -> u32 {
        let mut repetitions = 1_u32;
        while self.time(repetitions) < TURN {
            repetitions = repetitions.saturating_mul(2);
        }
        repetitions
    }
}

/// Nanoseconds of CPU time for one repetition of each contestant: the median of many turns.
pub(crate) fn in_turn(contestants: &mut [Contestant]) -> Vec<f64> {
    let repetitions: Vec<u32> = contestants.iter_mut().map(Contestant::repetitions).collect();
    let mut turns = vec![Vec::with_capacity(ROUNDS); contestants.len()];
    for _ in 0..ROUNDS {
        for ((contestant, &repetitions), turns) in contestants.iter_mut().zip(&repetitions).zip(&mut turns) {
            // Who went before has filled the caches with what is his.
            contestant.time(repetitions / 8 + 1);
            turns.push(nanoseconds(contestant.time(repetitions)) / f64::from(repetitions));
        }
    }
    turns.into_iter().map(|turns| median(turns).expect("there was a round")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 9.0, 2.0]), Some(3.0));
    }

    #[test]
    fn twice_the_work_takes_twice_the_time() {
        let count = |to: u32| move || (0..to).for_each(|n| assert!(black_box(n) < to));
        let mut contestants =
            [Contestant::new("once", count(5_000)), Contestant::new("twice", count(10_000))];
        let times = in_turn(&mut contestants);
        let ratio = times[1] / times[0];
        assert!((1.8..2.2).contains(&ratio), "{ratio}");
    }
}
