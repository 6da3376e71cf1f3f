//! What a connected peer is to us: trusted by itself, or as a member of sessions, and what follows at each door.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use audiocloud_membership::rights::Operation;
use audiocloud_membership::ticket::Grant;
use audiocloud_wire::id::{SessionId, StreamKey};

/// Why a peer is let in without any session. Such peers have every right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trusted {
    /// Of the same user.
    Own,
    /// Named in the configuration, by its own key or its user's.
    Named,
    /// Of a user whom this user has accepted.
    Accepted,
}

/// What a member may do, by session.
pub(crate) type Grants = BTreeMap<SessionId, Arc<Grant>>;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) trusted: Option<Trusted>,
    pub(crate) grants: Grants,
}

impl Standing {
    /// Whether there is any reason to be connected.
    pub(crate) fn holds(&self) -> bool {
        self.trusted.is_some() || !self.grants.is_empty()
    }

    /// Whether the peer may know of what belongs to this session, or to none.
    pub(crate) fn sees(&self, session: Option<SessionId>) -> bool {
        self.trusted.is_some() || session.is_some_and(|session| self.grants.contains_key(&session))
    }

    /// Whether the peer may do this with what belongs to this session, or to none; if not, why not, for people.
    pub(crate) fn allows(&self, session: Option<SessionId>, operation: &Operation<'_>) -> Result<(), String> {
        if self.trusted.is_some() {
            return Ok(());
        }
        let Some(session) = session else {
            return Err(
                "it belongs to no session; its owner has to put it into one that you share".to_owned()
            );
        };
        let Some(grant) = self.grants.get(&session) else {
            return Err(
                "it belongs to a session that you are not in; ask its owner for an invitation".to_owned()
            );
        };
        grant.allows(operation, now_s()).map_err(|denied| denied.to_string())
    }

    /// Whether the peer may hear this stream of ours.
    pub(crate) fn may_hear(&self, session: Option<SessionId>, key: &StreamKey) -> Result<(), String> {
        self.allows(session, &Operation::Subscribe(key))
    }

    /// For log lines: as what the peer is there.
    pub(crate) fn words(&self) -> String {
        match self.trusted {
            Some(Trusted::Own) => "of this user".to_owned(),
            Some(Trusted::Named) => "named in config.toml".to_owned(),
            Some(Trusted::Accepted) => "accepted".to_owned(),
            None => {
                let sessions: Vec<_> =
                    self.grants.keys().map(|session| session.short().to_string()).collect();
                format!("member of session {}", sessions.join(", "))
            }
        }
    }
}

/// Seconds since 1970 (UTC), by this machine's clock: what tickets count in.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Milliseconds since 1970 (UTC).
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
