//! What a playout tells the decoder that feeds it: when frames are due.

use audiocloud_units::{Frames, HostTime, MediaTime, Nanos, SampleRate};

use crate::block_ring::Epoch;

/// When the frames of a stream are due, as of one callback of its receiver. Goes through a
/// [`snapshot`](crate::snapshot).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The epoch that is played.
    pub epoch: Epoch,
    /// The frame that is played first in the callback.
    pub media: MediaTime,
    /// When that callback began.
    pub at: HostTime,
    /// The stream's nominal rate.
    pub sample_rate: SampleRate,
    /// From a frame's arrival until it is due: the least of lately, below 0 when it came too late.
    pub hold: Nanos,
    /// How much later than it is due a frame is still of use: the playout makes its delay so much longer for it.
    pub patience: Nanos,
    /// From the last block's arrival until its first frame leaves.
    pub latency: Nanos,
    /// How long after it was recorded a frame can leave at the earliest, all of them, by the session's clock: where it is
    /// known and the playout is to be aligned.
    pub needs: Option<Nanos>,
}

impl Due {
    /// When a frame has to be there to be played.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn at(&self, media: MediaTime) -> HostTime {
        let away: Frames = media - self.media;
        self.at + away.to_nanos_floor(self.sample_rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_due_by_their_distance() {
        let due = Due {
            epoch: Epoch(1),
            media: MediaTime::new(96_000),
            at: HostTime::new(5_000_000_000),
            sample_rate: SampleRate::new(48_000).unwrap(),
            hold: Nanos::new(0),
            patience: Nanos::new(0),
            latency: Nanos::new(0),
            needs: None,
        };
        assert_eq!(due.at(MediaTime::new(96_000)), due.at);
        assert_eq!(due.at(MediaTime::new(144_000)), HostTime::new(6_000_000_000));
        assert_eq!(due.at(MediaTime::new(95_952)), HostTime::new(4_999_000_000));
    }
}
