//! Links that let people in: all that a machine needs to find a session and to become a member of it.
//!
//! `audiocloud://join/` and base 64 (RFC 4648, 5) of: a byte that is 1, CBOR, and the first four bytes of the BLAKE3
//! hash of both, which tell a link that was copied badly. What is true in a link is for the ticket in it to prove, and
//! for the keys of places and meeting points.

use std::fmt;
use std::str::FromStr;

use audiocloud_wire::id::{SessionId, UserId};
use audiocloud_wire::message::Text;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::base64url;
use crate::key::SigningKey;
use crate::member::MemberRecord;
use crate::rights::Rights;
use crate::signed::{Bytes, Key, from_cbor, to_cbor};
use crate::ticket::{Holder, Ticket, TicketError};

/// The longest link, in bytes of text.
pub const LINK_BYTES_MAX: usize = 16 * 1024;
/// The most places or meeting points in a link.
pub const PLACES_MAX: usize = 16;
/// How a link begins.
pub const LINK_PREFIX: &str = "audiocloud://join/";
const VERSION: u8 = 1;
const CHECK_BYTES: usize = 4;

/// Where a member can be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Text, Option<Key>)", into = "(Text, Option<Key>)")]
pub struct Place {
    /// Host and port.
    pub address: Text,
    /// The device there, if known.
    pub device: Option<[u8; 32]>,
}

/// A rendezvous node of the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Text, Key, Option<u16>)", into = "(Text, Key, Option<u16>)")]
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
    NotForYou(String),
    /// Of another version.
    #[error("this link is of another version of audiocloud; update audiocloud, or whoever made it has to")]
    Version,
    /// Its ticket is not valid.
    #[error(transparent)]
    Ticket(#[from] TicketError),
}

/// Session, name, name and key of who invites, ticket, secret of the link's key, places, meeting points, end.
#[derive(Serialize, Deserialize)]
struct Body(SessionId, Text, Text, UserId, Bytes, Option<Key>, Vec<Place>, Vec<Meeting>, Option<u64>);

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(Key(secret)) = &mut self.5 {
            secret.zeroize();
        }
    }
}

impl Invitation {
    /// Its bytes, as they are in a link: they hold a secret. Places and meeting points beyond [`PLACES_MAX`] are left
    /// out.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let secret = match &self.to {
            For::Bearer(link) => Some(Key(*link.seed())),
            For::User(_) => None,
        };
        let body = Body(
            self.session,
            self.name.clone(),
            self.inviter_name.clone(),
            self.inviter,
            Bytes(self.ticket.to_bytes()),
            secret,
            self.places.iter().take(PLACES_MAX).cloned().collect(),
            self.meeting.iter().take(PLACES_MAX).cloned().collect(),
            self.expires_s,
        );
        // As long as it gets from the start, so that it is never moved and left behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LINK_BYTES_MAX));
        bytes.push(VERSION);
        bytes.extend_from_slice(&Zeroizing::new(to_cbor(&body)));
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    /// Reads an invitation; its ticket is not believed yet.
    ///
    /// # Errors
    /// Too long, or not what this module writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvitationError> {
        if bytes.len() > LINK_BYTES_MAX {
            return Err(InvitationError::Malformed("too long"));
        }
        let (body, sum) = bytes.split_last_chunk().ok_or(InvitationError::Malformed("cut off"))?;
        if *sum != check(body) {
            return Err(InvitationError::Malformed("a part is missing or changed"));
        }
        let Some((&VERSION, cbor)) = body.split_first() else { return Err(InvitationError::Version) };
        let body: Body = from_cbor(cbor).map_err(InvitationError::Malformed)?;
        let Body(session, name, inviter_name, inviter, ticket, secret, places, meeting, expires_s) = &body;
        if places.len() > PLACES_MAX || meeting.len() > PLACES_MAX {
            return Err(InvitationError::Malformed("too many places"));
        }
        let ticket = Ticket::from_bytes(&ticket.0)?;
        let to = match (ticket.holder(), secret) {
            (Some(Holder::User(user)), None) => For::User(user),
            (Some(Holder::Link { key, .. }), Some(Key(seed))) => {
                let link = SigningKey::from_seed(seed);
                if link.public() != key {
                    return Err(InvitationError::Malformed("its key is not that of its ticket"));
                }
                For::Bearer(link)
            }
            _ => return Err(InvitationError::Malformed("its key is missing")),
        };
        Ok(Self {
            session: *session,
            name: name.clone(),
            inviter_name: inviter_name.clone(),
            inviter: *inviter,
            to,
            ticket,
            places: places.clone(),
            meeting: meeting.clone(),
            expires_s: *expires_s,
        })
    }

    /// What who accepts it may do: to show before they do.
    ///
    /// # Errors
    /// A ticket that is not valid now.
    pub fn rights(&self, now_s: u64) -> Result<Rights, TicketError> {
        self.ticket.rights(&self.session, now_s)
    }

    /// The record with which `user` is a member: the ticket is passed on from the link's key to theirs.
    ///
    /// # Errors
    /// For somebody else, or a ticket that is not valid now.
    pub fn accept(self, user: &SigningKey, name: Text, now_ms: u64) -> Result<MemberRecord, InvitationError> {
        let id = UserId(user.public());
        let ticket = match self.to {
            For::User(other) if other != id => {
                return Err(InvitationError::NotForYou(other.short().to_string()));
            }
            For::User(_) => self.ticket,
            For::Bearer(link) => {
                self.ticket.delegate(&link, Holder::User(id), &Rights::everything(), None)?
            }
        };
        ticket.verify(&self.session, &id, now_ms / 1000)?;
        Ok(MemberRecord::sign(user, self.session, name, ticket, now_ms, 0))
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, ..] = *blake3::hash(bytes).as_bytes();
    [a, b, c, d]
}

