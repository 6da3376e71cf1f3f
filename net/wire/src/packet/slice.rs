//! Slices: contiguous frames of all channels of what goes through a chain of effects in another process, with the
//! events of those frames. There, to the node that has the chain; and back, from it.
//!
//! | byte | field | type |
//! |---:|---|---|
//! | 0 | version 1, kind 6: `0x16` | u8 |
//! | 1 | flags | u8 |
//! | 2 | channels | u8 |
//! | 3 | events | u8 |
//! | 4 | epoch | u32 |
//! | 8 | remote | u64 |
//! | 16 | sequence | u32 |
//! | 20 | number of the first event | u32 |
//! | 24 | first frame | u64 |
//! | 32 | frames | u16 |
//! | 34 | length of the events | u16 |
//! | 36 | events, then samples | |
//!
//! An event is its frame after the first frame (u16), the type of its body (u8), the length of its body (u8), and the
//! body. Samples are binary32 and planar: all of the first channel, then of the second. With the flag *silence* there
//! are none; nor where there are no frames, for events that a slice of audio has no room for.

use crate::id::RemoteId;
use crate::packet::cursor::{Fields, Reader, Writer};
use crate::packet::event;
use crate::packet::flags::flags;
use crate::packet::{CHANNELS_MAX, DecodeError, EncodeError, FRAME_INDEX_MAX, Kind, are_indices};

/// Bytes before the events.
pub const HEADER_BYTES: usize = 36;
/// Bytes of an event besides its body.
pub const EVENT_OVERHEAD_BYTES: usize = 4;
/// The longest slice, in bytes: as long as the longest packet of audio.
pub const SLICE_BYTES_MAX: usize = 1140;
/// The most frames of one slice: only silence reaches so far.
pub const SLICE_FRAMES_MAX: u16 = 1024;
/// Bytes that remain for events and samples.
pub const PAYLOAD_BYTES_MAX: usize = SLICE_BYTES_MAX - HEADER_BYTES;

const FLAGS_AT: usize = 1;
const COUNT_AT: usize = 3;
const EVENTS_LENGTH_AT: usize = 34;
const SAMPLE_BYTES: usize = 4;

// Types of bodies beyond those of [`event`].
const PARAMETER: u8 = 16;
const BYPASS: u8 = 17;
const TRANSPORT: u8 = 18;

flags! {
    /// What there is to know of a slice besides events and samples.
    Flags {
        /// It comes back from the node.
        BACK = 1,
        /// It was sent before: the same but for this flag.
        REPEAT = 2,
        /// The frame before its first was never sent.
        DISCONTINUITY = 4,
        /// All samples are zero, and none is in the packet.
        SILENCE = 8,
    }
}

/// Everything in a slice but events and samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which opening of which chain.
    pub remote: RemoteId,
    /// See [`Flags`].
    pub flags: Flags,
    /// The epoch that everything here counts in.
    pub epoch: u32,
    /// Counts the slices of the epoch that were made for this peer, from 0; wraps.
    pub sequence: u32,
    /// The number of its first event, or of the next one when it has none; counts from 0 in each epoch; wraps.
    pub first_event: u32,
    /// Index of its first frame.
    pub first_frame: u64,
    /// How many frames, at most [`SLICE_FRAMES_MAX`]; 0 for events alone.
    pub frames: u16,
    /// How many channels, at least 1.
    pub channels: u8,
}

impl Header {
    /// One that is about to be read.
    const BLANK: Self = Self {
        remote: RemoteId(0),
        flags: Flags::NONE,
        epoch: 0,
        sequence: 0,
        first_event: 0,
        first_frame: 0,
        frames: 0,
        channels: 0,
    };

    /// Bytes of the samples that the header asks for.
    pub fn sample_bytes(&self) -> usize {
        if self.flags.contains(Flags::SILENCE) {
            return 0;
        }
        usize::from(self.frames) * usize::from(self.channels) * SAMPLE_BYTES
    }

    fn check(&self) -> Result<(), DecodeError> {
        if !(1..=CHANNELS_MAX).contains(&self.channels) {
            return Err(DecodeError::Channels { first: 0, count: self.channels });
        }
        if self.frames > SLICE_FRAMES_MAX {
            return Err(DecodeError::TooLong);
        }
        if are_indices(self.first_frame, self.frames) { Ok(()) } else { Err(DecodeError::FrameIndex) }
    }

