//! audiocloud Remote FX: a chain of effects that runs in another room, as an insert.
//!
//! The sentence of this crate: *the answer to frame n is heard at frame n + D, wherever it was made.* The chain belongs to
//! the plug-in, which keeps it in the host's project; a node plays it, and so does the plug-in itself where that is wanted
//! (*Run here*), by the same engine, at the same latency, bit for bit.
//!
//! - [`project`]: the chain, its slots, and what the host's parameters have to do with it.
//! - `part`, `player`, `automation`, `patience`: the callbacks.
//! - `shared`, `link`, `worker`: beside them: the way to a node, edits, the status.

mod automation;
pub mod delay;
pub mod editor;
mod link;
pub mod model;
pub mod params;
mod part;
mod patience;
mod player;
pub mod project;
pub mod shared;
mod status;
mod worker;

pub use part::RemoteFxPart;

/// The plug-in, as CLAP.
pub type RemoteFx = audiocloud_instance::guarded::Guarded<RemoteFxPart>;

/// The plug-in, as VST3: without the side-chain.
pub type RemoteFxVst3 = audiocloud_instance::guarded::Guarded<RemoteFxPart<false>>;
