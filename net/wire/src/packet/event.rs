//! Event packets: notes and MIDI of one stream, at frame indices of its sample clock.
//!
//! | byte | field | type |
//! |---:|---|---|
//! | 0 | version 1, kind 1: `0x11` | u8 |
//! | 1 | flags, none assigned | u8 |
//! | 2 | configuration | u16 |
//! | 4 | epoch | u32 |
//! | 8 | stream | u64 |
//! | 16 | number of the first event | u32 |
//! | 20 | events | u16 |
//! | 22 | length of the extensions | u16 |
//! | 24 | base frame | u64 |
//! | 32 | extensions, then events | |
//!
//! An event is its frame after the base frame (u32), the type of its body (u8), the length of its body (u8),
//! and the body. Events carry consecutive numbers, counted from 0 in each epoch, so that a receiver notices
//! what it missed. A packet without events says which number comes next: without it, loss of the last event
//! would go unnoticed.

use crate::id::{ConfigId, StreamId};
use crate::packet::cursor::{Reader, Writer};
use crate::packet::extension::{self, Extension, Extensions};
use crate::packet::{DecodeError, EncodeError, FRAME_INDEX_MAX, Kind, PACKET_BYTES_MAX};

/// Bytes of the header without extensions.
pub const HEADER_BYTES: usize = 32;

/// Bytes of an event besides its body.
pub const EVENT_OVERHEAD_BYTES: usize = 6;

const COUNT_AT: usize = 20;
const EXTENSIONS_LENGTH_AT: usize = 22;

/// Everything in an event packet but extensions and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The stream, among those of the peer that sends.
    pub stream: StreamId,
    /// The epoch that indices and numbers count in, the same as of the stream's audio.
    pub epoch: u32,
    /// The configuration, the same as of the stream's audio.
    pub config: ConfigId,
    /// The number of the first event in the packet, or of the next one when there is none; wraps.
    pub first_number: u32,
    /// The frame index that the events' frames count from.
    pub base_frame: u64,
}

/// Which notes an event is for, in CLAP's terms: −1 stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteAddress {
    /// The note's id as the host gave it, or −1.
    pub note_id: i32,
    /// The note port, or −1.
    pub port: i16,
    /// The MIDI channel from 0 to 15, or −1.
    pub channel: i16,
    /// The MIDI key from 0 to 127, or −1.
    pub key: i16,
}

/// What an expression of a note changes, in CLAP's terms and units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expression {
    /// Linear gain, from 0 to 4.
    Volume,
    /// From 0 (left) to 1 (right).
    Pan,
    /// Semitones, from −120 to 120.
    Tuning,
    /// From 0 to 1.
    Vibrato,
    /// From 0 to 1.
    Expression,
    /// From 0 to 1.
    Brightness,
    /// From 0 to 1.
    Pressure,
}

impl Expression {
    /// All of them, each at the place of its number in a packet.
    pub const ALL: [Self; 7] = [
        Self::Volume,
        Self::Pan,
        Self::Tuning,
        Self::Vibrato,
        Self::Expression,
        Self::Brightness,
        Self::Pressure,
    ];

