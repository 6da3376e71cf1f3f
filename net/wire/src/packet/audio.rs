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
//! | 24 | first frame | u64 |
//! | 32 | session time of the first frame, nanoseconds, 0 = unknown | i64 |
//! | 40 | length of the extensions | u16 |
//! | 42 | extensions, then interleaved samples | |

use crate::codec::Codec;
use crate::id::{ConfigId, StreamId};
use crate::packet::cursor::{Reader, Writer};
use crate::packet::extension::{self, Extension, Extensions};
use crate::packet::{CHANNELS_MAX, DecodeError, EncodeError, FRAME_INDEX_MAX, Kind, PACKET_BYTES_MAX};
use crate::pcm::Interleaved;

/// Bytes of the header without extensions.
pub const HEADER_BYTES: usize = 42;

/// Bytes that remain for samples in a packet without extensions.
pub const PAYLOAD_BYTES_MAX: usize = PACKET_BYTES_MAX - HEADER_BYTES;

const EXTENSIONS_LENGTH_AT: usize = 40;

/// What a receiver must know about a packet besides its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// The signal does not continue from the frame before: fade in.
    pub const DISCONTINUITY: Self = Self(1);
    /// These frames were sent before, under another sequence number.
    pub const REPEAT: Self = Self(2);
    /// All samples are zero, and none is in the packet.
    pub const SILENCE: Self = Self(4);

    const KNOWN: u8 = 7;

    /// The flags of these bits; those that version 1 does not assign are dropped.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::KNOWN)
    }

    /// The bits, as in the packet.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

/// Everything in an audio packet but extensions and samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The stream, among those of the peer that sends.
    pub stream: StreamId,
    /// The epoch that indices and sequence count in: random, new at restart, rate change and suspension.
    pub epoch: u32,
    /// The configuration that the samples are to be read by.
    pub config: ConfigId,
    /// Counts the audio packets of the epoch, each part and each repeat by itself; wraps.
    pub sequence: u32,
    /// Index of the first frame on the stream's sample clock: how many frames the sender processed before it.
    pub first_frame: u64,
    /// How many frames, at least 1.
    pub frames: u16,
    /// The first channel in this packet, from 0.
    pub first_channel: u8,
    /// How many channels are in this packet, at least 1.
    pub channels: u8,
    /// When the first frame is, on the session's clock, in nanoseconds; 0 = unknown.
    pub session_time_ns: i64,
    /// See [`Flags`].
    pub flags: Flags,
}

impl Header {
    /// Bytes of the payload that this header asks for under `codec`: none for silence.
    pub fn payload_bytes(&self, codec: Codec) -> usize {
        if self.flags.contains(Flags::SILENCE) {
            return 0;
        }
        usize::from(self.frames) * usize::from(self.channels) * codec.bytes_per_sample()
    }

    /// Writes the header and `extensions` to the front of `out`. Returns how many bytes that took, which is where the
    /// payload of [`Header::payload_bytes`] bytes goes: [`InterleavedMut`](crate::pcm::InterleavedMut) writes it.
    ///
    /// # Errors
    ///
    /// Values that a decoder would refuse, and [`EncodeError::NoRoom`] when `out` or the packet is too short.
    pub fn encode(&self, extensions: &[Extension<'_>], out: &mut [u8]) -> Result<usize, EncodeError> {
        self.check()?;
        let room = out.len().min(PACKET_BYTES_MAX);
        let mut writer = Writer::new(&mut out[..room]);
        writer.put(&[Kind::Audio.first_byte(), self.flags.bits()])?;
        writer.put(&self.config.0.to_be_bytes())?;
        writer.put(&self.epoch.to_be_bytes())?;
        writer.put(&self.stream.to_bytes())?;
        writer.put(&self.sequence.to_be_bytes())?;
        writer.put(&self.frames.to_be_bytes())?;
        writer.put(&[self.first_channel, self.channels])?;
        writer.put(&self.first_frame.to_be_bytes())?;
        writer.put(&self.session_time_ns.to_be_bytes())?;
        writer.put(&[0, 0])?;
        debug_assert_eq!(writer.length(), HEADER_BYTES);
        extension::encode(extensions, EXTENSIONS_LENGTH_AT, &mut writer)?;
        Ok(writer.length())
    }

    fn check(&self) -> Result<(), EncodeError> {
        if channels_past_end(self.first_channel, self.channels) {
            return Err(EncodeError::Channels);
        }
        if self.frames == 0 {
            return Err(EncodeError::NoFrames);
        }
        if index_past_end(self.first_frame, self.frames) { Err(EncodeError::FrameIndex) } else { Ok(()) }
    }
}

fn channels_past_end(first: u8, count: u8) -> bool {
    count == 0 || u16::from(first) + u16::from(count) > u16::from(CHANNELS_MAX)
}

/// Whether the index after the last frame is out of range: it must be an index too.
fn index_past_end(first_frame: u64, frames: u16) -> bool {
    first_frame.checked_add(frames.into()).is_none_or(|end| end > FRAME_INDEX_MAX)
}

/// An audio packet, borrowed from its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioPacket<'a> {
    /// The fields of fixed place.
    pub header: Header,
    /// What else the sender says.
    pub extensions: Extensions<'a>,
    /// The samples, as the stream's codec writes them; read them through [`AudioPacket::samples`].
    pub payload: &'a [u8],
}

