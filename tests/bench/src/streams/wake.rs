//! What a callback costs on this machine that does nothing but the one call out of it: waking a thread that waits. No
//! callback that wakes anybody costs less.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use audiocloud_rig::report::Spread;
use audiocloud_rt::{priority, wake};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::{Timespec, clock_gettime};

use super::system::PRIORITY;
use crate::measure::thread_time;

const LASTS: Duration = Duration::from_secs(8);

/// p99.9 of such callbacks, one each `period`, µs of the thread's processor time.
pub(crate) fn p999_us(period: Duration) -> Result<f64> {
    let (waker, receiver) = wake::wake_pair()?;
    let stop = Arc::new(AtomicBool::new(false));
    let waiting = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || -> Result<()> {
            schedule()?;
            while !stop.load(Ordering::Relaxed) {
                poll(&mut [PollFd::new(&receiver, PollFlags::IN)], None)?;
                receiver.drain();
            }
            Ok(())
        })
    };
    let calling = {
        let waker = waker.clone();
        std::thread::spawn(move || call(&waker, period))
    };
    let spread = calling.join().map_err(|_| anyhow!("a callback that only wakes panicked"))?;
    stop.store(true, Ordering::Relaxed);
    waker.wake();
    waiting.join().map_err(|_| anyhow!("who was woken panicked"))??;
    Ok(spread?.p999)
}

fn call(waker: &wake::Waker, period: Duration) -> Result<Spread> {
    schedule()?;
    let mut due = Duration::try_from(clock_gettime(ClockId::Monotonic))?;
    let end = due + LASTS;
    let mut times = Vec::new();
    while due < end {
        due += period;
        clock_nanosleep_absolute(ClockId::Monotonic, &Timespec::try_from(due)?)?;
        let before = thread_time();
        waker.wake();
        times.push(i64::try_from((thread_time() - before).as_nanos()).unwrap_or(i64::MAX));
    }
    Ok(Spread::of_nanos(times))
}

fn schedule() -> Result<()> {
    priority::realtime(u8::try_from(PRIORITY).unwrap_or(1)).context("SCHED_FIFO is not allowed")
}
