//! The hub's part in shared time: what peers say of it, messages that measure it, and what is said to them.

use std::collections::BTreeMap;
use std::time::Duration;

use audiocloud_clock::beat_map::Segment;
use audiocloud_clock::election::ProcessId;
use audiocloud_clock::ptp::{Action, Config, Exchange, Role};
use audiocloud_membership::rights::Operation;
use audiocloud_units::{HostTime, Nanos};
use audiocloud_wire::id::SessionId;
use audiocloud_wire::message::{Beats, Message, TimeState};
use audiocloud_wire::packet::clock::{CLOCK_HEADER_BYTES, ClockPacket, PTP_BYTES_MAX};
use bytes::Bytes;

use super::{Connected, Hub};
use crate::clock::{
    Domain, HostClock, beats_of, process, segments_of, state_of, state_said, tag_of, wall_time,
};
use crate::peer::Peer;
use crate::standing::{Trusted, now_ms, now_s};

/// Packets of the clock exchange taken of one peer in a second: an exchange each way in each of two domains is half of that.
const PACKETS_PER_S: u32 = 128;

/// One exchange with a peer, in a domain.
struct Talk {
    with: ProcessId,
    role: Role,
    exchange: Exchange,
}

/// Which domain, and which link.
type Place = (Option<SessionId>, u64);

/// What the hub keeps of shared time.
pub(crate) struct Times {
    host_clock: HostClock,
    talks: BTreeMap<Place, Talk>,
}

impl Times {
    pub(crate) fn new(host_clock: HostClock) -> Self {
        Self { host_clock, talks: BTreeMap::new() }
    }
}

/// What is left of the packets that a peer may send in this second.
#[derive(Debug)]
pub(crate) struct PacketAllowance {
    since: HostTime,
    left: u32,
}

impl PacketAllowance {
    pub(crate) fn new(now: HostTime) -> Self {
        Self { since: now, left: PACKETS_PER_S }
    }

    fn take(&mut self, now: HostTime) -> bool {
        if now - self.since >= Nanos::from_secs(1) {
            *self = Self::new(now);
        }
        let has_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has_left
    }
}

fn process_of(peer: &Peer) -> ProcessId {
    process(peer.device, peer.instance)
}

impl Hub {
    // ---- Who shares a time with us.

    /// Whether a peer is in the domain, as far as we know. One's own other devices are in all sessions that oneself is in.
    fn shares_time(&self, link: &Connected, session: Option<SessionId>) -> bool {
        match session {
            None => link.standing.trusted.is_some(),
            Some(session) => {
                let is_in = self.own.get(&session).is_some_and(|own| own.grant.is_ok());
                let is_own = link.standing.trusted == Some(Trusted::Own);
                is_in && (is_own || link.standing.grants.contains_key(&session))
            }
        }
    }

    /// Whether a peer of the domain may lead it.
    fn leads_time(&self, link: &Connected, session: Option<SessionId>) -> bool {
        match session {
            Some(_) if link.standing.trusted == Some(Trusted::Own) => self.may_lead(session).is_ok(),
            Some(session) => {
                let grant = link.standing.grants.get(&session);
                grant.is_some_and(|grant| grant.allows(&Operation::Lead, now_s()).is_ok())
            }
            None => true,
        }
    }

    /// Whether this user may lead the domain.
    fn may_lead(&self, session: Option<SessionId>) -> Result<(), String> {
        let Some(session) = session else { return Ok(()) };
        let Some(own) = self.own.get(&session) else {
            return Err("this user is not in that session; join it first".to_owned());
        };
        let grant = own.grant.as_ref().map_err(Clone::clone)?;
        grant.allows(&Operation::Lead, now_s()).map_err(|denied| denied.to_string())
    }

    // ---- What peers say.

