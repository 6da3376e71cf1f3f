//! What runs in, or for, the audio callback: the façade of the engine's crates.
//!
//! The sentence of this crate: *no sockets, no async.* Plug-ins see the engine through here alone.
//! It holds no code of its own.

pub use audiocloud_chain as chain;
pub use audiocloud_dsp as dsp;
pub use audiocloud_effects as effects;
pub use audiocloud_graph as graph;
pub use audiocloud_host as host;
pub use audiocloud_rt as rt;
pub use audiocloud_stream as stream;
pub use audiocloud_units as units;
