//! What the thread of the sessions does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use audiocloud_membership::gossip;
use audiocloud_membership::invitation::Place;
use audiocloud_membership::key::SigningKey;
use audiocloud_membership::member::MemberRecord;
use audiocloud_membership::rights::Operation;
use audiocloud_membership::roster::News;
use audiocloud_membership::shared::Edit;
use audiocloud_wire::id::{DeviceId, SessionId, Signature, UserId};
use audiocloud_wire::message::{Membership as Shown, Message, PLACES_MAX, SessionPlaces};
use tokio::sync::mpsc::UnboundedSender;

use super::joined::{Found, Joined};
use super::{Admission, Event, Order, Own};
use crate::Config;
use crate::allowance::Allowance;
use crate::identity::Identity;
use crate::peer::Peer;
use crate::sessions::log::{Act, LogEntry};
use crate::sessions::store::{Stamp, Store, StoreError};
use crate::standing::{Grants, now_ms, now_s};
use crate::status::{Shared, lock};

mod said;

/// How often the store is looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often this process says that it is there.
const ANNOUNCE: Duration = Duration::from_secs(20);
/// How often peers compare what they have: what was lost on the way is found out by this.
const COMPARE: Duration = Duration::from_secs(5);
/// How often members that are not connected are dialled anew, whatever their places did before.
const DIAL: Duration = Duration::from_secs(15);
/// And so soon after a connection has ended.
const DIAL_SOON: Duration = Duration::from_millis(500);
/// Where members are is written at most so often.
const KEEP_PLACES: Duration = Duration::from_secs(10);
/// A roster is sent to a peer again at the earliest after this long, and twice as long each time that it did not help.
const ROSTER_AGAIN: Duration = Duration::from_secs(2);
const ROSTER_AGAIN_DOUBLINGS: u32 = 7;
/// What nobody who follows the rules sends, from one connection.
const OFFENCES_MAX: u32 = 32;
/// Lines of the log that wait to be written.
const LOG_WAITING_MAX: usize = 64;

/// A connected peer.
struct Linked {
    peer: Peer,
    grants: Grants,
    rosters_sent: BTreeMap<SessionId, (Instant, u32)>,
    /// What is left of what it may have sent that it lacks.
    answers: Allowance,
    offences: u32,
}

/// See the module.
pub(super) struct Worker {
    store: Store,
    user_key: SigningKey,
    device_key: SigningKey,
    user: UserId,
    device: DeviceId,
    certificate: Signature,
    shared: Arc<Shared>,
    waiting_bytes: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    orders: UnboundedSender<Order>,
    sessions: BTreeMap<SessionId, Joined>,
    links: BTreeMap<u64, Linked>,
    /// Sessions in which this user is in good standing.
    good: Vec<SessionId>,
    accepted: Option<Vec<UserId>>,
    /// Of the store as it was read.
    stamp: Option<Stamp>,
    /// The last trouble with the store: told once.
    trouble: String,
    places: Vec<Place>,
    log: Vec<LogEntry>,
    next_tick: Instant,
    next_announce: Instant,
    next_compare: Instant,
    next_dial: Instant,
    next_keep: Instant,
}

impl Worker {
    pub(super) fn new(
        config: &Config,
        identity: &Identity,
        shared: Arc<Shared>,
        (waiting_bytes, stopping): (Arc<AtomicUsize>, Arc<AtomicBool>),
        orders: UnboundedSender<Order>,
    ) -> Self {
        let now = Instant::now();
        Self {
            store: Store::new(&config.config_dir),
            user_key: identity.user_key(),
            device_key: identity.device_key(),
            user: identity.user(),
            device: identity.device(),
            certificate: Signature(identity.certificate_by_user()),
            shared,
            waiting_bytes,
            stopping,
            orders,
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            good: Vec::new(),
            accepted: None,
            stamp: None,
            trouble: String::new(),
            places: Vec::new(),
            log: Vec::new(),
            next_tick: now,
            next_announce: now + ANNOUNCE,
            next_compare: now + COMPARE,
            next_dial: now,
            next_keep: now,
        }
    }