    /// All bytes before the events, but for the first: read, or written.
    fn pass<F: Fields>(&mut self, lengths: &mut EventLengths, fields: &mut F) -> Result<(), F::Error> {
        fields.byte(&mut self.flags.0)?;
        fields.byte(&mut self.channels)?;
        fields.byte(&mut lengths.count)?;
        fields.word(&mut self.epoch)?;
        fields.long(&mut self.remote.0)?;
        fields.word(&mut self.sequence)?;
        fields.word(&mut self.first_event)?;
        fields.long(&mut self.first_frame)?;
        fields.short(&mut self.frames)?;
        fields.short(&mut lengths.bytes)
    }
}

/// Of a slice's events.
#[derive(Clone, Copy, Debug, Default)]
struct EventLengths {
    count: u8,
    bytes: u16,
}

/// The most frames of `channels` channels that one slice holds, with no events beside them.
#[must_use]
pub fn frames_max(channels: u8) -> u16 {
    let frames = PAYLOAD_BYTES_MAX / (usize::from(channels.max(1)) * SAMPLE_BYTES);
    u16::try_from(frames).unwrap_or(SLICE_FRAMES_MAX).min(SLICE_FRAMES_MAX)
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body<'a> {
    /// What an [event packet](event) has as well, of the same types. One of the future is in here, too.
    Voice(event::Body<'a>),
    /// A parameter goes to a value. Type 16.
    Parameter {
        /// The effect's id in the chain.
        effect: u32,
        /// The parameter's id in the effect.
        parameter: u32,
        /// As a plain value, in the parameter's unit.
        value: f32,
        /// Over how many frames; none: as the parameter is smoothed.
        ramp_frames: Option<u32>,
    },
    /// An effect is passed by, or comes back. Type 17.
    Bypass {
        /// The effect's id in the chain.
        effect: u32,
        /// Whether it is passed by.
        on: bool,
    },
    /// What the host's transport does from here on. Type 18.
    Transport {
        /// Whether it rolls.
        playing: bool,
        /// Quarter notes a minute.
        tempo_bpm: f64,
        /// Where this frame is, in quarter notes.
        position_beats: f64,
        /// Beats of a bar, and which part of a whole note each is.
        signature: (u16, u16),
    },
}

impl<'a> Body<'a> {
    /// Bytes of the body in a packet, without the event's own [`EVENT_OVERHEAD_BYTES`].
    pub fn encoded_length(&self) -> usize {
        match self {
            Self::Voice(body) => body.encoded_length(),
            Self::Parameter { ramp_frames: None, .. } => 12,
            Self::Parameter { ramp_frames: Some(_), .. } => 16,
            Self::Bypass { .. } => 5,
            Self::Transport { .. } => 21,
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Voice(body) => body.kind(),
            Self::Parameter { .. } => PARAMETER,
            Self::Bypass { .. } => BYPASS,
            Self::Transport { .. } => TRANSPORT,
        }
    }

    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        match *self {
            Self::Voice(body) => body.encode(writer),
            Self::Parameter { effect, parameter, value, ramp_frames } => {
                if !value.is_finite() {
                    return Err(EncodeError::NotFinite);
                }
                writer.put(&effect.to_be_bytes())?;
                writer.put(&parameter.to_be_bytes())?;
                writer.put(&value.to_be_bytes())?;
                ramp_frames.map_or(Ok(()), |frames| writer.put(&frames.to_be_bytes()))
            }
            Self::Bypass { effect, on } => {
                writer.put(&effect.to_be_bytes())?;
                writer.put(&[u8::from(on)])
            }
            Self::Transport { playing, tempo_bpm, position_beats, signature: (beats, unit) } => {
                if !(tempo_bpm.is_finite() && position_beats.is_finite()) {
                    return Err(EncodeError::NotFinite);
                }
                writer.put(&[u8::from(playing)])?;
                writer.put(&tempo_bpm.to_be_bytes())?;
                writer.put(&position_beats.to_be_bytes())?;
                writer.put(&beats.to_be_bytes())?;
                writer.put(&unit.to_be_bytes())
            }
        }
    }

    fn decode(kind: u8, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if !matches!(kind, PARAMETER | BYPASS | TRANSPORT) {
            return event::Body::decode(kind, bytes).map(Self::Voice);
        }
        event::whole(kind, bytes, |reader| Self::read(kind, reader))
    }

    fn read(kind: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match kind {
            PARAMETER => {
                let (effect, parameter) = (reader.u32()?, reader.u32()?);
                let value = f32::from_be_bytes(reader.array()?);
                if !value.is_finite() {
                    return Err(DecodeError::NotFinite);
                }
                let ramp_frames = if reader.0.is_empty() { None } else { Some(reader.u32()?) };
                Self::Parameter { effect, parameter, value, ramp_frames }
            }
            BYPASS => Self::Bypass { effect: reader.u32()?, on: reader.u8()? & 1 != 0 },
            _ => Self::Transport {
                playing: reader.u8()? & 1 != 0,
                tempo_bpm: reader.finite_f64()?,
                position_beats: reader.finite_f64()?,
                signature: (reader.u16()?, reader.u16()?),
            },
        })
    }
}

