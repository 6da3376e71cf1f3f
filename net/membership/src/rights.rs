//! What a member may do: as data, as text of the command line, and in words.

use std::fmt;
use std::str::FromStr;

use audiocloud_wire::id::StreamKey;

/// The most streams or names that a right lists.
pub const LIST_MAX: usize = 16;
/// The longest name of a chain or track in a right, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// How much a member may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Streams at the same time.
    pub streams: u16,
    /// Channels of each of them.
    pub channels: u16,
}

/// What a member may hear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Subscribe {
    /// Nothing.
    #[default]
    None,
    /// Every stream of the session.
    All,
    /// These streams; at most [`LIST_MAX`].
    Only(Vec<StreamKey>),
}

/// Which effects of others a member may control.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Control {
    /// None.
    #[default]
    None,
    /// Each that its owner lets be controlled.
    All,
    /// Chains or tracks of these names; at most [`LIST_MAX`], each of at most [`NAME_BYTES_MAX`].
    Only(Vec<String>),
}

/// What a member may do. To join is no right of its own: every ticket that holds lets its holder in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Publish streams.
    pub publish: Option<Publish>,
    /// Hear streams.
    pub subscribe: Subscribe,
    /// Host effects for others.
    pub host: bool,
    /// Control effects of others.
    pub control: Control,
    /// Lead the clock.
    pub lead: bool,
    /// Let others in, with at most the own rights.
    pub invite: bool,
    /// Put others out.
    pub revoke: bool,
    /// Change the shared state.
    pub edit: bool,
}

/// Something that needs a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Be in the session.
    Join,
    /// Publish a stream.
    Publish {
        /// Streams of this member, with this one.
        streams: u16,
        /// Its channels.
        channels: u16,
    },
    /// Hear this stream.
    Subscribe(&'a StreamKey),
    /// Host effects.
    Host,
    /// Control the chain or track of this name.
    Control(&'a str),
    /// Lead the clock.
    Lead,
    /// Let somebody in.
    Invite,
    /// Put somebody out.
    Revoke,
    /// Change the shared state.
    Edit,
}

/// Text that names no rights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseRightsError(pub(crate) String);

impl Rights {
    /// All that there is.
    pub fn everything() -> Self {
        Self::default()
    }

    /// What somebody needs who plays along: all but to host effects and to put others out.
    pub fn musician() -> Self {
        Self::default()
    }

    /// To hear every stream, and nothing else.
    pub fn listener() -> Self {
        Self { subscribe: Subscribe::All, ..Self::default() }
    }

    /// What both allow.
    pub fn and(&self, _other: &Self) -> Self {
        Self::default()
    }

    /// Whether they allow it.
    pub fn allow(&self, _operation: &Operation<'_>) -> bool {
        false
    }

    /// For people: "publish up to 2 streams of 8 channels, hear all streams, edit".
    pub fn words(&self) -> String {
        String::new()
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words())
    }
}

impl FromStr for Rights {
    type Err = ParseRightsError;

    fn from_str(text: &str) -> Result<Self, ParseRightsError> {
        Err(ParseRightsError(text.to_owned()))
    }
}
