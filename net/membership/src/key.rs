//! Ed25519 keys (RFC 8032) that sign what members say: of a session, a user, a device, or a link.

use std::fmt;

use biscuit_auth::{Algorithm, KeyPair, PrivateKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, UnparsedPublicKey};
use zeroize::Zeroizing;

/// The system's source of random numbers gave none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot make a key: this system's random number source does not work; restart the machine, or look at its log"
)]
pub struct NoRandomness;

/// A signature that the key did not make for these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not by the key that it names")]
pub struct BadSignature;

/// The secret half of an Ed25519 key: its 32-byte seed, wiped when it goes, and never shown.
#[derive(Clone)]
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`NoRandomness`] where the system gives none.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(seed.as_mut_slice()).map_err(|_| NoRandomness)?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of this seed; each 32 bytes are one.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut public = [0; 32];
        public.copy_from_slice(&pair(seed).public().to_bytes());
        Self { seed: Zeroizing::new(*seed), public }
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Signs `message`: always the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        let signed = self.pair().sign(message).expect("Ed25519 signs anything");
        signature.copy_from_slice(signed.to_bytes());
        signature
    }

    /// The key as biscuits want it.
    pub(crate) fn pair(&self) -> KeyPair {
        pair(&self.seed)
    }

    /// The seed, for who keeps it.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        self.seed.clone()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(")?;
        self.public.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

/// Made anew for each use: it wipes itself when it goes, as the seed does.
fn pair(seed: &[u8; 32]) -> KeyPair {
    KeyPair::from(&PrivateKey::from_bytes(seed, Algorithm::Ed25519).expect("32 bytes are a seed"))
}

/// Checks that `signature` is that of `public` for `message`.
///
/// # Errors
/// [`BadSignature`] when it is not.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).map_err(|_| BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
    }

    #[test]
    fn it_signs_as_rfc_8032_does() {
        // RFC 8032, 7.1, test 2.
        let key =
            SigningKey::from_seed(&unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
        let public = unhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = unhex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        assert_eq!((key.public(), key.sign(&[0x72])), (public, signature));
        assert_eq!(verify(&public, &[0x72], &signature), Ok(()));
        assert_eq!(verify(&public, &[0x73], &signature), Err(BadSignature));
        assert_eq!(verify(&[0; 32], &[0x72], &signature), Err(BadSignature));
    }

    #[test]
    fn its_secret_is_not_shown() {
        let key = SigningKey::generate().unwrap();
        assert_ne!(key.public(), SigningKey::generate().unwrap().public());
        assert_eq!(SigningKey::from_seed(&key.seed()).public(), key.public());
        let seed: String = key.seed().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        assert!(!format!("{key:?}").contains(&seed));
    }
}
