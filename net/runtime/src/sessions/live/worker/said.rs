//! What peers say of sessions, and what becomes of it.

use std::time::Instant;

use audiocloud_membership::gossip;
use audiocloud_membership::shared::SignedChange;
use audiocloud_wire::id::SessionId;
use audiocloud_wire::message::{Message, SessionChanges, SessionHave, SessionPlaces, SessionRoster};

use super::super::joined::Found;
use super::super::{Gossip, Order};
use super::{OFFENCES_MAX, ROSTER_AGAIN, ROSTER_AGAIN_DOUBLINGS, Worker};
use crate::sessions::store::StoreError;
use crate::standing::{now_ms, now_s};

impl Worker {
    pub(super) fn said(&mut self, link: u64, gossip: Gossip) {
        let session = match &gossip {
            Gossip::Roster(roster) => roster.session,
            Gossip::Places(places) => places.session,
            Gossip::Have(have) => have.session,
            Gossip::Changes(changes) => changes.session,
        };
        // A peer may not know yet that it is out, or that we are.
        if self.links.get(&link).is_none_or(|link| !link.grants.contains_key(&session)) {
            self.shared.counters.session_messages_ignored.add(1);
            return;
        }
        match gossip {
            Gossip::Roster(roster) => self.said_roster(link, session, &roster),
            Gossip::Places(places) => self.said_places(link, *places),
            Gossip::Have(have) => self.said_have(link, &have),
            Gossip::Changes(changes) => self.said_changes(link, session, changes),
        }
    }

    fn said_roster(&mut self, link: u64, session: SessionId, roster: &SessionRoster) {
        let Some(joined) = self.sessions.get_mut(&session) else { return };
        let (now_s, mut found) = (now_s(), Found::default());
        for revocation in &roster.revocations {
            joined.take_revocation(revocation, now_s, &mut found);
        }
        for record in &roster.records {
            joined.take_peers_record(record, now_s, &mut found);
        }
        if found.roster_changed() {
            joined.merge(&[], &mut found);
        }
        self.taken(session, &found, Some(link));
    }

    fn said_places(&mut self, link: u64, said: SessionPlaces) {
        let Some(joined) = self.sessions.get_mut(&said.session) else { return };
        let is_self = (said.device, said.instance) == (self.device, self.shared.instance);
        if is_self || joined.roster.grant(&said.user, now_s()).is_err() {
            return;
        }
        match joined.presence.insert(said.clone(), Instant::now(), now_ms()) {
            Ok(true) => {
                // Processes of this device find each other by themselves.
                if said.device != self.device {
                    joined.remember(&said);
                }
                self.dial_present(&said);
                self.flood(said.session, &[Message::SessionPlaces(Box::new(said))], Some(link));
                self.show();
            }
            Ok(false) => {}
            Err(why) => self.offended(link, 1, why),
        }
    }

    fn said_have(&mut self, id: u64, have: &SessionHave) {
        let Some(joined) = self.sessions.get(&have.session) else { return };
        let mut messages = Vec::new();
        if joined.state.heads() != have.heads
            && let Some(link) = self.links.get_mut(&id)
        {
            // Who asks faster than it can take would have all of them wait for it here; it asks again.
            if link.answers.take(0, Instant::now()).is_ok() {
                let lacking = joined.state.changes_since(&have.heads);
                messages.extend(gossip::changes(have.session, &lacking, false));
            } else {
                self.shared.counters.session_messages_dropped.add(1);
            }
        }
        if gossip::digest(&joined.roster) != have.roster
            && let Some(link) = self.links.get_mut(&id)
        {
            let (at, times) = link.rosters_sent.get(&have.session).copied().unwrap_or((Instant::now(), 0));
            if at.elapsed() >= ROSTER_AGAIN * 2_u32.pow(times) {
                let times = (times + 1).min(ROSTER_AGAIN_DOUBLINGS);
                link.rosters_sent.insert(have.session, (Instant::now(), times));
                messages.extend(gossip::roster(&joined.roster));
            }
        }
        for message in messages {
            self.order(Order::Send { link: id, message });
        }
    }

    fn said_changes(&mut self, link: u64, session: SessionId, said: SessionChanges) {
        let Some(joined) = self.sessions.get_mut(&session) else { return };
        let (mut found, mut changes) = (Found::default(), Vec::new());
        for bytes in &said.changes {
            match SignedChange::from_bytes(bytes) {
                Ok(change) => changes.push(change),
                Err(_) => found.offences += 1,
            }
        }
        joined.merge(&changes, &mut found);
        let more = said.more && !found.changes.is_empty();
        let have = Message::SessionHave(joined.have());
        self.taken(session, &found, Some(link));
        if more {
            self.order(Order::Send { link, message: have });
        }
    }

    /// Acts on what was found, in this order: who is out is put out first; then the others are told; then it is kept.
    pub(super) fn taken(&mut self, session: SessionId, found: &Found, from: Option<u64>) {
        self.pass_on(session, found, from);
        let kept = self.keep(session, found);
        self.noted(kept);
        if let Some(why) = found.refused_changes.first() {
            self.shared
                .counters
                .session_items_refused
                .add(u64::try_from(found.refused_changes.len()).unwrap_or(0));
            tracing::debug!(target: "audiocloud::sessions", session = %session.short(), why, "a change was not taken");
        }
        if let Some(why) = found.rejected.first() {
            self.shared.counters.session_items_refused.add(u64::try_from(found.rejected.len()).unwrap_or(0));
            tracing::debug!(target: "audiocloud::sessions", session = %session.short(), %why, "something was not believed");
        }
        if let Some(link) = from {
            self.offended(link, found.offences, "more false records and changes than a mistake explains");
        }
    }

    pub(super) fn pass_on(&mut self, session: SessionId, found: &Found, from: Option<u64>) {
        if found.roster_changed() {
            // Whoever is put out by it hears of it too, and so first.
            let revocations = found.revocations.iter().map(|bytes| (&bytes[..], true));
            let items = revocations.chain(found.records.iter().map(|bytes| (&bytes[..], false)));
            self.flood(session, &gossip::items_of(session, items), from);
            self.tell_sessions();
            self.refresh_links();
            self.show();
        }
        if !found.changes.is_empty() {
            self.flood(session, &gossip::changes(session, &found.changes, true), from);
        }
    }

    pub(super) fn keep(&mut self, session: SessionId, found: &Found) -> Result<(), StoreError> {
        if found.roster_changed() {
            // Several processes hear of it at once; one writes the log.
            let (records, revocations) = (self.store.records(&session)?, self.store.revocations(&session)?);
            let is_new = |bytes: &&Vec<u8>| !records.contains(bytes) && !revocations.contains(bytes);
            let first = found.records.iter().chain(&found.revocations).any(|bytes| is_new(&bytes));
            for record in found.records.iter().filter(is_new) {
                self.store.put_record(&session, record)?;
            }
            for revocation in found.revocations.iter().filter(is_new) {
                self.store.put_revocation(&session, revocation)?;
            }
            if first {
                self.log_news(session, &found.news);
            }
        }
        self.store.put_changes(&session, &found.changes)
    }

    fn offended(&mut self, id: u64, offences: u32, why: &'static str) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.offences += offences;
        if link.offences > OFFENCES_MAX {
            link.offences = 0;
            self.order(Order::Cut { link: id, why });
        }
    }
}
