//! Virtual addresses of peers: QUIC sees one stable IPv6 address per peer, whatever carries it underneath.
//!
//! A virtual address is `fd61:7564:696f::/64` ("audio" in hexadecimal, a unique local address of RFC 4193) with a
//! number that is never used twice. Beneath it lies one real address, UDP's or a tunnel's; or, of a peer that we were
//! introduced to, every way that leads to it ([`crate::meeting::Peers`] chooses), and then datagrams from any address
//! that is proven to be its own come from that one virtual address.
//! Addresses nobody has proved to own are bounded and forgotten, the oldest first.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The most unproven addresses remembered.
const UNPINNED_MAX: usize = 512;
/// The most addresses that one introduced peer has proved.
const PROVEN_MAX: usize = 16;
const PREFIX: [u16; 4] = [0xfd61, 0x7564, 0x696f, 0];
/// QUIC wants a port that is not zero; it means nothing here.
const PORT: u16 = 1;

/// Both directions of the mapping.
#[derive(Debug, Default)]
pub(crate) struct AddressTable {
    by_real: HashMap<SocketAddr, u64>,
    entries: HashMap<u64, Entry>,
    unpinned: BTreeSet<u64>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    beneath: Beneath,
    pins: u32,
}

#[derive(Debug)]
enum Beneath {
    Address(SocketAddr),
    /// With the addresses that are proven.
    Ways(Vec<SocketAddr>),
}

/// Where a virtual address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Address(SocketAddr),
    /// To an introduced peer, by whatever way is best.
    Peer(u64),
}

impl AddressTable {
    /// The virtual address of `real`, made when it is new.
    pub(crate) fn virtual_of(&mut self, real: SocketAddr) -> SocketAddr {
        let real = canonical(real);
        if let Some(&number) = self.by_real.get(&real) {
            return address(number);
        }
        while self.unpinned.len() >= UNPINNED_MAX {
            let Some(oldest) = self.unpinned.pop_first() else { break };
            self.forget(oldest);
        }
        self.next += 1;
        let number = self.next;
        self.by_real.insert(real, number);
        self.entries.insert(number, Entry { beneath: Beneath::Address(real), pins: 0 });
        self.unpinned.insert(number);
        address(number)
    }

    fn forget(&mut self, number: u64) {
        self.unpinned.remove(&number);
        let Some(entry) = self.entries.remove(&number) else { return };
        let reals = match entry.beneath {
            Beneath::Address(real) => vec![real],
            Beneath::Ways(proven) => proven,
        };
        for real in reals {
            if self.by_real.get(&real) == Some(&number) {
                self.by_real.remove(&real);
            }
        }
    }

    /// Where a virtual address leads; none when it was forgotten, or is not one of ours.
    pub(crate) fn destination(&self, address: SocketAddr) -> Option<Destination> {
        let number = number_of(address)?;
        Some(match self.entries.get(&number)?.beneath {
            Beneath::Address(real) => Destination::Address(real),
            Beneath::Ways(_) => Destination::Peer(number),
        })
    }

    /// What a connection to a virtual address is known by here: the real address, or of an introduced peer the virtual one
    /// itself; none when it was forgotten.
    pub(crate) fn real_of(&self, address: SocketAddr) -> Option<SocketAddr> {
        Some(match self.destination(address)? {
            Destination::Address(real) => real,
            Destination::Peer(_) => address,
        })
    }

    /// Whether `real` is in use by us: dialled, or authenticated.
    pub(crate) fn is_pinned(&self, real: SocketAddr) -> bool {
        let number = self.by_real.get(&canonical(real));
        number.and_then(|number| self.entries.get(number)).is_some_and(|entry| entry.pins > 0)
    }

    /// Keeps what [`AddressTable::real_of`] gave until it is unpinned as often, and gives its virtual address.
    pub(crate) fn pin(&mut self, real: SocketAddr) -> SocketAddr {
        let address = if self.destination(real).is_some() { real } else { self.virtual_of(real) };
        if let Some(number) = number_of(address)
            && let Some(entry) = self.entries.get_mut(&number)
        {
            entry.pins += 1;
            self.unpinned.remove(&number);
        }
        address
    }

    /// Undoes one [`AddressTable::pin`].
    pub(crate) fn unpin(&mut self, real: SocketAddr) {
        let number = match self.destination(real) {
            Some(_) => number_of(real),
            None => self.by_real.get(&canonical(real)).copied(),
        };
        if let Some(number) = number
            && let Some(entry) = self.entries.get_mut(&number)
        {
            entry.pins = entry.pins.saturating_sub(1);
            if entry.pins == 0 && matches!(entry.beneath, Beneath::Address(_)) {
                self.unpinned.insert(number);
            }
        }
    }

    // ---- Peers that we were introduced to.

    /// A virtual address for a peer of many ways. It is kept until [`AddressTable::remove_peer`].
    pub(crate) fn add_peer(&mut self) -> u64 {
        self.next += 1;
        self.entries.insert(self.next, Entry { beneath: Beneath::Ways(Vec::new()), pins: 0 });
        self.next
    }

    /// Its connections lead nowhere from now on.
    pub(crate) fn remove_peer(&mut self, number: u64) {
        self.forget(number);
    }

    /// Whether a connection, or an attempt at one, goes to the peer.
    pub(crate) fn is_peer_pinned(&self, number: u64) -> bool {
        self.entries.get(&number).is_some_and(|entry| entry.pins > 0)
    }

