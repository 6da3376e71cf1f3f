//! A short spoken code that lets one machine give another an invitation, with nobody between them.

use std::fmt;
use std::str::FromStr;

use audiocloud_wire::id::DeviceId;
use zeroize::Zeroizing;

use crate::key::NoRandomness;

/// A code such as `42-guitar-ocean-lamp`: the number names where they meet, the words are the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// Where they meet: 0 to 999, known to all.
    pub slot: u16,
    text: Zeroizing<String>,
}

/// Text that is no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseCodeError(pub(crate) String);

impl Code {
    /// A new code for that slot.
    ///
    /// # Errors
    /// [`NoRandomness`] where the system gives none.
    pub fn generate(_slot: u16) -> Result<Self, NoRandomness> {
        Err(NoRandomness)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}-…)", self.slot)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Code {
    type Err = ParseCodeError;

    fn from_str(text: &str) -> Result<Self, ParseCodeError> {
        Err(ParseCodeError(text.to_owned()))
    }
}

/// One try of two machines to find out that they were given the same code, and then to pass an invitation.
pub struct Pairing {
    peer: DeviceId,
}

/// What came of a message.
#[derive(Debug)]
pub enum Step {
    /// Send this, and wait for the next message.
    Answer(Vec<u8>),
    /// Host: the guest has the code, and the sealed invitation is on its way in these bytes, the last ones.
    Sent(Vec<u8>),
    /// Guest: the invitation's bytes.
    Received(Zeroizing<Vec<u8>>),
}

/// Why there is no pairing. The code is of no more use.
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
    /// The side that made the code and gives the invitation. `own` and `peer` are the device keys that TLS proved.
    pub fn host(_code: &Code, _own: DeviceId, peer: DeviceId, _invitation: &[u8]) -> (Self, Vec<u8>) {
        (Self { peer }, Vec::new())
    }

    /// The side that was told the code.
    pub fn guest(_code: &Code, _own: DeviceId, peer: DeviceId) -> (Self, Vec<u8>) {
        (Self { peer }, Vec::new())
    }

    /// The other side.
    pub fn peer(&self) -> DeviceId {
        self.peer
    }

    /// Takes the other side's next message. After an error or the last step it takes none.
    ///
    /// # Errors
    /// Each ends the try, and uses up the code.
    pub fn receive(&mut self, _message: &[u8]) -> Result<Step, PairingError> {
        Err(PairingError::Unexpected)
    }
}

impl fmt::Debug for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pairing").field("peer", &self.peer).finish_non_exhaustive()
    }
}
