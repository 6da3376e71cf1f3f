//! Other people's plug-ins.
//!
//! The sentence of this crate: *the only hosting code.* Each plug-in runs in a process of its own, and a crash costs that
//! plug-in alone.
