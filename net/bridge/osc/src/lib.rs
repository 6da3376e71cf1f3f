//! What a DAW that takes orders is told, so that it plays along with a beat map.
//!
//! One sentence: **no I/O: a timeline and an instant in, orders and their bytes out.**
//!
//! - [`conductor`]: what it is told and when: tempo, place, play, stop.
//! - [`message`]: Open Sound Control 1.0, as far as it is sent.
//! - [`reaper`]: orders as REAPER's documented messages (`Default.ReaperOSC`).
//! - [`ardour`]: orders as Ardour's OSC, and as nodes of its WebSocket surface, which it also answers with.
//!
//! Such a DAW keeps its own time between orders, by its own sound card. It will never open a socket.

#![forbid(unsafe_code)]

pub mod ardour;
pub mod conductor;
pub mod message;
pub mod reaper;
