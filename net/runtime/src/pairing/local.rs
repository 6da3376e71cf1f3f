//! Host and guest on one network: an announcement by multicast DNS, and a connection.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use mdns_sd::{ServiceDaemon, ServiceEvent, ServiceInfo};
use quinn::Endpoint;

use super::Error;
use super::line::{Line, broken};
use crate::discovery::mdns;
use crate::identity::Identity;
use crate::{Config, Error as RuntimeError, tls, udp_port};

const SERVICE: &str = "_audiocloud-pair._udp.local.";
/// For each address of a host.
const DIAL: Duration = Duration::from_secs(2);
/// Hand-shakes that may wait; a guest is one.
const INCOMING_MAX: usize = 4;

/// An announced code's number, and a port where its guest is waited for.
pub(super) struct Host {
    endpoint: Endpoint,
    /// Held: it answers on the network.
    _announced: Announced,
}

/// A daemon that ends with this.
struct Announced(ServiceDaemon);

impl Drop for Announced {
    fn drop(&mut self) {
        // Its thread ends by itself; the process does soon, too.
        self.0.shutdown().ok();
    }
}

fn daemon(config: &Config) -> Result<Announced, Error> {
    let daemon = ServiceDaemon::new().map_err(unasked)?;
    let announced = Announced(daemon.clone());
    mdns::configure(&daemon, &config.interfaces).map_err(unasked)?;
    Ok(announced)
}

fn unasked(cause: impl ToString) -> Error {
    Error::Multicast(cause.to_string())
}

fn socket(config: &Config) -> Result<UdpSocket, Error> {
    // The runtime may have the configured port.
    let address = SocketAddr::new(config.bind.ip(), 0);
    udp_port::open(address).map_err(|source| RuntimeError::Bind { address, source }.into())
}

fn endpoint(socket: UdpSocket, server: Option<quinn::ServerConfig>) -> Result<Endpoint, Error> {
    let system = |source| Error::Runtime(RuntimeError::System { action: "use a UDP port", source });
    socket.set_nonblocking(true).map_err(system)?;
    Endpoint::new(quinn::EndpointConfig::default(), server, socket, Arc::new(quinn::TokioRuntime))
        .map_err(system)
}

impl Host {
    pub(super) fn open(config: &Config, identity: &Identity, slot: u16) -> Result<Self, Error> {
        let server = tls::pairing_server_config(identity, INCOMING_MAX)?;
        let endpoint = endpoint(socket(config)?, Some(server))?;
        let port = endpoint.local_addr().map_err(unasked)?.port();
        let announced = daemon(config)?;
        let (name, host) = (mdns::random_name().map_err(unasked)?, mdns::random_name().map_err(unasked)?);
        let slot = slot.to_string();
        let txt = [("v", "1"), ("slot", slot.as_str())];
        let mut info = ServiceInfo::new(SERVICE, &name, &format!("{host}.local."), "", port, &txt[..])
            .map_err(unasked)?;
        info = info.enable_addr_auto();
        info.set_requires_probe(false);
        announced.0.register(info).map_err(unasked)?;
        Ok(Self { endpoint, _announced: announced })
    }

    /// The first that comes.
    pub(super) async fn guest(self) -> Result<Line, Error> {
        loop {
            let incoming = self.endpoint.accept().await.ok_or(Error::NoGuest)?;
            // Who breaks the hand-shake off has not had a try yet.
            let Ok(connection) = incoming.await else { continue };
            let Some(peer) = tls::peer_device(&connection) else { continue };
            let stream = connection.open_bi().await.map_err(broken)?;
            return Ok(Line::direct(peer, stream, connection, self.endpoint.clone()));
        }
    }
}

/// The first that announces this number and lets itself be dialled.
pub(super) async fn host(config: &Config, identity: &Identity, slot: u16) -> Result<Line, Error> {
    let searching = daemon(config)?;
    let found = searching.0.browse(SERVICE).map_err(unasked)?;
    let endpoint = endpoint(socket(config)?, None)?;
    let wanted = slot.to_string();
    loop {
        let ServiceEvent::ServiceResolved(service) = found.recv_async().await.map_err(unasked)? else {
            continue;
        };
        let field = |name| service.get_property_val_str(name);
        if field("v") != Some("1") || field("slot") != Some(&wanted) {
            continue;
        }
        let is_ipv6 = endpoint.local_addr().is_ok_and(|address| address.is_ipv6());
        for address in mdns::socket_addresses(&service, is_ipv6) {
            let Ok(connecting) = endpoint.connect_with(
                tls::pairing_client_config(identity)?,
                for_family(address, is_ipv6),
                tls::SERVER_NAME,
            ) else {
                continue;
            };
            if let Ok(Ok(connection)) = tokio::time::timeout(DIAL, connecting).await
                && let Some(peer) = tls::peer_device(&connection)
            {
                let stream = connection.accept_bi().await.map_err(broken)?;
                return Ok(Line::direct(peer, stream, connection, endpoint));
            }
        }
    }
}

/// As a socket of both families wants it.
fn for_family(address: SocketAddr, is_ipv6: bool) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if is_ipv6 => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        other => other,
    }
}
