//! The ladder of qualities, and what each means in packets.

use audiocloud_units::{Frames, Nanos};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::packet::audio::{HEADER_BYTES, PAYLOAD_BYTES_MAX};
use audiocloud_wire::quality::Quality;

use super::{Budget, Ends};
use crate::sender::DATAGRAM_OVERHEAD_BYTES;

/// Opus, from the best on which the ladder comes down: bits per second of a pair.
const OPUS_BPS: [u32; 4] = [256_000, 128_000, 96_000, 64_000];
/// Frames of Opus in samples, those of 2.5, 5, 10 and 20 ms at 48 kHz, and what they are called.
const OPUS_FRAMES: [(u32, u32); 4] = [(120, 2_500), (240, 5_000), (480, 10_000), (960, 20_000)];
/// Rates at which Opus runs.
const OPUS_RATES_HZ: [u32; 2] = [44_100, 48_000];
/// What Opus looks ahead in its low-delay mode, which all of these bit rates are coded in, samples.
const OPUS_LOOKAHEAD: u32 = 120;

/// A quality in packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) quality: Quality,
    /// By which qualities are ordered: the bit rate of a pair of channels.
    pub(super) worth: u64,
    /// The sender's block.
    pub(super) block: Nanos,
    /// What the codec adds to it.
    pub(super) delay: Nanos,
    /// Between two times at which packets leave.
    pub(super) interval: Nanos,
    /// How many leave then.
    pub(super) packets: u32,
    /// Without redundancy, headers included.
    pub(super) rate_bps: u64,
}

/// From the best quality that is wanted down to the lowest that there is.
pub(super) fn ladder(budget: &Budget, ends: &Ends) -> Vec<Form> {
    let mut forms: Vec<Form> =
        [Codec::PcmF32, Codec::PcmS24, Codec::PcmS16].map(|codec| pcm(codec, ends)).into();
    if budget.opus && OPUS_RATES_HZ.contains(&ends.sample_rate.hz()) {
        let opus = |bitrate_bps| OPUS_FRAMES.map(|(frames, us)| opus(bitrate_bps, frames, us, ends));
        forms.extend(OPUS_BPS.into_iter().flat_map(opus));
    }
    // What is wanted may be below all that there is.
    let lowest = forms.iter().map(|form| form.worth).min().unwrap_or(0);
    let best = worth(&budget.best, ends).max(lowest);
    forms.retain(|form| form.worth <= best);
    forms
}

/// Bits per second of a pair of channels, headers left out: by this qualities are ordered.
fn worth(quality: &Quality, ends: &Ends) -> u64 {
    match quality.codec.unwrap_or(Codec::PcmF32).bytes_per_sample() {
        Some(bytes) => u64::try_from(bytes * 16).unwrap_or(0) * u64::from(ends.sample_rate.hz()),
        None => quality.bitrate_bps.into(),
    }
}

fn pcm(codec: Codec, ends: &Ends) -> Form {
    let frames = u64::from(ends.sender_block.max(1));
    let bytes = u64::try_from(codec.bytes_per_sample().unwrap_or(0)).unwrap_or(0);
    let payload = frames * u64::from(ends.channels) * bytes;
    let packets = payload.div_ceil(u64::try_from(PAYLOAD_BYTES_MAX).unwrap_or(u64::MAX)).max(1);
    let block = length(ends.sender_block.max(1), ends);
    let quality = Quality { codec: Some(codec), bitrate_bps: 0, frame_us: 0 };
    Form {
        quality,
        worth: worth(&quality, ends),
        block,
        delay: Nanos::ZERO,
        interval: block,
        packets: u32::try_from(packets).unwrap_or(u32::MAX),
        rate_bps: bits_per_second(payload, packets, frames, ends),
    }
}

fn opus(bitrate_bps: u32, frames: u32, frame_us: u32, ends: &Ends) -> Form {
    let block_frames = ends.sender_block.max(1);
    // The first sample of a codec's frame may wait until a later block ends that fills the frame.
    let waits = frames - gcd(frames, block_frames) + OPUS_LOOKAHEAD;
    let pairs = u64::from(ends.channels).div_ceil(2);
    let rate = u64::from(ends.sample_rate.hz());
    let payload = pairs * (u64::from(bitrate_bps) * u64::from(frames) / rate).div_ceil(8);
    let packets = payload.div_ceil(u64::try_from(PAYLOAD_BYTES_MAX).unwrap_or(u64::MAX)).max(1);
    let quality = Quality { codec: Some(Codec::Opus), bitrate_bps, frame_us };
    Form {
        quality,
        worth: worth(&quality, ends),
        block: length(block_frames, ends),
        delay: length(waits, ends),
        interval: length(frames.max(block_frames), ends),
        packets: u32::try_from(packets * u64::from(block_frames.div_ceil(frames))).unwrap_or(u32::MAX),
        rate_bps: bits_per_second(payload, packets, frames.into(), ends),
    }
}

fn bits_per_second(payload: u64, packets: u64, frames: u64, ends: &Ends) -> u64 {
    let header = u64::try_from(HEADER_BYTES + DATAGRAM_OVERHEAD_BYTES).unwrap_or(0);
    ((payload + packets * header) * 8 * u64::from(ends.sample_rate.hz())).div_ceil(frames)
}

fn length(frames: u32, ends: &Ends) -> Nanos {
    Frames::from(frames).to_nanos_floor(ends.sample_rate)
}

const fn gcd(mut one: u32, mut other: u32) -> u32 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}
