//! Sessions: who belongs to them, where they are, and what they share.
//!
//! Records, revocations and changes are signed by those who made them, so whoever passes them on need not be
//! believed. What is in them is the business of another layer; here they are bytes of bounded length.

use serde::{Deserialize, Serialize};

use super::list;
use crate::id::{ChangeHash, DeviceId, InstanceId, RosterDigest, SessionId, Signature, UserId};
use crate::message::{Bytes, Text};

/// The longest record of a member, in bytes.
pub const RECORD_BYTES_MAX: usize = 12_288;
/// The longest revocation, in bytes.
pub const REVOCATION_BYTES_MAX: usize = 12_288;
/// The longest change of what a session shares, in bytes.
pub const CHANGE_BYTES_MAX: usize = 49_152;
/// The most sessions that a hello claims to be of.
pub const MEMBERSHIPS_MAX: usize = 4;
/// The most records, and the most revocations, of one [`SessionRoster`].
pub const ROSTER_ITEMS_MAX: usize = 256;
/// The most addresses of one [`SessionPlaces`].
pub const PLACES_MAX: usize = 16;
/// The most heads of one [`SessionHave`].
pub const HEADS_MAX: usize = 128;
/// The most changes of one [`SessionChanges`].
pub const CHANGES_MAX: usize = 256;

/// That a user belongs to a session: part of a hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Which.
    pub session: SessionId,
    /// The user's record, as every member keeps it.
    pub record: Bytes<RECORD_BYTES_MAX>,
}

/// Some of what is known of who belongs to a session, and who no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRoster {
    /// Which.
    pub session: SessionId,
    /// Of members: at most [`ROSTER_ITEMS_MAX`].
    #[serde(deserialize_with = "list::at_most::<ROSTER_ITEMS_MAX, _, _>")]
    pub records: Vec<Bytes<RECORD_BYTES_MAX>>,
    /// At most [`ROSTER_ITEMS_MAX`].
    #[serde(deserialize_with = "list::at_most::<ROSTER_ITEMS_MAX, _, _>")]
    pub revocations: Vec<Bytes<REVOCATION_BYTES_MAX>>,
}

/// That a process of a member is there, and where it may be dialled. Members pass it on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionPlaces {
    /// Of which session.
    pub session: SessionId,
    /// The member.
    pub user: UserId,
    /// The device, to be expected at each of the addresses.
    pub device: DeviceId,
    /// The user's signature of the device's key, as in a hello.
    pub certificate: Signature,
    /// Which of the device's processes.
    pub instance: InstanceId,
    /// Address and port of each place, as text; at most [`PLACES_MAX`].
    #[serde(deserialize_with = "list::at_most::<PLACES_MAX, _, _>")]
    pub places: Vec<Text>,
    /// When it was said, by the clock there: milliseconds since 1970 (UTC). Of two, the later one counts.
    #[serde(rename = "at-ms")]
    pub at_ms: u64,
    /// The device's, of [`SessionPlaces::signed_message`].
    pub signature: Signature,
}

impl SessionPlaces {
    /// What the device signs: what it is for and a zero byte, the session, the user, the device, the instance, the
    /// time (u64, big-endian), and of each place its length (u16, big-endian) and its text.
    pub fn signed_message(&self) -> Vec<u8> {
        let mut message = b"audiocloud session places v1\0".to_vec();
        message.extend_from_slice(self.session.as_bytes());
        message.extend_from_slice(self.user.as_bytes());
        message.extend_from_slice(self.device.as_bytes());
        message.extend_from_slice(self.instance.as_bytes());
        message.extend_from_slice(&self.at_ms.to_be_bytes());
        for place in &self.places {
            // A text has at most 256 bytes.
            message.extend_from_slice(&u16::try_from(place.len()).unwrap_or(u16::MAX).to_be_bytes());
            message.extend_from_slice(place.as_bytes());
        }
        message
    }
}

/// What a peer has of what a session shares, so that the other can send what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHave {
    /// Which.
    pub session: SessionId,
    /// The changes that no other change follows: at most [`HEADS_MAX`].
    #[serde(deserialize_with = "list::at_most::<HEADS_MAX, _, _>")]
    pub heads: Vec<ChangeHash>,
    /// Of all records and revocations: where it differs, the other sends its own.
    pub roster: RosterDigest,
}

/// Changes of what a session shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionChanges {
    /// Which.
    pub session: SessionId,
    /// Each signed by the member who made it, those that others build on first: at most [`CHANGES_MAX`].
    #[serde(deserialize_with = "list::at_most::<CHANGES_MAX, _, _>")]
    pub changes: Vec<Bytes<CHANGE_BYTES_MAX>>,
    /// There are more, for who says again what it has.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}
