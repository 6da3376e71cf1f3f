//! Ways from peer to peer through whatever lies between: introductions, probes, relays.
//!
//! One sentence: **no I/O: bytes and time in, actions out.** What a rendezvous node, a relay and their clients say to
//! each other, and when which way is taken; the sockets are the runtime's. Written down for other languages in
//! `net/wire/spec/traversal.md`.
//!
//! - [`frame`]: datagrams of ours beside QUIC's on one socket: probes, and what a relay forwards.
//! - [`probe`]: how probes are sealed, so that nobody else opens a way.
//! - [`meeting`]: messages between a rendezvous node and its clients.
//! - [`server`]: the node's side: who is introduced to whom, and what is forwarded.
//! - [`ways`]: a peer's side: all ways to one other peer, which are open, and which is taken.
//!
//! It will never open a socket, read a clock, draw a random number, or learn what the packets that it sends around
//! mean: they are sealed by QUIC, end to end.

#![forbid(unsafe_code)]

pub mod address;
pub mod frame;
pub mod meeting;
pub mod probe;
pub mod server;
pub mod ways;