    const fn number(self) -> u8 {
        match self {
            Self::Volume => 0,
            Self::Pan => 1,
            Self::Tuning => 2,
            Self::Vibrato => 3,
            Self::Expression => 4,
            Self::Brightness => 5,
            Self::Pressure => 6,
        }
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body<'a> {
    /// Notes begin. Type 1.
    NoteOn {
        /// Which.
        note: NoteAddress,
        /// From 0 to 1.
        velocity: f64,
    },
    /// Notes end. Type 2.
    NoteOff {
        /// Which.
        note: NoteAddress,
        /// From 0 to 1.
        velocity: f64,
    },
    /// Notes stop at once. Type 3.
    NoteChoke {
        /// Which.
        note: NoteAddress,
    },
    /// Notes change. Type 4.
    NoteExpression {
        /// Which.
        note: NoteAddress,
        /// In what.
        expression: Expression,
        /// To this value, in the expression's unit.
        value: f64,
    },
    /// A MIDI 1.0 message; shorter ones end in zeros. Type 5.
    Midi1 {
        /// The note port.
        port: u16,
        /// Status and data bytes.
        bytes: [u8; 3],
    },
    /// A Universal MIDI Packet; shorter ones end in zeros. Type 6.
    Midi2 {
        /// The note port.
        port: u16,
        /// Its 32-bit words.
        words: [u32; 4],
    },
    /// A body that this version does not know: skip it, its number counts.
    Unknown {
        /// Its type. 4 stands here with an expression of the future.
        kind: u8,
        /// Its bytes, at most 255.
        bytes: &'a [u8],
    },
}

const NOTE_ON: u8 = 1;
const NOTE_OFF: u8 = 2;
const NOTE_CHOKE: u8 = 3;
const NOTE_EXPRESSION: u8 = 4;
const MIDI_1: u8 = 5;
const MIDI_2: u8 = 6;

impl<'a> Body<'a> {
    /// Bytes of the body in a packet, without the event's own [`EVENT_OVERHEAD_BYTES`].
    pub fn encoded_length(&self) -> usize {
        match self {
            Self::NoteOn { .. } | Self::NoteOff { .. } | Self::Midi2 { .. } => 18,
            Self::NoteChoke { .. } => 10,
            Self::NoteExpression { .. } => 19,
            Self::Midi1 { .. } => 5,
            Self::Unknown { bytes, .. } => bytes.len(),
        }
    }

    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::NoteOn { .. } => NOTE_ON,
            Self::NoteOff { .. } => NOTE_OFF,
            Self::NoteChoke { .. } => NOTE_CHOKE,
            Self::NoteExpression { .. } => NOTE_EXPRESSION,
            Self::Midi1 { .. } => MIDI_1,
            Self::Midi2 { .. } => MIDI_2,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::NoteOn { note, velocity } | Self::NoteOff { note, velocity } => {
                put_note(note, writer)?;
                put_finite(*velocity, writer)
            }
            Self::NoteChoke { note } => put_note(note, writer),
            Self::NoteExpression { note, expression, value } => {
                put_note(note, writer)?;
                writer.put(&[expression.number()])?;
                put_finite(*value, writer)
            }
            Self::Midi1 { port, bytes } => {
                writer.put(&port.to_be_bytes())?;
                writer.put(bytes)
            }
            Self::Midi2 { port, words } => {
                writer.put(&port.to_be_bytes())?;
                words.iter().try_for_each(|word| writer.put(&word.to_be_bytes()))
            }
            Self::Unknown { bytes, .. } => writer.put(bytes),
        }
    }

    pub(super) fn decode(kind: u8, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        whole(kind, bytes, |reader| Self::read(kind, bytes, reader))
    }

    fn read(kind: u8, bytes: &'a [u8], reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match kind {
            NOTE_ON => Self::NoteOn { note: read_note(reader)?, velocity: reader.finite_f64()? },
            NOTE_OFF => Self::NoteOff { note: read_note(reader)?, velocity: reader.finite_f64()? },
            NOTE_CHOKE => Self::NoteChoke { note: read_note(reader)? },
            NOTE_EXPRESSION => {
                let note = read_note(reader)?;
                let number = reader.u8()?;
                let value = reader.finite_f64()?;
                match Expression::ALL.get(usize::from(number)) {
                    Some(&expression) => Self::NoteExpression { note, expression, value },
                    None => Self::Unknown { kind, bytes },
                }
            }
            MIDI_1 => Self::Midi1 { port: reader.u16()?, bytes: reader.array()? },
            MIDI_2 => Self::Midi2 {
                port: reader.u16()?,
                words: [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?],
            },
            _ => Self::Unknown { kind, bytes: reader.bytes(bytes.len())? },
        })
    }
}

/// What is read of all bytes of a body: more or fewer are not its kind's.
pub(super) fn whole<'a, B>(
    kind: u8,
    bytes: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<B, DecodeError>,
) -> Result<B, DecodeError> {
    let mut reader = Reader(bytes);
    match read(&mut reader) {
        Ok(body) if reader.0.is_empty() => Ok(body),
        Ok(_) | Err(DecodeError::Truncated) => Err(DecodeError::EventLength(kind)),
        Err(other) => Err(other),
    }
}

fn put_note(note: &NoteAddress, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
    writer.put(&note.note_id.to_be_bytes())?;
    writer.put(&note.port.to_be_bytes())?;
    writer.put(&note.channel.to_be_bytes())?;
    writer.put(&note.key.to_be_bytes())
}

