//! What a project keeps.

/// A stream by its publisher's device and its own id, as a project stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamRef {
    /// Ed25519 public key of the publishing device.
    pub publisher: [u8; 32],
    pub stream: u64,
}
