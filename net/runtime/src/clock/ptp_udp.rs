//! The precision time protocol on a network interface: PTPv2 over UDP, IPv4, ports 319 and 320 (IEEE 1588-2019, annex C).
//!
//! A node that has rights to those ports takes the network's time from a grandmaster there and [offers](super::Clock::offer)
//! it to its sessions, or gives a session's time to what else on the network speaks PTP: converters, consoles, `ptp4l`. The
//! instants at which messages come and go are the kernel's, taken in the interface's driver or by the interface itself;
//! so it runs in a thread of its own without any priority.
//!
//! Nothing here steers a clock of this machine.

#[cfg(target_os = "linux")]
mod port;
#[cfg(not(target_os = "linux"))]
#[path = "ptp_udp/elsewhere.rs"]
mod port;
#[cfg(target_os = "linux")]
mod stamps;

use std::sync::Arc;
use std::thread::JoinHandle;

use audiocloud_clock::estimate::ClockEstimate;
use audiocloud_clock::ptp;
use audiocloud_units::Nanos;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Clock;
use crate::Handle;
use crate::status::{Shared, lock};

/// The first bytes of our clock identities, an EUI-64 that nobody else was given (its second bit says so): whoever follows
/// such a grandmaster follows another one of us, and has its session's time in a better way.
const OURS: [u8; 3] = [0xa2, 0xac, 0x1d];

/// Where, and which end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PtpConfig {
    /// The network interface, `eth0`.
    pub interface: String,
    /// The PTP domain: 0 is everybody's first choice, also AES67's.
    pub domain: u8,
    /// Whether it takes the time, gives it, or whichever the best master clock algorithm says.
    pub role: ptp::Role,
}

/// Why there is no PTP on an interface: cause and remedy.
#[derive(Debug, thiserror::Error)]
pub enum PtpError {
    /// The ports below 1024 are the system's to give.
    #[error(
        "PTP on {interface} needs the right to open UDP ports 319 and 320: run `sudo setcap cap_net_bind_service=+ep \
         $(readlink -f $(command -v audiocloud))`, or give the service AmbientCapabilities=CAP_NET_BIND_SERVICE"
    )]
    NotPermitted { interface: String },
    /// There is none of that name.
    #[error("there is no network interface {interface:?} for PTP; there are {there}")]
    NoInterface { interface: String, there: String },
    /// The network does not let us.
    #[error("PTP on {interface}: {cause}; an interface with an IPv4 address that is up is needed")]
    Socket { interface: String, cause: std::io::Error },
    /// One is enough.
    #[error("PTP runs already on {interface}; a node speaks it on one interface")]
    Running { interface: String },
    /// Time stamps of the kernel are Linux's.
    #[error("PTP on a network interface needs Linux; on this system the time comes from peers")]
    NotLinux,
}

/// How it stands, for people and programs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PtpStatus {
    /// The network interface.
    pub interface: String,
    /// The PTP domain.
    pub domain: u8,
    /// Our clock identity.
    pub identity: [u8; 8],
    /// What it is doing.
    pub state: ptp::State,
    /// Time stamps are the interface's own, not the kernel's.
    pub is_hardware: bool,
    /// The grandmaster's time over the clock that shared time is laid over, while one is followed.
    pub estimate: Option<ClockEstimate>,
    /// There and back, while one is followed.
    pub round_trip: Option<Nanos>,
    /// What was seen.
    pub counters: ptp::Counters,
    /// Messages without a time stamp, or with one that cannot be.
    pub unstamped: u64,
    /// What is in the way, cause and remedy.
    pub trouble: Option<String>,
}

