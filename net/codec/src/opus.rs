//! Opus (RFC 6716) for any number of channels, by pairs.

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpusError {
    /// Opus runs at 48 kHz (and 44.1 kHz fed as if it were): not at this rate.
    SampleRate(u32),
    /// A frame lasts 2500, 5000, 10 000 or 20 000 µs: not this.
    FrameLength(u32),
    /// 1 to 255 channels: not so many.
    Channels(usize),
    /// The payload is malformed.
    Payload,
    /// A slice has not the length that the call asks for.
    Length,
    /// The library refused, by its own code.
    Library(i32),
}

impl std::fmt::Display for OpusError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for OpusError {}

/// Most bytes of a payload of so many channels: one pair's stream is at most 1275 bytes.
pub const fn payload_max(channels: usize) -> usize {
    channels.div_ceil(2) * (2 + 1275)
}

/// Encodes one stream of audio.
#[derive(Debug)]
pub struct Encoder {
    frames: usize,
}

impl Encoder {
    /// `bitrate_bps` is per pair, 16 000 to 510 000 (clamped); `frame_us` as [`OpusError::FrameLength`] says,
    /// of 48 kHz: at 44.1 kHz a frame has as many samples and lasts 1.088 times as long.
    pub fn new(
        channels: usize,
        sample_rate_hz: u32,
        bitrate_bps: u32,
        frame_us: u32,
    ) -> Result<Self, OpusError> {
        let _unused = (channels, sample_rate_hz, bitrate_bps, frame_us);
        Err(OpusError::SampleRate(sample_rate_hz))
    }

    /// How many frames (samples per channel) a payload carries: 120, 240, 480 or 960.
    pub const fn frames(&self) -> usize {
        self.frames
    }

    /// By how many frames what the decoder gives comes after what the encoder was given.
    pub const fn lookahead_frames(&self) -> usize {
        0
    }

    /// Another bit rate per pair, from the next frame on.
    pub fn set_bitrate(&mut self, bitrate_bps: u32) {
        let _unused = bitrate_bps;
    }

    /// How many packets of a hundred are lost: from 10 ms frames on, how much is spent on forward error
    /// correction.
    pub fn set_loss(&mut self, percent: u8) {
        let _unused = percent;
    }

    /// Encodes exactly [`Self::frames`] samples of each channel to the front of `out` ([`payload_max`]
    /// always suffices). Returns how many bytes.
    pub fn encode<C: AsRef<[f32]>>(&mut self, planar: &[C], out: &mut [u8]) -> Result<usize, OpusError> {
        let _unused = (planar.len(), out);
        Err(OpusError::Length)
    }
}

/// Decodes one stream of audio.
#[derive(Debug)]
pub struct Decoder {
    channels: usize,
}

impl Decoder {
    /// For a stream as [`Encoder::new`] makes it; the frame length and the bit rate are in the payloads.
    pub fn new(channels: usize, sample_rate_hz: u32) -> Result<Self, OpusError> {
        let _unused = channels;
        Err(OpusError::SampleRate(sample_rate_hz))
    }

    /// How many channels.
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// Decodes a payload to the fronts of `out`, one slice per channel, each at least as long as the payload's
    /// frames. Returns how many frames.
    pub fn decode<C: AsMut<[f32]>>(&mut self, payload: &[u8], out: &mut [C]) -> Result<usize, OpusError> {
        let _unused = (payload, out.len());
        Err(OpusError::Payload)
    }

    /// In place of a payload that is lost: `frames` frames that go on as the last ones.
    pub fn decode_lost<C: AsMut<[f32]>>(&mut self, frames: usize, out: &mut [C]) -> Result<usize, OpusError> {
        let _unused = (frames, out.len());
        Err(OpusError::Payload)
    }

    /// In place of a payload that is lost, when the one after it (`next`) is there: the copy of lower quality that it
    /// may carry, else as [`Self::decode_lost`]. `next` itself is decoded afterwards.
    pub fn decode_fec<C: AsMut<[f32]>>(
        &mut self,
        next: &[u8],
        frames: usize,
        out: &mut [C],
    ) -> Result<usize, OpusError> {
        let _unused = (next, frames, out.len());
        Err(OpusError::Payload)
    }
}
