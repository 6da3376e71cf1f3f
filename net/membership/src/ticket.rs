//! Tickets: who may do what in a session, until when, by whose word.
//!
//! A ticket is a chain of biscuits (the format of `biscuit-auth`, version 3.3). The first hop is signed by the session
//! key and made for some key; each further one is signed by the key that the one before it was made for, and names
//! the hash of all before it. So a hop can be made off-line by whoever holds the ticket, and it holds for nobody but
//! who it was made for. What a ticket allows is what every block of every hop allows, until the earliest of their
//! ends; to pass it on takes the right to invite.

use std::fmt;

use audiocloud_wire::id::{SessionId, UserId};
use biscuit_auth::{Algorithm, Biscuit, BlockBuilder, PublicKey, UnverifiedBiscuit};

use crate::key::SigningKey;
use crate::rights::{Operation, Rights};
use block::{Block, Made};

mod block;

/// The longest ticket, in bytes.
pub const TICKET_BYTES_MAX: usize = 8192;
/// The most hops from the session key to a member.
pub const HOPS_MAX: usize = 8;
/// The most blocks of a hop: the one that grants, and those that narrow it.
pub const BLOCKS_MAX: usize = 4;
/// The longest hop. Of so many bytes a stranger's block can make about a million of text, by naming one long symbol
/// again and again: a millisecond, and that is all.
const HOP_BYTES_MAX: usize = 4096;
/// The longest text of a block. One with all that rights can list is shorter.
const SOURCE_BYTES_MAX: usize = 8192;
const CHAIN_CONTEXT: &str = "audiocloud 2026 ticket chain v1";

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

/// A link that a member came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its public key.
    pub key: [u8; 32],
    /// How many users may come through it.
    pub uses: u16,
}

/// A chain of biscuits from the session key to a holder.
#[derive(Clone)]
pub struct Ticket {
    hops: Vec<Hop>,
}

/// One biscuit, understood and not yet believed.
#[derive(Clone)]
struct Hop {
    bytes: Vec<u8>,
    biscuit: UnverifiedBiscuit,
    made: Made,
    rights: Rights,
    expires_s: Option<u64>,
}

/// Why a ticket is not valid. Each is a sentence for people: cause; remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// More bytes than any ticket.
    #[error(
        "this ticket has {bytes} bytes, more than the {TICKET_BYTES_MAX} that one may have; ask for a new one"
    )]
    TooLong { bytes: usize },
    /// It would be passed on, or narrowed, more often than a ticket can be.
    #[error("this ticket was passed on or narrowed too often; ask somebody nearer to the founder for one")]
    TooManyHops,
    /// Rights that no ticket has room for.
    #[error("no ticket can list these rights ({0}); list fewer, or shorter names")]
    Rights(&'static str),
    /// Not a ticket, or not of this version.
    #[error(
        "this is no ticket that this version understands ({0}); copy it again whole, or update audiocloud"
    )]
    Malformed(&'static str),
    /// Not signed by the session's key.
    #[error("this ticket is not of this session, or forged; ask a member for a new one")]
    NotOfSession,
    /// A hop is not signed by whom the one before it was made for, or not after that one.
    #[error("this ticket is forged (its part {hop} is not by its holder); ask a member for a new one")]
    Forged { hop: usize },
    /// Somebody passed it on who may not.
    #[error("this ticket was passed on by {by}, who may not invite; ask somebody who may")]
    MayNotInvite { by: String },
    /// Made for a link.
    #[error("this ticket is for a link, not for a person; join by the link first")]
    ForLink,
    /// Made for somebody else.
    #[error(
        "this ticket was made for the user {made_for}, and is of no use to another key; ask for one of your own"
    )]
    AnotherKey { made_for: String },
    /// Its end has come.
    #[error("this ticket expired {ago}; ask for a new one")]
    Expired { ago: String },
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
    /// The links among them.
    pub links: Vec<Link>,
    /// The end, in seconds of Unix time: the last second in which it holds.
    pub expires_s: Option<u64>,
    rights: Rights,
}