impl<'a> AudioPacket<'a> {
    /// Reads one datagram. The codec is not known here, so the length of the payload is checked by
    /// [`AudioPacket::samples`], except that silence has none and everything else has some.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let kind = Kind::of(bytes)?;
        if kind != Kind::Audio {
            return Err(DecodeError::OtherKind(kind));
        }
        if bytes.len() > PACKET_BYTES_MAX {
            return Err(DecodeError::TooLong);
        }
        let mut reader = Reader(bytes);
        let [_, flags] = reader.array()?;
        let config = ConfigId(reader.u16()?);
        let epoch = reader.u32()?;
        let stream = StreamId(reader.u64()?);
        let sequence = reader.u32()?;
        let frames = reader.u16()?;
        let first_channel = reader.u8()?;
        let channels = reader.u8()?;
        let first_frame = reader.u64()?;
        let session_time_ns = reader.i64()?;
        let extensions_length = reader.u16()?;
        let flags = Flags::from_bits(flags);
        let header = Header {
            stream,
            epoch,
            config,
            sequence,
            first_frame,
            frames,
            first_channel,
            channels,
            session_time_ns,
            flags,
        };
        if channels_past_end(first_channel, channels) {
            return Err(DecodeError::Channels { first: first_channel, count: channels });
        }
        if frames == 0 {
            return Err(DecodeError::NoFrames);
        }
        if index_past_end(first_frame, frames) {
            return Err(DecodeError::FrameIndex);
        }
        let extensions = reader.bytes(extensions_length.into()).map_err(|_| DecodeError::Extensions)?;
        let extensions = Extensions::decode(extensions)?;
        let payload = reader.0;
        if flags.contains(Flags::SILENCE) && !payload.is_empty() {
            return Err(DecodeError::PayloadLength { expected: 0, found: payload.len() });
        }
        if !flags.contains(Flags::SILENCE) && payload.is_empty() {
            return Err(DecodeError::Truncated);
        }
        Ok(Self { header, extensions, payload })
    }

    /// The samples, read by the codec that the packet's configuration was announced with. A packet of silence gives a
    /// view that reads zeros.
    ///
    /// # Errors
    ///
    /// [`DecodeError::PayloadLength`] unless the payload is exactly frames × channels × bytes per sample long.
    pub fn samples(&self, codec: Codec) -> Result<Interleaved<'a>, DecodeError> {
        let expected = self.header.payload_bytes(codec);
        if self.payload.len() != expected {
            return Err(DecodeError::PayloadLength { expected, found: self.payload.len() });
        }
        Ok(Interleaved::new(codec, self.header.channels.into(), self.header.frames.into(), self.payload))
    }

    /// Writes header, `extensions` and `payload` to the front of `out`, and returns the packet's length.
    /// The runtime's pump writes the samples in place instead: see [`Header::encode`].
    ///
    /// # Errors
    ///
    /// Those of [`Header::encode`], and [`EncodeError::Payload`] when silence comes with samples or sound without.
    pub fn encode(
        header: &Header,
        extensions: &[Extension<'_>],
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        if header.flags.contains(Flags::SILENCE) != payload.is_empty() {
            return Err(EncodeError::Payload);
        }
        let start = header.encode(extensions, out)?;
        let end = start + payload.len();
        if end > PACKET_BYTES_MAX {
            return Err(EncodeError::NoRoom);
        }
        out.get_mut(start..end).ok_or(EncodeError::NoRoom)?.copy_from_slice(payload);
        Ok(end)
    }
}
