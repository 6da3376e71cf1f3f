//! Two peers behind translators, a node that both reach, and a clock: everything that happens follows from a seed.
//!
//! What the runtime does with sockets, QUIC and TLS is done here with a queue of events: a meeting's messages are never
//! lost, only late, and a tunnel takes whatever UDP does not get through.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use audiocloud_traversal::frame::{ChannelId, Frame, relayed_header};
use audiocloud_traversal::meeting::{LENGTH_BYTES, Message, Register, Room};
use audiocloud_traversal::probe::ProbeSecret;
use audiocloud_traversal::server::{Action as NodeAction, ClientId, Limits, Relay, Rendezvous};
use audiocloud_traversal::ways::{Action, Carrier, Change, Way, Ways};
use audiocloud_wire::id::{DeviceId, InstanceId};

use crate::nat::{Kind, Nat};
use crate::random::Random;

/// A stereo stream's packets.
const MEDIA: Duration = Duration::from_micros(2667);
/// How late the runtime's timers are.
const LATENESS: Duration = Duration::from_millis(1);
/// As long as nobody answers by UDP a client says again that it is there, as QUIC would.
const REGISTERING: Duration = Duration::from_millis(300);
/// Then it opens a tunnel.
const PATIENCE: Duration = Duration::from_millis(1500);
const NODE: u16 = 0;

#[derive(Clone, Debug)]
enum Event {
    /// A datagram arrives where it was sent to, if that lets it in.
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// What a client tells the node, from its address as seen from outside.
    Told {
        peer: usize,
        carrier: Carrier,
        from: SocketAddr,
        body: Vec<u8>,
    },
    /// What the node tells a client.
    Heard {
        peer: usize,
        carrier: Carrier,
        body: Vec<u8>,
    },
    /// By a tunnel: to the node, or to the peer.
    Tunnelled {
        peer: usize,
        outward: bool,
        bytes: Vec<u8>,
    },
    Register {
        peer: usize,
    },
    Media {
        peer: usize,
    },
}

/// One member: what its runtime would hold.
pub(crate) struct Peer {
    secret: ProbeSecret,
    own: SocketAddr,
    pub(crate) nat: Nat,
    pub(crate) ways: Option<Ways>,
    channel: Option<ChannelId>,
    carriers: Vec<Carrier>,
    admitted: Vec<SocketAddr>,
    /// Each time that packets began to go another way.
    pub(crate) taken: Vec<(Duration, Option<Way>, Change)>,
    sent: u64,
    /// When each packet of media was sent, and whether the other has it.
    pub(crate) media: Vec<(Duration, bool)>,
    pub(crate) doubles: u64,
    /// Its machine does nothing until then; what arrives waits.
    pub(crate) stalled_until: Instant,
}

pub(crate) struct World {
    start: Instant,
    pub(crate) now: Instant,
    pub(crate) random: Random,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: std::collections::HashMap<u64, Event>,
    next_event: u64,
    pub(crate) peers: [Peer; 2],
    node: SocketAddr,
    rendezvous: Rendezvous,
    pub(crate) relay: Relay,
    /// Packets between the two translators, whatever their ports, get lost.
    pub(crate) direct_blocked: bool,
    /// Of a thousand datagrams, so many get lost.
    pub(crate) lost_permille: u64,
    pub(crate) delay: Duration,
    pub(crate) everything_blocked: bool,
}

impl World {
    pub(crate) fn new(seed: u64, kinds: [Kind; 2]) -> Self {
        let mut random = Random(seed);
        let start = Instant::now();
        let mut peer = |number: u8, kind| Peer {
            secret: ProbeSecret::from_bytes(random.bytes()),
            own: SocketAddr::from(([10, 0, number, 2], 4460 + u16::from(number))),
            nat: Nat::new(kind, [203, 0, 113, number + 1].into()),
            ways: None,
            channel: None,
            carriers: Vec::new(),
            admitted: Vec::new(),
            taken: Vec::new(),
            sent: 0,
            media: Vec::new(),
            doubles: 0,
            stalled_until: start,
        };
        let peers = [peer(0, kinds[0]), peer(1, kinds[1])];
        let seed = random.bytes();
        let mut world = Self {
            start,
            now: start,
            random,
            queue: BinaryHeap::new(),
            events: std::collections::HashMap::new(),
            next_event: 0,
            peers,
            node: "198.51.100.1:4460".parse().unwrap(),
            rendezvous: Rendezvous::new(Limits::default(), seed, true),
            relay: Relay::new(Limits::default()),
            direct_blocked: false,
            lost_permille: 0,
            delay: Duration::from_millis(10),
            everything_blocked: false,
        };
        for peer in 0..2 {
            let within = Duration::from_micros(world.random.below(200_000));
            world.at(start + within, Event::Register { peer });
        }
        world
    }

    /// Since the start.
    pub(crate) fn time(&self) -> Duration {
        self.now - self.start
    }

