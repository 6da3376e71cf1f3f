//! Chains that are played here for others: the door, and what becomes of them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use audiocloud_membership::rights::Operation;
use audiocloud_session::remote::document::split;
use audiocloud_wire::id::{RemoteId, SessionId};
use audiocloud_wire::message::{
    Bytes, Message, RemoteCapacity, RemoteDocument, RemoteOpen, RemoteOpened, RemoteRefusal, RemoteRefused,
    RemoteReport, Text,
};

use super::ours::has_room;
use crate::congestion;
use crate::hub::{Connected, Hub};
use crate::remote::chain_thread::{self, Job};
use crate::remote::host::{OpenRequest, Who};
use crate::remote::serving::{
    ASSEMBLING_BYTES_MAX, ASSEMBLING_MAX, PER_PEER_MAX, Phase, SERVED_MAX, Served, transfer,
};
use crate::remote::status::ServedShared;
use crate::sessions::Act;
use crate::status::lock;

/// Why a chain is not played.
type Refusal = (RemoteRefusal, String);

impl Hub {
    // ---- The host.

    /// Opens nothing any more, and says so.
    pub(super) fn drain(&mut self, serial: u64) {
        if let Some(hosting) = self.remote.hosting.as_mut().filter(|hosting| hosting.serial == serial) {
            hosting.draining = true;
            hosting.look();
            self.tell_capacity();
        }
    }

    /// Ends the host that there is, if it is this one or whichever.
    pub(super) fn stop_serving(&mut self, serial: Option<u64>) {
        let ends =
            |hosting: &crate::remote::serving::Hosting| serial.is_none_or(|serial| hosting.serial == serial);
        let Some(hosting) = self.remote.hosting.take_if(|hosting| ends(hosting)) else { return };
        let all: Vec<u64> = self.remote.served.keys().copied().collect();
        for serving in all {
            let why = "this node ends; start it again, or choose another".to_owned();
            self.refuse_served(serving, (RemoteRefusal::Draining, why));
        }
        let none = RemoteCapacity { chains: 0, chains_max: 0, draining: true, ..hosting.capacity.clone() };
        for link in hosting.told.keys().filter_map(|id| self.links.get(id)) {
            link.send(Message::RemoteCapacity(none.clone()));
        }
        hosting.shared.stop();
    }

    /// Tells those who may have chains played here how much room there is, where that is news.
    pub(super) fn tell_capacity(&mut self) {
        let Some(hosting) = &mut self.remote.hosting else { return };
        for (id, link) in &self.links {
            if may_host_any(link) && hosting.is_news(*id) {
                link.send(Message::RemoteCapacity(hosting.capacity.clone()));
                hosting.told.insert(*id, hosting.capacity.clone());
            }
        }
    }

    // ---- The door.

    /// A peer wants us to play a chain.
    pub(super) fn asked_to_open(&mut self, id: u64, open: RemoteOpen) {
        let remote = open.remote;
        match self.may_open(id, &open).and_then(|who| self.begin_serving(id, who, open)) {
            Ok(()) => {}
            Err((reason, text)) => {
                let Some(link) = self.links.get(&id) else { return };
                self.shared.journal.note(&format!("{} may not have a chain played here: {text}", link.peer));
                link.send(refused(remote, reason, &text));
            }
        }
    }

    fn may_open(&mut self, id: u64, open: &RemoteOpen) -> Result<Who, Refusal> {
        let now = Instant::now();
        let not = |reason, text: &str| Err((reason, text.to_owned()));
        let Some(link) = self.links.get(&id) else { return not(RemoteRefusal::Failed, "") };
        if let Err(text) = may_host(link, open.session) {
            let line = format!("{} asked to have \"{}\" played and may not: {text}", link.peer, open.name);
            self.log(open.session, Act::Denied, Some(link.peer.user), line);
            return Err((RemoteRefusal::NotAllowed, text));
        }
        let Some(hosting) = &self.remote.hosting else {
            let text = "no node runs there; start `audiocloud node`";
            return not(RemoteRefusal::NotServed, text);
        };
        if hosting.draining {
            return not(RemoteRefusal::Draining, "this node is about to end; choose another");
        }
        let of_peer = self.remote.served.values().filter(|served| served.link == id).count();
        if self.remote.asking(id, now).openings.take(0, now).is_err() {
            return not(RemoteRefusal::NoRoom, "too many chains are opened at once; wait a moment");
        }
        if of_peer >= PER_PEER_MAX || self.remote.served.len() >= SERVED_MAX {
            return not(RemoteRefusal::NoRoom, "this node has as many chains as it takes; close one");
        }
        if self.remote.servings.contains_key(&(id, open.remote)) {
            return not(RemoteRefusal::BadChain, "this opening has begun already");
        }
        let peer = &link.peer;
        Ok(Who { device: peer.device, user: peer.user, name: peer.name.clone() })
    }

