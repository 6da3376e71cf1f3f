//! Who is in a session: what its members' records and revocations come to.
//!
//! Who has seen the same records and revocations, in whatever order, gives the same answers. (The one exception: a
//! session with more people than it can have. Then who is here already stays, and who comes is turned away.)
//!
//! **Links.** Of those who came through a link only as many are in as it is for, those who joined first by their own
//! word; who was revoked still counts, and so does not make place.
//!
//! **Revocations.** One by the session key always counts. One by a member counts while no revocation by somebody
//! nearer to the session key, fewer hops away, has put its author out, or who let them in. So two who put each other
//! out are both out, and whoever is put out by the founder has put out nobody.

use std::collections::{BTreeMap, BTreeSet};

use audiocloud_wire::id::{SessionId, UserId};

use crate::member::{MemberRecord, RecordError};
use crate::revocation::{Revocation, RevocationError};
use crate::ticket::{Grant, Link, TicketError};

/// The most members that a session has.
pub const MEMBERS_MAX: usize = 256;
/// The most revocations that are kept.
pub const REVOCATIONS_MAX: usize = 512;
/// The most of them by members. The rest is for the session key, so that no member can take away its last word.
const REVOCATIONS_BY_MEMBERS_MAX: usize = 256;

/// The members and revocations of a session.
#[derive(Clone, Debug)]
pub struct Roster {
    session: SessionId,
    members: BTreeMap<UserId, Member>,
    /// One of each author for each target.
    revocations: BTreeMap<RevocationKey, Revoked>,
    /// What follows from both.
    standing: Standing,
}

/// Target and author.
type RevocationKey = ([u8; 32], [u8; 32]);

#[derive(Clone, Debug)]
struct Member {
    /// Of the record's bytes: what is known is known by it, and not read again.
    hash: [u8; 32],
    record: MemberRecord,
    /// Whether it has expired is asked when it is used.
    grant: Grant,
}

#[derive(Clone, Debug)]
struct Revoked {
    /// Of the revocation's bytes. Of several by one author for one target the least counts. Not the earliest: they could
    /// be dated back one after the other for ever, and each would be news.
    hash: [u8; 32],
    revocation: Revocation,
    /// By whose word: none for the session's own.
    authority: Vec<[u8; 32]>,
}

#[derive(Clone, Debug, Default)]
struct Standing {
    /// For whom their link had no more place.
    turned_away: BTreeSet<UserId>,
    /// The keys that are out; the earliest revocation of each that counts.
    out: BTreeMap<[u8; 32], RevocationKey>,
}

/// What an insertion changed. All but [`Known`](Self::Known) is to be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing: it was known, or something newer was.
    Known,
    /// A member who was not known, and is let in.
    Joined(UserId),
    /// A newer record of a known member, who is let in.
    Renewed(UserId),
    /// A record of somebody who is not let in: see [`Roster::grant`].
    Noted(UserId),
    /// A key is out; `members` are those who were in before and are no longer.
    Revoked {
        /// The key.
        target: [u8; 32],
        /// Who is out by it.
        members: Vec<UserId>,
    },
}

/// Why something was not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Of another session.
    #[error("it is of another session")]
    AnotherSession,
    /// No place.
    #[error("this session has {MEMBERS_MAX} members, which is the most; revoke some who are gone")]
    MembersFull,
    /// No place.
    #[error("this session keeps as many revocations as it can; found a new session")]
    RevocationsFull,
    /// Not believed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Not believed.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
}

/// Why a user is not let in. Each is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No record of them.
    #[error("this user is no member of the session; somebody who is has to invite them")]
    Unknown,
    /// They, or who let them in, were put out.
    #[error("this member was revoked{because}; only a new invitation lets them in again")]
    Revoked { because: String },
    /// More came through the link than it is for.
    #[error(
        "this link has been used: as many joined by it before this member as it is for; ask for a new one"
    )]
    LinkUsed,
    /// Expired.
    #[error(transparent)]
    Ticket(#[from] TicketError),
}

