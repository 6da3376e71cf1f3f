//! Who and what: the identifiers that cross the wire.
//!
//! All are plain values. Nothing here draws random numbers or touches key material: constructors take bytes.
//! In CBOR, keys and instance ids are byte strings, ids of streams and inputs unsigned integers; in human-readable
//! formats (JSON, TOML) each is lower-case hexadecimal text, as [`Display`](fmt::Display) writes it.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// Text that is not the hexadecimal form of the identifier asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected exactly {digits} hexadecimal digits")]
pub struct ParseIdError {
    /// How many digits the identifier has.
    pub digits: usize,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let error = ParseIdError { digits: N * 2 };
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return Err(error);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0]).ok_or(error)? << 4 | nibble(pair[1]).ok_or(error)?;
    }
    Ok(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

struct BytesVisitor<const N: usize>;

impl<const N: usize> Visitor<'_> for BytesVisitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a byte string of {N} bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

struct HexVisitor<const N: usize>;

impl<const N: usize> Visitor<'_> for HexVisitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hexadecimal digits", N * 2)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<[u8; N], E> {
        parse_hex(text).map_err(E::custom)
    }
}

macro_rules! byte_string_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Length in bytes.
            pub const BYTES: usize = $bytes;

            /// The identifier with these bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// Its bytes, as they go over the wire.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// The first eight hexadecimal digits: for people and log lines, never for comparing.
            pub fn short(&self) -> Short {
                Short([self.0[0], self.0[1], self.0[2], self.0[3]])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(HexVisitor::<$bytes>).map(Self)
                } else {
                    deserializer.deserialize_bytes(BytesVisitor::<$bytes>).map(Self)
                }
            }
        }
    };
}

byte_string_id! {
    /// A device: its Ed25519 public key, which is also the key of its TLS certificate.
    DeviceId, 32
}

byte_string_id! {
    /// A user: the Ed25519 public key that certifies the keys of the user's devices.
    UserId, 32
}

byte_string_id! {
    /// One run of one process, drawn at random when its runtime starts: a device may run several at once.
    InstanceId, 16
}

byte_string_id! {
    /// Processes of one start of one machine share it, and its monotonic clock; nobody else does.
    MachineId, 16
}

byte_string_id! {
    /// A session: the Ed25519 public key of the pair that was drawn when it was founded.
    SessionId, 32
}

byte_string_id! {
    /// A change of a session's shared state: the hash that it has in its document's history.
    ChangeHash, 32
}

byte_string_id! {
    /// All that is known of who belongs to a session, as one hash.
    RosterDigest, 32
}

byte_string_id! {
    /// An Ed25519 signature.
    Signature, 64
}

/// The first digits of an identifier, as [`Display`](fmt::Display) text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Short([u8; 4]);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The id with these bytes, most significant first.
            pub const fn from_bytes(bytes: [u8; 8]) -> Self {
                Self(u64::from_be_bytes(bytes))
            }

            /// Its bytes, most significant first.
            pub const fn to_bytes(self) -> [u8; 8] {
                self.0.to_be_bytes()
            }

            /// The number, as it goes over the wire.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The first eight hexadecimal digits: for people and log lines, never for comparing.
            pub fn short(&self) -> Short {
                let [a, b, c, d, ..] = self.to_bytes();
                Short([a, b, c, d])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self::from_bytes)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_u64(self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(HexVisitor::<8>).map(Self::from_bytes)
                } else {
                    u64::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

number_id! {
    /// A stream among those of its publisher: drawn at random when the stream is made and kept in the user's
    /// project.
    StreamId
}

number_id! {
    /// Something that plays streams, among those of its device: drawn at random when it is made.
    InputId
}

number_id! {
    /// A chain of effects among those of its owner: drawn at random when it is made and kept in the user's project.
    ChainId
}

number_id! {
    /// One opening of a chain on a node, drawn at random for each: what still travels for an earlier one is not mistaken
    /// for its own.
    RemoteId
}

/// A stream among all streams: who publishes it, and which of theirs it is.
///
/// As text: `<64 hex digits>/<16 hex digits>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct StreamKey {
    /// The publishing device.
    pub publisher: DeviceId,
    /// The stream among those of that device.
    pub stream: StreamId,
}

impl StreamKey {
    /// The stream of that publisher.
    pub const fn new(publisher: DeviceId, stream: StreamId) -> Self {
        Self { publisher, stream }
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.publisher, self.stream)
    }
}

impl FromStr for StreamKey {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digits = 2 * (DeviceId::BYTES + 8);
        let (publisher, stream) = text.split_once('/').ok_or(ParseIdError { digits })?;
        Ok(Self { publisher: publisher.parse()?, stream: stream.parse()? })
    }
}

/// One configuration of a stream (rate, layout, codec, clock domain), as its directory entry announces it.
///
/// Each packet names the configuration that it was made under, so that a receiver never reads samples by a
/// stale one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ConfigId(pub u16);

impl ConfigId {
    /// The next id, back to 0 after 65,535.
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_hex_and_parses_back() {
        let device = DeviceId::from_bytes(std::array::from_fn(|i| u8::try_from(i).unwrap() ^ 0xa5));
        let text = device.to_string();
        assert_eq!(text.len(), 64);
        assert!(text.starts_with("a5a4a7a6"));
        assert_eq!(text.parse(), Ok(device));
        assert_eq!(text.to_uppercase().parse(), Ok(device));
        assert_eq!(device.short().to_string(), "a5a4a7a6");

        let stream = StreamId(0x0123_4567_89ab_cdef);
        assert_eq!(stream.to_string(), "0123456789abcdef");
        assert_eq!(stream.to_string().parse(), Ok(stream));
        assert_eq!(stream.short().to_string(), "01234567");

        let key = StreamKey::new(device, stream);
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        let check = |text: &str| assert!(text.parse::<InstanceId>().is_err(), "{text:?}");
        check("");
        check("00");
        check("0123456789abcdef0123456789abcde");
        check("0123456789abcdef0123456789abcdef0");
        check("0123456789abcdef0123456789abcdeg");
        check("+123456789abcdef0123456789abcdef");
        // 32 bytes of UTF-8 that are fewer characters: no slicing inside one.
        check("éééééééééééééééé");
        assert!("0123456789abcdef".parse::<StreamKey>().is_err());
    }

    #[test]
    fn json_is_hex_text_and_cbor_is_bytes() {
        let instance = InstanceId([7; 16]);
        assert_eq!(serde_json::to_string(&instance).unwrap(), "\"07070707070707070707070707070707\"");
        assert_eq!(
            serde_json::from_str::<InstanceId>(&serde_json::to_string(&instance).unwrap()).unwrap(),
            instance
        );

        let mut cbor = Vec::new();
        ciborium::into_writer(&instance, &mut cbor).unwrap();
        assert_eq!(cbor[0], 0x50);
        assert_eq!(cbor[1..], [7; 16]);
        assert_eq!(ciborium::from_reader::<InstanceId, _>(&cbor[..]).unwrap(), instance);
        assert!(ciborium::from_reader::<DeviceId, _>(&cbor[..]).is_err());

        let mut cbor = Vec::new();
        ciborium::into_writer(&StreamId(24), &mut cbor).unwrap();
        assert_eq!(cbor, [0x18, 24]);
    }
}
