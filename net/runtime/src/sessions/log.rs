//! Who did what in this user's sessions.

use audiocloud_wire::id::{SessionId, UserId};
use serde::{Deserialize, Serialize};

/// How many lines the log keeps.
pub const LOG_LINES_MAX: u64 = 10_000;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// In which session; none: in no session.
    pub session: Option<SessionId>,
    /// What was done.
    pub act: Act,
    /// By whom, where it is known.
    pub who: Option<UserId>,
    /// For people: a sentence.
    pub text: String,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Act {
    /// A session was founded.
    Created,
    /// A link or a ticket was made.
    Invited,
    /// Somebody became a member.
    Joined,
    /// Somebody left.
    Left,
    /// Somebody was put out.
    Revoked,
    /// Somebody was not let in, or something of theirs not taken.
    Refused,
    /// A stranger was accepted.
    Accepted,
    /// An accepted stranger was forgotten.
    Forgotten,
    /// The shared state was edited.
    Edited,
    /// Somebody rewired what is heard.
    Patched,
    /// Something was allowed to somebody.
    Allowed,
    /// Something was denied to somebody.
    Denied,
}