impl Roster {
    /// Of a session of which nothing is known but its id.
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            members: BTreeMap::new(),
            revocations: BTreeMap::new(),
            standing: Standing::default(),
        }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Takes in a member's record, also of somebody who is not let in (any more). `now_s` decides only who makes place
    /// where there is none.
    ///
    /// # Errors
    /// Why it is not believed, or there is no place.
    pub fn insert(&mut self, record: &[u8], now_s: u64) -> Result<News, Rejected> {
        let hash = *blake3::hash(record).as_bytes();
        if self.members.values().any(|member| member.hash == hash) {
            return Ok(News::Known);
        }
        let record = MemberRecord::from_bytes(record)?;
        if record.session != self.session {
            return Err(Rejected::AnotherSession);
        }
        let user = record.user;
        let known = self.members.get(&user).map(|member| &member.record);
        if known.is_some_and(|known| newness(known) >= newness(&record)) {
            return Ok(News::Known);
        }
        let is_known = known.is_some();
        let grant = record.verify_ever()?;
        self.members.insert(user, Member { hash, record, grant });
        self.standing = self.judge();
        let is_let_in = self.grant(&user, now_s).is_ok();
        if self.members.len() > MEMBERS_MAX {
            self.make_place(&user, is_let_in, now_s)?;
        }
        Ok(match (is_let_in, is_known) {
            (true, true) => News::Renewed(user),
            (true, false) => News::Joined(user),
            (false, _) => News::Noted(user),
        })
    }

    /// One too many: somebody who is not let in goes, and that is the one who just came unless they are let in. So
    /// those who are out cannot come under ever new keys, and have each passed on and kept.
    fn make_place(&mut self, newcomer: &UserId, is_let_in: bool, now_s: u64) -> Result<(), Rejected> {
        let out = self.members.keys().find(|user| is_let_in && self.grant(user, now_s).is_err()).copied();
        self.members.remove(&out.unwrap_or(*newcomer));
        self.standing = self.judge();
        out.map(|_| ()).ok_or(Rejected::MembersFull)
    }

    /// Takes in a revocation. `now_s` decides only who is told to have been in before.
    ///
    /// # Errors
    /// Why it is not believed, or there is no place.
    pub fn revoke(&mut self, revocation: &[u8], now_s: u64) -> Result<News, Rejected> {
        let hash = *blake3::hash(revocation).as_bytes();
        if self.revocations.values().any(|revoked| revoked.hash == hash) {
            return Ok(News::Known);
        }
        let revocation = Revocation::from_bytes(revocation)?;
        if revocation.session != self.session {
            return Err(Rejected::AnotherSession);
        }
        let key = (revocation.target, revocation.by);
        let known = self.revocations.get(&key);
        if known.is_some_and(|known| known.hash < hash) {
            return Ok(News::Known);
        }
        let is_known = known.is_some();
        let authority = revocation.verify()?;
        if !is_known && self.is_full_for(&authority) {
            return Err(Rejected::RevocationsFull);
        }
        let were_in: Vec<UserId> = self.let_in(now_s).collect();
        self.revocations.insert(key, Revoked { hash, revocation, authority });
        self.standing = self.judge();
        let members = were_in.into_iter().filter(|user| self.grant(user, now_s).is_err()).collect();
        Ok(News::Revoked { target: key.0, members })
    }

    fn is_full_for(&self, authority: &[[u8; 32]]) -> bool {
        let by_members = self.revocations.values().filter(|revoked| !revoked.authority.is_empty()).count();
        self.revocations.len() >= REVOCATIONS_MAX
            || !authority.is_empty() && by_members >= REVOCATIONS_BY_MEMBERS_MAX
    }

    fn let_in(&self, now_s: u64) -> impl Iterator<Item = UserId> {
        self.members.keys().copied().filter(move |user| self.grant(user, now_s).is_ok())
    }

    /// What follows from all records and revocations, whatever their order.
    fn judge(&self) -> Standing {
        let mut standing = Standing { turned_away: self.turned_away(), out: BTreeMap::new() };
        let mut by_distance: BTreeMap<usize, Vec<(&RevocationKey, &Revoked)>> = BTreeMap::new();
        for (key, revoked) in &self.revocations {
            by_distance.entry(revoked.authority.len()).or_default().push((key, revoked));
        }
        for revocations in by_distance.into_values() {
            // Those of one distance all at once: no order among them that a clock set back could change.
            let counting: Vec<_> =
                revocations.into_iter().filter(|(_, revoked)| self.counts(revoked, &standing)).collect();
            for (key, revoked) in counting {
                let first = standing.out.entry(key.0).or_insert(*key);
                if revoked.revocation.at_s < self.revocations[first].revocation.at_s {
                    *first = *key;
                }
            }
        }
        standing
    }

    /// Whether its author, if a member, is one: with a record, not through a link used up, not put out.
    fn counts(&self, revoked: &Revoked, standing: &Standing) -> bool {
        let is_out =
            |key: &[u8; 32]| standing.out.contains_key(key) || standing.turned_away.contains(&UserId(*key));
        revoked.authority.is_empty()
            || self.members.contains_key(&UserId(revoked.revocation.by))
                && !revoked.authority.iter().any(is_out)
    }

    fn turned_away(&self) -> BTreeSet<UserId> {
        let mut came_by: BTreeMap<[u8; 32], Vec<(u64, UserId, u16)>> = BTreeMap::new();
        for (user, member) in &self.members {
            for Link { key, uses } in &member.grant.links {
                // Through the link came who it let in, not those whom they let in afterwards.
                let through = member.grant.keys.iter().skip_while(|one| *one != key).nth(1);
                if through == Some(user.as_bytes()) {
                    came_by.entry(*key).or_default().push((member.record.joined_ms, *user, *uses));
                }
            }
        }
        let mut turned_away = BTreeSet::new();
        for users in came_by.values_mut() {
            users.sort_unstable();
            let late = users.iter().enumerate().filter(|(place, (_, _, uses))| *place >= usize::from(*uses));
            turned_away.extend(late.map(|(_, (_, user, _))| *user));
        }
        turned_away
    }

    /// What the user says of themselves, in good standing or not.
    pub fn member(&self, user: &UserId) -> Option<&MemberRecord> {
        self.members.get(user).map(|member| &member.record)
    }

    /// All of whom there is a record, in the order of their keys.
    pub fn members(&self) -> impl Iterator<Item = &MemberRecord> {
        self.members.values().map(|member| &member.record)
    }

    /// What the user may do now: a revocation counts at once, whatever its clock says.
    ///
    /// # Errors
    /// Why they are not let in.
    pub fn grant(&self, user: &UserId, now_s: u64) -> Result<&Grant, Refused> {
        self.grant_unless(user, now_s, |_| true)
    }

    /// What the user could do at that moment, for judging what they wrote then: a revocation counts from its own
    /// time on.
    ///
    /// # Errors
    /// Why they were not in.
    pub fn grant_at(&self, user: &UserId, at_s: u64) -> Result<&Grant, Refused> {
        self.grant_unless(user, at_s, |revocation| revocation.at_s <= at_s)
    }

    fn grant_unless(
        &self,
        user: &UserId,
        at_s: u64,
        counts: impl Fn(&Revocation) -> bool,
    ) -> Result<&Grant, Refused> {
        let grant = &self.members.get(user).ok_or(Refused::Unknown)?.grant;
        let out = grant.keys.iter().filter_map(|key| self.standing.out.get(key));
        let mut revocations = out.map(|key| &self.revocations[key].revocation);
        if let Some(revocation) = revocations.find(|revocation| counts(revocation)) {
            let text = &revocation.text;
            let because = if text.is_empty() { String::new() } else { format!(" ({text})") };
            return Err(Refused::Revoked { because });
        }
        // Who let them in may have been turned away, too.
        if grant.keys.iter().any(|key| self.standing.turned_away.contains(&UserId(*key))) {
            return Err(Refused::LinkUsed);
        }
        grant.holds(at_s)?;
        Ok(grant)
    }

    /// The keys that have to be revoked to put the user out for good: their own, and that of a link made for them
    /// alone, by which they could come back under another.
    pub fn revocation_targets(&self, user: &UserId) -> Vec<[u8; 32]> {
        let mut targets = vec![user.0];
        if let Some(Member { grant, .. }) = self.members.get(user) {
            let before = grant.keys.iter().rev().nth(1);
            let link = grant.links.iter().find(|link| link.uses == 1 && Some(&link.key) == before);
            targets.extend(link.map(|link| link.key));
        }
        targets
    }

    /// Every revocation.
    pub fn revoked(&self) -> impl Iterator<Item = &Revocation> {
        self.revocations.values().map(|revoked| &revoked.revocation)
    }

    /// Every record, as bytes, to pass on.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.members().map(MemberRecord::to_bytes)
    }

    /// Every revocation, as bytes, to pass on.
    pub fn revocations(&self) -> impl Iterator<Item = &[u8]> {
        self.revoked().map(Revocation::to_bytes)
    }
}

/// The greatest counts. Of two with one revision, any rule will do that is the same for all.
fn newness(record: &MemberRecord) -> (u64, &[u8]) {
    (record.revision, record.to_bytes())
}

#[cfg(test)]
mod tests;
