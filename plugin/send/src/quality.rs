//! The best that a Send offers, by the names that projects keep.

use audiocloud_net::wire::codec::Codec;
use audiocloud_net::wire::quality::Quality;

/// Opus runs at these rates alone.
const OPUS_RATES_HZ: [u32; 2] = [44_100, 48_000];

/// The best quality that is offered; each listener may ask for less. The ids are in saved projects: they never change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Highest {
    /// The host's samples, bit for bit.
    #[default]
    Float,
    Pcm24,
    Pcm16,
    Opus256,
    Opus128,
    Opus96,
    Opus64,
}

impl Highest {
    /// The best first.
    pub const ALL: [Self; 7] =
        [Self::Float, Self::Pcm24, Self::Pcm16, Self::Opus256, Self::Opus128, Self::Opus96, Self::Opus64];

    /// As a project stores it. Those of PCM are the codecs' names, as they have been since there was no other.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Float => "pcm-f32",
            Self::Pcm24 => "pcm-s24",
            Self::Pcm16 => "pcm-s16",
            Self::Opus256 => "opus-256",
            Self::Opus128 => "opus-128",
            Self::Opus96 => "opus-96",
            Self::Opus64 => "opus-64",
        }
    }

    /// The one of that id. What a later version wrote is not known, and 32-bit float is always right.
    pub fn from_id(id: &str) -> Self {
        Self::ALL.into_iter().find(|one| one.id() == id).unwrap_or_default()
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Float => "32-bit float",
            Self::Pcm24 => "24-bit",
            Self::Pcm16 => "16-bit",
            Self::Opus256 => "Opus, 256 kbit/s",
            Self::Opus128 => "Opus, 128 kbit/s",
            Self::Opus96 => "Opus, 96 kbit/s",
            Self::Opus64 => "Opus, 64 kbit/s",
        }
    }

    /// This, or at a sample rate that Opus does not run at the best that is smaller than 24 bits.
    #[must_use]
    pub fn at(self, sample_rate_hz: u32) -> Self {
        let is_opus = self.quality().codec == Some(Codec::Opus);
        if is_opus && !OPUS_RATES_HZ.contains(&sample_rate_hz) { Self::Pcm16 } else { self }
    }

    /// As a listener would ask for it.
    pub const fn quality(self) -> Quality {
        let (codec, bitrate_bps) = match self {
            Self::Float => (Codec::PcmF32, 0),
            Self::Pcm24 => (Codec::PcmS24, 0),
            Self::Pcm16 => (Codec::PcmS16, 0),
            Self::Opus256 => (Codec::Opus, 256_000),
            Self::Opus128 => (Codec::Opus, 128_000),
            Self::Opus96 => (Codec::Opus, 96_000),
            Self::Opus64 => (Codec::Opus, 64_000),
        };
        Quality { codec: Some(codec), bitrate_bps, frame_us: 0 }
    }

    /// What listeners may ask for: this and everything smaller.
    pub fn offered(self, sample_rate_hz: u32) -> Vec<Codec> {
        let best = self.at(sample_rate_hz).quality().codec;
        let has_opus = OPUS_RATES_HZ.contains(&sample_rate_hz);
        let smaller = Codec::ALL.into_iter().filter(|codec| Some(*codec) >= best);
        smaller.filter(|codec| has_opus || *codec != Codec::Opus).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_and_strangers_are_exact() {
        for one in Highest::ALL {
            assert_eq!(Highest::from_id(one.id()), one);
        }
        for stranger in ["", "flac", "opus"] {
            assert_eq!(Highest::from_id(stranger), Highest::Float, "{stranger}");
        }
        // What earlier versions stored.
        for codec in [Codec::PcmF32, Codec::PcmS24] {
            assert_eq!(Highest::from_id(codec.name()).quality().codec, Some(codec));
        }
    }

    #[test]
    fn nothing_better_is_offered() {
        let check = |highest: Highest, hz, expected: &[Codec]| assert_eq!(highest.offered(hz), expected);
        check(Highest::Float, 48_000, &Codec::ALL);
        check(Highest::Float, 96_000, &[Codec::PcmF32, Codec::PcmS24, Codec::PcmS16]);
        check(Highest::Pcm16, 44_100, &[Codec::PcmS16, Codec::Opus]);
        check(Highest::Opus96, 48_000, &[Codec::Opus]);
        check(Highest::Opus96, 96_000, &[Codec::PcmS16]);
        assert_eq!(
            (Highest::Opus96.at(96_000), Highest::Opus96.at(48_000)),
            (Highest::Pcm16, Highest::Opus96)
        );
    }
}
