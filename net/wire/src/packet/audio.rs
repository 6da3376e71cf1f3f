//! Audio packets: frames of some channels of one stream, at an index of its sample clock.
//!
//! | byte | field | type |
//! |---:|---|---|
//! | 0 | version 1, kind 0: `0x10` | u8 |
//! | 1 | flags | u8 |
//! | 2 | configuration | u16 |
//! | 4 | epoch | u32 |
//! | 8 | stream | u64 |
//! | 16 | sequence | u32 |
//! | 20 | frames | u16 |
//! | 22 | first channel | u8 |
//! | 23 | channels | u8 |
//! | 24 | codec | u8 |
//! | 25 | length of the extensions | u8 |
//! | 26 | first frame | u64 |
//! | 34 | extensions, then payload | |

use crate::codec::Codec;
use crate::id::{ConfigId, StreamId};
use crate::packet::cursor::{Fields, Reader, Writer};
use crate::packet::extension::{self, Extension, Extensions, LINK_OFFSET, SESSION_TIME};
use crate::packet::flags::flags;
use crate::packet::{CHANNELS_MAX, DecodeError, EncodeError, Kind, PACKET_BYTES_MAX, are_indices, repair};
use crate::pcm::Interleaved;

/// Bytes of the header without extensions.
pub const HEADER_BYTES: usize = 34;

/// Bytes of the extension that says the session time.
pub const SESSION_TIME_BYTES: usize = 10;

/// Bytes of the extension that says the link offset.
pub const LINK_OFFSET_BYTES: usize = 6;

/// Bytes that remain for the payload of a packet that says whatever there is to say of time.
pub const TIMED_PAYLOAD_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - SESSION_TIME_BYTES - LINK_OFFSET_BYTES;

/// The longest audio packet, in bytes: a repair packet has room for it, whatever else it has to say.
pub const AUDIO_BYTES_MAX: usize = PACKET_BYTES_MAX - repair::HEADER_BYTES - repair::SYMBOL_LENGTH_BYTES;

/// Bytes that remain for the payload of a packet without extensions.
pub const PAYLOAD_BYTES_MAX: usize = AUDIO_BYTES_MAX - HEADER_BYTES;

const FLAGS_AT: usize = 1;
const EXTENSIONS_LENGTH_AT: usize = 25;

flags! {
    /// What a receiver must know about a packet besides its samples.
    Flags {
        /// The signal does not continue from the frame before: fade in.
        DISCONTINUITY = 1,
        /// This packet was sent before, with the same sequence number and everything else.
        REPEAT = 2,
        /// All samples are zero, and none is in the packet.
        SILENCE = 4,
        /// The samples are integers, and packed without loss into fewer bytes, as `audiocloud-codec` does it.
        PACKED = 8,
    }
}

/// Everything in an audio packet but extensions and payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The stream, among those of the peer that sends.
    pub stream: StreamId,
    /// The epoch that indices and sequence count in: random, new at restart, rate change and suspension.
    pub epoch: u32,
    /// The configuration that the stream was announced with when the packet was made.
    pub config: ConfigId,
    /// Counts the audio packets of the epoch that were made for this receiver, each part by itself; a repeat
    /// has the number of what it repeats; wraps.
    pub sequence: u32,
    /// Index of the first frame on the stream's sample clock: how many frames the sender processed before it.
    pub first_frame: u64,
    /// How many frames, at least 1.
    pub frames: u16,
    /// The first channel in this packet, from 0.
    pub first_channel: u8,
    /// How many channels are in this packet, at least 1.
    pub channels: u8,
    /// How the payload is to be read.
    pub codec: Codec,
    /// When the first frame is, on the session's clock, in nanoseconds; 0 = unknown. In the packet it is an
    /// extension, and not there when unknown.
    pub session_time_ns: i64,
    /// How long after that every receiver that plays the stream at the session's time is to let the frame go, in
    /// microseconds; 0 = not said. An extension, too.
    pub link_offset_us: u32,
    /// See [`Flags`].
    pub flags: Flags,
}

/// Bytes of the header that stand for something else.
#[derive(Clone, Copy, Debug)]
struct Coded {
    codec: u8,
    extensions_length: u8,
}

