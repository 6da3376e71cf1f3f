//! Extensions of a packet: type, length, value; whoever does not know the type skips it.

use crate::packet::cursor::{Reader, Writer};
use crate::packet::{DecodeError, EncodeError};

/// One extension: an 8-bit type, an 8-bit length, and that many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// What it is: [`PADDING`], in audio packets [`SESSION_TIME`] and [`LINK_OFFSET`], or not known.
    pub kind: u8,
    /// Its bytes, at most 255.
    pub value: &'a [u8],
}

/// The type of an extension that carries nothing.
pub const PADDING: u8 = 0;

/// In an audio packet, the type of the extension that says when its first frame is: an i64, nanoseconds on
/// the session's clock.
pub const SESSION_TIME: u8 = 1;

/// In an audio packet, the type of the extension that says how long after its session time a frame is to leave: a u32,
/// microseconds.
pub const LINK_OFFSET: u8 = 2;

/// The extensions of a decoded packet, checked to be well formed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions<'a>(&'a [u8]);

impl<'a> Extensions<'a> {
    /// Checks that the extensions fill these bytes exactly.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader(bytes);
        while !reader.0.is_empty() {
            take(&mut reader).map_err(|_| DecodeError::Extensions)?;
        }
        Ok(Self(bytes))
    }

    /// Their bytes, as in the packet.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Them, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Extension<'a>> + use<'a> {
        let mut reader = Reader(self.0);
        std::iter::from_fn(move || take(&mut reader).ok())
    }

    /// The value of the first one of that type.
    pub fn find(&self, kind: u8) -> Option<&'a [u8]> {
        self.iter().find(|extension| extension.kind == kind).map(|extension| extension.value)
    }
}

fn take<'a>(reader: &mut Reader<'a>) -> Result<Extension<'a>, DecodeError> {
    let kind = reader.u8()?;
    let length = reader.u8()?;
    Ok(Extension { kind, value: reader.bytes(length.into())? })
}

/// How many bytes these extensions take in a packet.
pub fn encoded_length(extensions: &[Extension<'_>]) -> usize {
    extensions.iter().map(|extension| 2 + extension.value.len()).sum()
}

/// Writes them, one after the other.
pub(super) fn encode(extensions: &[Extension<'_>], writer: &mut Writer<'_>) -> Result<(), EncodeError> {
    for extension in extensions {
        let length = u8::try_from(extension.value.len()).map_err(|_| EncodeError::ValueLength)?;
        writer.put(&[extension.kind, length])?;
        writer.put(extension.value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_must_fill_their_length() {
        let check = |bytes: &[u8], expected: Option<usize>| {
            assert_eq!(
                Extensions::decode(bytes).ok().map(|found| found.iter().count()),
                expected,
                "{bytes:?}"
            );
        };
        check(&[], Some(0));
        check(&[0, 0], Some(1));
        check(&[9, 2, 1, 2, 0, 0], Some(2));
        check(&[9], None);
        check(&[9, 3, 1, 2], None);
        check(&[9, 2, 1, 2, 7], None);
    }

    #[test]
    fn find_takes_the_first_of_a_type() {
        let extensions = Extensions::decode(&[9, 1, 5, 7, 0, 9, 1, 6]).unwrap();
        assert_eq!(extensions.find(9), Some(&[5][..]));
        assert_eq!(extensions.find(7), Some(&[][..]));
        assert_eq!(extensions.find(8), None);
    }
}