    fn begin_serving(&mut self, id: u64, who: Who, open: RemoteOpen) -> Result<(), Refusal> {
        let remote = open.remote;
        let waker = self.waker.clone();
        let served = Served::new(id, who, open, waker).map_err(|why| (RemoteRefusal::BadChain, why))?;
        self.remote.next_serving += 1;
        let serving = self.remote.next_serving;
        self.remote.servings.insert((id, remote), serving);
        self.remote.served.insert(serving, served);
        Ok(())
    }

    /// Closes what a peer may not have played here any more.
    pub(super) fn recheck_served(&mut self, id: u64) {
        let Some(link) = self.links.get(&id) else { return };
        let of_peer = self.remote.served.iter().filter(|(_, served)| served.link == id);
        let out: Vec<(u64, String)> = of_peer
            .filter_map(|(serving, served)| Some((*serving, may_host(link, served.session).err()?)))
            .collect();
        for (serving, why) in out {
            self.refuse_served(serving, (RemoteRefusal::NotAllowed, why));
        }
        let Hub { links, remote, .. } = self;
        if let Some(link) = links.get(&id).filter(|link| !may_host_any(link))
            && let Some(hosting) = &mut remote.hosting
            && hosting.told.remove(&id).is_some()
        {
            let none = RemoteCapacity { chains: 0, chains_max: 0, ..hosting.capacity.clone() };
            link.send(Message::RemoteCapacity(none));
        }
    }

    // ---- What they consist of.

    pub(super) fn take_document(&mut self, id: u64, document: &RemoteDocument) {
        let RemoteDocument { remote, revision, part, parts, bytes } = document;
        let Some(&serving) = self.remote.servings.get(&(id, *remote)) else { return };
        let waiting: usize = {
            let of_peer = self.remote.served.values().filter(|served| served.link == id);
            of_peer.map(|served| served.assembly.waiting()).sum()
        };
        if waiting + bytes.len() > ASSEMBLING_BYTES_MAX {
            let why =
                "more documents are on their way than this node takes at once; wait a moment".to_owned();
            return self.refuse_served(serving, (RemoteRefusal::NoRoom, why));
        }
        let Some(served) = self.remote.served.get_mut(&serving) else { return };
        match served.assembly.take(*revision, *part, *parts, bytes.clone()) {
            Ok(None) => {}
            Ok(Some(document)) => {
                served.revision = *revision;
                self.document_came(serving, document);
            }
            Err(why) => self.refuse_served(serving, (RemoteRefusal::BadChain, why.to_string())),
        }
    }

    fn document_came(&mut self, serving: u64, document: Vec<u8>) {
        let Some(served) = self.remote.served.get_mut(&serving) else { return };
        let Some(hosting) = &self.remote.hosting else { return };
        let phase = std::mem::replace(&mut served.phase, Phase::Building);
        let Phase::Assembling(_, ends) = phase else {
            served.phase = phase;
            if let Some(jobs) = &served.jobs {
                // A thread that has ended says so itself.
                jobs.send(Job::Document(document)).ok();
            }
            return;
        };
        let request = OpenRequest {
            who: served.who.clone(),
            key: served.key,
            name: served.name.clone(),
            session: served.session,
            sample_rate: served.sample_rate,
            inputs: served.open.inputs.into(),
            side_chain: served.open.side_chain.into(),
            outputs: served.open.outputs.into(),
            block_frames_max: served.open.block_frames_max,
            transfer: transfer(&served.open),
            document,
            ends: *ends,
        };
        let host = Arc::clone(&hosting.host);
        match chain_thread::spawn(host, request, serving, &hosting.shared, &self.remote.commands) {
            Ok(jobs) => served.jobs = Some(jobs),
            Err(error) => {
                let why = format!("the node has no thread for another chain: {error}; close one");
                self.refuse_served(serving, (RemoteRefusal::NoRoom, why));
            }
        }
    }

    // ---- What their threads say.

    pub(super) fn served_opened(&mut self, serving: u64, result: Result<(), String>) {
        // It may have been closed meanwhile.
        let Some(served) = self.remote.served.get_mut(&serving) else { return };
        let Some(link) = self.links.get(&served.link) else { return };
        if let Err(why) = result {
            return self.refuse_served(serving, (RemoteRefusal::BadChain, why));
        }
        served.phase = Phase::Live;
        let way = (!served.open.exact).then(|| Rc::clone(&link.outlet));
        served.end.borrow_mut().begin(served.remote, link.connection.rtt().into(), way);
        link.send(Message::RemoteOpened(RemoteOpened { remote: served.remote }));
        let shared: &Arc<ServedShared> = &served.shared;
        lock(&self.shared.served).push(Arc::downgrade(shared));
        if let Some(hosting) = &mut self.remote.hosting {
            let mut chains = lock(&hosting.shared.chains);
            chains.retain(|chain| chain.strong_count() > 0);
            chains.push(Arc::downgrade(shared));
            drop(chains);
            hosting.look();
        }
        let line = format!("plays \"{}\" of {}", served.name, link.peer);
        self.shared.journal.note(&line);
        let (session, user) = (served.session, served.who.user);
        self.log(session, Act::Allowed, Some(user), line);
        self.tell_capacity();
    }

