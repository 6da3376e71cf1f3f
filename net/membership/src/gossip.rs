//! What members say to each other of a session, cut to messages that they take.

use audiocloud_wire::id::{RosterDigest, SessionId};
use audiocloud_wire::message::{
    Bytes, CHANGES_MAX, Message, ROSTER_ITEMS_MAX, SessionChanges, SessionHave, SessionRoster,
};

use crate::roster::Roster;
use crate::shared::{SharedState, SignedChange};

/// Of what one message carries, in bytes; well below a frame's most, for the CBOR around it.
const MESSAGE_BYTES: usize = 48 << 10;
/// Messages of changes in answer to one question. Who has taken them asks again.
const ANSWERS_MAX: usize = 8;

const DIGEST_CONTEXT: &str = "audiocloud session roster v1";

/// All that a roster holds, as one hash: equal exactly where the same records and revocations are.
pub fn digest(roster: &Roster) -> RosterDigest {
    let mut hashes: Vec<_> =
        roster.records().chain(roster.revocations()).map(|bytes| *blake3::hash(bytes).as_bytes()).collect();
    hashes.sort_unstable();
    let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
    for hash in hashes {
        hasher.update(&hash);
    }
    RosterDigest(*hasher.finalize().as_bytes())
}

/// What is sent to a peer, so that it sends what is lacking here.
pub fn have(roster: &Roster, state: &SharedState) -> SessionHave {
    SessionHave { session: roster.session(), heads: state.heads(), roster: digest(roster) }
}

/// A whole roster.
pub fn roster(roster: &Roster) -> Vec<Message> {
    let session = roster.session();
    // Revocations first: who is out is not let in for a moment.
    let items =
        roster.revocations().map(|bytes| (bytes, true)).chain(roster.records().map(|bytes| (bytes, false)));
    items_of(session, items)
}

/// Records and revocations, the latter marked `true`.
pub fn items_of<'a>(session: SessionId, items: impl Iterator<Item = (&'a [u8], bool)>) -> Vec<Message> {
    let empty = || SessionRoster { session, records: Vec::new(), revocations: Vec::new() };
    let (mut messages, mut current, mut bytes) = (Vec::new(), empty(), 0);
    for (item, revocation) in items {
        let is_full = current.records.len().max(current.revocations.len()) == ROSTER_ITEMS_MAX;
        if is_full || bytes + item.len() > MESSAGE_BYTES {
            messages.push(Message::SessionRoster(std::mem::replace(&mut current, empty())));
            bytes = 0;
        }
        bytes += item.len();
        // What was believed is no longer than what a message takes.
        if revocation {
            current.revocations.extend(Bytes::try_from(item));
        } else {
            current.records.extend(Bytes::try_from(item));
        }
    }
    if bytes > 0 {
        messages.push(Message::SessionRoster(current));
    }
    messages
}

/// Changes in their order; all of them, or so many that they do not drown a peer.
pub fn changes(session: SessionId, changes: &[SignedChange], all: bool) -> Vec<Message> {
    let (mut messages, mut current, mut bytes) = (Vec::new(), Vec::new(), 0);
    let message = |changes, more| Message::SessionChanges(SessionChanges { session, changes, more });
    for change in changes {
        let is_full = current.len() == CHANGES_MAX;
        if (is_full || bytes + change.size_bytes() > MESSAGE_BYTES) && !current.is_empty() {
            let last = !all && messages.len() + 1 == ANSWERS_MAX;
            messages.push(message(std::mem::take(&mut current), last));
            bytes = 0;
            if last {
                return messages;
            }
        }
        bytes += change.size_bytes();
        current.extend(Bytes::try_from(change.to_bytes()));
    }
    if !current.is_empty() {
        messages.push(message(current, false));
    }
    messages
}
