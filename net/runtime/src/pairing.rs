//! Two machines that were told the same spoken code find each other, and one gives the other an invitation.
//!
//! On the local network the host announces the code's number, which is no secret, by multicast DNS, and the guest dials
//! it; elsewhere both go to the number's room at a meeting point, which passes their messages on and can read nothing.
//! Either way TLS proves the device keys that the pairing is bound to, and a code serves for one try.

mod line;
mod local;
mod remote;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use audiocloud_membership::invitation::{Invitation, InvitationError};
use audiocloud_membership::key::NoRandomness;
use audiocloud_membership::pairing::{Code, Pairing, PairingError, SLOT_MAX, Step};
use audiocloud_wire::id::DeviceId;
use ring::rand::SecureRandom;
use tokio::sync::Notify;

use crate::config::MeetingPoint;
use crate::identity::{self, Identity};
use crate::{Config, Error as RuntimeError};
use line::Line;

/// How long a host waits for somebody to whom the code was said.
const HOST_PATIENCE: Duration = Duration::from_secs(600);
/// How long a guest looks for the host.
const GUEST_PATIENCE: Duration = Duration::from_secs(30);
/// How long the messages may take, once both are there.
const EXCHANGE: Duration = Duration::from_secs(10);

/// Why nothing was given or received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no identity.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// No port, no TLS.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// No code can be made.
    #[error(transparent)]
    Code(#[from] NoRandomness),
    /// The codes differ, or somebody came between.
    #[error(transparent)]
    Pairing(#[from] PairingError),
    /// What came is no invitation.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    /// The local network cannot be asked.
    #[error(
        "the local network cannot be searched: {0}; `audiocloud doctor multicast` says why, or pair through a meeting point (`audiocloud pair --meeting`)"
    )]
    Multicast(String),
    /// The meeting point is not reached, or refuses.
    #[error(
        "the meeting point {address} does not help: {cause}; see that `audiocloud node --rendezvous` runs there, and try again"
    )]
    Meeting { address: String, cause: String },
    /// Nobody came.
    #[error("nobody came with this code within ten minutes; make a new one when both are there")]
    NoGuest,
    /// Nobody is there.
    #[error(
        "nobody says this code on this network now; see that the number is right and that both are on one network, or pair through a meeting point (`audiocloud pair --meeting`)"
    )]
    NoHost,
    /// It broke off in between.
    #[error("the other machine went away while pairing ({0}); make a new code and try again")]
    BrokenOff(String),
    /// See [`Cancel`].
    #[error("the code was put away; make a new one to pair")]
    Cancelled,
}

/// Ends a pairing that waits, from any thread.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Notify>);

impl Cancel {
    /// Ends it, or the next one that has this, with [`Error::Cancelled`]. *Realtime-safe: no.*
    pub fn cancel(&self) {
        self.0.notify_one();
    }
}

/// Makes a code, has it told, waits for who was told it, and gives them the invitation. Returns the device that has it.
/// Blocks, up to ten minutes.
///
/// # Errors
/// See [`Error`]; the code is used up.
pub fn host(
    config: &Config,
    meeting: Option<&MeetingPoint>,
    invitation: &Invitation,
    cancel: &Cancel,
    tell: impl FnOnce(&Code),
) -> Result<DeviceId, Error> {
    let identity = Identity::load_or_create(&config.config_dir)?;
    let code = Code::generate(random_slot()?)?;
    let (slot, bytes) = (code.slot(), invitation.to_bytes());
    wait(cancel, async {
        match meeting {
            None => {
                let host = local::Host::open(config, &identity, slot)?;
                tell(&code);
                let mut line = within(HOST_PATIENCE, Error::NoGuest, host.guest()).await?;
                let given = give(&mut line, code, &identity, &bytes).await;
                line.end().await;
                given
            }
            Some(point) => {
                let room = remote::enter(&identity, point, slot).await?;
                tell(&code);
                let mut line = within(HOST_PATIENCE, Error::NoGuest, room.guest()).await?;
                let given = give(&mut line, code, &identity, &bytes).await;
                line.end().await;
                given
            }
        }
    })
}

/// Finds who says the code, and takes their invitation. Returns it with the device that gave it. Blocks, up to 40 s.
///
/// # Errors
/// See [`Error`].
pub fn guest(
    config: &Config,
    meeting: Option<&MeetingPoint>,
    code: Code,
    cancel: &Cancel,
) -> Result<(DeviceId, Invitation), Error> {
    let identity = Identity::load_or_create(&config.config_dir)?;
    let slot = code.slot();
    wait(cancel, async {
        let mut line = match meeting {
            None => within(GUEST_PATIENCE, Error::NoHost, local::host(config, &identity, slot)).await?,
            Some(point) => {
                let room = remote::enter(&identity, point, slot).await?;
                within(GUEST_PATIENCE, Error::NoHost, room.host()).await?
            }
        };
        let taken =
            within(EXCHANGE, Error::BrokenOff("it fell silent".to_owned()), take(&mut line, code, &identity))
                .await;
        line.end().await;
        taken
    })
}

async fn give(
    line: &mut Line,
    code: Code,
    identity: &Identity,
    invitation: &[u8],
) -> Result<DeviceId, Error> {
    let peer = line.peer();
    let (mut pairing, first) = Pairing::host(code, identity.device(), peer, invitation);
    let exchange = async {
        line.send(&first).await?;
        loop {
            match pairing.receive(&line.receive().await?)? {
                Step::Answer(answer) => line.send(&answer).await?,
                Step::Sent(last) => return line.send(&last).await.map(|()| peer),
                Step::Received(_) => return Err(PairingError::Unexpected.into()),
            }
        }
    };
    within(EXCHANGE, Error::BrokenOff("it fell silent".to_owned()), exchange).await
}

async fn take(line: &mut Line, code: Code, identity: &Identity) -> Result<(DeviceId, Invitation), Error> {
    let mut pairing = Pairing::guest(code, identity.device(), line.peer());
    loop {
        match pairing.receive(&line.receive().await?)? {
            Step::Answer(answer) => line.send(&answer).await?,
            Step::Received(bytes) => return Ok((line.peer(), Invitation::from_bytes(&bytes)?)),
            Step::Sent(_) => return Err(PairingError::Unexpected.into()),
        }
    }
}

async fn within<T>(
    patience: Duration,
    late: Error,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(patience, work).await.unwrap_or(Err(late))
}

fn wait<T>(cancel: &Cancel, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let system = |source| RuntimeError::System { action: "start an event loop", source };
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system)?;
    event_loop.block_on(async {
        tokio::select! {
            done = work => done,
            () = cancel.0.notified() => Err(Error::Cancelled),
        }
    })
}

fn random_slot() -> Result<u16, Error> {
    let mut bytes = [0; 4];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    let slots = u32::from(SLOT_MAX) + 1;
    Ok(u16::try_from(u32::from_be_bytes(bytes) % slots).unwrap_or(0))
}
