//! When the machine stood still: a watcher on each processor, above everything that is measured.
//!
//! A processor that the kernel or the machine around it holds for a while delays whatever thread happens to be there: a
//! host's callback, which a player would see, but as well a system's network thread, which nobody else sees. What was late
//! is judged with such stalls taken off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{ClockId, CpuSet, clock_nanosleep_absolute, sched_getaffinity, sched_setaffinity};
use rustix::time::{Timespec, clock_gettime};

use crate::scheduling;

/// Above everything that is measured: what makes a watcher late can be none of it.
const PRIORITY: u32 = 95;
const PERIOD: Duration = Duration::from_micros(500);
const NOTED_MAX: usize = 1 << 16;

/// A stretch in which a processor stood still, `CLOCK_MONOTONIC`, µs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stall {
    /// When it should have gone on.
    pub from_us: f64,
    /// When it did.
    pub to_us: f64,
}

/// For how long of a span, in µs, any processor stood still. Stalls of several processors at once count once.
pub fn stood_still_us(stalls: &[Stall], from_us: f64, to_us: f64) -> f64 {
    let inside = |stall: &Stall| (stall.from_us.max(from_us), stall.to_us.min(to_us));
    let mut stood: Vec<(f64, f64)> = stalls.iter().map(inside).filter(|(from, to)| from < to).collect();
    stood.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut until = from_us;
    let mut sum = 0.0;
    for (from, to) in stood {
        sum += (to - from.max(until)).max(0.0);
        until = until.max(to);
    }
    sum
}

/// The watchers. Dropping them ends them, too.
#[derive(Debug)]
pub struct Processors {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Vec<Stall>>>>,
}

impl Processors {
    /// Notes from now on every wake that is later than `least`.
    ///
    /// # Errors
    /// The system does not tell its processors.
    pub fn watch(least: Duration) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let allowed = sched_getaffinity(None)?;
        let threads = (0..CpuSet::MAX_CPU)
            .filter(|processor| allowed.is_set(*processor))
            .map(|processor| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || watch(processor, least, &stop))
            })
            .collect();
        Ok(Self { stop, threads })
    }

    /// Ends them, and tells the stalls, in no order.
    ///
    /// # Errors
    /// A watcher could not be what it should, for want of the right to `SCHED_FIFO`.
    pub fn finish(mut self) -> Result<Vec<Stall>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut stalls = Vec::new();
        for thread in std::mem::take(&mut self.threads) {
            stalls.extend(thread.join().map_err(|_| anyhow!("a processor's watcher panicked"))??);
        }
        Ok(stalls)
    }
}

impl Drop for Processors {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn watch(processor: usize, least: Duration, stop: &AtomicBool) -> Result<Vec<Stall>> {
    let mut here = CpuSet::new();
    here.set(processor);
    sched_setaffinity(None, &here).context("a watcher cannot be bound to its processor")?;
    scheduling::fifo(PRIORITY).context("SCHED_FIFO is not allowed")?;
    let mut stalls = Vec::with_capacity(NOTED_MAX);
    let mut due = now()?;
    while !stop.load(Ordering::Relaxed) {
        due = (due + PERIOD).max(now()?);
        clock_nanosleep_absolute(ClockId::Monotonic, &Timespec::try_from(due)?)?;
        let woke = now()?;
        if woke.saturating_sub(due) > least && stalls.len() < NOTED_MAX {
            let [from_us, to_us] = [due, woke].map(|time| time.as_secs_f64() * 1e6);
            stalls.push(Stall { from_us, to_us });
        }
    }
    Ok(stalls)
}

fn now() -> Result<Duration> {
    Ok(Duration::try_from(clock_gettime(ClockId::Monotonic))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_processor_is_watched_and_a_wake_that_is_no_stall_is_none() {
        let Ok(watched) = Processors::watch(Duration::from_secs(1)) else { return };
        let processors = watched.threads.len();
        std::thread::sleep(Duration::from_millis(20));
        // Without the right to SCHED_FIFO nothing can be said.
        if let Ok(stalls) = watched.finish() {
            assert_eq!(stalls, []);
        }
        assert_eq!(processors, std::thread::available_parallelism().unwrap().get());
    }

    #[test]
    fn a_stall_is_taken_off_once() {
        let stall = |from_us, to_us| Stall { from_us, to_us };
        let check = |stalls: &[Stall], expected: f64| {
            assert_eq!(stood_still_us(stalls, 1_000.0, 1_500.0), expected, "{stalls:?}");
        };
        check(&[], 0.0);
        check(&[stall(0.0, 900.0), stall(1_600.0, 1_700.0)], 0.0);
        check(&[stall(1_100.0, 1_200.0)], 100.0);
        check(&[stall(1_100.0, 1_300.0), stall(1_150.0, 1_250.0), stall(1_290.0, 1_310.0)], 210.0);
        check(&[stall(0.0, 9_000.0)], 500.0);
    }
}
