//! *D*: by how many frames everything is late, always.

use audiocloud_engine::units::{Nanos, SampleRate};
use audiocloud_instance::state::KeptDelay;

/// Budget for the network of a new plug-in, ms: there and back, a good line between two towns.
pub const NETWORK_DEFAULT_MS: f32 = 10.0;
/// The most.
pub const NETWORK_MAX_MS: f32 = 500.0;
/// Head-room of a new plug-in, ms: enough for one effect that looks ahead, as a limiter, and one that oversamples.
pub const HEAD_ROOM_DEFAULT_MS: f32 = 8.0;
/// The most.
pub const HEAD_ROOM_MAX_MS: f32 = 200.0;

/// How late everything is, and the part of it that the chain's own latency may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// *D*.
    pub frames: u32,
    /// Of these, what effects that look ahead may use: every rack of the chain is late by exactly this.
    pub head_room_frames: u32,
}

/// What it is decided from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wishes {
    pub sample_rate: SampleRate,
    /// The longest block that the host announced.
    pub block_frames_max: u32,
    pub network_ms: f32,
    pub head_room_ms: f32,
}

impl Wishes {
    /// Two of the host's blocks (one is gathered here, one is under way at the node), the network's time and the head-room.
    #[must_use]
    pub fn delay(&self) -> Delay {
        let head_room_frames = self.frames(self.head_room_ms);
        let blocks = self.block_frames_max.saturating_mul(2);
        let frames = blocks.saturating_add(self.frames(self.network_ms)).saturating_add(head_room_frames);
        Delay { frames, head_room_frames }
    }

    /// What was decided for the same wishes stays, whatever a later version would decide.
    #[must_use]
    pub fn delay_again(&self, kept: Option<KeptDelay>) -> Delay {
        let fresh = self.delay();
        match kept {
            Some(kept)
                if (KeptDelay { frames: 0, ..kept }) == self.kept(0)
                    && kept.frames >= fresh.head_room_frames =>
            {
                Delay { frames: kept.frames, ..fresh }
            }
            _ => fresh,
        }
    }

    /// As the project keeps it.
    #[must_use]
    pub fn kept(&self, frames: u32) -> KeptDelay {
        KeptDelay {
            sample_rate_hz: self.sample_rate.hz(),
            block_frames_max: self.block_frames_max,
            network_us: micros(self.network_ms),
            head_room_us: micros(self.head_room_ms),
            frames,
        }
    }

    fn frames(&self, span_ms: f32) -> u32 {
        let span = Nanos::from_micros(micros(span_ms).into());
        u32::try_from(span.to_frames_ceil(self.sample_rate).get()).unwrap_or(0)
    }
}

fn micros(span_ms: f32) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "half a second at most, and a cast saturates"
    )]
    let micros = (f64::from(span_ms) * 1e3).round() as u32;
    micros
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(block_frames_max: u32, network_ms: f32, head_room_ms: f32) -> Wishes {
        Wishes { sample_rate: SampleRate::new(48_000).unwrap(), block_frames_max, network_ms, head_room_ms }
    }

    #[test]
    fn two_blocks_the_network_and_the_head_room() {
        let delay = |frames, head_room_frames| Delay { frames, head_room_frames };
        assert_eq!(wishes(64, 1.0, 0.0).delay(), delay(176, 0));
        assert_eq!(wishes(128, 10.0, 8.0).delay(), delay(256 + 480 + 384, 384));
        assert_eq!(wishes(1, 0.01, 0.0).delay(), delay(3, 0), "what is begun is a whole frame");
        assert_eq!(wishes(u32::MAX, 0.0, 0.0).delay().frames, u32::MAX);
    }

    #[test]
    fn what_was_decided_stays_for_the_same_wishes() {
        let first = wishes(128, 10.0, 8.0);
        let kept = KeptDelay { frames: 2_000, ..first.kept(0) };
        assert_eq!(first.delay_again(Some(kept)).frames, 2_000);
        assert_eq!(wishes(64, 10.0, 8.0).delay_again(Some(kept)), wishes(64, 10.0, 8.0).delay());
        assert_eq!(first.delay_again(None), first.delay());
        let senseless = KeptDelay { frames: 3, ..kept };
        assert_eq!(first.delay_again(Some(senseless)), first.delay());
    }
}
