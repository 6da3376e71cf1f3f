//! The patch bay: what plays what, and the wish that something else be played.

use serde::{Deserialize, Serialize};

use super::{codes, list};
use crate::id::{InputId, SessionId, StreamKey};
use crate::message::Text;

/// The most inputs of one process that are told.
pub const INPUTS_MAX: usize = 64;
/// The most streams that one input is told to play.
pub const PLAYING_MAX: usize = 64;

codes! {
    /// What a stream is for.
    Purpose {
        /// To be played and recorded.
        Play = "play",
        /// To be heard by people while they work, and never part of what is recorded.
        TalkBack = "talk-back",
    }
}

#[allow(clippy::derivable_impls, reason = "the macro's variants take no attributes of their own")]
impl Default for Purpose {
    fn default() -> Self {
        Self::Play
    }
}

impl Purpose {
    /// Whether it is the one that goes without saying.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    pub(crate) fn is_play(&self) -> bool {
        *self == Self::Play
    }
}

/// All that plays streams at the peer and may be seen, in place of those of any earlier such message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// At most [`INPUTS_MAX`].
    #[serde(deserialize_with = "list::at_most::<INPUTS_MAX, _, _>")]
    pub inputs: Vec<Input>,
}

/// Something that plays streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Which.
    pub input: InputId,
    /// What its user calls it.
    pub name: Text,
    /// The session that it plays streams of, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// What it plays now: at most [`PLAYING_MAX`].
    #[serde(deserialize_with = "list::at_most::<PLAYING_MAX, _, _>")]
    pub playing: Vec<StreamKey>,
    /// Whether others with the right may choose what it plays.
    pub open: bool,
}

/// Asks that an input of the peer plays a stream, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// Which input.
    pub input: InputId,
    /// Which stream.
    pub stream: StreamKey,
    /// Whether it is to be played.
    pub on: bool,
}

/// A [`Patch`] that is not followed. One that is shows in the peer's next [`Inputs`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchRefused {
    /// Which input.
    pub input: InputId,
    /// Which stream.
    pub stream: StreamKey,
    /// Why, for people.
    pub text: Text,
}
