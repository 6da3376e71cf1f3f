//! What a rendezvous node and its clients say to each other.
//!
//! A client connects by QUIC, with the ALPN [`ALPN`] and its device's certificate, or, where UDP does not get through,
//! by the same QUIC in a tunnel of TLS over TCP. It registers in the rooms of its sessions, learns what its address
//! looks like from outside, and is introduced to whoever else is there. Messages have the form of the peers' own: CBOR
//! maps in the profile of [`audiocloud_wire::message::profile`], with a length in front, on the first bidirectional
//! stream, which the client opens.

use std::fmt;
use std::net::SocketAddr;

use audiocloud_wire::id::{DeviceId, InstanceId};
pub use audiocloud_wire::message::LENGTH_BYTES;
use audiocloud_wire::message::{Text, profile};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::frame::ChannelId;
use crate::probe::ProbeKey;

mod field;

/// What TLS calls this protocol.
pub const ALPN: &[u8] = b"audiocloud-meet";
/// The longest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// The most addresses that a client names.
pub const ADDRESSES_MAX: usize = 8;
/// The most bytes that a node passes on at once.
pub const PASSED_BYTES_MAX: usize = 2048;

const ROOM_CONTEXT: &str = "audiocloud 2026 traversal: room of a session, v1";
const SLOT_CONTEXT: &str = "audiocloud 2026 traversal: room of a spoken code, v1";

/// Where those meet who know the same: a session, or the number of a spoken code. It tells the node neither.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Room(pub [u8; 32]);

impl Room {
    /// Of a session, by its id.
    pub fn of_session(session: &[u8; 32]) -> Self {
        Self(blake3::derive_key(ROOM_CONTEXT, session))
    }

    /// Of a spoken code, by the number that it begins with.
    pub fn of_slot(number: u32) -> Self {
        Self(blake3::derive_key(SLOT_CONTEXT, &number.to_be_bytes()))
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who knows a room can register in it.
        let [a, b, ..] = self.0;
        write!(f, "Room({a:02x}{b:02x}..)")
    }
}

/// A message in either direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Message {
    /// Client to node: I am here. Again, to stay and when anything has changed.
    Register(Register),
    /// Client to node: no longer in this room.
    Leave(Leave),
    /// Node to client: you are in.
    Registered(Registered),
    /// Node to client: so is this one. Again, when anything has changed.
    Introduced(Introduced),
    /// Node to client: this one no longer.
    Gone(Gone),
    /// Both ways: some bytes to, or from, another of the room.
    Pass(Pass),
    /// Node to client: no.
    Refused(Refused),
    /// A message of a kind that this version does not know: skip it.
    #[serde(untagged)]
    Unknown(Unknown),
}

/// I am here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Register {
    /// Where.
    pub room: Room,
    /// Which process of the device, whose key TLS proves.
    pub instance: InstanceId,
    /// Where the client's socket can be reached from its own network.
    #[serde(with = "field::addresses")]
    pub addresses: Vec<SocketAddr>,
    /// For whoever is introduced.
    pub probe_key: ProbeKey,
}

/// No longer in this room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// Which.
    pub room: Room,
}

/// You are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Registered {
    /// Where.
    pub room: Room,
    /// The address that the client's packets have when they arrive here; none in a tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "field::address::optional")]
    pub reflexive: Option<SocketAddr>,
    /// Whether this node forwards what is sent by the channels that it tells.
    pub relay: bool,
    /// Register again within this time, milliseconds.
    pub keep_ms: u32,
}

/// Another of the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Introduced {
    /// Which room.
    pub room: Room,
    /// The device, as its TLS certificate proves it to the node.
    pub device: DeviceId,
    /// Which process of it.
    pub instance: InstanceId,
    /// Where it may be reached: what it named itself, and what the node sees, if that is UDP.
    #[serde(with = "field::addresses")]
    pub addresses: Vec<SocketAddr>,
    /// What its probes are sealed with.
    pub probe_key: ProbeKey,
    /// Towards it, by this node.
    pub channel: ChannelId,
}

/// One of the room that is there no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Which room.
    pub room: Room,
    /// Who.
    pub device: DeviceId,
    /// Which process.
    pub instance: InstanceId,
}

/// A few bytes for another of the room, such as a step of pairing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// To the node: to whom. From it: from whom, and the way back.
    pub channel: ChannelId,
    /// At most [`PASSED_BYTES_MAX`].
    #[serde(with = "field::bytes")]
    pub data: Vec<u8>,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pass {{ channel: {:?}, {} bytes }}", self.channel, self.data.len())
    }
}

