//! Datagrams of ours that share a socket with QUIC.
//!
//! The two highest bits of the first byte are zero, where QUIC's packets have the fixed bit (RFC 9000, clause 17), so
//! that one look tells the two apart. All numbers are big-endian.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A probe, and its answer: all that there is of either.
pub const PROBE_BYTES: usize = 1 + 8 + 8 + MAC_BYTES;
/// What stands before a relayed datagram.
pub const RELAYED_HEADER_BYTES: usize = 1 + 8;
/// The longest datagram that a relay takes: what fits an Ethernet frame after IPv4's and UDP's headers.
pub const DATAGRAM_BYTES_MAX: usize = 1472 - RELAYED_HEADER_BYTES;

pub(crate) const MAC_BYTES: usize = 16;

const PROBE: u8 = 0x01;
const ANSWER: u8 = 0x02;
const RELAYED: u8 = 0x03;

/// One direction between two members of a room, at a relay: drawn by it, unguessable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelId(pub u64);

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({:016x})", self.0)
    }
}

/// Says to the receiver of a probe whose it is. It tells others nothing, and proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub [u8; 8]);

/// "Do you hear me this way?", or "I heard you".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whether it is the answer.
    pub is_answer: bool,
    /// Between which two, and in which direction.
    pub tag: Tag,
    /// Of a probe: grows with each. Of an answer: that of the probe.
    pub number: u64,
    /// See [`crate::probe`].
    pub mac: [u8; MAC_BYTES],
}

/// What a datagram of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// From a peer.
    Probe(Probe),
    /// To or from a relay: a datagram of QUIC, or a probe.
    Relayed {
        /// To the relay: its owner's way to the other. From it: the receiver's way back.
        channel: ChannelId,
        /// Sealed from end to end.
        datagram: &'a [u8],
    },
}

/// Why a datagram is no frame of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Nothing.
    #[error("a frame without bytes")]
    Empty,
    /// A first byte that means nothing in this version.
    #[error("a frame of the unknown kind {0:#04x}")]
    UnknownKind(u8),
    /// Longer or shorter than its kind may be.
    #[error("a frame of {0} bytes, which its kind does not have")]
    Length(usize),
    /// What was to be relayed is neither QUIC's nor a probe.
    #[error("a relayed datagram that is neither QUIC's nor a probe")]
    NotSealed,
}

impl FrameError {
    /// The name that the error has in the specification.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "truncated",
            Self::UnknownKind(_) => "unknown-kind",
            Self::Length(_) => "frame-length",
            Self::NotSealed => "not-sealed",
        }
    }
}

/// Whether a datagram is one of ours, not QUIC's.
pub fn is_frame(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xc0 == 0)
}

impl<'a> Frame<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    ///
    /// What is no frame: drop it, and count it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (&kind, rest) = bytes.split_first().ok_or(FrameError::Empty)?;
        let length = FrameError::Length(bytes.len());
        match kind {
            PROBE | ANSWER => {
                let (tag, rest) = rest.split_first_chunk().ok_or(length)?;
                let (number, mac) = rest.split_first_chunk().ok_or(length)?;
                let mac = mac.try_into().map_err(|_| length)?;
                let number = u64::from_be_bytes(*number);
                Ok(Self::Probe(Probe { is_answer: kind == ANSWER, tag: Tag(*tag), number, mac }))
            }
            RELAYED => {
                let (channel, datagram) = rest.split_first_chunk().ok_or(length)?;
                let first = *datagram.first().ok_or(length)?;
                if datagram.len() > DATAGRAM_BYTES_MAX {
                    return Err(length);
                }
                if first & 0x40 == 0 && !(matches!(first, PROBE | ANSWER) && datagram.len() == PROBE_BYTES) {
                    return Err(FrameError::NotSealed);
                }
                Ok(Self::Relayed { channel: ChannelId(u64::from_be_bytes(*channel)), datagram })
            }
            unknown => Err(FrameError::UnknownKind(unknown)),
        }
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Probe(probe) => out.extend_from_slice(&probe.to_bytes()),
            Self::Relayed { channel, datagram } => {
                out.extend_from_slice(&relayed_header(*channel));
                out.extend_from_slice(datagram);
            }
        }
    }
}

impl Probe {
    /// As a datagram.
    pub fn to_bytes(&self) -> [u8; PROBE_BYTES] {
        let mut bytes = [0; PROBE_BYTES];
        bytes[0] = if self.is_answer { ANSWER } else { PROBE };
        bytes[1..9].copy_from_slice(&self.tag.0);
        bytes[9..17].copy_from_slice(&self.number.to_be_bytes());
        bytes[17..].copy_from_slice(&self.mac);
        bytes
    }
}

/// What stands before a datagram that is relayed.
pub fn relayed_header(channel: ChannelId) -> [u8; RELAYED_HEADER_BYTES] {
    let mut header = [0; RELAYED_HEADER_BYTES];
    header[0] = RELAYED;
    header[1..].copy_from_slice(&channel.0.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_specification() {
        let probe = Probe { is_answer: false, tag: Tag(*b"abcdefgh"), number: 258, mac: [7; 16] };
        let bytes = [&b"\x01abcdefgh\0\0\0\0\0\0\x01\x02"[..], &[7; 16]].concat();
        assert_eq!(probe.to_bytes()[..], bytes);
        assert_eq!(Frame::decode(&bytes), Ok(Frame::Probe(probe)));
        let relayed = b"\x03\0\0\0\0\0\0\x01\x02\x40sealed";
        let frame = Frame::Relayed { channel: ChannelId(258), datagram: b"\x40sealed" };
        assert_eq!(Frame::decode(relayed), Ok(frame));
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        assert_eq!(bytes, relayed);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let check = |bytes: &[u8], code| assert_eq!(Frame::decode(bytes).map_err(|e| e.code()), Err(code));
        check(b"", "truncated");
        check(&[0x01; 32], "frame-length");
        check(&[0x02; 34], "frame-length");
        check(&[0x03; 9], "frame-length");
        check(b"\x03abcdefgh\x03abcdefgh\x40", "not-sealed");
        check(b"\x03abcdefgh\x01", "not-sealed");
        check(&[&[0x03; 9][..], &[0x40; DATAGRAM_BYTES_MAX + 1]].concat(), "frame-length");
        check(&[0x04, 1], "unknown-kind");
        check(&[0x00], "unknown-kind");
        check(&[0x43, 1], "unknown-kind");
    }

    #[test]
    fn quic_is_not_ours() {
        assert!(is_frame(&[0x01]) && is_frame(&[0x3f]));
        assert!(!is_frame(&[0x40]) && !is_frame(&[0xc0]) && !is_frame(&[0x80]) && !is_frame(&[]));
    }
}
