//! Who this installation is: the user's key, the device's key, and the certificate from one to the other.
//!
//! Both keys are Ed25519 (RFC 8032) in PKCS #8 PEM files (RFC 8410, RFC 7468) of the configuration folder,
//! made on first need. A second machine joins the same user by being given a copy of `user.key` before or
//! after its first start; `device.key` stays where it was made. The keys themselves never leave this module
//! but as a TLS key.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use audiocloud_membership::key::SigningKey;
use audiocloud_wire::id::{DeviceId, UserId};
use audiocloud_wire::message::certificate_message;
use ring::rand::SecureRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::{Zeroize, Zeroizing};

use crate::private_file;

const DISCOVERY_CONTEXT: &str = "audiocloud discovery secret v1";
/// `PrivateKeyInfo` of RFC 8410, clause 7, up to the 32 bytes of the Ed25519 seed.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// Why there is no identity. Nothing that is there is ever overwritten.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key file is there but is not an Ed25519 key.
    #[error(
        "the key file {} is damaged ({cause}); put a copy of it back, or move it away to get a new identity, \
         which your other devices and peers then have to be told of", file.display()
    )]
    Damaged { file: PathBuf, cause: &'static str },
    /// The folder could be written by somebody else, who could give this user a key of theirs.
    #[error("the configuration folder {} {exposure}; make it yours alone (chmod 700), or set AUDIOCLOUD_CONFIG_DIR to a folder that is", folder.display())]
    Exposed { folder: PathBuf, exposure: &'static str },
    /// The file system refused.
    #[error("cannot {act} {}: {cause}; make its folder writable, or set AUDIOCLOUD_CONFIG_DIR to a folder that is", path.display())]
    Io { act: &'static str, path: PathBuf, cause: io::Error },
    /// The system's source of randomness or the TLS library refused.
    #[error("cannot make a key: {0}; this system's random number source does not work")]
    Generate(&'static str),
}

/// A device certificate that is not worth trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the device's certificate is not signed by the user that it names")]
pub struct NotCertified;

/// The keys of this user and this device. Key bytes held here are wiped when it goes.
pub struct Identity {
    user: SigningKey,
    device: SigningKey,
    device_pkcs8: Zeroizing<Vec<u8>>,
    certificate: CertificateDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user", &self.user())
            .field("device", &self.device())
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the keys from `config_dir`, and makes those that are not there. Processes that do so at the same
    /// time all end with the same keys.
    ///
    /// # Errors
    /// A damaged file, a folder that is not this user's alone, or one that cannot be written; each names the
    /// remedy.
    pub fn load_or_create(config_dir: &Path) -> Result<Self, Error> {
        private_file::create_dir(config_dir)
            .map_err(|cause| io_error("make the folder", config_dir, cause))?;
        match private_file::dir_exposure(config_dir) {
            Ok(None) => {}
            Ok(Some(exposure)) => return Err(Error::Exposed { folder: config_dir.to_owned(), exposure }),
            Err(cause) => return Err(io_error("look at", config_dir, cause)),
        }
        let (user_path, device_path) = (config_dir.join("user.key"), config_dir.join("device.key"));
        // The usual case needs no lock, and so works in a folder that can only be read.
        if !(exists(&user_path)? && exists(&device_path)?) {
            let lock_path = config_dir.join("identity.lock");
            let lock =
                private_file::open_lock(&lock_path).map_err(|cause| io_error("open", &lock_path, cause))?;
            lock.lock().map_err(|cause| io_error("lock", &lock_path, cause))?;
            for path in [&user_path, &device_path] {
                if !exists(path)? {
                    create_key(path)?;
                }
            }
        }
        let (user, _) = load_key(&user_path)?;
        let (device, device_pkcs8) = load_key(&device_path)?;
        let certificate =
            self_signed(&device_pkcs8).map_err(|_| Error::Generate("the certificate was refused"))?;
        Ok(Self { user, device, device_pkcs8, certificate })
    }

    /// The device's public key.
    pub fn device(&self) -> DeviceId {
        DeviceId(self.device.public())
    }

    /// The user's public key.
    pub fn user(&self) -> UserId {
        UserId(self.user.public())
    }

    /// The user's word that this device is theirs: see [`verify_device`].
    pub fn certificate_by_user(&self) -> [u8; 64] {
        self.user.sign(&certificate_message(&self.device()))
    }

    /// A self-signed X.509 certificate of the device key, and that key, for TLS. Peers pin the key and ignore
    /// the rest.
    pub fn rustls_certificate(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        (self.certificate.clone(), PrivatePkcs8KeyDer::from(self.device_pkcs8.to_vec()).into())
    }

    /// The user's key, which signs what this user says in sessions.
    pub fn user_key(&self) -> SigningKey {
        self.user.clone()
    }

    /// The device's key.
    pub fn device_key(&self) -> SigningKey {
        self.device.clone()
    }

    /// A secret that all devices of this user have, and nobody else: by it they know each other's
    /// announcements.
    ///
    /// Derived from a signature and not from the key's bytes: Ed25519 signatures are deterministic (RFC 8032,
    /// 5.1.6), so it depends on the key alone, and no other use of the key signs this text.
    pub fn discovery_secret(&self) -> [u8; 32] {
        let mut signature = self.user.sign(DISCOVERY_CONTEXT.as_bytes());
        let secret = blake3::derive_key(DISCOVERY_CONTEXT, &signature);
        signature.zeroize();
        secret
    }
}

/// Checks that `certificate` is the user's signature for the device.
///
/// # Errors
/// [`NotCertified`] when it is not.
pub fn verify_device(user: &UserId, device: &DeviceId, certificate: &[u8; 64]) -> Result<(), NotCertified> {
    UnparsedPublicKey::new(&ED25519, &user.0)
        .verify(&certificate_message(device), certificate)
        .map_err(|_| NotCertified)
}

fn self_signed(device_pkcs8: &[u8]) -> Result<CertificateDer<'static>, rcgen::Error> {
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&device_pkcs8.into(), &rcgen::PKCS_ED25519)?;
    let parameters = rcgen::CertificateParams::new(vec!["audiocloud".to_owned()])?;
    Ok(parameters.self_signed(&key)?.der().clone())
}

fn io_error(act: &'static str, path: &Path, cause: io::Error) -> Error {
    Error::Io { act, path: path.to_owned(), cause }
}

fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(|cause| io_error("look for", path, cause))
}

