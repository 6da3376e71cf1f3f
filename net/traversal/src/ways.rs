//! All ways to one peer: which are open, and which is taken.
//!
//! A way is open when a probe by it was answered: that proves both directions at once. A direct way is taken rather
//! than one by a relay over UDP, and that rather than one over TCP. The probes on the way in use tell within three of
//! them that it has closed. While it is in doubt packets go by the next best as well, so that a wrong suspicion costs
//! some doubles, which QUIC drops, and a right one no more than the doubt took. A way that closed has to hold for
//! longer before it is taken again, the more often the longer.
//!
//! After any call, [`Ways::poll_action`] has what is to be done, and [`Ways::poll_timeout`] when to call
//! [`Ways::handle_timeout`].

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::address::{canonical, is_reachable};
use crate::frame::{ChannelId, PROBE_BYTES, Probe, Tag};
use crate::probe::{PairKeys, ProbeKey, ProbeSecret, Replays, WeakKey};
use flow::Flow;
use path::{Path, Use};

mod flow;
mod path;

/// The most direct ways to one peer: those that it named, and those that its probes came by.
pub const DIRECT_MAX: usize = 12;
/// The most ways by relays.
pub const RELAYED_MAX: usize = 8;
/// An answer that takes longer is none.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Probes whose answers are waited for.
const OUTSTANDING_MAX: usize = 512;
/// A timer that is so late was held up by more than other work.
const STOOD_STILL: Duration = Duration::from_millis(20);
/// What nobody polls is not kept.
const ACTIONS_MAX: usize = 256;
/// Answers in a row before packets move to a way that never failed.
const ANSWERS_MIN: u32 = 3;
/// A way that closed holds this long before it is taken again; twice as long after each time that it closed.
const HOLD: Duration = Duration::from_millis(500);
const HOLD_MAX: Duration = Duration::from_secs(30);
/// Packets move to a faster way of the same kind at the earliest after so long.
const STAYS: Duration = Duration::from_secs(1);

/// What carries a relayed datagram to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// Datagrams.
    Udp,
    /// TLS over TCP, where UDP does not get through: what is lost holds up everything after it.
    Tunnel,
}

/// How a packet gets to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Straight to this address.
    Direct(SocketAddr),
    /// Forwarded by a node.
    Relay {
        /// Which, as its client counts them.
        node: u16,
        /// How to get there.
        carrier: Carrier,
        /// The node's name for this peer.
        channel: ChannelId,
    },
}

impl Way {
    /// What is preferred is less.
    const fn rank(&self) -> u8 {
        match self {
            Self::Direct(_) => 0,
            Self::Relay { carrier: Carrier::Udp, .. } => 1,
            Self::Relay { carrier: Carrier::Tunnel, .. } => 2,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(address) => write!(f, "direct to {address}"),
            Self::Relay { carrier: Carrier::Udp, .. } => f.write_str("by relay"),
            Self::Relay { carrier: Carrier::Tunnel, .. } => {
                f.write_str("by relay over TCP, which takes longer")
            }
        }
    }
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// By this way.
    pub first: Way,
    /// And by this one too, while the first is in doubt.
    pub second: Option<Way>,
}

/// Why packets go another way than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The first way that is open.
    First,
    /// A better kind of way has opened, and held.
    Better,
    /// As good a way, and faster.
    Faster,
    /// The way before has closed.
    Closed,
    /// No way is open.
    Lost,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes, by a relay with [`crate::frame::relayed_header`] in front.
    Probe {
        /// Where.
        way: Way,
        /// A probe or an answer.
        bytes: [u8; PROBE_BYTES],
    },
    /// The peer has proven that it sends from here: datagrams of QUIC from this address are its.
    Admit(SocketAddr),
    /// They no longer are.
    Dismiss(SocketAddr),
    /// Packets go another way from now on.
    Taken {
        /// Which; none while there is none.
        way: Option<Way>,
        /// Why.
        why: Change,
    },
}

/// What is known of a way, for the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WayFigures {
    /// Which.
    pub way: Way,
    /// Whether packets get there and back.
    pub open: bool,
    /// Whether packets go by it.
    pub taken: bool,
    /// There and back, smoothed; none while it was never open.
    pub round_trip: Option<Duration>,
}

