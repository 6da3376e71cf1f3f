//! A beat map as MIDI: which bytes when.
//!
//! One sentence: **no I/O: a timeline and an instant in, messages and when each is to leave out.**
//!
//! - [`clock`]: 24 clocks a quarter note, song position, start, stop and continue (MIDI 1.0, *System Real Time* and *System
//!   Common* messages).
//! - [`timecode`]: quarter frames and full frames of MIDI Time Code (MMA RP-004/008).
//! - [`sender`]: both, in the order of time.
//! - [`message`]: their bytes.
//!
//! Every instant is computed from the map itself, never from the message before, so nothing adds up: after ten minutes a
//! clock is where the map has its beat. It will never open a port or read a clock.

#![forbid(unsafe_code)]

pub mod clock;
pub mod message;
pub mod sender;
pub mod timecode;

mod song_time;

pub use message::Message;
pub use sender::{Event, Sender, Settings};
pub use timecode::FrameRate;
