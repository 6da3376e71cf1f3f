//! What a foreign plug-in keeps of itself: bytes that mean something to it alone. In documents they are Base64 text
//! (RFC 4648, section 4).

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// The most bytes of one plug-in's state.
pub const STATE_BYTES_MAX: usize = 2 << 20;
/// And of all of a chain: as text they leave room in its document for the rest.
pub const STATES_BYTES_MAX: usize = 11 << 18;
const _: () = assert!(STATES_BYTES_MAX / 3 * 4 + (256 << 10) < crate::document::DOCUMENT_BYTES_MAX);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// See the module. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(Arc<[u8]>);

impl Blob {
    /// *Realtime-safe: no* (allocates).
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// What the plug-in gave.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.0.len().div_ceil(3) * 4);
        for three in self.0.chunks(3) {
            let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for digit in 0..4 {
                let six = (bits >> (18 - 6 * digit)) & 63;
                text.push(if digit > three.len() { '=' } else { char::from(ALPHABET[six as usize]) });
            }
        }
        text
    }

    /// Padded, without white space.
    fn from_text(text: &str) -> Result<Self, &'static str> {
        let text = text.as_bytes();
        if text.len() / 4 * 3 > STATE_BYTES_MAX + 2 {
            return Err("a plug-in's state is too large");
        }
        if !text.len().is_multiple_of(4) {
            return Err("a plug-in's state is no whole Base64");
        }
        let padding = text.iter().rev().take(2).take_while(|digit| **digit == b'=').count();
        let (digits, _) = text.split_at(text.len() - padding);
        let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
        for four in digits.chunks(4) {
            let mut bits = 0;
            for place in 0..4 {
                let digit = four.get(place).copied().unwrap_or(b'A');
                bits = bits << 6 | value(digit).ok_or("a plug-in's state is no Base64")?;
            }
            let [_, first, second, third] = u32::to_be_bytes(bits);
            bytes.extend([first, second, third].iter().take(four.len() - 1));
        }
        Ok(Self(bytes.into()))
    }
}

fn value(digit: u8) -> Option<u32> {
    Some(match digit {
        b'A'..=b'Z' => u32::from(digit - b'A'),
        b'a'..=b'z' => u32::from(digit - b'a') + 26,
        b'0'..=b'9' => u32::from(digit - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

impl fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Blob;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Base64 text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Blob, E> {
        Blob::from_text(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_that_of_the_rfc() {
        // RFC 4648, section 10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let blob = Blob::new(bytes.as_bytes());
            assert_eq!(blob.to_text(), text);
            assert_eq!(Blob::from_text(text), Ok(blob));
        }
    }

    #[test]
    fn any_bytes_come_back() {
        let bytes: Vec<u8> = (0..=255).rev().chain(0..=255).collect();
        for length in 0..bytes.len() {
            let blob = Blob::new(&bytes[..length]);
            assert_eq!(Blob::from_text(&blob.to_text()), Ok(blob));
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["Z", "Zg", "Zg=", "Zg=a", "====", "=Zg=", "Zm8 ", "Z===", "Zm9v\n", "Zm9ü", "Zg==Zg=="]
        {
            assert!(Blob::from_text(text).is_err(), "{text}");
        }
        let large = "A".repeat(STATE_BYTES_MAX / 3 * 4 + 8);
        assert!(Blob::from_text(&large).is_err());
    }
}
