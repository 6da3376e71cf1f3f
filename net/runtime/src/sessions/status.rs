//! What is told of the sessions of this user.

use audiocloud_membership::rights::Rights;
use audiocloud_wire::id::{DeviceId, SessionId, UserId};
use serde_json::{Value, json};

/// A session of this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStatus {
    /// Which.
    pub session: SessionId,
    /// What its founder called it.
    pub name: String,
    /// Who let this user in, as they call themselves: whom to ask for a new link. The own name where it is theirs.
    pub inviter: String,
    /// What this user may do in it; nothing where there is trouble.
    pub rights: Rights,
    /// Why this user is out of it, cause and remedy; none: a member in good standing.
    pub trouble: Option<String>,
    /// All of whom there is a record, in the order of their keys.
    pub members: Vec<SessionMember>,
}

/// A member of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionMember {
    /// Who.
    pub user: UserId,
    /// What they call themselves.
    pub name: String,
    /// This user.
    pub is_self: bool,
    /// Whether a process of theirs is there: connected, or said so to somebody a moment ago.
    pub present: bool,
    /// What they may do; nothing where there is trouble.
    pub rights: Rights,
    /// Why they are out.
    pub trouble: Option<String>,
    /// How much their clock is ahead of ours, by what they last said, which took a moment to come; none: unknown.
    pub clock_ahead_ms: Option<i64>,
}

/// Somebody who wants to connect and is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Who they say they are, and prove to be; none where only the device is known yet.
    pub user: Option<UserId>,
    /// Their device.
    pub device: DeviceId,
    /// What they call themselves; empty where it is not known yet.
    pub name: String,
    /// Where they are.
    pub address: String,
    /// Why they are not let in, or will not let us in.
    pub why: String,
}

impl SessionStatus {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "session": self.session.to_string(),
            "name": self.name,
            "inviter": self.inviter,
            "rights": self.rights.to_string(),
            "trouble": self.trouble,
            "members": self.members.iter().map(SessionMember::to_json).collect::<Vec<_>>(),
        })
    }
}

impl SessionMember {
    fn to_json(&self) -> Value {
        json!({
            "user": self.user.to_string(),
            "name": self.name,
            "self": self.is_self,
            "present": self.present,
            "rights": self.rights.to_string(),
            "trouble": self.trouble,
            "clock_ahead_ms": self.clock_ahead_ms,
        })
    }
}

impl Stranger {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "user": self.user.map(|user| user.to_string()),
            "device": self.device.to_string(),
            "name": self.name,
            "address": self.address,
            "why": self.why,
        })
    }
}
