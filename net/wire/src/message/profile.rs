//! The profile of CBOR that messages are written in, and the check that a body keeps to it.
//!
//! One map, from its first byte to the last of the body. Lengths are definite; there are no tags; of the
//! simple values only `false`, `true` and `null`. Keys are text of at most [`KEY_BYTES_MAX`] bytes, in any
//! order; those that a reader knows stand at most once. Text is UTF-8. Containers are nested [`DEPTH_MAX`]
//! deep at most. Whoever extends a message keeps to this, so that everyone can skip what they do not know.
//!
//! The check walks the body once, without allocating. After it, no length in the body reaches past its end,
//! so that reading the body can allocate no more than in proportion to it.

use serde::de::DeserializeOwned;

/// How deep arrays and maps may be nested, the message itself counted.
pub const DEPTH_MAX: usize = 8;

/// The longest key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: u64 = 64;

/// Where and how a body leaves the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The body ends inside of an item, or a length in it reaches past its end.
    #[error("the message ends inside of an item")]
    Truncated,
    /// Bytes after the map.
    #[error("bytes follow the message, from {0} on")]
    TrailingBytes(usize),
    /// Not a map, or CBOR that is not well formed or not in the profile, at this byte.
    #[error("the CBOR at byte {0} is not of the kind that messages are made of")]
    Malformed(usize),
    /// Nested more than [`DEPTH_MAX`] deep.
    #[error("the message is nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// Text that is not UTF-8, at this byte.
    #[error("the text at byte {0} is not UTF-8")]
    NotUtf8(usize),
    /// A second `"kind"`, at this byte.
    #[error("the message has a second kind, at byte {0}")]
    DuplicateKind(usize),
}

impl ProfileError {
    /// The name that the error has in the specification and the vectors.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::TrailingBytes(_) => "trailing-bytes",
            Self::Malformed(_) => "malformed",
            Self::TooDeep => "too-deep",
            Self::NotUtf8(_) => "not-utf8",
            Self::DuplicateKind(_) => "duplicate-kind",
        }
    }
}

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const SIMPLE: u8 = 7;

const FALSE: u64 = 20;
const NULL: u64 = 22;

/// Reads the fields of a body that was [checked](check); those that `T` does not know are skipped.
///
/// # Errors
///
/// What is wrong with them, for people: one is missing, of another type, or out of its range.
pub fn fields<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    ciborium::from_reader(body).map_err(|error| match error {
        ciborium::de::Error::Semantic(_, detail) => detail,
        other => other.to_string(),
    })
}

/// Checks a body, and finds the text at the key `"kind"`, if there is one.
pub fn check(body: &[u8]) -> Result<Option<&str>, ProfileError> {
    let mut walk = Walk { body, at: 0 };
    let (major, entries) = walk.head()?;
    if major != MAP {
        return Err(ProfileError::Malformed(0));
    }
    let mut kind = None;
    for _ in 0..entries {
        let key_at = walk.at;
        if walk.key()? != "kind" {
            walk.item(DEPTH_MAX - 1)?;
        } else if kind.replace(walk.text_or_item()?).is_some() {
            return Err(ProfileError::DuplicateKind(key_at));
        }
    }
    if walk.at < body.len() {
        return Err(ProfileError::TrailingBytes(walk.at));
    }
    Ok(kind.flatten())
}

