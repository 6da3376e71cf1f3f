//! Datagrams: what they have in common.
//!
//! A packet is one datagram. Its first byte is the version of the format in the high nibble and the kind of
//! packet in the low one; everything after that is the kind's own layout, big-endian throughout. Nothing here
//! allocates, and decoding borrows from the datagram.
//!
//! Realtime-safe: yes, all of it, though the callback has no business with packets.

use crate::packet::audio::AudioPacket;
use crate::packet::clock::ClockPacket;
use crate::packet::event::EventPacket;
use crate::packet::repair::RepairPacket;
use crate::packet::report::ReceiverReport;
use crate::packet::request::ResendRequest;
use crate::packet::slice::SlicePacket;
use crate::packet::slice_report::SliceReport;

pub mod audio;
pub mod clock;
mod cursor;
pub mod event;
pub mod extension;
mod flags;
pub mod packetizer;
pub mod repair;
pub mod report;
pub mod request;
pub mod slice;
pub mod slice_report;

/// The version of the packets that this crate writes.
pub const VERSION: u8 = 1;

/// The longest packet, in bytes: what a QUIC datagram holds while the path's MTU is unknown.
pub const PACKET_BYTES_MAX: usize = 1162;

/// The most channels of one stream.
pub const CHANNELS_MAX: u8 = 64;

/// The last frame index of an epoch: indices stay below 2⁶³, so that the difference of any two fits a signed
/// 64-bit integer. At 192 kHz that is a million and a half years.
pub const FRAME_INDEX_MAX: u64 = u64::MAX >> 1;

/// Whether these frames, and the one after them, have indices.
fn are_indices(first_frame: u64, frames: u16) -> bool {
    first_frame.checked_add(frames.into()).is_some_and(|end| end <= FRAME_INDEX_MAX)
}

/// What a packet is about: the low nibble of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Samples of a stream: [`audio`].
    Audio = 0,
    /// Notes and MIDI of a stream: [`event`].
    Event = 1,
    /// What brings back audio packets that were lost: [`repair`].
    Repair = 2,
    /// How a stream arrives: [`report`].
    Report = 3,
    /// Clock exchange: [`clock`].
    Clock = 4,
    /// Audio packets to be sent again: [`request`].
    Request = 5,
    /// What goes through a chain of effects elsewhere, and comes back: [`slice`].
    Slice = 6,
    /// How slices arrive: [`slice_report`].
    SliceReport = 7,
}

impl Kind {
    /// The first byte of a packet of this kind.
    pub const fn first_byte(self) -> u8 {
        let nibble = match self {
            Self::Audio => 0,
            Self::Event => 1,
            Self::Repair => 2,
            Self::Report => 3,
            Self::Clock => 4,
            Self::Request => 5,
            Self::Slice => 6,
            Self::SliceReport => 7,
        };
        VERSION << 4 | nibble
    }

    /// The kind that a packet claims to be, from its first byte.
    pub fn of(bytes: &[u8]) -> Result<Self, DecodeError> {
        let first = *bytes.first().ok_or(DecodeError::Truncated)?;
        if first >> 4 != VERSION {
            return Err(DecodeError::UnknownVersion(first >> 4));
        }
        match first & 0x0f {
            0 => Ok(Self::Audio),
            1 => Ok(Self::Event),
            2 => Ok(Self::Repair),
            3 => Ok(Self::Report),
            4 => Ok(Self::Clock),
            5 => Ok(Self::Request),
            6 => Ok(Self::Slice),
            7 => Ok(Self::SliceReport),
            kind => Err(DecodeError::UnknownKind(kind)),
        }
    }
}

