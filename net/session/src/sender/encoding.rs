//! How samples are written for a lane, and in which order that gets worse.

use audiocloud_units::SampleRate;
use audiocloud_wire::codec::Codec;
use audiocloud_wire::packet::audio::HEADER_BYTES;
use audiocloud_wire::packet::packetizer::Shape;
use audiocloud_wire::quality::Quality;

use super::rate::DATAGRAM_OVERHEAD_BYTES;

/// Of Opus, where nobody asks for another: per pair of channels.
const BITRATE_BPS: u32 = 128_000;
/// Of Opus, where nobody asks for another.
const FRAME_US: u32 = 5_000;
/// The frames that Opus has, of 48 kHz.
const FRAMES_US: [u32; 4] = [2_500, 5_000, 10_000, 20_000];

/// How samples are written. Lanes with the same one share what is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// The codec.
    pub codec: Codec,
    /// Of Opus: per pair of channels; otherwise 0.
    pub bitrate_bps: u32,
    /// Of Opus: of one frame, at 48 kHz; otherwise 0, and a packet has the frames of the sender's block, or as many as
    /// fit.
    pub frame_us: u32,
}

/// What decides how many bits an encoding takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) sample_rate: SampleRate,
    pub(super) channels: u8,
    pub(super) block_frames: u32,
}

impl Encoding {
    /// Samples as they are.
    pub const fn pcm(codec: Codec) -> Self {
        Self { codec, bitrate_bps: 0, frame_us: 0 }
    }

    /// Opus.
    pub const fn opus(bitrate_bps: u32, frame_us: u32) -> Self {
        Self { codec: Codec::Opus, bitrate_bps, frame_us }
    }

    /// What a subscriber asks for, of a sender that prefers `preferred` and runs at `sample_rate`: Opus where there is
    /// none becomes the smallest PCM.
    pub fn wished(quality: Quality, preferred: Codec, sample_rate: SampleRate) -> Self {
        let or = |wish: u32, default: u32| if wish == 0 { default } else { wish };
        match quality.codec.unwrap_or(preferred) {
            Codec::Opus if has_opus(sample_rate) => {
                let frame_us = or(quality.frame_us, FRAME_US);
                let frame_us = FRAMES_US.into_iter().find(|length| frame_us <= *length);
                let bitrate_bps = or(quality.bitrate_bps, BITRATE_BPS).clamp(16_000, 510_000);
                Self::opus(bitrate_bps, frame_us.unwrap_or(FRAMES_US[3]))
            }
            Codec::Opus => Self::pcm(Codec::PcmS16),
            codec => Self::pcm(codec),
        }
    }

    /// Everything that is worse, the best first: fewer bits, then longer frames.
    pub(super) fn worse(self, sample_rate: SampleRate) -> impl Iterator<Item = Self> {
        let smaller = [Codec::PcmS24, Codec::PcmS16].into_iter().filter(move |codec| self.codec < *codec);
        let frame_us = if self.codec == Codec::Opus { self.frame_us } else { FRAME_US };
        let rate_bps = if self.codec == Codec::Opus { self.bitrate_bps } else { u32::MAX };
        let opus = [256_000, 128_000, 64_000].into_iter().filter(move |rate| *rate < rate_bps);
        let longer = FRAMES_US.into_iter().filter(move |length| *length > frame_us);
        let opus = opus
            .map(move |rate| Self::opus(rate, frame_us))
            .chain(longer.map(move |length| Self::opus(rate_bps.min(64_000), length)));
        smaller.map(Self::pcm).chain(opus.filter(move |_| has_opus(sample_rate)))
    }

    /// Bits per second that it takes at most, with everything around it: an upper bound for PCM, about right for Opus.
    pub(super) fn rate_bps(self, load: Load) -> u64 {
        let hz = u64::from(load.sample_rate.hz());
        let overhead = u64::try_from(HEADER_BYTES + DATAGRAM_OVERHEAD_BYTES).unwrap_or(u64::MAX);
        let Some(bytes_per_sample) = self.codec.bytes_per_sample() else {
            let pairs = u64::from(load.channels).div_ceil(2);
            let frames_per_second = 1_000_000 / u64::from(self.frame_us.max(1));
            return pairs * u64::from(self.bitrate_bps) + frames_per_second * overhead * 8;
        };
        if load.block_frames == 0 {
            return 0;
        }
        let packets = Shape::new(self.codec, load.block_frames, load.channels).pieces().len();
        let packets = u64::try_from(packets).unwrap_or(u64::MAX);
        let samples = u64::from(load.channels) * u64::from(load.block_frames);
        let bytes = samples * u64::try_from(bytes_per_sample).unwrap_or(0) + packets.saturating_mul(overhead);
        bytes.saturating_mul(8).saturating_mul(hz) / u64::from(load.block_frames)
    }
}

