//! Addresses that peers and nodes tell each other.

use std::net::{IpAddr, SocketAddr};

/// An IPv4 address that came through an IPv6 socket is still that IPv4 address.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// What stands for peers and tunnels within a runtime begins like this ("audio" in hexadecimal, after RFC 4193): on a
/// network it means nothing.
const VIRTUAL: [u16; 3] = [0xfd61, 0x7564, 0x696f];

/// Whether an address may be one of a peer's: of one host, with a port, and not tied to a link that only the peer has.
pub fn is_reachable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let of_one_host = match ip {
        IpAddr::V4(ip) => !ip.is_broadcast() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local() && ip.segments()[..3] != VIRTUAL,
    };
    of_one_host && address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_a_peers() {
        let check = |text: &str, good| assert_eq!(is_reachable(text.parse().unwrap()), good, "{text}");
        check("192.0.2.1:1", true);
        check("10.0.0.1:65535", true);
        check("[2001:db8::1]:1", true);
        check("127.0.0.1:1", true);
        check("192.0.2.1:0", false);
        check("0.0.0.0:1", false);
        check("255.255.255.255:1", false);
        check("224.0.0.251:5353", false);
        check("169.254.1.1:1", false);
        check("[fe80::1]:1", false);
        check("[fd61:7564:696f:1::1]:1", false);
        check("[fd61:7564:6970::1]:1", true);
        check("[ff02::fb]:5353", false);
        check("[::ffff:224.0.0.1]:1", false);
    }
}
