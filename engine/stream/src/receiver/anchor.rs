use audiocloud_rt::block_ring::{Epoch, Header};
use audiocloud_units::{Frames, MediaTime};

use super::buffer;

/// Further than this from an epoch's first block no honest frame index is: 265 days at 48 kHz.
const REACH: u64 = 1 << 40;

/// The epoch being played, and how its media time maps to positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    /// The epoch.
    pub(super) epoch: Epoch,
    /// The media time that lies at `position_zero`.
    pub(super) media_zero: MediaTime,
    pub(super) position_zero: u64,
    /// Channels of the whole stream.
    pub(super) stream_channels: u16,
    /// How many of them are kept.
    pub(super) channels: usize,
    /// The bits of those.
    pub(super) full: u64,
    /// The next position to be played.
    pub(super) read: u64,
    /// The first frame that was there: before it nothing is missing.
    pub(super) origin: u64,
    /// The end of the newest frame.
    pub(super) newest: u64,
    /// What the delay has to be at least, from the phase between arrival and callback.
    pub(super) floor: i64,
    /// From the first block's arrival until it is due.
    pub(super) arrival_margin: i64,
    /// The block that it was anchored on had waited for long: a fresher one in the same callback is better.
    pub(super) stale: bool,
}

impl Anchor {
    /// The epoch's first block is at `zero`; of its channels the first `channels_max` are kept.
    pub(super) fn new(header: &Header, zero: u64, channels_max: u16) -> Self {
        let channels = usize::from(header.stream_channels.min(channels_max)).clamp(1, buffer::CHANNELS_MAX);
        Self {
            epoch: header.epoch,
            media_zero: header.start,
            position_zero: zero,
            stream_channels: header.stream_channels,
            channels,
            full: u64::MAX >> (buffer::CHANNELS_MAX - channels),
            read: zero,
            origin: zero,
            newest: zero,
            floor: 0,
            arrival_margin: 0,
            stale: false,
        }
    }

    /// The position of a media time, when it is within reach.
    pub(super) fn position(&self, media: MediaTime) -> Option<u64> {
        let distance = (media - self.media_zero).get();
        if distance.unsigned_abs() > REACH { None } else { self.position_zero.checked_add_signed(distance) }
    }

    /// The media time at a position.
    pub(super) fn media(&self, position: u64) -> MediaTime {
        let distance = position.checked_signed_diff(self.position_zero).unwrap_or(0);
        self.media_zero + Frames::new(distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_rt::block_ring::Flags;
    use audiocloud_units::{HostTime, Nanos, SampleRate};

    #[test]
    fn positions_and_media_times() {
        let header = Header {
            epoch: Epoch(1),
            sample_rate: SampleRate::new(48_000).unwrap(),
            start: MediaTime::new(1_000),
            frames: 64,
            first_channel: 0,
            channels: 6,
            stream_channels: 6,
            host_time: HostTime::new(0),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        let anchor = Anchor::new(&header, 1 << 41, 2);
        assert_eq!((anchor.channels, anchor.full), (2, 0b11));
        for media in [0, 1_000, 5_000, 1 << 40] {
            let media = MediaTime::new(media);
            assert_eq!(anchor.media(anchor.position(media).unwrap()), media);
        }
        for media in [1 << 41, 1 << 63, u64::MAX] {
            assert_eq!(anchor.position(MediaTime::new(media)), None);
        }
    }
}
