//! Lossless packing of the payload of one PCM packet.
//!
//! After Robinson's *Shorten* (1994) and FLAC (RFC 9639), cut down to what a packet of some milliseconds
//! needs, with nothing kept from packet to packet, so that a lost one costs no other. Channels are taken by
//! pairs. Of a pair, two are written of left, right, their difference and their mean: those that cost least.
//! Each is predicted by one of the polynomials of order 0 to 4 (that is, differenced so often), and what the
//! prediction misses is written in Rice's code, with a parameter for each [`PARTITION`] samples. Low bits that
//! are zero in all of a pair are left out: 16-bit material in a 24-bit stream is as small as it would be in
//! a 16-bit one.
//!
//! The bits, first the highest of each byte:
//!
//! | | bits | |
//! |---|---|---|
//! | per pair | 5 | how many low bits are left out |
//! | | 2 | 0 left and right, 1 left and side, 2 side and right, 3 mid and side; not before a last, single channel |
//! | per channel | 3 | order |
//! | | 5 + w | w, then the first sample's zigzag code in w bits; so for the first *order* samples, the *n*th differenced *n* times |
//! | per partition | 5 | Rice parameter k; 31: all zero |
//! | per sample | | the zigzag code u: u >> k ones, a zero, the low k bits; or 24 ones and u in 32 bits |
//!
//! The last byte is filled with zeros.

mod bits;
mod channel;

use std::fmt;

use bits::{BitReader, BitWriter};
use channel::Plan;

/// Samples that share a Rice parameter.
const PARTITION: usize = 32;

/// Bits of a Rice parameter, of a width, and of a count of low bits.
const FIELD_BITS: u32 = 5;

/// Why a packed payload cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackError {
    /// It ends within the samples.
    Truncated,
    /// It contradicts itself, or what was said of it.
    Malformed,
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "packed samples end too early",
            Self::Malformed => "packed samples contradict themselves",
        })
    }
}

impl std::error::Error for PackError {}

/// Which two signals stand for a pair of channels, by its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stereo {
    LeftRight = 0,
    LeftSide = 1,
    SideRight = 2,
    MidSide = 3,
}

/// Packs and unpacks payloads of PCM packets: interleaved, big-endian, 16 or 24 bits. Holds nothing but the
/// room for it.
#[derive(Debug, Default)]
pub struct Packer {
    left: Vec<i32>,
    right: Vec<i32>,
    mid: Vec<i32>,
    side: Vec<i32>,
    scratch: Vec<i32>,
}

impl Packer {
    /// Packs the payload `pcm` of `channels` channels of 16 or 24 `bits` to the front of `out`: how many
    /// bytes. None when those would not be fewer than `pcm` has or do not fit; the payload is then sent as it
    /// is.
    ///
    /// *Realtime-safe: no* (room grows to the longest payload)
    pub fn pack(&mut self, pcm: &[u8], channels: usize, bits: u8, out: &mut [u8]) -> Option<usize> {
        let bytes = bytes_per_sample(bits)?;
        let stride =
            channels.checked_mul(bytes).filter(|stride| *stride > 0 && pcm.len().is_multiple_of(*stride))?;
        let room = pcm.len().saturating_sub(1).min(out.len());
        let mut writer = BitWriter::new(&mut out[..room]);
        for first in (0..channels).step_by(2) {
            if stride == 6 && bytes == 3 {
                read_stereo_24(pcm, &mut self.left, &mut self.right);
                self.write_pair(&mut writer);
                continue;
            }
            read_channel(pcm, stride, first, bytes, &mut self.left);
            if first + 1 < channels {
                read_channel(pcm, stride, first + 1, bytes, &mut self.right);
                self.write_pair(&mut writer);
            } else {
                self.write_single(&mut writer);
            }
            if writer.is_full() {
                return None;
            }
        }
        writer.finish()
    }

    /// The other way: the payload as it was before, with `frames` frames of `channels` channels, to `pcm`,
    /// whose length becomes its. What `pcm` holds after an error means nothing.
    ///
    /// *Realtime-safe: no* (as [`Self::pack`])
    pub fn unpack(
        &mut self,
        payload: &[u8],
        channels: usize,
        frames: usize,
        bits: u8,
        pcm: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let bytes = bytes_per_sample(bits).ok_or(PackError::Malformed)?;
        let samples = samples_in(payload, channels, frames)?;
        let stride = channels * bytes;
        pcm.clear();
        pcm.resize(samples * bytes, 0);
        let mut reader = BitReader::new(payload);
        for first in (0..channels).step_by(2) {
            let is_pair = first + 1 < channels;
            let shift = self.read_pair(&mut reader, is_pair, frames)?;
            write_channel(pcm, stride, first, bytes, &self.left, shift)?;
            if is_pair {
                write_channel(pcm, stride, first + 1, bytes, &self.right, shift)?;
            }
        }
        reader.finish()
    }