    pub(super) fn run(mut self, inbox: &mpsc::Receiver<Event>) {
        while !self.stopping.load(Ordering::Relaxed) {
            let wait = self.next_tick.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(wait) {
                Ok(Event::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Ok(event) => self.handle(event),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= self.next_tick {
                self.tick(Instant::now());
            }
        }
        self.write_log();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Knock { user, memberships, answer } => self.knock(user, &memberships, answer),
            Event::Up { link, peer } => {
                let (grants, rosters_sent) = Default::default();
                let answers = Allowance::of_answers(Instant::now());
                self.links.insert(link, Linked { peer, grants, rosters_sent, answers, offences: 0 });
                self.refresh_link(link, now_s());
                self.show();
            }
            Event::Down { link } => {
                if let Some(gone) = self.links.remove(&link) {
                    for joined in self.sessions.values_mut() {
                        joined.presence.remove(gone.peer.device, gone.peer.instance);
                    }
                    self.next_dial = self.next_dial.min(Instant::now() + DIAL_SOON);
                    self.show();
                }
            }
            Event::Said { link, bytes, gossip } => {
                self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.said(link, gossip);
            }
            Event::Accept { user, name } => {
                let accepted = self.store.accept(&user, &name);
                self.noted(accepted);
                let text = format!("{name} ({}) was accepted", user.short());
                self.log(None, Act::Accepted, Some(self.user), text);
                self.read_store();
            }
            Event::Edit { session, edit, answer } => {
                // Who asked may have stopped waiting.
                answer.send(self.edit(session, edit)).ok();
            }
            Event::TurnedAway { sessions, why } => {
                for session in sessions {
                    if let Some(joined) = self.sessions.get_mut(&session) {
                        joined.turned_away = Some(format!("members do not let us in: {why}"));
                    }
                }
                self.show();
            }
            Event::Log(entry) => self.log.push(entry),
            Event::OwnPlaces(places) => {
                if self.places != places {
                    self.places = places;
                    self.keep_places();
                    self.announce();
                }
            }
            Event::Stop => {}
        }
    }

    fn order(&self, order: Order) {
        // After the network's end there is nobody to do it.
        self.orders.send(order).ok();
    }

    // ---- Now and then.

    fn tick(&mut self, now: Instant) {
        self.next_tick = now + TICK;
        if self.stamp.is_none_or(|read| read != self.store.stamp()) {
            self.read_store();
        }
        self.refresh_links();
        for joined in self.sessions.values_mut() {
            joined.presence.expire(now);
        }
        if now >= self.next_announce {
            self.next_announce = now + ANNOUNCE;
            self.announce();
        }
        if now >= self.next_compare {
            self.next_compare = now + COMPARE;
            for (session, joined) in &self.sessions {
                self.flood(*session, &[Message::SessionHave(joined.have())], None);
            }
        }
        if now >= self.next_dial {
            self.next_dial = now + DIAL;
            self.dial();
        }
        if now >= self.next_keep {
            self.keep_members_places(now);
        }
        self.write_log();
        self.show();
    }

    /// Reads what was written into the store, by this process or another one.
    fn read_store(&mut self) {
        let stamp = self.store.stamp();
        match self.try_read_store() {
            Ok(()) => {
                self.stamp = Some(stamp);
                self.trouble.clear();
            }
            Err(error) => self.noted(Err(error)),
        }
    }

    fn try_read_store(&mut self) -> Result<(), StoreError> {
        let now_s = now_s();
        let memberships = self.store.memberships()?;
        let accepted: Vec<UserId> = self.store.accepted()?.into_iter().map(|one| one.user).collect();
        let kept: BTreeSet<SessionId> = memberships.iter().map(|membership| membership.session).collect();
        self.sessions.retain(|session, _| kept.contains(session));
        for membership in memberships {
            let session = membership.session;
            if let Some(joined) = self.sessions.get_mut(&session) {
                joined.membership = membership;
                let found = joined.reload(&self.store, now_s)?;
                self.pass_on(session, &found, None);
            } else {
                let joined = Joined::load(&self.store, membership, now_s)?;
                self.sessions.insert(session, joined);
                self.next_dial = Instant::now();
                self.keep_places();
            }
        }
        if self.accepted.as_ref() != Some(&accepted) {
            self.order(Order::Accepted(accepted.clone()));
            self.accepted = Some(accepted);
        }
        self.tell_sessions();
        self.refresh_links();
        self.show();
        Ok(())
    }

    fn tell_sessions(&self) {
        let now_s = now_s();
        let own = |(session, joined): (&SessionId, &Joined)| Own {
            session: *session,
            record: joined.membership.record.clone(),
            grant: joined.grant(&self.user, now_s).cloned().map(Arc::new),
            meeting: joined.membership.meeting.clone(),
        };
        self.order(Order::Sessions(self.sessions.iter().map(own).collect()));
    }

    /// Has members dialled: where the link said, where they say, and where they were last.
    fn dial(&self) {
        for (session, joined) in &self.sessions {
            if joined.grant(&self.user, now_s()).is_err() {
                continue;
            }
            for place in &joined.membership.places {
                self.order(Order::Dial { session: *session, place: place.clone(), peer: None });
            }
            // A device that is connected tells where its other processes are.
            let is_away =
                |place: &&Place| self.links.values().all(|link| place.device != Some(link.peer.device.0));
            for place in joined.last_places.iter().filter(is_away) {
                self.order(Order::Dial { session: *session, place: place.clone(), peer: None });
            }
            joined.presence.iter().for_each(|said| self.dial_present(said));
        }
    }

    fn dial_present(&self, said: &SessionPlaces) {
        let id = (said.device, said.instance);
        let connected = self.links.values().any(|link| (link.peer.device, link.peer.instance) == id);
        // Processes of this device find each other by themselves.
        if connected || said.device == self.device {
            return;
        }
        for address in &said.places {
            let place = Place { address: address.clone(), device: Some(said.device.0) };
            self.order(Order::Dial { session: said.session, place, peer: Some(id) });
        }
    }

    /// Says that this process is there.
    fn announce(&self) {
        for session in self.sessions.keys() {
            self.flood(*session, &[self.own_places(*session)], None);
        }
    }

    fn own_places(&self, session: SessionId) -> Message {
        let mut places = SessionPlaces {
            session,
            user: self.user,
            device: self.device,
            certificate: self.certificate,
            instance: self.shared.instance,
            places: self.places.iter().take(PLACES_MAX).map(|place| place.address.clone()).collect(),
            at_ms: now_ms(),
            signature: Signature([0; 64]),
        };
        places.signature = Signature(self.device_key.sign(&places.signed_message()));
        Message::SessionPlaces(Box::new(places))
    }

    /// For links that are made where no runtime is asked.
    fn keep_places(&mut self) {
        if !self.sessions.is_empty() && !self.places.is_empty() {
            let kept = self.store.set_own_places(&self.places);
            self.noted(kept);
        }
    }

    fn keep_members_places(&mut self, now: Instant) {
        let mut kept = Ok(());
        for (session, joined) in &mut self.sessions {
            if std::mem::take(&mut joined.has_new_places) {
                self.next_keep = now + KEEP_PLACES;
                kept = kept.and(self.store.set_members_places(session, &joined.last_places));
            }
        }
        self.noted(kept);
    }

    // ---- Who may come in.

    fn knock(&mut self, user: UserId, shown: &[Shown], answer: tokio::sync::oneshot::Sender<Admission>) {
        let now_s = now_s();
        let mut admission = Admission::default();
        let mut all_found = Vec::new();
        for Shown { session, record } in shown {
            let Some(joined) = self.sessions.get_mut(session) else {
                let why = "we are in no such session; somebody who is has to let you in".to_owned();
                admission.refusals.push((*session, why));
                continue;
            };
            let mut found = Found::default();
            match MemberRecord::from_bytes(record) {
                Ok(record) if record.user != user => {
                    let why = format!(
                        "this membership is of the user {}, and of no use to another key; ask for an invitation of your own",
                        record.user.short()
                    );
                    admission.refusals.push((*session, why));
                    continue;
                }
                Ok(_) => joined.take_peers_record(record, now_s, &mut found),
                Err(error) => {
                    admission.refusals.push((*session, error.to_string()));
                    continue;
                }
            }
            if let Some(rejected) = found.rejected.first() {
                admission.refusals.push((*session, rejected.to_string()));
            } else if let Err(why) = joined.grant(&user, now_s) {
                admission.refusals.push((*session, why));
            } else if let Err(why) = joined.grant(&self.user, now_s) {
                admission.refusals.push((*session, format!("we are out of the session ourselves: {why}")));
            }
            all_found.push((*session, found));
        }
        admission.grants = self.grants_of(&user, now_s);
        // Whoever asked may have given up.
        answer.send(admission).ok();
        for (session, mut found) in all_found {
            if found.roster_changed()
                && let Some(joined) = self.sessions.get_mut(&session)
            {
                joined.merge(&[], &mut found);
            }
            self.taken(session, &found, None);
        }
    }

    fn grants_of(&self, user: &UserId, now_s: u64) -> Grants {
        let grant = |(session, joined): (&SessionId, &Joined)| {
            // Who is out has no say in who else is in.
            joined.grant(&self.user, now_s).ok()?;
            Some((*session, Arc::new(joined.grant(user, now_s).ok()?.clone())))
        };
        self.sessions.iter().filter_map(grant).collect()
    }

    fn refresh_links(&mut self) {
        let now_s = now_s();
        let good = |joined: &&Joined| joined.grant(&self.user, now_s).is_ok();
        let good: Vec<SessionId> =
            self.sessions.values().filter(good).map(|joined| joined.membership.session).collect();
        if self.good != good {
            self.good = good;
            self.tell_sessions();
        }
        let links: Vec<u64> = self.links.keys().copied().collect();
        for link in links {
            self.refresh_link(link, now_s);
        }
    }

    /// Tells the network thread where a peer's grants are others than before, and greets the peer where they are new.
    fn refresh_link(&mut self, id: u64, now_s: u64) {
        let Some(link) = self.links.get(&id) else { return };
        let grants = self.grants_of(&link.peer.user, now_s);
        if grants == link.grants {
            return;
        }
        let user = link.peer.user;
        let before = link.grants.clone();
        let lost = before.keys().find(|session| !grants.contains_key(session)).map(|session| {
            match self
                .sessions
                .get(session)
                .map(|joined| (joined.grant(&user, now_s), joined.grant(&self.user, now_s)))
            {
                Some((_, Err(why))) => format!("we are out of the session ourselves: {why}"),
                Some((Err(why), Ok(_))) => why,
                _ => "we have left the session".to_owned(),
            }
        });
        if let Some(link) = self.links.get_mut(&id) {
            link.grants.clone_from(&grants);
        }
        self.order(Order::Grants { link: id, grants: grants.clone(), lost });
        for session in grants.keys().filter(|session| !before.contains_key(session)) {
            if let Some(joined) = self.sessions.get_mut(session).filter(|_| user != self.user) {
                joined.turned_away = None;
            }
            self.greet(id, *session);
        }
    }

    /// Tells a peer all that it may lack.
    fn greet(&mut self, link: u64, session: SessionId) {
        let Some(joined) = self.sessions.get(&session) else { return };
        let mut messages = gossip::roster(&joined.roster);
        messages.push(self.own_places(session));
        messages.extend(joined.presence.iter().map(|said| Message::SessionPlaces(Box::new(said.clone()))));
        messages.push(Message::SessionHave(joined.have()));
        for message in messages {
            self.order(Order::Send { link, message });
        }
        if let Some(link) = self.links.get_mut(&link) {
            link.rosters_sent.insert(session, (Instant::now(), 0));
        }
    }

    /// Says something to every peer who is in the session.
    fn flood(&self, session: SessionId, messages: &[Message], except: Option<u64>) {
        for (&link, linked) in &self.links {
            if Some(link) != except && linked.grants.contains_key(&session) {
                for message in messages {
                    self.order(Order::Send { link, message: message.clone() });
                }
            }
        }
    }

    // ---- What this user does.

    fn edit(&mut self, session: SessionId, edit: Edit) -> Result<(), String> {
        let joined = self.sessions.get_mut(&session).ok_or("this user is not in that session")?;
        let grant = joined.roster.grant(&self.user, now_s()).map_err(|refused| refused.to_string())?;
        grant.allows(&Operation::Edit, now_s()).map_err(|denied| denied.to_string())?;
        let change = joined.state.edit(&self.user_key, edit, now_ms()).map_err(|error| error.to_string())?;
        let found = Found { changes: vec![change], ..Found::default() };
        self.pass_on(session, &found, None);
        self.keep(session, &found).map_err(|error| error.to_string())
    }

    // ---- What others see.

    fn show(&self) {
        let now_s = now_s();
        let connected: BTreeSet<UserId> = self.links.values().map(|link| link.peer.user).collect();
        if self.stamp.is_none() && self.sessions.is_empty() && self.accepted.is_none() {
            return;
        }
        let mut all: Vec<_> = self
            .sessions
            .values()
            .map(|joined| joined.status(&self.user, now_s, |user| connected.contains(user)))
            .collect();
        all.sort_by(|one, other| (&one.name, one.session).cmp(&(&other.name, other.session)));
        *lock(&self.shared.sessions) = Some(all);
    }

    fn log_news(&mut self, session: SessionId, news: &[News]) {
        let Some(joined) = self.sessions.get(&session) else { return };
        let mut lines = Vec::new();
        for one in news {
            match one {
                News::Joined(user) => {
                    lines.push((Act::Joined, *user, format!("{} joined", joined.name_of(user))))
                }
                News::Revoked { members, .. } => {
                    let revoked = |user: &UserId| {
                        (Act::Revoked, *user, format!("{} was put out", joined.name_of(user)))
                    };
                    lines.extend(members.iter().map(revoked));
                }
                News::Known | News::Renewed(_) | News::Noted(_) => {}
            }
        }
        for (act, user, text) in lines {
            self.log(Some(session), act, Some(user), text);
        }
    }

    fn log(&mut self, session: Option<SessionId>, act: Act, who: Option<UserId>, text: String) {
        self.shared.journal.note(&text);
        self.log.push(LogEntry { at_ms: now_ms(), session, act, who, text });
    }

    fn write_log(&mut self) {
        let mut log = std::mem::take(&mut self.log);
        let left_out = log.len().saturating_sub(LOG_WAITING_MAX);
        log.truncate(LOG_WAITING_MAX);
        if let Some(last) = log.last_mut()
            && left_out > 0
        {
            last.text = format!("{} (and {left_out} more at that time)", last.text);
        }
        let written = self.store.append_log(&log);
        self.noted(written);
    }

    /// Trouble with the store is told once.
    fn noted(&mut self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            let text = error.to_string();
            if text != self.trouble {
                self.shared.journal.note(&text);
                self.trouble = text;
            }
        }
    }
}
