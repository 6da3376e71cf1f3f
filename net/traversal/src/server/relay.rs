//! Forwarding: between two that are registered in one room, as many bytes out as in, within bounds.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::bucket::Bucket;
use super::{Carrier, Limits, Party};
use crate::frame::{ChannelId, DATAGRAM_BYTES_MAX};

const BURST_MS: u32 = 250;

/// What the rendezvous has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Where a party can be reached by a carrier now; none: no longer.
    Leg {
        /// Whose.
        party: Party,
        /// By what.
        carrier: Carrier,
        /// Where: for a tunnel, the address that stands for it.
        address: Option<SocketAddr>,
    },
    /// Two parties may talk: what `one` sends by `to_other` comes to `other` as by `to_one`, and the other way round.
    Join {
        /// Who sends by `to_other`.
        one: Party,
        /// Towards the other.
        to_other: ChannelId,
        /// Who sends by `to_one`.
        other: Party,
        /// Towards the one.
        to_one: ChannelId,
    },
    /// No longer by these two.
    Part {
        /// The one.
        to_other: ChannelId,
        /// The other.
        to_one: ChannelId,
    },
    /// A party is gone, with its legs. Its channels were parted before.
    Gone(Party),
}

/// Why a datagram is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// No channel has this number, or no longer.
    #[error("no such channel")]
    UnknownChannel,
    /// The channel is another's.
    #[error("the channel belongs to another sender")]
    NotOwner,
    /// More than the sender, or all together, may send.
    #[error("more than may be sent")]
    TooFast,
    /// The receiver cannot be reached now.
    #[error("the receiver is not connected")]
    Unreachable,
    /// Longer than a datagram may be, or empty.
    #[error("not a length that a datagram may have")]
    Length,
}

/// What a relay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams forwarded.
    pub forwarded: u64,
    /// Their bytes, without what stood before them.
    pub bytes: u64,
    /// Dropped for [`Dropped::UnknownChannel`].
    pub unknown_channel: u64,
    /// Dropped for [`Dropped::NotOwner`].
    pub not_owner: u64,
    /// Dropped for [`Dropped::TooFast`].
    pub too_fast: u64,
    /// Dropped for [`Dropped::Unreachable`].
    pub unreachable: u64,
    /// Dropped for [`Dropped::Length`].
    pub length: u64,
}

/// Forwards datagrams.
#[derive(Debug)]
pub struct Relay {
    limits: Limits,
    parties: HashMap<Party, Legs>,
    channels: HashMap<ChannelId, Channel>,
    total: Option<Bucket>,
    counters: Counters,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    owner: Party,
    receiver: Party,
    back: ChannelId,
}

#[derive(Debug, Default)]
struct Legs {
    udp: Option<SocketAddr>,
    tunnel: Option<SocketAddr>,
    /// Packets and bytes that it sent.
    sent: Option<(Bucket, Bucket)>,
}

impl Relay {
    /// Joins nobody yet.
    pub fn new(limits: Limits) -> Self {
        let (parties, channels, counters) = Default::default();
        Self { limits, parties, channels, total: None, counters }
    }

    /// Does what the rendezvous says.
    pub fn apply(&mut self, update: Update) {
        match update {
            Update::Leg { party, carrier, address } => {
                let legs = self.parties.entry(party).or_default();
                *match carrier {
                    Carrier::Udp => &mut legs.udp,
                    Carrier::Tunnel => &mut legs.tunnel,
                } = address;
            }
            Update::Join { one, to_other, other, to_one } => {
                self.channels.insert(to_other, Channel { owner: one, receiver: other, back: to_one });
                self.channels.insert(to_one, Channel { owner: other, receiver: one, back: to_other });
            }
            Update::Part { to_other, to_one } => {
                self.channels.remove(&to_other);
                self.channels.remove(&to_one);
            }
            Update::Gone(party) => {
                self.parties.remove(&party);
            }
        }
    }

    /// Where a datagram of `bytes` bytes, which came from `from` by `channel`, goes, and by which channel it comes
    /// there.
    ///
    /// # Errors
    ///
    /// Why it goes nowhere. It is counted, and nobody is told: an answer would be one to a forged sender.
    pub fn forward(
        &mut self,
        from: SocketAddr,
        channel: ChannelId,
        bytes: usize,
        now: Instant,
    ) -> Result<(SocketAddr, ChannelId), Dropped> {
        let onward = self.onward(from, channel, bytes, now);
        let counters = &mut self.counters;
        match onward {
            Ok(_) => {
                counters.forwarded += 1;
                counters.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
            }
            Err(Dropped::UnknownChannel) => counters.unknown_channel += 1,
            Err(Dropped::NotOwner) => counters.not_owner += 1,
            Err(Dropped::TooFast) => counters.too_fast += 1,
            Err(Dropped::Unreachable) => counters.unreachable += 1,
            Err(Dropped::Length) => counters.length += 1,
        }
        onward
    }

    fn onward(
        &mut self,
        from: SocketAddr,
        channel: ChannelId,
        bytes: usize,
        now: Instant,
    ) -> Result<(SocketAddr, ChannelId), Dropped> {
        if !(1..=DATAGRAM_BYTES_MAX).contains(&bytes) {
            return Err(Dropped::Length);
        }
        let Channel { owner, receiver, back } =
            *self.channels.get(&channel).ok_or(Dropped::UnknownChannel)?;
        let owner = self.parties.get_mut(&owner).ok_or(Dropped::NotOwner)?;
        if owner.udp != Some(from) && owner.tunnel != Some(from) {
            return Err(Dropped::NotOwner);
        }
        let Limits { packets_per_s, bytes_per_s, total_bytes_per_s, .. } = self.limits;
        let (packets_sent, bytes_sent) = owner.sent.get_or_insert_with(|| {
            (Bucket::new(packets_per_s, BURST_MS, now), Bucket::new(bytes_per_s, BURST_MS, now))
        });
        let total = self.total.get_or_insert_with(|| Bucket::new(total_bytes_per_s, BURST_MS, now));
        if !packets_sent.take(1, now) || !bytes_sent.take(bytes, now) || !total.take(bytes, now) {
            return Err(Dropped::TooFast);
        }
        // A tunnel is only opened by those whom UDP does not reach.
        let legs = self.parties.get(&receiver).ok_or(Dropped::Unreachable)?;
        let to = legs.udp.or(legs.tunnel).ok_or(Dropped::Unreachable)?;
        Ok((to, back))
    }

    /// What it did.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Channels that are open, each direction counted.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }
}
