//! Samples as fewer bytes, and packets that outlive the loss of some.
//!
//! The sentence of this crate: *it turns samples and packets into others, and knows neither sockets nor time.*
