//! A node and its clients, without a network: what is said to whom, and what is refused.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use audiocloud_wire::id::{DeviceId, InstanceId};

use super::*;
use crate::frame::{ChannelId, DATAGRAM_BYTES_MAX};
use crate::meeting::{Introduced, LENGTH_BYTES, Leave, Message, Pass, Reason, Register, Registered, Room};
use crate::probe::ProbeKey;

const ROOM: Room = Room([1; 32]);
const SECOND: Duration = Duration::from_secs(1);

/// A node, and what it did since it was last asked.
struct Node {
    now: Instant,
    rendezvous: Rendezvous,
    relay: Relay,
    sent: Vec<(u64, Message)>,
    closed: Vec<u64>,
}

fn address(client: u64) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(client).unwrap()], 4460))
}

fn register(room: Room, addresses: &[&str]) -> Message {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Message::Register(Register {
        room,
        instance: InstanceId([1; 16]),
        addresses,
        probe_key: ProbeKey([2; 32]),
    })
}

impl Node {
    fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let (rendezvous, relay) = (Rendezvous::new(limits, [7; 32], true), Relay::new(limits));
        Self { now, rendezvous, relay, sent: Vec::new(), closed: Vec::new() }
    }

    /// Client `n` is device `n`, at an address of its own.
    fn connect(&mut self, client: u64) {
        self.connect_as(client, client, address(client), Carrier::Udp);
    }

    fn connect_as(&mut self, client: u64, device: u64, from: SocketAddr, carrier: Carrier) {
        let device = DeviceId([u8::try_from(device).unwrap(); 32]);
        self.rendezvous.connected(ClientId(client), device, from, carrier, self.now);
        self.drive();
    }

    fn say(&mut self, client: u64, message: &Message) {
        self.rendezvous.handle_message(ClientId(client), &message.to_frame()[LENGTH_BYTES..], self.now);
        self.drive();
    }

    fn drop(&mut self, client: u64) {
        self.rendezvous.disconnected(ClientId(client), self.now);
        self.drive();
    }

    /// Lets time pass, in which these clients stay.
    fn wait(&mut self, span: Duration, staying: &[u64]) {
        let end = self.now + span;
        while self.now < end {
            self.now += SECOND;
            for client in staying {
                self.say(*client, &register(ROOM, &[]));
            }
            self.rendezvous.handle_timeout(self.now);
            self.drive();
        }
    }

    fn drive(&mut self) {
        while let Some(action) = self.rendezvous.poll_action() {
            match action {
                Action::Send { client, message } => self.sent.push((client.0, message)),
                Action::Close(client) => self.closed.push(client.0),
                Action::Relay(update) => self.relay.apply(update),
            }
        }
    }

    fn heard(&mut self, by: u64) -> Vec<Message> {
        let (heard, rest) = std::mem::take(&mut self.sent).into_iter().partition(|(client, _)| *client == by);
        self.sent = rest;
        heard.into_iter().map(|(_, message)| message).collect()
    }

    fn introductions(&mut self, by: u64) -> Vec<Introduced> {
        let introduced = |message| match message {
            Message::Introduced(introduced) => Some(introduced),
            _ => None,
        };
        self.heard(by).into_iter().filter_map(introduced).collect()
    }

    fn refusals(&mut self, by: u64) -> Vec<Reason> {
        let refused = |message| match message {
            Message::Refused(refused) => Some(refused.reason),
            _ => None,
        };
        self.heard(by).into_iter().filter_map(refused).collect()
    }

    /// Two in one room: the channel of each to the other.
    fn pair(limits: Limits) -> (Self, [ChannelId; 2]) {
        let mut node = Self::new(limits);
        for client in [1, 2] {
            node.connect(client);
            node.say(client, &register(ROOM, &[]));
        }
        let channels = [1, 2].map(|client| node.introductions(client)[0].channel);
        (node, channels)
    }

    fn forward(&mut self, from: SocketAddr, channel: ChannelId) -> Result<(SocketAddr, ChannelId), Dropped> {
        self.relay.forward(from, channel, 1200, self.now)
    }
}

