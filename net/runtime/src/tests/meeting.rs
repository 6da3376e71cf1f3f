//! Peers that a node introduced, over the loopback interface: straight, by its relay, by its relay over TCP, and from one
//! way to another while a stream runs.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use audiocloud_traversal::frame::relayed_header;
use audiocloud_traversal::ways::Way;
use audiocloud_wire::codec::Codec;

use super::rig::{Machine, PATIENCE, Receiver, Sender};
use crate::status::lock;
use crate::{Config, Handle, MeetingPoint, Runtime, Serve};

const FRAMES: u32 = 128;
const RATE_HZ: u64 = 48_000;

/// A node and two machines of one user who know nothing of each other but the node.
struct Stage {
    node: Handle,
    one: Handle,
    two: Handle,
    _machines: [Machine; 3],
}

impl Stage {
    fn new(wall: impl Fn(SocketAddr) -> Option<Vec<SocketAddr>>) -> Self {
        let machines = [Machine::new(), Machine::new(), Machine::new()];
        let [first, second, third] = &machines;
        let tcp = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let serve = Some(Serve { rendezvous: true, relay: true, tcp });
        let node = Runtime::acquire_with(Config { serve, ..first.config("node") }).unwrap();
        crate::identity::Identity::load_or_create(second.config.path()).unwrap();
        let key = "user.key";
        std::fs::copy(second.config.path().join(key), third.config.path().join(key)).unwrap();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, node.port()));
        let point =
            MeetingPoint { address: at.to_string(), device: node.device().0, tls_port: node.tunnel_port() };
        let start = |machine: &Machine, name| {
            let config = Config { meeting: vec![point.clone()], ..machine.config(name) };
            let handle = Runtime::acquire_with(config).unwrap();
            *lock(&handle.paths().wall) = wall(at);
            handle
        };
        let (one, two) = (start(second, "one"), start(third, "two"));
        Self { node, one, two, _machines: machines }
    }

    fn node_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.node.port()))
    }

    /// Lets the two reach these alone.
    fn wall(&self, open: Option<Vec<SocketAddr>>) {
        for handle in [&self.one, &self.two] {
            lock(&handle.paths().wall).clone_from(&open);
        }
    }

    fn way(&self) -> String {
        let peers = self.two.peers();
        let peer = peers.iter().find(|peer| peer.device == Some(self.one.device()) && !peer.way.is_empty());
        peer.map_or_else(String::new, |peer| peer.way.clone())
    }

    fn forwarded(&self) -> u64 {
        self.node.paths().forwarded.load(Ordering::Relaxed)
    }
}

/// A stream in real time from one to the other, whose frames are counted.
struct Stream {
    sender: Sender,
    receiver: Receiver,
    began: Instant,
    sent: u64,
    next: Option<u64>,
    /// What has not come: from the first frame to after the last.
    missing: Vec<Range<u64>>,
}

impl Stream {
    fn new(stage: &Stage) -> Self {
        let sender = Sender::new(&stage.one, 1, FRAMES, Codec::PcmF32);
        let key = sender.key(&stage.one);
        let receiver = Receiver::new(&stage.two, key);
        Self { sender, receiver, began: Instant::now(), sent: 0, next: None, missing: Vec::new() }
    }

    fn live(stage: &Stage) -> Self {
        let mut stream = Self::new(stage);
        stream.receiver.until_live();
        stream.began = Instant::now();
        stream
    }

    /// Sends and receives for as long as `more` says, at the pace of a sound card.
    fn run(&mut self, what: &str, mut more: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while more(self) {
            assert!(Instant::now() < deadline, "this did not end: {what}");
            self.sender.block();
            self.sent += u64::from(FRAMES);
            let due = Duration::from_micros(self.sent * 1_000_000 / RATE_HZ);
            std::thread::sleep(due.saturating_sub(self.began.elapsed()));
            self.take();
        }
    }

    fn run_for(&mut self, time: Duration) {
        let began = Instant::now();
        self.run("some time", |_| began.elapsed() < time);
    }

    fn take(&mut self) {
        for (start, end) in self.receiver.frames() {
            let next = self.next.unwrap_or(start);
            // What is overtaken, or asked for again, fills what it left.
            let rest = |gap: &Range<u64>| [gap.start..start.min(gap.end), end.max(gap.start)..gap.end];
            self.missing = self.missing.iter().flat_map(rest).filter(|gap| !gap.is_empty()).collect();
            if start > next {
                self.missing.push(next..start);
            }
            self.next = Some(end.max(next));
        }
    }

