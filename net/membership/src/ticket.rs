//! Tickets: who may do what in a session, until when, by whose word.

use audiocloud_wire::id::{SessionId, UserId};

use crate::key::SigningKey;
use crate::rights::{Operation, Rights};

/// The longest ticket, in bytes.
pub const TICKET_BYTES_MAX: usize = 8192;
/// The most hops from the session key to a member.
pub const HOPS_MAX: usize = 8;
/// The most blocks of a hop: the one that grants, and those that narrow it.
pub const BLOCKS_MAX: usize = 4;

/// Whom a hop is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A user: nobody else can use it.
    User(UserId),
    /// A link: who has its secret may pass the ticket on to that many users, whatever the rights say.
    Link {
        /// Its public key.
        key: [u8; 32],
        /// How many users may come through it.
        uses: u16,
    },
}

/// A chain of biscuits from the session key to a holder.
#[derive(Clone, Debug)]
pub struct Ticket {
    bytes: Vec<u8>,
}

/// Why a ticket is not valid. Each is a sentence for people: cause; remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// More bytes than any ticket.
    #[error(
        "this ticket has {bytes} bytes, more than the {TICKET_BYTES_MAX} of any true one; ask for a new one"
    )]
    TooLong { bytes: usize },
    /// Not a ticket, or not of this version.
    #[error(
        "this is no ticket that this version understands ({0}); copy it again whole, or update audiocloud"
    )]
    Malformed(&'static str),
}

/// What a valid ticket grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The session.
    pub session: SessionId,
    /// Who may.
    pub holder: UserId,
    /// Every key of the chain, in order: of those who let each other in, and of links; the last is the holder's.
    pub keys: Vec<[u8; 32]>,
    /// The end, in seconds of Unix time.
    pub expires_s: Option<u64>,
    rights: Rights,
}

/// An operation that a grant does not allow: a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Not among the rights.
    #[error("this member may not {operation}; whoever invited them can give them a ticket that allows it")]
    NotGranted { operation: String },
    /// No longer.
    #[error("the ticket ended {ago}; ask for a new one")]
    Expired { ago: String },
}

impl Ticket {
    /// A ticket by the session itself.
    ///
    /// # Errors
    /// Where the rights list more than they may.
    pub fn issue(
        _session: &SigningKey,
        _to: Holder,
        _rights: &Rights,
        _expires_s: Option<u64>,
    ) -> Result<Self, TicketError> {
        Err(TicketError::Malformed("not written yet"))
    }

    /// This ticket, passed on by its `holder`: at most with its own rights, and until its own end.
    ///
    /// # Errors
    /// Where the chain becomes too long. Whether the holder may is found by [`verify`](Self::verify).
    pub fn delegate(
        &self,
        _holder: &SigningKey,
        _to: Holder,
        _rights: &Rights,
        _expires_s: Option<u64>,
    ) -> Result<Self, TicketError> {
        Err(TicketError::Malformed("not written yet"))
    }

    /// This ticket with fewer rights, or an earlier end; no key is needed. Others' narrowing stays.
    ///
    /// # Errors
    /// Where it becomes too long.
    pub fn narrow(&self, _rights: &Rights, _expires_s: Option<u64>) -> Result<Self, TicketError> {
        Err(TicketError::Malformed("not written yet"))
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a ticket; nothing is believed yet.
    ///
    /// # Errors
    /// Too long, or not what this module writes.
    pub fn from_bytes(_bytes: &[u8]) -> Result<Self, TicketError> {
        Err(TicketError::Malformed("not written yet"))
    }

    /// What it grants to `holder`, who has proven to have that key.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn verify(&self, _session: &SessionId, _holder: &UserId, _now_s: u64) -> Result<Grant, TicketError> {
        Err(TicketError::Malformed("not written yet"))
    }
}

impl Grant {
    /// What all hops allow.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Whether the operation is allowed now: two comparisons, no cryptography.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn allows(&self, operation: &Operation<'_>, _now_s: u64) -> Result<(), Denied> {
        Err(Denied::NotGranted { operation: format!("{operation:?}") })
    }
}