#[test]
fn who_is_in_a_room_is_introduced() {
    let mut node = Node::new(Limits::default());
    node.connect(1);
    node.say(1, &register(ROOM, &["10.0.0.1:4460", "127.0.0.1:4460", "224.0.0.1:1"]));
    let registered = Registered { room: ROOM, reflexive: Some(address(1)), relay: true, keep_ms: 20_000 };
    assert_eq!(node.heard(1), [Message::Registered(registered)]);
    node.connect(2);
    node.say(2, &register(ROOM, &[]));
    node.connect(3);
    node.say(3, &register(Room([9; 32]), &[]));
    let [to_two] = &node.introductions(1)[..] else { panic!("one other") };
    let [to_one] = &node.introductions(2)[..] else { panic!("one other") };
    assert_eq!((to_two.device, &to_two.addresses[..]), (DeviceId([2; 32]), &[address(2)][..]));
    let seen_and_named = [address(1), "10.0.0.1:4460".parse().unwrap()];
    assert_eq!((to_one.device, &to_one.addresses[..]), (DeviceId([1; 32]), &seen_and_named[..]));
    assert_ne!(to_one.channel, to_two.channel);
    assert!(node.introductions(3).is_empty(), "alone in another room");
}

#[test]
fn only_changes_are_told() {
    let (mut node, _) = Node::pair(Limits::default());
    node.say(1, &register(ROOM, &[]));
    assert!(node.introductions(2).is_empty());
    node.say(1, &register(ROOM, &["10.0.0.9:1"]));
    assert_eq!(node.introductions(2).len(), 1);
    node.rendezvous.moved(ClientId(1), address(77), node.now);
    node.drive();
    assert_eq!(node.introductions(2)[0].addresses[0], address(77));
    let heard = node.heard(1);
    let Some(Message::Registered(Registered { reflexive, .. })) = heard.last() else { panic!("{heard:?}") };
    assert_eq!(*reflexive, Some(address(77)));
}

#[test]
fn who_goes_is_missed_and_who_comes_back_soon_is_not() {
    let (mut node, [to_two, to_one]) = Node::pair(Limits::default());
    node.wait(10 * SECOND, &[1, 2]);
    node.drop(1);
    assert_eq!(node.forward(address(2), to_one), Err(Dropped::Unreachable));
    node.wait(4 * SECOND, &[2]);
    node.connect_as(11, 1, address(11), Carrier::Udp);
    node.say(11, &register(ROOM, &[]));
    assert_eq!(node.introductions(11)[0].channel, to_two, "its channel is what it was");
    assert_eq!(node.forward(address(2), to_one), Ok((address(11), to_two)));
    assert!(!node.heard(2).iter().any(|message| matches!(message, Message::Gone(_))));
    node.drop(11);
    node.wait(6 * SECOND, &[2]);
    assert!(node.heard(2).iter().any(|message| matches!(message, Message::Gone(_))));
    assert_eq!(node.forward(address(2), to_one), Err(Dropped::UnknownChannel));
    assert_eq!(node.relay.channels(), 0);
    let figures = node.rendezvous.figures();
    assert_eq!((figures.clients, figures.parties, figures.rooms), (1, 1, 1));
}

#[test]
fn who_only_looks_in_is_not_kept() {
    let mut node = Node::new(Limits { rooms_max: 2, ..Limits::default() });
    for client in 1..100 {
        node.connect(client);
        node.say(client, &register(Room([u8::try_from(client).unwrap(); 32]), &[]));
        assert!(node.refusals(client).is_empty());
        node.drop(client);
    }
    let figures = node.rendezvous.figures();
    assert_eq!((figures.clients, figures.parties, figures.rooms), (0, 0, 0));
}

#[test]
fn who_does_not_register_again_is_gone() {
    let (mut node, _) = Node::pair(Limits::default());
    node.wait(61 * SECOND, &[2]);
    assert!(node.heard(2).iter().any(|message| matches!(message, Message::Gone(_))));
    assert_eq!(node.closed, [1], "it registered nowhere any more");
    node.say(2, &Message::Leave(Leave { room: ROOM }));
    node.wait(2 * SECOND, &[]);
    assert_eq!(node.rendezvous.figures().clients, 0);
    assert_eq!(
        node.rendezvous.poll_timeout().map(|at| at > node.now),
        Some(true),
        "a party without a connection"
    );
    node.wait(6 * SECOND, &[]);
    assert_eq!(node.rendezvous.poll_timeout(), None);
}

