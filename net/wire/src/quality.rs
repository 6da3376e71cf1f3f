//! What a receiver would like a stream to be sent as.

use serde::{Deserialize, Serialize};

use crate::codec::{self, Codec};

/// The quality that a subscription asks for. It is a wish: the sender takes what it offers that comes nearest,
/// and goes below it where the path does not carry it. The default leaves everything to the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Quality {
    /// None: as the sender prefers, which is also what a codec of the future reads as.
    #[serde(with = "codec::optional", default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<Codec>,
    /// Bits per second for each pair of channels, where the codec has a rate to choose (Opus: 16,000 to
    /// 510,000); 0: as the sender prefers.
    #[serde(rename = "bitrate", default, skip_serializing_if = "is_zero")]
    pub bitrate_bps: u32,
    /// Length of one packet's frames in microseconds, where the codec has lengths to choose (Opus: 2,500,
    /// 5,000, 10,000 or 20,000); 0: as the sender prefers.
    #[serde(rename = "frame-us", default, skip_serializing_if = "is_zero")]
    pub frame_us: u32,
}

impl Quality {
    /// Whether everything is left to the sender.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_to_the_sender_is_not_written() {
        let check = |quality: Quality, written: serde_json::Value| {
            assert_eq!(serde_json::to_value(quality).unwrap(), written);
            assert_eq!(serde_json::from_value::<Quality>(written).unwrap(), quality);
        };
        check(Quality::default(), json!({}));
        check(Quality { codec: Some(Codec::PcmS16), ..Quality::default() }, json!({ "codec": "pcm-s16" }));
        check(
            Quality { codec: Some(Codec::Opus), bitrate_bps: 96_000, frame_us: 5_000 },
            json!({ "codec": "opus", "bitrate": 96_000, "frame-us": 5_000 }),
        );
    }

    #[test]
    fn a_codec_of_the_future_leaves_the_choice_to_the_sender() {
        let quality: Quality = serde_json::from_value(json!({ "codec": "flac", "bitrate": 1 })).unwrap();
        assert_eq!(quality, Quality { bitrate_bps: 1, ..Quality::default() });
    }
}
