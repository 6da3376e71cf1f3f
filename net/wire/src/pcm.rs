//! Samples to bytes and back: from channels of `f32` to the interleaved payload of a packet, and the other
//! way.
//!
//! Nothing here allocates. Channels are copied one after the other, each by a loop without branches, so that
//! a pump can go from ring to packet and from packet to ring without a buffer between.

use crate::codec::Codec;

/// 3 × 2⁵¹. A double near it has its last bit worth one, so adding it rounds to a whole number, ties to even,
/// and leaves that number, in two's complement, in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// A sample as a signed integer whose full scale (1.0) is `full_scale`: scaled, rounded to the nearest (ties
/// to even), clamped; not a number becomes 0.
#[inline]
fn quantize(sample: f32, full_scale: f64) -> i32 {
    let scaled = if sample.is_nan() { 0.0 } else { f64::from(sample) * full_scale };
    let clamped = scaled.clamp(-full_scale, full_scale - 1.0);
    let [_, _, _, _, low @ ..] = (clamped + ROUND).to_be_bytes();
    i32::from_be_bytes(low)
}

/// A sample as signed 24 bit: scaled by 2²³, rounded to the nearest (ties to even), clamped; not a number
/// becomes 0.
#[inline]
pub fn f32_to_s24(sample: f32) -> [u8; 3] {
    let [_, high, middle, low] = quantize(sample, 8_388_608.0).to_be_bytes();
    [high, middle, low]
}

/// A signed 24-bit sample as `f32`: exact, and [`f32_to_s24`] gives the same bytes again.
#[inline]
#[allow(clippy::cast_precision_loss, reason = "24 bits fit the 24 of an f32's mantissa exactly")]
pub fn s24_to_f32([high, middle, low]: [u8; 3]) -> f32 {
    let value = i32::from_be_bytes([high, middle, low, 0]) >> 8;
    value as f32 * (1.0 / 8_388_608.0)
}

/// A sample as signed 16 bit: scaled by 2¹⁵, rounded to the nearest (ties to even), clamped; not a number
/// becomes 0.
#[inline]
pub fn f32_to_s16(sample: f32) -> [u8; 2] {
    let [_, _, high, low] = quantize(sample, 32_768.0).to_be_bytes();
    [high, low]
}

/// A signed 16-bit sample as `f32`: exact, and [`f32_to_s16`] gives the same bytes again.
#[inline]
pub fn s16_to_f32(bytes: [u8; 2]) -> f32 {
    f32::from(i16::from_be_bytes(bytes)) * (1.0 / 32_768.0)
}

/// The samples of a packet, to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interleaved<'a> {
    codec: Codec,
    channels: usize,
    frames: usize,
    bytes: &'a [u8],
}

impl<'a> Interleaved<'a> {
    /// `frames` frames of `channels` channels in `bytes`. Frames that `bytes` does not hold wholly read as
    /// zero: all, in a packet of silence. So do the samples of a codec that is not PCM.
    pub const fn new(codec: Codec, channels: usize, frames: usize, bytes: &'a [u8]) -> Self {
        Self { codec, channels, frames, bytes }
    }

    /// How many frames.
    pub const fn frames(&self) -> usize {
        self.frames
    }

    /// How many channels.
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// Copies channel `channel` (from 0, within this packet), from frame `first_frame` on, to all of `out`.
    /// What lies outside of the packet is written as zero, so that every element of `out` is written.
    pub fn read(&self, channel: usize, first_frame: usize, out: &mut [f32]) {
        match self.codec {
            Codec::PcmF32 => self.read_as(channel, first_frame, out, f32::from_be_bytes),
            Codec::PcmS24 => self.read_as(channel, first_frame, out, s24_to_f32),
            Codec::PcmS16 => self.read_as(channel, first_frame, out, s16_to_f32),
            Codec::Opus => out.fill(0.0),
        }
    }

