//! Address translators, as RFC 4787 tells them apart: how they map, and what they let in.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use crate::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One public port for an inner one, whoever is sent to; lets everybody in.
    EndpointIndependent,
    /// The inner port is kept; lets in only those that were sent to. What Linux and most home routers do.
    PortPreserving,
    /// A port of its own for each destination, at random; lets in only that one.
    Symmetric,
}

pub(crate) struct Nat {
    kind: Kind,
    pub(crate) public: IpAddr,
    /// Sends no UDP out, and lets none in.
    pub(crate) drops_udp: bool,
    ports: HashMap<(SocketAddr, Option<SocketAddr>), u16>,
    inner: HashMap<u16, SocketAddr>,
    sent_to: HashSet<(u16, SocketAddr)>,
}

impl Nat {
    pub(crate) fn new(kind: Kind, public: IpAddr) -> Self {
        let (ports, inner, sent_to) = Default::default();
        Self { kind, public, drops_udp: false, ports, inner, sent_to }
    }

    /// Everything is forgotten, and there is another public address: the network has changed.
    pub(crate) fn change(&mut self, public: IpAddr) {
        *self = Self { drops_udp: self.drops_udp, ..Self::new(self.kind, public) };
    }

    /// What a packet's sender looks like from outside.
    pub(crate) fn outward(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        random: &mut Random,
    ) -> Option<SocketAddr> {
        if self.drops_udp {
            return None;
        }
        let destination = (self.kind == Kind::Symmetric).then_some(to);
        let port = *self.ports.entry((from, destination)).or_insert_with(|| match self.kind {
            Kind::PortPreserving => from.port(),
            _ => u16::try_from(20_000 + random.below(40_000)).unwrap(),
        });
        self.inner.insert(port, from);
        self.sent_to.insert((port, to));
        Some(SocketAddr::new(self.public, port))
    }

    /// Whom a packet from outside reaches.
    pub(crate) fn inward(&self, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        let admitted = self.kind == Kind::EndpointIndependent || self.sent_to.contains(&(to.port(), from));
        if self.drops_udp || to.ip() != self.public || !admitted {
            return None;
        }
        self.inner.get(&to.port()).copied()
    }
}
