//! Connection ids that we know again without a table, so that garbage is stopped at the door.

use std::time::Duration;

use quinn::{ConnectionId, ConnectionIdGenerator};
use ring::rand::SecureRandom;

/// Of QUIC version 1 (RFC 9000).
const QUIC_VERSION: [u8; 4] = [0, 0, 0, 1];
/// A client's first datagram is at least this long (RFC 9000, clause 14.1).
const INITIAL_BYTES_MIN: usize = 1200;
const CID_BYTES: usize = 8;
const NONCE_BYTES: usize = 4;

/// Four random bytes each, and a keyed hash of them.
#[derive(Clone, Copy)]
pub(crate) struct ConnectionIds {
    key: [u8; 32],
}

impl ConnectionIds {
    /// With a random key.
    pub(crate) fn new() -> Result<Self, ring::error::Unspecified> {
        let mut key = [0; 32];
        ring::rand::SystemRandom::new().fill(&mut key)?;
        Ok(Self { key })
    }

    fn tag(&self, nonce: &[u8]) -> [u8; CID_BYTES - NONCE_BYTES] {
        let hash = blake3::keyed_hash(&self.key, nonce);
        let mut tag = [0; CID_BYTES - NONCE_BYTES];
        tag.copy_from_slice(&hash.as_bytes()[..CID_BYTES - NONCE_BYTES]);
        tag
    }

    fn is_ours(&self, id: &[u8]) -> bool {
        id.len() == CID_BYTES && self.tag(&id[..NONCE_BYTES]) == id[NONCE_BYTES..]
    }

    /// Whether a datagram can be one for our endpoint: the first of a client, or one that names an id of ours.
    pub(crate) fn admits(&self, datagram: &[u8]) -> bool {
        let [first, rest @ ..] = datagram else { return false };
        if first & 0x40 == 0 {
            return false;
        }
        if first & 0x80 == 0 {
            return rest.get(..CID_BYTES).is_some_and(|id| self.is_ours(id));
        }
        let Some((version, rest)) = rest.split_first_chunk::<4>() else { return false };
        let Some((length, rest)) = rest.split_first() else { return false };
        let Some(destination) = rest.get(..usize::from(*length)) else { return false };
        let is_initial = first & 0x30 == 0;
        *version == QUIC_VERSION
            && (self.is_ours(destination) || (is_initial && datagram.len() >= INITIAL_BYTES_MIN))
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CID_BYTES];
        // Should the system's randomness fail later than at the start, ids repeat, and QUIC asks for another one.
        if ring::rand::SystemRandom::new().fill(&mut id[..NONCE_BYTES]).is_err() {
            tracing::warn!(target: "audiocloud::socket", "the system gives no random numbers");
        }
        let tag = self.tag(&id[..NONCE_BYTES]);
        id[NONCE_BYTES..].copy_from_slice(&tag);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_ours_are_known_again() {
        let mut ids = ConnectionIds::new().unwrap();
        let other = ConnectionIds::new().unwrap();
        let id = ids.generate_cid();
        assert!(ids.is_ours(&id));
        assert!(!other.is_ours(&id));
        assert!(!ids.is_ours(&id[..7]));
    }

    #[test]
    fn the_door_knows_what_may_be_ours() {
        let mut ids = ConnectionIds::new().unwrap();
        let id = ids.generate_cid();
        let check = |datagram: &[u8], expected| assert_eq!(ids.admits(datagram), expected, "{datagram:02x?}");
        check(&[], false);
        check(&[0x40], false);
        check(&[0; 1200], false);
        check(&[0xff; 1200], false);
        check(&[&[0x41][..], &id[..], &[9; 30]].concat(), true);
        check(&[&[0x01][..], &id[..], &[9; 30]].concat(), false);
        check(&[&[0x41][..], &[7; 8], &[9; 30]].concat(), false);
        let mut initial = [0; 1200];
        initial[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 8]);
        check(&initial, true);
        check(&initial[..1199], false);
        initial[4] = 2;
        check(&initial, false);
        check(&[&[0xe0, 0, 0, 0, 1, 8][..], &id[..], &[0; 9]].concat(), true);
        check(&[0xe0, 0, 0, 0, 1, 255, 1], false);
    }
}
