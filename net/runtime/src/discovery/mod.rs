//! Where peers may be: on this machine, on the local network, and where they were last.
//!
//! What is found here is a hint to dial, never a proof: who answers is decided by the TLS handshake alone.

mod last_seen;
mod local;
pub(crate) mod mdns;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;

use audiocloud_wire::id::{DeviceId, InstanceId, SessionId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::control::Announcement;

/// Where a hint came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Another process of this user on this machine, by its control socket.
    Local,
    /// A device of this user on the local network.
    Mdns,
    /// Where a good connection once was.
    LastSeen,
    /// Named by the user in `config.toml`.
    Explicit,
    /// Said by a member of a session, or by the link that led into it.
    Member,
    /// Somebody on the local network who is not of this user: to be shown, and let in when accepted.
    Stranger,
    /// Introduced by a rendezvous node, with a way to it open.
    Introduced,
}

/// An address where a peer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Discovered {
    /// Who is expected there, where that is known.
    pub device: Option<DeviceId>,
    /// Which of its processes, where that is known.
    pub instance: Option<InstanceId>,
    /// Where to dial.
    pub address: SocketAddr,
    /// How it was found.
    pub source: Source,
    /// The session that it is a member of, where it was found as one.
    pub session: Option<SessionId>,
}

/// What discovery needs to know of its runtime.
#[derive(Clone, Debug)]
pub struct DiscoveryConfig {
    pub instance: InstanceId,
    pub device: DeviceId,
    /// The address that the endpoint is bound to; unspecified means all of the machine's.
    pub ip: IpAddr,
    /// The port that the endpoint is bound to.
    pub port: u16,
    /// [`crate::identity::Identity::discovery_secret`].
    pub secret: [u8; 32],
    /// `false` opens no multicast socket.
    pub mdns: bool,
    /// Names of the interfaces for mDNS; empty means all but loopback.
    pub interfaces: Vec<String>,
    pub runtime_dir: PathBuf,
    pub config_dir: PathBuf,
}

/// Discovery at work. End it by [`Discovery::shutdown`]; a mere drop leaves the mDNS thread to end by itself.
#[derive(Debug)]
pub struct Discovery {
    tasks: Vec<JoinHandle<()>>,
    mdns: Option<mdns::Mdns>,
    last_seen: last_seen::Writer,
    proven: mdns::Proven,
    problems: Vec<String>,
}

/// Starts looking; what is found goes to `found`. Call it within the runtime's tokio context, after
/// [`crate::control::serve`], so that of two processes that start at once at least one finds the other.
pub fn start(config: DiscoveryConfig, found: mpsc::Sender<Discovered>) -> Discovery {
    let mut problems = Vec::new();
    let me = Announcement::new(config.instance, config.device, SocketAddr::new(config.ip, config.port));
    let mut tasks = vec![tokio::spawn(local::run(config.runtime_dir.clone(), me, found.clone()))];
    let (last_seen, writing) = last_seen::start(&config.config_dir, found.clone());
    tasks.push(writing);
    let (mut mdns, proven) = (None, mdns::Proven::default());
    if config.mdns {
        match mdns::start(&config, proven.clone(), found) {
            Ok((started, task)) => {
                mdns = Some(started);
                tasks.push(task);
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    Discovery { tasks, mdns, last_seen, proven, problems }
}

impl Discovery {
    /// Remembers an address that led to an authenticated peer, for the next start. Cheap; written later,
    /// elsewhere.
    pub fn proven(&self, device: DeviceId, address: SocketAddr) {
        self.proven.insert(address);
        self.last_seen.proven(device, address);
    }

    /// What could not be started and why, for the status.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Ends discovery and waits until the mDNS thread is gone, for the host may unload the library
    /// afterwards. Blocks, usually for a few milliseconds, at most until `deadline`. Returns whether
    /// everything is gone.
    pub fn shutdown(self, deadline: Instant) -> bool {
        // First the one that takes time: it says goodbye on the network while the rest is put away.
        let leaving = self.mdns.map(mdns::Mdns::leave);
        for task in &self.tasks {
            task.abort();
        }
        self.last_seen.finish();
        leaving.is_none_or(|leaving| leaving.wait(deadline))
    }
}
