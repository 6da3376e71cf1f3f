//! Links that let people in: all that a machine needs to find a session and to become a member of it.

use std::fmt;
use std::str::FromStr;

use audiocloud_wire::id::{SessionId, UserId};
use audiocloud_wire::message::Text;

use crate::key::SigningKey;
use crate::member::MemberRecord;
use crate::ticket::{Ticket, TicketError};

/// The longest link, in bytes of text.
pub const LINK_BYTES_MAX: usize = 16 * 1024;
/// The most places or meeting points in a link.
pub const PLACES_MAX: usize = 16;
/// How a link begins.
pub const LINK_PREFIX: &str = "audiocloud://join/";

/// Where a member can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Host and port.
    pub address: Text,
    /// The device there, if known.
    pub device: Option<[u8; 32]>,
}

/// A rendezvous node of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// Host and port.
    pub address: Text,
    /// Its device key.
    pub device: [u8; 32],
    /// Where it takes TLS over TCP.
    pub tls_port: Option<u16>,
}

/// Who may use a link.
#[derive(Clone, Debug)]
pub enum For {
    /// Whoever has it: the secret of its key.
    Bearer(SigningKey),
    /// This user: it is useless to anybody else.
    User(UserId),
}

/// An invitation: see the module.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// The session.
    pub session: SessionId,
    /// Its name.
    pub name: Text,
    /// The name of who invites.
    pub inviter_name: Text,
    /// The key of who invites.
    pub inviter: UserId,
    /// Whom it is for.
    pub to: For,
    /// The ticket, made for the link's key or for the user.
    pub ticket: Ticket,
    /// Where members can be found.
    pub places: Vec<Place>,
    /// Where members meet.
    pub meeting: Vec<Meeting>,
    /// The end, for people to read: the ticket's decides.
    pub expires_s: Option<u64>,
}

/// Why a link is none, or cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// Not a link.
    #[error("this is no audiocloud link (it begins with {LINK_PREFIX}); copy it again whole")]
    NoLink,
    /// Damaged.
    #[error("this link is damaged ({0}); copy it again whole, or ask for a new one")]
    Malformed(&'static str),
    /// For somebody else.
    #[error(
        "this invitation is for another user ({0}); ask for one for yourself, or use the machine of that user"
    )]
    NotForYou(UserId),
    /// Its ticket is not valid.
    #[error(transparent)]
    Ticket(#[from] TicketError),
}

impl Invitation {
    /// Its bytes, as they are in a link: they hold a secret.
    pub fn to_bytes(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new(Vec::new())
    }

    /// Reads an invitation.
    ///
    /// # Errors
    /// Too long, or not what this module writes.
    pub fn from_bytes(_bytes: &[u8]) -> Result<Self, InvitationError> {
        Err(InvitationError::Malformed("not written yet"))
    }

    /// The record with which `user` is a member: the ticket is passed on from the link's key to theirs.
    ///
    /// # Errors
    /// For somebody else, or a ticket that is not valid now.
    pub fn accept(
        self,
        _user: &SigningKey,
        _name: Text,
        _now_ms: u64,
    ) -> Result<MemberRecord, InvitationError> {
        Err(InvitationError::Malformed("not written yet"))
    }
}

impl fmt::Display for Invitation {
    /// The link.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LINK_PREFIX)
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(_link: &str) -> Result<Self, InvitationError> {
        Err(InvitationError::NoLink)
    }
}
