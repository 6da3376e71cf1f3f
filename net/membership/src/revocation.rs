//! The word that puts somebody out of a session.

use audiocloud_wire::id::SessionId;
use audiocloud_wire::message::Text;

use crate::key::SigningKey;
use crate::ticket::{Ticket, TicketError};

/// The longest revocation, in bytes.
pub const REVOCATION_BYTES_MAX: usize = 9216;

/// A key is out of a session, and with it every member whose chain contains it.
#[derive(Clone, Debug)]
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
        Self { session, target, at_s, text, by: user.public(), ticket: Some(ticket), bytes: Vec::new() }
    }

    /// By the session itself.
    pub fn by_session(session: &SigningKey, target: [u8; 32], at_s: u64, text: Text) -> Self {
        let id = SessionId(session.public());
        Self { session: id, target, at_s, text, by: session.public(), ticket: None, bytes: Vec::new() }
    }

    /// Its bytes, as they were signed.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a revocation; nothing is believed yet.
    ///
    /// # Errors
    /// Too long, or not what this module writes.
    pub fn from_bytes(_bytes: &[u8]) -> Result<Self, RevocationError> {
        Err(RevocationError::Malformed("not written yet"))
    }

    /// Checks the signature, and that its author's ticket allowed it when it was made.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn verify(&self) -> Result<(), RevocationError> {
        Err(RevocationError::Forged)
    }
}