#[test]
fn another_connection_of_a_process_takes_the_place_of_the_first() {
    let (mut node, [to_two, to_one]) = Node::pair(Limits::default());
    node.connect_as(11, 1, address(11), Carrier::Udp);
    node.say(11, &register(ROOM, &[]));
    assert_eq!((node.refusals(1), &node.closed[..]), (vec![Reason::Replaced], &[1][..]));
    node.drop(1);
    assert_eq!(node.forward(address(11), to_two), Ok((address(2), to_one)));
    assert_eq!(node.forward(address(1), to_two), Err(Dropped::NotOwner));
}

#[test]
fn a_tunnel_is_a_second_leg() {
    let (mut node, [to_two, to_one]) = Node::pair(Limits::default());
    let tunnel: SocketAddr = "[fd00::1]:1".parse().unwrap();
    node.connect_as(11, 1, tunnel, Carrier::Tunnel);
    node.say(11, &register(ROOM, &[]));
    let heard = node.heard(11);
    assert!(matches!(heard[0], Message::Registered(Registered { reflexive: None, .. })));
    assert!(matches!(&heard[1], Message::Introduced(introduced) if introduced.channel == to_two));
    assert_eq!(node.forward(tunnel, to_two), Ok((address(2), to_one)));
    assert_eq!(node.forward(address(2), to_one), Ok((address(1), to_two)), "UDP while there is any");
    node.drop(1);
    assert_eq!(node.forward(address(2), to_one), Ok((tunnel, to_two)));
    assert!(node.closed.is_empty());
}

#[test]
fn what_is_too_much_is_refused() {
    let one = Limits { rooms_max: 2, members_max: 2, rooms_each_max: 2, ..Limits::default() };
    let (mut node, _) = Node::pair(one);
    node.connect(3);
    node.say(3, &register(ROOM, &[]));
    assert_eq!(node.refusals(3), [Reason::Full], "members");
    node.say(1, &register(Room([2; 32]), &[]));
    node.say(1, &register(Room([3; 32]), &[]));
    assert_eq!(node.refusals(1), [Reason::Full], "rooms of one process");
    node.say(3, &register(Room([3; 32]), &[]));
    assert_eq!(node.refusals(3), [Reason::Full], "rooms");
    assert!(node.closed.is_empty(), "what it has, each keeps");
    assert_eq!(node.rendezvous.figures().rooms, 2);

    let (mut node, _) = Node::pair(Limits { pairs_max: 2, ..Limits::default() });
    node.connect(3);
    node.say(3, &register(ROOM, &[]));
    assert_eq!(node.refusals(3), [Reason::Full], "pairs");

    let mut node = Node::new(Limits { clients_each_max: 2, clients_max: 3, ..Limits::default() });
    for client in [1, 2, 3] {
        node.connect_as(client, client, address(9), Carrier::Udp);
    }
    assert_eq!((node.refusals(3), &node.closed[..]), (vec![Reason::Full], &[3][..]), "from one address");
    for client in [4, 5] {
        node.connect(client);
    }
    assert_eq!(node.closed, [3, 5], "connections");
}

#[test]
fn what_no_client_says_ends_its_connection() {
    let leave = Message::Leave(Leave { room: ROOM });
    let mut other_instance = register(ROOM, &[]);
    if let Message::Register(register) = &mut other_instance {
        register.instance = InstanceId([99; 16]);
    }
    let gone = Message::Registered(Registered { room: ROOM, reflexive: None, relay: true, keep_ms: 1 });
    for message in [other_instance, gone] {
        let (mut node, [_, to_one]) = Node::pair(Limits::default());
        node.say(1, &message);
        assert_eq!((node.refusals(1), &node.closed[..]), (vec![Reason::Malformed], &[1][..]));
        node.say(1, &leave);
        assert!(node.heard(1).is_empty(), "nobody listens any more");
        assert_eq!(node.forward(address(2), to_one), Err(Dropped::UnknownChannel));
    }
    let mut node = Node::new(Limits::default());
    node.connect(1);
    node.rendezvous.handle_message(ClientId(1), b"\xff", node.now);
    node.drive();
    assert_eq!((node.refusals(1), &node.closed[..]), (vec![Reason::Malformed], &[1][..]));
    let mut node = Node::new(Limits::default());
    node.connect(1);
    node.wait(11 * SECOND, &[]);
    assert_eq!(node.closed, [1], "it said nothing");
}

