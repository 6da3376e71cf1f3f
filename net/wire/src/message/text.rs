//! Text from and for people: short, and on one line.

use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// The longest text, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 256;

/// UTF-8 of at most [`TEXT_BYTES_MAX`] bytes, without control characters: it fits a message, and a line of a
/// log.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Box<str>);

/// Text that is too long, or has control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text of more than {TEXT_BYTES_MAX} bytes or with control characters")]
pub struct TextError;

impl Text {
    /// `text`, cut to the bytes that fit at the end of a character; control characters become spaces.
    pub fn new(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        let mut kept = String::with_capacity(text.len());
        for character in text.chars() {
            // Those beyond ASCII (U+0080 to U+009F) take two bytes, a space one: it can only become shorter.
            kept.push(if character.is_control() { ' ' } else { character });
        }
        Self(kept.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Text {
    type Error = TextError;

    /// `text`, unless it would have to be changed.
    fn try_from(text: &str) -> Result<Self, TextError> {
        if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(TextError);
        }
        Ok(Self(text.into()))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0.into()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "text of at most {TEXT_BYTES_MAX} bytes without control characters")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                Text::try_from(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_a_character_and_kept_on_one_line() {
        let check = |text: &str, expected: &str| assert_eq!(Text::new(text).as_str(), expected);
        check("Bass DI", "Bass DI");
        check("one\ntwo\u{7f}three\u{85}four", "one two three four");
        check(&"a".repeat(300), &"a".repeat(256));
        check(&"ü".repeat(200), &"ü".repeat(128));
        check(&"€".repeat(200), &"€".repeat(85));
    }

    #[test]
    fn text_of_a_peer_is_taken_whole_or_refused() {
        let check = |text: &str, good: bool| assert_eq!(Text::try_from(text).is_ok(), good, "{text:?}");
        check("", true);
        check("Gitarre, Öl & 音", true);
        check(&"a".repeat(256), true);
        check(&"a".repeat(257), false);
        check("ends\u{1b}[0m", false);
        check("two\nlines", false);
    }
}
