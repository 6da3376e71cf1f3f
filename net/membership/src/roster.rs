//! Who is in a session: what its members and revocations come to, the same for all who have seen the same.

use audiocloud_wire::id::{SessionId, UserId};
use audiocloud_wire::message::Text;

use crate::member::{MemberRecord, RecordError};
use crate::revocation::{Revocation, RevocationError};
use crate::ticket::{Grant, TicketError};

/// The most members that a session has.
pub const MEMBERS_MAX: usize = 256;
/// The most revocations that are kept.
pub const REVOCATIONS_MAX: usize = 512;

/// The members and revocations of a session.
#[derive(Clone, Debug)]
pub struct Roster {
    session: SessionId,
}

/// What an insertion changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing: it was known, or something newer was. Not to be passed on.
    Known,
    /// A member who was not known.
    Joined(UserId),
    /// A newer record of a known member.
    Renewed(UserId),
    /// A key is out; `members` are those who were in and are no longer.
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
    #[error("this session keeps the most revocations that it can; found a new session")]
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
    #[error("the link by which this member came has been used by somebody else; ask for a new one")]
    LinkUsed,
    /// Ended.
    #[error(transparent)]
    Ticket(#[from] TicketError),
}

impl Roster {
    /// Of a session of which nothing is known but its id.
    pub fn new(session: SessionId) -> Self {
        Self { session }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Takes in a member's record.
    ///
    /// # Errors
    /// Why it is not believed, or there is no place.
    pub fn insert(&mut self, _record: &[u8], _now_s: u64) -> Result<News, Rejected> {
        Ok(News::Known)
    }

    /// Takes in a revocation.
    ///
    /// # Errors
    /// Why it is not believed, or there is no place.
    pub fn revoke(&mut self, _revocation: &[u8], _now_s: u64) -> Result<News, Rejected> {
        Ok(News::Known)
    }

    /// What the user says of themselves, in good standing or not.
    pub fn member(&self, _user: &UserId) -> Option<&MemberRecord> {
        None
    }

    /// All of whom there is a record, in the order of their keys.
    pub fn members(&self) -> impl Iterator<Item = &MemberRecord> {
        std::iter::empty()
    }

    /// What the user may do now: a revocation counts at once, whatever its clock says.
    ///
    /// # Errors
    /// Why they are not let in.
    pub fn grant(&self, _user: &UserId, _now_s: u64) -> Result<&Grant, Refused> {
        Err(Refused::Unknown)
    }

    /// What the user could do at that moment, for judging what they wrote then: a revocation counts from its own
    /// time on.
    ///
    /// # Errors
    /// Why they were not in.
    pub fn grant_at(&self, _user: &UserId, _at_s: u64) -> Result<&Grant, Refused> {
        Err(Refused::Unknown)
    }

    /// The keys that have to be revoked to put the user out for good: the own one, and that of a link made for them
    /// alone, by which they could come back under another.
    pub fn revocation_targets(&self, user: &UserId) -> Vec<[u8; 32]> {
        vec![user.0]
    }

    /// Every revocation.
    pub fn revoked(&self) -> impl Iterator<Item = &Revocation> {
        std::iter::empty()
    }

    /// Every record, as bytes, to pass on.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }

    /// Every revocation, as bytes, to pass on.
    pub fn revocations(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }
}

/// The reason of a revocation, to be put after "was revoked".
#[allow(dead_code, reason = "used by the body to come")]
fn because(text: &Text) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}
