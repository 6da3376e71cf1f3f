//! Fields whose form in CBOR is not serde's own: byte strings, and addresses as text.

use std::fmt;
use std::net::SocketAddr;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::{ADDRESSES_MAX, PASSED_BYTES_MAX, Room};
use crate::probe::ProbeKey;

/// A byte string; where people read it, hexadecimal digits, as ids have.
fn serialize_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        return serializer.serialize_str(&digits);
    }
    serializer.serialize_bytes(bytes)
}

struct Bytes32;

impl Visitor<'_> for Bytes32 {
    type Value = [u8; 32];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a byte string of 32 bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<[u8; 32], E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

macro_rules! byte_string {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serialize_bytes(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_bytes(Bytes32).map(Self)
            }
        }
    };
}

byte_string!(Room);
byte_string!(ProbeKey);

/// An address as `SocketAddr` writes it.
pub(super) mod address {
    use super::*;

    struct Address;

    impl Visitor<'_> for Address {
        type Value = SocketAddr;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an IP address and a port, as text")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<SocketAddr, E> {
            text.parse().map_err(|_| E::custom("not an IP address and a port"))
        }
    }

    pub(in super::super) fn serialize<S: Serializer>(
        address: &SocketAddr,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(address)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SocketAddr, D::Error> {
        deserializer.deserialize_str(Address)
    }

    /// Absent where there is none.
    pub(in super::super) mod optional {
        use super::*;

        pub(in super::super::super) fn serialize<S: Serializer>(
            address: &Option<SocketAddr>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            address.as_ref().map(ToString::to_string).serialize(serializer)
        }

        pub(in super::super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<SocketAddr>, D::Error> {
            super::deserialize(deserializer).map(Some)
        }
    }
}

/// At most [`ADDRESSES_MAX`] of them.
pub(super) mod addresses {
    use super::*;

    struct One(SocketAddr);

    impl Serialize for One {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            address::serialize(&self.0, serializer)
        }
    }

    impl<'de> Deserialize<'de> for One {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            address::deserialize(deserializer).map(Self)
        }
    }

    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Vec<SocketAddr>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {ADDRESSES_MAX} addresses")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<SocketAddr>, A::Error> {
            let mut addresses = Vec::new();
            while let Some(One(address)) = list.next_element()? {
                if addresses.len() == ADDRESSES_MAX {
                    return Err(A::Error::invalid_length(ADDRESSES_MAX + 1, &self));
                }
                addresses.push(address);
            }
            Ok(addresses)
        }
    }

    pub(in super::super) fn serialize<S: Serializer>(
        addresses: &[SocketAddr],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(addresses.iter().take(ADDRESSES_MAX).map(|address| One(*address)))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<SocketAddr>, D::Error> {
        deserializer.deserialize_seq(List)
    }
}

/// At most [`PASSED_BYTES_MAX`] of them.
pub(super) mod bytes {
    use super::*;

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a byte string of at most {PASSED_BYTES_MAX} bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            if bytes.len() > PASSED_BYTES_MAX {
                return Err(E::invalid_length(bytes.len(), &self));
            }
            Ok(bytes.to_vec())
        }

        // What is longer than the reader's buffer comes as a vector.
        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            if bytes.len() > PASSED_BYTES_MAX {
                return Err(E::invalid_length(bytes.len(), &self));
            }
            Ok(bytes)
        }
    }

    pub(in super::super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&bytes[..bytes.len().min(PASSED_BYTES_MAX)], serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_byte_buf(Bytes)
    }
}
