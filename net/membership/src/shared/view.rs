//! The shared state as people see it: each value with who wrote it, and when.

use std::collections::{BTreeMap, VecDeque};

use audiocloud_wire::id::{StreamKey, UserId};
use serde::Serialize;

/// A value, who wrote it, and when by their clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written<T> {
    /// What was written.
    pub value: T,
    /// The member who wrote it.
    pub by: UserId,
    /// Milliseconds since 1970 by the writer's clock, which may be wrong.
    pub at_ms: u64,
}

/// Which streams and effect chains are on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scene {
    /// Streams that are heard.
    pub streams: Vec<StreamKey>,
    /// Effect chains that are on, by name.
    pub chains: Vec<String>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct View {
    /// The musical key.
    pub key: Option<Written<String>>,
    /// The scale.
    pub scale: Option<Written<String>>,
    /// Beats per minute.
    pub tempo_bpm: Option<Written<f64>>,
    /// From and to, in beats (quarter notes); or that there is no loop.
    pub loop_beats: Option<Written<Option<(f64, f64)>>>,
    /// By name.
    pub scenes: BTreeMap<String, Written<Scene>>,
    /// The scene that is on, also when it has been taken away since.
    pub active_scene: Option<Written<Option<String>>>,
    /// By name: the bytes that the effect host gave.
    pub presets: BTreeMap<String, Written<Vec<u8>>>,
    /// The last [`super::CHAT_LINES_MAX`] lines; an answer never stands before what it answers.
    pub chat: VecDeque<Written<String>>,
    /// The notes, merged of what all wrote.
    pub notes: String,
    /// Who wrote in the notes last.
    pub notes_by: Option<Written<()>>,
    /// How many changes are of a kind that this version does not know: a newer audiocloud shows them.
    pub unknown: usize,
}
