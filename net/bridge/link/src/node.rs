//! A peer of Link: finds others, joins the oldest session, adopts what counts and announces it.
//!
//! A session's clock is its founder's, and every member knows by how much its own is off. Whoever meets members of
//! another session measures that one's clock: the session whose clock shows more is older, and the younger's members go over
//! to it. So all peers that hear each other are in one session soon, in whatever order they came.
//!
//! There is one for all interfaces of a machine, each a [`Gateway`] with sockets of its own.

mod peers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddrV4;

use audiocloud_units::{HostTime, Nanos};

use self::peers::{Peers, Seen};
use crate::measurement::{Measurement, Progress};
use crate::timeline::{LinkTime, Offset, StartStop, Timeline};
use crate::wire::{LinkSession, Malformed, Measuring, NodeId, Ping, Pong, Presence, State};

/// Members say that they are there so often.
const ALIVE_EVERY: Nanos = Nanos::from_millis(250);
/// And what is new at once, but not more often than that.
const ALIVE_SPACING: Nanos = Nanos::from_millis(50);
/// For how long they are believed to be.
const TTL_S: u8 = 5;
/// Sessions whose clocks are closer than this are of one age.
const SAME_AGE_US: i64 = 500_000;
/// A ping that is not answered for so long is lost,
const PING_TIMEOUT: Nanos = Nanos::from_millis(50);
/// and after so many in a row whoever should answer is no use.
const PINGS_LOST_MAX: u8 = 5;
/// How often the session's clock is measured again: two crystals may differ by 100 ppm, which is 0.4 ms in that time.
const MEASURE_EVERY: Nanos = Nanos::from_secs(4);
/// A session that could not be measured, or that should come over to ours, is let be for so long.
const LET_BE: Nanos = Nanos::from_secs(5);
/// Sessions that are let be.
const LET_BE_MAX: usize = 64;
/// What differs by more from the measurement before has to be said twice.
const DOUBT_US: i64 = 400;
/// Who has been in our session for so long and still stands still, while transports run, is told once more: peers begin standing
/// still, and heed what is started or stopped after they have joined.
const TELL_AFTER: Nanos = Nanos::from_millis(500);
/// Pings that are answered within a second, whoever asks.
const PONGS_PER_SECOND: u32 = 5_000;

/// An interface of this machine, by a number of the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gateway(pub u32);

/// A datagram to be sent at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// From the interface's own port, to all: to [`crate::wire::GROUP`].
    Announce(Gateway, Vec<u8>),
    /// From the interface's own port, to one.
    Respond(Gateway, SocketAddrV4, Vec<u8>),
    /// From the interface's measuring endpoint.
    Measure(Gateway, SocketAddrV4, Vec<u8>),
}

/// What was not believed, or more than there is room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Datagrams that could not be read.
    pub malformed: u64,
    /// Tempos and times that nobody can have.
    pub insane: u64,
    /// Peers beyond as many as are kept.
    pub peers: u64,
    /// Pings beyond as many as are answered.
    pub pings: u64,
    /// Endpoints of somebody else than who names them.
    pub endpoints: u64,
}

/// What the members of a session have in common, as this one knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Which session.
    pub session: LinkSession,
    /// Its clock over ours.
    pub offset: Offset,
    /// Tempo and beats.
    pub timeline: Timeline,
    /// Whether transports run.
    pub start_stop: StartStop,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Node {
    id: NodeId,
    shared: Shared,
    peers: Peers,
    gateways: BTreeMap<Gateway, Place>,
    measuring: Option<Measured>,
    measure_at: HostTime,
    /// What the last measurement of our own session said, where it was hard to believe.
    doubt: Option<Offset>,
    let_be: BTreeMap<LinkSession, HostTime>,
    pongs: (HostTime, u32),
    actions: VecDeque<Action>,
    refusals: Refusals,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    endpoint: SocketAddrV4,
    announced: Option<HostTime>,
    announce_at: HostTime,
}