    /// Datagrams from `real` are the peer's from now on; it has proved that.
    pub(crate) fn admit(&mut self, number: u64, real: SocketAddr) {
        let real = canonical(real);
        let before = self.by_real.get(&real).copied().filter(|before| *before != number);
        // A connection that uses the address keeps it: its packets would be taken for those of another path.
        if before.is_some() && self.is_pinned(real) {
            return;
        }
        let Some(Entry { beneath: Beneath::Ways(proven), .. }) = self.entries.get_mut(&number) else {
            return;
        };
        if !proven.contains(&real) {
            if proven.len() >= PROVEN_MAX {
                let oldest = proven.remove(0);
                self.by_real.remove(&oldest);
            }
            proven.push(real);
        }
        self.by_real.insert(real, number);
        if let Some(before) = before {
            self.forget(before);
        }
    }

    /// An address that the peer has proved last, for when no way is known to be open.
    pub(crate) fn proven(&self, number: u64) -> Option<SocketAddr> {
        match &self.entries.get(&number)?.beneath {
            Beneath::Ways(proven) => proven.last().copied(),
            Beneath::Address(real) => Some(*real),
        }
    }

    /// The peer with the number `from` is the one with the number `to`, which a connection uses already.
    pub(crate) fn move_peer(&mut self, from: u64, to: u64) {
        let Some(Entry { beneath: Beneath::Ways(proven), .. }) = self.entries.get(&from) else { return };
        let proven = proven.clone();
        self.forget(from);
        for real in proven {
            self.admit(to, real);
        }
    }

    /// Undoes an [`AddressTable::admit`].
    pub(crate) fn dismiss(&mut self, number: u64, real: SocketAddr) {
        let real = canonical(real);
        if let Some(Entry { beneath: Beneath::Ways(proven), .. }) = self.entries.get_mut(&number) {
            proven.retain(|one| *one != real);
        }
        if self.by_real.get(&real) == Some(&number) {
            self.by_real.remove(&real);
        }
    }

    /// Puts many ways beneath the virtual address that a connection already has, its real address the first of them. Its
    /// number, unless there are already, or there is no such address.
    pub(crate) fn adopt(&mut self, address: SocketAddr) -> Option<u64> {
        let number = number_of(address)?;
        let entry = self.entries.get_mut(&number)?;
        let Beneath::Address(real) = entry.beneath else { return None };
        entry.beneath = Beneath::Ways(vec![real]);
        self.unpinned.remove(&number);
        Some(number)
    }
}

/// The number in a virtual address.
pub(crate) fn number_of(address: SocketAddr) -> Option<u64> {
    let IpAddr::V6(ip) = address.ip() else { return None };
    let [a, b, c, d, ..] = ip.segments();
    let number = u64::try_from(ip.to_bits() & u128::from(u64::MAX)).ok()?;
    ([a, b, c, d] == PREFIX).then_some(number)
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

/// The virtual address with this number.
pub(crate) fn address(number: u64) -> SocketAddr {
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
        assert_eq!(table.entries.len(), UNPINNED_MAX + 1);
        assert_eq!(table.by_real.len(), UNPINNED_MAX + 1);
        assert_eq!(table.real_of(kept), Some(real(1)));
        assert_eq!(table.real_of(first), None);
        table.unpin(real(1));
        assert!(!table.is_pinned(real(1)));
        assert_eq!(table.unpinned.len(), UNPINNED_MAX + 1, "until the next new address");
    }

    #[test]
    fn an_introduced_peer_is_one_address_whatever_it_comes_from() {
        let mut table = AddressTable::default();
        let stranger = table.virtual_of(real(1));
        let number = table.add_peer();
        let peer = address(number);
        table.admit(number, real(1));
        table.admit(number, real(2));
        assert_eq!(table.virtual_of(real(1)), peer);
        assert_eq!(table.virtual_of(real(2)), peer);
        assert_eq!(table.destination(peer), Some(Destination::Peer(number)));
        assert_eq!(table.destination(stranger), None, "taken over");
        assert_eq!(table.real_of(peer), Some(peer));
        table.pin(peer);
        assert!(table.is_pinned(real(2)) && table.is_peer_pinned(number));
        table.dismiss(number, real(2));
        assert_ne!(table.virtual_of(real(2)), peer);
        table.unpin(peer);
        assert!(!table.is_peer_pinned(number));
        for port in 10..10_000 {
            table.virtual_of(real(port));
            table.admit(number, real(port));
        }
        assert_eq!(table.destination(peer), Some(Destination::Peer(number)), "kept without a pin");
        assert!(table.by_real.len() <= UNPINNED_MAX + PROVEN_MAX);
        table.remove_peer(number);
        assert_eq!(table.destination(peer), None);
        assert!(table.by_real.len() <= UNPINNED_MAX);
    }

    #[test]
    fn a_connection_keeps_its_address_and_can_get_more_ways() {
        let mut table = AddressTable::default();
        let connected = table.pin(real(1));
        let number = table.add_peer();
        table.admit(number, real(1));
        assert_eq!(table.virtual_of(real(1)), connected);
        let adopted = table.adopt(connected).unwrap();
        assert_eq!(table.destination(connected), Some(Destination::Peer(adopted)));
        assert!(table.is_peer_pinned(adopted));
        assert_eq!(table.adopt(connected), None);
        assert_eq!(table.virtual_of(real(1)), connected);
        table.unpin(connected);
        assert!(!table.is_peer_pinned(adopted));
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