/// A place in a body. Every step takes at least a byte, so that counts which promise more than the body holds
/// end it.
#[derive(Clone, Copy)]
struct Walk<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], ProfileError> {
        let length = usize::try_from(length).map_err(|_| ProfileError::Truncated)?;
        let rest = self.body.get(self.at..).unwrap_or_default();
        let taken = rest.get(..length).ok_or(ProfileError::Truncated)?;
        self.at += length;
        Ok(taken)
    }

    /// An item's major type and its argument: a value, a length or a count.
    fn head(&mut self) -> Result<(u8, u64), ProfileError> {
        let at = self.at;
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        let length = match info {
            0..=23 => return Ok((major, info.into())),
            24..=27 => 1 << (info - 24),
            // 28 to 30 are reserved, 31 is an indefinite length.
            _ => return Err(ProfileError::Malformed(at)),
        };
        if major == SIMPLE && info == 24 {
            return Err(ProfileError::Malformed(at));
        }
        let argument = self.take(length)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        // A floating-point number's bits are no simple value: give them one that is allowed.
        Ok((major, if major == SIMPLE { NULL } else { argument }))
    }

    fn text(&mut self, length: u64) -> Result<&'a str, ProfileError> {
        let at = self.at;
        std::str::from_utf8(self.take(length)?).map_err(|_| ProfileError::NotUtf8(at))
    }

    fn key(&mut self) -> Result<&'a str, ProfileError> {
        let at = self.at;
        match self.head()? {
            (TEXT, length) if length <= KEY_BYTES_MAX => self.text(length),
            _ => Err(ProfileError::Malformed(at)),
        }
    }

    fn text_or_item(&mut self) -> Result<Option<&'a str>, ProfileError> {
        let before = *self;
        if let (TEXT, length) = self.head()? {
            return self.text(length).map(Some);
        }
        *self = before;
        self.item(DEPTH_MAX - 1).map(|()| None)
    }

    /// Any item, which may be nested `depth` deep.
    fn item(&mut self, depth: usize) -> Result<(), ProfileError> {
        let at = self.at;
        match self.head()? {
            (UNSIGNED | NEGATIVE, _) => Ok(()),
            (BYTES, length) => self.take(length).map(|_| ()),
            (TEXT, length) => self.text(length).map(|_| ()),
            (ARRAY | MAP, _) if depth == 0 => Err(ProfileError::TooDeep),
            (ARRAY, count) => (0..count).try_for_each(|_| self.item(depth - 1)),
            (MAP, count) => (0..count).try_for_each(|_| {
                self.key()?;
                self.item(depth - 1)
            }),
            (SIMPLE, FALSE..=NULL) => Ok(()),
            _ => Err(ProfileError::Malformed(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_in_the_profile_give_their_kind() {
        let check = |body: &[u8], kind| assert_eq!(super::check(body), Ok(kind), "{body:x?}");
        check(b"\xa0", None);
        check(b"\xa1\x64kind\x64ping", Some("ping"));
        check(b"\xa1\x64kind\x07", None);
        check(b"\xa2\x61a\xf6\x64kind\x64ping", Some("ping"));
        check(b"\xa2\x64kind\x64ping\x61a\xfb\x40\x09\x21\xfb\x54\x44\x2d\x18", Some("ping"));
        check(b"\xa2\x64kind\x64ping\x61a\x82\xa1\x61b\xf5\x38\xff", Some("ping"));
        check(b"\xa2\x64kind\x64ping\x61a\xf9\x7e\x00", Some("ping"));
    }

    #[test]
    fn bodies_outside_of_it_are_refused() {
        let check = |body: &[u8], error| assert_eq!(super::check(body), Err(error), "{body:x?}");
        check(b"", ProfileError::Truncated);
        check(b"\x80", ProfileError::Malformed(0));
        check(b"\xa1", ProfileError::Truncated);
        check(b"\xa0\x00", ProfileError::TrailingBytes(1));
        check(b"\xbf\xff", ProfileError::Malformed(0));
        check(b"\xa1\x01\x02", ProfileError::Malformed(1));
        check(b"\xa1\x61a\xc1\x00", ProfileError::Malformed(3));
        check(b"\xa1\x61a\xf7", ProfileError::Malformed(3));
        check(b"\xa1\x61a\xf8\x20", ProfileError::Malformed(3));
        check(b"\xa1\x61a\x1c", ProfileError::Malformed(3));
        check(b"\xa1\x61a\x61\xff", ProfileError::NotUtf8(4));
        check(b"\xa1\x61a\x5b\xff\xff\xff\xff\xff\xff\xff\xff", ProfileError::Truncated);
        check(b"\xa1\x61a\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x00", ProfileError::Truncated);
        check(b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", ProfileError::Truncated);
        check(b"\xa2\x64kind\x61a\x64kind\x61a", ProfileError::DuplicateKind(8));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| [b"\xa1\x61a".as_slice(), &vec![0x81; depth - 1], &[0x00]].concat();
        assert_eq!(check(&nested(DEPTH_MAX)), Ok(None));
        assert_eq!(check(&nested(DEPTH_MAX + 1)), Err(ProfileError::TooDeep));
        assert_eq!(check(&nested(60_000)), Err(ProfileError::TooDeep));
    }
}
