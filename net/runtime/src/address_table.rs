//! Virtual addresses of peers: QUIC sees one stable IPv6 address per path, whatever carries it underneath.
//!
//! A virtual address is `fd61:7564:696f::/64` ("audio" in hexadecimal, a unique local address of RFC 4193) with a
//! number that is never used twice. Only UDP lies under it today; relays and TCP go under the same addresses later.
//! Addresses nobody has proved to own are bounded and forgotten, the oldest first.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The most unproven addresses remembered.
const UNPINNED_MAX: usize = 512;
const PREFIX: [u16; 4] = [0xfd61, 0x7564, 0x696f, 0];
/// QUIC wants a port that is not zero; it means nothing here.
const PORT: u16 = 1;

/// Both directions of the mapping.
#[derive(Debug, Default)]
pub(crate) struct AddressTable {
    by_real: HashMap<SocketAddr, Entry>,
    by_number: HashMap<u64, SocketAddr>,
    unpinned: BTreeSet<u64>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u64,
    pins: u32,
}

impl AddressTable {
    /// The virtual address of `real`, made when it is new.
    pub(crate) fn virtual_of(&mut self, real: SocketAddr) -> SocketAddr {
        let real = canonical(real);
        if let Some(entry) = self.by_real.get(&real) {
            return address(entry.number);
        }
        while self.unpinned.len() >= UNPINNED_MAX {
            let oldest = self.unpinned.pop_first();
            if let Some(forgotten) = oldest.and_then(|number| self.by_number.remove(&number)) {
                self.by_real.remove(&forgotten);
            }
        }
        self.next += 1;
        let number = self.next;
        self.by_real.insert(real, Entry { number, pins: 0 });
        self.by_number.insert(number, real);
        self.unpinned.insert(number);
        address(number)
    }

    /// Where a virtual address leads; none when it was forgotten, or is not one of ours.
    pub(crate) fn real_of(&self, address: SocketAddr) -> Option<SocketAddr> {
        let IpAddr::V6(ip) = address.ip() else { return None };
        let [a, b, c, d, ..] = ip.segments();
        let number = u64::try_from(ip.to_bits() & u128::from(u64::MAX)).ok()?;
        if [a, b, c, d] == PREFIX { self.by_number.get(&number).copied() } else { None }
    }

    /// Whether `real` is in use by us: dialled, or authenticated.
    pub(crate) fn is_pinned(&self, real: SocketAddr) -> bool {
        self.by_real.get(&canonical(real)).is_some_and(|entry| entry.pins > 0)
    }

    /// Keeps `real` until it is unpinned as often, and gives its virtual address.
    pub(crate) fn pin(&mut self, real: SocketAddr) -> SocketAddr {
        let address = self.virtual_of(real);
        if let Some(entry) = self.by_real.get_mut(&canonical(real)) {
            entry.pins += 1;
            self.unpinned.remove(&entry.number);
        }
        address
    }

    /// Undoes one [`AddressTable::pin`].
    pub(crate) fn unpin(&mut self, real: SocketAddr) {
        if let Some(entry) = self.by_real.get_mut(&canonical(real)) {
            entry.pins = entry.pins.saturating_sub(1);
            if entry.pins == 0 {
                self.unpinned.insert(entry.number);
            }
        }
    }
}

/// An IPv4 address that came through an IPv6 socket is still that IPv4 address.
/// Of an IPv6 one the scope is kept, for link-local addresses mean nothing without.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_none() => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into()
        }
        _ => SocketAddr::new(address.ip().to_canonical(), address.port()),
    }
}

/// The address to hand to a socket of the family `ipv6`; none when that family cannot reach it.
pub(crate) fn for_family(address: SocketAddr, ipv6: bool) -> Option<SocketAddr> {
    match (address.ip(), ipv6) {
        (IpAddr::V4(ip), true) => Some(SocketAddr::new(ip.to_ipv6_mapped().into(), address.port())),
        (IpAddr::V6(_), false) => None,
        _ => Some(address),
    }
}

fn address(number: u64) -> SocketAddr {
    let [a, b, c, d] = PREFIX;
    let prefix = Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_bits();
    SocketAddr::new(Ipv6Addr::from_bits(prefix | u128::from(number)).into(), PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn addresses_lead_there_and_back() {
        let mut table = AddressTable::default();
        let one = table.virtual_of(real(1));
        assert_ne!(one, table.virtual_of(real(2)));
        assert_eq!(one, table.virtual_of("[::ffff:192.0.2.1]:1".parse().unwrap()), "one host, one address");
        assert_eq!(table.real_of(one), Some(real(1)));
        assert_eq!(table.real_of(real(1)), None);
        assert_eq!(table.real_of("[fd61:7564:696f::99]:1".parse().unwrap()), None);
    }

    #[test]
    fn unproven_addresses_are_bounded_and_proven_ones_kept() {
        let mut table = AddressTable::default();
        let kept = table.pin(real(1));
        let first = table.virtual_of(real(2));
        for port in 10..10_000 {
            table.virtual_of(real(port));
        }
        assert_eq!(table.by_number.len(), UNPINNED_MAX + 1);
        assert_eq!(table.by_real.len(), UNPINNED_MAX + 1);
        assert_eq!(table.real_of(kept), Some(real(1)));
        assert_eq!(table.real_of(first), None);
        table.unpin(real(1));
        assert!(!table.is_pinned(real(1)));
        assert_eq!(table.unpinned.len(), UNPINNED_MAX + 1, "until the next new address");
    }

    #[test]
    fn link_local_addresses_keep_their_scope() {
        let address = "[fe80::1%3]:5".parse().unwrap();
        let mut table = AddressTable::default();
        let seen = table.virtual_of(address);
        assert_eq!(table.real_of(seen), Some(address));
    }

    #[test]
    fn families() {
        let check = |address: &str, ipv6, expected: Option<&str>| {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(for_family(address.parse().unwrap(), ipv6), expected);
        };
        check("192.0.2.1:5", true, Some("[::ffff:192.0.2.1]:5"));
        check("192.0.2.1:5", false, Some("192.0.2.1:5"));
        check("[2001:db8::1]:5", false, None);
        check("[2001:db8::1]:5", true, Some("[2001:db8::1]:5"));
    }
}
