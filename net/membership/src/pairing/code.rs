//! The code that one person says to another.

use std::fmt;
use std::str::FromStr;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::words::WORDS;
use crate::key::NoRandomness;

/// The greatest number of a slot.
pub const SLOT_MAX: u16 = 999;
/// Words of a code: of 512 each, 36 bits.
const CODE_WORDS: usize = 4;
/// The longest text that is looked at.
const CODE_BYTES_MAX: usize = 128;

/// A code such as `42-guitar-ocean-lamp-tango`: the number names where the two meet and is no secret, the words are
/// one, 36 bits of it, for one try.
///
/// It cannot be copied: who begins a pairing uses it up.
#[derive(PartialEq, Eq)]
pub struct Code {
    slot: u16,
    text: Zeroizing<String>,
}

/// Text that is no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCodeError {
    /// Not a number and four words.
    #[error(
        "a code is a number and {CODE_WORDS} words, such as 42-guitar-ocean-lamp-tango; ask for it again"
    )]
    Shape,
    /// A word that is in no code.
    #[error("`{0}` is in no code; listen again, or ask how it is written")]
    UnknownWord(String),
}

impl Code {
    /// A new code for that slot; greater numbers than [`SLOT_MAX`] begin again from 0.
    ///
    /// # Errors
    /// [`NoRandomness`] where the system gives none.
    pub fn generate(slot: u16) -> Result<Self, NoRandomness> {
        let mut random = Zeroizing::new([0; 2 * CODE_WORDS]);
        SystemRandom::new().fill(random.as_mut_slice()).map_err(|_| NoRandomness)?;
        let words = random.as_chunks().0.iter().map(|two| {
            // 512 divides what two bytes hold: every word is as likely.
            WORDS[usize::from(u16::from_be_bytes(*two)) % WORDS.len()]
        });
        Ok(Self::new(slot % (SLOT_MAX + 1), words))
    }

    fn new<'a>(slot: u16, words: impl Iterator<Item = &'a str>) -> Self {
        // As long as it gets from the start, so that it is never moved and left behind.
        let mut text = Zeroizing::new(String::with_capacity(CODE_BYTES_MAX));
        text.push_str(&slot.to_string());
        for word in words {
            text.push('-');
            text.push_str(word);
        }
        Self { slot, text }
    }

    /// Where they meet: known to all.
    pub fn slot(&self) -> u16 {
        self.slot
    }

    /// All of it, as it is said.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}-…)", self.slot)
    }
}

impl fmt::Display for Code {
    /// With its secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Code {
    type Err = ParseCodeError;

    /// In capitals or not, with blanks or hyphens.
    fn from_str(text: &str) -> Result<Self, ParseCodeError> {
        if text.len() > CODE_BYTES_MAX {
            return Err(ParseCodeError::Shape);
        }
        let text = Zeroizing::new(text.to_lowercase());
        let mut parts = text.split(|c: char| c == '-' || c.is_whitespace()).filter(|part| !part.is_empty());
        let slot = parts.next().and_then(|number| number.parse().ok()).filter(|slot| *slot <= SLOT_MAX);
        let slot = slot.ok_or(ParseCodeError::Shape)?;
        let words: Vec<&str> = parts.collect();
        if words.len() != CODE_WORDS {
            return Err(ParseCodeError::Shape);
        }
        match words.iter().find(|word| WORDS.binary_search(word).is_err()) {
            Some(unknown) => Err(ParseCodeError::UnknownWord((*unknown).to_owned())),
            None => Ok(Self::new(slot, words.into_iter())),
        }
    }
}
