//! How the samples of a stream are written: by name in announcements, by number in packets.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How samples are written as bytes. The PCM ones are big-endian, like everything else in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Codec {
    /// IEEE 754 binary32: the samples of the host, bit for bit.
    #[serde(rename = "pcm-f32")]
    PcmF32,
    /// Signed 24-bit two's complement, like L24 of RFC 3190. Full scale (1.0) is 2²³.
    #[serde(rename = "pcm-s24")]
    PcmS24,
    /// Signed 16-bit two's complement, like L16 of RFC 3551. Full scale (1.0) is 2¹⁵.
    #[serde(rename = "pcm-s16")]
    PcmS16,
    /// Opus (RFC 6716): what fits is not a matter of arithmetic, so a packet says only how many frames it
    /// decodes to.
    #[serde(rename = "opus")]
    Opus,
}

impl Codec {
    /// All of them, each at the place of its number in a packet, the one that keeps most of a sample first.
    pub const ALL: [Self; 4] = [Self::PcmF32, Self::PcmS24, Self::PcmS16, Self::Opus];

    /// Its number in the header of an audio packet.
    pub const fn number(self) -> u8 {
        match self {
            Self::PcmF32 => 0,
            Self::PcmS24 => 1,
            Self::PcmS16 => 2,
            Self::Opus => 3,
        }
    }

    /// The codec of that number, if this version knows it.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Bytes of one sample; none where a sample has no bytes of its own.
    pub const fn bytes_per_sample(self) -> Option<usize> {
        match self {
            Self::PcmF32 => Some(4),
            Self::PcmS24 => Some(3),
            Self::PcmS16 => Some(2),
            Self::Opus => None,
        }
    }

    /// Bits of one sample where samples are integers, and so can be packed without loss.
    pub const fn integer_bits(self) -> Option<u8> {
        match self {
            Self::PcmS24 => Some(24),
            Self::PcmS16 => Some(16),
            Self::PcmF32 | Self::Opus => None,
        }
    }

    /// The name that stands in announcements.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PcmF32 => "pcm-f32",
            Self::PcmS24 => "pcm-s24",
            Self::PcmS16 => "pcm-s16",
            Self::Opus => "opus",
        }
    }

    /// The codec of that name, if this version knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// For messages: a codec this version does not know is `None`, so that one stream of the future does not
/// make the rest of a directory unreadable.
pub(crate) mod optional {
    use super::{Codec, Deserialize, Deserializer, Serialize, Serializer};
    use crate::message::Text;

    pub(crate) fn serialize<S: Serializer>(codec: &Option<Codec>, serializer: S) -> Result<S::Ok, S::Error> {
        codec.map_or("unknown", Codec::name).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Codec>, D::Error> {
        Ok(Codec::from_name(&Text::deserialize(deserializer)?))
    }
}

/// For announcements: a list of codecs, of which a reader keeps those that it knows, each once. So a list of
/// any length takes no more room than [`Codec::ALL`].
pub(crate) mod list {
    use std::fmt;

    use serde::de::{SeqAccess, Visitor};

    use super::{Codec, Deserializer};
    use crate::message::Text;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Codec>, D::Error> {
        struct Codecs;

        impl<'de> Visitor<'de> for Codecs {
            type Value = Vec<Codec>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of codecs' names")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Self::Value, A::Error> {
                let mut codecs = Vec::new();
                while let Some(name) = names.next_element::<Text>()? {
                    let known = Codec::from_name(&name).filter(|codec| !codecs.contains(codec));
                    codecs.extend(known);
                }
                Ok(codecs)
            }
        }

        deserializer.deserialize_seq(Codecs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_serde_writes() {
        for codec in Codec::ALL {
            assert_eq!(serde_json::to_string(&codec).unwrap(), format!("\"{codec}\""));
            assert_eq!(Codec::from_name(codec.name()), Some(codec));
        }
        assert_eq!(Codec::from_name("flac"), None);
    }

    #[test]
    fn numbers_are_places() {
        for (place, codec) in (0..).zip(Codec::ALL) {
            assert_eq!(codec.number(), place);
            assert_eq!(Codec::from_number(place), Some(codec));
        }
        assert_eq!(Codec::from_number(4), None);
        assert_eq!(Codec::from_number(255), None);
    }
}