/// Opus runs at 48 kHz, and at 44.1 kHz as if that were 48.
fn has_opus(sample_rate: SampleRate) -> bool {
    matches!(sample_rate.hz(), 48_000 | 44_100)
}

impl std::fmt::Display for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.codec {
            Codec::PcmF32 => f.write_str("32-bit float"),
            Codec::PcmS24 => f.write_str("24 bit"),
            Codec::PcmS16 => f.write_str("16 bit"),
            Codec::Opus => {
                let (tenths, rest) = (self.frame_us / 100 % 10, self.frame_us / 1000);
                write!(f, "Opus at {} kbit/s, {rest}", self.bitrate_bps / 1000)?;
                if tenths > 0 { write!(f, ".{tenths} ms") } else { f.write_str(" ms") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(hz: u32) -> SampleRate {
        SampleRate::new(hz).unwrap()
    }

    #[test]
    fn wishes_become_encodings() {
        let check = |codec, bitrate_bps, frame_us, hz, expected: &str| {
            let quality = Quality { codec, bitrate_bps, frame_us };
            let found = Encoding::wished(quality, Codec::PcmF32, rate(hz)).to_string();
            assert_eq!(found, expected, "{quality:?} at {hz}");
        };
        check(None, 0, 0, 48_000, "32-bit float");
        check(Some(Codec::PcmS24), 9, 9, 48_000, "24 bit");
        check(Some(Codec::Opus), 0, 0, 48_000, "Opus at 128 kbit/s, 5 ms");
        check(Some(Codec::Opus), 96_000, 2_500, 48_000, "Opus at 96 kbit/s, 2.5 ms");
        check(Some(Codec::Opus), 1, 99_000, 44_100, "Opus at 16 kbit/s, 20 ms");
        check(Some(Codec::Opus), u32::MAX, 6_000, 48_000, "Opus at 510 kbit/s, 10 ms");
        check(Some(Codec::Opus), 0, 0, 96_000, "16 bit");
    }

    #[test]
    fn worse_ones_come_in_the_declared_order() {
        let check = |encoding: Encoding, hz, expected: &[&str]| {
            let found: Vec<_> = encoding.worse(rate(hz)).map(|one| one.to_string()).collect();
            assert_eq!(found, expected);
        };
        check(
            Encoding::pcm(Codec::PcmF32),
            48_000,
            &[
                "24 bit",
                "16 bit",
                "Opus at 256 kbit/s, 5 ms",
                "Opus at 128 kbit/s, 5 ms",
                "Opus at 64 kbit/s, 5 ms",
                "Opus at 64 kbit/s, 10 ms",
                "Opus at 64 kbit/s, 20 ms",
            ],
        );
        check(Encoding::pcm(Codec::PcmS24), 96_000, &["16 bit"]);
        check(
            Encoding::opus(96_000, 2_500),
            48_000,
            &[
                "Opus at 64 kbit/s, 2.5 ms",
                "Opus at 64 kbit/s, 5 ms",
                "Opus at 64 kbit/s, 10 ms",
                "Opus at 64 kbit/s, 20 ms",
            ],
        );
        check(Encoding::opus(32_000, 20_000), 48_000, &[]);
    }

    #[test]
    fn each_worse_one_takes_fewer_bits() {
        for (block_frames, channels) in [(64, 2), (128, 2), (512, 8), (128, 64)] {
            let load = Load { sample_rate: rate(48_000), channels, block_frames };
            let mut before = Encoding::pcm(Codec::PcmF32).rate_bps(load);
            for encoding in Encoding::pcm(Codec::PcmF32).worse(rate(48_000)) {
                let now = encoding.rate_bps(load);
                assert!(now < before, "{encoding} of {channels} channels takes {now} after {before}");
                before = now;
            }
        }
        let load = Load { sample_rate: rate(48_000), channels: 2, block_frames: 128 };
        // 375 packets of 34 + 32 + 1024 bytes a second.
        assert_eq!(Encoding::pcm(Codec::PcmF32).rate_bps(load), 375 * 1_090 * 8);
    }
}
