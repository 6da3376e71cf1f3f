//! Waiting for a plug-in's answer, for who plays blocks as they come and is no sound card's callback: a node's worker.
//!
//! What one block gave to the plug-in is needed by the next one. As long as blocks come in time, the plug-in has the time
//! of one for it. When the network stood still, several come at once: without a pause between them the answer is not
//! there, although there is time until the sound is due. So before each block the plug-in is given the rest of the time
//! that it would have had, and no more: who waits is never later afterwards than the blocks were that came late.

use std::sync::Arc;
use std::time::Duration;

use audiocloud_graph::node::GRID;
use audiocloud_rt::host_time;

use crate::keeper::Link;
use crate::plugin::Setup;

const GRID_FRAMES: u64 = GRID as u64;

/// The answers of one plug-in. Does not keep its process alive.
#[derive(Clone, Debug)]
pub struct Answers {
    link: Arc<Link>,
    pipeline_frames: u64,
    /// As long as the pipeline is.
    time_ns: u64,
    /// The last one that was waited for did not come.
    in_vain: bool,
}

impl Answers {
    pub(crate) fn new(link: Arc<Link>, setup: &Setup) -> Self {
        let pipeline_frames = u64::from(setup.pipeline_frames());
        let time_ns = pipeline_frames * 1_000_000_000 / u64::from(setup.sample_rate.hz());
        Self { link, pipeline_frames, time_ns, in_vain: false }
    }

    /// Waits until what a block needs has been answered, which begins at this position of the graph and has so many frames;
    /// no longer than until the plug-in has had the time of its pipeline for it. Whoever was waited for in vain is not
    /// waited for again before it keeps up by itself, so that one that hangs costs this once.
    ///
    /// *Realtime-safe: no* (waits): on the thread that plays the graph, between two blocks.
    pub fn wait(&mut self, position: u64, frames: u64) {
        let shared = &self.link.shared;
        let submitted = shared.submitted();
        let begun = (position % GRID_FRAMES + frames).div_ceil(GRID_FRAMES);
        let needed = (submitted + begun).saturating_sub(self.pipeline_frames / GRID_FRAMES).min(submitted);
        if shared.done() >= needed || self.link.is_gone() {
            self.in_vain = false;
        } else if !self.in_vain {
            let until_ns = shared.slot(needed - 1).submitted_at().saturating_add(self.time_ns);
            let now_ns = u64::try_from(host_time::now().get()).unwrap_or(0);
            let left = Duration::from_nanos(until_ns.saturating_sub(now_ns).min(self.time_ns));
            let answered = shared.wait_until(|| shared.done() >= needed || self.link.is_gone(), left);
            self.in_vain = !answered && !left.is_zero();
        }
    }
}
