//! How probes are sealed.
//!
//! Each member of a room draws a [`ProbeSecret`], tells its public half, the [`ProbeKey`], and learns those of the
//! others by introduction. A pair's keys, one for each direction, come from what both compute by X25519 (RFC 7748), by
//! BLAKE3 in its key derivation mode; a probe carries the first 16 bytes of its keyed hash. So who was not introduced
//! cannot open a way, nor draw an answer, not even another of the same room; and who answers only what is sealed, with
//! as many bytes, amplifies nothing. A node that lies about the keys can come between two peers' probes, as it can lie
//! about their addresses: it could have kept them apart anyway. What the peers say to each other is sealed by QUIC,
//! with keys that no node ever told.

use std::fmt;

use curve25519_dalek::MontgomeryPoint;
use zeroize::{Zeroize, Zeroizing};

use crate::frame::{MAC_BYTES, PROBE_BYTES, Probe, Tag};

const KEY_CONTEXT: &str = "audiocloud 2026 traversal: key of probes, sender then receiver, v1";
const TAG_CONTEXT: &str = "audiocloud 2026 traversal: tag of probes, sender then receiver, v1";

/// What a member keeps to itself: random, new with each run of the process.
pub struct ProbeSecret([u8; 32]);

/// What it tells those whom it wants to be found by: an X25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeKey(pub [u8; 32]);

/// A peer's key that gives the same secret with every other: no honest peer has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer's probe key is a point of low order; do not connect to it")]
pub struct WeakKey;

impl ProbeSecret {
    /// From random bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The other half.
    pub fn public(&self) -> ProbeKey {
        ProbeKey(MontgomeryPoint::mul_base_clamped(self.0).to_bytes())
    }
}

impl Drop for ProbeSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for ProbeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProbeSecret(..)")
    }
}

/// The keys of a pair, from one end's point of view.
pub(crate) struct PairKeys {
    send: Zeroizing<[u8; 32]>,
    receive: Zeroizing<[u8; 32]>,
    send_tag: Tag,
    receive_tag: Tag,
}

impl fmt::Debug for PairKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairKeys").field("receive_tag", &self.receive_tag).finish_non_exhaustive()
    }
}

impl PairKeys {
    /// # Errors
    ///
    /// [`WeakKey`].
    pub(crate) fn new(own: &ProbeSecret, peer: &ProbeKey) -> Result<Self, WeakKey> {
        let shared = Zeroizing::new(MontgomeryPoint(peer.0).mul_clamped(own.0).to_bytes());
        if shared.iter().all(|byte| *byte == 0) {
            return Err(WeakKey);
        }
        let own = own.public();
        let derive = |context, sender: &ProbeKey, receiver: &ProbeKey| {
            let mut material = Zeroizing::new([0; 96]);
            material[..32].copy_from_slice(&shared[..]);
            material[32..64].copy_from_slice(&sender.0);
            material[64..].copy_from_slice(&receiver.0);
            Zeroizing::new(blake3::derive_key(context, &material[..]))
        };
        let tag = |sender, receiver| {
            let mut tag = [0; 8];
            tag.copy_from_slice(&derive(TAG_CONTEXT, sender, receiver)[..8]);
            Tag(tag)
        };
        Ok(Self {
            send: derive(KEY_CONTEXT, &own, peer),
            receive: derive(KEY_CONTEXT, peer, &own),
            send_tag: tag(&own, peer),
            receive_tag: tag(peer, &own),
        })
    }

    /// What the other's probes to us have.
    pub(crate) fn receive_tag(&self) -> Tag {
        self.receive_tag
    }

    pub(crate) fn seal(&self, is_answer: bool, number: u64) -> [u8; PROBE_BYTES] {
        let probe = Probe { is_answer, tag: self.send_tag, number, mac: [0; MAC_BYTES] };
        Probe { mac: mac(&self.send, &probe), ..probe }.to_bytes()
    }