    /// As [`Self::unpack`], but to a slice of floats for each channel, full scale being 1.0: what reading the payload as it
    /// was would give, bit for bit. Of `channels` there are then so many; what they hold after an error means nothing.
    ///
    /// *Realtime-safe: no* (as [`Self::pack`])
    pub fn unpack_planar(
        &mut self,
        payload: &[u8],
        channels: usize,
        frames: usize,
        bits: u8,
        planar: &mut Vec<Vec<f32>>,
    ) -> Result<(), PackError> {
        bytes_per_sample(bits).ok_or(PackError::Malformed)?;
        samples_in(payload, channels, frames)?;
        planar.resize_with(channels, Vec::new);
        let mut reader = BitReader::new(payload);
        for pair in planar.chunks_mut(2) {
            let shift = self.read_pair(&mut reader, pair.len() == 2, frames)?;
            for (to, samples) in pair.iter_mut().zip([&self.left, &self.right]) {
                to_floats(samples, bits, shift, to)?;
            }
        }
        reader.finish()
    }

    fn write_pair(&mut self, writer: &mut BitWriter<'_>) {
        let Self { left, right, mid, side, scratch } = self;
        let shift = shift_out(&mut [left, right]);
        mid.clear();
        side.clear();
        mid.extend(left.iter().zip(&*right).map(|(left, right)| (left + right) >> 1));
        side.extend(left.iter().zip(&*right).map(|(left, right)| left - right));
        let [of_left, of_right, of_mid, of_side] = [&*left, right, mid, side].map(|signal| Plan::of(signal));
        let choices = [
            (Stereo::LeftRight, (&*left, of_left), (&*right, of_right)),
            (Stereo::LeftSide, (left, of_left), (side, of_side)),
            (Stereo::SideRight, (side, of_side), (right, of_right)),
            (Stereo::MidSide, (mid, of_mid), (side, of_side)),
        ];
        // A residual of mean size s takes about log2(s) bits a sample: least sum of logarithms, least product.
        let cost = |(_, first, second): &(Stereo, (_, Plan), (_, Plan))| {
            u128::from(first.1.magnitude + 1) * u128::from(second.1.magnitude + 1)
        };
        if let Some((stereo, first, second)) = choices.into_iter().min_by_key(cost) {
            writer.put(shift, FIELD_BITS);
            writer.put(stereo as u32, 2);
            first.1.write(first.0, scratch, writer);
            second.1.write(second.0, scratch, writer);
        }
    }

    fn write_single(&mut self, writer: &mut BitWriter<'_>) {
        let shift = shift_out(&mut [&mut self.left]);
        writer.put(shift, FIELD_BITS);
        Plan::of(&self.left).write(&self.left, &mut self.scratch, writer);
    }

    /// Reads a pair to `left` and `right`, or a single channel to `left`: how many low bits are missing.
    fn read_pair(
        &mut self,
        reader: &mut BitReader<'_>,
        is_pair: bool,
        frames: usize,
    ) -> Result<u32, PackError> {
        let shift = reader.take(FIELD_BITS);
        let stereo = if is_pair { reader.take(2) } else { 0 };
        channel::read(reader, frames, &mut self.left)?;
        if is_pair {
            channel::read(reader, frames, &mut self.right)?;
            for (left, right) in self.left.iter_mut().zip(&mut self.right) {
                (*left, *right) = restore(stereo, *left, *right);
            }
        }
        Ok(shift)
    }
}

/// Left and right, from the two signals that `stereo` names. Whatever they are: from a peer, sums may wrap.
fn restore(stereo: u32, first: i32, second: i32) -> (i32, i32) {
    match stereo {
        0 => (first, second),
        1 => (first, first.wrapping_sub(second)),
        2 => (first.wrapping_add(second), second),
        _ => {
            // The mean lost its half; the difference is odd exactly when the sum is.
            let sum = first.wrapping_mul(2) | (second & 1);
            (sum.wrapping_add(second) >> 1, sum.wrapping_sub(second) >> 1)
        }
    }
}

