//! Sessions as a window shows them, and what can be asked there: plain data, no window, no network.

pub mod desk;
mod overview;

use audiocloud_net::wire::id::{SessionId, UserId};

use crate::editor::qr_code::QrCode;
use crate::state::SessionRef;
use crate::status::Status;

/// One frame's worth of what a window shows of sessions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The project's; none: its streams are between this user's computers and the peers that the user named.
    pub current: Option<SessionRef>,
    /// How things stand with it.
    pub status: Status,
    /// Those that this user is a member of.
    pub joined: Vec<SessionRef>,
    /// Of the project's session, this user first, then by name.
    pub members: Vec<Member>,
    pub may_invite: bool,
    pub may_remove: bool,
    /// Who asks for a connection and is neither named nor a member.
    pub strangers: Vec<Stranger>,
    pub desk: Desk,
}

/// Somebody in the project's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub user: UserId,
    pub name: String,
    pub is_self: bool,
    pub is_here: bool,
    /// What is the matter with them, in words; empty: nothing.
    pub trouble: String,
}

/// Somebody who is waiting at the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// None: only their device has shown itself yet, which cannot be accepted.
    pub user: Option<UserId>,
    /// As they call themselves, or where they are.
    pub name: String,
    /// To be compared with what they read out: their key's first digits.
    pub fingerprint: String,
    /// Why they are not let in.
    pub why: String,
}

/// What was asked for, and what came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desk {
    /// Something is being done: nothing else can be asked for meanwhile.
    pub is_busy: bool,
    /// What came of the latest.
    pub said: Option<Status>,
    /// The latest invitation, until it is put away.
    pub link: Option<Link>,
    /// A spoken code that is waited for.
    pub pairing: Option<Pairing>,
}

/// Two who were told the same code look for each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Pairing {
    /// To be said; none: it was entered here, or is being made.
    pub code: Option<String>,
    /// What is waited for.
    pub about: String,
}

impl std::fmt::Debug for Pairing {
    /// Without the code, which lets in whoever has it.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pairing").field("about", &self.about).finish_non_exhaustive()
    }
}

/// A link to be given to whoever is invited.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    pub text: String,
    /// None: it is too long for one.
    pub qr_code: Option<QrCode>,
    /// For whom, and for how long.
    pub about: String,
}

impl std::fmt::Debug for Link {
    /// Without the link, which lets in whoever has it.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Link").field("about", &self.about).finish_non_exhaustive()
    }
}

/// What a link is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Everything but to remove members and to host effects.
    #[default]
    Musician,
    /// To hear, and nothing else.
    Listener,
}

impl Role {
    pub const ALL: [Self; 2] = [Self::Musician, Self::Listener];

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Musician => "Play and listen",
            Self::Listener => "Listen only",
        }
    }
}

/// How long who comes by a link stays a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stay {
    /// Until they leave or are removed.
    #[default]
    Open,
    Day,
    Week,
}

impl Stay {
    pub const ALL: [Self; 3] = [Self::Open, Self::Day, Self::Week];

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Open => "without end",
            Self::Day => "for a day",
            Self::Week => "for a week",
        }
    }

    /// From now; none: without end.
    pub const fn seconds(self) -> Option<u64> {
        match self {
            Self::Open => None,
            Self::Day => Some(24 * 60 * 60),
            Self::Week => Some(7 * 24 * 60 * 60),
        }
    }
}

/// What a link gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub role: Role,
    pub stay: Stay,
    /// How many people it lets in.
    pub uses: u16,
}

impl Default for Offer {
    /// A musician, without end.
    fn default() -> Self {
        Self { role: Role::default(), stay: Stay::default(), uses: 1 }
    }
}

impl Offer {
    /// For people, as "For one person, for a day: listen only."
    pub fn words(self) -> String {
        let whom = if self.uses == 1 { "one person".to_owned() } else { format!("{} people", self.uses) };
        format!("For {whom}, {}: {}.", self.stay.words(), self.role.words().to_lowercase())
    }
}

/// What can be asked.
#[derive(Clone, PartialEq, Eq)]
pub enum Act {
    /// The project belongs to this session from now on, or to none.
    Choose(Option<SessionRef>),
    /// A new session of this name, which the project then belongs to.
    Create(String),
    /// Join by a link; the project then belongs to that session.
    Join(String),
    Invite(SessionId, Offer),
    /// Make a code, to be said to one person on this network, and wait for them.
    ShowCode(SessionId, Offer),
    /// Join by a code that was said; the project then belongs to that session.
    EnterCode(String),
    /// Wait no longer for who has the same code.
    StopPairing,
    Leave(SessionId),
    /// Take somebody out, with all whom they invited.
    Remove(SessionId, UserId),
    /// Let somebody connect who is no member.
    Accept(UserId, String),
    /// Put the link away.
    PutAway,
}

impl std::fmt::Debug for Act {
    /// Without a link or a code, which let in whoever has them.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Choose(session) => formatter.debug_tuple("Choose").field(session).finish(),
            Self::Create(name) => formatter.debug_tuple("Create").field(name).finish(),
            Self::Join(link) => write!(formatter, "Join({} characters)", link.len()),
            Self::Invite(session, offer) => {
                formatter.debug_tuple("Invite").field(session).field(offer).finish()
            }
            Self::ShowCode(session, offer) => {
                formatter.debug_tuple("ShowCode").field(session).field(offer).finish()
            }
            Self::EnterCode(_) => formatter.write_str("EnterCode"),
            Self::StopPairing => formatter.write_str("StopPairing"),
            Self::Leave(session) => formatter.debug_tuple("Leave").field(session).finish(),
            Self::Remove(session, user) => {
                formatter.debug_tuple("Remove").field(session).field(user).finish()
            }
            Self::Accept(user, name) => formatter.debug_tuple("Accept").field(user).field(name).finish(),
            Self::PutAway => formatter.write_str("PutAway"),
        }
    }
}
