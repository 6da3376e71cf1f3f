//! What this user keeps of a session.

use audiocloud_membership::invitation::{Meeting, Place};
use audiocloud_membership::key::SigningKey;
use audiocloud_membership::member::{MemberRecord, RecordError};
use audiocloud_wire::id::{DeviceId, SessionId, UserId};
use audiocloud_wire::message::Text;
use serde::{Deserialize, Serialize};

/// A session that this user is a member of.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Which.
    pub session: SessionId,
    /// What its founder called it.
    pub name: String,
    /// Who let this user in, as they call themselves: whom to ask for a new link. The own name where it is theirs.
    pub inviter: String,
    /// The session's secret key, with who founded it.
    pub founder: Option<SigningKey>,
    /// The own record, with which others let this user in.
    pub record: Vec<u8>,
    /// Where members were when the link was made.
    pub places: Vec<Place>,
    /// Where members meet.
    pub meeting: Vec<Meeting>,
    /// When this user founded or joined it: milliseconds since 1970.
    pub since_ms: u64,
}

impl Membership {
    /// The own record, read.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn member_record(&self) -> Result<MemberRecord, RecordError> {
        MemberRecord::from_bytes(&self.record)
    }
}

/// What of it is one value in the store; secret and record have tables of their own.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    name: String,
    inviter: String,
    pub(super) user: UserId,
    places: Vec<KeptPlace>,
    meeting: Vec<(Text, DeviceId, Option<u16>)>,
    since_ms: u64,
}

pub(super) type KeptPlace = (Text, Option<DeviceId>);

pub(super) fn keep_place(place: &Place) -> KeptPlace {
    (place.address.clone(), place.device.map(DeviceId))
}

pub(super) fn kept_place((address, device): KeptPlace) -> Place {
    Place { address, device: device.map(|device| device.0) }
}

impl Kept {
    pub(super) fn of(membership: &Membership, user: UserId) -> Self {
        let meeting = |at: &Meeting| (at.address.clone(), DeviceId(at.device), at.tls_port);
        Self {
            name: membership.name.clone(),
            inviter: membership.inviter.clone(),
            user,
            places: membership.places.iter().map(keep_place).collect(),
            meeting: membership.meeting.iter().map(meeting).collect(),
            since_ms: membership.since_ms,
        }
    }

    pub(super) fn with(self, session: SessionId, founder: Option<SigningKey>, record: Vec<u8>) -> Membership {
        let meeting =
            |(address, device, tls_port): (_, DeviceId, _)| Meeting { address, device: device.0, tls_port };
        Membership {
            session,
            name: self.name,
            inviter: self.inviter,
            founder,
            record,
            places: self.places.into_iter().map(kept_place).collect(),
            meeting: self.meeting.into_iter().map(meeting).collect(),
            since_ms: self.since_ms,
        }
    }
}