    pub(super) fn served_reports(&mut self, serving: u64, report: Vec<u8>) {
        let Some(served) = self.remote.served.get(&serving) else { return };
        if let Some(link) = self.links.get(&served.link)
            && let Ok(report) = Bytes::try_from(report)
        {
            let (remote, revision) = (served.remote, served.revision);
            link.send(Message::RemoteReport(RemoteReport { remote, revision, report }));
        }
    }

    /// States of its plug-ins are not to be lost: they wait until there is room.
    pub(super) fn served_states(&mut self, serving: u64, states: Vec<u8>) {
        if let Some(served) = self.remote.served.get_mut(&serving) {
            served.states.push_back(states);
            self.send_states(serving);
        }
    }

    fn send_states(&mut self, serving: u64) {
        let Some(served) = self.remote.served.get_mut(&serving) else { return };
        let Some(link) = self.links.get(&served.link) else { return };
        let Some(states) = served.states.pop_front_if(|states| has_room(link, states)) else { return };
        let Some((parts, all)) = split(&states) else { return };
        served.states_revision += 1;
        let (remote, revision) = (served.remote, served.states_revision);
        for (part, bytes) in all {
            link.send(Message::RemoteStates(RemoteDocument { remote, revision, part, parts, bytes }));
        }
    }

    pub(super) fn served_ended(&mut self, serving: u64) {
        let why = "its host has failed there; look at the node's log".to_owned();
        self.refuse_served(serving, (RemoteRefusal::Failed, why));
    }

    // ---- Their ends.

    /// Its owner needs it no more.
    pub(super) fn close_served(&mut self, id: u64, remote: RemoteId) {
        if let Some(&serving) = self.remote.servings.get(&(id, remote)) {
            self.drop_served(serving);
        }
    }

    /// It is not played, or no longer; its owner is told why.
    fn refuse_served(&mut self, serving: u64, (reason, why): Refusal) {
        let Some(served) = self.drop_served(serving) else { return };
        let line = format!("does not play \"{}\" of {}: {why}", served.name, served.who.name);
        self.shared.journal.note(&line);
        if let Some(link) = self.links.get(&served.link) {
            link.send(refused(served.remote, reason, &why));
        }
    }

    fn drop_served(&mut self, serving: u64) -> Option<Served> {
        let served = self.remote.served.remove(&serving)?;
        self.remote.servings.remove(&(served.link, served.remote));
        served.end.borrow_mut().end();
        Some(served)
    }

    pub(super) fn drop_served_of(&mut self, link: u64) {
        let of_link = self.remote.served.iter().filter(|(_, served)| served.link == link);
        let all: Vec<u64> = of_link.map(|(serving, _)| *serving).collect();
        for serving in all {
            self.drop_served(serving);
        }
    }

    // ---- Now and then.

    pub(super) fn tick_served(&mut self, now: Instant, asks: bool) {
        let (mut late, mut waiting) = (Vec::new(), Vec::new());
        for (serving, served) in &self.remote.served {
            if let Some(link) = self.links.get(&served.link) {
                let may_double = congestion::rate_cap(&link.connection).is_none();
                served.end.borrow_mut().set_path(link.connection.rtt().into(), may_double);
            }
            served.show();
            waiting.extend((!served.states.is_empty()).then_some(*serving));
            match &served.phase {
                Phase::Assembling(since, _) if now.saturating_duration_since(*since) > ASSEMBLING_MAX => {
                    late.push(*serving);
                }
                Phase::Live if asks => {
                    if let Some(jobs) = &served.jobs {
                        jobs.send(Job::Report { states: served.states.is_empty() }).ok();
                    }
                }
                _ => {}
            }
        }
        waiting.into_iter().for_each(|serving| self.send_states(serving));
        for serving in late {
            let why = "its document did not come in time; open it again".to_owned();
            self.refuse_served(serving, (RemoteRefusal::BadChain, why));
        }
    }
}

/// Whether a peer may have chains of a session, or of none, played here.
fn may_host(link: &Connected, session: Option<SessionId>) -> Result<(), String> {
    link.standing.allows(session, &Operation::Host)
}

/// Whether it may for any session.
fn may_host_any(link: &Connected) -> bool {
    let sessions: BTreeMap<_, _> = link.standing.grants.iter().collect();
    may_host(link, None).is_ok() || sessions.into_keys().any(|session| may_host(link, Some(*session)).is_ok())
}

fn refused(remote: RemoteId, reason: RemoteRefusal, text: &str) -> Message {
    Message::RemoteRefused(RemoteRefused { remote, reason, text: Text::new(text) })
}