/// Things that happened, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Probes sent.
    pub probes: u64,
    /// Probes of the peer that were answered.
    pub answered: u64,
    /// Probes that had come before.
    pub replayed: u64,
    /// Answers to nothing that we asked, or that came another way.
    pub stray: u64,
    /// Times that packets began to go another way.
    pub moves: u64,
    /// Addresses of the peer that were not tried, since there are too many or they cannot be a peer's.
    pub refused_addresses: u64,
}

/// All ways to one peer.
#[derive(Debug)]
pub struct Ways {
    keys: PairKeys,
    replays: Replays,
    paths: Vec<Path>,
    /// The number of the last probe.
    number: u64,
    outstanding: VecDeque<Outstanding>,
    taken: Option<Taken>,
    flow: Flow,
    actions: VecDeque<Action>,
    counters: Counters,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    number: u64,
    way: Way,
    at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    route: Route,
    since: Instant,
    doubted: bool,
}

impl Ways {
    /// None yet, to the peer whose key is `peer`.
    ///
    /// # Errors
    ///
    /// [`WeakKey`]: the peer's key is none.
    pub fn new(own: &ProbeSecret, peer: &ProbeKey) -> Result<Self, WeakKey> {
        Ok(Self {
            keys: PairKeys::new(own, peer)?,
            replays: Replays::default(),
            paths: Vec::new(),
            number: 0,
            outstanding: VecDeque::new(),
            taken: None,
            flow: Flow::default(),
            actions: VecDeque::new(),
            counters: Counters::default(),
        })
    }

    /// What the peer's probes to us have.
    pub fn tag(&self) -> Tag {
        self.keys.receive_tag()
    }

    /// Where the peer says that it is, or is seen to be. What was tried before and never open is forgotten.
    pub fn set_addresses(&mut self, addresses: &[SocketAddr], now: Instant) {
        let addresses: Vec<_> = addresses.iter().copied().map(canonical).collect();
        let named = |way: &Way| matches!(way, Way::Direct(address) if addresses.contains(address));
        for path in self.paths.iter_mut().filter(|path| path.way.rank() == 0) {
            path.listed = named(&path.way);
        }
        self.remove(|path| path.way.rank() == 0 && !path.listed && !path.is_known_good(), now);
        for address in addresses {
            self.try_direct(address, true, now);
        }
    }

    /// A node forwards to this peer by this channel. An earlier one of the same node and carrier is forgotten.
    pub fn add_relay(&mut self, node: u16, carrier: Carrier, channel: ChannelId, now: Instant) {
        let way = Way::Relay { node, carrier, channel };
        if self.path(&way).is_some() {
            return;
        }
        self.remove_relay(node, carrier, now);
        let relayed = self.paths.iter().filter(|path| path.way.rank() > 0).count();
        if relayed < RELAYED_MAX {
            self.paths.push(Path::new(way, true, now));
        }
    }

    /// It no longer does.
    pub fn remove_relay(&mut self, of: u16, by: Carrier, now: Instant) {
        self.remove(
            |path| matches!(path.way, Way::Relay { node, carrier, .. } if node == of && carrier == by),
            now,
        );
    }

    /// Our own network has changed: everything is tried again at once.
    pub fn restart(&mut self, now: Instant) {
        for path in &mut self.paths {
            path.try_again(now);
        }
    }

    /// A probe or an answer has come. False where it is not this peer's: then nothing has happened.
    pub fn handle_probe(&mut self, from: Way, probe: &Probe, now: Instant) -> bool {
        if !self.keys.opens(probe) {
            return false;
        }
        let from = match from {
            Way::Direct(address) => Way::Direct(canonical(address)),
            relay => relay,
        };
        if probe.is_answer {
            self.handle_answer(from, probe.number, now);
        } else if self.replays.admit(probe.number) {
            self.handle_question(from, probe.number, now);
        } else {
            self.counters.replayed += 1;
        }
        true
    }

    /// A datagram of QUIC has come from the peer.
    pub fn handle_datagram(&mut self, now: Instant) {
        self.flow.count(now);
    }

    /// Where a packet that is sent now goes; none while no way is open. Asked for each packet: it is counted.
    pub fn route(&mut self, now: Instant) -> Option<Route> {
        let began = self.flow.count(now);
        if let (true, Some(taken)) = (began, self.taken) {
            self.hurry(&taken.route.first, now);
        }
        self.taken.map(|taken| taken.route)
    }