/// An operation that a grant does not allow: a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Not among the rights.
    #[error(
        "the ticket of this member does not allow to {operation}; whoever invited them can give them one that does"
    )]
    NotGranted { operation: String },
    /// No longer.
    #[error("the ticket of this member expired {ago}; ask whoever invited them for a new one")]
    Expired { ago: String },
}

/// What the hops of a ticket come to, whoever holds it.
struct Chain {
    to: Holder,
    keys: Vec<[u8; 32]>,
    links: Vec<Link>,
    rights: Rights,
    expires_s: Option<u64>,
}

impl Ticket {
    /// A ticket by the session itself.
    ///
    /// # Errors
    /// [`TicketError::Rights`] where they list more than they may.
    pub fn issue(
        session: &SigningKey,
        to: Holder,
        rights: &Rights,
        expires_s: Option<u64>,
    ) -> Result<Self, TicketError> {
        Self { hops: Vec::new() }.with_hop(session, to, rights, expires_s)
    }

    /// This ticket, passed on by its `holder`: at most with its own rights, and until its own end.
    ///
    /// # Errors
    /// Where the chain becomes too long, or the rights list too much. Whether the holder may pass it on is found by
    /// [`verify`](Self::verify).
    pub fn delegate(
        &self,
        holder: &SigningKey,
        to: Holder,
        rights: &Rights,
        expires_s: Option<u64>,
    ) -> Result<Self, TicketError> {
        self.clone().with_hop(holder, to, rights, expires_s)
    }

    fn with_hop(
        mut self,
        signer: &SigningKey,
        to: Holder,
        rights: &Rights,
        expires_s: Option<u64>,
    ) -> Result<Self, TicketError> {
        let made = Some(Made { to, after: hash(&self.to_bytes()) });
        let source = source(made, rights, expires_s)?;
        let biscuit = Biscuit::builder().code(source).and_then(|builder| builder.build(&signer.pair()));
        let bytes =
            biscuit.and_then(|biscuit| biscuit.to_vec()).map_err(|_| TicketError::Rights("refused"))?;
        self.hops.push(Hop::read(&bytes)?);
        // A link is of use only if there is a hop left for who comes through it.
        if matches!(to, Holder::Link { .. }) && self.hops.len() == HOPS_MAX {
            return Err(TicketError::TooManyHops);
        }
        self.within_limits()
    }

    /// This ticket with fewer rights, or an earlier end, for the same holder; no key is needed for it. What it was
    /// narrowed by before stays.
    ///
    /// # Errors
    /// Where it becomes too long.
    pub fn narrow(&self, rights: &Rights, expires_s: Option<u64>) -> Result<Self, TicketError> {
        let source = source(None, rights, expires_s)?;
        let mut ticket = self.clone();
        let last = ticket.hops.pop().ok_or(TicketError::Malformed("empty"))?;
        let narrower = BlockBuilder::new().code(source).and_then(|block| last.biscuit.append(block));
        let bytes =
            narrower.and_then(|biscuit| biscuit.to_vec()).map_err(|_| TicketError::Malformed("sealed"))?;
        ticket.hops.push(Hop::read(&bytes)?);
        ticket.within_limits()
    }

    fn within_limits(self) -> Result<Self, TicketError> {
        if self.hops.len() > HOPS_MAX || self.to_bytes().len() > TICKET_BYTES_MAX {
            return Err(TicketError::TooManyHops);
        }
        Ok(self)
    }

