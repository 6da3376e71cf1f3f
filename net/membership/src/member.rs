//! What a member says of themselves: signed by their user key, and proven by the ticket inside.

use audiocloud_wire::id::{SessionId, UserId};
use audiocloud_wire::message::Text;

use crate::key::SigningKey;
use crate::ticket::{Grant, Ticket, TicketError};

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 12_288;

/// A member of a session, by their own word.
#[derive(Clone, Debug)]
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
        Self { session, user: UserId(user.public()), name, ticket, joined_ms, revision, bytes: Vec::new() }
    }

    /// Its bytes, as they were signed.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a record; nothing is believed yet.
    ///
    /// # Errors
    /// Too long, or not what this module writes.
    pub fn from_bytes(_bytes: &[u8]) -> Result<Self, RecordError> {
        Err(RecordError::Malformed("not written yet"))
    }

    /// Checks the signature and the ticket.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn verify(&self, _now_s: u64) -> Result<Grant, RecordError> {
        Err(RecordError::Forged)
    }
}