/// An event of a decoded slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// Its number in the epoch; wraps.
    pub number: u32,
    /// Index of the frame that it belongs to.
    pub frame: u64,
    /// What happens.
    pub body: Body<'a>,
}

/// The samples of a slice: planar, or silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planar<'a> {
    channels: u8,
    frames: u16,
    /// None of them for silence.
    bytes: &'a [u8],
}

impl Planar<'_> {
    /// How many channels.
    pub fn channels(&self) -> u8 {
        self.channels
    }

    /// How many frames.
    pub fn frames(&self) -> u16 {
        self.frames
    }

    /// Copies channel `channel`, from frame `first_frame` on, to all of `out`; what lies outside is written as zero.
    pub fn read(&self, channel: usize, first_frame: usize, out: &mut [f32]) {
        let frames = usize::from(self.frames);
        let from = (channel * frames + first_frame.min(frames)) * SAMPLE_BYTES;
        let until = (channel * frames + frames) * SAMPLE_BYTES;
        let bytes = self.bytes.get(from..until).unwrap_or_default();
        let (samples, _) = bytes.as_chunks::<SAMPLE_BYTES>();
        let count = samples.len().min(out.len());
        let (inside, outside) = out.split_at_mut(count);
        for (sample, bytes) in inside.iter_mut().zip(samples) {
            *sample = f32::from_be_bytes(*bytes);
        }
        outside.fill(0.0);
    }
}

/// Writes samples as they stand in a slice; both slices are equally long, in samples.
pub fn write_samples(samples: &[f32], out: &mut [u8]) {
    let (out, _) = out.as_chunks_mut::<SAMPLE_BYTES>();
    for (bytes, sample) in out.iter_mut().zip(samples) {
        *bytes = sample.to_be_bytes();
    }
}

/// A slice, borrowed from its datagram, all its events checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlicePacket<'a> {
    /// The fields of fixed place.
    pub header: Header,
    count: u8,
    events: &'a [u8],
    /// The samples.
    pub samples: Planar<'a>,
    bytes: &'a [u8],
}

impl<'a> SlicePacket<'a> {
    /// Reads one datagram, and checks every event in it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of(bytes, Kind::Slice)?;
        if bytes.len() > SLICE_BYTES_MAX {
            return Err(DecodeError::TooLong);
        }
        reader.u8()?;
        let (mut header, mut lengths) = (Header::BLANK, EventLengths::default());
        header.pass(&mut lengths, &mut reader)?;
        header.flags = Flags::from_bits(header.flags.0);
        header.check()?;
        let Header { channels, frames, first_frame, .. } = header;
        let EventLengths { count, bytes: length } = lengths;
        let events = reader.bytes(length.into())?;
        let mut each = Reader(events);
        for _ in 0..count {
            read_event(first_frame, &mut each)?;
        }
        if !each.0.is_empty() {
            return Err(DecodeError::TrailingBytes);
        }
        let (expected, found) = (header.sample_bytes(), reader.0.len());
        if found != expected {
            return Err(DecodeError::PayloadLength { expected, found });
        }
        Ok(Self { header, count, events, samples: Planar { channels, frames, bytes: reader.0 }, bytes })
    }

    /// All of it, as it came.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many events it has.
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// The number that the event after this slice has.
    pub const fn next_event(&self) -> u32 {
        self.header.first_event.wrapping_add(self.count as u32)
    }

    /// The frame after its last.
    pub fn end(&self) -> u64 {
        self.header.first_frame + u64::from(self.header.frames)
    }

    /// Its events, in the order of their numbers.
    pub fn events(&self) -> impl Iterator<Item = Event<'a>> + use<'a> {
        let mut reader = Reader(self.events);
        let Header { first_event, first_frame, .. } = self.header;
        (0..u32::from(self.count)).map_while(move |place| {
            let (frame, body) = read_event(first_frame, &mut reader).ok()?;
            Some(Event { number: first_event.wrapping_add(place), frame, body })
        })
    }
}