    /// Whether the other sealed it, for us.
    pub(crate) fn opens(&self, probe: &Probe) -> bool {
        // A comparison of `Hash` takes the same time wherever the two differ.
        let whole = |mac: [u8; MAC_BYTES]| {
            let mut hash = [0; 32];
            hash[..MAC_BYTES].copy_from_slice(&mac);
            blake3::Hash::from_bytes(hash)
        };
        probe.tag == self.receive_tag && whole(mac(&self.receive, probe)) == whole(probe.mac)
    }
}

/// Of all that stands before it.
fn mac(key: &[u8; 32], probe: &Probe) -> [u8; MAC_BYTES] {
    let bytes = probe.to_bytes();
    let hash = blake3::keyed_hash(key, &bytes[..PROBE_BYTES - MAC_BYTES]);
    let mut mac = [0; MAC_BYTES];
    mac.copy_from_slice(&hash.as_bytes()[..MAC_BYTES]);
    mac
}

/// Which numbers have come: each counts once, and none that is far behind (after RFC 4303, clause 3.4.3).
#[derive(Debug, Default)]
pub(crate) struct Replays {
    highest: u64,
    /// Bit *n*: `highest - n` has come.
    seen: u128,
}

impl Replays {
    /// Whether a number, which is proven to be the peer's, is new.
    pub(crate) fn admit(&mut self, number: u64) -> bool {
        if number > self.highest {
            let step = u32::try_from(number - self.highest).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            self.highest = number;
            return true;
        }
        let behind = u32::try_from(self.highest - number).unwrap_or(u32::MAX);
        let bit = 1_u128.checked_shl(behind).unwrap_or(0);
        let is_new = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    fn probe(bytes: &[u8]) -> Probe {
        match Frame::decode(bytes) {
            Ok(Frame::Probe(probe)) => probe,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_other_opens_and_only_what_was_sealed() {
        let [one, two, three] = [1, 2, 3].map(|byte| ProbeSecret::from_bytes([byte; 32]));
        let pair = |own: &ProbeSecret, peer: &ProbeSecret| PairKeys::new(own, &peer.public()).unwrap();
        let (left, right) = (pair(&one, &two), pair(&two, &one));
        let sealed = left.seal(false, 5);
        assert!(right.opens(&probe(&sealed)));
        assert!(!left.opens(&probe(&sealed)), "reflected");
        assert!(!pair(&three, &one).opens(&probe(&sealed)) && !pair(&two, &three).opens(&probe(&sealed)));
        for at in 0..PROBE_BYTES {
            let mut changed = sealed;
            // Of the first byte, the bits that make an answer of it.
            changed[at] ^= 3;
            assert!(!right.opens(&probe(&changed)), "byte {at}");
        }
    }

    #[test]
    fn keys_are_those_of_rfc_7748() {
        let unhex = |text: &str| {
            let mut bytes = [0; 32];
            for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
                *byte = u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            }
            bytes
        };
        // Clause 6.1: Alice's private and public key.
        let secret = unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let public = unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        assert_eq!(ProbeSecret::from_bytes(secret).public(), ProbeKey(public));
    }

    #[test]
    fn a_key_of_low_order_is_refused() {
        let own = ProbeSecret::from_bytes([7; 32]);
        for weak in [0, 1] {
            let mut key = [0; 32];
            key[0] = weak;
            assert!(PairKeys::new(&own, &ProbeKey(key)).is_err());
        }
    }

    #[test]
    fn numbers_count_once() {
        let mut replays = Replays::default();
        let mut check = |number, expected| assert_eq!(replays.admit(number), expected, "{number}");
        check(1, true);
        check(1, false);
        check(3, true);
        check(2, true);
        check(2, false);
        check(200, true);
        check(73, true);
        check(72, false);
        check(200, false);
        check(u64::MAX, true);
        check(200, false);
        check(u64::MAX - 127, true);
        check(u64::MAX - 127, false);
        check(u64::MAX - 128, false);
    }
}
