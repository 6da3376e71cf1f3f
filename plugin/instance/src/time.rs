//! Epochs and sizes: what follows from the host's sample rate and block size.

use audiocloud_engine::rt::block_ring::Epoch;
use audiocloud_engine::units::{Frames, Nanos, SampleRate};
use ring::rand::{SecureRandom, SystemRandom};

/// Rings hold at least this much sound, ms: a host that processes 200 ms ahead in one go still fits twice.
const RING_MS: i64 = 400;
/// Rings hold at least this many of the host's largest blocks.
const RING_BLOCKS: usize = 16;
/// Blocks in a ring are counted as if none were shorter than this, so that small ones do not run out of headers.
const SMALL_BLOCK: usize = 16;
/// Events that one ring holds: more than any host sends in a ring's worth of blocks.
pub const EVENTS: usize = 4_096;

/// Random bytes from the system. *Realtime-safe: no* (a system call).
///
/// # Panics
/// When the system has no randomness to give, which no supported system does once it has booted.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// Random epochs without a system call: SplitMix64 over a random seed (Steele, Lea and Flood 2014).
#[derive(Debug)]
pub struct Epochs(u64);

impl Epochs {
    /// *Realtime-safe: no* (a system call).
    pub fn new() -> Self {
        Self(u64::from_le_bytes(random()))
    }

    /// An epoch that no earlier one is likely to equal. *Realtime-safe: yes.*
    pub fn draw(&mut self) -> Epoch {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let [a, b, c, d, ..] = (mixed ^ (mixed >> 31)).to_le_bytes();
        Epoch(u32::from_le_bytes([a, b, c, d]))
    }
}

impl Default for Epochs {
    fn default() -> Self {
        Self::new()
    }
}

/// What the host decided at activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    pub sample_rate: SampleRate,
    /// Channels of the main input and output.
    pub channels: u16,
    /// The longest block that the host will ask for, frames; at least 1.
    pub block_max: u32,
    /// The host renders to a file, as fast as it can: the network cannot follow.
    pub offline: bool,
}

impl Setup {
    /// Blocks and samples that a ring for this setup holds.
    pub fn ring(&self) -> (usize, usize) {
        let span = self.frames(Nanos::from_millis(RING_MS));
        let frames = span.max(RING_BLOCKS * usize::try_from(self.block_max).unwrap_or(usize::MAX / 1_024));
        let blocks = frames.div_ceil(SMALL_BLOCK).max(RING_BLOCKS);
        (blocks, frames * usize::from(self.channels))
    }

    /// A span in frames at this rate, rounded up.
    pub fn frames(&self, span: Nanos) -> usize {
        usize::try_from(span.to_frames_ceil(self.sample_rate).get()).unwrap_or(0)
    }

    /// A delay in milliseconds as frames, nearest. *Realtime-safe: yes.*
    pub fn delay(&self, delay_ms: f32) -> Frames {
        #[allow(clippy::cast_possible_truncation, reason = "at most 200 ms, and a cast saturates")]
        let nanos = (f64::from(delay_ms) * 1e6).round() as i64;
        Nanos::new(nanos).to_frames_nearest(self.sample_rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(hz: u32, channels: u16, block_max: u32) -> Setup {
        let sample_rate = SampleRate::new(hz).unwrap();
        Setup { sample_rate, channels, block_max, offline: false }
    }

    #[test]
    fn rings_hold_400_ms_and_16_blocks() {
        fn check(hz: u32, channels: u16, block_max: u32, frames: usize) {
            let (blocks, samples) = setup(hz, channels, block_max).ring();
            assert_eq!(samples, frames * usize::from(channels), "{hz} {channels} {block_max}");
            assert!(blocks * SMALL_BLOCK >= frames);
        }
        check(48_000, 2, 128, 19_200);
        check(44_100, 1, 64, 17_640);
        check(192_000, 8, 8_192, 131_072);
        check(48_000, 6, 4_096, 65_536);
    }

    #[test]
    fn delays_in_frames() {
        assert_eq!(setup(48_000, 2, 128).delay(10.0), Frames::new(480));
        assert_eq!(setup(44_100, 2, 128).delay(0.5), Frames::new(22));
        assert_eq!(setup(192_000, 2, 128).delay(200.0), Frames::new(38_400));
    }

    #[test]
    fn epochs_differ() {
        let mut epochs = Epochs::new();
        let drawn: std::collections::HashSet<u32> = (0..1_000).map(|_| epochs.draw().0).collect();
        assert!(drawn.len() > 998);
    }
}
