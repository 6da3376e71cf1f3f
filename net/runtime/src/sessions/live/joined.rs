//! One session that this user is in, as this process knows it.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use audiocloud_membership::gossip;
use audiocloud_membership::invitation::Place;
use audiocloud_membership::member::MemberRecord;
use audiocloud_membership::roster::{News, Rejected, Roster};
use audiocloud_membership::shared::{Merged, SharedState, SignedChange};
use audiocloud_membership::ticket::Grant;
use audiocloud_wire::id::{ChangeHash, UserId};
use audiocloud_wire::message::{SessionHave, SessionPlaces};

use super::presence::Presence;
use crate::sessions::store::{Store, StoreError, may_edit};
use crate::sessions::{Membership, SessionMember, SessionStatus};

/// A member's record is replaced by one that a peer sent once in this time at most.
const RENEWAL: Duration = Duration::from_secs(2);

/// Places where members were last, of all and of one device.
const LAST_PLACES_MAX: usize = 64;
const LAST_PLACES_EACH: usize = 8;

/// What the store, or a peer, told that was not known: to be kept and passed on.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: Vec<Vec<u8>>,
    pub(super) revocations: Vec<Vec<u8>>,
    pub(super) changes: Vec<SignedChange>,
    /// What it comes to, for the log.
    pub(super) news: Vec<News>,
    /// What was not believed.
    pub(super) rejected: Vec<Rejected>,
    /// Changes that were not taken, for people.
    pub(super) refused_changes: Vec<String>,
    /// How much of that nobody who follows the rules would have sent.
    pub(super) offences: u32,
}

impl Found {
    pub(super) fn roster_changed(&self) -> bool {
        !self.records.is_empty() || !self.revocations.is_empty()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) membership: Membership,
    pub(super) roster: Roster,
    pub(super) state: SharedState,
    pub(super) presence: Presence,
    /// Where members were last, the latest first: whoever starts again, or moves, finds the others there.
    pub(super) last_places: Vec<Place>,
    /// They are to be kept.
    pub(super) has_new_places: bool,
    /// What a member said who did not let us in, until another one does.
    pub(super) turned_away: Option<String>,
    /// When each member's record was last replaced by one that a peer sent.
    renewed: BTreeMap<UserId, Instant>,
    seen_changes: HashSet<ChangeHash>,
}

impl Joined {
    pub(super) fn load(store: &Store, membership: Membership, now_s: u64) -> Result<Self, StoreError> {
        let roster = Roster::new(membership.session);
        let state = SharedState::new(membership.session);
        let last_places = store.members_places(&membership.session)?;
        let mut joined = Self {
            membership,
            roster,
            state,
            presence: Presence::default(),
            last_places,
            has_new_places: false,
            turned_away: None,
            renewed: BTreeMap::new(),
            seen_changes: HashSet::new(),
        };
        joined.take_roster(store, now_s)?;
        let kept = store.changes(&joined.membership.session)?;
        joined.seen_changes.extend(kept.iter().map(SignedChange::hash));
        joined.state = SharedState::restore(joined.membership.session, kept);
        joined.merge(&[], &mut Found::default());
        Ok(joined)
    }

    /// Reads what others have written into the store since.
    pub(super) fn reload(&mut self, store: &Store, now_s: u64) -> Result<Found, StoreError> {
        let mut found = self.take_roster(store, now_s)?;
        let mut kept = store.changes(&self.membership.session)?;
        kept.retain(|change| self.seen_changes.insert(change.hash()));
        if !kept.is_empty() || found.roster_changed() {
            self.merge(&kept, &mut found);
        }
        Ok(found)
    }

    fn take_roster(&mut self, store: &Store, now_s: u64) -> Result<Found, StoreError> {
        let session = self.membership.session;
        let mut found = Found::default();
        for revocation in store.revocations(&session)? {
            self.take_revocation(&revocation, now_s, &mut found);
        }
        for record in store.records(&session)? {
            self.take_record(&record, now_s, &mut found);
        }
        Ok(found)
    }

    pub(super) fn take_record(&mut self, record: &[u8], now_s: u64, found: &mut Found) {
        self.take(record, found, |roster| roster.insert(record, now_s), |found| &mut found.records);
    }

