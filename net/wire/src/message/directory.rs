//! What a peer publishes.

use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::codec::{self, Codec};
use crate::id::{ConfigId, StreamId};
use crate::message::{DIRECTORY_STREAMS_MAX, Text};
use crate::packet::CHANNELS_MAX;

/// All streams that the peer publishes, in place of those of any earlier directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Grows with every change, from 1 on, within one run of the process.
    pub revision: u64,
    /// At most [`DIRECTORY_STREAMS_MAX`].
    #[serde(deserialize_with = "streams")]
    pub streams: Vec<StreamAnnouncement>,
}

impl Directory {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.streams.len() > DIRECTORY_STREAMS_MAX {
            return Err("a directory has at most 1,024 streams");
        }
        self.streams.iter().try_for_each(StreamAnnouncement::check)
    }
}

/// One stream, and the configuration that its packets are made under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamAnnouncement {
    /// Which.
    pub stream: StreamId,
    /// What its user calls it.
    pub name: Text,
    /// Packets that name another configuration are not to be read by this one.
    pub config: ConfigId,
    /// The epoch that the stream's packets count in.
    pub epoch: u32,
    /// Frames per second, at least 1.
    #[serde(rename = "sample-rate")]
    pub sample_rate_hz: u32,
    /// From 1 to 64.
    pub channels: u8,
    /// None: one that this version does not know, so the stream cannot be played.
    #[serde(with = "codec::optional")]
    pub codec: Option<Codec>,
    /// Streams of one peer with the same text here are sampled by the same clock; empty: unknown.
    #[serde(rename = "clock-domain")]
    pub clock_domain: Text,
    /// The most frames that the sender's host processes at once, so that the receiver can size its buffers; 0: unknown.
    #[serde(rename = "block-max", default)]
    pub block_frames_max: u32,
}

impl StreamAnnouncement {
    fn check(&self) -> Result<(), &'static str> {
        if !(1..=CHANNELS_MAX).contains(&self.channels) {
            return Err("a stream has from 1 to 64 channels");
        }
        if self.sample_rate_hz == 0 {
            return Err("a stream has a sample rate");
        }
        Ok(())
    }
}

/// Reads the list without believing in its length: the vector grows with the streams that are really there.
fn streams<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StreamAnnouncement>, D::Error> {
    struct Streams;

    impl<'de> Visitor<'de> for Streams {
        type Value = Vec<StreamAnnouncement>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {DIRECTORY_STREAMS_MAX} streams")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            use serde::de::Error;
            let mut streams = Vec::new();
            while let Some(stream) = seq.next_element::<StreamAnnouncement>()? {
                stream.check().map_err(Error::custom)?;
                if streams.len() == DIRECTORY_STREAMS_MAX {
                    return Err(Error::invalid_length(streams.len() + 1, &self));
                }
                streams.push(stream);
            }
            Ok(streams)
        }
    }

    deserializer.deserialize_seq(Streams)
}
