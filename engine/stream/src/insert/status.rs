//! What an insert tells of itself.

use audiocloud_rt::block_ring::Epoch;
use audiocloud_units::{HostTime, MediaTime, Nanos};

use crate::meter;

/// Where what is heard comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// From the far end; what is missing of it is filled, and the fill ends in silence.
    #[default]
    Far,
    /// From the chain in this process.
    Here,
    /// The input, as late as the rest.
    Dry,
}

/// What an insert has done since it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Status {
    /// The epoch that `position` counts in.
    pub epoch: Epoch,
    /// The next frame's index.
    pub position: MediaTime,
    /// What is heard, or is being faded to.
    pub source: Source,
    /// Whether frames have come from the far end within the last half second.
    pub answering: bool,
    /// Callbacks so far.
    pub callbacks: u64,
    /// Callbacks that lacked frames of a far end that answers, and the frames.
    pub late_callbacks: u64,
    /// See `late_callbacks`.
    pub late_frames: u64,
    /// Of `late_callbacks`, those for which this computer's own host left less time than the sample clock has: it stood
    /// still and caught up, or renders in bursts.
    pub late_by_host: u64,
    /// Callbacks that lacked frames because nobody answers.
    pub unanswered_callbacks: u64,
    /// Frames that came after they were due.
    pub came_late_frames: u64,
    /// Frames that answer nothing that was asked: of no position that the far end was given.
    pub strange_frames: u64,
    /// How often the source changed.
    pub switches: u64,
    /// Blocks, and their frames, that found the ring full: the network thread was too slow, or is gone.
    pub blocks_dropped: u64,
    /// See `blocks_dropped`.
    pub frames_dropped: u64,
    /// Events that found their ring full.
    pub events_dropped: u64,
    /// The longest stall of the host: by how much later a callback came than the sample clock would have had it.
    pub stall_max: Nanos,
    /// The least number of frames by which answers came before they were due, in the last one to two seconds; negative where
    /// they came too late.
    pub margin_frames: i64,
    /// Peaks of what comes in and of what goes out, linear, falling 20 dB in 1.7 s.
    pub peaks_in: [f32; meter::CHANNELS_MAX],
    /// See `peaks_in`.
    pub peaks_out: [f32; meter::CHANNELS_MAX],
    /// When the last callback began.
    pub last_block_at: HostTime,
}

impl Status {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            position: MediaTime::ZERO,
            source: Source::Far,
            answering: false,
            callbacks: 0,
            late_callbacks: 0,
            late_frames: 0,
            late_by_host: 0,
            unanswered_callbacks: 0,
            came_late_frames: 0,
            strange_frames: 0,
            switches: 0,
            blocks_dropped: 0,
            frames_dropped: 0,
            events_dropped: 0,
            stall_max: Nanos::ZERO,
            margin_frames: 0,
            peaks_in: [0.0; meter::CHANNELS_MAX],
            peaks_out: [0.0; meter::CHANNELS_MAX],
            last_block_at: HostTime::new(0),
        }
    }
}

/// The least margin of the last one to two seconds.
#[derive(Debug)]
pub(super) struct Margin {
    window_frames: u64,
    began: u64,
    least: i64,
    before: i64,
}

impl Margin {
    pub(super) fn new(window_frames: u32) -> Self {
        Self { window_frames: window_frames.into(), began: 0, least: i64::MAX, before: i64::MAX }
    }

    pub(super) fn restart(&mut self) {
        (self.began, self.least, self.before) = (0, i64::MAX, i64::MAX);
    }

    pub(super) fn observe(&mut self, position: u64, margin: i64) {
        if position.saturating_sub(self.began) >= self.window_frames {
            (self.began, self.before, self.least) = (position, self.least, i64::MAX);
        }
        self.least = self.least.min(margin);
    }

    /// 0 while there was none.
    pub(super) fn least(&self) -> i64 {
        match self.least.min(self.before) {
            i64::MAX => 0,
            least => least,
        }
    }
}
