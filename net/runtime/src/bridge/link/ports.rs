//! An interface's three sockets: what is said to all, our own, and the one that measures.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use audiocloud_link::node::Gateway;
use audiocloud_link::wire::{DATAGRAM_BYTES_MAX, GROUP};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::doctor::interfaces::{Interface, mask_v4};

/// A datagram that has come.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) gateway: Gateway,
    pub(super) from: SocketAddrV4,
    pub(super) is_measuring: bool,
    pub(super) bytes: Vec<u8>,
}

/// Dropping it closes them.
pub(super) struct Ports {
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    /// Where pings are answered.
    pub(super) endpoint: SocketAddrV4,
    own: Arc<UdpSocket>,
    measuring: Arc<UdpSocket>,
    _listeners: JoinSet<()>,
}

impl Ports {
    pub(super) fn open(
        gateway: Gateway,
        interface: &Interface,
        address: Ipv4Addr,
        received: &mpsc::Sender<Received>,
    ) -> io::Result<Self> {
        let group = socket(Ipv4Addr::UNSPECIFIED, GROUP.port())?;
        // Else it would hear what comes by other interfaces too.
        #[cfg(target_os = "linux")]
        group.set_multicast_all_v4(false)?;
        group.join_multicast_v4(GROUP.ip(), &address)?;
        let own = socket(address, 0)?;
        own.set_multicast_if_v4(&address)?;
        // Peers on this machine hear each other by its loopback interface, and would do so twice.
        own.set_multicast_loop_v4(interface.is_loopback)?;
        let [group, own, measuring] = [group, own, socket(address, 0)?].map(asynchronous);
        let (group, own, measuring) = (group?, own?, measuring?);
        let SocketAddr::V4(endpoint) = measuring.local_addr()? else {
            unreachable!("it was bound to one of IPv4")
        };
        let neighbours = Neighbours { address, mask: mask_v4(address).unwrap_or(Ipv4Addr::BROADCAST) };
        let mut listeners = JoinSet::new();
        for (socket, is_measuring) in [(&group, false), (&own, false), (&measuring, true)] {
            listeners.spawn(listen(Arc::clone(socket), neighbours, gateway, is_measuring, received.clone()));
        }
        Ok(Self { name: interface.name.clone(), address, endpoint, own, measuring, _listeners: listeners })
    }

    /// To all.
    pub(super) fn announce(&self, bytes: &[u8]) -> io::Result<()> {
        sent(self.own.try_send_to(bytes, GROUP.into()))
    }

    /// To one, from where it is said to all.
    pub(super) fn respond(&self, to: SocketAddrV4, bytes: &[u8]) -> io::Result<()> {
        sent(self.own.try_send_to(bytes, to.into()))
    }

    /// To one, from where pings are answered.
    pub(super) fn measure(&self, to: SocketAddrV4, bytes: &[u8]) -> io::Result<()> {
        sent(self.measuring.try_send_to(bytes, to.into()))
    }
}

fn socket(address: Ipv4Addr, port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // All programs of a machine share Link's port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddrV4::new(address, port).into())?;
    Ok(socket)
}

fn asynchronous(socket: Socket) -> io::Result<Arc<UdpSocket>> {
    UdpSocket::from_std(socket.into()).map(Arc::new)
}

/// What is not sent at once is lost, as it may be on the network; what follows says the same.
fn sent(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        // Somebody went without a goodbye, and their machine says so.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Who is on an interface's own network: whoever is further away has no business with Link, and could forge where from.
#[derive(Clone, Copy, Debug)]
struct Neighbours {
    address: Ipv4Addr,
    mask: Ipv4Addr,
}

impl Neighbours {
    fn has(&self, other: Ipv4Addr) -> bool {
        other & self.mask == self.address & self.mask
    }
}

async fn listen(
    socket: Arc<UdpSocket>,
    neighbours: Neighbours,
    gateway: Gateway,
    is_measuring: bool,
    received: mpsc::Sender<Received>,
) {
    // One byte more shows that it was longer.
    let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, SocketAddr::V4(from))) if neighbours.has(*from.ip()) => {
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                if received.send(Received { gateway, from, is_measuring, bytes }).await.is_err() {
                    return;
                }
            }
            // An error of a datagram that we had sent, most likely. One that stays must not spin.
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_those_of_the_interface_s_network() {
        let check = |address: &str, mask: &str, other: &str, expected: bool| {
            let [address, mask, other] = [address, mask, other].map(|text| text.parse().unwrap());
            assert_eq!(Neighbours { address, mask }.has(other), expected, "{address} {mask} {other}");
        };
        check("192.168.7.20", "255.255.255.0", "192.168.7.1", true);
        check("192.168.7.20", "255.255.255.0", "192.168.8.1", false);
        check("10.1.2.3", "255.0.0.0", "10.200.0.9", true);
        check("127.0.0.1", "255.0.0.0", "203.0.113.7", false);
        check("192.0.2.1", "255.255.255.255", "192.0.2.2", false);
    }
}