const fn bytes_per_sample(bits: u8) -> Option<usize> {
    match bits {
        16 => Some(2),
        24 => Some(3),
        _ => None,
    }
}

/// How many samples so many frames have; an error where the payload cannot hold them.
fn samples_in(payload: &[u8], channels: usize, frames: usize) -> Result<usize, PackError> {
    let samples = channels.checked_mul(frames).filter(|samples| *samples <= usize::MAX / 8);
    let samples = samples.ok_or(PackError::Malformed)?;
    // No partition is shorter than its parameter: bounds what a few bytes can ask for.
    if samples / PARTITION > payload.len() * 8 / 5 { Err(PackError::Truncated) } else { Ok(samples) }
}

/// Takes the low bits that are zero in all samples off all of them: how many.
fn shift_out(channels: &mut [&mut Vec<i32>]) -> u32 {
    let any = channels.iter().flat_map(|channel| channel.iter()).fold(0, |any, sample| any | sample);
    let shift = if any == 0 { 0 } else { any.trailing_zeros() };
    if shift > 0 {
        for sample in channels.iter_mut().flat_map(|channel| channel.iter_mut()) {
            *sample >>= shift;
        }
    }
    shift
}

/// Copies both channels out of a stereo payload of 24 bits, the usual one: twice as fast as one after the other.
fn read_stereo_24(pcm: &[u8], left: &mut Vec<i32>, right: &mut Vec<i32>) {
    let frames = pcm.as_chunks::<6>().0;
    left.clear();
    left.extend(
        frames.iter().map(|[high, middle, low, ..]| i32::from_be_bytes([*high, *middle, *low, 0]) >> 8),
    );
    right.clear();
    right.extend(
        frames.iter().map(|[.., high, middle, low]| i32::from_be_bytes([*high, *middle, *low, 0]) >> 8),
    );
}

/// Copies a channel out of an interleaved payload.
fn read_channel(pcm: &[u8], stride: usize, channel: usize, bytes: usize, samples: &mut Vec<i32>) {
    samples.clear();
    let of_channel = pcm.chunks_exact(stride).map(|frame| &frame[channel * bytes..]);
    if bytes == 3 {
        samples
            .extend(of_channel.map(|sample| i32::from_be_bytes([sample[0], sample[1], sample[2], 0]) >> 8));
    } else {
        samples.extend(of_channel.map(|sample| i32::from(i16::from_be_bytes([sample[0], sample[1]]))));
    }
}

/// Copies a channel into an interleaved payload, its low bits put back.
fn write_channel(
    pcm: &mut [u8],
    stride: usize,
    channel: usize,
    bytes: usize,
    samples: &[i32],
    shift: u32,
) -> Result<(), PackError> {
    // Above the sample's bits there must be its sign alone.
    let spare = if bytes == 3 { 8 } else { 16 } + shift;
    let mut overflow = spare > 31;
    for (frame, sample) in pcm.chunks_exact_mut(stride).zip(samples) {
        let high = sample.wrapping_shl(spare);
        overflow |= high.wrapping_shr(spare) != *sample;
        let to = &mut frame[channel * bytes..];
        let [first, second, third, _] = high.to_be_bytes();
        to[0] = first;
        to[1] = second;
        if bytes == 3 {
            to[2] = third;
        }
    }
    if overflow { Err(PackError::Malformed) } else { Ok(()) }
}

/// Copies a channel as floats, its low bits put back.
fn to_floats(samples: &[i32], bits: u8, shift: u32, floats: &mut Vec<f32>) -> Result<(), PackError> {
    // Above the sample's bits there must be its sign alone.
    let spare = 32 - u32::from(bits) + shift;
    let overflow =
        spare > 31 || samples.iter().any(|sample| sample.wrapping_shl(spare).wrapping_shr(spare) != *sample);
    if overflow {
        return Err(PackError::Malformed);
    }
    let scale = if bits == 16 { 1.0 / 32_768.0 } else { 1.0 / 8_388_608.0 };
    floats.clear();
    #[allow(clippy::cast_precision_loss, reason = "at most 24 bits fit the 24 of an f32's mantissa exactly")]
    floats.extend(samples.iter().map(|sample| (sample << shift) as f32 * scale));
    Ok(())
}

#[cfg(test)]
mod tests;
