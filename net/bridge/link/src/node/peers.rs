//! Who else is there, by interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;

use audiocloud_units::{HostTime, Nanos};

use super::Gateway;
use crate::timeline::{StartStop, Timeline};
use crate::wire::{LinkSession, NodeId};

/// Peers that are kept, each once for each interface that it is seen on.
pub(super) const PEERS_MAX: usize = 256;

/// What one said last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) session: LinkSession,
    pub(super) timeline: Timeline,
    pub(super) start_stop: StartStop,
    /// Where it answers pings.
    pub(super) endpoint: Option<SocketAddrV4>,
    /// Until then it is believed to be there.
    pub(super) until: HostTime,
    /// When it was answered last.
    pub(super) answered: HostTime,
    /// When it came into its session.
    pub(super) joined: HostTime,
    /// Whether it has been told once more that transports run.
    pub(super) is_told: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Peers(BTreeMap<(NodeId, Gateway), Seen>);

impl Peers {
    /// Whether there is room for it.
    pub(super) fn insert(&mut self, node: NodeId, gateway: Gateway, seen: Seen, is_answered: bool) -> bool {
        let is_full = self.0.len() >= PEERS_MAX;
        match self.0.get_mut(&(node, gateway)) {
            Some(known) => {
                let answered = if is_answered { seen.answered } else { known.answered };
                let (joined, is_told) = if known.session == seen.session {
                    (known.joined, known.is_told)
                } else {
                    (seen.joined, false)
                };
                *known = Seen { answered, joined, is_told, ..seen };
            }
            None if is_full => return false,
            None => {
                self.0.insert((node, gateway), seen);
            }
        }
        true
    }

    /// Whether it was not answered just now.
    pub(super) fn may_be_answered(
        &self,
        node: NodeId,
        gateway: Gateway,
        now: HostTime,
        spacing: Nanos,
    ) -> bool {
        self.0.get(&(node, gateway)).map_or(self.0.len() < PEERS_MAX, |seen| now - seen.answered >= spacing)
    }

    pub(super) fn gone(&mut self, node: NodeId, gateway: Gateway) {
        self.0.remove(&(node, gateway));
    }

    pub(super) fn forget(&mut self, gateway: Gateway) {
        self.0.retain(|(_, place), _| *place != gateway);
    }

    pub(super) fn expire(&mut self, now: HostTime) {
        self.0.retain(|_, seen| seen.until > now);
    }

    /// Whether somebody who is in a session since before `since` stands still, and has not been told otherwise; they count
    /// as told from then on.
    pub(super) fn tell(&mut self, session: LinkSession, since: HostTime) -> bool {
        let stand = |seen: &&mut Seen| {
            seen.session == session && seen.joined <= since && !seen.is_told && !seen.start_stop.is_playing
        };
        self.0.values_mut().filter(stand).map(|seen| seen.is_told = true).count() > 0
    }

    /// How many are in a session, each counted once.
    pub(super) fn of(&self, session: LinkSession) -> usize {
        let members = self.0.iter().filter(|(_, seen)| seen.session == session);
        members.map(|((node, _), _)| node).collect::<BTreeSet<_>>().len()
    }

    /// Somebody to ask for the clock of a session that is wanted: its founder before anybody else.
    pub(super) fn to_measure(
        &self,
        is_wanted: impl Fn(LinkSession) -> bool,
    ) -> Option<(LinkSession, Gateway, SocketAddrV4)> {
        let able = self.0.iter().filter(|(_, seen)| is_wanted(seen.session));
        able.filter_map(|((node, gateway), seen)| Some((node, *gateway, seen.session, seen.endpoint?)))
            .min_by_key(|(node, _, session, _)| node.0 != session.0)
            .map(|(_, gateway, session, endpoint)| (session, gateway, endpoint))
    }

    /// What counts in a session, as its members say it; nothing where there are none.
    pub(super) fn state_of(&self, session: LinkSession) -> Option<(Timeline, StartStop)> {
        let members = || self.0.values().filter(|seen| seen.session == session);
        let timeline = members().map(|seen| seen.timeline).max_by_key(|timeline| timeline.beat_origin)?;
        let start_stop = members().map(|seen| seen.start_stop).max_by_key(|start_stop| start_stop.time)?;
        Some((timeline, start_stop))
    }
}