impl Header {
    /// One that is about to be read.
    const BLANK: Self = Self {
        stream: StreamId(0),
        epoch: 0,
        config: ConfigId(0),
        sequence: 0,
        first_frame: 0,
        frames: 0,
        first_channel: 0,
        channels: 0,
        codec: Codec::PcmF32,
        session_time_ns: 0,
        link_offset_us: 0,
        flags: Flags::NONE,
    };

    /// All bytes before the extensions, but for the first: read, or written.
    fn pass<F: Fields>(&mut self, coded: &mut Coded, fields: &mut F) -> Result<(), F::Error> {
        fields.byte(&mut self.flags.0)?;
        fields.short(&mut self.config.0)?;
        fields.word(&mut self.epoch)?;
        fields.long(&mut self.stream.0)?;
        fields.word(&mut self.sequence)?;
        fields.short(&mut self.frames)?;
        fields.byte(&mut self.first_channel)?;
        fields.byte(&mut self.channels)?;
        fields.byte(&mut coded.codec)?;
        fields.byte(&mut coded.extensions_length)?;
        fields.long(&mut self.first_frame)
    }

    /// Bytes of the payload that this header asks for: none for silence, all samples for PCM. None where the
    /// codec decides: for Opus, and where samples are packed.
    pub fn payload_bytes(&self) -> Option<usize> {
        if self.flags.contains(Flags::SILENCE) {
            return Some(0);
        }
        if self.flags.contains(Flags::PACKED) { None } else { self.pcm_bytes() }
    }

    /// Bytes of all samples, unpacked; none where they have no bytes of their own.
    fn pcm_bytes(&self) -> Option<usize> {
        let bytes_per_sample = self.codec.bytes_per_sample()?;
        Some(usize::from(self.frames) * usize::from(self.channels) * bytes_per_sample)
    }

    /// Writes the header and `extensions` to the front of `out`. Returns how many bytes that took, which is
    /// where the payload goes: [`InterleavedMut`](crate::pcm::InterleavedMut) writes that of PCM.
    ///
    /// # Errors
    ///
    /// Values that a decoder would refuse, and [`EncodeError::NoRoom`] when `out` or the packet is too short.
    pub fn encode(&self, extensions: &[Extension<'_>], out: &mut [u8]) -> Result<usize, EncodeError> {
        self.check()?;
        if extensions.iter().any(|extension| matches!(extension.kind, SESSION_TIME | LINK_OFFSET)) {
            return Err(EncodeError::SessionTime);
        }
        let room = out.len().min(AUDIO_BYTES_MAX);
        let mut writer = Writer::new(&mut out[..room]);
        writer.put(&[Kind::Audio.first_byte()])?;
        // The length is set in the end.
        { *self }.pass(&mut Coded { codec: self.codec.number(), extensions_length: 0 }, &mut writer)?;
        debug_assert_eq!(writer.length(), HEADER_BYTES);
        if self.session_time_ns != 0 {
            let value = self.session_time_ns.to_be_bytes();
            extension::encode(&[Extension { kind: SESSION_TIME, value: &value }], &mut writer)?;
        }
        if self.link_offset_us != 0 {
            let value = self.link_offset_us.to_be_bytes();
            extension::encode(&[Extension { kind: LINK_OFFSET, value: &value }], &mut writer)?;
        }
        extension::encode(extensions, &mut writer)?;
        let length = u8::try_from(writer.length() - HEADER_BYTES).map_err(|_| EncodeError::NoRoom)?;
        writer.set(EXTENSIONS_LENGTH_AT, &[length]);
        Ok(writer.length())
    }

    fn check(&self) -> Result<(), EncodeError> {
        if channels_past_end(self.first_channel, self.channels) {
            return Err(EncodeError::Channels);
        }
        if self.frames == 0 {
            return Err(EncodeError::NoFrames);
        }
        if !are_indices(self.first_frame, self.frames) {
            return Err(EncodeError::FrameIndex);
        }
        if self.is_packed_in_vain() { Err(EncodeError::Packed) } else { Ok(()) }
    }

    /// Whether the samples are said to be packed, and there are none that are integers.
    fn is_packed_in_vain(&self) -> bool {
        let has_integers = self.codec.integer_bits().is_some() && !self.flags.contains(Flags::SILENCE);
        self.flags.contains(Flags::PACKED) && !has_integers
    }

    /// Checks the length of a payload against what this header says.
    fn check_payload(&self, found: usize) -> Result<(), DecodeError> {
        let is_right = match (self.payload_bytes(), self.pcm_bytes()) {
            (Some(0), _) => found == 0,
            _ if found == 0 => return Err(DecodeError::Truncated),
            (Some(expected), _) => found == expected,
            // Packed samples that took no less room would have been left as they were.
            (None, Some(unpacked)) => found < unpacked,
            (None, None) => true,
        };
        if is_right {
            return Ok(());
        }
        let expected = self.payload_bytes().or(self.pcm_bytes()).unwrap_or(PAYLOAD_BYTES_MAX);
        Err(DecodeError::PayloadLength { expected, found })
    }
}

fn channels_past_end(first: u8, count: u8) -> bool {
    count == 0 || u16::from(first) + u16::from(count) > u16::from(CHANNELS_MAX)
}

/// Says in an encoded audio packet whether it is a repeat: to send it again, and to have what was sent first
/// for repair. Nothing else in it changes. An empty slice is left alone.
pub fn set_repeat(packet: &mut [u8], is_repeat: bool) {
    if let Some(flags) = packet.get_mut(FLAGS_AT) {
        *flags = if is_repeat { *flags | Flags::REPEAT.0 } else { *flags & !Flags::REPEAT.0 };
    }
}

/// An audio packet, borrowed from its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioPacket<'a> {
    /// The fields of fixed place, the session time, and the link offset.
    pub header: Header,
    /// What else the sender says; session time and link offset are among them once more.
    pub extensions: Extensions<'a>,
    /// The samples, as the header's codec writes them.
    pub payload: &'a [u8],
}

