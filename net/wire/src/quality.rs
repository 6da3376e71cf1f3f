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
