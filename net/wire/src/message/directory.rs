//! What a peer publishes.

use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::codec::{self, Codec};
use crate::id::{ConfigId, SessionId, StreamId};
use crate::message::{DIRECTORY_STREAMS_MAX, Purpose, Text};
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
    /// What a subscription without wishes is sent. None: one that this version does not know.
    #[serde(with = "codec::optional")]
    pub codec: Option<Codec>,
    /// What a subscription may ask for, besides `codec`; empty: nothing else. Those that this version does not
    /// know are left out.
    #[serde(deserialize_with = "codec::list::deserialize", default, skip_serializing_if = "Vec::is_empty")]
    pub codecs: Vec<Codec>,
    /// Streams of one peer with the same text here are sampled by the same clock; empty: unknown.
    #[serde(rename = "clock-domain")]
    pub clock_domain: Text,
    /// The most frames that the sender's host processes at once, so that the receiver can size its buffers;
    /// 0: unknown.
    #[serde(rename = "block-max", default)]
    pub block_frames_max: u32,
    /// The session whose members it is for; none: for those who trust the publisher without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Purpose::is_play")]
    pub purpose: Purpose,
}

impl StreamAnnouncement {
    /// Whether a subscription may ask for this codec.
    pub fn offers(&self, codec: Codec) -> bool {
        self.codec == Some(codec) || self.codecs.contains(&codec)
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{DecodeError, EncodeError, FRAME_BYTES_MAX, Message, split_frame};

    fn announcement(stream: u64) -> StreamAnnouncement {
        StreamAnnouncement {
            stream: StreamId(stream),
            name: Text::new("Bass"),
            config: ConfigId(1),
            epoch: 7,
            sample_rate_hz: 48_000,
            channels: 2,
            codec: Some(Codec::PcmF32),
            codecs: vec![Codec::PcmS16, Codec::Opus],
            clock_domain: Text::default(),
            block_frames_max: 0,
            session: None,
            purpose: Purpose::Play,
        }
    }

    fn round_trip(directory: Directory) -> Result<Message, DecodeError> {
        let mut frame = Vec::new();
        ciborium::into_writer(&Message::Directory(directory), &mut frame).unwrap();
        Message::decode(&frame)
    }

    #[test]
    fn a_codec_of_the_future_leaves_the_rest_readable() {
        let streams = vec![StreamAnnouncement { codec: None, ..announcement(1) }, announcement(2)];
        let directory = Directory { revision: 1, streams };
        assert_eq!(round_trip(directory.clone()), Ok(Message::Directory(directory)));
    }

    #[test]
    fn an_offer_keeps_the_codecs_that_are_known_once_each() {
        let names: Vec<&str> = ["opus", "flac", "pcm-s24", "opus"].repeat(100);
        let mut written = serde_json::to_value(announcement(1)).unwrap();
        written["codecs"] = names.into();
        let read: StreamAnnouncement = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(read.codecs, [Codec::Opus, Codec::PcmS24]);
        assert!(read.offers(Codec::Opus) && read.offers(Codec::PcmF32) && !read.offers(Codec::PcmS16));
        written.as_object_mut().unwrap().remove("codecs");
        let read: StreamAnnouncement = serde_json::from_value(written).unwrap();
        assert!(read.offers(Codec::PcmF32) && !read.offers(Codec::Opus));
    }

    #[test]
    fn announcements_out_of_range_are_neither_sent_nor_read() {
        let check = |announcement: StreamAnnouncement| {
            let directory = Directory { revision: 1, streams: vec![announcement] };
            let sent = Message::Directory(directory.clone()).to_frame();
            assert!(matches!(sent, Err(EncodeError::Field(_))), "{sent:?}");
            let read = round_trip(directory);
            assert!(matches!(read, Err(DecodeError::Field { .. })), "{read:?}");
        };
        check(StreamAnnouncement { channels: 0, ..announcement(1) });
        check(StreamAnnouncement { channels: 65, ..announcement(1) });
        check(StreamAnnouncement { sample_rate_hz: 0, ..announcement(1) });
    }

    #[test]
    fn a_directory_has_bounds() {
        let full =
            |streams: u64| Directory { revision: 1, streams: (0..streams).map(announcement).collect() };
        let sent = Message::Directory(full(1025)).to_frame();
        assert!(matches!(sent, Err(EncodeError::Field(_))), "{sent:?}");
        assert!(matches!(round_trip(full(1025)), Err(DecodeError::Field { .. })));
        assert!(round_trip(full(1024)).is_ok());

        // 400 streams of this size fit a frame; more of them do not, and nothing of them is left behind.
        let frame = Message::Directory(full(400)).to_frame().unwrap();
        let (body, rest) = split_frame(&frame).unwrap().unwrap();
        assert!(rest.is_empty() && body.len() <= FRAME_BYTES_MAX);
        let mut out = vec![1, 2, 3];
        assert!(matches!(Message::Directory(full(1024)).encode(&mut out), Err(EncodeError::TooLong(_))));
        assert_eq!(out, [1, 2, 3]);
    }
}
