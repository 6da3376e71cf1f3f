//! Where the milliseconds of a stream go.

use audiocloud_units::Nanos;

/// The parts of the latency from a sound's entering the sender's block to its leaving the receiver's, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waterfall {
    /// Until the sender's block is full.
    pub sender_block: Nanos,
    /// Until a frame of the codec is full, and what the codec looks ahead.
    pub codec: Nanos,
    /// The way there.
    pub wire: Nanos,
    /// Waiting for stragglers and for what is sent again.
    pub jitter: Nanos,
    /// Half the length of the resampler's filter.
    pub resampler: Nanos,
    /// Until the receiver's next callback, at most: a packet may just have missed one.
    pub receiver_block: Nanos,
}

impl Waterfall {
    /// Each part with its name, in the order of the way.
    pub const fn parts(&self) -> [(&'static str, Nanos); 6] {
        [
            ("sender block", self.sender_block),
            ("codec", self.codec),
            ("wire", self.wire),
            ("jitter", self.jitter),
            ("resampler", self.resampler),
            ("receiver block", self.receiver_block),
        ]
    }

    /// All together.
    pub fn total(&self) -> Nanos {
        self.parts().into_iter().fold(Nanos::ZERO, |sum, (_, part)| sum + part)
    }
}