fn put_finite(value: f64, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
    if value.is_finite() { writer.put(&value.to_be_bytes()) } else { Err(EncodeError::NotFinite) }
}

fn read_note(reader: &mut Reader<'_>) -> Result<NoteAddress, DecodeError> {
    Ok(NoteAddress {
        note_id: reader.i32()?,
        port: reader.i16()?,
        channel: reader.i16()?,
        key: reader.i16()?,
    })
}

/// An event of a decoded packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// Its number in the epoch; wraps.
    pub number: u32,
    /// Index of the frame it belongs to, on the stream's sample clock.
    pub frame: u64,
    /// What happens.
    pub body: Body<'a>,
}

/// An event packet, borrowed from its datagram, all its events checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventPacket<'a> {
    /// The fields of fixed place.
    pub header: Header,
    /// What else the sender says.
    pub extensions: Extensions<'a>,
    count: u16,
    events: &'a [u8],
}

impl<'a> EventPacket<'a> {
    /// Reads one datagram, and checks every event in it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of(bytes, Kind::Event)?;
        let [_, _flags] = reader.array()?;
        let config = ConfigId(reader.u16()?);
        let epoch = reader.u32()?;
        let stream = StreamId(reader.u64()?);
        let first_number = reader.u32()?;
        let count = reader.u16()?;
        let extensions_length = reader.u16()?;
        let base_frame = reader.u64()?;
        if base_frame > FRAME_INDEX_MAX {
            return Err(DecodeError::FrameIndex);
        }
        let extensions = reader.bytes(extensions_length.into()).map_err(|_| DecodeError::Extensions)?;
        let extensions = Extensions::decode(extensions)?;
        let events = reader.0;
        for _ in 0..count {
            read_event(base_frame, &mut reader)?;
        }
        if !reader.0.is_empty() {
            return Err(DecodeError::TrailingBytes);
        }
        let header = Header { stream, epoch, config, first_number, base_frame };
        Ok(Self { header, extensions, count, events })
    }

    /// How many events it has.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// The number that the event after this packet has.
    pub const fn next_number(&self) -> u32 {
        self.header.first_number.wrapping_add(self.count as u32)
    }

    /// Its events, in the order of their numbers.
    pub fn events(&self) -> impl Iterator<Item = Event<'a>> + use<'a> {
        let mut reader = Reader(self.events);
        let Header { first_number, base_frame, .. } = self.header;
        (0..u32::from(self.count)).map_while(move |place| {
            let (frame, body) = read_event(base_frame, &mut reader).ok()?;
            Some(Event { number: first_number.wrapping_add(place), frame, body })
        })
    }
}

fn read_event<'a>(base_frame: u64, reader: &mut Reader<'a>) -> Result<(u64, Body<'a>), DecodeError> {
    let offset = reader.u32()?;
    let [kind, length] = reader.array()?;
    let bytes = reader.bytes(length.into())?;
    let frame = base_frame.checked_add(offset.into()).filter(|frame| *frame <= FRAME_INDEX_MAX);
    Ok((frame.ok_or(DecodeError::FrameIndex)?, Body::decode(kind, bytes)?))
}

/// Writes an event packet, event by event.
#[derive(Debug)]
pub struct Encoder<'a> {
    writer: Writer<'a>,
    base_frame: u64,
    count: u16,
}

