//! What all audiocloud plug-ins share: guard, state, status, parameters, and the way between host and engine.
//!
//! The sentence of this crate: *everything that two plug-ins would do alike is done here, once.* It never opens a
//! socket or writes a file by itself, and never before the host activates a plug-in.

pub mod editor;
pub mod engine;
pub mod events;
pub mod feedback;
pub mod guard;
pub mod guarded;
pub mod layouts;
pub mod log;
pub mod params;
mod pin;
pub mod scratch;
pub mod session;
pub mod sessions;
pub mod state;
pub mod status;
pub mod time;
pub mod transport;