/// Whose clock is being measured.
#[derive(Clone, Debug)]
struct Measured {
    session: LinkSession,
    gateway: Gateway,
    to: SocketAddrV4,
    chain: Measurement,
    lost: u8,
    give_up_ping_at: HostTime,
}

impl Node {
    /// In a session of its own, which begins now at beat 0. `id` is random.
    #[must_use]
    pub fn new(id: NodeId, bpm: f64, now: HostTime) -> Self {
        let shared = Shared {
            session: LinkSession(id.0),
            offset: Offset::from_zero_at(now),
            timeline: Timeline::new(bpm, 0.0, LinkTime::default()),
            start_stop: StartStop::default(),
        };
        Self {
            id,
            shared,
            peers: Peers::default(),
            gateways: BTreeMap::new(),
            measuring: None,
            measure_at: now,
            doubt: None,
            let_be: BTreeMap::new(),
            pongs: (now, 0),
            actions: VecDeque::new(),
            refusals: Refusals::default(),
        }
    }

    /// An interface, and where pings are answered there.
    pub fn add_gateway(&mut self, gateway: Gateway, endpoint: SocketAddrV4, now: HostTime) {
        self.gateways.insert(gateway, Place { endpoint, announced: None, announce_at: now });
    }

    /// It is gone, and whoever was there.
    pub fn remove_gateway(&mut self, gateway: Gateway) {
        self.gateways.remove(&gateway);
        self.peers.forget(gateway);
        if self.measuring.as_ref().is_some_and(|measured| measured.gateway == gateway) {
            self.measuring = None;
        }
    }

