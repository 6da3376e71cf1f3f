//! Opus (RFC 6716) for any number of channels.
//!
//! Channels go by pairs, each pair a stereo stream of its own, a last single one a mono stream of half the bit
//! rate. A payload has, for each stream, its length (`u16`, big-endian) and its Opus packet of one frame.
//!
//! **Delay.** What a decoder gives comes [`Encoder::lookahead_frames`] after what the encoder was given:
//! 120 frames (2.5 ms) where restricted low delay is used, 312 (6.5 ms) where forward error correction is
//! possible. A sender that numbers a payload's frames as the first that comes *out* of the decoder
//! places them to the sample, and no receiver has to know the delay.
//!
//! **Loss.** In-band forward error correction exists in Opus's speech coder alone. Asked for it, libopus codes
//! music with that one too, which on a string recording at 128 kbit/s takes the ratio of signal to error from 22
//! to 12 dB. It is therefore used from 10 ms frames on and up to [`FEC_BITRATE_MAX_BPS`]; above that, and for
//! shorter frames, packets are better protected from outside ([`crate::repair`]), and the codec is kept to its
//! low delay.
//!
//! **Rates.** Opus runs at 48 kHz. A stream of 44.1 kHz is coded as if it were one of 48: no sample is
//! changed in rate, a frame has as many and lasts 1.088 times as long, and the coder's bands lie 8 % lower
//! (its top at 18.4 kHz). No other rate can be.
//!
//! The library is libopus 1.3.1, translated to Rust by its own porters (`unsafe-libopus`): it builds with nothing but the
//! Rust compiler.

mod libopus;

use std::fmt;

use libopus::{RawDecoder, RawEncoder};

/// The highest bit rate per pair at which forward error correction is worth what it costs.
pub const FEC_BITRATE_MAX_BPS: u32 = 48_000;

/// The bit rates that a pair may have.
pub const BITRATES_BPS: std::ops::RangeInclusive<u32> = 16_000..=510_000;

/// Most frames (samples per channel) of a payload: 20 ms.
pub const FRAMES_MAX: usize = 960;

/// Most channels of a payload.
const CHANNELS_MAX: usize = 255;

/// The longest packet of one stream with one frame.
const STREAM_BYTES_MAX: usize = 1275;

/// The least room for one: a frame that says almost nothing.
const STREAM_BYTES_MIN: usize = 8;

/// The bytes of a length.
const LENGTH_BYTES: usize = 2;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpusError {
    /// Opus runs at 48 kHz (and 44.1 kHz as if it were): not at this rate.
    SampleRate(u32),
    /// A frame lasts 2500, 5000, 10 000 or 20 000 µs: not this.
    FrameLength(u32),
    /// 1 to 255 channels, or as many as the coder was made for: not so many.
    Channels(usize),
    /// The payload is malformed.
    Payload,
    /// A slice has not the length that the call asks for.
    Length,
    /// The library refused, by its own code.
    Library(i32),
}

impl fmt::Display for OpusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SampleRate(hz) => {
                write!(
                    f,
                    "Opus runs at 48 kHz or 44.1 kHz, not at {hz} Hz: set the DAW to one of them, or choose PCM"
                )
            }
            Self::FrameLength(us) => {
                write!(f, "a frame of Opus lasts 2500, 5000, 10000 or 20000 µs, not {us}")
            }
            Self::Channels(channels) => write!(f, "{channels} channels are not what this coder is for"),
            Self::Payload => f.write_str("the payload is malformed"),
            Self::Length => f.write_str("a buffer is too short, or not one frame long"),
            Self::Library(code) => write!(f, "libopus refused: error {code}"),
        }
    }
}

impl std::error::Error for OpusError {}

/// Room that always suffices for a payload of so many channels.
pub const fn payload_max(channels: usize) -> usize {
    channels.div_ceil(2) * (LENGTH_BYTES + STREAM_BYTES_MAX)
}

/// Encodes one stream of audio.
#[derive(Debug)]
pub struct Encoder {
    streams: Vec<RawEncoder>,
    channels: usize,
    frames: usize,
    lookahead_frames: usize,
    /// Whether the coder was made for forward error correction.
    has_fec: bool,
    bitrate_bps: u32,
    loss_percent: u8,
    interleaved: Vec<f32>,
}

impl Encoder {
    /// `bitrate_bps` is per pair, and brought within [`BITRATES_BPS`]; `frame_us` is the frame's length at 48 kHz, one of
    /// those that [`OpusError::FrameLength`] names.
    ///
    /// *Realtime-safe: no*
    pub fn new(
        channels: usize,
        sample_rate_hz: u32,
        bitrate_bps: u32,
        frame_us: u32,
    ) -> Result<Self, OpusError> {
        check_rate(sample_rate_hz)?;
        let frames = match frame_us {
            2_500 => 120,
            5_000 => 240,
            10_000 => 480,
            20_000 => 960,
            _ => return Err(OpusError::FrameLength(frame_us)),
        };
        let has_fec = frames >= 480 && bitrate_bps <= FEC_BITRATE_MAX_BPS;
        let streams = stream_channels(channels)?.map(|channels| RawEncoder::new(channels, has_fec));
        let streams = streams.collect::<Result<Vec<_>, _>>()?;
        let lookahead_frames = streams.first().map_or(Ok(0), RawEncoder::lookahead_frames)?;
        let interleaved = vec![0.0; 2 * frames];
        let mut encoder = Self {
            streams,
            channels,
            frames,
            lookahead_frames,
            has_fec,
            bitrate_bps,
            loss_percent: 0,
            interleaved,
        };
        encoder.apply()?;
        Ok(encoder)
    }

