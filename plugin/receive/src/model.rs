//! What Receive's window shows, and what can be asked of it: plain data, no window, no network.

use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::sessions;
use audiocloud_instance::state::{Fader, FaderKey, PersonRef, Selection, StreamRef};
use audiocloud_instance::status::{Severity, Status};

/// A stream that can be picked, or is played.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    pub stream: StreamRef,
    pub name: String,
    /// The publisher's name, or the fingerprint of its device when it is not reachable.
    pub publisher: String,
    /// Rate, layout and codec in words; empty when it is not in reach.
    pub format: String,
    /// Why it could not be played here; empty when it can. It may be picked all the same.
    pub objection: String,
    /// Published in this very process.
    pub is_local: bool,
    /// How it fares, where it is played.
    pub playing: Option<Playing>,
}

/// A stream that is played.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Playing {
    pub severity: Severity,
    /// What is to be said of it.
    pub sentence: String,
    /// Peak of the most recent block per channel, linear, before the fader.
    pub peaks: Vec<f32>,
    pub fader: Fader,
    /// The output of its own; none: it is in the mix.
    pub output: Option<u8>,
}

/// Somebody, and what they publish.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    pub person: PersonRef,
    pub name: String,
    /// Above the faders of their tracks.
    pub fader: Fader,
    pub tracks: Vec<Track>,
}

/// One frame's worth of what Receive's window shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub selection: Selection,
    /// Everybody with a stream in reach or in the project.
    pub people: Vec<Person>,
    /// What is going on, with cause and remedy.
    pub status: Status,
    /// From a sample's arrival in Send's callback to its leaving this one's, milliseconds, while something is playing:
    /// half of the network's round trip, and the time from the packet's arrival. The longest of all streams.
    pub latency_ms: Option<f64>,
    /// What it is made of, in the order of the way, milliseconds.
    pub waterfall: Vec<(&'static str, f64)>,
    /// What the engine chose for the budget, in words; empty without one.
    pub plan: String,
    /// Fingerprint of this device, for support.
    pub identity: String,
    /// Peak of the most recent block of the mix per channel, linear; one per channel.
    pub peaks: Vec<f32>,
    /// The session that the project belongs to.
    pub session: sessions::Model,
    /// What this Receive is called in the patch bay; empty where nobody named it.
    pub input_name: String,
    /// Others may choose what is played.
    pub is_open: bool,
    /// Counters and facts, each with its owner, in the order they are to be read.
    pub details: Vec<Detail>,
    /// Whether streams can have outputs of their own.
    pub has_outputs: bool,
    /// As in Send's model: differs from the last frame when the project should be marked as changed.
    pub revision: u64,
}

/// What the user can ask of Receive, besides its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Play this from now on; what it is called.
    Select(Selection, String),
    /// Move a fader.
    Fade(FaderKey, Fader),
    /// Call this Receive so in the patch bay.
    SetInputName(String),
    /// Let others choose what is played, or no longer.
    SetOpen(bool),
    /// Something about sessions.
    Session(sessions::Act),
}

impl Model {
    /// Every stream with its person.
    pub fn tracks(&self) -> impl Iterator<Item = (&Person, &Track)> {
        self.people.iter().flat_map(|person| person.tracks.iter().map(move |track| (person, track)))
    }
}
