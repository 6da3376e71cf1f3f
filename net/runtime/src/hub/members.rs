//! The hub's part in sessions: what the thread of the sessions orders, and the doors at which rights are asked for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use audiocloud_membership::invitation::Place;
use audiocloud_membership::rights::Operation;
use audiocloud_wire::id::{DeviceId, SessionId, StreamId, StreamKey, UserId};
use audiocloud_wire::message::{
    Directory, Message, StreamAnnouncement, SubscribeRefusal, SubscribeRefused, Text,
};

use super::{CloseCode, Hub};
use crate::directory;
use crate::peer::Peer;
use crate::publisher::Publisher;
use crate::sessions::live::{Event, Gossip, Order};
use crate::sessions::{Act, LogEntry};
use crate::standing::{Grants, Standing, Trusted, now_ms, now_s};
use crate::status::{LossCause, lock};

/// How long a device that broke the rules is not let in again.
const CUT_OFF: Duration = Duration::from_secs(20);
/// How long the reason has to get out to a peer that is put out.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Devices that are remembered as such.
const CUT_OFF_MAX: usize = 64;
/// The most that is said of streams that are not taken.
const REFUSED_LINES_MAX: usize = 3;

impl Hub {
    pub(crate) fn handle_order(&mut self, order: Order) {
        match order {
            Order::Sessions(own) => {
                self.own = own.into_iter().map(|own| (own.session, own)).collect();
                self.dialler.notify_one();
                self.announce();
            }
            Order::Accepted(users) => self.set_accepted(users),
            Order::Grants { link, grants, lost } => self.set_grants(link, grants, lost),
            Order::Send { link, message } => {
                if let Some(link) = self.links.get(&link) {
                    link.send(message);
                }
            }
            Order::Dial { session, place, peer } => {
                if self.candidates.member(session, &place, peer, Instant::now()) {
                    self.dialler.notify_one();
                }
            }
            Order::Cut { link, why } => self.cut_off(link, why),
        }
    }

    // ---- Who is trusted.

    /// Whether a user is let in without any session.
    pub(crate) fn is_accepted(&self, user: &UserId) -> bool {
        self.accepted.contains(user)
    }

    fn set_accepted(&mut self, users: Vec<UserId>) {
        self.accepted = users.into_iter().collect();
        self.strangers
            .retain(|(stranger, _)| stranger.user.is_none_or(|user| !self.accepted.contains(&user)));
        self.show_strangers();
        self.candidates.forgive(Instant::now());
        self.dialler.notify_one();
        let forgotten: Vec<u64> = self
            .links
            .iter_mut()
            .filter(|(_, link)| {
                link.standing.trusted == Some(Trusted::Accepted) && !self.accepted.contains(&link.peer.user)
            })
            .map(|(&id, link)| {
                link.standing.trusted = None;
                id
            })
            .collect();
        for id in forgotten {
            self.standing_changed(id, Some("this user is no longer accepted here".to_owned()));
        }
    }

    fn set_grants(&mut self, id: u64, grants: Grants, lost: Option<String>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.standing.grants = grants;
        self.standing_changed(id, lost);
    }

