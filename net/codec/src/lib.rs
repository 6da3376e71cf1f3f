//! Samples as fewer bytes, and packets that outlive the loss of some.
//!
//! [`pack`] writes the samples of a PCM packet shorter and gives them back bit for bit; [`opus`] writes them
//! much shorter and gives back what sounds like them; [`repair`] adds packets from which lost ones are
//! computed.
//!
//! The sentence of this crate: *it turns samples and packets into others, and knows neither sockets nor time.*

pub mod opus;
pub mod pack;
pub mod repair;