impl fmt::Display for Invitation {
    /// The link: to be given to nobody but who it is for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LINK_PREFIX)?;
        f.write_str(&Zeroizing::new(base64url::encode(&self.to_bytes())))
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    /// Blanks and line ends anywhere are passed over: mail programs and people break long lines.
    fn from_str(link: &str) -> Result<Self, InvitationError> {
        if link.len() > 2 * LINK_BYTES_MAX {
            return Err(InvitationError::Malformed("too long"));
        }
        let link: Zeroizing<String> = Zeroizing::new(link.split_whitespace().collect());
        let text = link.strip_prefix(LINK_PREFIX).ok_or(InvitationError::NoLink)?;
        let bytes =
            base64url::decode(text).ok_or(InvitationError::Malformed("a character that is in none"))?;
        Self::from_bytes(&Zeroizing::new(bytes))
    }
}

impl From<(Text, Option<Key>)> for Place {
    fn from((address, device): (Text, Option<Key>)) -> Self {
        Self { address, device: device.map(|Key(device)| device) }
    }
}

impl From<Place> for (Text, Option<Key>) {
    fn from(place: Place) -> Self {
        (place.address, place.device.map(Key))
    }
}

impl From<(Text, Key, Option<u16>)> for Meeting {
    fn from((address, Key(device), tls_port): (Text, Key, Option<u16>)) -> Self {
        Self { address, device, tls_port }
    }
}