    /// Ends what a peer may no longer have, and offers what it may have now.
    fn standing_changed(&mut self, id: u64, lost: Option<String>) {
        let Some(link) = self.links.get(&id) else { return };
        if !link.standing.holds() {
            let why = lost.unwrap_or_else(|| "we share no session any more".to_owned());
            let (peer, device, user) = (link.peer.to_string(), link.peer.device, link.peer.user);
            self.log(None, Act::Refused, Some(user), format!("put {peer} out: {why}"));
            let (instance, random) = (link.peer.instance, self.random());
            self.candidates.disconnected(instance, false, Instant::now(), random);
            // Its packets end now; the connection ends when the reason, which is among its messages, has got out.
            if let Some(link) = self.drop_link(id) {
                let why = why.clone();
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(LAST_WORDS).await;
                    link.connection.close(CloseCode::Refused.code(), why.as_bytes());
                    // All of it until here: without its queue the messages would end before the connection.
                    drop(link);
                });
            }
            self.note_put_out(device, &format!("put {peer} out: {why}"));
            self.settle(LossCause::PeerClosed);
            return;
        }
        self.recheck_listener(id);
        self.remote_link_changed(id);
        self.filter_streams(id);
        self.announce_to(id);
        self.tell_inputs();
        self.settle(LossCause::Unpublished);
    }

    /// Ends the subscriptions of a peer that it has no right to any more.
    fn recheck_listener(&mut self, id: u64) {
        let Some(link) = self.links.get(&id) else { return };
        for publisher in self.publishers.values_mut().filter(|publisher| publisher.has_remote(id)) {
            let stream = publisher.shared.stream;
            let key = StreamKey::new(self.hello.device, stream);
            if let Err(text) = link.standing.may_hear(publisher.shared.session, &key) {
                publisher.remove_remote(id);
                link.send(not_allowed(stream, &text));
            }
        }
    }

    /// Ends a connection whose peer breaks the rules, and keeps the device out for a while.
    pub(crate) fn cut_off(&mut self, id: u64, why: &str) {
        let Some(link) = self.links.get(&id) else { return };
        let (peer, device) = (link.peer.to_string(), link.peer.device);
        link.connection.close(CloseCode::ProtocolError.code(), why.as_bytes());
        self.shared.counters.cut_off.add(1);
        if self.cut.len() >= CUT_OFF_MAX && !self.cut.contains_key(&device) {
            self.cut.pop_first();
        }
        self.cut.insert(device, Instant::now());
        self.drop_link(id);
        let line = format!("cut {peer} off: it sends {why}; it may come back in {} s", CUT_OFF.as_secs());
        self.note_refusal(Some(device), &line);
        self.settle(LossCause::ConnectionBroken);
    }

    /// Whether this device broke the rules a moment ago.
    pub(crate) fn is_cut_off(&mut self, device: &DeviceId) -> bool {
        self.cut.retain(|_, at| at.elapsed() < CUT_OFF);
        self.cut.contains_key(device)
    }

    /// Somebody showed memberships that do not hold.
    pub(crate) fn turned_away(&self, peer: &Peer, refusals: &[(SessionId, String)]) {
        for (session, why) in refusals {
            self.log(Some(*session), Act::Refused, Some(peer.user), format!("{peer} was not let in: {why}"));
        }
    }

    // ---- The door of what is published here.

    /// Looks which of our publications this user may not put into their session, and tells their owners.
    fn check_publications(&mut self) {
        self.withheld.clear();
        let mut counts: BTreeMap<SessionId, u16> = BTreeMap::new();
        let mut publishers: Vec<&Publisher> = self.publishers.values().collect();
        publishers.sort_unstable_by_key(|publisher| publisher.shared.stream);
        for publisher in publishers {
            let trouble = publisher.shared.session.and_then(|session| {
                let count = counts.entry(session).or_default();
                *count = count.saturating_add(1);
                let operation = Operation::Publish { streams: *count, channels: publisher.shared.channels };
                let Some(own) = self.own.get(&session) else {
                    return Some("this user is not in that session; join it, or choose another".to_owned());
                };
                match &own.grant {
                    Ok(grant) => grant.allows(&operation, now_s()).err().map(|denied| denied.to_string()),
                    Err(why) => Some(why.clone()),
                }
            });
            lock(&publisher.shared.trouble).clone_from(&trouble);
            if trouble.is_some() {
                self.withheld.insert(publisher.shared.stream);
            }
        }
    }

    /// What a peer of this standing may know of.
    pub(super) fn directory(&self, standing: &Standing) -> Directory {
        let seen = self.publishers.values().filter(|publisher| {
            let withheld = standing.trusted.is_none() && self.withheld.contains(&publisher.shared.stream);
            standing.sees(publisher.shared.session) && !withheld
        });
        directory::fitting(Directory {
            revision: self.revision,
            streams: seen.map(Publisher::announcement).collect(),
        })
    }

    pub(crate) fn announce(&mut self) {
        self.revision += 1;
        self.check_publications();
        let everything = Standing { trusted: Some(Trusted::Own), ..Standing::default() };
        let directory = self.directory(&everything);
        let unannounced = self.publishers.len() - directory.streams.len();
        if unannounced > 0 {
            self.shared.journal.note(&format!(
                "{unannounced} streams cannot be announced to peers: a directory holds no more; publish fewer, or give \
                 them shorter names"
            ));
        }
        for link in self.links.values() {
            let known = link.standing.trusted.is_some();
            let directory = if known { directory.clone() } else { self.directory(&link.standing) };
            link.send(Message::Directory(directory));
        }
        self.show();
    }

    pub(super) fn announce_to(&mut self, id: u64) {
        self.revision += 1;
        if let Some(link) = self.links.get(&id) {
            link.send(Message::Directory(self.directory(&link.standing)));
        }
    }

    /// A peer asks for a stream of ours.
    pub(super) fn subscribed(
        &mut self,
        id: u64,
        stream: StreamId,
        quality: audiocloud_wire::quality::Quality,
    ) {
        let Some(link) = self.links.get(&id) else { return };
        let Some(publisher) = self.publishers.get_mut(&stream) else {
            link.send(Message::SubscribeRefused(SubscribeRefused {
                stream,
                reason: SubscribeRefusal::NotPublished,
                text: Text::new("no stream with this id is published here"),
            }));
            return;
        };
        let key = StreamKey::new(self.hello.device, stream);
        let withheld = link.standing.trusted.is_none() && self.withheld.contains(&stream);
        let allowed = match withheld {
            true => Err("its publisher may not publish it in the session".to_owned()),
            false => link.standing.may_hear(publisher.shared.session, &key),
        };
        match allowed {
            Ok(()) => publisher.add_remote(id, &link.outlet, quality),
            Err(text) => {
                link.send(not_allowed(stream, &text));
                let (session, user) = (publisher.shared.session, link.peer.user);
                let name = lock(&publisher.shared.name).clone();
                let line = format!("{} asked to hear \"{name}\" and may not: {text}", link.peer);
                self.log(session, Act::Denied, Some(user), line);
            }
        }
    }

    // ---- The door of what peers publish.

    /// A peer says what it publishes.
    pub(super) fn take_directory(&mut self, id: u64, directory: Directory) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.announced = directory.streams;
        link.announced.sort_unstable_by_key(|stream| stream.stream);
        // It may have changed its mind with its directory.
        link.denied.clear();
        self.filter_streams(id);
        self.settle(LossCause::Unpublished);
    }

    /// Takes of what a peer announces what it may publish; the first streams, where it announces too many.
    pub(super) fn filter_streams(&mut self, id: u64) {
        let Some(link) = self.links.get(&id) else { return };
        let user = link.peer.user;
        let mut counts: BTreeMap<SessionId, u16> = BTreeMap::new();
        // A member counts once, with all processes and devices.
        let others = self.links.iter().filter(|(other, link)| **other != id && link.peer.user == user);
        for session in others.flat_map(|(_, link)| link.streams.values()).filter_map(|stream| stream.session)
        {
            let count = counts.entry(session).or_default();
            *count = count.saturating_add(1);
        }
        let (mut taken, mut refused) = (BTreeMap::new(), Vec::new());
        for stream in &link.announced {
            let streams = stream.session.map_or(1, |session| {
                let count = counts.entry(session).or_default();
                *count = count.saturating_add(1);
                *count
            });
            match may_publish(&link.standing, stream, streams) {
                Ok(()) => drop(taken.insert(stream.stream, stream.clone())),
                Err(why) => refused.push(format!("\"{}\": {why}", stream.name)),
            }
        }
        let peer = link.peer.to_string();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.streams = taken;
        if link.refused_streams != refused {
            link.refused_streams.clone_from(&refused);
            if refused.is_empty() {
                return;
            }
            self.shared.counters.streams_refused.add(u64::try_from(refused.len()).unwrap_or(0));
            let all = refused.len();
            refused.truncate(REFUSED_LINES_MAX);
            let line = format!("{all} streams of {peer} are not taken: {}", refused.join("; "));
            self.shared.journal.refused(&line);
            self.log(None, Act::Denied, Some(user), line);
        }
    }

    // ---- What peers say of sessions.

    /// Where this runtime can be dialled, for members and links.
    pub(crate) fn placed(&self, addresses: &[SocketAddr]) {
        let device = Some(self.hello.device.0);
        let place = |address: &SocketAddr| Place { address: Text::new(&address.to_string()), device };
        self.live.tell(Event::OwnPlaces(addresses.iter().map(place).collect()));
    }

    /// Passes on what a peer says to the thread that understands it.
    pub(super) fn gossip(&mut self, id: u64, bytes: usize, gossip: Gossip) {
        if !self.live.said(id, bytes, gossip) {
            self.shared.counters.session_messages_dropped.add(1);
        }
    }

    /// A line for the log of who did what, and for the journal.
    pub(super) fn log(&self, session: Option<SessionId>, act: Act, who: Option<UserId>, text: String) {
        tracing::info!(target: "audiocloud::sessions", "{text}");
        self.live.tell(Event::Log(LogEntry { at_ms: now_ms(), session, act, who, text }));
    }
}

fn may_publish(standing: &Standing, stream: &StreamAnnouncement, streams: u16) -> Result<(), String> {
    standing.allows(stream.session, &Operation::Publish { streams, channels: stream.channels.into() })
}

fn not_allowed(stream: StreamId, text: &str) -> Message {
    let reason = SubscribeRefusal::NotAllowed;
    Message::SubscribeRefused(SubscribeRefused { stream, reason, text: Text::new(text) })
}
