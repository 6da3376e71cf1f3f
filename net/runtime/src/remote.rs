//! Chains of effects that run on another machine: the plug-in's side, which has the sound, and the node's, which has the
//! processor.
//!
//! A plug-in opens a [`Remote`] with the ends of its rings, and a node is served by whoever gives a [`Host`] to
//! [`crate::Handle::serve`]. Between them the network thread carries blocks there and back by their frames' numbers
//! (`audiocloud_session::remote`), finds a node, keeps to it while it works, and goes to the next one when it does not.
//!
//! - **Live**: datagrams. While no node has opened the chain, blocks are taken and thrown away; what is lost is asked for
//!   again while there is patience.
//! - **Exact**: a QUIC stream of the chain's own, and nothing is thrown away: a full ring waits for room, at both ends.
//!
//! The document of a chain is opaque here. Its owner is the plug-in; others propose edits.

pub use api::{
    Arrived, ChainKey, DOCUMENT_BYTES_MAX, EDIT_BYTES_MAX, NodeChoice, PlugEnds, Proposal, Remote,
    RemoteConfig, Transfer,
};
pub use host::{Capacity, Host, NodeEnds, OpenRequest, ServedChain, Serving, Who};
pub use status::{ChainStatus, NodeStatus, RemoteFigures, RemoteState, RemoteStatus, ServedStatus};

pub(crate) mod api;
mod automation;
pub(crate) mod carry;
pub(crate) mod chain_thread;
pub(crate) mod choice;
pub(crate) mod end;
mod handle;
pub(crate) mod host;
pub(crate) mod opening;
pub(crate) mod order;
mod rounds;
pub(crate) mod serving;
pub(crate) mod status;