impl<'a> Encoder<'a> {
    /// Begins a packet at the front of `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError::NoRoom`] when `out` or the packet is too short for header and extensions, and values
    /// that a decoder would refuse.
    pub fn new(
        header: &Header,
        extensions: &[Extension<'_>],
        out: &'a mut [u8],
    ) -> Result<Self, EncodeError> {
        if header.base_frame > FRAME_INDEX_MAX {
            return Err(EncodeError::FrameIndex);
        }
        let room = out.len().min(PACKET_BYTES_MAX);
        let mut writer = Writer::new(&mut out[..room]);
        writer.put(&[Kind::Event.first_byte(), 0])?;
        writer.put(&header.config.0.to_be_bytes())?;
        writer.put(&header.epoch.to_be_bytes())?;
        writer.put(&header.stream.to_bytes())?;
        writer.put(&header.first_number.to_be_bytes())?;
        writer.put(&[0, 0, 0, 0])?;
        writer.put(&header.base_frame.to_be_bytes())?;
        debug_assert_eq!(writer.length(), HEADER_BYTES);
        extension::encode(extensions, &mut writer)?;
        let length = u16::try_from(writer.length() - HEADER_BYTES).map_err(|_| EncodeError::NoRoom)?;
        writer.set(EXTENSIONS_LENGTH_AT, &length.to_be_bytes());
        Ok(Self { writer, base_frame: header.base_frame, count: 0 })
    }

    /// Adds the event with the next number, at this index of the stream's sample clock.
    ///
    /// # Errors
    ///
    /// The packet is as before the call. [`EncodeError::NoRoom`]: finish it and put the event into a new one.
    /// [`EncodeError::OutOfReach`]: likewise, with a base frame that is not after the event.
    pub fn try_push(&mut self, frame: u64, body: &Body<'_>) -> Result<(), EncodeError> {
        let before = self.writer.length();
        let pushed = self.push(frame, body);
        if pushed.is_err() {
            self.writer.truncate(before);
        }
        pushed
    }

    fn push(&mut self, frame: u64, body: &Body<'_>) -> Result<(), EncodeError> {
        if frame > FRAME_INDEX_MAX {
            return Err(EncodeError::FrameIndex);
        }
        let offset = frame.checked_sub(self.base_frame).and_then(|offset| u32::try_from(offset).ok());
        let offset = offset.ok_or(EncodeError::OutOfReach)?;
        let length = u8::try_from(body.encoded_length()).map_err(|_| EncodeError::ValueLength)?;
        let count = self.count.checked_add(1).ok_or(EncodeError::NoRoom)?;
        self.writer.put(&offset.to_be_bytes())?;
        self.writer.put(&[body.kind(), length])?;
        body.encode(&mut self.writer)?;
        self.count = count;
        Ok(())
    }

    /// How many events it has so far.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Completes the packet and returns its length.
    pub fn finish(mut self) -> usize {
        self.writer.set(COUNT_AT, &self.count.to_be_bytes());
        self.writer.length()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        stream: StreamId(0x0102_0304_0506_0708),
        epoch: 0xa1a2_a3a4,
        config: ConfigId(0xb1b2),
        first_number: u32::MAX,
        base_frame: 0x10_000,
    };
    const NOTE: NoteAddress = NoteAddress { note_id: -1, port: 0, channel: 9, key: 60 };

    const BYTES: &[u8] = b"\x11\x00\xb1\xb2\xa1\xa2\xa3\xa4\x01\x02\x03\x04\x05\x06\x07\x08\xff\xff\xff\xff\
        \x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\
        \x00\x00\x00\x00\x01\x12\xff\xff\xff\xff\x00\x00\x00\x09\x00\x3c\x3f\xe8\x00\x00\x00\x00\x00\x00\
        \x00\x00\x00\x40\x05\x05\x00\x01\x90\x3c\x64";

    fn encoded(events: &[(u64, Body<'_>)]) -> Vec<u8> {
        let mut bytes = [0xee; PACKET_BYTES_MAX];
        let mut encoder = Encoder::new(&HEADER, &[], &mut bytes).unwrap();
        events.iter().for_each(|(frame, body)| encoder.try_push(*frame, body).unwrap());
        let length = encoder.finish();
        bytes[..length].to_vec()
    }

    #[test]
    fn bytes_are_those_of_the_table() {
        let on = Body::NoteOn { note: NOTE, velocity: 0.75 };
        let midi = Body::Midi1 { port: 1, bytes: [0x90, 0x3c, 0x64] };
        assert_eq!(encoded(&[(0x10_000, on), (0x10_040, midi)]), BYTES);

        let packet = EventPacket::decode(BYTES).unwrap();
        assert_eq!(packet.header, HEADER);
        assert_eq!(packet.next_number(), 1, "numbers wrap");
        let events: Vec<_> = packet.events().collect();
        assert_eq!(events[0], Event { number: u32::MAX, frame: 0x10_000, body: on });
        assert_eq!(events[1], Event { number: 0, frame: 0x10_040, body: midi });
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn every_other_length_is_refused() {
        for length in 0..BYTES.len() {
            assert!(EventPacket::decode(&BYTES[..length]).is_err(), "{length} bytes");
        }
        let longer = [BYTES, &[0]].concat();
        assert_eq!(EventPacket::decode(&longer), Err(DecodeError::TrailingBytes));
    }

    #[test]
    fn bodies_of_the_future_are_skipped() {
        let strange = Body::Unknown { kind: 200, bytes: &[1, 2, 3] };
        let bytes = encoded(&[(0x10_000, strange), (0x10_001, Body::NoteChoke { note: NOTE })]);
        let packet = EventPacket::decode(&bytes).unwrap();
        let bodies: Vec<_> = packet.events().map(|event| event.body).collect();
        assert_eq!(bodies, [strange, Body::NoteChoke { note: NOTE }]);

        // An expression of the future is unknown too, and goes over as it came.
        let value = Body::NoteExpression { note: NOTE, expression: Expression::Pan, value: 0.5 };
        let mut bytes = encoded(&[(0x10_000, value)]);
        bytes[HEADER_BYTES + EVENT_OVERHEAD_BYTES + 10] = 7;
        let packet = EventPacket::decode(&bytes).unwrap();
        let body = packet.events().next().unwrap().body;
        assert!(matches!(body, Body::Unknown { kind: NOTE_EXPRESSION, bytes } if bytes.len() == 19));
        assert_eq!(encoded(&[(0x10_000, body)]), bytes);
    }

    #[test]
    fn fields_out_of_range_are_refused() {
        let check = |at: usize, field: &[u8], error: DecodeError| {
            let mut bytes = BYTES.to_vec();
            bytes[at..at + field.len()].copy_from_slice(field);
            assert_eq!(EventPacket::decode(&bytes), Err(error));
        };
        check(0, &[0x10], DecodeError::OtherKind(Kind::Audio));
        check(20, &[0, 1], DecodeError::TrailingBytes);
        check(20, &[0, 3], DecodeError::Truncated);
        check(22, &[0, 1], DecodeError::Extensions);
        check(24, &[0xff; 8], DecodeError::FrameIndex);
        check(24, &FRAME_INDEX_MAX.to_be_bytes(), DecodeError::FrameIndex);
        check(36, &[3], DecodeError::EventLength(3));
        check(36, &[4], DecodeError::EventLength(4));
        check(37, &[0x11], DecodeError::EventLength(1));
        check(48, &[0x7f, 0xf8], DecodeError::NotFinite);
    }

    #[test]
    fn a_refused_event_leaves_the_packet_as_it_was() {
        let mut bytes = [0; PACKET_BYTES_MAX];
        let on = Body::NoteOn { note: NOTE, velocity: 1.0 };
        let mut encoder = Encoder::new(&HEADER, &[], &mut bytes).unwrap();
        let check = |encoder: &mut Encoder<'_>, frame, body: &Body<'_>, error| {
            assert_eq!(encoder.try_push(frame, body), Err(error));
        };
        encoder.try_push(0x10_000, &on).unwrap();
        check(&mut encoder, 0xffff, &on, EncodeError::OutOfReach);
        check(&mut encoder, 0x1_0001_0000, &on, EncodeError::OutOfReach);
        check(&mut encoder, u64::MAX, &on, EncodeError::FrameIndex);
        let not_finite = Body::NoteOff { note: NOTE, velocity: f64::NAN };
        check(&mut encoder, 0x10_000, &not_finite, EncodeError::NotFinite);
        let long = [0; 256];
        check(&mut encoder, 0x10_000, &Body::Unknown { kind: 9, bytes: &long }, EncodeError::ValueLength);
        while encoder.try_push(0xffff_ffff, &on).is_ok() {}
        check(&mut encoder, 0x10_000, &on, EncodeError::NoRoom);
        assert_eq!(encoder.count(), 47, "(1162 - 32) / 24");
        let length = encoder.finish();
        assert_eq!(EventPacket::decode(&bytes[..length]).unwrap().events().count(), 47);
    }

    #[test]
    fn a_packet_without_events_says_the_next_number() {
        let bytes = encoded(&[]);
        let packet = EventPacket::decode(&bytes).unwrap();
        assert_eq!((packet.count(), packet.next_number()), (0, u32::MAX));
        assert_eq!(packet.events().count(), 0);
    }
}
