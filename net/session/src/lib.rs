//! Streams between peers: what is sent to whom, and what is made of what comes.
//!
//! The sentence of this crate: *no I/O: bytes and time in, actions out.*

pub mod budget;
pub mod convert;
pub mod receiver;
pub mod remote;
pub mod sender;
