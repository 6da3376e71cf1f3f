//! What Receive's window shows, and what can be asked of it: plain data, no window, no network.

use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::state::StreamRef;
use audiocloud_instance::status::Status;

/// The stream that this Receive is bound to, as kept in the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub stream: StreamRef,
    /// The stream's present name where it is reachable, else the name it had when it was picked.
    pub name: String,
    /// The publisher's name, or the fingerprint of its device when it is not reachable.
    pub publisher: String,
}

/// A stream that can be picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub stream: StreamRef,
    pub name: String,
    /// The publisher's name.
    pub publisher: String,
    /// Rate, layout and codec in words.
    pub format: String,
    /// Why it could not be played here, as another sample rate; empty when it can. It may be picked all the same.
    pub objection: String,
}

/// One frame's worth of what Receive's window shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub bound: Option<Bound>,
    /// Every reachable stream, ordered by name.
    pub choices: Vec<Choice>,
    /// What is going on, with cause and remedy.
    pub status: Status,
    /// From a sample's arrival in Send's callback to its leaving this one's, milliseconds, while something is playing:
    /// half of the network's round trip, and the time from the packet's arrival.
    pub latency_ms: Option<f64>,
    /// Fingerprint of this device, for support.
    pub identity: String,
    /// The playout delay in force, milliseconds.
    pub delay_ms: f64,
    /// Peak of the most recent block of the stream per channel, linear; one per channel.
    pub peaks: Vec<f32>,
    /// Frames that were due and had not come, since the stream began.
    pub missing_frames: u64,
    /// Blocks that came after they were due.
    pub late_blocks: u64,
    /// Counters and facts beyond the above, each with its owner, in the order they are to be read.
    pub details: Vec<Detail>,
    /// As in Send's model: differs from the last frame when the project should be marked as changed.
    pub revision: u64,
}

/// What the user can ask of Receive, besides its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Play this stream from now on.
    Bind { stream: StreamRef, name: String },
    /// Play none.
    Unbind,
}
