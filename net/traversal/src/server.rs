//! The node's side: who is introduced to whom ([`Rendezvous`]), and what is forwarded ([`Relay`]).
//!
//! The two share no state, so that forwarding, which is per packet, need not wait for introductions: the rendezvous
//! tells the relay by [`Update`]s whom it may join.

pub use relay::{Counters, Dropped, Relay, Update};
pub use rendezvous::{Action, Figures, Rendezvous};

pub use crate::ways::Carrier;

mod bucket;
mod relay;
mod rendezvous;
#[cfg(test)]
mod tests;

/// A client's connection to the node, as the caller numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// A process that is registered, by whatever connections: as the rendezvous numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party(pub u64);

/// What a node serves at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rooms at once.
    pub rooms_max: usize,
    /// Members of one room.
    pub members_max: usize,
    /// Rooms of one process.
    pub rooms_each_max: usize,
    /// Pairs in one room, all rooms together: what a relay keeps in mind.
    pub pairs_max: usize,
    /// Connections at once.
    pub clients_max: usize,
    /// Connections from one IPv4 address, or from one /64 of IPv6.
    pub clients_each_max: usize,
    /// Messages of one client, per second in the long run; ten seconds' worth at once.
    pub messages_per_s: u32,
    /// What is forwarded for one process: packets per second, a quarter of a second's worth at once.
    pub packets_per_s: u32,
    /// And bytes per second.
    pub bytes_per_s: u32,
    /// What is forwarded for all together, bytes per second.
    pub total_bytes_per_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // One network can have 512 of them: whoever fills them all needs many.
            rooms_max: 8192,
            members_max: 256,
            rooms_each_max: 16,
            pairs_max: 100_000,
            clients_max: 4096,
            clients_each_max: 32,
            messages_per_s: 20,
            packets_per_s: 20_000,
            bytes_per_s: 16_000_000,
            total_bytes_per_s: 250_000_000,
        }
    }
}
