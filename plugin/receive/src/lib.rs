//! audiocloud Receive: plays a stream, a person's streams, or a whole session beside the track's own input, or in its
//! place.
//!
//! The sentence of this crate: *it plays what the project names, and nothing else, or silence, and says why.*

mod bars;
pub mod editor;
mod figures;
mod follower;
mod graph;
mod latency;
mod member;
mod merge;
mod missing;
mod mixer;
pub mod model;
mod overview;
pub mod params;
mod part;
mod planner;
mod playout_panel;
mod rewiring;
mod roster;
mod score;
mod settings;
pub mod shared;
mod status;
mod stream_list;
mod strip;
mod timing;

pub use part::ReceivePart;

/// The plug-in, as CLAP.
pub type Receive = audiocloud_instance::guarded::Guarded<ReceivePart>;

/// The plug-in, as VST3: without the output for the stream by itself. A host may leave a second output inactive, as
/// pedalboard does, and nice-plug then calls `process` no more, not even for the main output.
pub type ReceiveVst3 = audiocloud_instance::guarded::Guarded<ReceivePart<false>>;
