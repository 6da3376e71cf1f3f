//! What this machine hears of what it sends to a multicast group.
//!
//! A datagram to a group that the machine has joined itself comes back in as if it had arrived at the interface, source
//! and all, and passes whatever filters what arrives there: Linux loops it through the device's input (`dev_loopback_xmit`),
//! as a new flow to its connection tracking. So a machine can examine its own firewall without another's help, and, with
//! a time to live of 0, without a datagram leaving it.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::interfaces::Interface;

/// A machine hears itself within a millisecond; these are for a busy one.
const TRIES: u32 = 3;
const TRY: Duration = Duration::from_millis(150);
const DATAGRAM_BYTES_MAX: usize = 9000;

/// Which way of sending is tried.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    pub(super) interface: &'a Interface,
    pub(super) group: IpAddr,
    pub(super) port: u16,
    /// Other programs have the port too, by agreement: that of mDNS.
    pub(super) is_shared: bool,
    /// Whether it may leave the machine.
    pub(super) leaves: bool,
    pub(super) datagram: &'a [u8],
    /// How long to go on listening for others after the own call was heard.
    pub(super) listen: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Echo {
    /// Heard, and so many others' datagrams for which `answers` held.
    Heard { others: usize },
    /// It was sent and did not come back.
    Silent,
    /// The system did not send it.
    NotSent(io::Error),
    /// There is no such socket to be had.
    NoSocket(io::Error),
}

/// Calls, and listens for the own call. `answers` says whether a datagram of somebody else is counted.
pub(super) fn call(call: &Call<'_>, answers: impl Fn(&[u8]) -> bool) -> Echo {
    let socket = match open(call) {
        Ok(socket) => socket,
        Err(error) => return Echo::NoSocket(error),
    };
    let to = match call.group {
        IpAddr::V4(group) => SocketAddr::from((group, call.port)),
        IpAddr::V6(group) => SocketAddrV6::new(group, call.port, 0, call.interface.index).into(),
    };
    let mut others = BTreeSet::new();
    for _ in 0..TRIES {
        if let Err(error) = socket.send_to(call.datagram, to) {
            return Echo::NotSent(error);
        }
        let mut heard = false;
        let mut until = Instant::now() + TRY;
        while let Some((from, datagram)) = receive(&socket, until) {
            if datagram == call.datagram {
                if !heard {
                    heard = true;
                    until = Instant::now() + call.listen;
                }
            } else if answers(&datagram) && !is_own(call.interface, from.ip()) {
                others.insert(from.ip());
            }
        }
        if heard {
            return Echo::Heard { others: others.len() };
        }
    }
    Echo::Silent
}

fn is_own(interface: &Interface, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => interface.v4.contains(&ip),
        IpAddr::V6(ip) => interface.v6.contains(&ip),
    }
}

fn open(call: &Call<'_>) -> io::Result<UdpSocket> {
    let index = call.interface.index;
    let any: IpAddr = match call.group {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let any = SocketAddr::new(any, call.port);
    let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP))?;
    if call.is_shared {
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
    }
    let life = if call.leaves { 255 } else { 0 };
    match call.group {
        IpAddr::V4(group) => {
            socket.bind(&any.into())?;
            let at = InterfaceIndexOrAddress::Index(index);
            socket.join_multicast_v4_n(&group, &at)?;
            let own = call.interface.v4.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
            socket.set_multicast_if_v4(&own)?;
            socket.set_multicast_ttl_v4(life)?;
            socket.set_multicast_loop_v4(true)?;
        }
        IpAddr::V6(group) => {
            socket.set_only_v6(true)?;
            socket.bind(&any.into())?;
            socket.join_multicast_v6(&group, index)?;
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_hops_v6(life)?;
            socket.set_multicast_loop_v6(true)?;
        }
    }
    Ok(socket.into())
}

/// The next datagram until then.
fn receive(socket: &UdpSocket, until: Instant) -> Option<(SocketAddr, Vec<u8>)> {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // A timeout of nothing would be none at all.
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        socket.set_read_timeout(Some(left)).ok()?;
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                buffer.truncate(length);
                return Some((from, buffer));
            }
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionRefused) => {}
            Err(_) => return None,
        }
    }
}