    pub(super) fn take_time_state(&mut self, id: u64, said: &TimeState) {
        let Some(link) = self.links.get(&id) else { return };
        let Some(domain) = self.shared.clocks.known(said.session) else { return };
        if !self.shares_time(link, said.session) {
            self.shared.counters.time_refused.add(1);
            return;
        }
        let round_trip = Nanos::from(link.connection.rtt());
        let may_lead = self.leads_time(link, said.session);
        let from = process_of(&link.peer);
        let now = domain.now();
        let beats = domain.with(|inner| {
            let needs = inner.keeper.hear(from, state_of(said), (round_trip, may_lead), now, now_ms());
            inner.keeper.beats_origin().filter(|_| needs).map(|origin| (origin, inner.keeper.map().clone()))
        });
        if let Some((origin, map)) = beats {
            for beats in beats_of(said.session, origin, map.segments()) {
                link.send(Message::Beats(beats));
            }
        }
    }

    pub(super) fn take_beats(&mut self, id: u64, said: &Beats) {
        let Some(link) = self.links.get(&id) else { return };
        let Some(domain) = self.shared.clocks.known(said.session) else { return };
        if !self.shares_time(link, said.session) {
            self.shared.counters.time_refused.add(1);
            return;
        }
        let may_lead = self.leads_time(link, said.session);
        let (segments, now) = (segments_of(said), domain.now());
        let news = domain.with(|inner| inner.keeper.hear_beats(&segments, said.origin, may_lead, now));
        if !news.is_empty() {
            self.spread_beats(&domain, Some(id), &news);
        }
    }

    /// Says changes of a beat map to all who share it, but for who said them.
    fn spread_beats(&self, domain: &Domain, except: Option<u64>, segments: &[Segment]) {
        let session = domain.session();
        let Some(origin) = domain.with(|inner| inner.keeper.beats_origin()) else { return };
        let messages = beats_of(session, origin, segments);
        for (id, link) in &self.links {
            if Some(*id) != except && self.shares_time(link, session) {
                messages.iter().for_each(|beats| link.send(Message::Beats(beats.clone())));
            }
        }
    }

    // ---- Measuring.