    /// Which way is taken.
    pub fn taken(&self) -> Option<Way> {
        self.taken.map(|taken| taken.route.first)
    }

    /// What is known of each way.
    pub fn figures(&self) -> impl Iterator<Item = WayFigures> {
        self.paths.iter().map(|path| WayFigures {
            way: path.way,
            open: path.is_open(),
            taken: self.taken() == Some(path.way),
            round_trip: path.round_trip(),
        })
    }

    /// What happened.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What is to be done, the oldest first.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Ways::handle_timeout`]; it may have become earlier by any call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Once it is in doubt, the next that happens of itself is that it closes.
        let undoubted = self.taken.filter(|taken| !taken.doubted);
        let doubt = undoubted.and_then(|taken| self.path(&taken.route.first)?.doubted_at());
        self.paths.iter().map(Path::due_at).chain(doubt).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        // Time in which this machine stood still is nobody's silence: what came meanwhile has yet to be read.
        if let Some(late) = self.poll_timeout().and_then(|due| now.checked_duration_since(due))
            && late > STOOD_STILL
        {
            self.paths.iter_mut().for_each(|path| path.excuse(late, now));
        }
        while self.outstanding.front().is_some_and(|probe| now >= probe.at + ANSWER_WAIT) {
            self.outstanding.pop_front();
        }
        for path in &mut self.paths {
            path.close_if_silent(now);
        }
        self.remove(|path| path.is_forgotten(now), now);
        self.choose(now);
        self.send_probes(now);
    }

    fn handle_answer(&mut self, from: Way, number: u64, now: Instant) {
        // By the way that it was sent, or it proves nothing.
        let asked = self.outstanding.binary_search_by_key(&number, |probe| probe.number);
        let asked = asked.ok().filter(|at| self.outstanding[*at].way == from);
        let Some(Outstanding { at, .. }) = asked.and_then(|at| self.outstanding.remove(at)) else {
            self.counters.stray += 1;
            return;
        };
        self.admit(&from);
        if let Some(path) = self.path_mut(&from) {
            path.answered(now.saturating_duration_since(at), now);
            self.choose(now);
        }
    }

    /// Has the probe of the peer answered, if packets could come the same way.
    fn handle_question(&mut self, from: Way, number: u64, now: Instant) {
        if let Way::Direct(address) = from
            && self.path(&from).is_none()
        {
            self.make_room(now);
            self.try_direct(address, false, now);
        }
        let Some(path) = self.path_mut(&from) else { return };
        path.heard_probe(now);
        self.admit(&from);
        self.counters.answered += 1;
        let bytes = self.keys.seal(true, number);
        self.send(from, bytes);
    }

    /// Decides anew where packets go.
    fn choose(&mut self, now: Instant) {
        let before = self.taken;
        let Some((first, why)) = self.first(now) else {
            if self.taken.take().is_some() {
                self.actions.push_back(Action::Taken { way: None, why: Change::Lost });
            }
            return;
        };
        let doubted = first.is_doubtful(now);
        let second = if doubted { self.spare(&first.way, now) } else { None };
        let route = Route { first: first.way, second };
        let moved = before.is_none_or(|before| before.route.first != route.first);
        let since = before.filter(|_| !moved).map_or(now, |before| before.since);
        self.taken = Some(Taken { route, since, doubted });
        if moved {
            self.counters.moves += 1;
            self.actions.push_back(Action::Taken { way: Some(route.first), why });
        }
        if before.is_none_or(|before| before.route != route) {
            // What packets go by is asked as often as media needs.
            for way in [Some(route.first), route.second].into_iter().flatten() {
                self.hurry(&way, now);
            }
        }
    }

    /// The best way that is open; where packets have an open one, another only if that is better and has held.
    fn first(&self, now: Instant) -> Option<(&Path, Change)> {
        let Some(taken) = self.taken else {
            return Some((self.best(now, |_| true)?, Change::First));
        };
        let current = self.path(&taken.route.first).filter(|path| path.is_open());
        let Some(current) = current else {
            return Some((self.best(now, |_| true)?, Change::Closed));
        };
        match self.best(now, |path| path.has_held(now)) {
            Some(better) if better.way.rank() < current.way.rank() => Some((better, Change::Better)),
            Some(other) if now >= taken.since + STAYS && other.is_faster_than(current) => {
                Some((other, Change::Faster))
            }
            // No change.
            _ => Some((current, Change::First)),
        }
    }

    /// What packets go by as well, while `first` is in doubt.
    fn spare(&self, first: &Way, now: Instant) -> Option<Way> {
        self.best(now, |path| path.way != *first).map(|path| path.way)
    }

    /// Of the open ways that fit the best; one in doubt only where there is no other.
    fn best(&self, now: Instant, fits: impl Fn(&Path) -> bool) -> Option<&Path> {
        let open = self.paths.iter().filter(|path| path.is_open() && fits(path));
        open.min_by_key(|path| (path.is_doubtful(now), path.rank()))
    }

    fn send_probes(&mut self, now: Instant) {
        let flowing = self.flow.is_flowing(now);
        let route = self.taken.map(|taken| taken.route);
        for at in 0..self.paths.len() {
            let path = &mut self.paths[at];
            if !path.probe_is_due(now) {
                continue;
            }
            let in_route =
                route.is_some_and(|route| route.first == path.way || route.second == Some(path.way));
            path.probed(
                match (flowing, in_route) {
                    (true, true) => Use::Media,
                    (true, false) => Use::Spare,
                    (false, _) => Use::Idle,
                },
                now,
            );
            let way = path.way;
            self.number += 1;
            if self.outstanding.len() >= OUTSTANDING_MAX {
                self.outstanding.pop_front();
            }
            self.outstanding.push_back(Outstanding { number: self.number, way, at: now });
            self.counters.probes += 1;
            let bytes = self.keys.seal(false, self.number);
            self.send(way, bytes);
        }
    }

    fn send(&mut self, way: Way, bytes: [u8; PROBE_BYTES]) {
        // Whoever does not poll loses probes, as if the network had.
        if self.actions.len() < ACTIONS_MAX {
            self.actions.push_back(Action::Probe { way, bytes });
        }
    }

    fn path(&self, way: &Way) -> Option<&Path> {
        self.paths.iter().find(|path| path.way == *way)
    }

    fn path_mut(&mut self, way: &Way) -> Option<&mut Path> {
        self.paths.iter_mut().find(|path| path.way == *way)
    }

    fn hurry(&mut self, way: &Way, now: Instant) {
        if let Some(path) = self.path_mut(way) {
            path.hurry(now);
        }
    }

    fn admit(&mut self, way: &Way) {
        let Some(path) = self.path_mut(way) else { return };
        if let (Way::Direct(address), false) = (path.way, path.admitted) {
            path.admitted = true;
            self.actions.push_back(Action::Admit(address));
        }
    }

    fn try_direct(&mut self, address: SocketAddr, listed: bool, now: Instant) {
        let way = Way::Direct(address);
        if let Some(path) = self.path_mut(&way) {
            path.listed |= listed;
            path.try_again(now);
            return;
        }
        let direct = self.paths.iter().filter(|path| path.way.rank() == 0).count();
        if direct >= DIRECT_MAX || !is_reachable(address) {
            self.counters.refused_addresses += 1;
            return;
        }
        self.paths.push(Path::new(way, listed, now));
    }

    /// For a direct way that the peer has just proven to use: one that never opened gives way.
    fn make_room(&mut self, now: Instant) {
        let direct = self.paths.iter().filter(|path| path.way.rank() == 0).count();
        if direct < DIRECT_MAX {
            return;
        }
        let useless = |path: &Path| path.way.rank() == 0 && !path.is_open();
        let closed = self.paths.iter().filter(|path| useless(path));
        let worst = closed.min_by_key(|path| (path.listed, path.is_known_good())).map(|path| path.way);
        if let Some(worst) = worst {
            self.remove(|path| path.way == worst, now);
        }
    }

    fn remove(&mut self, gone: impl Fn(&Path) -> bool, now: Instant) {
        let actions = &mut self.actions;
        let before = self.paths.len();
        self.paths.retain(|path| {
            let gone = gone(path);
            if let (true, true, Way::Direct(address)) = (gone, path.admitted, path.way) {
                actions.push_back(Action::Dismiss(address));
            }
            !gone
        });
        if self.paths.len() < before {
            self.choose(now);
        }
    }
}