/// No.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What was refused, where it was a room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Room>,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, and what helps, for people.
    pub text: Text,
}

/// A message of a kind that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// Its kind.
    pub kind: Text,
}

/// Why a node refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// As many rooms, members of one, or clients as it serves.
    Full,
    /// More in a while than anyone needs.
    TooFast,
    /// What no client of this version sends.
    Malformed,
    /// Another connection of the same process has taken its place.
    Replaced,
    /// This node introduces nobody.
    NotServed,
    /// A code that this version does not know.
    Unknown,
}

impl Reason {
    /// The code as it goes over the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TooFast => "too-fast",
            Self::Malformed => "malformed",
            Self::Replaced => "replaced",
            Self::NotServed => "not-served",
            Self::Unknown => "unknown",
        }
    }

    /// The meaning of a code.
    pub fn from_code(code: &str) -> Self {
        match code {
            "full" => Self::Full,
            "too-fast" => Self::TooFast,
            "malformed" => Self::Malformed,
            "replaced" => Self::Replaced,
            "not-served" => Self::NotServed,
            _ => Self::Unknown,
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|code| Self::from_code(&code))
    }
}

/// Why a message could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Nothing, or more than [`MESSAGE_BYTES_MAX`].
    #[error("a message of {0} bytes; from 1 to {MESSAGE_BYTES_MAX} are allowed")]
    Length(usize),
    /// Not CBOR, or CBOR outside of the profile.
    #[error(transparent)]
    Profile(#[from] profile::ProfileError),
    /// The map has no `"kind"`.
    #[error("the message has no kind")]
    NoKind,
    /// A field is missing, of another type, or out of its range.
    #[error("a {kind} message: {detail}")]
    Field {
        /// The kind of the message.
        kind: Text,
        /// What is wrong, for people.
        detail: String,
    },
}

impl DecodeError {
    /// The name that the error has in the specification and the vectors.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Length(_) => "frame-length",
            Self::Profile(error) => error.code(),
            Self::NoKind => "no-kind",
            Self::Field { .. } => "field",
        }
    }
}

impl Message {
    /// The `"kind"` of the message.
    pub fn kind(&self) -> &str {
        match self {
            Self::Register(_) => "register",
            Self::Leave(_) => "leave",
            Self::Registered(_) => "registered",
            Self::Introduced(_) => "introduced",
            Self::Gone(_) => "gone",
            Self::Pass(_) => "pass",
            Self::Refused(_) => "refused",
            Self::Unknown(Unknown { kind }) => kind,
        }
    }

    /// The message with its length in front. Of the addresses it has the first [`ADDRESSES_MAX`], and of passed bytes
    /// the first [`PASSED_BYTES_MAX`], so that every reader takes it.
    pub fn to_frame(&self) -> Vec<u8> {
        let mut frame = vec![0; LENGTH_BYTES];
        // Writing into a vector does not fail, and nothing in a message refuses to be serialised.
        if let Err(error) = ciborium::into_writer(self, &mut frame) {
            debug_assert!(false, "{error}");
        }
        let length = frame.len() - LENGTH_BYTES;
        debug_assert!((1..=MESSAGE_BYTES_MAX).contains(&length), "a message of {length} bytes");
        let prefix = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        frame[..LENGTH_BYTES].copy_from_slice(&prefix);
        frame
    }

