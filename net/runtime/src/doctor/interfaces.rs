//! The network interfaces of this machine and what the system says of them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) index: u32,
    /// Switched on.
    pub(crate) is_up: bool,
    /// A cable, a radio network or the like is there.
    pub(crate) has_carrier: bool,
    pub(crate) has_multicast: bool,
    pub(crate) is_loopback: bool,
    pub(crate) v4: Vec<Ipv4Addr>,
    pub(crate) v6: Vec<Ipv6Addr>,
}

impl Interface {
    /// Whether anything could be sent by it.
    pub(crate) fn is_usable(&self) -> bool {
        self.is_up && self.has_carrier && !(self.v4.is_empty() && self.v6.is_empty())
    }
}

/// All interfaces, by name; `None` where this system cannot be asked.
#[cfg(unix)]
pub(crate) fn interfaces() -> Option<Vec<Interface>> {
    use nix::net::if_::InterfaceFlags as Flags;
    use std::collections::BTreeMap;

    let mut found = BTreeMap::new();
    for entry in nix::ifaddrs::getifaddrs().ok()? {
        let one: &mut Interface = found.entry(entry.interface_name.clone()).or_default();
        one.index = nix::net::if_::if_nametoindex(entry.interface_name.as_str()).unwrap_or(0);
        one.name = entry.interface_name;
        one.is_up = entry.flags.contains(Flags::IFF_UP);
        one.has_carrier = entry.flags.contains(Flags::IFF_RUNNING);
        one.has_multicast = entry.flags.contains(Flags::IFF_MULTICAST);
        one.is_loopback = entry.flags.contains(Flags::IFF_LOOPBACK);
        let Some(address) = entry.address else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            one.v4.push(v4.ip());
        } else if let Some(v6) = address.as_sockaddr_in6() {
            one.v6.push(v6.ip());
        }
    }
    Some(found.into_values().collect())
}

#[cfg(not(unix))]
pub(crate) fn interfaces() -> Option<Vec<Interface>> {
    None
}

/// The mask of the network that an address of this machine is in.
#[cfg(unix)]
pub(crate) fn mask_v4(of: Ipv4Addr) -> Option<Ipv4Addr> {
    let v4 = |address: Option<nix::sys::socket::SockaddrStorage>| Some(address?.as_sockaddr_in()?.ip());
    let mut entries = nix::ifaddrs::getifaddrs().ok()?;
    entries.find(|entry| v4(entry.address) == Some(of)).and_then(|entry| v4(entry.netmask))
}

#[cfg(not(unix))]
pub(crate) fn mask_v4(_of: Ipv4Addr) -> Option<Ipv4Addr> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn loopback_is_found_and_is_what_it_is() {
        let found = super::interfaces().unwrap();
        let loopback = found.iter().find(|one| one.is_loopback).expect("every machine has one");
        assert!(loopback.index > 0 && loopback.v4.iter().all(|ip| ip.is_loopback()), "{loopback:?}");
        for address in &loopback.v4 {
            assert_eq!(super::mask_v4(*address), Some([255, 0, 0, 0].into()));
        }
    }
}
