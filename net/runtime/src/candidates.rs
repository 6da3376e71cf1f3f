//! Where peers might be, and when to dial there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use audiocloud_membership::invitation;
use audiocloud_wire::id::{DeviceId, InstanceId, SessionId};
use audiocloud_wire::message::MEMBERSHIPS_MAX;

use crate::address_table::canonical;
use crate::backoff;
use crate::config::ExplicitPeer;
use crate::discovery::{Discovered, Source};
use crate::peer::dials;

/// The most places remembered.
const CANDIDATES_MAX: usize = 256;
/// How long the instance that should be dialled waits before it dials itself: the other may not be able to.
const PATIENCE: Duration = Duration::from_millis(800);
/// The wait after a refusal. Only people change that.
const REFUSED_WAIT: Duration = Duration::from_secs(5);

/// A place to dial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Address(SocketAddr),
    /// Host and port, to be resolved at each attempt.
    Named(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// What is known of a place.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) place: Place,
    pub(crate) device: Option<DeviceId>,
    pub(crate) instance: Option<InstanceId>,
    /// The key that the user gave for it.
    pub(crate) key: Option<[u8; 32]>,
    pub(crate) refused: Option<String>,
    /// Sessions of whose members it was said: they are named in the hello.
    pub(crate) sessions: Vec<SessionId>,
    source: Source,
    /// A peer of ours was there: its network may come back.
    proven: bool,
    failures: u32,
    due: Instant,
    dialling: bool,
}

impl Candidate {
    pub(crate) fn is_dialling(&self) -> bool {
        self.dialling
    }

    /// Whether there is no reason to dial there but that a member may be there.
    pub(crate) fn is_member_alone(&self) -> bool {
        self.source == Source::Member
    }

