//! A UDP port on all addresses of the machine, or on one.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// Opens it: on a machine without IPv6, of IPv4.
pub(crate) fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(address).or_else(|error| {
        let any = address.is_ipv6() && address.ip().is_unspecified() && error.kind() != ErrorKind::AddrInUse;
        if any { UdpSocket::bind((Ipv4Addr::UNSPECIFIED, address.port())) } else { Err(error) }
    })
}
