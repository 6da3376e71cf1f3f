//! How a block of frames is cut into packets: arithmetic, and nothing else.

use crate::codec::Codec;
use crate::packet::audio::TIMED_PAYLOAD_BYTES_MAX;

/// What is to be sent, and how much of it a packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Frames of the block.
    pub frames: u32,
    /// The block's first channel, from 0.
    pub first_channel: u8,
    /// How many channels the block has.
    pub channels: u8,
    /// Bytes of one sample; 0 where the payload does not grow with the frames: silence, and a frame of Opus.
    pub bytes_per_sample: usize,
    /// Bytes of payload that a packet holds.
    pub payload_bytes_max: usize,
}

impl Shape {
    /// A block of `channels` channels from the first on, for packets that may say their session time and have
    /// no other extensions.
    pub const fn new(codec: Codec, frames: u32, channels: u8) -> Self {
        Self {
            frames,
            first_channel: 0,
            channels,
            bytes_per_sample: match codec.bytes_per_sample() {
                Some(bytes) => bytes,
                None => 0,
            },
            payload_bytes_max: TIMED_PAYLOAD_BYTES_MAX,
        }
    }

    /// The packets that the block makes: the fewest that hold it, with all channels of a frame in one packet
    /// when they fit, and frames (or else channels) spread so evenly that lengths differ by one at most. In
    /// the order of time; of one time, in the order of channels.
    ///
    /// None when there is nothing to send, or when not even one sample fits.
    pub fn pieces(&self) -> Pieces {
        let channels = usize::from(self.channels);
        let samples_max = self.payload_bytes_max.checked_div(self.bytes_per_sample).unwrap_or(usize::MAX);
        if self.frames == 0 || channels == 0 || samples_max == 0 {
            return Pieces { channels: Split::NONE, frames: Split::NONE, ..Pieces::EMPTY };
        }
        // At most 64 where the shape is one of a stream; never more than a u8 says.
        let channel_parts = channels.div_ceil(samples_max);
        let widest = channels.div_ceil(channel_parts);
        let frames_max = (samples_max / widest).min(usize::from(u16::MAX));
        let frames_max = u32::try_from(frames_max).unwrap_or(u32::MAX);
        Pieces {
            first_channel: self.first_channel,
            frames: Split::new(self.frames, self.frames.div_ceil(frames_max)),
            channels: Split::new(self.channels.into(), u32::try_from(channel_parts).unwrap_or(u32::MAX)),
            frame_part: 0,
            channel_part: 0,
        }
    }
}

/// One packet's part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its first frame, counted from the block's first.
    pub frame_offset: u32,
    /// How many frames.
    pub frames: u16,
    /// Its first channel, counted from the stream's first.
    pub first_channel: u8,
    /// How many channels.
    pub channels: u8,
}

/// `total` in `parts` parts that differ by one at most, the longer ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Split {
    total: u32,
    parts: u32,
}

impl Split {
    const NONE: Self = Self { total: 0, parts: 0 };

    const fn new(total: u32, parts: u32) -> Self {
        Self { total, parts }
    }

    /// Start and length of a part; `part` is less than `parts`.
    fn part(&self, part: u32) -> (u32, u32) {
        let (length, longer) = (self.total / self.parts, self.total % self.parts);
        (part * length + part.min(longer), length + u32::from(part < longer))
    }
}

/// The packets of a block: see [`Shape::pieces`].
#[derive(Clone, Debug)]
pub struct Pieces {
    first_channel: u8,
    frames: Split,
    channels: Split,
    frame_part: u32,
    channel_part: u32,
}

impl Pieces {
    const EMPTY: Self =
        Self { first_channel: 0, frames: Split::NONE, channels: Split::NONE, frame_part: 0, channel_part: 0 };
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.frame_part == self.frames.parts {
            return None;
        }
        let (frame_offset, frames) = self.frames.part(self.frame_part);
        let (channel, channels) = self.channels.part(self.channel_part);
        self.channel_part += 1;
        if self.channel_part == self.channels.parts {
            self.channel_part = 0;
            self.frame_part += 1;
        }
        Some(Piece {
            frame_offset,
            frames: u16::try_from(frames).ok()?,
            first_channel: self.first_channel.checked_add(u8::try_from(channel).ok()?)?,
            channels: u8::try_from(channels).ok()?,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let done = u64::from(self.frame_part) * u64::from(self.channels.parts) + u64::from(self.channel_part);
        let left = u64::from(self.frames.parts) * u64::from(self.channels.parts) - done;
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Pieces {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets, and frames and channels of the largest.
    fn check(shape: Shape, packets: usize, frames: u16, channels: u8) {
        let pieces: Vec<_> = shape.pieces().collect();
        assert_eq!(pieces.len(), packets, "{shape:?}");
        assert_eq!(shape.pieces().len(), packets, "{shape:?}");
        assert_eq!(pieces.iter().map(|piece| piece.frames).max(), Some(frames), "{shape:?}");
        assert_eq!(pieces.iter().map(|piece| piece.channels).max(), Some(channels), "{shape:?}");
    }

    #[test]
    fn usual_blocks() {
        check(Shape::new(Codec::PcmF32, 128, 2), 1, 128, 2);
        check(Shape::new(Codec::PcmF32, 136, 2), 1, 136, 2);
        check(Shape::new(Codec::PcmF32, 137, 2), 2, 69, 2);
        check(Shape::new(Codec::PcmS16, 272, 2), 1, 272, 2);
        check(Shape::new(Codec::Opus, 480, 2), 1, 480, 2);
        check(Shape::new(Codec::PcmF32, 128, 1), 1, 128, 1);
        check(Shape::new(Codec::PcmF32, 128, 6), 3, 43, 6);
        check(Shape::new(Codec::PcmF32, 128, 8), 4, 32, 8);
        check(Shape::new(Codec::PcmS24, 128, 8), 3, 43, 8);
        check(Shape::new(Codec::PcmF32, 480, 2), 4, 120, 2);
        check(Shape::new(Codec::PcmF32, 64, 64), 16, 4, 64);
        check(Shape::new(Codec::PcmS24, 1, 64), 1, 1, 64);
    }

    #[test]
    fn channels_are_split_where_one_frame_does_not_fit() {
        let shape = Shape { payload_bytes_max: 100, ..Shape::new(Codec::PcmF32, 2, 64) };
        check(shape, 6, 1, 22);
        let pieces: Vec<_> = shape.pieces().map(|piece| (piece.frame_offset, piece.first_channel)).collect();
        assert_eq!(pieces, [(0, 0), (0, 22), (0, 43), (1, 0), (1, 22), (1, 43)]);
    }

    #[test]
    fn silence_takes_as_many_frames_as_a_packet_can_say() {
        let silence = Shape { bytes_per_sample: 0, ..Shape::new(Codec::PcmF32, 4096, 8) };
        check(silence, 1, 4096, 8);
        check(Shape { frames: 65_536, ..silence }, 2, 32_768, 8);
    }

    #[test]
    fn nothing_makes_no_packets() {
        let shape = Shape::new(Codec::PcmF32, 128, 2);
        for shape in [
            Shape { frames: 0, ..shape },
            Shape { channels: 0, ..shape },
            Shape { payload_bytes_max: 0, ..shape },
            Shape { payload_bytes_max: 3, ..shape },
        ] {
            assert_eq!(shape.pieces().count(), 0, "{shape:?}");
        }
    }
}