    /// Reads a body.
    ///
    /// # Errors
    ///
    /// What is no message: nothing that its sender says can be trusted.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if !(1..=MESSAGE_BYTES_MAX).contains(&body.len()) {
            return Err(DecodeError::Length(body.len()));
        }
        let kind = profile::check(body)?.ok_or(DecodeError::NoKind)?;
        let kind = Text::try_from(kind).map_err(|_| DecodeError::NoKind)?;
        match &*kind {
            "register" => read(kind, body).map(Self::Register),
            "leave" => read(kind, body).map(Self::Leave),
            "registered" => read(kind, body).map(Self::Registered),
            "introduced" => read(kind, body).map(Self::Introduced),
            "gone" => read(kind, body).map(Self::Gone),
            "pass" => read(kind, body).map(Self::Pass),
            "refused" => read(kind, body).map(Self::Refused),
            _ => Ok(Self::Unknown(Unknown { kind })),
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(kind: Text, body: &[u8]) -> Result<T, DecodeError> {
    profile::fields(body).map_err(|detail| DecodeError::Field { kind, detail })
}

/// The length of a body, from the four bytes in front of it: how much to read next.
///
/// # Errors
///
/// [`DecodeError::Length`]: nothing after it can be trusted, so close the connection.
pub fn frame_length(prefix: [u8; LENGTH_BYTES]) -> Result<usize, DecodeError> {
    match usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX) {
        length @ 1..=MESSAGE_BYTES_MAX => Ok(length),
        length => Err(DecodeError::Length(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn introduced() -> Message {
        Message::Introduced(Introduced {
            room: Room([1; 32]),
            device: DeviceId([2; 32]),
            instance: InstanceId([3; 16]),
            addresses: vec!["192.0.2.1:7".parse().unwrap(), "[2001:db8::1]:65535".parse().unwrap()],
            probe_key: ProbeKey([4; 32]),
            channel: ChannelId(u64::MAX),
        })
    }

    #[test]
    fn messages_come_back() {
        let room = Room::of_slot(42);
        let reflexive = "203.0.113.9:4460".parse().unwrap();
        let (device, instance) = (DeviceId([9; 32]), InstanceId([8; 16]));
        let text = Text::new("as many rooms as there may be; try again later");
        let register = Register { room, instance, addresses: vec![], probe_key: ProbeKey([0xff; 32]) };
        for message in [
            introduced(),
            Message::Register(register),
            Message::Leave(Leave { room }),
            Message::Registered(Registered {
                room,
                reflexive: Some(reflexive),
                relay: true,
                keep_ms: 20_000,
            }),
            Message::Registered(Registered { room, reflexive: None, relay: false, keep_ms: 0 }),
            Message::Gone(Gone { room, device, instance }),
            Message::Pass(Pass { channel: ChannelId(1), data: vec![7; PASSED_BYTES_MAX] }),
            Message::Refused(Refused { room: Some(room), reason: Reason::Full, text: text.clone() }),
            Message::Refused(Refused { room: None, reason: Reason::TooFast, text }),
            Message::Unknown(Unknown { kind: Text::new("of the future") }),
        ] {
            let frame = message.to_frame();
            let (prefix, body) = frame.split_first_chunk().unwrap();
            assert_eq!(frame_length(*prefix), Ok(body.len()));
            assert_eq!(Message::decode(body), Ok(message));
        }
    }

    #[test]
    fn the_longest_message_fits() {
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
        let Message::Introduced(introduced) = introduced() else { unreachable!() };
        let message =
            Message::Introduced(Introduced { addresses: vec![longest; ADDRESSES_MAX], ..introduced });
        assert!(message.to_frame().len() <= 1024);
        let pass = Pass { channel: ChannelId(u64::MAX), data: vec![0; PASSED_BYTES_MAX] };
        assert!(Message::Pass(pass).to_frame().len() <= MESSAGE_BYTES_MAX);
        assert_eq!(frame_length([0, 0, 0, 0]), Err(DecodeError::Length(0)));
        assert_eq!(frame_length([0, 0, 0x10, 1]), Err(DecodeError::Length(MESSAGE_BYTES_MAX + 1)));
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        let check = |body: &[u8], code| assert_eq!(Message::decode(body).map_err(|e| e.code()), Err(code));
        check(b"", "frame-length");
        check(&[0xa0; MESSAGE_BYTES_MAX + 1], "frame-length");
        check(b"\xa0", "no-kind");
        check(b"\xa1\x64kind\x65leave", "field");
        check(b"\xa2\x64kind\x65leave\x64room\x43abc", "field");
        check(b"\xa2\x64kind\x64pass\x67channel\x01", "field");
        check(b"\xa3\x64kind\x64pass\x67channel\x01\x64data\x20", "field");
        let too_many = [vec![0x89], b"\x6a1.2.3.4:56".repeat(9)].concat();
        let register = |addresses: &[u8]| {
            let mut body = b"\xa5\x64kind\x68register\x64room\x58\x20".to_vec();
            body.extend([[1; 32].as_slice(), b"\x68instance\x50", &[2; 16], b"\x69addresses"].concat());
            body.extend([addresses, b"\x69probe-key\x58\x20", &[3; 32]].concat());
            body
        };
        assert!(Message::decode(&register(b"\x81\x6a1.2.3.4:56")).is_ok());
        check(&register(&too_many), "field");
        check(&register(b"\x81\x6a1.2.3.4.56"), "field");
        check(&register(b"\x81\x01"), "field");
    }
}