    /// Its bytes: those of each hop after their number, two bytes, the most significant first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for hop in &self.hops {
            let length =
                u16::try_from(hop.bytes.len()).expect("a hop that was read is shorter than a ticket");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&hop.bytes);
        }
        bytes
    }

    /// Reads a ticket; nothing is believed yet.
    ///
    /// # Errors
    /// Too long, too many hops, or not what this module writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TicketError> {
        if bytes.len() > TICKET_BYTES_MAX {
            return Err(TicketError::TooLong { bytes: bytes.len() });
        }
        let mut hops = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            if hops.len() == HOPS_MAX {
                return Err(TicketError::TooManyHops);
            }
            let (hop, after) = split_hop(rest).ok_or(TicketError::Malformed("cut off"))?;
            hops.push(Hop::read(hop)?);
            rest = after;
        }
        if hops.is_empty() {
            return Err(TicketError::Malformed("empty"));
        }
        Ok(Self { hops })
    }

    /// Whom the last hop is made for.
    pub fn holder(&self) -> Option<Holder> {
        self.hops.last().map(|hop| hop.made.to)
    }

    /// What it grants to `holder`, who has to prove elsewhere to have that key.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn verify(&self, session: &SessionId, holder: &UserId, now_s: u64) -> Result<Grant, TicketError> {
        let grant = self.verify_ever(session, holder)?;
        grant.holds(now_s)?;
        Ok(grant)
    }

    /// [`verify`](Self::verify) whatever the time.
    pub(crate) fn verify_ever(&self, session: &SessionId, holder: &UserId) -> Result<Grant, TicketError> {
        let chain = self.chain(session)?;
        match chain.to {
            Holder::Link { .. } => Err(TicketError::ForLink),
            Holder::User(user) if user != *holder => {
                Err(TicketError::AnotherKey { made_for: user.short().to_string() })
            }
            Holder::User(user) => Ok(Grant {
                session: *session,
                holder: user,
                keys: chain.keys,
                links: chain.links,
                expires_s: chain.expires_s,
                rights: chain.rights,
            }),
        }
    }

    /// What it will grant to whoever it is passed on to, or to its holder.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn rights(&self, session: &SessionId, now_s: u64) -> Result<Rights, TicketError> {
        let chain = self.chain(session)?;
        holds(chain.expires_s, now_s)?;
        Ok(chain.rights)
    }

    /// Follows the signatures from the session key to the last holder.
    fn chain(&self, session: &SessionId) -> Result<Chain, TicketError> {
        let mut chain = Chain {
            to: Holder::Link { key: session.0, uses: u16::MAX },
            keys: Vec::with_capacity(self.hops.len()),
            links: Vec::new(),
            rights: Rights::everything(),
            expires_s: None,
        };
        let mut before = Vec::new();
        for (place, hop) in self.hops.iter().enumerate() {
            chain.pass_on(place, hop, hash(&before))?;
            hop.write(&mut before);
        }
        Ok(chain)
    }
}

impl Chain {
    /// Goes one hop further, if it is by whom the chain has come to, and they may.
    fn pass_on(&mut self, place: usize, hop: &Hop, before: Option<[u8; 32]>) -> Result<(), TicketError> {
        let forged =
            if place == 0 { TicketError::NotOfSession } else { TicketError::Forged { hop: place + 1 } };
        let signer = match self.to {
            Holder::User(user) if !self.rights.invite => {
                return Err(TicketError::MayNotInvite { by: user.short().to_string() });
            }
            Holder::User(user) => user.0,
            Holder::Link { key, .. } => key,
        };
        // A link lets people in, not other links: it counts who came through it.
        let by_link = place > 0 && matches!(self.to, Holder::Link { .. });
        if hop.made.after != before || by_link && !matches!(hop.made.to, Holder::User(_)) {
            return Err(forged);
        }
        let Ok(root) = PublicKey::from_bytes(&signer, Algorithm::Ed25519) else { return Err(forged) };
        if hop.biscuit.clone().verify(root).is_err() {
            return Err(forged);
        }
        self.to = hop.made.to;
        self.rights = self.rights.and(&hop.rights);
        self.expires_s = earlier(self.expires_s, hop.expires_s);
        match hop.made.to {
            Holder::User(user) => self.keys.push(user.0),
            Holder::Link { key, uses } => {
                self.keys.push(key);
                self.links.push(Link { key, uses });
            }
        }
        Ok(())
    }
}

