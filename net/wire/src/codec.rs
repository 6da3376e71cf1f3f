//! How the samples of a stream are written, by name in its announcement and as bytes in its packets.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How samples are written as bytes. All are big-endian, like everything else in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Codec {
    /// IEEE 754 binary32: the samples of the host, bit for bit.
    #[serde(rename = "pcm-f32")]
    PcmF32,
    /// Signed 24-bit two's complement, like L24 of RFC 3190. Full scale (1.0) is 2²³.
    #[serde(rename = "pcm-s24")]
    Pcm24,
}

impl Codec {
    /// Bytes of one sample.
    pub const fn bytes_per_sample(self) -> usize {
        match self {
            Self::PcmF32 => 4,
            Self::Pcm24 => 3,
        }
    }

    /// The name that stands in announcements.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PcmF32 => "pcm-f32",
            Self::Pcm24 => "pcm-s24",
        }
    }

    /// The codec of that name, if this version knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::PcmF32, Self::Pcm24].into_iter().find(|codec| codec.name() == name)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// For announcements: a codec this version does not know is `None`, so that one stream of the future does not
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_serde_writes() {
        for codec in [Codec::PcmF32, Codec::Pcm24] {
            assert_eq!(serde_json::to_string(&codec).unwrap(), format!("\"{codec}\""));
            assert_eq!(Codec::from_name(codec.name()), Some(codec));
        }
        assert_eq!(Codec::from_name("opus"), None);
    }
}
