//! What Clock's window shows, and what can be asked of it: plain data, no window, no network.

use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::sessions;
use audiocloud_instance::state::Bridges;
use audiocloud_instance::status::Status;

pub use crate::hand::Command;
pub use crate::pilot::Difference;

/// Where the session's music is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    /// From 1, as people count; in a count-in below that.
    pub bar: i64,
    /// Of the bar, from 1.
    pub beat: u8,
    /// Quarter notes a minute.
    pub bpm: f64,
    /// Beats of a bar, and which part of a whole note each is.
    pub meter: (u8, u8),
    pub is_playing: bool,
}

/// Where a bridge stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeLine {
    pub name: &'static str,
    /// In words.
    pub words: String,
    /// What keeps it from working, and the remedy; empty: nothing.
    pub trouble: String,
}

/// One frame's worth of what Clock's window shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// What is going on, with cause and remedy.
    pub status: Status,
    /// None: there is no beat yet.
    pub place: Option<Place>,
    /// This host against everybody, while both play.
    pub difference: Option<Difference>,
    /// The error of the shared time at most, ms.
    pub bound_ms: Option<f64>,
    /// Something that was asked for waits for its bar.
    pub is_waiting: bool,
    /// It can be started, stopped and changed here.
    pub has_hand: bool,
    /// What the project wants.
    pub bridges: Bridges,
    /// How that fares.
    pub bridge_lines: Vec<BridgeLine>,
    /// Fingerprint of this device, for support.
    pub identity: String,
    pub session: sessions::Model,
    /// Facts, in the order they are to be read.
    pub details: Vec<Detail>,
    /// As in Send's model: differs from the last frame when the project should be marked as changed.
    pub revision: u64,
}

/// What the user can ask of Clock, besides its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Of the session's music.
    Command(Command),
    /// Bring the beat there.
    SetBridges(Bridges),
    /// Something about sessions.
    Session(sessions::Act),
}