#[test]
fn who_says_too_much_is_cut_off() {
    let (mut node, _) = Node::pair(Limits::default());
    for _ in 0..1000 {
        node.say(1, &register(ROOM, &[]));
    }
    assert_eq!(node.closed, [1]);
    assert!(node.heard(1).len() <= 220, "answers are as few");
    let (mut node, _) = Node::pair(Limits::default());
    node.wait(3600 * SECOND, &[1, 2]);
    assert!(node.closed.is_empty(), "one message a second is none too many");
}

#[test]
fn bytes_are_passed_between_the_two_of_a_channel() {
    let (mut node, [to_two, to_one]) = Node::pair(Limits::default());
    node.say(1, &Message::Pass(Pass { channel: to_two, data: b"hello".to_vec() }));
    assert_eq!(node.heard(2), [Message::Pass(Pass { channel: to_one, data: b"hello".to_vec() })]);
    node.say(1, &Message::Pass(Pass { channel: to_one, data: b"to myself".to_vec() }));
    node.say(1, &Message::Pass(Pass { channel: ChannelId(1), data: b"to nobody".to_vec() }));
    assert!(node.heard(1).is_empty() && node.heard(2).is_empty() && node.closed.is_empty());
}

#[test]
fn a_relay_forwards_between_the_two_of_a_channel_alone() {
    let (mut node, [to_two, to_one]) = Node::pair(Limits::default());
    assert_eq!(node.forward(address(1), to_two), Ok((address(2), to_one)));
    assert_eq!(node.forward(address(2), to_one), Ok((address(1), to_two)));
    assert_eq!(node.forward(address(2), to_two), Err(Dropped::NotOwner));
    assert_eq!(node.forward(address(9), to_two), Err(Dropped::NotOwner));
    assert_eq!(node.forward(address(1), ChannelId(5)), Err(Dropped::UnknownChannel));
    for bytes in [0, DATAGRAM_BYTES_MAX + 1] {
        assert_eq!(node.relay.forward(address(1), to_two, bytes, node.now), Err(Dropped::Length));
    }
    node.say(1, &Message::Leave(Leave { room: ROOM }));
    assert_eq!(node.forward(address(2), to_one), Err(Dropped::UnknownChannel));
    let counters = node.relay.counters();
    assert_eq!((counters.forwarded, counters.bytes), (2, 2400));
    assert_eq!((counters.not_owner, counters.unknown_channel, counters.length), (2, 2, 2));
}

#[test]
fn a_relay_bounds_what_each_and_all_send() {
    let forwarded = |limits| {
        let (mut node, [to_two, to_one]) = Node::pair(limits);
        for _ in 0..10_000 {
            node.now += Duration::from_micros(100);
            // The total is what the one leaves: its refusals must not be the other's.
            let sent =
                [(1, to_two), (2, to_one)].map(|(client, channel)| node.forward(address(client), channel));
            assert!(sent.iter().all(|sent| matches!(sent, Ok(_) | Err(Dropped::TooFast))));
        }
        node.relay.counters()
    };
    let limits = Limits::default();
    // A second, and a quarter of one at once.
    let counters = forwarded(Limits { packets_per_s: 1000, ..limits });
    assert!((2490..=2500).contains(&counters.forwarded), "{counters:?}");
    let counters = forwarded(Limits { bytes_per_s: 1_200_000, ..limits });
    assert!((2490..=2500).contains(&counters.forwarded), "{counters:?}");
    let counters = forwarded(Limits { total_bytes_per_s: 1_200_000, ..limits });
    assert!((1240..=1250).contains(&counters.forwarded), "{counters:?}");
    assert_eq!(counters.forwarded + counters.too_fast, 20_000);
}
