//! Who is there: what members' processes say of themselves, passed on by others, and forgotten when it is old.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use audiocloud_membership::key;
use audiocloud_wire::id::{DeviceId, InstanceId, UserId};
use audiocloud_wire::message::SessionPlaces;

use crate::identity::verify_device;

/// What was said longer ago says nothing of now.
pub(super) const FRESH: Duration = Duration::from_secs(75);
/// Processes of one session that are remembered.
const PRESENT_MAX: usize = 512;
/// Of one member.
const PROCESSES_MAX: usize = 8;

/// One process, as it last said.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) said: SessionPlaces,
    heard: Instant,
    pub(super) clock_ahead_ms: i64,
}

/// Those of one session.
#[derive(Debug, Default)]
pub(super) struct Presence(BTreeMap<(DeviceId, InstanceId), Present>);

impl Presence {
    /// Takes in what a process says of itself. Whether it is news: of whoever is known, what is no later is none.
    pub(super) fn insert(
        &mut self,
        said: SessionPlaces,
        now: Instant,
        now_ms: u64,
    ) -> Result<bool, &'static str> {
        let id = (said.device, said.instance);
        if self.0.get(&id).is_some_and(|known| known.said.at_ms >= said.at_ms) {
            return Ok(false);
        }
        let of_user = self.0.values().filter(|one| one.said.user == said.user).count();
        if !self.0.contains_key(&id) && (of_user >= PROCESSES_MAX || self.0.len() >= PRESENT_MAX) {
            return Ok(false);
        }
        let certified = verify_device(&said.user, &said.device, &said.certificate.0);
        certified.map_err(|_| "a place of a device that is not its user's")?;
        let signed = key::verify(&said.device.0, &said.signed_message(), &said.signature.0);
        signed.map_err(|_| "a place that is not signed by its device")?;
        let ahead = i64::try_from(said.at_ms)
            .unwrap_or(i64::MAX)
            .saturating_sub(i64::try_from(now_ms).unwrap_or(i64::MAX));
        self.0.insert(id, Present { said, heard: now, clock_ahead_ms: ahead });
        Ok(true)
    }

    /// Forgets what is old. Whether there was any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|_, one| now.saturating_duration_since(one.heard) < FRESH);
        self.0.len() < before
    }

    /// Those of whom this is asked; and how far their clock is ahead.
    pub(super) fn of(&self, user: &UserId) -> Option<i64> {
        self.0.values().find(|one| one.said.user == *user).map(|one| one.clock_ahead_ms)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SessionPlaces> {
        self.0.values().map(|one| &one.said)
    }

    /// A process said goodbye, or its connection broke: it says so itself when it is still there.
    pub(super) fn remove(&mut self, device: DeviceId, instance: InstanceId) {
        self.0.remove(&(device, instance));
    }
}
