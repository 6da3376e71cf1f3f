//! What Send's window shows, and what can be asked of it: plain data, no window, no network.

use audiocloud_instance::editor::details::Detail;
use audiocloud_instance::sessions;
use audiocloud_instance::status::Status;

use crate::quality::Highest;

/// One frame's worth of what Send's window shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The stream's name, as others see it; kept in the project.
    pub name: String,
    /// What is going on, with cause and remedy.
    pub status: Status,
    /// How many receivers are listening now.
    pub subscribers: usize,
    /// Rate, layout and codec in words, as "48 kHz, 2 channels, 32-bit float"; empty before the first activation.
    pub format: String,
    /// The best that listeners can have; kept in the project.
    pub highest: Highest,
    /// Peak of the most recent block per channel, linear, 1.0 is full scale; one per channel. The window adds hold
    /// and fall.
    pub peaks: Vec<f32>,
    /// How far the host runs ahead of real time, in milliseconds; about one block is usual.
    pub ahead_ms: f64,
    /// Fingerprint of this device and the stream's id in hexadecimal, for support.
    pub identity: String,
    /// Who listens in other processes, a line each.
    pub listeners: Vec<Detail>,
    /// The session that the stream is for.
    pub session: sessions::Model,
    /// The stream is for talking: never part of what plays a person or a session.
    pub is_talk_back: bool,
    /// Counters and facts beyond the above, each with its owner, in the order they are to be read.
    pub details: Vec<Detail>,
    /// The state in the project changed without the host's knowing: the window adds one to the hidden parameter
    /// `revision` when this differs from what it last saw, which marks the project as changed.
    pub revision: u64,
}

/// What the user can ask of Send, besides its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Name the stream.
    SetName(String),
    /// Offer nothing better from now on; the stream begins anew.
    SetHighest(Highest),
    /// Make it a stream for talking, or one for mixes again; the stream begins anew.
    SetTalkBack(bool),
    /// Something about sessions.
    Session(sessions::Act),
}
