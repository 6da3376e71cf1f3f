//! Byte strings whose meaning another layer knows: their length alone is checked here.

use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// At most `MAX` bytes. In CBOR a byte string; in human-readable formats lower-case hexadecimal text.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes<const MAX: usize>(Vec<u8>);

/// More bytes than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes where {max} are allowed")]
pub struct BytesError {
    /// How many there were.
    pub length: usize,
    /// How many there may be.
    pub max: usize,
}

impl<const MAX: usize> Bytes<MAX> {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, taken out.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl<const MAX: usize> TryFrom<Vec<u8>> for Bytes<MAX> {
    type Error = BytesError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, BytesError> {
        if bytes.len() > MAX {
            return Err(BytesError { length: bytes.len(), max: MAX });
        }
        Ok(Self(bytes))
    }
}

impl<const MAX: usize> TryFrom<&[u8]> for Bytes<MAX> {
    type Error = BytesError;

    fn try_from(bytes: &[u8]) -> Result<Self, BytesError> {
        if bytes.len() > MAX {
            return Err(BytesError { length: bytes.len(), max: MAX });
        }
        Ok(Self(bytes.to_vec()))
    }
}

impl<const MAX: usize> Deref for Bytes<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Only the length: what is inside may be a ticket.
impl<const MAX: usize> fmt::Debug for Bytes<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.0.len())
    }
}

impl<const MAX: usize> Serialize for Bytes<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
            serializer.serialize_str(&hex)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Bytes<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor<const MAX: usize>;

        impl<const MAX: usize> Visitor<'_> for BytesVisitor<MAX> {
            type Value = Bytes<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Bytes::try_from(bytes).map_err(E::custom)
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
                Bytes::try_from(bytes).map_err(E::custom)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let pairs = text.as_bytes().chunks(2);
                let byte = |pair: &[u8]| {
                    std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())
                };
                let bytes: Option<Vec<u8>> =
                    pairs.map(|pair| (pair.len() == 2).then(|| byte(pair)).flatten()).collect();
                Bytes::try_from(bytes.ok_or_else(|| E::custom("not hexadecimal"))?).map_err(E::custom)
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_str(BytesVisitor)
        } else {
            // Borrowed bytes would have to fit the reader's buffer.
            deserializer.deserialize_byte_buf(BytesVisitor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_most_is_neither_made_nor_read() {
        assert!(Bytes::<4>::try_from(vec![1; 5]).is_err());
        let mut cbor = Vec::new();
        ciborium::into_writer(&Bytes::<5>::try_from(vec![1; 5]).unwrap(), &mut cbor).unwrap();
        assert_eq!(cbor, [0x45, 1, 1, 1, 1, 1]);
        assert!(ciborium::from_reader::<Bytes<5>, _>(&cbor[..]).is_ok());
        assert!(ciborium::from_reader::<Bytes<4>, _>(&cbor[..]).is_err());
    }

    #[test]
    fn text_form_is_hexadecimal() {
        let bytes = Bytes::<40_000>::try_from(vec![0xa5; 20_000]).unwrap();
        let text = serde_json::to_string(&bytes).unwrap();
        assert_eq!(serde_json::from_str::<Bytes<40_000>>(&text).unwrap(), bytes);
        assert!(serde_json::from_str::<Bytes<9>>("\"0\"").is_err());
        assert!(serde_json::from_str::<Bytes<9>>("\"0g\"").is_err());
        assert_eq!(format!("{bytes:?}"), "Bytes(20000)");
    }
}
