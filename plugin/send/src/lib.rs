//! audiocloud Send: publishes the audio and the notes of a track, and passes both through.
//!
//! The sentence of this crate: *what comes in goes out, bit for bit, whatever the network does.*

pub mod editor;
pub mod model;
pub mod params;
mod part;
pub mod shared;
mod status;

pub use part::SendPart;

/// The plug-in.
pub type Send = audiocloud_instance::guarded::Guarded<SendPart>;
