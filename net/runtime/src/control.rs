//! The control socket of a runtime: how processes of one user on one machine meet, and how `audiocloud
//! status` asks.
//!
//! Each runtime answers on `<instance>.sock` in the runtime folder, which only its owner can enter. A client
//! writes a line of JSON and reads a line of JSON:
//!
//! - `{"cmd":"status"}`: the runtime's status.
//! - `{"cmd":"announce","instance":…,"device":…,"ip":…,"port":…}`: a newcomer says where it is, and is told the same.
//! - `{"cmd":"patch","device":…,"input":…,"stream":{"publisher":…,"stream":…},"on":…}`: an input shall play a stream, or
//!   no longer; what comes of it, the status tells.
//! - `{"cmd":"time","session":…,"choose":{"master":…}}` or `{…,"asymmetry_ns":…}`: whose clock a session's time shall be, or
//!   what is known of its ways; why that is not taken, the answer tells.
//! - `{"cmd":"propose","chain":…,"edit":{…}}`: the owner of a chain of effects is proposed an edit of it.
//!
//! Lines, clients, requests and time are bounded, and whatever a client sends is answered or dropped, never
//! trusted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use audiocloud_wire::id::{DeviceId, InputId, InstanceId, SessionId, StreamKey};
use serde::{Deserialize, Serialize};

use crate::discovery::{Discovered, Source};
use crate::remote::ChainKey;

#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use elsewhere as system;
#[cfg(unix)]
use unix as system;

pub use system::{Control, patch, propose, query_all, serve, time};
pub(crate) use system::{announce, sockets};

/// Makes the answer to `{"cmd":"status"}`. Called on the runtime's thread, so it must not wait.
pub type Status = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// Takes what was asked for by `patch`, `time` or `propose`, or says why not. Called on the runtime's thread, so it
/// must not wait.
pub type Orders = Arc<dyn Fn(Order) -> Result<(), String> + Send + Sync>;

/// What a runtime may be asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    Patch(Patch),
    Time(TimeOrder),
    Propose(Proposal),
}

/// That a chain of effects is edited, if its owner agrees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Its id as text: see [`ChainKey`].
    #[serde(with = "as_text")]
    pub chain: ChainKey,
    /// In the form of the chain's edits.
    pub edit: serde_json::Value,
}

/// A value by its text.
mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// That a session's time, or that of this user's own machines, is another's, or comes by unequal ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOrder {
    pub session: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choose: Option<Choice>,
    /// The way from the master takes so much longer than the way to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asymmetry_ns: Option<i64>,
}

/// Whose clock it shall be; none: whose is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub master: Option<DeviceId>,
}

/// That an input of a device, this one too, plays a stream or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    pub device: DeviceId,
    pub input: InputId,
    pub stream: StreamKey,
    pub on: bool,
}

/// Why there is no control socket. The runtime works without; others on this machine just do not find it this
/// way.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime folder could not be made or entered, or its socket not opened.
    #[error("cannot open the control socket {}: {cause}; set AUDIOCLOUD_RUNTIME_DIR to a short path of a folder that is yours", path.display())]
    Io { path: PathBuf, cause: io::Error },
    /// Others could put sockets there.
    #[error("the runtime folder {} {exposure}; make it yours alone (chmod 700), or set AUDIOCLOUD_RUNTIME_DIR to a folder that is", folder.display())]
    Exposed { folder: PathBuf, exposure: &'static str },
    /// Not written for this system yet.
    #[error(
        "control sockets are not supported on this system yet; name the other processes as peers in config.toml"
    )]
    Unsupported,
    /// The runtime that was asked did not answer as it should.
    #[error(
        "the audiocloud process that was asked did not answer: {0}; it may have ended: look at `audiocloud status`"
    )]
    NoAnswer(io::Error),
    /// The runtime that was asked will not, and says why.
    #[error("{0}")]
    Refused(String),
}

/// Where a runtime can be reached from the same machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    pub instance: InstanceId,
    pub device: DeviceId,
    #[serde(default = "loopback")]
    pub ip: IpAddr,
    pub port: u16,
}

fn loopback() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

impl Announcement {
    /// For a runtime whose endpoint is bound to `bound`: an endpoint on all addresses is reached by loopback.
    pub fn new(instance: InstanceId, device: DeviceId, bound: SocketAddr) -> Self {
        let ip = if bound.ip().is_unspecified() { loopback() } else { bound.ip() };
        Self { instance, device, ip, port: bound.port() }
    }

    pub(crate) fn discovered(&self) -> Discovered {
        Discovered {
            device: Some(self.device),
            instance: Some(self.instance),
            address: SocketAddr::new(self.ip, self.port),
            source: Source::Local,
            session: None,
        }
    }
}

/// A line from a client.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case")]
enum Request {
    Status,
    Announce(Announcement),
    Patch(Patch),
    Time(TimeOrder),
    Propose(Proposal),
}