    /// In a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// After this many failures in a row nobody will be there.
    fn failures_max(&self) -> u32 {
        match self.source {
            Source::Explicit => u32::MAX,
            // Each takes five seconds and the time of a handshake: over an hour.
            _ if self.proven && self.source != Source::Local => 500,
            Source::Local => 30,
            // As long as it stays introduced.
            Source::Introduced => 500,
            // Members say again where they are, and links are tried again.
            Source::Member => 30,
            Source::Stranger => 30,
            Source::Mdns => 10,
            Source::LastSeen => 4,
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Candidates {
    own: InstanceId,
    list: Vec<Candidate>,
}

impl Candidates {
    pub(crate) fn new(own: InstanceId, peers: &[ExplicitPeer], now: Instant) -> Self {
        let explicit = |peer: &ExplicitPeer| Candidate {
            place: peer.address.parse().map_or_else(|_| Place::Named(peer.address.clone()), Place::Address),
            device: None,
            instance: None,
            key: Some(peer.key),
            refused: None,
            sessions: Vec::new(),
            source: Source::Explicit,
            proven: false,
            failures: 0,
            due: now,
            dialling: false,
        };
        Self { own, list: peers.iter().take(CANDIDATES_MAX / 2).map(explicit).collect() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.list.iter()
    }

    /// Takes a hint. Whether it says anything new.
    pub(crate) fn discovered(&mut self, hint: Discovered, now: Instant) -> bool {
        if hint.instance == Some(self.own) {
            return false;
        }
        self.learned(Place::Address(hint.address), &hint, now)
    }

    /// Takes the word of a member, or of a link, that there is a member. Whether it says anything new.
    pub(crate) fn member(
        &mut self,
        session: SessionId,
        place: &invitation::Place,
        peer: Option<(DeviceId, InstanceId)>,
        now: Instant,
    ) -> bool {
        let hint = Discovered {
            device: peer.map(|(device, _)| device).or(place.device.map(DeviceId)),
            instance: peer.map(|(_, instance)| instance),
            // Of a name it is not known yet.
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            source: Source::Member,
            session: Some(session),
        };
        let parsed: Option<SocketAddr> = place.address.parse().ok();
        match parsed {
            Some(address) if address.port() == 0 || address.ip().is_unspecified() => false,
            Some(address) => self.discovered(Discovered { address: canonical(address), ..hint }, now),
            None => self.learned(Place::Named(place.address.to_string()), &hint, now),
        }
    }

    fn learned(&mut self, place: Place, hint: &Discovered, now: Instant) -> bool {
        if let Some(known) = self.list.iter_mut().find(|candidate| candidate.place == place) {
            // Where another device was found, a mere word that this one is there counts less.
            let contradicts = known.device.is_some() && hint.device.is_some() && known.device != hint.device;
            if known.proven && contradicts && hint.source == Source::Member {
                return false;
            }
            let joins = hint.session.filter(|session| !known.sessions.contains(session));
            if let Some(session) = joins.filter(|_| known.sessions.len() < MEMBERSHIPS_MAX) {
                known.sessions.push(session);
                // It is another matter now.
                (known.refused, known.failures, known.due) = (None, 0, now);
            }
            let same = hint.instance.is_none() || known.instance == hint.instance;
            if known.source == Source::Explicit || (same && known.refused.is_some()) {
                return joins.is_some();
            }
            known.device = hint.device.or(known.device);
            known.instance = hint.instance.or(known.instance);
            if !known.dialling && known.failures > 0 {
                (known.failures, known.due) = (0, now);
            }
            known.refused = None;
            return true;
        }
        if self.list.len() >= CANDIDATES_MAX {
            let Some(worst) = self.worst() else { return false };
            self.list.swap_remove(worst);
        }
        let waits =
            hint.source != Source::LastSeen && hint.instance.is_some_and(|theirs| !dials(self.own, theirs));
        self.list.push(Candidate {
            place,
            device: hint.device,
            instance: hint.instance,
            key: None,
            refused: None,
            sessions: hint.session.into_iter().collect(),
            source: hint.source,
            proven: false,
            failures: 0,
            due: if waits { now + PATIENCE } else { now },
            dialling: false,
        });
        true
    }

    fn worst(&self) -> Option<usize> {
        let droppable =
            self.list.iter().enumerate().filter(|(_, one)| one.source != Source::Explicit && !one.dialling);
        droppable.max_by_key(|(_, one)| one.failures).map(|(index, _)| index)
    }

    /// Takes the places to dial now. `is_connected` says where there is no need to.
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        is_connected: impl Fn(&Candidate) -> bool,
    ) -> Vec<Candidate> {
        let mut due = Vec::new();
        for candidate in &mut self.list {
            if !candidate.dialling && candidate.due <= now && !is_connected(candidate) {
                candidate.dialling = true;
                due.push(candidate.clone());
            }
        }
        due
    }

    /// When to look again.
    pub(crate) fn next_due(&self, is_connected: impl Fn(&Candidate) -> bool) -> Option<Instant> {
        let waiting = self.list.iter().filter(|candidate| !candidate.dialling && !is_connected(candidate));
        waiting.map(|candidate| candidate.due).min()
    }

    /// Dialling `place` led to this instance.
    pub(crate) fn connected(&mut self, place: &Place, instance: InstanceId) {
        if let Some(candidate) = self.get_mut(place) {
            candidate.dialling = false;
            candidate.proven = true;
            candidate.failures = 0;
            candidate.refused = None;
            candidate.instance = Some(instance);
        }
    }

    /// Dialling `place` led nowhere.
    pub(crate) fn failed(&mut self, place: &Place, now: Instant, random: u8) {
        if let Some(candidate) = self.get_mut(place) {
            candidate.dialling = false;
            candidate.failures = candidate.failures.saturating_add(1);
            candidate.due = now + backoff::wait(candidate.failures, random);
            // Whoever was there may have been followed by somebody else.
            if candidate.source == Source::Explicit {
                candidate.instance = None;
            }
        }
        self.list.retain(|one| one.dialling || one.failures <= one.failures_max());
    }

    /// Dialling `place` led to somebody who, or whom, one will not have.
    pub(crate) fn refused(&mut self, place: &Place, reason: &str, now: Instant) {
        if let Some(candidate) = self.get_mut(place) {
            candidate.dialling = false;
            candidate.failures = candidate.failures.saturating_add(1);
            candidate.due = now + REFUSED_WAIT * candidate.failures.min(12);
            candidate.refused = Some(reason.to_owned());
        }
        self.list.retain(|one| one.dialling || one.failures <= one.failures_max());
    }

    /// Somebody may have changed their mind: whoever was refused is dialled anew.
    pub(crate) fn forgive(&mut self, now: Instant) {
        for candidate in self.list.iter_mut().filter(|one| one.refused.is_some() && !one.dialling) {
            (candidate.refused, candidate.failures, candidate.due) = (None, 0, now);
        }
    }

    /// This machine is on another network than before, or on one again: who could not be reached may be now.
    pub(crate) fn network_changed(&mut self, now: Instant) {
        for candidate in self.list.iter_mut().filter(|one| one.refused.is_none()) {
            (candidate.failures, candidate.due) = (0, now);
        }
    }

    /// Nobody worth dialling is there: ourselves, for one.
    pub(crate) fn forget(&mut self, place: &Place) {
        self.list.retain(|one| one.place != *place || one.source == Source::Explicit);
        if let Some(candidate) = self.get_mut(place) {
            candidate.dialling = false;
            candidate.failures = candidate.failures.saturating_add(1);
            candidate.due = Instant::now() + REFUSED_WAIT;
        }
    }

    /// A connection to `instance` ended. `for_good`: it said that it goes.
    pub(crate) fn disconnected(&mut self, instance: InstanceId, for_good: bool, now: Instant, random: u8) {
        if for_good {
            self.list.retain(|one| one.instance != Some(instance) || one.source == Source::Explicit);
        }
        for candidate in self.list.iter_mut().filter(|one| one.instance == Some(instance)) {
            candidate.failures = candidate.failures.max(1);
            candidate.due = now + backoff::wait(candidate.failures, random);
            if candidate.source == Source::Explicit {
                candidate.instance = None;
            }
        }
    }

    fn get_mut(&mut self, place: &Place) -> Option<&mut Candidate> {
        self.list.iter_mut().find(|candidate| candidate.place == *place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(port: u16, instance: u8, source: Source) -> Discovered {
        Discovered {
            device: None,
            instance: Some(InstanceId([instance; 16])),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            source,
            session: None,
        }
    }

    fn candidates(now: Instant) -> Candidates {
        Candidates::new(InstanceId([5; 16]), &[], now)
    }

    #[test]
    fn the_smaller_dials_at_once_and_the_larger_waits_a_while() {
        let now = Instant::now();
        let mut list = candidates(now);
        assert!(list.discovered(hint(1, 9, Source::Local), now), "we are smaller");
        assert!(list.discovered(hint(2, 1, Source::Local), now), "we are larger");
        assert!(!list.discovered(hint(3, 5, Source::Local), now), "that is us");
        let due = list.take_due(now, |_| false);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].place, Place::Address(SocketAddr::from(([127, 0, 0, 1], 1))));
        assert_eq!(list.next_due(|_| false), Some(now + PATIENCE));
        assert_eq!(list.take_due(now + PATIENCE, |_| true).len(), 0, "connected by then");
    }

    #[test]
    fn failures_back_off_and_news_resets_them() {
        let now = Instant::now();
        let mut list = candidates(now);
        list.discovered(hint(1, 9, Source::Mdns), now);
        let place = list.take_due(now, |_| false)[0].place.clone();
        list.failed(&place, now, 255);
        let due = list.next_due(|_| false).unwrap();
        assert!(due > now && due <= now + Duration::from_millis(100), "the first retry comes soon");
        list.discovered(hint(1, 9, Source::Mdns), now);
        assert_eq!(list.next_due(|_| false), Some(now));
        for _ in 0..11 {
            list.failed(&place, now, 0);
        }
        assert_eq!(list.next_due(|_| false), None, "nobody is there");
    }

    #[test]
    fn another_network_is_tried_at_once() {
        let now = Instant::now();
        let mut list = candidates(now);
        list.discovered(hint(1, 9, Source::Mdns), now);
        list.discovered(hint(2, 8, Source::Mdns), now);
        let places: Vec<_> = list.take_due(now, |_| false).into_iter().map(|one| one.place).collect();
        list.refused(&places[1], "not known here", now);
        for _ in 0..9 {
            list.failed(&places[0], now, 0);
        }
        assert!(list.next_due(|_| false).unwrap() > now + Duration::from_secs(3));
        list.network_changed(now);
        let due: Vec<_> = list.take_due(now, |_| false).into_iter().map(|one| one.place).collect();
        assert_eq!(due, [places[0].clone()], "a refusal is not the network's");
    }

    #[test]
    fn candidates_are_bounded() {
        let now = Instant::now();
        let mut list = candidates(now);
        for port in 1..2000 {
            list.discovered(hint(port, 9, Source::Mdns), now);
        }
        assert_eq!(list.list.len(), CANDIDATES_MAX);
    }
}