/// Any packet this version can read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Packet<'a> {
    /// Samples.
    Audio(AudioPacket<'a>),
    /// Notes and MIDI.
    Event(EventPacket<'a>),
    /// What brings back audio packets that were lost.
    Repair(RepairPacket<'a>),
    /// How a stream arrives.
    Report(ReceiverReport),
    /// A message of the clock exchange.
    Clock(ClockPacket<'a>),
    /// Audio packets to be sent again.
    Request(ResendRequest),
    /// Frames and events of a chain of effects.
    Slice(SlicePacket<'a>),
    /// How such slices arrive.
    SliceReport(SliceReport),
}

impl<'a> Packet<'a> {
    /// Reads one datagram.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        match Kind::of(bytes)? {
            Kind::Audio => AudioPacket::decode(bytes).map(Self::Audio),
            Kind::Event => EventPacket::decode(bytes).map(Self::Event),
            Kind::Repair => RepairPacket::decode(bytes).map(Self::Repair),
            Kind::Report => ReceiverReport::decode(bytes).map(Self::Report),
            Kind::Request => ResendRequest::decode(bytes).map(Self::Request),
            Kind::Clock => ClockPacket::decode(bytes).map(Self::Clock),
            Kind::Slice => SlicePacket::decode(bytes).map(Self::Slice),
            Kind::SliceReport => SliceReport::decode(bytes).map(Self::SliceReport),
        }
    }
}

/// What is wrong with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It ends before its fields do.
    #[error("the packet ends before its fields do")]
    Truncated,
    /// It is longer than [`PACKET_BYTES_MAX`], an audio packet longer than [`audio::AUDIO_BYTES_MAX`], a message of the
    /// clock exchange longer than [`clock::PTP_BYTES_MAX`], or a slice longer than [`slice::SLICE_BYTES_MAX`], in bytes or
    /// in frames.
    #[error("the packet is longer than one of its kind may be")]
    TooLong,
    /// It is of a version that this crate does not read.
    #[error("the packet is of version {0}")]
    UnknownVersion(u8),
    /// Its kind is unassigned in this version.
    #[error("the packet is of unassigned kind {0}")]
    UnknownKind(u8),
    /// Another kind of packet was asked for.
    #[error("the packet is of kind {0:?}, another was expected")]
    OtherKind(Kind),
    /// No channels, or channels past the 64th.
    #[error("channels {first}+{count} are outside of 0..{CHANNELS_MAX}")]
    Channels {
        /// First channel, from 0.
        first: u8,
        /// How many.
        count: u8,
    },
    /// An audio packet without frames.
    #[error("the packet spans no frames")]
    NoFrames,
    /// A frame index beyond [`FRAME_INDEX_MAX`].
    #[error("a frame index of the packet is beyond 2^63 - 1")]
    FrameIndex,
    /// The extensions do not tile the length given for them.
    #[error("the extensions do not fill the length given for them")]
    Extensions,
    /// A codec that this version does not know.
    #[error("the codec has number {0}, which is unassigned")]
    UnknownCodec(u8),
    /// Samples that are said to be packed, and have no integers to pack.
    #[error("only samples that are integers can be packed")]
    Packed,
    /// The samples are not frames × channels × bytes per sample, or packed and no fewer.
    #[error("the payload is {found} bytes long, {expected} expected")]
    PayloadLength {
        /// What the header asks for, or allows at most.
        expected: usize,
        /// What is there.
        found: usize,
    },
    /// A repair of no packets or of too many, or a report that wishes for one.
    #[error("a repair of {0} packets, at most {max} are allowed", max = repair::WINDOW_MAX)]
    Window(u8),
    /// The symbol of a repair is shorter or longer than any audio packet makes one.
    #[error("a repair's symbol of {0} bytes")]
    SymbolLength(usize),
    /// The body of an event of a known type has another length than that type's.
    #[error("the body of an event of type {0} has the wrong length")]
    EventLength(u8),
    /// A velocity or expression that is infinite or not a number.
    #[error("a value of an event is not finite")]
    NotFinite,
    /// Bytes after the last event, or after the last field.
    #[error("bytes follow the last field")]
    TrailingBytes,
}

impl DecodeError {
    /// The name that the error has in the specification and the vectors.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::TooLong => "too-long",
            Self::UnknownVersion(_) => "unknown-version",
            Self::UnknownKind(_) => "unknown-kind",
            Self::OtherKind(_) => "other-kind",
            Self::Channels { .. } => "channels",
            Self::NoFrames => "no-frames",
            Self::FrameIndex => "frame-index",
            Self::Extensions => "extensions",
            Self::UnknownCodec(_) => "unknown-codec",
            Self::Packed => "packed",
            Self::PayloadLength { .. } => "payload-length",
            Self::Window(_) => "window",
            Self::SymbolLength(_) => "symbol-length",
            Self::EventLength(_) => "event-length",
            Self::NotFinite => "not-finite",
            Self::TrailingBytes => "trailing-bytes",
        }
    }
}

/// Why a packet could not be written. All but [`EncodeError::NoRoom`] are values that no peer would accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The slice, or the packet, ends first.
    #[error("no room left in the packet")]
    NoRoom,
    /// No channels, or channels past the 64th.
    #[error("channels are outside of 0..{CHANNELS_MAX}")]
    Channels,
    /// An audio packet without frames.
    #[error("a packet must span at least one frame")]
    NoFrames,
    /// A frame index beyond [`FRAME_INDEX_MAX`].
    #[error("a frame index is beyond 2^63 - 1")]
    FrameIndex,
    /// An event before the packet's base index, or 2³² frames or more after it.
    #[error("the event is out of the reach of the packet's base index")]
    OutOfReach,
    /// A velocity or expression that is infinite or not a number.
    #[error("a value of an event is not finite")]
    NotFinite,
    /// The value of an extension, or the body of an event, is longer than 255 bytes.
    #[error("a value is longer than 255 bytes")]
    ValueLength,
    /// An extension that the header writes by itself: the session time.
    #[error("the session time is a field of the header")]
    SessionTime,
    /// Samples that are said to be packed, and have no integers to pack.
    #[error("only samples that are integers can be packed")]
    Packed,
    /// A payload of another length than the header says.
    #[error("the payload has another length than the header says")]
    Payload,
    /// A repair of no packets or of too many, or a report that wishes for one.
    #[error("a repair is of at most {max} packets", max = repair::WINDOW_MAX)]
    Window,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_byte_says_version_and_kind() {
        let kinds = [Kind::Audio, Kind::Event, Kind::Repair, Kind::Report, Kind::Clock, Kind::Request];
        for kind in kinds.into_iter().chain([Kind::Slice, Kind::SliceReport]) {
            assert_eq!(Kind::of(&[kind.first_byte()]), Ok(kind));
        }
        assert_eq!(Kind::of(&[]), Err(DecodeError::Truncated));
        assert_eq!(Kind::of(&[0x00]), Err(DecodeError::UnknownVersion(0)));
        assert_eq!(Kind::of(&[0x20]), Err(DecodeError::UnknownVersion(2)));
        assert_eq!(Kind::of(&[0x18]), Err(DecodeError::UnknownKind(8)));
    }
}