    /// As [`Self::take_record`], of what a peer sent: a member who signs a new record all the time has it taken now and then,
    /// so that who passes it on does not say more than a peer may.
    pub(super) fn take_peers_record(&mut self, record: &[u8], now_s: u64, found: &mut Found) {
        let now = Instant::now();
        let known = |record: &MemberRecord| {
            self.roster
                .member(&record.user)
                .filter(|known| known.to_bytes() != record.to_bytes())
                .map(|known| known.user)
        };
        let renews = MemberRecord::from_bytes(record).ok().as_ref().and_then(known);
        let Some(user) = renews else { return self.take_record(record, now_s, found) };
        if self.renewed.get(&user).is_some_and(|at| now.saturating_duration_since(*at) < RENEWAL) {
            return;
        }
        let before = found.records.len();
        self.take_record(record, now_s, found);
        // One that is false takes nobody's turn.
        if found.records.len() > before {
            self.renewed.insert(user, now);
        }
    }

    pub(super) fn take_revocation(&mut self, revocation: &[u8], now_s: u64, found: &mut Found) {
        self.take(
            revocation,
            found,
            |roster| roster.revoke(revocation, now_s),
            |found| &mut found.revocations,
        );
    }

    fn take(
        &mut self,
        bytes: &[u8],
        found: &mut Found,
        insert: impl FnOnce(&mut Roster) -> Result<News, Rejected>,
        list: impl FnOnce(&mut Found) -> &mut Vec<Vec<u8>>,
    ) {
        match insert(&mut self.roster) {
            Ok(News::Known) => {}
            Ok(news) => {
                list(found).push(bytes.to_vec());
                found.news.push(news);
            }
            Err(rejected) => {
                let full = matches!(rejected, Rejected::MembersFull | Rejected::RevocationsFull);
                found.offences += u32::from(!full);
                found.rejected.push(rejected);
            }
        }
    }

    /// Merges changes, and those that waited for what the roster has become.
    pub(super) fn merge(&mut self, changes: &[SignedChange], found: &mut Found) {
        let roster = &self.roster;
        let Merged { news, rejected, .. } =
            self.state.merge(changes, |user, at_ms| may_edit(roster, user, at_ms));
        self.seen_changes.extend(news.iter().map(SignedChange::hash));
        found.changes.extend(news);
        for rejected in rejected {
            found.offences += u32::from(matches!(rejected, audiocloud_membership::shared::Rejected::Bad(_)));
            found.refused_changes.push(rejected.to_string());
        }
    }

    /// Remembers where a member's process is.
    pub(super) fn remember(&mut self, said: &SessionPlaces) {
        let device = Some(said.device.0);
        let place = |address: &_| Place { address: Clone::clone(address), device };
        let said: Vec<Place> = said.places.iter().map(place).collect();
        if said.iter().all(|place| self.last_places.contains(place)) {
            return;
        }
        self.last_places.retain(|place| !said.contains(place));
        self.last_places.splice(0..0, said);
        let mut counts: BTreeMap<Option<[u8; 32]>, usize> = BTreeMap::new();
        self.last_places.retain(|place| {
            let count = counts.entry(place.device).or_default();
            *count += 1;
            *count <= LAST_PLACES_EACH
        });
        self.last_places.truncate(LAST_PLACES_MAX);
        self.has_new_places = true;
    }

    /// What is sent to a peer, so that it tells what we lack.
    pub(super) fn have(&self) -> SessionHave {
        gossip::have(&self.roster, &self.state)
    }

    /// What somebody may do now; or why nothing.
    pub(super) fn grant(&self, user: &UserId, now_s: u64) -> Result<&Grant, String> {
        self.roster.grant(user, now_s).map_err(|refused| refused.to_string())
    }

    pub(super) fn name_of(&self, user: &UserId) -> String {
        let name = self.roster.member(user).map(|member| member.name.to_string());
        name.unwrap_or_else(|| user.short().to_string())
    }

    pub(super) fn status(
        &self,
        own: &UserId,
        now_s: u64,
        is_connected: impl Fn(&UserId) -> bool,
    ) -> SessionStatus {
        let member = |record: &MemberRecord| {
            let grant = self.grant(&record.user, now_s);
            let is_self = record.user == *own;
            let clock_ahead_ms = self.presence.of(&record.user);
            SessionMember {
                user: record.user,
                name: record.name.to_string(),
                is_self,
                present: is_self || clock_ahead_ms.is_some() || is_connected(&record.user),
                rights: grant.as_ref().map(|grant| grant.rights().clone()).unwrap_or_default(),
                trouble: grant.err(),
                clock_ahead_ms: clock_ahead_ms.filter(|_| !is_self),
            }
        };
        let grant = self.grant(own, now_s);
        SessionStatus {
            session: self.membership.session,
            name: self.membership.name.clone(),
            inviter: self.membership.inviter.clone(),
            rights: grant.as_ref().map(|grant| grant.rights().clone()).unwrap_or_default(),
            trouble: grant.err().or_else(|| self.turned_away.clone()),
            members: self.roster.members().map(member).collect(),
        }
    }
}
