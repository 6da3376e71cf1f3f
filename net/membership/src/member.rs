//! What a member says of themselves: signed by their user key, and proven by the ticket inside.

use std::fmt;

use audiocloud_wire::id::{SessionId, UserId};
use audiocloud_wire::message::Text;

use crate::key::SigningKey;
use crate::signed::{self, Bytes};
use crate::ticket::{Grant, Ticket, TicketError};

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 12_288;
const CONTEXT: &str = "audiocloud 2026 member record v1";

/// Session, user, name, ticket, joined, revision.
type Body = (SessionId, UserId, Text, Bytes, u64, u64);

/// A member of a session, by their own word.
#[derive(Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// The session.
    pub session: SessionId,
    /// Who.
    pub user: UserId,
    /// What they call themselves.
    pub name: Text,
    /// By whose word they are in.
    pub ticket: Ticket,
    /// When they joined, by their clock, in milliseconds of Unix time.
    pub joined_ms: u64,
    /// Of two records of a user the one with the greater revision counts.
    pub revision: u64,
    bytes: Vec<u8>,
}

/// Why a record is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too long, or not what this module writes.
    #[error("this is no member's record ({0})")]
    Malformed(&'static str),
    /// Not signed by the user that it names.
    #[error("this member's record is not signed by the user that it names; it is forged or damaged")]
    Forged,
    /// Its ticket is not valid.
    #[error(transparent)]
    Ticket(#[from] TicketError),
}

impl MemberRecord {
    /// Signs a record.
    pub fn sign(
        user: &SigningKey,
        session: SessionId,
        name: Text,
        ticket: Ticket,
        joined_ms: u64,
        revision: u64,
    ) -> Self {
        let id = UserId(user.public());
        let body: Body = (session, id, name.clone(), Bytes(ticket.to_bytes()), joined_ms, revision);
        let bytes = signed::sign(CONTEXT, user, &body);
        Self { session, user: id, name, ticket, joined_ms, revision, bytes }
    }

    /// Its bytes, as they were signed.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a record; nothing is believed yet.
    ///
    /// # Errors
    /// Too long, or not what this module writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let body: Body = signed::read(bytes, RECORD_BYTES_MAX).map_err(RecordError::Malformed)?;
        let (session, user, name, Bytes(ticket), joined_ms, revision) = body;
        let ticket = Ticket::from_bytes(&ticket)?;
        Ok(Self { session, user, name, ticket, joined_ms, revision, bytes: bytes.to_vec() })
    }

    /// Checks the signature and the ticket.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn verify(&self, now_s: u64) -> Result<Grant, RecordError> {
        let grant = self.verify_ever()?;
        grant.holds(now_s)?;
        Ok(grant)
    }

    /// [`verify`](Self::verify) whatever the time.
    pub(crate) fn verify_ever(&self) -> Result<Grant, RecordError> {
        signed::check(CONTEXT, self.user.as_bytes(), &self.bytes).map_err(|_| RecordError::Forged)?;
        Ok(self.ticket.verify_ever(&self.session, &self.user)?)
    }
}

impl fmt::Debug for MemberRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberRecord")
            .field("session", &self.session)
            .field("user", &self.user)
            .field("name", &self.name)
            .field("ticket", &self.ticket)
            .field("joined_ms", &self.joined_ms)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
