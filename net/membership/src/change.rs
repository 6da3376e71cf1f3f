//! One change of a session's shared state, as the member who made it signed it.
//!
//! On the wire and in the store: the author's user key (32 bytes), an Ed25519 signature (RFC 8032) over
//! [`CONTEXT`] and the body (64 bytes), and the body, one CBOR map of session, the changes that this one
//! follows, the time, and the edit. A change has the BLAKE3 hash of author and body for its name; by those names
//! changes form a graph without circles, and each vouches for all that it follows.
//!
//! An edit that this version does not know, or that is out of its bounds, is no reason to refuse the change: it is
//! kept, passed on and has no effect. So what is accepted does not depend on which version a member runs.

use std::fmt;

use audiocloud_wire::id::{ChangeHash, SessionId, UserId};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::key::{self, SigningKey};
use crate::shared::notes::Splice;
use crate::shared::{Edit, EditError};

/// The longest change, with author and signature.
pub const CHANGE_BYTES_MAX: usize = 48 * 1024;
/// How many changes one change can follow directly.
pub(crate) const AFTER_MAX: usize = 32;

const CONTEXT: &[u8] = b"audiocloud session change v1";
const AUTHOR_BYTES: usize = UserId::BYTES;
const HEADER_BYTES: usize = AUTHOR_BYTES + 64;

/// A change with its proof of who made it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedChange {
    /// The member who made it.
    pub author: UserId,
    /// Theirs, over the body.
    pub signature: [u8; 64],
    /// The body.
    pub bytes: Vec<u8>,
}

/// Why bytes are no change of this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChange {
    /// Shorter than author and signature, or longer than [`CHANGE_BYTES_MAX`].
    #[error("a change of {0} bytes; it must have more than {HEADER_BYTES} and at most {CHANGE_BYTES_MAX}")]
    Length(usize),
    /// The body is not the CBOR map that it must be.
    #[error("the change's body cannot be read")]
    Malformed,
    /// Follows more than [`AFTER_MAX`] others.
    #[error("the change follows {0} others directly; {AFTER_MAX} are allowed")]
    Follows(usize),
    /// Of another session.
    #[error("the change belongs to another session")]
    Session,
    /// Not signed by its author.
    #[error("the change is not signed by the member whom it names")]
    Forged,
}

/// What the author signed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Body<O = Operation> {
    session: SessionId,
    /// The changes that this one follows: its author had seen these, and all that they follow.
    pub(crate) after: Vec<ChangeHash>,
    /// When it was made by its author's clock: milliseconds since 1970.
    pub(crate) at_ms: u64,
    pub(crate) operation: O,
}

/// What a change does.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    /// Anything but the notes: the edit itself.
    Edit(Edit),
    /// The notes: what to take out of the text and what to put in.
    Notes(Splice),
}

impl SignedChange {
    /// Signs a change of the session that follows `after`.
    pub(crate) fn sign<O: Serialize>(
        author: &SigningKey,
        session: SessionId,
        after: Vec<ChangeHash>,
        at_ms: u64,
        operation: O,
    ) -> Result<Self, EditError> {
        let mut bytes = Vec::new();
        ciborium::into_writer(&Body { session, after, at_ms, operation }, &mut bytes)
            .expect("writing to memory cannot fail");
        if HEADER_BYTES + bytes.len() > CHANGE_BYTES_MAX {
            return Err(EditError::TooLarge { bytes: bytes.len() });
        }
        let signature = author.sign(&[CONTEXT, &bytes].concat());
        Ok(Self { author: UserId(author.public()), signature, bytes })
    }

    /// Author, signature, body: as it is sent and kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.author.0[..], &self.signature, &self.bytes].concat()
    }

    /// Reads what [`Self::to_bytes`] wrote. Nothing is checked but the length; merging checks the rest.
    ///
    /// # Errors
    /// [`BadChange::Length`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadChange> {
        let length = BadChange::Length(bytes.len());
        if bytes.len() > CHANGE_BYTES_MAX {
            return Err(length);
        }
        let (author, rest) = bytes.split_first_chunk::<AUTHOR_BYTES>().ok_or(length)?;
        let (signature, body) = rest.split_first_chunk::<64>().ok_or(length)?;
        if body.is_empty() {
            return Err(length);
        }
        Ok(Self { author: UserId(*author), signature: *signature, bytes: body.to_vec() })
    }

    /// How many bytes [`Self::to_bytes`] gives.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.bytes.len()
    }

    /// The change's name. The signature is no part of it: one who signs the same twice has made one change.
    pub fn hash(&self) -> ChangeHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.author.0);
        hasher.update(&self.bytes);
        ChangeHash(*hasher.finalize().as_bytes())
    }

    /// Checks that its author signed it.
    pub(crate) fn verify(&self) -> Result<(), BadChange> {
        let message = [CONTEXT, &self.bytes].concat();
        key::verify(&self.author.0, &message, &self.signature).map_err(|_| BadChange::Forged)
    }

    /// What it follows and when it was made, whatever it does.
    pub(crate) fn read(&self, session: &SessionId) -> Result<Body<IgnoredAny>, BadChange> {
        if self.size_bytes() > CHANGE_BYTES_MAX {
            return Err(BadChange::Length(self.size_bytes()));
        }
        let body: Body<IgnoredAny> =
            ciborium::from_reader(&self.bytes[..]).map_err(|_| BadChange::Malformed)?;
        match body.after.len() {
            _ if body.session != *session => Err(BadChange::Session),
            many if many > AFTER_MAX => Err(BadChange::Follows(many)),
            _ => Ok(body),
        }
    }

    /// What it does, and when it was made; `None` for what this version does not know or does not allow.
    pub(crate) fn operation(&self) -> Option<(Operation, u64)> {
        let body: Body = ciborium::from_reader(&self.bytes[..]).ok()?;
        match &body.operation {
            Operation::Edit(Edit::Notes(_)) => None,
            Operation::Edit(edit) => edit.check().is_ok().then_some((body.operation, body.at_ms)),
            Operation::Notes(_) => Some((body.operation, body.at_ms)),
        }
    }
}

impl fmt::Debug for SignedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedChange")
            .field("hash", &self.hash().short())
            .field("author", &self.author.short())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
