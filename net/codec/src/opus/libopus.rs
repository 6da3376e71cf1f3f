#![allow(unsafe_code, reason = "the border to libopus")]
//! libopus, made safe: one encoder or decoder of one or two channels, which owns its state.

use std::ptr::NonNull;

use unsafe_libopus::{
    OPUS_APPLICATION_AUDIO, OPUS_APPLICATION_RESTRICTED_LOWDELAY, OPUS_GET_LOOKAHEAD_REQUEST,
    OPUS_SET_BITRATE_REQUEST, OPUS_SET_COMPLEXITY_REQUEST, OPUS_SET_INBAND_FEC_REQUEST,
    OPUS_SET_PACKET_LOSS_PERC_REQUEST, OpusDecoder, OpusEncoder, opus_decode_float, opus_decoder_create,
    opus_decoder_destroy, opus_encode_float, opus_encoder_create, opus_encoder_ctl, opus_encoder_destroy,
    opus_packet_get_nb_samples,
};

use super::OpusError;

/// All of Opus runs at this rate here.
const SAMPLE_RATE_HZ: i32 = 48_000;

/// How hard the encoder tries, of 10. A frame of 5 ms takes two thirds of the time that 9 takes, for 0.2 dB.
const COMPLEXITY: i32 = 5;

/// An encoder.
#[derive(Debug)]
pub(super) struct RawEncoder {
    state: NonNull<OpusEncoder>,
    channels: usize,
}

/// A decoder.
#[derive(Debug)]
pub(super) struct RawDecoder {
    state: NonNull<OpusDecoder>,
    channels: usize,
}

// SAFETY: the state is owned by this value alone and holds no pointer to anything of the thread that made it; libopus's
// statics are tables that are only read.
unsafe impl Send for RawEncoder {}

// SAFETY: as for the encoder.
unsafe impl Send for RawDecoder {}

impl RawEncoder {
    /// `with_fec` makes forward error correction possible, at the price of more delay.
    pub(super) fn new(channels: usize, with_fec: bool) -> Result<Self, OpusError> {
        let application =
            if with_fec { OPUS_APPLICATION_AUDIO } else { OPUS_APPLICATION_RESTRICTED_LOWDELAY };
        let count = integer(channels)?;
        let mut error = 0;
        // SAFETY: the error is written to a local; what comes back is a new state, or null.
        let state = unsafe { opus_encoder_create(SAMPLE_RATE_HZ, count, application, &raw mut error) };
        let state = NonNull::new(state).ok_or(OpusError::Library(error))?;
        Ok(Self { state, channels })
    }

    pub(super) const fn channels(&self) -> usize {
        self.channels
    }

    pub(super) fn configure(
        &mut self,
        bitrate_bps: u32,
        fec: bool,
        loss_percent: u8,
    ) -> Result<(), OpusError> {
        self.set(OPUS_SET_COMPLEXITY_REQUEST, COMPLEXITY)?;
        self.set(OPUS_SET_BITRATE_REQUEST, i32::try_from(bitrate_bps).unwrap_or(i32::MAX))?;
        self.set(OPUS_SET_INBAND_FEC_REQUEST, i32::from(fec))?;
        self.set(OPUS_SET_PACKET_LOSS_PERC_REQUEST, i32::from(loss_percent))
    }

    pub(super) fn lookahead_frames(&self) -> Result<usize, OpusError> {
        let mut frames = 0_i32;
        // SAFETY: the state is whole while `self` lives, and this request takes a place for an i32.
        check(unsafe { opus_encoder_ctl!(self.state.as_ptr(), OPUS_GET_LOOKAHEAD_REQUEST, &mut frames) })?;
        usize::try_from(frames).map_err(|_| OpusError::Library(frames))
    }

