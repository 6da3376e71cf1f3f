//! audiocloud Receive: plays a stream beside the track's own input, or in its place.
//!
//! The sentence of this crate: *it plays the stream that the project names, and no other, or silence, and says why.*

pub mod editor;
mod mixer;
pub mod model;
pub mod params;
mod part;
pub mod shared;
mod status;
mod stream_list;

pub use part::ReceivePart;

/// The plug-in.
pub type Receive = audiocloud_instance::guarded::Guarded<ReceivePart>;