    /// A message of an exchange came.
    pub(super) fn take_clock_packet(&mut self, id: u64, packet: &ClockPacket<'_>) {
        let now = self.times.host_clock.now();
        let Some(link) = self.links.get_mut(&id) else { return };
        let session = self.shared.clocks.tagged(packet.domain).map(|domain| domain.session());
        let talk = session.and_then(|session| self.times.talks.get_mut(&(session, id)));
        let Some(talk) = talk.filter(|_| link.clock_allowance.take(now)) else {
            return self.shared.counters.clock_packets_refused.add(1);
        };
        let before = talk.exchange.deadline();
        talk.exchange.receive(packet.ptp, now);
        let after = talk.exchange.deadline();
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.shared.clocks.news.notify_one();
        }
        self.act((session.unwrap_or_default(), id));
    }

    /// Sends what an exchange wants sent, and hands on what it has measured.
    fn act(&mut self, place: Place) {
        let Self { times, links, shared, .. } = self;
        let (session, id) = place;
        let (Some(talk), Some(link)) = (times.talks.get_mut(&place), links.get(&id)) else { return };
        let mut out = [0; CLOCK_HEADER_BYTES + PTP_BYTES_MAX];
        let outlet = link.outlet.borrow();
        while let Some(action) = talk.exchange.poll_action() {
            match action {
                Action::Send { message, stamp } => {
                    let packet = ClockPacket { domain: tag_of(session), ptp: &message };
                    let Ok(length) = packet.encode(&mut out) else { continue };
                    let datagram = Bytes::copy_from_slice(&out[..length]);
                    let left = times.host_clock.now();
                    // One that does not leave is one that is lost on the way.
                    let _sent = outlet.send_always(datagram);
                    if let Some(stamp) = stamp {
                        talk.exchange.sent(stamp, left);
                    }
                }
                Action::Measured(measurement) => {
                    if let Some(domain) = shared.clocks.known(session) {
                        let now = times.host_clock.now();
                        domain.with(|inner| inner.keeper.measure(&talk.with, measurement, now));
                    }
                }
            }
        }
    }

    // ---- Time goes by.

    /// Says what was edited, and does what is due in exchanges. How long there is nothing to do, if that is known.
    pub(crate) fn keep_time(&mut self) -> Option<Duration> {
        self.spread_edits();
        let now = self.times.host_clock.now();
        let due = |talk: &Talk| talk.exchange.deadline().is_some_and(|deadline| deadline <= now);
        let places: Vec<Place> =
            self.times.talks.iter().filter(|(_, talk)| due(talk)).map(|(place, _)| *place).collect();
        for place in places {
            let line = self.shared.clocks.known(place.0).and_then(|domain| domain.shown());
            if let Some(talk) = self.times.talks.get_mut(&place) {
                talk.exchange.set_line(line);
                talk.exchange.handle_timeout(now);
            }
            self.act(place);
        }
        let next = self.times.talks.values().filter_map(|talk| talk.exchange.deadline()).min()?;
        let left = (next - self.times.host_clock.now()).get();
        Some(Duration::from_nanos(u64::try_from(left).unwrap_or(0)))
    }

    /// What was edited here goes to the others at once.
    fn spread_edits(&mut self) {
        for domain in self.shared.clocks.all() {
            let edits = domain.with(crate::clock::Inner::take_edits);
            if !edits.is_empty() {
                self.spread_beats(&domain, None, &edits);
            }
        }
    }

    /// To be called twenty times a second.
    pub(super) fn tick_time(&mut self) {
        let now = self.times.host_clock.now();
        let joined = self.own.values().filter(|own| own.grant.is_ok()).map(|own| &own.session);
        let domains = self.shared.clocks.of_sessions(joined);
        let mut wanted = BTreeMap::new();
        for domain in &domains {
            self.tick_domain(domain, now, &mut wanted);
        }
        self.times.talks.retain(|place, talk| wanted.get(place) == Some(&talk.role));
        let me = self.shared.clocks.me();
        for (place, role) in wanted {
            let Some(link) = self.links.get(&place.1) else { continue };
            let with = process_of(&link.peer);
            self.times.talks.entry(place).or_insert_with(|| {
                // Its deadlines are to be waited for.
                self.shared.clocks.news.notify_one();
                let [a, b, c, d, e, f, g, h, ..] = me.instance;
                let config = Config::direct([a, b, c, d, e, f, g, h], role);
                let mut exchange = Exchange::new(config, now.get().cast_unsigned(), now);
                exchange.set_line(self.shared.clocks.known(place.0).and_then(|domain| domain.shown()));
                Talk { with, role, exchange }
            });
        }
    }

    /// One domain's turn: who is there, what is to be said, and with whom there is to be an exchange.
    fn tick_domain(&self, domain: &Domain, now: HostTime, wanted: &mut BTreeMap<Place, Role>) {
        let session = domain.session();
        let links: Vec<(u64, &Connected)> = self
            .links
            .iter()
            .filter(|(_, link)| self.shares_time(link, session))
            .map(|(id, link)| (*id, link))
            .collect();
        let connected: BTreeMap<ProcessId, String> =
            links.iter().map(|(_, link)| (process_of(&link.peer), link.peer.name.clone())).collect();
        let may_lead = self.may_lead(session);
        let new_master = domain.with(|inner| {
            inner.set_connected(&connected);
            inner.keeper.set_may_lead(may_lead);
            let says = inner.keeper.tick(now, wall_time());
            for (id, link) in links {
                let peer = process_of(&link.peer);
                if says {
                    let state = inner.keeper.say(&peer, now);
                    link.send(Message::TimeState(Box::new(state_said(session, &state))));
                }
                if inner.keeper.source() == Some(peer) {
                    wanted.insert((session, id), Role::Slave);
                } else if inner.keeper.serves(&peer) {
                    wanted.insert((session, id), Role::Master);
                }
            }
            inner.new_master()
        });
        if let Some(whose) = new_master {
            let of = session
                .map_or("this user's machines".to_owned(), |session| format!("session {}", session.short()));
            self.shared.journal.note(&format!("the time of {of} is {whose} now"));
        }
    }
}
