//! audiocloud Clock: one tempo, bar and beat for every studio of a session.
//!
//! The sentence of this crate: *what is heard here is where the session's beat says, to the sample.* A Clock *leads*, and then
//! its host's transport is everybody's, or it *follows*, and brings the session's beat to this studio: by a metronome in its
//! callback, and by what DAWs listen to. It cannot set its host's transport: no plug-in can.
//!
//! - [`frame_times`]: which session time a frame is heard at.
//! - [`metronome`]: clicks at those times.
//! - `host_model`, `lead`, `hand`: what the host does, what becomes of it for everybody, and what is asked for by hand.
//! - `pilot`, `worker`: all of that, beside the callbacks.

pub mod editor;
pub mod frame_times;
mod hand;
mod host_model;
mod lead;
pub mod metronome;
pub mod model;
mod observation;
pub mod params;
mod part;
mod pilot;
mod plan;
pub mod shared;
mod status;
#[cfg(test)]
mod studio;
mod worker;

pub use part::ClockPart;

/// The plug-in, as CLAP and as VST3.
pub type Clock = audiocloud_instance::guarded::Guarded<ClockPart>;
