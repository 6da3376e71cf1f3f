//! A thread that keeps time where no device does: for files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use audiocloud_engine::rt::priority;
use audiocloud_engine::units::SampleRate;

/// Above the network's thread, below audio devices.
const PRIORITY: u8 = 65;
/// So late, the time that was lost is left out instead of made up for.
const LATE_MAX: Duration = Duration::from_millis(300);

/// Calls until it is dropped, or is told to end by what it calls.
#[derive(Debug)]
pub(super) struct Paced {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Whether there is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Go {
    On,
    Done,
}

impl Paced {
    /// Calls `step` for each `block` frames of `rate`, by the monotonic clock.
    pub(super) fn start(
        rate: SampleRate,
        block: u32,
        mut step: impl FnMut() -> Go + Send + 'static,
    ) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("audiocloud-file".into()).spawn(move || {
            // Where that is not permitted, it plays all the same.
            priority::realtime(PRIORITY).ok();
            let (mut origin, mut blocks) = (Instant::now(), 0_u64);
            while !told.load(Ordering::Acquire) && step() == Go::On {
                blocks += 1;
                let due = origin + span(blocks, block, rate);
                let now = Instant::now();
                if now > due + LATE_MAX {
                    (origin, blocks) = (now, 0);
                }
                std::thread::sleep(due.saturating_duration_since(now));
            }
        });
        Ok(Self { stop, thread: Some(thread.context("cannot start a thread")?) })
    }

    /// Whether it has come to its end.
    pub(super) fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It has no result; a panic has been said by its thread.
            thread.join().ok();
        }
    }
}

/// How long so many blocks take, without a sum of rounded parts.
fn span(blocks: u64, block: u32, rate: SampleRate) -> Duration {
    let (frames, hz) = (u128::from(blocks) * u128::from(block), u128::from(rate.hz()));
    let nanos = frames * 1_000_000_000 / hz;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn blocks_take_their_time_to_the_nanosecond() {
        let rate = SampleRate::new(44_100).unwrap();
        assert_eq!(span(1, 441, rate), Duration::from_millis(10));
        // An hour in blocks of 128.
        assert_eq!(span(44_100 * 225, 16, rate), Duration::from_secs(3_600));
        assert_eq!(span(1, 128, rate), Duration::from_nanos(2_902_494));
    }

    #[test]
    fn it_ends_when_it_is_done_and_when_it_is_dropped() {
        let rate = SampleRate::new(48_000).unwrap();
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        let began = Instant::now();
        let paced = Paced::start(rate, 480, move || {
            if counted.fetch_add(1, Ordering::Relaxed) == 4 { Go::Done } else { Go::On }
        })
        .unwrap();
        while !paced.is_done() {
            std::thread::yield_now();
        }
        assert_eq!(count.load(Ordering::Relaxed), 5);
        assert!(began.elapsed() >= Duration::from_millis(40), "{:?}", began.elapsed());
        drop(Paced::start(rate, 480, || Go::On).unwrap());
    }
}
