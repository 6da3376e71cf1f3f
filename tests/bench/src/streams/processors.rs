//! When the machine stood still: a watcher on each processor, above everything that is measured.
//!
//! A processor that the kernel or the machine around it holds for a while delays whatever thread happens to be there: a
//! JACK server, which a player would see, but as well a system's network thread, which nobody else sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{ClockId, CpuSet, clock_nanosleep_absolute, sched_getaffinity, sched_setaffinity};
use rustix::time::{Timespec, clock_gettime};

/// Above forwarder and servers: what makes a watcher late can be none of them.
const PRIORITY: u8 = 95;
const PERIOD: Duration = Duration::from_micros(500);
const NOTED_MAX: usize = 1 << 16;

/// A stretch in which a processor stood still, `CLOCK_MONOTONIC`, µs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stall {
    pub(crate) from_us: f64,
    pub(crate) to_us: f64,
}

/// The watchers.
#[derive(Debug)]
pub(crate) struct Processors {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Vec<Stall>>>>,
}

impl Processors {
    /// Notes from now on every wake that is later than `least`.
    pub(crate) fn watch(least: Duration) -> Result<Self> {
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
    pub(crate) fn finish(self) -> Result<Vec<Stall>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut stalls = Vec::new();
        for thread in self.threads {
            stalls.extend(thread.join().map_err(|_| anyhow!("a processor's watcher panicked"))??);
        }
        Ok(stalls)
    }
}

fn watch(processor: usize, least: Duration, stop: &AtomicBool) -> Result<Vec<Stall>> {
    let mut here = CpuSet::new();
    here.set(processor);
    sched_setaffinity(None, &here).context("a watcher cannot be bound to its processor")?;
    audiocloud_rt::priority::realtime(PRIORITY).context("SCHED_FIFO is not allowed")?;
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
}