impl<'a> AudioPacket<'a> {
    /// Reads one datagram, and checks that its payload has a length that the header can mean.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of(bytes, Kind::Audio)?;
        if bytes.len() > AUDIO_BYTES_MAX {
            return Err(DecodeError::TooLong);
        }
        reader.u8()?;
        let (mut header, mut coded) = (Header::BLANK, Coded { codec: 0, extensions_length: 0 });
        header.pass(&mut coded, &mut reader)?;
        let Header { first_channel, channels, first_frame, frames, .. } = header;
        if channels_past_end(first_channel, channels) {
            return Err(DecodeError::Channels { first: first_channel, count: channels });
        }
        if frames == 0 {
            return Err(DecodeError::NoFrames);
        }
        if !are_indices(first_frame, frames) {
            return Err(DecodeError::FrameIndex);
        }
        let Coded { codec, extensions_length } = coded;
        header.codec = Codec::from_number(codec).ok_or(DecodeError::UnknownCodec(codec))?;
        header.flags = Flags::from_bits(header.flags.0);
        let extensions = reader.bytes(extensions_length.into()).map_err(|_| DecodeError::Extensions)?;
        let extensions = Extensions::decode(extensions)?;
        if let Some(value) = extensions.find(SESSION_TIME) {
            header.session_time_ns =
                i64::from_be_bytes(value.try_into().map_err(|_| DecodeError::Extensions)?);
        }
        if let Some(value) = extensions.find(LINK_OFFSET) {
            header.link_offset_us =
                u32::from_be_bytes(value.try_into().map_err(|_| DecodeError::Extensions)?);
        }
        if header.is_packed_in_vain() {
            return Err(DecodeError::Packed);
        }
        header.check_payload(reader.0.len())?;
        Ok(Self { header, extensions, payload: reader.0 })
    }

    /// The samples of PCM as it is, and zeros for silence of any codec. None where `audiocloud-codec` has to
    /// make samples of the payload: Opus, and what is packed.
    pub fn samples(&self) -> Option<Interleaved<'a>> {
        let Header { codec, channels, frames, .. } = self.header;
        self.header.payload_bytes()?;
        Some(Interleaved::new(codec, channels.into(), frames.into(), self.payload))
    }

    /// Writes header, `extensions` and `payload` to the front of `out`, and returns the packet's length.
    /// Whoever can write the payload in place does so after [`Header::encode`].
    ///
    /// # Errors
    ///
    /// Those of [`Header::encode`], and [`EncodeError::Payload`] for a payload that no decoder would accept.
    pub fn encode(
        header: &Header,
        extensions: &[Extension<'_>],
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let start = header.encode(extensions, out)?;
        header.check_payload(payload.len()).map_err(|_| EncodeError::Payload)?;
        let end = start + payload.len();
        if end > AUDIO_BYTES_MAX {
            return Err(EncodeError::NoRoom);
        }
        out.get_mut(start..end).ok_or(EncodeError::NoRoom)?.copy_from_slice(payload);
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::FRAME_INDEX_MAX;

    const HEADER: Header = Header {
        stream: StreamId(0x0102_0304_0506_0708),
        epoch: 0xa1a2_a3a4,
        config: ConfigId(0xb1b2),
        sequence: 0xc1c2_c3c4,
        first_frame: 0x11d2_d3d4_d5d6_d7d8,
        frames: 2,
        first_channel: 3,
        channels: 1,
        codec: Codec::PcmF32,
        session_time_ns: -2,
        link_offset_us: 0,
        flags: Flags::DISCONTINUITY,
    };

    const BYTES: &[u8] = b"\x10\x01\xb1\xb2\xa1\xa2\xa3\xa4\x01\x02\x03\x04\x05\x06\x07\x08\xc1\xc2\xc3\xc4\
        \x00\x02\x03\x01\x00\x0d\x11\xd2\xd3\xd4\xd5\xd6\xd7\xd8\x01\x08\xff\xff\xff\xff\xff\xff\xff\xfe\
        \x09\x01\x55\x3f\x80\x00\x00\xbf\x00\x00\x00";

    fn encoded(header: &Header, payload: &[u8]) -> Vec<u8> {
        let mut bytes = [0; PACKET_BYTES_MAX];
        let length = AudioPacket::encode(header, &[], payload, &mut bytes).unwrap();
        bytes[..length].to_vec()
    }

    #[test]
    fn bytes_are_those_of_the_table() {
        let mut bytes = [0xee; PACKET_BYTES_MAX];
        let extensions = [Extension { kind: 9, value: &[0x55] }];
        let payload = [1.0_f32.to_be_bytes(), (-0.5_f32).to_be_bytes()].concat();
        let length = AudioPacket::encode(&HEADER, &extensions, &payload, &mut bytes).unwrap();
        assert_eq!(&bytes[..length], BYTES);

        let packet = AudioPacket::decode(BYTES).unwrap();
        assert_eq!(packet.header, HEADER);
        assert_eq!(packet.extensions.find(9), Some(&[0x55][..]));
        let samples = packet.samples().unwrap();
        assert_eq!([samples.get(0, 0), samples.get(0, 1), samples.get(0, 2)], [1.0, -0.5, 0.0]);
    }

    #[test]
    fn a_session_time_that_is_not_known_takes_no_room() {
        let bytes = encoded(&Header { session_time_ns: 0, ..HEADER }, &[0; 8]);
        assert_eq!(bytes.len(), HEADER_BYTES + 8);
        assert_eq!(AudioPacket::decode(&bytes).unwrap().header.session_time_ns, 0);
        let bytes = encoded(&HEADER, &[0; 8]);
        assert_eq!(bytes.len(), HEADER_BYTES + SESSION_TIME_BYTES + 8);
    }

    #[test]
    fn a_link_offset_comes_back_and_has_one_length() {
        let header = Header { link_offset_us: 0x0102_0304, ..HEADER };
        let bytes = encoded(&header, &[0; 8]);
        let at = HEADER_BYTES + SESSION_TIME_BYTES;
        assert_eq!(bytes[at..at + LINK_OFFSET_BYTES], *b"\x02\x04\x01\x02\x03\x04");
        assert_eq!(AudioPacket::decode(&bytes).unwrap().header, header);
        let mut short = bytes;
        (short[at + 1], short[at + 5]) = (3, 0);
        assert_eq!(AudioPacket::decode(&short), Err(DecodeError::Extensions));
    }

    #[test]
    fn every_shorter_packet_is_refused() {
        for length in 0..BYTES.len() {
            assert!(AudioPacket::decode(&BYTES[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn fields_out_of_range_are_refused() {
        let check = |at: usize, field: &[u8], error: DecodeError| {
            let mut bytes = BYTES.to_vec();
            bytes[at..at + field.len()].copy_from_slice(field);
            assert_eq!(AudioPacket::decode(&bytes), Err(error));
        };
        check(0, &[0x11], DecodeError::OtherKind(Kind::Event));
        check(0, &[0x20], DecodeError::UnknownVersion(2));
        check(1, &[4], DecodeError::PayloadLength { expected: 0, found: 8 });
        check(1, &[8], DecodeError::Packed);
        check(20, &[0, 0], DecodeError::NoFrames);
        check(20, &[0, 1], DecodeError::PayloadLength { expected: 4, found: 8 });
        check(22, &[64, 1], DecodeError::Channels { first: 64, count: 1 });
        check(22, &[0, 65], DecodeError::Channels { first: 0, count: 65 });
        check(22, &[255, 255], DecodeError::Channels { first: 255, count: 255 });
        check(22, &[0, 0], DecodeError::Channels { first: 0, count: 0 });
        check(24, &[1], DecodeError::PayloadLength { expected: 6, found: 8 });
        check(24, &[4], DecodeError::UnknownCodec(4));
        check(25, &[12], DecodeError::Extensions);
        check(25, &[14], DecodeError::Extensions);
        check(25, &[0xff], DecodeError::Extensions);
        check(26, &[0xff; 8], DecodeError::FrameIndex);
        check(26, &(FRAME_INDEX_MAX - 1).to_be_bytes(), DecodeError::FrameIndex);
        check(34, &[1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 2], DecodeError::Extensions);
    }

    #[test]
    fn the_length_of_a_payload_is_that_of_its_codec() {
        let check = |codec, flags, length: usize, good: bool| {
            let header = Header { codec, flags, channels: 2, ..HEADER };
            let mut bytes = [0; PACKET_BYTES_MAX];
            let start = header.encode(&[], &mut bytes).unwrap();
            let packet = AudioPacket::decode(&bytes[..start + length]);
            assert_eq!(packet.is_ok(), good, "{codec}, {length} bytes: {packet:?}");
            let mut again = [0; PACKET_BYTES_MAX];
            let written = AudioPacket::encode(&header, &[], &bytes[start..start + length], &mut again);
            assert_eq!(written.is_ok(), good, "{codec}, {length} bytes: {written:?}");
            let has_samples = packet.is_ok_and(|packet| packet.samples().is_some());
            assert_eq!(has_samples, good && header.payload_bytes().is_some());
        };
        for (codec, bytes) in [(Codec::PcmF32, 16), (Codec::PcmS24, 12), (Codec::PcmS16, 8)] {
            check(codec, Flags::NONE, bytes, true);
            check(codec, Flags::REPEAT, bytes - 1, false);
            check(codec, Flags::NONE, bytes + 1, false);
            check(codec, Flags::NONE, 0, false);
        }
        for (codec, bytes) in [(Codec::PcmS24, 12), (Codec::PcmS16, 8)] {
            check(codec, Flags::PACKED, 1, true);
            check(codec, Flags::PACKED, bytes - 1, true);
            check(codec, Flags::PACKED, bytes, false);
            check(codec, Flags::PACKED, 0, false);
        }
        check(Codec::Opus, Flags::NONE, 0, false);
        check(Codec::Opus, Flags::NONE, 1, true);
        check(Codec::Opus, Flags::NONE, PAYLOAD_BYTES_MAX - SESSION_TIME_BYTES, true);
        check(Codec::Opus, Flags::NONE, PAYLOAD_BYTES_MAX - SESSION_TIME_BYTES + 1, false);
        for codec in Codec::ALL {
            check(codec, Flags::SILENCE, 0, true);
            check(codec, Flags::SILENCE, 1, false);
        }
    }

    #[test]
    fn what_would_be_refused_is_not_encoded() {
        let check = |header: Header, error: EncodeError| {
            let mut bytes = [0; PACKET_BYTES_MAX];
            assert_eq!(header.encode(&[], &mut bytes), Err(error));
        };
        check(Header { frames: 0, ..HEADER }, EncodeError::NoFrames);
        check(Header { channels: 0, ..HEADER }, EncodeError::Channels);
        check(Header { first_channel: 64, ..HEADER }, EncodeError::Channels);
        check(Header { first_frame: FRAME_INDEX_MAX, ..HEADER }, EncodeError::FrameIndex);
        check(Header { flags: Flags::PACKED, ..HEADER }, EncodeError::Packed);
        check(Header { flags: Flags::PACKED, codec: Codec::Opus, ..HEADER }, EncodeError::Packed);
        let flags = Flags::PACKED | Flags::SILENCE;
        check(Header { flags, codec: Codec::PcmS16, ..HEADER }, EncodeError::Packed);

        let mut bytes = [0; PACKET_BYTES_MAX + 100];
        assert_eq!(HEADER.encode(&[], &mut bytes[..HEADER_BYTES - 1]), Err(EncodeError::NoRoom));
        let mut check = |kind: u8, lengths: &[usize], result: Result<usize, EncodeError>| {
            let value = [0; 256];
            let extensions: Vec<_> =
                lengths.iter().map(|length| Extension { kind, value: &value[..*length] }).collect();
            assert_eq!(HEADER.encode(&extensions, &mut bytes), result, "{lengths:?}");
        };
        check(9, &[256], Err(EncodeError::ValueLength));
        check(9, &[255; 5], Err(EncodeError::NoRoom));
        check(9, &[243], Ok(HEADER_BYTES + 255));
        check(9, &[244], Err(EncodeError::NoRoom));
        check(SESSION_TIME, &[8], Err(EncodeError::SessionTime));
    }

    #[test]
    fn the_largest_packet_fits_and_one_byte_more_does_not() {
        let header = Header { codec: Codec::Opus, session_time_ns: 0, ..HEADER };
        let mut bytes = encoded(&header, &[0x11; PAYLOAD_BYTES_MAX]);
        assert_eq!(bytes.len(), AUDIO_BYTES_MAX);
        assert!(AudioPacket::decode(&bytes).is_ok());
        bytes.push(0);
        assert_eq!(AudioPacket::decode(&bytes), Err(DecodeError::TooLong));
        let longer =
            AudioPacket::encode(&header, &[], &[0; PAYLOAD_BYTES_MAX + 1], &mut [0; PACKET_BYTES_MAX]);
        assert_eq!(longer, Err(EncodeError::NoRoom));
    }

    #[test]
    fn silence_is_a_header_that_reads_as_zeros() {
        for codec in Codec::ALL {
            let flags = Flags::SILENCE | Flags::REPEAT;
            let header = Header { flags, codec, session_time_ns: 0, frames: u16::MAX, ..HEADER };
            let bytes = encoded(&header, &[]);
            assert_eq!(bytes.len(), HEADER_BYTES);
            let packet = AudioPacket::decode(&bytes).unwrap();
            assert_eq!(packet.header, header);
            let mut out = [1.0; 8];
            packet.samples().unwrap().read(0, 65_530, &mut out);
            assert_eq!(out, [0.0; 8]);
        }
    }

    #[test]
    fn a_repeat_is_the_packet_with_one_bit_set() {
        let mut bytes = BYTES.to_vec();
        set_repeat(&mut bytes, true);
        let repeat = AudioPacket::decode(&bytes).unwrap().header;
        assert_eq!(repeat, Header { flags: Flags::DISCONTINUITY | Flags::REPEAT, ..HEADER });
        set_repeat(&mut bytes, false);
        assert_eq!(bytes, BYTES);
        set_repeat(&mut [], true);
    }

    #[test]
    fn unassigned_flags_are_dropped() {
        let mut bytes = BYTES.to_vec();
        bytes[1] = 0xf1;
        assert_eq!(AudioPacket::decode(&bytes).unwrap().header.flags, Flags::DISCONTINUITY);
    }
}
