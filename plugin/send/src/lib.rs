//! audiocloud Send: publishes the audio and the notes of a track, and passes both through.
//!
//! The sentence of this crate: *what comes in goes out, bit for bit, whatever the network does.*

pub mod editor;
mod listeners;
pub mod model;
pub mod params;
mod part;
pub mod quality;
pub mod shared;
mod status;

pub use part::SendPart;

/// The plug-in, as CLAP.
pub type Send = audiocloud_instance::guarded::Guarded<SendPart>;

/// The plug-in, as VST3: without the widest layout, for which nice-plug's VST3 has no arrangement.
pub type SendVst3 = audiocloud_instance::guarded::Guarded<SendPart<false>>;
