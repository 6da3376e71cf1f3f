//! Where to dial: this machine, which links say; and members of sessions, where they were last.

use audiocloud_membership::invitation::Place;
use audiocloud_wire::id::SessionId;

use super::{META, Store, StoreError, cbor, uncbor};
use crate::sessions::membership::{KeptPlace, keep_place, kept_place};

const OWN: &[u8] = b"places";

/// The key of the places of a session's members.
pub(super) fn of_members(session: &[u8]) -> Vec<u8> {
    [OWN, session].concat()
}

impl Store {
    /// Where this machine's runtime can be dialled, as it last knew: what a link says.
    pub fn own_places(&self) -> Result<Vec<Place>, StoreError> {
        self.places(OWN)
    }

    /// Keeps where this machine's runtime can be dialled. Costs nothing when it is kept already.
    pub fn set_own_places(&self, places: &[Place]) -> Result<(), StoreError> {
        self.set_places(OWN, places)
    }

    /// Where members of a session were last.
    pub(crate) fn members_places(&self, session: &SessionId) -> Result<Vec<Place>, StoreError> {
        self.places(&of_members(&session.0))
    }

    /// Keeps where members of a session are: they are dialled there after the next start. Costs nothing when it is kept
    /// already.
    pub(crate) fn set_members_places(&self, session: &SessionId, places: &[Place]) -> Result<(), StoreError> {
        self.set_places(&of_members(&session.0), places)
    }

    fn places(&self, key: &[u8]) -> Result<Vec<Place>, StoreError> {
        self.read(|read| {
            let kept = read.open_table(META)?.get(key)?;
            let places: Vec<KeptPlace> = kept.and_then(|kept| uncbor(kept.value())).unwrap_or_default();
            Ok(places.into_iter().map(kept_place).collect())
        })
    }

    fn set_places(&self, key: &[u8], places: &[Place]) -> Result<(), StoreError> {
        if self.places(key)? == places {
            return Ok(());
        }
        let kept: Vec<_> = places.iter().map(keep_place).collect();
        self.put(META, &[(key.to_vec(), cbor(&kept))])
    }
}
