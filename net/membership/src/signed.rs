//! What somebody says, as bytes: a signature, and the CBOR that it is for.
//!
//! What is signed is a text of its own for each kind of statement, a zero byte, and the CBOR exactly as it stands: so
//! a signature for one kind is none for another, and bytes are passed on as they came. Nor is one for a biscuit, which the
//! same keys sign: what that signs begins with a field of a block (`0x0a` to `0x42`) or a zero byte, a context with `a`.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::key::{BadSignature, SigningKey, verify};

const SIGNATURE_BYTES: usize = 64;

/// Signs `body` as a statement of the kind that `context` names.
pub(crate) fn sign(context: &str, key: &SigningKey, body: &impl Serialize) -> Vec<u8> {
    let cbor = to_cbor(body);
    let mut bytes = key.sign(&message(context, &cbor)).to_vec();
    bytes.extend_from_slice(&cbor);
    bytes
}

/// Reads a statement; who made it is not known yet.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, &'static str> {
    if bytes.len() > bytes_max {
        return Err("too long");
    }
    let (_, cbor) = bytes.split_at_checked(SIGNATURE_BYTES).ok_or("cut off")?;
    from_cbor(cbor)
}

/// Checks that `public` made that statement.
pub(crate) fn check(context: &str, public: &[u8; 32], bytes: &[u8]) -> Result<(), BadSignature> {
    let (signature, cbor) = bytes.split_first_chunk().ok_or(BadSignature)?;
    verify(public, &message(context, cbor), signature)
}

fn message(context: &str, cbor: &[u8]) -> Vec<u8> {
    [context.as_bytes(), &[0], cbor].concat()
}

/// `body` as CBOR (RFC 8949).
pub(crate) fn to_cbor(body: &impl Serialize) -> Vec<u8> {
    let mut cbor = Vec::new();
    ciborium::into_writer(body, &mut cbor).expect("memory takes all, and plain data is all CBOR");
    cbor
}

/// Reads CBOR to its end: nothing may follow.
pub(crate) fn from_cbor<T: DeserializeOwned>(mut cbor: &[u8]) -> Result<T, &'static str> {
    let body = ciborium::from_reader(&mut cbor).map_err(|_| "not what this version writes")?;
    if cbor.is_empty() { Ok(body) } else { Err("something after its end") }
}

/// A byte string in CBOR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;

        impl Visitor<'_> for BytesVisitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

/// 32 bytes in CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) [u8; 32]);

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Bytes(bytes) = Bytes::deserialize(deserializer)?;
        bytes.try_into().map(Self).map_err(|_| D::Error::custom("a key has 32 bytes"))
    }
}
