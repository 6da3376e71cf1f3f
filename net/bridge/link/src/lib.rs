//! Tempo Link, as a peer of it, and as the far side of a beat map.
//!
//! One sentence: **bytes and time in, actions and edits out.** An independent implementation, made from packets of running
//! peers and published descriptions (F. Goltz, *Ableton Link – A technology to synchronize music software*, LAC 2018);
//! nothing of the reference implementation was read.
//!
//! - [`wire`]: the datagrams: who is there and what they play, and the round trips by which their time is measured.
//! - [`timeline`]: tempo and beats on Link's time; [`measurement`]: that time over this machine's.
//! - [`node`]: a peer: finds others, joins the oldest session, adopts and announces tempo, start and stop.
//! - [`follower`]: keeps a node and a beat map together: which of the two is to change, and how.
//!
//! It will never open a socket, read a clock, or pass Link's packets on to another network: each studio has a bridge of its
//! own, and what they have in common is the beat map.

#![forbid(unsafe_code)]

pub mod follower;
pub mod measurement;
pub mod node;
pub mod timeline;
pub mod wire;

#[cfg(test)]
mod world;