    /// How many channels.
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// How many frames (samples per channel) a payload carries: 120, 240, 480 or 960.
    pub const fn frames(&self) -> usize {
        self.frames
    }

    /// By how many frames what the decoder gives comes after what this encoder was given.
    pub const fn lookahead_frames(&self) -> usize {
        self.lookahead_frames
    }

    /// Another bit rate per pair, brought within [`BITRATES_BPS`], from the next frame on. The delay stays, and with it
    /// whether forward error correction is possible.
    pub fn set_bitrate(&mut self, bitrate_bps: u32) -> Result<(), OpusError> {
        self.bitrate_bps = bitrate_bps;
        self.apply()
    }

    /// How many packets of a hundred are lost: what is spent on forward error correction, where it is possible;
    /// elsewhere, from 5 on, frames lean less on those before them.
    pub fn set_loss(&mut self, percent: u8) {
        self.loss_percent = percent.min(100);
        // The values are in range and the states are whole: there is nothing to refuse.
        let applied = self.apply();
        debug_assert!(applied.is_ok(), "libopus takes a loss");
    }

    /// Encodes exactly [`Self::frames`] samples of each channel (what is not a number counts as 0) to the
    /// front of `out`. Returns how many bytes. [`payload_max`] always suffices; with less, the streams share
    /// what there is, and a frame that would be longer is made to fit.
    ///
    /// *Realtime-safe: no*
    pub fn encode<C: AsRef<[f32]>>(&mut self, planar: &[C], out: &mut [u8]) -> Result<usize, OpusError> {
        if planar.len() != self.channels {
            return Err(OpusError::Channels(planar.len()));
        }
        if planar.iter().any(|channel| channel.as_ref().len() != self.frames) {
            return Err(OpusError::Length);
        }
        let mut length = 0;
        let count = self.streams.len();
        for (at, (stream, channels)) in self.streams.iter_mut().zip(planar.chunks(2)).enumerate() {
            let interleaved = &mut self.interleaved[..channels.len() * self.frames];
            for (channel, samples) in channels.iter().enumerate() {
                let to = interleaved.iter_mut().skip(channel).step_by(channels.len());
                for (to, sample) in to.zip(samples.as_ref()) {
                    *to = if sample.is_finite() { *sample } else { 0.0 };
                }
            }
            let share = (out.len() - length) / (count - at);
            let room = share.checked_sub(LENGTH_BYTES).filter(|room| *room >= STREAM_BYTES_MIN);
            let room = room.ok_or(OpusError::Length)?.min(STREAM_BYTES_MAX);
            let (prefix, rest) = out[length..].split_at_mut(LENGTH_BYTES);
            let written = stream.encode(interleaved, self.frames, &mut rest[..room])?;
            prefix.copy_from_slice(&u16::try_from(written).map_err(|_| OpusError::Length)?.to_be_bytes());
            length += LENGTH_BYTES + written;
        }
        Ok(length)
    }

    fn apply(&mut self) -> Result<(), OpusError> {
        let pair = self.bitrate_bps.clamp(*BITRATES_BPS.start(), *BITRATES_BPS.end());
        let fec = self.has_fec && pair <= FEC_BITRATE_MAX_BPS;
        for stream in &mut self.streams {
            let bitrate_bps = if stream.channels() == 2 { pair } else { pair / 2 };
            stream.configure(bitrate_bps, fec, self.loss_percent)?;
        }
        Ok(())
    }
}

/// Decodes one stream of audio.
#[derive(Debug)]
pub struct Decoder {
    streams: Vec<RawDecoder>,
    channels: usize,
    interleaved: Vec<f32>,
}

