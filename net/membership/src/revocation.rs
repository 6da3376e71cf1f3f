//! The word that puts somebody out of a session.

use audiocloud_wire::id::{SessionId, UserId};
use audiocloud_wire::message::Text;

use crate::key::SigningKey;
use crate::rights::Operation;
use crate::signed::{self, Bytes, Key};
use crate::ticket::{Ticket, TicketError};

/// The longest revocation, in bytes.
pub const REVOCATION_BYTES_MAX: usize = 9216;
const CONTEXT: &str = "audiocloud 2026 revocation v1";

/// Session, target, time, reason, who, their ticket.
type Body = (SessionId, Key, u64, Text, Key, Option<Bytes>);

/// A key is out of a session, and with it every member whose chain contains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The session.
    pub session: SessionId,
    /// The key of a user or of a link.
    pub target: [u8; 32],
    /// When, by the clock of who says so, in seconds of Unix time.
    pub at_s: u64,
    /// Why, for people.
    pub text: Text,
    /// Who says so: a user, or the session key itself.
    pub by: [u8; 32],
    /// By what right; the session key needs none.
    pub ticket: Option<Ticket>,
    bytes: Vec<u8>,
}

/// Why a revocation is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// Too long, or not what this module writes.
    #[error("this is no revocation ({0})")]
    Malformed(&'static str),
    /// Not signed by who it names.
    #[error("this revocation is not signed by who it names; it is forged or damaged")]
    Forged,
    /// Who signed may not.
    #[error("who revoked this member may not revoke; somebody who may has to")]
    NotAllowed,
    /// The ticket of who signed is not valid.
    #[error(transparent)]
    Ticket(#[from] TicketError),
}

impl Revocation {
    /// By a member whose ticket allows it.
    pub fn by_member(
        user: &SigningKey,
        ticket: Ticket,
        session: SessionId,
        target: [u8; 32],
        at_s: u64,
        text: Text,
    ) -> Self {
        Self::sign(user, Some(ticket), session, target, at_s, text)
    }

    /// By the session itself: who has its key needs no ticket.
    pub fn by_session(session: &SigningKey, target: [u8; 32], at_s: u64, text: Text) -> Self {
        Self::sign(session, None, SessionId(session.public()), target, at_s, text)
    }

    fn sign(
        key: &SigningKey,
        ticket: Option<Ticket>,
        session: SessionId,
        target: [u8; 32],
        at_s: u64,
        text: Text,
    ) -> Self {
        let by = key.public();
        let ticket_bytes = ticket.as_ref().map(|ticket| Bytes(ticket.to_bytes()));
        let body: Body = (session, Key(target), at_s, text.clone(), Key(by), ticket_bytes);
        let bytes = signed::sign(CONTEXT, key, &body);
        Self { session, target, at_s, text, by, ticket, bytes }
    }

    /// Its bytes, as they were signed.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a revocation; nothing is believed yet.
    ///
    /// # Errors
    /// Too long, or not what this module writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RevocationError> {
        let body: Body = signed::read(bytes, REVOCATION_BYTES_MAX).map_err(RevocationError::Malformed)?;
        let (session, Key(target), at_s, text, Key(by), ticket) = body;
        let ticket = ticket.map(|Bytes(ticket)| Ticket::from_bytes(&ticket)).transpose()?;
        Ok(Self { session, target, at_s, text, by, ticket, bytes: bytes.to_vec() })
    }

    /// Checks the signature, and that its author's ticket allowed it when it was made. Returns the keys by whose
    /// word it is, the author's last; none for the session's own.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn verify(&self) -> Result<Vec<[u8; 32]>, RevocationError> {
        signed::check(CONTEXT, &self.by, &self.bytes).map_err(|_| RevocationError::Forged)?;
        let Some(ticket) = &self.ticket else {
            return if self.by == self.session.0 { Ok(Vec::new()) } else { Err(RevocationError::NotAllowed) };
        };
        // When it was made, and not now: what a member put right does not lapse with their ticket.
        let grant = ticket.verify(&self.session, &UserId(self.by), self.at_s)?;
        grant.allows(&Operation::Revoke, self.at_s).map_err(|_| RevocationError::NotAllowed)?;
        Ok(grant.keys)
    }
}