    /// What never came since the last time that this was asked, in milliseconds.
    fn take_gaps_ms(&mut self) -> Vec<u64> {
        let gaps = std::mem::take(&mut self.missing).into_iter();
        gaps.map(|gap| ((gap.end - gap.start) * 1000).div_ceil(RATE_HZ)).collect()
    }
}

#[test]
fn who_is_introduced_is_connected_straight() {
    let began = Instant::now();
    let stage = Stage::new(|_| None);
    let mut stream = Stream::live(&stage);
    println!("live after {:?}", began.elapsed());
    stream.run_for(Duration::from_millis(300));
    assert_eq!(stage.way(), "direct");
    assert_eq!(stream.take_gaps_ms(), [0; 0]);
}

#[test]
fn who_has_no_direct_way_is_connected_by_relay() {
    let began = Instant::now();
    let stage = Stage::new(|node| Some(vec![node]));
    let mut stream = Stream::live(&stage);
    println!("live after {:?}", began.elapsed());
    stream.run_for(Duration::from_millis(300));
    assert_eq!(stage.way(), "by relay");
    assert!(stage.forwarded() > 50, "{} datagrams went by the relay", stage.forwarded());
    assert_eq!(stream.take_gaps_ms(), [0; 0]);
}

#[test]
fn who_has_no_udp_is_connected_by_relay_over_tcp() {
    let began = Instant::now();
    let stage = Stage::new(|_| Some(Vec::new()));
    let mut stream = Stream::live(&stage);
    let taken = began.elapsed();
    println!("live after {taken:?}");
    stream.run_for(Duration::from_millis(300));
    assert_eq!(stage.way(), "by relay over TCP, which takes longer");
    assert!(taken < Duration::from_secs(5), "live after {taken:?}");
    assert!(stage.forwarded() > 50, "{} datagrams went by the relay", stage.forwarded());
    assert_eq!(stream.take_gaps_ms(), [0; 0]);
}

#[test]
fn who_has_udp_again_leaves_tcp_within_seconds() {
    let stage = Stage::new(|_| Some(Vec::new()));
    let mut stream = Stream::live(&stage);
    stream.run_for(Duration::from_millis(300));
    assert_eq!(stage.way(), "by relay over TCP, which takes longer");
    stream.take_gaps_ms();
    let opened = Instant::now();
    stage.wall(Some(vec![stage.node_address()]));
    stream.run("moved to UDP", |_| stage.way() != "by relay");
    let taken = opened.elapsed();
    println!("moved after {taken:?}");
    assert!(taken < Duration::from_secs(3), "moved after {taken:?}");
    stream.run_for(Duration::from_millis(300));
    assert_eq!(stream.take_gaps_ms(), [0; 0], "moved without a gap");
}

#[test]
fn a_stream_moves_to_the_direct_way_and_back() {
    let stage = Stage::new(|node| Some(vec![node]));
    let node = stage.node_address();
    let mut stream = Stream::live(&stage);
    stream.run_for(Duration::from_millis(300));
    stream.take_gaps_ms();
    let opened = Instant::now();
    stage.wall(None);
    stream.run("moved to the direct way", |_| stage.way() != "direct");
    println!("moved after {:?}", opened.elapsed());
    stream.run_for(Duration::from_millis(300));
    assert_eq!(stream.take_gaps_ms(), [0; 0], "moved without a gap");
    stage.wall(Some(vec![node]));
    stream.run("moved back", |_| stage.way() != "by relay");
    stream.run_for(Duration::from_millis(300));
    let gaps = stream.take_gaps_ms();
    println!("gaps in ms: {gaps:?}");
    assert!(gaps.iter().sum::<u64>() <= 100, "gaps in ms: {gaps:?}");
}

#[test]
fn a_relay_forwards_nothing_for_strangers_even_if_they_know_a_channel() {
    let stage = Stage::new(|node| Some(vec![node]));
    let mut stream = Stream::live(&stage);
    let way = {
        let peers = stage.one.paths().peers();
        let two = peers.find(stage.two.device(), stage.two.instance()).unwrap();
        peers.get(two).unwrap().way()
    };
    let Some(Way::Relay { channel, .. }) = way else { panic!("{way:?}") };
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let frame = [&relayed_header(channel)[..], &[0x40; 1000]].concat();
    for _ in 0..100 {
        stranger.send_to(&frame, stage.node_address()).unwrap();
    }
    let refused = || stage.node.paths().not_forwarded.load(Ordering::Relaxed);
    stream.run("all are refused", |_| refused() < 100);
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.recv_from(&mut [0; 9]).is_err(), "nobody is answered");
    assert_eq!(stage.two.figures().garbage_datagrams, 0, "nothing arrived");
    assert_eq!(stream.take_gaps_ms(), [0; 0]);
}
