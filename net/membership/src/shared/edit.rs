//! What a member can do to the shared state, and the bounds of each.

use audiocloud_wire::id::StreamKey;
use serde::{Deserialize, Serialize};

/// Names of scenes, presets, chains, keys and scales, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 64;
/// One line of chat, in bytes of UTF-8.
pub const CHAT_BYTES_MAX: usize = 4096;
/// The notes, in bytes of UTF-8.
pub const NOTES_BYTES_MAX: usize = 32 * 1024;
/// One preset.
pub const PRESET_BYTES_MAX: usize = 40 * 1024;
/// Streams, and likewise chains, of one scene.
pub const SCENE_ENTRIES_MAX: usize = 256;
/// Beats per minute; the text of [`EditError::Tempo`] says it too.
pub const TEMPO_BPM: std::ops::RangeInclusive<f64> = 10.0..=1000.0;

const BEATS_MAX: f64 = 1e9;

/// One edit of the shared state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edit {
    /// The musical key, as text: `A minor`.
    Key(String),
    /// The scale, as text: `dorian`.
    Scale(String),
    /// Beats per minute, within [`TEMPO_BPM`].
    Tempo(f64),
    /// The loop range in beats (quarter notes) from the song's start: from, to; or none.
    Loop(Option<(f64, f64)>),
    /// Makes or replaces a scene: which streams and effect chains are on.
    Scene { name: String, streams: Vec<StreamKey>, chains: Vec<String> },
    /// Takes a scene away.
    RemoveScene(String),
    /// Which scene is on; or none.
    ActivateScene(Option<String>),
    /// Makes or replaces an effect chain's preset.
    Preset {
        name: String,
        #[serde(with = "byte_string")]
        bytes: Vec<u8>,
    },
    /// Takes a preset away.
    RemovePreset(String),
    /// A line of chat.
    Chat(String),
    /// The notes as they shall be. What differs from what they are is signed and merged, character by character
    /// with what others write at the same time.
    Notes(String),
}

/// Why an edit cannot be made; nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// A text is longer than it may be.
    #[error("{what} of {bytes} bytes is too long; {bytes_max} are allowed")]
    TooLong { what: &'static str, bytes: usize, bytes_max: usize },
    /// A name is empty.
    #[error("{0} needs a name; give it one of 1 to {NAME_BYTES_MAX} bytes")]
    NoName(&'static str),
    /// Not a tempo.
    #[error("a tempo of {0} bpm cannot be set; choose one from 10 to 1000")]
    Tempo(f64),
    /// Not a range.
    #[error("a loop from beat {0} to beat {1} cannot be set; its end must come after its start")]
    Loop(f64, f64),
    /// More entries than a scene has.
    #[error("a scene of {0} streams or chains is too large; {SCENE_ENTRIES_MAX} of each are allowed")]
    Scene(usize),
    /// The state is so already: an edit would only take room.
    #[error("it is so already; nothing was changed")]
    Unchanged,
    /// More stretches of the notes are to go than one change can name.
    #[error("too many separate pieces of the notes are replaced at once; make it in smaller parts")]
    Scattered,
    /// The change is larger than a change can be.
    #[error(
        "the edit takes {bytes} bytes, more than a change of the session can have; make it in smaller parts"
    )]
    TooLarge { bytes: usize },
    /// The session has taken as many edits as it can.
    #[error(
        "the session's shared state is full ({bytes} bytes of edits); found a new session to go on editing"
    )]
    Full { bytes: usize },
}

impl Edit {
    /// Whether each part is within its bounds.
    pub(crate) fn check(&self) -> Result<(), EditError> {
        match self {
            Self::Key(text) => longest("a key", text, NAME_BYTES_MAX),
            Self::Scale(text) => longest("a scale", text, NAME_BYTES_MAX),
            Self::Tempo(bpm) if TEMPO_BPM.contains(bpm) => Ok(()),
            Self::Tempo(bpm) => Err(EditError::Tempo(*bpm)),
            Self::Loop(None) | Self::ActivateScene(None) => Ok(()),
            // Not a number is in no order, and so refused as well.
            Self::Loop(Some((from, to))) if from < to && *from >= -BEATS_MAX && *to <= BEATS_MAX => Ok(()),
            Self::Loop(Some((from, to))) => Err(EditError::Loop(*from, *to)),
            Self::Scene { name, streams, chains } => {
                let entries = streams.len().max(chains.len());
                if entries > SCENE_ENTRIES_MAX {
                    return Err(EditError::Scene(entries));
                }
                chains.iter().try_for_each(|chain| named("a chain", chain))?;
                named("a scene", name)
            }
            Self::RemoveScene(name) | Self::ActivateScene(Some(name)) => named("a scene", name),
            Self::Preset { name, bytes } if bytes.len() <= PRESET_BYTES_MAX => named("a preset", name),
            Self::Preset { bytes, .. } => {
                Err(EditError::TooLong { what: "a preset", bytes: bytes.len(), bytes_max: PRESET_BYTES_MAX })
            }
            Self::RemovePreset(name) => named("a preset", name),
            Self::Chat(text) => longest("a line of chat", text, CHAT_BYTES_MAX),
            Self::Notes(text) => longest("a text of notes", text, NOTES_BYTES_MAX),
        }
    }
}

fn named(what: &'static str, name: &str) -> Result<(), EditError> {
    if name.is_empty() { Err(EditError::NoName(what)) } else { longest(what, name, NAME_BYTES_MAX) }
}

fn longest(what: &'static str, text: &str, bytes_max: usize) -> Result<(), EditError> {
    let bytes = text.len();
    if bytes <= bytes_max { Ok(()) } else { Err(EditError::TooLong { what, bytes, bytes_max }) }
}

/// A CBOR byte string, which serde would write as a list of numbers, at twice the size.
mod byte_string {
    use std::fmt;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a byte string")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_byte_buf(Bytes)
    }
}