    /// Encodes `frames` frames, interleaved, to the front of `out`: how many bytes.
    pub(super) fn encode(
        &mut self,
        interleaved: &[f32],
        frames: usize,
        out: &mut [u8],
    ) -> Result<usize, OpusError> {
        if interleaved.len() != frames * self.channels {
            return Err(OpusError::Length);
        }
        let (count, room) = (integer(frames)?, integer(out.len())?);
        let (from, to) = (interleaved.as_ptr(), out.as_mut_ptr());
        // SAFETY: the state is whole while `self` lives; `from` holds `frames` times the channels it was made for, `to` has
        // `room` bytes.
        check(unsafe { opus_encode_float(self.state.as_ptr(), from, count, to, room) })
    }

    fn set(&mut self, request: i32, value: i32) -> Result<(), OpusError> {
        // SAFETY: the state is whole while `self` lives, and all requests of this file's callers take an i32.
        check(unsafe { opus_encoder_ctl!(self.state.as_ptr(), request, value) }).map(drop)
    }
}

impl Drop for RawEncoder {
    fn drop(&mut self) {
        // SAFETY: made by libopus, destroyed once.
        unsafe { opus_encoder_destroy(self.state.as_ptr()) }
    }
}

impl RawDecoder {
    pub(super) fn new(channels: usize) -> Result<Self, OpusError> {
        let count = integer(channels)?;
        let mut error = 0;
        // SAFETY: the error is written to a local; what comes back is a new state, or null.
        let state = unsafe { opus_decoder_create(SAMPLE_RATE_HZ, count, &raw mut error) };
        let state = NonNull::new(state).ok_or(OpusError::Library(error))?;
        Ok(Self { state, channels })
    }

    /// Decodes a packet of `frames` frames, interleaved, to `out`, which has just this room.
    pub(super) fn decode(&mut self, packet: &[u8], frames: usize, out: &mut [f32]) -> Result<(), OpusError> {
        self.run(packet, frames, out, false)
    }

    /// Makes up `frames` frames.
    pub(super) fn decode_lost(&mut self, frames: usize, out: &mut [f32]) -> Result<(), OpusError> {
        self.run(&[], frames, out, false)
    }

    /// Decodes the copy that `next` has of the `frames` frames before it, or makes them up.
    pub(super) fn decode_fec(
        &mut self,
        next: &[u8],
        frames: usize,
        out: &mut [f32],
    ) -> Result<(), OpusError> {
        self.run(next, frames, out, true)
    }

    /// An empty packet is one that is lost.
    fn run(&mut self, packet: &[u8], frames: usize, out: &mut [f32], fec: bool) -> Result<(), OpusError> {
        if out.len() != frames * self.channels {
            return Err(OpusError::Length);
        }
        let (length, count) = (integer(packet.len())?, integer(frames)?);
        let (state, from, to) = (self.state.as_ptr(), packet.as_ptr(), out.as_mut_ptr());
        // SAFETY: the state is whole while `self` lives; `from` holds `length` bytes, none of which is read when there are
        // none; `to` has room for `frames` times the channels the state was made for.
        match check(unsafe { opus_decode_float(state, from, length, to, count, i32::from(fec)) }) {
            Ok(decoded) if decoded == frames => Ok(()),
            Ok(_) | Err(OpusError::Library(_)) => Err(OpusError::Payload),
            Err(error) => Err(error),
        }
    }
}

impl Drop for RawDecoder {
    fn drop(&mut self) {
        // SAFETY: made by libopus, destroyed once.
        unsafe { opus_decoder_destroy(self.state.as_ptr()) }
    }
}

/// How many frames a packet carries; none when it is none.
pub(super) fn frames(packet: &[u8]) -> Option<usize> {
    let length = i32::try_from(packet.len()).ok()?;
    // SAFETY: reads the first two of `length` bytes, and none when there are not so many.
    let frames = unsafe { opus_packet_get_nb_samples(packet.as_ptr(), length, SAMPLE_RATE_HZ) };
    usize::try_from(frames).ok().filter(|frames| *frames > 0)
}

fn integer(count: usize) -> Result<i32, OpusError> {
    i32::try_from(count).map_err(|_| OpusError::Length)
}

/// What libopus answers: a count, or an error as a negative number.
fn check(answer: i32) -> Result<usize, OpusError> {
    usize::try_from(answer).map_err(|_| OpusError::Library(answer))
}
