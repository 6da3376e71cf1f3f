//! What can go wrong in the environment, with a remedy in each sentence.

use std::io;
use std::net::SocketAddr;

use crate::{config, identity};

/// Why the runtime could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// There is no identity.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The UDP port could not be opened.
    #[error(
        "cannot open UDP port {address}: {source}; choose another `bind` in config.toml, or port 0 for any"
    )]
    Bind { address: SocketAddr, source: io::Error },
    /// The TCP port could not be opened.
    #[error(
        "cannot open TCP port {address}: {source}; choose another address for the relay, or, for ports below 1024, give the \
         program the right to them (setcap cap_net_bind_service=+ep)"
    )]
    BindTcp { address: SocketAddr, source: io::Error },
    /// TLS refuses our own certificate or settings.
    #[error(
        "TLS does not take this device's certificate: {0}; this is a mistake in audiocloud, please report it"
    )]
    Tls(String),
    /// A thread, an event loop or an event descriptor could not be had from the system.
    #[error("cannot {action}: {source}; the process may have run out of threads or file descriptors")]
    System { action: &'static str, source: io::Error },
}