    #[inline]
    fn read_as<const N: usize>(
        &self,
        channel: usize,
        first_frame: usize,
        out: &mut [f32],
        sample: impl Fn([u8; N]) -> f32,
    ) {
        let frames = out.len().min(self.frames.saturating_sub(first_frame));
        let mut written = 0;
        if let Some(place) = place::<N>(self.channels, self.frames, channel, first_frame) {
            let bytes = self.bytes.get(place.first_frame..).unwrap_or_default();
            for (out, frame) in out[..frames].iter_mut().zip(bytes.chunks_exact(place.stride)) {
                let Some(bytes) = frame[place.in_frame..].first_chunk() else { break };
                *out = sample(*bytes);
                written += 1;
            }
        }
        out[written..].fill(0.0);
    }

    /// One sample; zero outside of the packet.
    pub fn get(&self, channel: usize, frame: usize) -> f32 {
        let mut sample = [0.0];
        self.read(channel, frame, &mut sample);
        sample[0]
    }
}

/// The samples of a packet, to be written.
#[derive(Debug)]
pub struct InterleavedMut<'a> {
    codec: Codec,
    channels: usize,
    frames: usize,
    bytes: &'a mut [u8],
}

impl<'a> InterleavedMut<'a> {
    /// Room for `frames` frames of `channels` channels at the front of `bytes`; none when `bytes` is too
    /// short, or the codec is not PCM.
    pub fn new(codec: Codec, channels: usize, frames: usize, bytes: &'a mut [u8]) -> Option<Self> {
        let length = frames.checked_mul(channels)?.checked_mul(codec.bytes_per_sample()?)?;
        Some(Self { codec, channels, frames, bytes: bytes.get_mut(..length)? })
    }

    /// How many bytes the samples take.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Copies `samples` to channel `channel` (from 0, within this packet), from frame `first_frame` on.
    /// Returns how many there was room for.
    pub fn write(&mut self, channel: usize, first_frame: usize, samples: &[f32]) -> usize {
        match self.codec {
            Codec::PcmF32 => self.write_as(channel, first_frame, samples, f32::to_be_bytes),
            Codec::PcmS24 => self.write_as(channel, first_frame, samples, f32_to_s24),
            Codec::PcmS16 => self.write_as(channel, first_frame, samples, f32_to_s16),
            Codec::Opus => 0,
        }
    }

    /// Copies to channel `channel`, from its first frame on, what a ring holds in two slices, one after the
    /// other, without the first `skip` samples: those went into earlier packets. Returns how many samples
    /// were written.
    pub fn write_pair(&mut self, channel: usize, (first, second): (&[f32], &[f32]), skip: usize) -> usize {
        let rest = skip.saturating_sub(first.len());
        let first = first.get(skip..).unwrap_or_default();
        let written = self.write(channel, 0, first);
        written + self.write(channel, written, second.get(rest..).unwrap_or_default())
    }

    /// Writes every sample, as `sample(channel, frame)` gives it: a call for each, so slower than
    /// [`Self::write`].
    pub fn write_with(&mut self, mut sample: impl FnMut(usize, usize) -> f32) {
        for channel in 0..self.channels {
            for frame in 0..self.frames {
                self.write(channel, frame, &[sample(channel, frame)]);
            }
        }
    }

    #[inline]
    fn write_as<const N: usize>(
        &mut self,
        channel: usize,
        first_frame: usize,
        samples: &[f32],
        bytes: impl Fn(f32) -> [u8; N],
    ) -> usize {
        let Some(place) = place::<N>(self.channels, self.frames, channel, first_frame) else { return 0 };
        let room = self.bytes.get_mut(place.first_frame..).unwrap_or_default();
        let mut written = 0;
        for (frame, sample) in room.chunks_exact_mut(place.stride).zip(samples) {
            let Some(to) = frame[place.in_frame..].first_chunk_mut() else { break };
            *to = bytes(*sample);
            written += 1;
        }
        written
    }
}

