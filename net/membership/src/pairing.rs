//! A short spoken code that lets one machine give another an invitation, with nobody between them.
//!
//! SPAKE2 (RFC 9382, in the variant of the `spake2` crate) makes a strong key of a weak code: who listens learns
//! nothing, and who comes between has one guess. The key is bound to the roles of both sides and to the device keys
//! that TLS proved, so nobody can pass messages on between two others. Three messages:
//!
//! 1. host → guest: the host's element;
//! 2. guest → host: the guest's element, and a proof that the guest has the code;
//! 3. host → guest: the invitation, sealed (ChaCha20-Poly1305, RFC 8439).
//!
//! The host opens nothing to a guest who has not proven the code, and either side has used it up when its try ends.

use std::fmt;

use audiocloud_wire::id::DeviceId;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::Zeroizing;

use crate::invitation::LINK_BYTES_MAX;
pub use code::{Code, ParseCodeError, SLOT_MAX};

mod code;
mod words;

/// The longest message.
pub const PAIRING_BYTES_MAX: usize = 1 + LINK_BYTES_MAX + TAG_BYTES;

const HOST: u8 = 1;
const GUEST: u8 = 2;
const SEALED: u8 = 3;
const ELEMENT_BYTES: usize = 33;
const PROOF_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const PROOF_CONTEXT: &str = "audiocloud 2026 pairing proof v1";
const SEAL_CONTEXT: &str = "audiocloud 2026 pairing seal v1";

/// One try of two machines to find out that they were given the same code, and then to pass an invitation.
pub struct Pairing {
    peer: DeviceId,
    state: State,
}

enum State {
    /// The host has sent its element.
    Host { spake: Spake2<Ed25519Group>, invitation: Zeroizing<Vec<u8>> },
    /// The guest waits for the host's.
    Guest { spake: Spake2<Ed25519Group>, element: Vec<u8> },
    /// The guest has proven the code.
    Proven { seal: Zeroizing<[u8; 32]> },
    /// Nothing is taken any more.
    Over,
}

/// What came of a message.
#[derive(PartialEq, Eq)]
pub enum Step {
    /// Guest: send this, and wait for the next message.
    Answer(Vec<u8>),
    /// Host: the guest has the code. Send this, the sealed invitation, and it is over.
    Sent(Vec<u8>),
    /// Guest: the invitation's bytes, and it is over.
    Received(Zeroizing<Vec<u8>>),
}

/// Why there is no pairing. The code is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairingError {
    /// Different codes, or somebody between.
    #[error("the codes are not the same, or somebody tried to come between; make a new code and try again")]
    Failed,
    /// Not a message of this protocol, or not now.
    #[error("the other side sent something that is no part of a pairing; make a new code and try again")]
    Unexpected,
}

impl Pairing {
    /// The side that made the code and gives the invitation, and the first message. `own` and `peer` are the device
    /// keys that TLS proved.
    pub fn host(code: Code, own: DeviceId, peer: DeviceId, invitation: &[u8]) -> (Self, Vec<u8>) {
        let (spake, element) =
            Spake2::start_a(&Password::new(code.as_bytes()), &identity(HOST, own), &identity(GUEST, peer));
        let invitation = Zeroizing::new(invitation.to_vec());
        (Self { peer, state: State::Host { spake, invitation } }, message(HOST, &element))
    }

    /// The side that was told the code; it waits for the first message.
    pub fn guest(code: Code, own: DeviceId, peer: DeviceId) -> Self {
        let (spake, element) =
            Spake2::start_b(&Password::new(code.as_bytes()), &identity(HOST, peer), &identity(GUEST, own));
        Self { peer, state: State::Guest { spake, element } }
    }

    /// The other side.
    pub fn peer(&self) -> DeviceId {
        self.peer
    }

    /// Takes the other side's next message. After an error or the last step it takes none.
    ///
    /// # Errors
    /// Each ends the try, and uses up the code.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Step, PairingError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        let (&kind, body) = bytes.split_first().ok_or(PairingError::Unexpected)?;
        match (state, kind) {
            (State::Guest { spake, element }, HOST) => {
                let keys = Keys::agree(spake, body)?;
                self.state = State::Proven { seal: keys.seal };
                Ok(Step::Answer(message(GUEST, &[element.as_slice(), keys.proof.as_bytes()].concat())))
            }
            (State::Host { spake, invitation }, GUEST) => {
                let (element, proof) =
                    body.split_at_checked(ELEMENT_BYTES).ok_or(PairingError::Unexpected)?;
                let proof: [u8; PROOF_BYTES] = proof.try_into().map_err(|_| PairingError::Unexpected)?;
                let keys = Keys::agree(spake, element)?;
                // In constant time: see blake3::Hash.
                if keys.proof != blake3::Hash::from_bytes(proof) {
                    return Err(PairingError::Failed);
                }
                Ok(Step::Sent(message(SEALED, &seal(&keys.seal, &invitation))))
            }
            (State::Proven { seal }, SEALED) => Ok(Step::Received(open(&seal, body)?)),
            _ => Err(PairingError::Unexpected),
        }
    }
}

/// What both sides have of one code.
struct Keys {
    /// That the guest has it. It tells nothing to who has not.
    proof: blake3::Hash,
    seal: Zeroizing<[u8; 32]>,
}

impl Keys {
    fn agree(spake: Spake2<Ed25519Group>, element: &[u8]) -> Result<Self, PairingError> {
        let shared = Zeroizing::new(spake.finish(element).map_err(|_| PairingError::Unexpected)?);
        Ok(Self {
            proof: blake3::Hash::from_bytes(blake3::derive_key(PROOF_CONTEXT, &shared)),
            seal: Zeroizing::new(blake3::derive_key(SEAL_CONTEXT, &shared)),
        })
    }
}

fn identity(role: u8, device: DeviceId) -> Identity {
    let name: &[u8] =
        if role == HOST { b"audiocloud pairing host v1" } else { b"audiocloud pairing guest v1" };
    Identity::new(&[name, device.as_bytes()].concat())
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], body].concat()
}

/// The key seals one message in its life, so its nonce is 0.
fn cipher(key: &[u8; 32]) -> (LessSafeKey, Nonce) {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes are a key");
    (LessSafeKey::new(key), Nonce::assume_unique_for_key([0; 12]))
}

fn seal(key: &[u8; 32], invitation: &[u8]) -> Vec<u8> {
    let (cipher, nonce) = cipher(key);
    let mut sealed = Vec::with_capacity(invitation.len() + TAG_BYTES);
    sealed.extend_from_slice(invitation);
    cipher
        .seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
        .expect("an invitation is shorter than what the cipher takes");
    sealed
}

fn open(key: &[u8; 32], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, PairingError> {
    if sealed.len() >= PAIRING_BYTES_MAX {
        return Err(PairingError::Unexpected);
    }
    let (cipher, nonce) = cipher(key);
    let mut opened = Zeroizing::new(sealed.to_vec());
    let length =
        cipher.open_in_place(nonce, Aad::empty(), &mut opened).map_err(|_| PairingError::Failed)?.len();
    opened.truncate(length);
    Ok(opened)
}

impl fmt::Debug for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pairing").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer(_) => "Answer(…)",
            Self::Sent(_) => "Sent(…)",
            Self::Received(_) => "Received(…)",
        })
    }
}

#[cfg(test)]
mod tests;