impl From<Meeting> for (Text, Key, Option<u16>) {
    fn from(meeting: Meeting) -> Self {
        (meeting.address, Key(meeting.device), meeting.tls_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Roster;

    const NOW_MS: u64 = 1_800_000_000_123;

    fn key(number: u8) -> SigningKey {
        SigningKey::from_seed(&[number; 32])
    }

    fn invitation(to: For, expires_s: Option<u64>) -> Invitation {
        let holder = match &to {
            For::Bearer(link) => Holder::Link { key: link.public(), uses: 1 },
            For::User(user) => Holder::User(*user),
        };
        Invitation {
            session: SessionId(key(0).public()),
            name: Text::new("Garage"),
            inviter_name: Text::new("Ann"),
            inviter: UserId(key(1).public()),
            to,
            ticket: Ticket::issue(&key(0), holder, &Rights::musician(), expires_s).unwrap(),
            places: vec![
                Place { address: Text::new("192.0.2.7:4711"), device: Some([3; 32]) },
                Place { address: Text::new("[2001:db8::7]:4711"), device: None },
            ],
            meeting: vec![Meeting {
                address: Text::new("meet.example.org:4710"),
                device: [4; 32],
                tls_port: Some(443),
            }],
            expires_s,
        }
    }

    #[test]
    fn a_link_makes_a_member() {
        let invitation = invitation(For::Bearer(key(9)), Some(NOW_MS / 1000));
        let link = invitation.to_string();
        // It has to fit a QR code that a telephone reads off a screen.
        assert!(link.len() < 1200, "{}", link.len());
        let broken = format!("  {}\n{}\r\n", &link[..70], &link[70..]);
        let read: Invitation = broken.parse().unwrap();
        assert_eq!(read.to_string(), link);
        assert_eq!((&read.places, &read.meeting), (&invitation.places, &invitation.meeting));
        assert_eq!((read.name.as_str(), read.inviter_name.as_str()), ("Garage", "Ann"));
        assert_eq!(read.rights(NOW_MS / 1000), Ok(Rights::musician()));
        assert!(!format!("{read:?}").contains(&"9, ".repeat(8)));

        let record = read.clone().accept(&key(2), Text::new("Ben"), NOW_MS).unwrap();
        let mut roster = Roster::new(invitation.session);
        roster.insert(record.to_bytes(), NOW_MS / 1000).unwrap();
        let grant = roster.grant(&UserId(key(2).public()), NOW_MS / 1000).unwrap();
        assert_eq!(grant.rights(), &Rights::musician());
        let late = read.accept(&key(2), Text::new("Ben"), NOW_MS + 120_000).unwrap_err().to_string();
        assert_eq!(late, "this ticket expired 2 minutes ago; ask for a new one");
    }

    #[test]
    fn one_for_a_user_is_for_nobody_else() {
        let link = invitation(For::User(UserId(key(2).public())), None).to_string();
        let stolen = link.parse::<Invitation>().unwrap().accept(&key(3), Text::new("Eve"), NOW_MS);
        assert!(matches!(stolen, Err(InvitationError::NotForYou(_))), "{stolen:?}");
        assert!(link.parse::<Invitation>().unwrap().accept(&key(2), Text::new("Ben"), NOW_MS).is_ok());
    }

    #[test]
    fn a_damaged_link_says_so() {
        let whole = invitation(For::Bearer(key(9)), None);
        let link = whole.to_string();
        let why = |link: &str| link.parse::<Invitation>().unwrap_err();
        assert_eq!(why("https://example.org/"), InvitationError::NoLink);
        assert_eq!(why("join/abc"), InvitationError::NoLink);
        for cut in [LINK_PREFIX.len(), LINK_PREFIX.len() + 2, LINK_PREFIX.len() + 40, link.len() - 4] {
            assert!(matches!(why(&link[..cut]), InvitationError::Malformed(_)), "{cut}");
        }
        for place in (LINK_PREFIX.len()..link.len() - 1).step_by(7) {
            let mut changed = link.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert!(matches!(why(std::str::from_utf8(&changed).unwrap()), InvitationError::Malformed(_)));
        }
        assert!(matches!(
            why(&format!("{link}{}", "A".repeat(40_000))),
            InvitationError::Malformed("too long")
        ));
        // Whole, but of the future; and whole, but with another link's key.
        let resum = |mut body: Vec<u8>| {
            let sum = check(&body);
            body.extend_from_slice(&sum);
            Invitation::from_bytes(&body).unwrap_err()
        };
        assert_eq!(resum(vec![2, 0x80]), InvitationError::Version);
        let other = Invitation { to: For::Bearer(key(8)), ..whole };
        let bytes = other.to_bytes();
        assert!(matches!(Invitation::from_bytes(&bytes).unwrap_err(), InvitationError::Malformed(_)));
    }
}
