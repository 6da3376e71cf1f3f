//! Where this machine can be reached from its own networks, for others to try.

use std::net::{IpAddr, SocketAddr};

use audiocloud_traversal::address::is_reachable;
use audiocloud_traversal::meeting::ADDRESSES_MAX;

/// The addresses of a socket that is bound to `bound`: that one, or for an unspecified one those of all interfaces that are
/// up, loopback left out. Takes some 50 µs.
pub(crate) fn own_addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    let ip = bound.ip().to_canonical();
    if !ip.is_unspecified() {
        return vec![SocketAddr::new(ip, bound.port())];
    }
    let mut found = interfaces();
    found.retain(|ip| (bound.is_ipv6() || ip.is_ipv4()) && is_reachable(SocketAddr::new(*ip, 1)));
    // IPv4 first: it is what most networks have. The order is the same as long as nothing changes.
    found.sort_unstable();
    found.dedup();
    found.truncate(ADDRESSES_MAX);
    found.into_iter().map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

#[cfg(unix)]
fn interfaces() -> Vec<IpAddr> {
    use nix::net::if_::InterfaceFlags;

    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let usable = all.filter(|one| {
        one.flags.contains(InterfaceFlags::IFF_UP) && !one.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    let ip = |storage: nix::sys::socket::SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    usable.filter_map(|one| one.address.and_then(ip)).collect()
}

/// The addresses that packets to anywhere would have.
#[cfg(not(unix))]
fn interfaces() -> Vec<IpAddr> {
    let from = |bind: &str, to: &str| {
        let socket = std::net::UdpSocket::bind(bind).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    [from("0.0.0.0:0", "192.0.2.1:9"), from("[::]:0", "[2001:db8::1]:9")].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_address_is_the_only_one() {
        let bound = "127.0.0.1:5".parse().unwrap();
        assert_eq!(own_addresses(bound), [bound]);
    }

    #[test]
    fn nothing_that_others_cannot_reach() {
        for address in own_addresses("[::]:7".parse().unwrap()) {
            assert!(is_reachable(address) && !address.ip().is_loopback() && address.port() == 7, "{address}");
        }
    }
}
