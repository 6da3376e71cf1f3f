//! How long it takes until what answers a block is back.

use std::collections::VecDeque;

use audiocloud_rt::block_ring::{Epoch, Header};
use audiocloud_units::{HostTime, Nanos};

/// Blocks whose answer is waited for.
const WAITING_MAX: usize = 256;
/// It is smoothed over about so many.
const SMOOTHING: i64 = 16;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    waiting: VecDeque<(Epoch, u64, HostTime)>,
    smoothed: Option<Nanos>,
}

impl Rounds {
    /// What was sent is not answered any more.
    pub(crate) fn restart(&mut self) {
        self.waiting.clear();
    }

    pub(crate) fn sent(&mut self, header: &Header, now: HostTime) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((header.epoch, header.start.get(), now));
    }

    /// Of a block that came, its `host_time` is when.
    pub(crate) fn answered(&mut self, header: &Header) {
        let start = header.start.get();
        let mut last = None;
        while let Some((epoch, first, at)) = self.waiting.front().copied() {
            if epoch == header.epoch && first > start {
                break;
            }
            self.waiting.pop_front();
            last = (epoch == header.epoch).then_some(at);
        }
        // The first piece of each block tells; later pieces find it gone.
        if let Some(at) = last {
            let round = header.host_time - at;
            let before = self.smoothed.unwrap_or(round);
            self.smoothed = Some(before + Nanos::new((round.get() - before.get()) / SMOOTHING));
        }
    }

    /// In microseconds; 0 before anything came.
    pub(crate) fn micros(&self) -> u64 {
        self.smoothed.and_then(|round| u64::try_from(round.get() / 1000).ok()).unwrap_or(0)
    }
}
