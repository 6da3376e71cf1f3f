//! The façade of everything that leaves the machine: plug-ins and nodes reach the network through these names alone.
//!
//! The sentence: **no DSP.** It adds nothing of its own and never will.

pub use audiocloud_clock as clock;
pub use audiocloud_membership as membership;
pub use audiocloud_runtime as runtime;
pub use audiocloud_session as session;
pub use audiocloud_wire as wire;