    /// What the session has in common.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Others in our session.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.of(self.shared.session)
    }

    /// What was not believed.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.refusals
    }

    /// Makes this the session's timeline; for members to follow it needs a greater beat at its origin than the one there is.
    pub fn set_timeline(&mut self, timeline: Timeline, now: HostTime) {
        if timeline.beat_origin > self.shared.timeline.beat_origin && timeline.is_sane() {
            self.shared.timeline = timeline;
            self.announce_soon(now);
        }
    }

    /// Starts or stops the session's transports; needs a later time than they were started or stopped at last.
    pub fn set_start_stop(&mut self, start_stop: StartStop, now: HostTime) {
        if start_stop.time > self.shared.start_stop.time && start_stop.is_sane() {
            self.shared.start_stop = start_stop;
            self.announce_soon(now);
        }
    }

    /// Says goodbye everywhere; what is left to do is to send that.
    pub fn leave(&mut self) {
        let bye = Presence::Bye(self.id).encode();
        self.actions.extend(self.gateways.keys().map(|gateway| Action::Announce(*gateway, bye.clone())));
        self.gateways.clear();
        self.measuring = None;
    }

    /// A datagram at the group's port, or at the interface's own.
    pub fn receive(&mut self, gateway: Gateway, from: SocketAddrV4, bytes: &[u8], now: HostTime) {
        match Presence::decode(bytes) {
            Err(Malformed::Insane) => self.refusals.insane += 1,
            // Others may have the port for something else, and groups are nobody's fault.
            Err(Malformed::Group) => {}
            Err(_) => self.refusals.malformed += 1,
            Ok(Presence::Bye(node)) => self.peers.gone(node, gateway),
            Ok(Presence::Alive { node, .. }) if node == self.id => {}
            Ok(Presence::Alive { is_response, ttl_s, node, state }) => {
                let Some(place) = self.gateways.get(&gateway) else { return };
                // Else anybody could make us ping anybody.
                let endpoint = state.endpoint.filter(|endpoint| endpoint.ip() == from.ip());
                self.refusals.endpoints += u64::from(endpoint != state.endpoint);
                let is_answered =
                    !is_response && self.peers.may_be_answered(node, gateway, now, ALIVE_SPACING);
                if is_answered {
                    let response = self.presence(true, place.endpoint);
                    self.actions.push_back(Action::Respond(gateway, from, response.encode()));
                }
                let seen = Seen {
                    session: state.session,
                    timeline: state.timeline,
                    start_stop: state.start_stop,
                    endpoint,
                    until: now + Nanos::from_secs(i64::from(ttl_s.min(2 * TTL_S))),
                    answered: now,
                    joined: now,
                    is_told: false,
                };
                if !self.peers.insert(node, gateway, seen, is_answered) {
                    self.refusals.peers += 1;
                } else if state.session == self.shared.session {
                    self.adopt(state.timeline, state.start_stop, now);
                }
            }
        }
    }

    /// A datagram at the measuring endpoint.
    pub fn receive_measuring(&mut self, gateway: Gateway, from: SocketAddrV4, bytes: &[u8], now: HostTime) {
        match Measuring::decode(bytes) {
            Err(_) => self.refusals.malformed += 1,
            Ok(Measuring::Ping(ping)) => self.answer(gateway, from, ping, now),
            Ok(Measuring::Pong(pong)) => self.take_pong(gateway, from, &pong, now),
        }
    }

    /// Does what is due. To be called at [`Node::wake_at`], and may be at any time.
    pub fn poll(&mut self, now: HostTime) {
        self.peers.expire(now);
        self.let_be.retain(|_, until| *until > now);
        self.ping_again(now);
        self.measure_what_is_due(now);
        self.tell_newcomers(now);
        let due: Vec<(Gateway, Place)> = self
            .gateways
            .iter()
            .filter(|(_, place)| place.announce_at <= now)
            .map(|(g, p)| (*g, *p))
            .collect();
        for (gateway, place) in due {
            let alive = self.presence(false, place.endpoint).encode();
            self.actions.push_back(Action::Announce(gateway, alive));
            let place = Place { announced: Some(now), announce_at: now + ALIVE_EVERY, ..place };
            self.gateways.insert(gateway, place);
        }
    }

    /// The next thing to be sent.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Node::poll`] has something to do next.
    #[must_use]
    pub fn wake_at(&self, now: HostTime) -> HostTime {
        let announce = self.gateways.values().map(|place| place.announce_at).min();
        let ping = self.measuring.as_ref().map(|measured| measured.give_up_ping_at);
        let idle = now + ALIVE_EVERY;
        [announce, ping].into_iter().flatten().fold(idle, HostTime::min)
    }

    fn presence(&self, is_response: bool, endpoint: SocketAddrV4) -> Presence {
        let Shared { session, timeline, start_stop, .. } = self.shared;
        let state = State { timeline, session, start_stop, endpoint: Some(endpoint) };
        Presence::Alive { is_response, ttl_s: TTL_S, node: self.id, state }
    }

    fn announce_soon(&mut self, now: HostTime) {
        for place in self.gateways.values_mut() {
            let soonest = place.announced.map_or(now, |last| now.max(last + ALIVE_SPACING));
            place.announce_at = place.announce_at.min(soonest);
        }
    }

    fn tell_newcomers(&mut self, now: HostTime) {
        let Shared { session, offset, timeline, start_stop } = self.shared;
        let at = offset.link_at(now);
        // What begins later is heard of anyway.
        if start_stop.is_playing && start_stop.time < at && self.peers.tell(session, now - TELL_AFTER) {
            self.set_start_stop(StartStop::new(true, at, &timeline), now);
        }
    }

    fn adopt(&mut self, timeline: Timeline, start_stop: StartStop, now: HostTime) {
        self.set_timeline(timeline, now);
        self.set_start_stop(start_stop, now);
    }

    fn answer(&mut self, gateway: Gateway, from: SocketAddrV4, ping: Ping, now: HostTime) {
        if now - self.pongs.0 > Nanos::from_secs(1) {
            self.pongs = (now, 0);
        }
        self.pongs.1 += 1;
        if self.pongs.1 > PONGS_PER_SECOND {
            self.refusals.pings += 1;
            return;
        }
        let Shared { session, offset, .. } = self.shared;
        let pong = Measuring::Pong(Pong { session, link: offset.link_at(now), ping });
        self.actions.push_back(Action::Measure(gateway, from, pong.encode()));
    }

    fn take_pong(&mut self, gateway: Gateway, from: SocketAddrV4, pong: &Pong, now: HostTime) {
        let Some(measured) = &mut self.measuring else { return };
        if (measured.gateway, measured.to) != (gateway, from) {
            return;
        }
        if pong.session != measured.session {
            // Who answers has gone over to another session meanwhile: its next message says so.
            self.measuring = None;
            return;
        }
        match measured.chain.receive(pong, now) {
            Progress::Stray => {}
            Progress::Ping(ping) => {
                measured.lost = 0;
                measured.give_up_ping_at = now + PING_TIMEOUT;
                self.actions.push_back(Action::Measure(gateway, from, Measuring::Ping(ping).encode()));
            }
            Progress::Done(offset) => {
                let session = measured.session;
                self.measuring = None;
                self.measured(session, offset, now);
            }
        }
    }

    fn measured(&mut self, session: LinkSession, offset: Offset, now: HostTime) {
        let ahead = offset.get().saturating_sub(self.shared.offset.get());
        if session == self.shared.session {
            let is_like =
                |other: Offset| offset.get().saturating_sub(other.get()).saturating_abs() <= DOUBT_US;
            if is_like(self.shared.offset) || self.doubt.is_some_and(is_like) {
                self.shared.offset = offset;
                self.doubt = None;
                self.measure_at = now + MEASURE_EVERY;
            } else {
                self.doubt = Some(offset);
                self.measure_at = now + ALIVE_EVERY;
            }
        } else if ahead > SAME_AGE_US || (ahead >= -SAME_AGE_US && session < self.shared.session) {
            self.join(session, offset, now);
        } else {
            self.leave_alone(session, now);
        }
    }

    fn join(&mut self, session: LinkSession, offset: Offset, now: HostTime) {
        let Some((timeline, start_stop)) = self.peers.state_of(session) else { return };
        self.shared = Shared { session, offset, timeline, start_stop };
        self.doubt = None;
        self.measure_at = now + MEASURE_EVERY;
        self.let_be.clear();
        self.announce_soon(now);
    }

    fn leave_alone(&mut self, session: LinkSession, now: HostTime) {
        if self.let_be.len() < LET_BE_MAX {
            self.let_be.insert(session, now + LET_BE);
        }
    }

    fn ping_again(&mut self, now: HostTime) {
        let Some(measured) = self.measuring.as_mut().filter(|measured| measured.give_up_ping_at <= now)
        else {
            return;
        };
        measured.lost += 1;
        if measured.lost < PINGS_LOST_MAX {
            measured.give_up_ping_at = now + PING_TIMEOUT;
            let ping = Measuring::Ping(measured.chain.again(now));
            self.actions.push_back(Action::Measure(measured.gateway, measured.to, ping.encode()));
            return;
        }
        let (session, so_far) = (measured.session, measured.chain.so_far());
        self.measuring = None;
        if let Some(offset) = so_far {
            self.measured(session, offset, now);
        } else {
            self.measure_at = now + LET_BE;
            self.leave_alone(session, now);
        }
    }

    /// Another session first; else our own, where its clock is not ours.
    fn measure_what_is_due(&mut self, now: HostTime) {
        if self.measuring.is_some() {
            return;
        }
        let own = self.shared.session;
        let other = self.peers.to_measure(|session| session != own && !self.let_be.contains_key(&session));
        let is_due = own.0 != self.id.0 && self.measure_at <= now;
        let again = || is_due.then(|| self.peers.to_measure(|session| session == own)).flatten();
        let Some((session, gateway, to)) = other.or_else(again) else { return };
        let chain = Measurement::begin(now);
        self.actions.push_back(Action::Measure(gateway, to, Measuring::Ping(chain.ping()).encode()));
        let give_up_ping_at = now + PING_TIMEOUT;
        self.measuring = Some(Measured { session, gateway, to, chain, lost: 0, give_up_ping_at });
    }
}
