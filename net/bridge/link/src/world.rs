//! A network of peers in virtual time, for tests: clocks that differ and drift, delays, jitter and loss, from a seed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use audiocloud_units::{HostTime, Ppm, SessionLine, SessionTime};

use crate::node::{Action, Gateway, Node};
use crate::wire::NodeId;

const OWN_PORT: u16 = 1_000;
const MEASURING_PORT: u16 = 2_000;
const GATEWAY: Gateway = Gateway(1);

/// One machine on the network.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) is_there: bool,
    /// Its clock at true time 0, and by how many parts of a thousand million it is too fast.
    began: i64,
    ppb: i64,
}

#[derive(Debug)]
struct Datagram {
    to: usize,
    from: SocketAddrV4,
    is_measuring: bool,
    bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct World {
    /// True time, in nanoseconds; also the session time of the tests.
    pub(crate) now: i64,
    pub(crate) members: Vec<Member>,
    pub(crate) loss_percent: u64,
    pub(crate) datagrams: usize,
    /// By when they come, and a number.
    under_way: BTreeMap<(i64, u64), Datagram>,
    random: u64,
    number: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let under_way = BTreeMap::new();
        // Not at 0, where an error may hide.
        let now = 1_000_000_000_000;
        Self { now, members: Vec::new(), loss_percent: 0, datagrams: 0, under_way, random: seed, number: 0 }
    }

    /// SplitMix64.
    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// A peer that begins now, by a clock of its own that is so much too fast.
    pub(crate) fn join(&mut self, ppm: i64, bpm: f64) -> usize {
        let index = self.members.len();
        let began = i64::try_from(self.random(1 << 50)).unwrap();
        let id = NodeId((self.random(u64::MAX)).to_be_bytes());
        let ppb = ppm * 1_000;
        let node = Node::new(id, bpm, HostTime::new(0));
        self.members.push(Member { node, is_there: true, began, ppb });
        let now = self.host(index);
        let mut node = Node::new(id, bpm, now);
        node.add_gateway(GATEWAY, address(index, MEASURING_PORT), now);
        self.members[index].node = node;
        index
    }

    /// It says goodbye and goes.
    pub(crate) fn leave(&mut self, index: usize) {
        self.members[index].node.leave();
        self.send(index);
        self.members[index].is_there = false;
    }

    /// What a member's clock shows.
    pub(crate) fn host(&self, index: usize) -> HostTime {
        let Member { began, ppb, .. } = self.members[index];
        HostTime::new(began + self.now + self.now / 1_000 * ppb / 1_000_000)
    }

    /// True time over a member's clock: its line, if true time is the session's.
    pub(crate) fn line(&self, index: usize) -> SessionLine {
        let rate = Ppm::new((1.0 / (1.0 + self.members[index].ppb as f64 * 1e-9) - 1.0) * 1e6);
        SessionLine { host: self.host(index), session: SessionTime::new(self.now), fraction: 0.0, rate }
    }

    /// The beat of a member's session, as it sees it.
    pub(crate) fn beat(&self, index: usize) -> f64 {
        let shared = self.members[index].node.shared();
        shared.timeline.beat_at(shared.offset.link_at(self.host(index)))
    }

    /// One millisecond.
    pub(crate) fn step(&mut self) {
        let end = self.now + 1_000_000;
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), Datagram { to, from, is_measuring, bytes }) = entry.remove_entry();
            self.now = at;
            let now = self.host(to);
            let member = &mut self.members[to];
            if member.is_there {
                self.datagrams += 1;
                if is_measuring {
                    member.node.receive_measuring(GATEWAY, from, &bytes, now);
                } else {
                    member.node.receive(GATEWAY, from, &bytes, now);
                }
                self.send(to);
            }
        }
        self.now = end;
        for index in 0..self.members.len() {
            let now = self.host(index);
            if self.members[index].is_there {
                self.members[index].node.poll(now);
                self.send(index);
            }
        }
    }

    pub(crate) fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.step();
        }
    }

    fn send(&mut self, from: usize) {
        while let Some(action) = self.members[from].node.next_action() {
            match action {
                Action::Announce(_, bytes) => {
                    for to in (0..self.members.len()).filter(|to| *to != from) {
                        self.deliver(to, address(from, OWN_PORT), false, bytes.clone());
                    }
                }
                Action::Respond(_, to, bytes) => {
                    self.deliver(member_at(to), address(from, OWN_PORT), false, bytes);
                }
                Action::Measure(_, to, bytes) => {
                    self.deliver(member_at(to), address(from, MEASURING_PORT), true, bytes);
                }
            }
        }
    }

    /// After 100 to 300 µs, and each tenth up to 3 ms later.
    fn deliver(&mut self, to: usize, from: SocketAddrV4, is_measuring: bool, bytes: Vec<u8>) {
        if self.random(100) < self.loss_percent {
            return;
        }
        let queue = if self.random(10) == 0 { self.random(3_000_000) } else { 0 };
        let delay = i64::try_from(100_000 + self.random(200_000) + queue).unwrap();
        self.number += 1;
        self.under_way.insert((self.now + delay, self.number), Datagram { to, from, is_measuring, bytes });
    }
}

fn address(member: usize, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, u8::try_from(member + 1).unwrap()), port)
}

fn member_at(address: SocketAddrV4) -> usize {
    usize::from(address.ip().octets()[3]) - 1
}