impl Hop {
    fn read(bytes: &[u8]) -> Result<Self, TicketError> {
        if bytes.len() > HOP_BYTES_MAX {
            return Err(TicketError::Malformed("a part too long"));
        }
        let biscuit =
            UnverifiedBiscuit::from(bytes).map_err(|_| TicketError::Malformed("not a chain of biscuits"))?;
        if biscuit.block_count() > BLOCKS_MAX {
            return Err(TicketError::TooManyHops);
        }
        if biscuit.external_public_keys().iter().any(Option::is_some) {
            return Err(TicketError::Malformed("a block by a third party"));
        }
        let mut blocks = (0..biscuit.block_count()).map(|index| read_block(&biscuit, index));
        let first = blocks.next().ok_or(TicketError::Malformed("empty"))??;
        let made = first.made.ok_or(TicketError::Malformed("made for nobody"))?;
        let (mut rights, mut expires_s) = (first.rights, first.expires_s);
        for block in blocks {
            let block = block?;
            if block.made.is_some() {
                return Err(TicketError::Malformed("made for two"));
            }
            rights = rights.and(&block.rights);
            expires_s = earlier(expires_s, block.expires_s);
        }
        Ok(Self { bytes: bytes.to_vec(), biscuit, made, rights, expires_s })
    }

    fn write(&self, ticket: &mut Vec<u8>) {
        let length = u16::try_from(self.bytes.len()).expect("a hop that was read is not too long");
        ticket.extend_from_slice(&length.to_be_bytes());
        ticket.extend_from_slice(&self.bytes);
    }
}

/// What the hop after these names, if there are any.
fn hash(hops: &[u8]) -> Option<[u8; 32]> {
    (!hops.is_empty()).then(|| blake3::derive_key(CHAIN_CONTEXT, hops))
}

fn read_block(biscuit: &UnverifiedBiscuit, index: usize) -> Result<Block, TicketError> {
    let source =
        biscuit.print_block_source(index).map_err(|_| TicketError::Malformed("an unreadable block"))?;
    if source.len() > SOURCE_BYTES_MAX {
        return Err(TicketError::Malformed("a block too long"));
    }
    Block::read(&source).ok_or(TicketError::Malformed("rights that it does not know"))
}

fn source(made: Option<Made>, rights: &Rights, expires_s: Option<u64>) -> Result<String, TicketError> {
    rights.check().map_err(TicketError::Rights)?;
    // Biscuits have signed integers.
    let expires_s = expires_s.map(|expires_s| expires_s.min(i64::MAX.unsigned_abs()));
    Ok(Block { made, rights: rights.clone().in_order(), expires_s }.source())
}

fn split_hop(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (end, None) | (None, end) => end,
    }
}

fn holds(expires_s: Option<u64>, now_s: u64) -> Result<(), TicketError> {
    match expires_s {
        Some(end_s) if now_s > end_s => Err(TicketError::Expired { ago: ago(now_s - end_s) }),
        _ => Ok(()),
    }
}

/// How long ago, in words: "3 hours ago".
fn ago(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}

impl Grant {
    /// What all hops allow.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Whether the operation is allowed now: comparisons, no cryptography.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn allows(&self, operation: &Operation<'_>, now_s: u64) -> Result<(), Denied> {
        if let Err(TicketError::Expired { ago }) = self.holds(now_s) {
            return Err(Denied::Expired { ago });
        }
        if !self.rights.allow(operation) {
            return Err(Denied::NotGranted { operation: operation.to_string() });
        }
        Ok(())
    }

    /// Whether it has not expired.
    ///
    /// # Errors
    /// [`TicketError::Expired`].
    pub fn holds(&self, now_s: u64) -> Result<(), TicketError> {
        holds(self.expires_s, now_s)
    }
}

impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        self.hops.iter().map(|hop| &hop.bytes).eq(other.hops.iter().map(|hop| &hop.bytes))
    }
}

impl Eq for Ticket {}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holders: Vec<_> =
            self.hops.iter().map(|hop| (&hop.made.to, &hop.rights, hop.expires_s)).collect();
        f.debug_tuple("Ticket").field(&holders).finish()
    }
}

#[cfg(test)]
mod tests;
