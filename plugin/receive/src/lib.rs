//! audiocloud Receive: plays a stream beside the track's own input, or in its place.
//!
//! The sentence of this crate: *it plays the stream that the project names, and no other, or silence, and says why.*

pub mod editor;
mod graph;
mod merge;
pub mod model;
pub mod params;
mod part;
pub mod shared;
mod status;
mod stream_list;

pub use part::ReceivePart;

/// The plug-in, as CLAP.
pub type Receive = audiocloud_instance::guarded::Guarded<ReceivePart>;

/// The plug-in, as VST3: without the output for the stream by itself. A host may leave a second output inactive, as
/// pedalboard does, and nice-plug then calls `process` no more, not even for the main output.
pub type ReceiveVst3 = audiocloud_instance::guarded::Guarded<ReceivePart<false>>;