    pub(crate) fn media(&mut self) {
        for peer in 0..2 {
            self.at(self.now, Event::Media { peer });
        }
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let event = self.queue.peek().map(|Reverse((at, _))| *at);
            let timers = self.peers.iter().filter_map(|peer| {
                Some((peer.ways.as_ref()?.poll_timeout()? + LATENESS).max(peer.stalled_until))
            });
            let timer = timers.chain(self.rendezvous.poll_timeout()).min();
            let Some(next) = event.into_iter().chain(timer).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            // After a stall the timers are first: what came meanwhile is read later.
            self.drive_peers();
            while let Some(Reverse((at, number))) = self.queue.peek().copied() {
                if at > self.now {
                    break;
                }
                self.queue.pop();
                let event = self.events.remove(&number).unwrap();
                self.happen(event);
            }
            self.rendezvous.handle_timeout(self.now);
            self.drive_node();
            self.drive_peers();
        }
        self.now = end;
    }

    fn drive_peers(&mut self) {
        for peer in 0..2 {
            let Peer { ways: Some(ways), stalled_until, .. } = &mut self.peers[peer] else { continue };
            if *stalled_until > self.now {
                continue;
            }
            if ways.poll_timeout().is_some_and(|due| due <= self.now) {
                ways.handle_timeout(self.now);
                let due = ways.poll_timeout();
                assert!(due.is_none_or(|due| due > self.now), "what is due was done");
            }
            self.drive(peer);
        }
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.next_event += 1;
        self.events.insert(self.next_event, event);
        self.queue.push(Reverse((at, self.next_event)));
    }

    /// One way across the internet.
    fn soon(&mut self, event: Event) {
        let jitter = Duration::from_micros(self.random.below(3000));
        self.at(self.now + self.delay + jitter, event);
    }

    /// Whose machine has to do something for it.
    fn concerned(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Datagram { to, .. } => (0..2).find(|peer| self.peers[*peer].nat.public == to.ip()),
            Event::Heard { peer, .. }
            | Event::Tunnelled { peer, outward: false, .. }
            | Event::Register { peer }
            | Event::Media { peer } => Some(*peer),
            Event::Told { .. } | Event::Tunnelled { .. } => None,
        }
    }

    fn happen(&mut self, event: Event) {
        let stall = self.concerned(&event).map(|peer| self.peers[peer].stalled_until);
        if let Some(until) = stall.filter(|until| *until > self.now) {
            return self.at(until, event);
        }
        match event {
            Event::Register { peer } => self.register(peer),
            Event::Media { peer } => self.send_media(peer),
            Event::Told { peer, carrier, from, body } => {
                let client =
                    ClientId(u64::try_from(2 * peer).unwrap() + u64::from(carrier == Carrier::Tunnel));
                // QUIC knows a client again whose address has changed.
                self.rendezvous.moved(client, from, self.now);
                let device = DeviceId([u8::try_from(peer).unwrap(); 32]);
                if !self.peers[peer].carriers.contains(&carrier) {
                    self.rendezvous.connected(client, device, from, carrier, self.now);
                    self.peers[peer].carriers.push(carrier);
                }
                self.rendezvous.handle_message(client, &body, self.now);
                self.drive_node();
            }
            Event::Heard { peer, carrier, body } => self.hear(peer, carrier, &body),
            Event::Datagram { from, to, bytes } if to == self.node => self.forward(from, &bytes),
            Event::Datagram { from, to, bytes } => {
                for peer in 0..2 {
                    if self.peers[peer].nat.inward(from, to).is_some() {
                        self.receive(peer, from, Carrier::Udp, &bytes);
                    }
                }
            }
            Event::Tunnelled { peer, outward: true, bytes } => self.forward(tunnel(peer), &bytes),
            Event::Tunnelled { peer, outward: false, bytes } => {
                self.receive(peer, self.node, Carrier::Tunnel, &bytes);
            }
        }
    }

    fn register(&mut self, peer: usize) {
        let registered = !self.peers[peer].carriers.is_empty();
        let register = Message::Register(Register {
            room: Room::of_slot(1),
            instance: InstanceId([7; 16]),
            addresses: vec![self.peers[peer].own],
            probe_key: self.peers[peer].secret.public(),
        });
        let body = register.to_frame()[LENGTH_BYTES..].to_vec();
        let Peer { nat, own, .. } = &mut self.peers[peer];
        if let Some(from) = nat.outward(*own, self.node, &mut self.random)
            && !self.everything_blocked
        {
            self.soon(Event::Told { peer, carrier: Carrier::Udp, from, body: body.clone() });
        }
        let by_tunnel = self.peers[peer].carriers == [Carrier::Tunnel] || !registered;
        if by_tunnel && self.time() >= PATIENCE {
            self.soon(Event::Told { peer, carrier: Carrier::Tunnel, from: tunnel(peer), body });
        }
        // Later only to stay, and because the network may have changed.
        let again = if registered { Duration::from_secs(1) } else { REGISTERING };
        self.at(self.now + again, Event::Register { peer });
    }

    fn hear(&mut self, peer: usize, carrier: Carrier, body: &[u8]) {
        let Ok(Message::Introduced(introduced)) = Message::decode(body) else { return };
        let this = &mut self.peers[peer];
        let ways = this.ways.get_or_insert_with(|| Ways::new(&this.secret, &introduced.probe_key).unwrap());
        ways.set_addresses(&introduced.addresses, self.now);
        ways.add_relay(NODE, carrier, introduced.channel, self.now);
        this.channel = Some(introduced.channel);
        self.drive(peer);
    }

    fn send_media(&mut self, peer: usize) {
        self.at(self.now + MEDIA, Event::Media { peer });
        let now = self.now;
        let time = self.time();
        let this = &mut self.peers[peer];
        let Some(route) = this.ways.as_mut().and_then(|ways| ways.route(now)) else { return };
        let bytes = [&[0x40][..], &this.sent.to_be_bytes()].concat();
        this.sent += 1;
        this.media.push((time, false));
        for way in [Some(route.first), route.second].into_iter().flatten() {
            self.send(peer, way, &bytes);
        }
        self.drive(peer);
    }

    /// What a peer's ways want done.
    fn drive(&mut self, peer: usize) {
        while let Some(action) = self.peers[peer].ways.as_mut().and_then(Ways::poll_action) {
            let time = self.time();
            match action {
                Action::Probe { way, bytes } => self.send(peer, way, &bytes),
                Action::Admit(address) => self.peers[peer].admitted.push(address),
                Action::Dismiss(address) => self.peers[peer].admitted.retain(|known| *known != address),
                Action::Taken { way, why } => self.peers[peer].taken.push((time, way, why)),
            }
        }
    }

    fn send(&mut self, peer: usize, way: Way, bytes: &[u8]) {
        let (to, bytes) = match way {
            Way::Direct(address) => (address, bytes.to_vec()),
            Way::Relay { carrier, channel, .. } => {
                let bytes = [&relayed_header(channel)[..], bytes].concat();
                if carrier == Carrier::Tunnel {
                    return self.soon(Event::Tunnelled { peer, outward: true, bytes });
                }
                (self.node, bytes)
            }
        };
        let Peer { nat, own, .. } = &mut self.peers[peer];
        if let Some(from) = nat.outward(*own, to, &mut self.random) {
            self.transmit(from, to, bytes);
        }
    }

    fn transmit(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let direct = from != self.node && to != self.node;
        let lost = self.random.below(1000) < self.lost_permille;
        let blocked = self.everything_blocked || direct && self.direct_blocked;
        if !lost && !blocked {
            self.soon(Event::Datagram { from, to, bytes });
        }
    }

    fn receive(&mut self, peer: usize, from: SocketAddr, carrier: Carrier, bytes: &[u8]) {
        let channel = self.peers[peer].channel;
        let (way, bytes) = match Frame::decode(bytes) {
            Ok(Frame::Relayed { channel: by, datagram }) if from == self.node && Some(by) == channel => {
                (Way::Relay { node: NODE, carrier, channel: by }, datagram)
            }
            Ok(Frame::Relayed { .. }) => return,
            _ => (Way::Direct(from), bytes),
        };
        let now = self.now;
        let this = &mut self.peers[peer];
        let Some(ways) = &mut this.ways else { return };
        if let Ok(Frame::Probe(probe)) = Frame::decode(bytes) {
            assert!(ways.handle_probe(way, &probe, now), "only these two have ways");
        } else {
            if let Way::Direct(address) = way
                && !this.admitted.contains(&address)
            {
                return;
            }
            ways.handle_datagram(now);
            let number = u64::from_be_bytes(bytes[1..].try_into().unwrap());
            let media = &mut self.peers[1 - peer].media[usize::try_from(number).unwrap()];
            let was_there = std::mem::replace(&mut media.1, true);
            self.peers[peer].doubles += u64::from(was_there);
        }
        self.drive(peer);
    }

    fn forward(&mut self, from: SocketAddr, bytes: &[u8]) {
        let Ok(Frame::Relayed { channel, datagram }) = Frame::decode(bytes) else { return };
        let Ok((to, back)) = self.relay.forward(from, channel, datagram.len(), self.now) else { return };
        let bytes = [&relayed_header(back)[..], datagram].concat();
        match (0..2).find(|peer| tunnel(*peer) == to) {
            Some(peer) => self.soon(Event::Tunnelled { peer, outward: false, bytes }),
            None => self.transmit(self.node, to, bytes),
        }
    }

    fn drive_node(&mut self) {
        while let Some(action) = self.rendezvous.poll_action() {
            match action {
                NodeAction::Relay(update) => self.relay.apply(update),
                NodeAction::Close(client) => panic!("{client:?} was closed"),
                NodeAction::Send { client, message } => {
                    let peer = usize::try_from(client.0 / 2).unwrap();
                    let carrier = if client.0 % 2 == 0 { Carrier::Udp } else { Carrier::Tunnel };
                    let body = message.to_frame()[LENGTH_BYTES..].to_vec();
                    self.soon(Event::Heard { peer, carrier, body });
                }
            }
        }
    }
}

/// What stands for a peer's tunnel at the node.
fn tunnel(peer: usize) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], u16::try_from(peer).unwrap() + 1))
}