fn create_key(path: &Path) -> Result<(), Error> {
    let mut pkcs8 = Zeroizing::new([0; 48]);
    pkcs8[..16].copy_from_slice(&PKCS8_PREFIX);
    let random = ring::rand::SystemRandom::new();
    random.fill(&mut pkcs8[16..]).map_err(|_| Error::Generate("no random numbers"))?;
    private_file::write(path, pem(&pkcs8).as_bytes(), true)
        .map_err(|cause| io_error("write the key file", path, cause))
}

/// RFC 7468. The 48 bytes are 64 base64 characters: one line, no padding.
fn pem(pkcs8: &[u8; 48]) -> Zeroizing<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // As long as it gets from the start, so that it is never moved and left behind.
    let mut text = Zeroizing::new(String::with_capacity(128));
    text.push_str("-----BEGIN PRIVATE KEY-----\n");
    for three in pkcs8.as_chunks::<3>().0 {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for shift in [18, 12, 6, 0] {
            let index = usize::try_from(bits >> shift & 63).expect("six bits fit");
            text.push(char::from(ALPHABET[index]));
        }
    }
    text.push_str("\n-----END PRIVATE KEY-----\n");
    text
}

fn load_key(path: &Path) -> Result<(SigningKey, Zeroizing<Vec<u8>>), Error> {
    let damaged = |cause| Error::Damaged { file: path.to_owned(), cause };
    let read = |cause| io_error("read the key file", path, cause);
    let file = std::fs::File::open(path).map_err(read)?;
    keep_private(&file, path);
    let mut text = Zeroizing::new(Vec::with_capacity(512));
    file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut text).map_err(read)?;
    let mut der =
        PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|_| damaged("no private key in PEM form in it"))?;
    let pkcs8 = Zeroizing::new(der.secret_pkcs8_der().to_vec());
    der.zeroize();
    let pair =
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).map_err(|_| damaged("not an Ed25519 key"))?;
    // With or without the public half behind it (RFC 5958), all before the seed is equally long.
    let seed = pkcs8.get(PKCS8_PREFIX.len()..).and_then(|rest| rest.first_chunk());
    let key = seed.map(SigningKey::from_seed).filter(|key| key.public() == pair.public_key().as_ref());
    Ok((key.ok_or_else(|| damaged("not an Ed25519 key in the short form of PKCS #8"))?, pkcs8))
}

/// A key that was copied by hand often comes with open rights: close them, and say so.
#[cfg(unix)]
fn keep_private(file: &std::fs::File, path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(found) = file.metadata() else { return };
    if found.permissions().mode() & 0o077 == 0 {
        return;
    }
    let closed = file.set_permissions(std::fs::Permissions::from_mode(0o600));
    tracing::warn!(
        target: "audiocloud::identity", file = %path.display(), closed = closed.is_ok(),
        "this key file could be read by other users of the machine; if any of them is not you, make a new identity"
    );
}