fn read_event<'a>(first_frame: u64, reader: &mut Reader<'a>) -> Result<(u64, Body<'a>), DecodeError> {
    let offset = reader.u16()?;
    let [kind, length] = reader.array()?;
    let bytes = reader.bytes(length.into())?;
    let frame = first_frame.checked_add(offset.into()).filter(|frame| *frame <= FRAME_INDEX_MAX);
    Ok((frame.ok_or(DecodeError::FrameIndex)?, Body::decode(kind, bytes)?))
}

/// Says in an encoded slice that it was sent before. An empty one is left alone.
pub fn set_repeat(slice: &mut [u8]) {
    if let Some(flags) = slice.get_mut(FLAGS_AT) {
        *flags |= Flags::REPEAT.0;
    }
}

/// Writes a slice: events first, then samples.
#[derive(Debug)]
pub struct Encoder<'a> {
    writer: Writer<'a>,
    header: Header,
    count: u8,
}

impl<'a> Encoder<'a> {
    /// Begins a slice at the front of `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError::NoRoom`] when `out` or a slice is too short for header and samples, and values that a decoder would
    /// refuse.
    pub fn new(header: &Header, out: &'a mut [u8]) -> Result<Self, EncodeError> {
        header.check().map_err(|error| match error {
            DecodeError::Channels { .. } => EncodeError::Channels,
            DecodeError::FrameIndex => EncodeError::FrameIndex,
            _ => EncodeError::NoRoom,
        })?;
        let room = out.len().min(SLICE_BYTES_MAX);
        if room < HEADER_BYTES + header.sample_bytes() {
            return Err(EncodeError::NoRoom);
        }
        let mut writer = Writer::new(&mut out[..room]);
        writer.put(&[Kind::Slice.first_byte()])?;
        // What is not known yet is set in the end.
        { *header }.pass(&mut EventLengths::default(), &mut writer)?;
        debug_assert_eq!(writer.length(), HEADER_BYTES);
        Ok(Self { writer, header: *header, count: 0 })
    }

    /// Adds the event with the next number, so many frames after the first.
    ///
    /// # Errors
    ///
    /// The slice is as before the call. [`EncodeError::NoRoom`]: the samples would not fit any more, or it has 255 events.
    pub fn try_push(&mut self, offset: u16, body: &Body<'_>) -> Result<(), EncodeError> {
        let before = self.writer.length();
        let pushed = self.push(offset, body);
        if pushed.is_err() {
            self.writer.truncate(before);
        }
        pushed
    }

    fn push(&mut self, offset: u16, body: &Body<'_>) -> Result<(), EncodeError> {
        let frame = self.header.first_frame + u64::from(offset);
        if frame > FRAME_INDEX_MAX {
            return Err(EncodeError::FrameIndex);
        }
        let length = u8::try_from(body.encoded_length()).map_err(|_| EncodeError::ValueLength)?;
        let count = self.count.checked_add(1).ok_or(EncodeError::NoRoom)?;
        let end = self.writer.length() + EVENT_OVERHEAD_BYTES + usize::from(length);
        if end + self.header.sample_bytes() > self.writer.room() {
            return Err(EncodeError::NoRoom);
        }
        self.writer.put(&offset.to_be_bytes())?;
        self.writer.put(&[body.kind(), length])?;
        body.encode(&mut self.writer)?;
        self.count = count;
        Ok(())
    }

    /// How many events it has so far.
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// Completes the slice and returns its length. `write(channel, bytes)` is called for each channel that has samples in
    /// it, and fills `bytes`: see [`write_samples`].
    pub fn finish(mut self, mut write: impl FnMut(usize, &mut [u8])) -> usize {
        let events = self.writer.length() - HEADER_BYTES;
        self.writer.set(COUNT_AT, &[self.count]);
        // Less than a slice's length, which a u16 says.
        let length = u16::try_from(events).unwrap_or(u16::MAX);
        self.writer.set(EVENTS_LENGTH_AT, &length.to_be_bytes());
        let bytes = self.header.sample_bytes();
        if bytes > 0 {
            let each = usize::from(self.header.frames) * SAMPLE_BYTES;
            let room = self.writer.take(bytes);
            room.chunks_exact_mut(each).enumerate().for_each(|(channel, room)| write(channel, room));
        }
        self.writer.length()
    }
}

#[cfg(test)]
mod tests;
