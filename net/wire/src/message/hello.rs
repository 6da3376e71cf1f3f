//! Who is there: the first message in each direction.

use serde::{Deserialize, Serialize};

use super::list;
use crate::id::{DeviceId, InstanceId, Signature, UserId};
use crate::message::{MEMBERSHIPS_MAX, Membership, Text, codes};

/// The versions that a peer speaks, from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// The oldest.
    pub min: u8,
    /// The newest.
    pub max: u8,
}

/// The versions that this crate speaks.
pub const VERSIONS: VersionRange = VersionRange { min: 1, max: 1 };

/// Two peers without a version in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no common version: we speak {} to {}, the peer {} to {}; update whichever is older",
    ours.min, ours.max, theirs.min, theirs.max
)]
pub struct NoCommonVersion {
    /// What this side speaks.
    pub ours: VersionRange,
    /// What the other side says that it speaks.
    pub theirs: VersionRange,
}

/// The newest version that both sides speak. Both sides come to the same result, each from its own point of
/// view.
///
/// # Errors
///
/// [`NoCommonVersion`]; also when a range is empty.
pub fn negotiate(ours: VersionRange, theirs: VersionRange) -> Result<u8, NoCommonVersion> {
    let (oldest, newest) = (ours.min.max(theirs.min), ours.max.min(theirs.max));
    if oldest <= newest { Ok(newest) } else { Err(NoCommonVersion { ours, theirs }) }
}

/// Who is there.
///
/// A hello is read before a version is agreed, so its fields keep name and meaning in all versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The versions that the peer speaks.
    pub versions: VersionRange,
    /// The user's key.
    pub user: UserId,
    /// The device's key: the one that the peer's TLS certificate has, or the hello is false.
    pub device: DeviceId,
    /// The user's signature of [`certificate_message`].
    pub certificate: Signature,
    /// This run of the process.
    pub instance: InstanceId,
    /// Nanoseconds since 1970 (UTC) when the instance began: of two runs that claim the same, the later one
    /// counts.
    pub boot_epoch: u64,
    /// What the user calls this device.
    pub name: Text,
    /// Name and version of the program, for people.
    pub software: Text,
    /// Sessions that the user belongs to and that are the reason to connect: at most [`MEMBERSHIPS_MAX`]. Who answers
    /// names only those that the dialling side named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "list::at_most::<MEMBERSHIPS_MAX, _, _>")]
    pub memberships: Vec<Membership>,
}

/// What the user's key signs to make a device one of the user's: what it is for, a zero byte, and the
/// device's key.
pub const fn certificate_message(device: &DeviceId) -> [u8; CERTIFICATE_MESSAGE_BYTES] {
    let mut message = [0; CERTIFICATE_MESSAGE_BYTES];
    let (purpose, key) = message.split_at_mut(CERTIFICATE_PURPOSE.len());
    purpose.copy_from_slice(CERTIFICATE_PURPOSE);
    key.copy_from_slice(device.as_bytes());
    message
}

/// So that a signature made for anything else is never one of a device.
const CERTIFICATE_PURPOSE: &[u8] = b"audiocloud device certificate v1\0";
const CERTIFICATE_MESSAGE_BYTES: usize = CERTIFICATE_PURPOSE.len() + DeviceId::BYTES;

/// Why a peer is not wanted; the connection closes after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloRefused {
    /// Why, for programs.
    pub reason: RefusalReason,
    /// Why, for people.
    pub text: Text,
}

codes! {
    /// Why a hello is refused.
    RefusalReason {
        /// [`negotiate`] found none.
        NoCommonVersion = "no-common-version",
        /// The certificate is not the user's, or the device's key is not that of the connection.
        BadCertificate = "bad-certificate",
        /// Neither of the same user nor otherwise known.
        NotTrusted = "not-trusted",
        /// The two instances are already connected.
        Duplicate = "duplicate",
        /// The peer is this very instance.
        Oneself = "oneself",
        /// As many peers as this one serves.
        TooMany = "too-many",
        /// The first message was not a hello that could be read.
        Malformed = "malformed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation_takes_the_newest_common_version() {
        let check = |ours: (u8, u8), theirs: (u8, u8), expected: Option<u8>| {
            let ours = VersionRange { min: ours.0, max: ours.1 };
            let theirs = VersionRange { min: theirs.0, max: theirs.1 };
            assert_eq!(negotiate(ours, theirs).ok(), expected);
            assert_eq!(negotiate(theirs, ours).ok(), expected, "the same from both sides");
        };
        check((1, 1), (1, 1), Some(1));
        check((1, 1), (1, 3), Some(1));
        check((1, 2), (1, 3), Some(2));
        check((1, 4), (2, 3), Some(3));
        check((1, 1), (2, 3), None);
        check((1, 1), (3, 1), None);
        check((1, 1), (0, 0), None);
        check((1, 255), (255, 255), Some(255));
    }

    #[test]
    fn certificate_message_is_purpose_and_key() {
        let message = certificate_message(&DeviceId([0xab; 32]));
        assert_eq!(&message[..33], b"audiocloud device certificate v1\0");
        assert_eq!(message[33..], [0xab; 32]);
    }
}