#[cfg(not(unix))]
fn keep_private(_file: &std::fs::File, _path: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn identity() -> (tempfile::TempDir, Identity) {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(folder.path()).unwrap();
        (folder, identity)
    }

    #[test]
    fn it_is_the_same_at_every_start() {
        let (folder, first) = identity();
        let again = Identity::load_or_create(folder.path()).unwrap();
        assert_eq!((first.user(), first.device()), (again.user(), again.device()));
        assert_eq!(first.discovery_secret(), again.discovery_secret());
        assert_ne!(first.user().0, first.device().0);
        assert!(!format!("{first:?}").to_lowercase().contains("pkcs8"));
    }

    #[test]
    fn a_second_machine_joins_by_the_user_key() {
        let (first_folder, first) = identity();
        let second_folder = tempfile::tempdir().unwrap();
        std::fs::copy(first_folder.path().join("user.key"), second_folder.path().join("user.key")).unwrap();
        let second = Identity::load_or_create(second_folder.path()).unwrap();
        assert_eq!(first.user(), second.user());
        assert_ne!(first.device(), second.device());
        assert_eq!(first.discovery_secret(), second.discovery_secret());
        assert_eq!(verify_device(&first.user(), &second.device(), &second.certificate_by_user()), Ok(()));
    }

    #[test]
    fn a_certificate_holds_for_one_user_and_one_device() {
        let (_a_folder, a) = identity();
        let (_b_folder, b) = identity();
        let certificate = a.certificate_by_user();
        let mut bent = certificate;
        bent[10] ^= 1;
        let check = |user: UserId, device: DeviceId, certificate: &[u8; 64], expected| {
            assert_eq!(verify_device(&user, &device, certificate), expected);
        };
        check(a.user(), a.device(), &certificate, Ok(()));
        check(a.user(), b.device(), &certificate, Err(NotCertified));
        check(b.user(), a.device(), &certificate, Err(NotCertified));
        check(a.user(), a.device(), &bent, Err(NotCertified));
        check(UserId([0; 32]), a.device(), &certificate, Err(NotCertified));
    }

    #[test]
    fn the_tls_certificate_carries_the_device_key() {
        let (_folder, identity) = identity();
        let (certificate, key) = identity.rustls_certificate();
        let carried = certificate.as_ref().windows(32).any(|bytes| bytes == identity.device().0);
        assert!(carried);
        let provider = rustls::crypto::ring::default_provider();
        let signing = provider.key_provider.load_private_key(key).unwrap();
        assert_eq!(signing.algorithm(), rustls::SignatureAlgorithm::ED25519);
    }

    #[test]
    fn a_damaged_key_is_named_and_left_alone() {
        // RFC 8410 has no key in this one: an X25519 key is not a signature key.
        let x25519 = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n";
        for (name, damage) in [("user.key", ""), ("user.key", "-----BEGIN"), ("device.key", x25519)] {
            let (folder, _) = identity();
            let path = folder.path().join(name);
            std::fs::write(&path, damage).unwrap();
            let error = Identity::load_or_create(folder.path()).unwrap_err().to_string();
            assert!(
                error.contains(path.to_str().unwrap()) && error.contains("put a copy of it back"),
                "{error}"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damage);
        }
    }

    #[cfg(unix)]
    #[test]
    fn keys_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let config_dir = folder.path().join("new");
        Identity::load_or_create(&config_dir).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&config_dir), 0o700);
        let user_key = config_dir.join("user.key");
        assert_eq!((mode(&user_key), mode(&config_dir.join("device.key"))), (0o600, 0o600));
        std::fs::set_permissions(&user_key, std::fs::Permissions::from_mode(0o644)).unwrap();
        Identity::load_or_create(&config_dir).unwrap();
        assert_eq!(mode(&user_key), 0o600);
        std::fs::set_permissions(&config_dir, std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = Identity::load_or_create(&config_dir).unwrap_err();
        assert!(matches!(error, Error::Exposed { .. }), "{error}");
    }

    const CHILD: &str = "AUDIOCLOUD_TEST_IDENTITY_CHILD";

    /// Not a test by itself: one of the processes of the next test.
    #[test]
    fn child_that_makes_an_identity() {
        let Some(folder) = std::env::var_os(CHILD) else { return };
        std::io::stdin().read_line(&mut String::new()).unwrap();
        let made: Vec<Identity> = std::thread::scope(|scope| {
            let makers =
                [(); 2].map(|()| scope.spawn(|| Identity::load_or_create(Path::new(&folder)).unwrap()));
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        for identity in made {
            println!("made {:?} {:?}", identity.user().0, identity.device().0);
        }
    }

    #[test]
    fn eight_processes_at_once_end_with_one_identity() {
        let folder = tempfile::tempdir().unwrap();
        let config_dir = folder.path().join("config");
        let mut children: Vec<_> = (0..8)
            .map(|_| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "identity::tests::child_that_makes_an_identity", "--nocapture"])
                    .env(CHILD, &config_dir)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        // They wait for their input to end, so they all start together.
        children.iter_mut().for_each(|child| drop(child.stdin.take()));
        let mut made = std::collections::BTreeSet::new();
        for child in children {
            let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
            let lines: Vec<&str> = output.lines().filter_map(|line| line.split("made ").nth(1)).collect();
            assert_eq!(lines.len(), 2, "{output}");
            made.extend(lines.into_iter().map(str::to_owned));
        }
        assert_eq!(made.len(), 1);
    }
}