impl PtpStatus {
    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        match self.state {
            ptp::State::Listening => "no master is heard".to_owned(),
            ptp::State::Leading => "gives its time to the network".to_owned(),
            ptp::State::Passive => "another master leads".to_owned(),
            ptp::State::Following(grandmaster) if is_ours(grandmaster.identity) => {
                "hears another audiocloud node, and has its time from the session".to_owned()
            }
            ptp::State::Following(grandmaster) => {
                format!("follows {}", identity_text(grandmaster.identity))
            }
        }
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let state = match self.state {
            ptp::State::Listening => "listening",
            ptp::State::Leading => "master",
            ptp::State::Passive => "passive",
            ptp::State::Following(_) => "slave",
        };
        let grandmaster = match self.state {
            ptp::State::Following(grandmaster) => json!({
                "identity": identity_text(grandmaster.identity),
                "source": identity_text(grandmaster.source),
                "class": grandmaster.class,
                "priority": grandmaster.priority,
                "ahead_of_utc_ns": grandmaster.ahead_of_utc.get(),
            }),
            _ => Value::Null,
        };
        json!({
            "interface": self.interface,
            "domain": self.domain,
            "identity": identity_text(self.identity),
            "state": state,
            "words": self.words(),
            "stamps": if self.is_hardware { "hardware" } else { "kernel" },
            "grandmaster": grandmaster,
            "bound_ns": self.estimate.map(|estimate| estimate.bound.get()),
            "rate_ppm": self.estimate.map(|estimate| estimate.rate.get()),
            "round_trip_ns": self.round_trip.map(Nanos::get),
            "received": self.counters.received,
            "foreign": self.counters.foreign,
            "malformed": self.counters.malformed,
            "unanswered": self.counters.unanswered,
            "unstamped": self.unstamped,
            "trouble": self.trouble,
        })
    }
}

fn identity_text(identity: [u8; 8]) -> String {
    identity.map(|byte| format!("{byte:02x}")).join(":")
}

/// Whether a clock identity is that of an audiocloud node.
fn is_ours(identity: [u8; 8]) -> bool {
    identity.starts_with(&OURS)
}

/// PTP on one interface; it ends when this is dropped.
pub struct PtpPort {
    shared: Arc<Shared>,
    /// What it takes the time for, or gives it from, is there as long as it is.
    _clock: Clock,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for PtpPort {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PtpPort").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl PtpPort {
    /// Begins. What it finds out is in [`PtpPort::status`] and in the status of the process.
    ///
    /// # Errors
    /// No such interface, no right to the ports, no network, in words.
    pub fn start(handle: &Handle, config: PtpConfig) -> Result<Self, PtpError> {
        let shared = Arc::clone(handle.shared());
        let mut status = lock(&shared.ptp);
        if let Some(running) = &*status {
            return Err(PtpError::Running { interface: running.interface.clone() });
        }
        let identity = identity(&shared);
        let beginning = PtpStatus {
            interface: config.interface.clone(),
            domain: config.domain,
            identity,
            ..PtpStatus::default()
        };
        *status = Some(beginning);
        drop(status);
        let clock = handle.clock(None);
        let started = port::start(Arc::clone(&shared), config, identity);
        match started {
            Ok((stop, thread)) => Ok(Self { shared, _clock: clock, stop: Some(stop), thread: Some(thread) }),
            Err(error) => {
                *lock(&shared.ptp) = None;
                Err(error)
            }
        }
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> PtpStatus {
        lock(&self.shared.ptp).clone().unwrap_or_default()
    }
}

impl Drop for PtpPort {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.shared.journal.note("PTP ended in a panic");
        }
        *lock(&self.shared.ptp) = None;
    }
}

/// One of ours, the same for each process as long as it runs.
fn identity(shared: &Shared) -> [u8; 8] {
    let mut hash = blake3::Hasher::new_derive_key("audiocloud 2026 PTP clock identity");
    hash.update(&shared.device.0).update(&shared.instance.0);
    let digest = hash.finalize();
    let mut identity = [0; 8];
    identity[..3].copy_from_slice(&OURS);
    identity[3..].copy_from_slice(&digest.as_bytes()[..5]);
    identity
}