/// Where the samples of one channel are, in bytes.
struct Place {
    /// Where the first frame begins.
    first_frame: usize,
    /// From one frame to the next; never zero.
    stride: usize,
    /// From the beginning of a frame to the channel's sample; less than the stride.
    in_frame: usize,
}

/// Where the samples of a channel are, each `N` bytes long; none when there are none.
fn place<const N: usize>(
    channels: usize,
    frames: usize,
    channel: usize,
    first_frame: usize,
) -> Option<Place> {
    if channel >= channels || first_frame >= frames {
        return None;
    }
    let stride = channels.checked_mul(N)?;
    Some(Place { first_frame: first_frame.checked_mul(stride)?, stride, in_frame: channel * N })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s24_is_scaled_rounded_and_clamped() {
        let check = |sample: f32, expected: i32| {
            let [high, middle, low] = f32_to_s24(sample);
            assert_eq!(i32::from_be_bytes([high, middle, low, 0]) >> 8, expected, "{sample}");
        };
        let step = 1.0 / 8_388_608.0_f32;
        check(0.0, 0);
        check(-0.0, 0);
        check(0.5, 4_194_304);
        check(-1.0, -8_388_608);
        check(1.0, 8_388_607);
        check(1.5, 8_388_607);
        check(-1.5, -8_388_608);
        check(f32::INFINITY, 8_388_607);
        check(f32::NEG_INFINITY, -8_388_608);
        check(f32::NAN, 0);
        check(f32::MIN_POSITIVE, 0);
        check(1.0e-45, 0);
        check(step, 1);
        check(-step, -1);
        check(0.5 * step, 0);
        check(1.5 * step, 2);
        check(2.5 * step, 2);
        check(-0.5 * step, 0);
        check(-1.5 * step, -2);
        check(0.51 * step, 1);
    }

    #[test]
    fn every_24_bit_sample_survives() {
        for value in -8_388_608_i32..=8_388_607 {
            let [_, high, middle, low] = value.to_be_bytes();
            let bytes = [high, middle, low];
            assert_eq!(f32_to_s24(s24_to_f32(bytes)), bytes, "{value}");
        }
    }

    #[test]
    fn s16_is_scaled_rounded_and_clamped() {
        let check = |sample: f32, expected: i16| {
            assert_eq!(i16::from_be_bytes(f32_to_s16(sample)), expected, "{sample}");
        };
        let step = 1.0 / 32_768.0_f32;
        check(0.0, 0);
        check(0.5, 16_384);
        check(-1.0, -32_768);
        check(1.0, 32_767);
        check(-1.5, -32_768);
        check(f32::INFINITY, 32_767);
        check(f32::NAN, 0);
        check(0.5 * step, 0);
        check(1.5 * step, 2);
        check(-1.5 * step, -2);
        check(0.51 * step, 1);
    }

    #[test]
    fn every_16_bit_sample_survives() {
        for value in i16::MIN..=i16::MAX {
            let sample = s16_to_f32(value.to_be_bytes());
            assert_eq!(f32_to_s16(sample), value.to_be_bytes(), "{value}");
            // In 24 bit it is the same sample, with eight zeros after it.
            let [high, low] = value.to_be_bytes();
            assert_eq!(f32_to_s24(sample), [high, low, 0], "{value}");
        }
    }

    #[test]
    fn opus_has_no_samples_to_be_read_or_written() {
        let mut bytes = [7; 64];
        assert!(InterleavedMut::new(Codec::Opus, 1, 4, &mut bytes).is_none());
        let mut out = [1.0; 4];
        Interleaved::new(Codec::Opus, 1, 4, &bytes).read(0, 0, &mut out);
        assert_eq!(out, [0.0; 4]);
    }

    #[test]
    fn f32_is_kept_bit_for_bit() {
        let samples = [0.0, -0.0, 1.0e-45, f32::INFINITY, f32::from_bits(0x7fa0_0001), 1.0 / 3.0, -7.5];
        let mut bytes = [0; 28];
        let mut interleaved = InterleavedMut::new(Codec::PcmF32, 1, 7, &mut bytes).unwrap();
        assert_eq!(interleaved.write(0, 0, &samples), 7);
        let mut read = [0.0; 7];
        Interleaved::new(Codec::PcmF32, 1, 7, &bytes).read(0, 0, &mut read);
        assert_eq!(read.map(f32::to_bits), samples.map(f32::to_bits));
    }

    #[test]
    fn channels_are_interleaved() {
        let mut bytes = [0xee; 13];
        let mut interleaved = InterleavedMut::new(Codec::PcmS24, 2, 2, &mut bytes).unwrap();
        assert_eq!(interleaved.length(), 12);
        assert_eq!(interleaved.write(0, 0, &[0.5, -0.5]), 2);
        assert_eq!(interleaved.write(1, 0, &[0.25]), 1);
        assert_eq!(interleaved.write(1, 1, &[-0.25, 9.0]), 1, "no third frame");
        assert_eq!(interleaved.write(2, 0, &[1.0]), 0, "no third channel");
        assert_eq!(bytes, *b"\x40\0\0\x20\0\0\xc0\0\0\xe0\0\0\xee");

        let read = Interleaved::new(Codec::PcmS24, 2, 2, &bytes[..12]);
        let mut out = [7.0; 4];
        read.read(1, 0, &mut out);
        assert_eq!(out, [0.25, -0.25, 0.0, 0.0], "zeros past the end");
        read.read(0, 1, &mut out);
        assert_eq!(out, [-0.5, 0.0, 0.0, 0.0]);
        read.read(2, 0, &mut out);
        assert_eq!(out, [0.0; 4]);
    }

    #[test]
    fn two_slices_of_a_ring_are_written_as_one() {
        let check = |first: &[f32], second: &[f32], skip: usize, expected: [f32; 3]| {
            let mut bytes = [0; 12];
            let mut interleaved = InterleavedMut::new(Codec::PcmF32, 1, 3, &mut bytes).unwrap();
            interleaved.write_pair(0, (first, second), skip);
            let read = Interleaved::new(Codec::PcmF32, 1, 3, &bytes);
            assert_eq!([0, 1, 2].map(|frame| read.get(0, frame)), expected);
        };
        check(&[1.0, 2.0], &[3.0, 4.0], 0, [1.0, 2.0, 3.0]);
        check(&[1.0, 2.0], &[3.0, 4.0], 1, [2.0, 3.0, 4.0]);
        check(&[1.0, 2.0], &[3.0, 4.0], 3, [4.0, 0.0, 0.0]);
        check(&[1.0, 2.0], &[3.0, 4.0], 9, [0.0; 3]);
        check(&[1.0, 2.0, 3.0, 4.0], &[], 1, [2.0, 3.0, 4.0]);
        check(&[], &[1.0, 2.0, 3.0], 0, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let mut bytes = [0; 11];
        assert!(InterleavedMut::new(Codec::PcmS24, 2, 2, &mut bytes).is_none());
        assert!(InterleavedMut::new(Codec::PcmS24, usize::MAX, 2, &mut bytes).is_none());
        assert_eq!(InterleavedMut::new(Codec::PcmS24, 0, 2, &mut bytes).unwrap().write(0, 0, &[1.0]), 0);
        assert_eq!(
            Interleaved::new(Codec::PcmS24, usize::MAX, usize::MAX, &bytes).get(5, usize::MAX - 1),
            0.0
        );
    }

    #[test]
    fn a_closure_can_give_the_samples() {
        let mut bytes = [0; 16];
        let mut interleaved = InterleavedMut::new(Codec::PcmF32, 2, 2, &mut bytes).unwrap();
        interleaved.write_with(|channel, frame| if channel == frame { 1.0 } else { -1.0 });
        let read = Interleaved::new(Codec::PcmF32, 2, 2, &bytes);
        assert_eq!([read.get(0, 0), read.get(1, 0), read.get(0, 1), read.get(1, 1)], [1.0, -1.0, -1.0, 1.0]);
    }
}