impl Decoder {
    /// For a stream as [`Encoder::new`] makes it; frame length and bit rate are in the payloads, and may change
    /// from one to the next.
    ///
    /// *Realtime-safe: no*
    pub fn new(channels: usize, sample_rate_hz: u32) -> Result<Self, OpusError> {
        check_rate(sample_rate_hz)?;
        let streams = stream_channels(channels)?.map(RawDecoder::new).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { streams, channels, interleaved: vec![0.0; 2 * FRAMES_MAX] })
    }

    /// How many channels.
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// Decodes a payload to the fronts of `out`, one slice per channel, each at least as long as the
    /// payload's frames ([`FRAMES_MAX`] always suffices). Returns how many frames. A malformed payload leaves
    /// the decoder able to go on.
    ///
    /// *Realtime-safe: no*
    pub fn decode<C: AsMut<[f32]>>(&mut self, payload: &[u8], out: &mut [C]) -> Result<usize, OpusError> {
        let frames = frames(payload, self.streams.len())?;
        self.each(Packets(payload), frames, out, |stream, packet, interleaved| {
            stream.decode(packet.ok_or(OpusError::Payload)?, frames, interleaved)
        })
    }

    /// In place of a payload that is lost: `frames` frames, a multiple of 120 and at most [`FRAMES_MAX`],
    /// that go on as the last ones and fade. Returns `frames`.
    ///
    /// *Realtime-safe: no*
    pub fn decode_lost<C: AsMut<[f32]>>(&mut self, frames: usize, out: &mut [C]) -> Result<usize, OpusError> {
        self.each(Packets(&[]), frames, out, |stream, _, interleaved| stream.decode_lost(frames, interleaved))
    }

    /// In place of a payload that is lost, of `frames` frames, when the one after it (`next`) is there: the
    /// copy of lower quality where that one [carries it](carries_fec), else as [`Self::decode_lost`]. `next`
    /// itself is decoded afterwards. Returns `frames`.
    ///
    /// *Realtime-safe: no*
    pub fn decode_fec<C: AsMut<[f32]>>(
        &mut self,
        next: &[u8],
        frames: usize,
        out: &mut [C],
    ) -> Result<usize, OpusError> {
        let of_next = self::frames(next, self.streams.len())?;
        if of_next != frames {
            return self.decode_lost(frames, out);
        }
        self.each(Packets(next), frames, out, |stream, packet, interleaved| {
            stream.decode_fec(packet.ok_or(OpusError::Payload)?, frames, interleaved)
        })
    }

    /// Runs `decode` for each stream, and spreads what it gives.
    fn each<C: AsMut<[f32]>>(
        &mut self,
        packets: Packets<'_>,
        frames: usize,
        out: &mut [C],
        decode: impl Fn(&mut RawDecoder, Option<&[u8]>, &mut [f32]) -> Result<(), OpusError>,
    ) -> Result<usize, OpusError> {
        if out.len() != self.channels {
            return Err(OpusError::Channels(out.len()));
        }
        let is_possible = frames > 0 && frames <= FRAMES_MAX && frames.is_multiple_of(120);
        if !is_possible || out.iter_mut().any(|channel| channel.as_mut().len() < frames) {
            return Err(OpusError::Length);
        }
        let mut packets = packets;
        for (stream, channels) in self.streams.iter_mut().zip(out.chunks_mut(2)) {
            let interleaved = &mut self.interleaved[..channels.len() * frames];
            decode(stream, packets.next(), interleaved)?;
            let count = channels.len();
            for (channel, samples) in channels.iter_mut().enumerate() {
                let from = interleaved.iter().skip(channel).step_by(count);
                for (to, sample) in samples.as_mut().iter_mut().zip(from) {
                    *to = *sample;
                }
            }
        }
        Ok(frames)
    }
}

/// Whether a payload has with it a copy of the one before (RFC 6716, 4.2.3 and 4.2.4: in the speech coder's
/// frames, the bit after those that say where there is a voice).
pub fn carries_fec(payload: &[u8]) -> bool {
    Packets(payload).any(|packet| {
        let Some((toc, frame)) = packet.split_first() else { return false };
        // Code 0, one frame, of 10 or 20 ms, not of the music coder: one speech frame, one bit for its voice.
        let is_speech = toc >> 3 < 16 && toc & 0b11 == 0;
        let is_single = toc >> 3 >= 12 || toc >> 3 & 0b11 < 2;
        let is_stereo = toc & 0b100 != 0;
        let bits = if is_stereo { 0b0101_0000 } else { 0b0100_0000 };
        is_speech && is_single && frame.first().is_some_and(|first| first & bits != 0)
    })
}

/// The packets of a payload, one for each stream; they end at what is none.
#[derive(Clone, Copy)]
struct Packets<'a>(&'a [u8]);

impl<'a> Iterator for Packets<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (packet, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        self.0 = rest;
        Some(packet)
    }
}

/// How many frames a payload of so many streams carries: as many in each.
fn frames(payload: &[u8], streams: usize) -> Result<usize, OpusError> {
    let mut packets = Packets(payload);
    let mut frames = None;
    for _ in 0..streams {
        let packet = packets.next().ok_or(OpusError::Payload)?;
        let of_packet = libopus::frames(packet).ok_or(OpusError::Payload)?;
        if *frames.get_or_insert(of_packet) != of_packet {
            return Err(OpusError::Payload);
        }
    }
    frames.filter(|frames| *frames <= FRAMES_MAX && packets.0.is_empty()).ok_or(OpusError::Payload)
}

fn check_rate(sample_rate_hz: u32) -> Result<(), OpusError> {
    match sample_rate_hz {
        44_100 | 48_000 => Ok(()),
        other => Err(OpusError::SampleRate(other)),
    }
}

/// How many channels each stream has.
fn stream_channels(channels: usize) -> Result<impl Iterator<Item = usize>, OpusError> {
    if !(1..=CHANNELS_MAX).contains(&channels) {
        return Err(OpusError::Channels(channels));
    }
    Ok((0..channels).step_by(2).map(move |first| (channels - first).min(2)))
}

#[cfg(test)]
mod tests;
