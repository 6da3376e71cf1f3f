//! Two machines of one user behind translators of addresses: introduced by a node, straight where that is possible, by its
//! relay where it is not, over TCP where UDP is dropped; and from one way to another while a stream runs.
//!
//! The runtimes are in this process, each in a network namespace of its own.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use audiocloud_e2e::net::{Cut, Host, Nat, Net};
use audiocloud_net::runtime::{
    Config, Handle, MeetingPoint, PublishConfig, Runtime, Serve, SubscribeConfig, Subscription,
    identity::Identity,
};
use audiocloud_net::wire::codec::Codec;
use audiocloud_net::wire::id::StreamKey;
use audiocloud_net::wire::message::Purpose;
use audiocloud_rt::block_ring::{self, Epoch, Flags, Header, block_ring};
use audiocloud_rt::event::event_ring;
use audiocloud_rt::host_time;
use audiocloud_units::{Frames, MediaTime, Nanos, SampleRate};
use serde_json::Value;
use tempfile::TempDir;

const UDP_PORT: u16 = 4460;
const TLS_PORT: u16 = 443;
/// Of a packet: 2.7 ms.
const FRAMES: u32 = 128;
const RATE_HZ: u32 = 48_000;
/// Names that nobody on the way may read.
const NAMES: [&str; 3] = ["Ingrids machine", "Jonathans machine", "A bass line nobody may read"];
const PATIENCE: Duration = Duration::from_secs(20);

fn config(folder: &Path, name: &str) -> Config {
    let mut config = Config::in_folders(&folder.join("config"), &folder.join("run"));
    config.name = name.to_owned();
    config.mdns = false;
    config
}

/// A node that everybody can reach.
struct Node {
    host: Host,
    folder: TempDir,
    handle: Option<Handle>,
}

impl Node {
    fn new(net: &mut Net) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut node = Self { host: net.host("node"), folder, handle: None };
        node.start();
        node
    }

    fn start(&mut self) {
        let mut config = config(self.folder.path(), "node");
        config.bind = (Ipv4Addr::UNSPECIFIED, UDP_PORT).into();
        let tcp = Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, TLS_PORT)));
        config.serve = Some(Serve { rendezvous: true, relay: true, tcp });
        self.handle = Some(self.host.within(|| Runtime::acquire_with(config)).expect("a node"));
    }

    fn point(&self) -> MeetingPoint {
        let identity = Identity::load_or_create(&self.folder.path().join("config")).expect("an identity");
        MeetingPoint {
            address: format!("{}:{UDP_PORT}", self.host.public),
            device: identity.device().0,
            tls_port: Some(TLS_PORT),
        }
    }
}

/// A stream in real time from one machine to another, at the pace of a sound card.
struct Stream {
    one: Handle,
    two: Handle,
    sending: Option<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
    _subscription: Subscription,
    blocks: block_ring::Consumer,
    next: Option<u64>,
    /// What has not come: from the first frame to after the last.
    missing: Vec<Range<u64>>,
    /// How far ahead of the one before a packet was, in frames: what a playout without patience would have to conceal.
    jumps: Vec<u64>,
    /// When both were there, and how long it took from then until sound came.
    took: Duration,
    _folders: [TempDir; 2],
}

impl Stream {
    fn new(node: &Node, hosts: [&Host; 2]) -> Self {
        let folders = [tempfile::tempdir(), tempfile::tempdir()].map(|folder| folder.expect("a folder"));
        let [one, two] = [0, 1].map(|at: usize| {
            let mut config = config(folders[at].path(), NAMES[at]);
            config.meeting = vec![node.point()];
            config
        });
        Identity::load_or_create(&one.config_dir).expect("an identity");
        fs::create_dir_all(&two.config_dir).expect("a folder");
        fs::copy(one.config_dir.join("user.key"), two.config_dir.join("user.key")).expect("the user's key");
        let [near, far] = hosts;
        let one = near.within(|| Runtime::acquire_with(one)).expect("a runtime");
        let ended = Arc::new(AtomicBool::new(false));
        let (key, sending) = send(&one, Arc::clone(&ended));
        let began = Instant::now();
        let two = far.within(|| Runtime::acquire_with(two)).expect("a runtime");
        let (blocks, blocks_out) = block_ring(4096, 1 << 20);
        let (events, _) = event_ring(16);
        let report = Box::new(|| Value::Null);
        let subscription = two.subscribe(SubscribeConfig::new(key), blocks, events, report);
        let mut stream = Self {
            one,
            two,
            sending: Some(sending),
            ended,
            _subscription: subscription,
            blocks: blocks_out,
            next: None,
            missing: Vec::new(),
            jumps: Vec::new(),
            took: Duration::ZERO,
            _folders: folders,
        };
        stream.run_until("sound", |stream| stream.next.is_some());
        stream.took = began.elapsed();
        stream
    }

    fn take(&mut self) {
        let range = |header: &Header, _: block_ring::Samples<'_>| {
            (header.start.get(), header.start.get() + u64::from(header.frames))
        };
        while let Some((start, end)) = self.blocks.try_pop(range) {
            let next = self.next.unwrap_or(start);
            // What is overtaken, or asked for again, fills what it left.
            let rest = |gap: &Range<u64>| [gap.start..start.min(gap.end), end.max(gap.start)..gap.end];
            self.missing = self.missing.iter().flat_map(rest).filter(|gap| !gap.is_empty()).collect();
            if start > next {
                self.missing.push(next..start);
                self.jumps.push(start - next);
            }
            self.next = Some(end.max(next));
        }
    }

    /// Takes what comes until something is so; how long that took.
    fn run_until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !is_so(self) {
            let logs = || format!("{:#?}\n{:#?}", self.one.events_log(), self.two.events_log());
            assert!(began.elapsed() < PATIENCE, "{what} did not happen; {}", logs());
            std::thread::sleep(Duration::from_millis(1));
            self.take();
        }
        began.elapsed()
    }

    fn run_for(&mut self, time: Duration) {
        let began = Instant::now();
        self.run_until("time", |_| began.elapsed() >= time);
    }

    /// Until sound comes that was sent from now on; how long that took.
    fn run_until_sound(&mut self) -> Duration {
        self.take();
        let before = self.next;
        self.run_until("sound", |stream| stream.next > before)
    }

    /// What never came since the last time that this was asked, in milliseconds.
    fn take_gaps_ms(&mut self) -> Vec<u64> {
        let gaps = std::mem::take(&mut self.missing).into_iter();
        gaps.map(|gap| ((gap.end - gap.start) * 1000).div_ceil(u64::from(RATE_HZ))).collect()
    }

    /// Jumps since the last time that this was asked, in milliseconds.
    fn take_jumps_ms(&mut self) -> Vec<u64> {
        let jumps = std::mem::take(&mut self.jumps).into_iter();
        jumps.map(|frames| (frames * 1000).div_ceil(u64::from(RATE_HZ))).collect()
    }

    fn way(&self) -> String {
        let device = Some(self.one.device());
        let peers = self.two.peers();
        let peer = peers.iter().find(|peer| peer.device == device && !peer.way.is_empty());
        peer.map_or_else(String::new, |peer| peer.way.clone())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(sending) = self.sending.take() {
            sending.join().ok();
        }
    }
}

/// A Send without a host.
fn send(handle: &Handle, ended: Arc<AtomicBool>) -> (StreamKey, JoinHandle<()>) {
    let sample_rate = SampleRate::new(RATE_HZ).expect("a rate");
    let (mut blocks, blocks_out) = block_ring(256, 256 * 128);
    let (events, events_out) = event_ring(16);
    let claim = handle.claim(handle.random_stream()).expect("an id");
    let key = StreamKey::new(handle.device(), claim.stream());
    let config = PublishConfig {
        name: NAMES[2].to_owned(),
        sample_rate,
        channels: 1,
        codec: Codec::PcmF32,
        codecs: Vec::new(),
        bitrate_max_bps: 0,
        max_block: FRAMES,
        session: None,
        purpose: Purpose::Play,
    };
    let publication = handle.publish(claim, config, blocks_out, events_out, Box::new(|| Value::Null));
    let waker = handle.waker();
    let sending = std::thread::spawn(move || {
        let _held = (publication, events);
        let began = Instant::now();
        let mut header = Header {
            epoch: Epoch(1),
            sample_rate,
            start: MediaTime::new(0),
            frames: FRAMES,
            first_channel: 0,
            channels: 1,
            stream_channels: 1,
            host_time: host_time::now(),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        while !ended.load(Ordering::Relaxed) {
            header.host_time = host_time::now();
            blocks.try_push(&header, |_, _, piece| piece.fill(0.625)).expect("room for a block");
            waker.wake();
            header.start += Frames::new(i64::from(FRAMES));
            let due = Duration::from_micros(header.start.get() * 1_000_000 / u64::from(RATE_HZ));
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    });
    (key, sending)
}

fn contains(capture: &[u8], needle: &[u8]) -> bool {
    capture.windows(needle.len()).any(|bytes| bytes == needle)
}

#[test]
fn translators_that_keep_ports_are_punched_through() {
    let Some(mut net) = Net::new("translators_that_keep_ports_are_punched_through") else { return };
    let node = Node::new(&mut net);
    let [one, two] = ["one", "two"].map(|name| net.behind(name, Nat::PortPreserving));
    let mut stream = Stream::new(&node, [&one, &two]);
    let took = stream.took + stream.run_until("a direct way", |stream| stream.way() == "direct");
    println!("sound after {:?}, direct after {took:?}", stream.took);
    assert!(took < Duration::from_secs(3), "direct after {took:?}");
    stream.run_for(Duration::from_millis(500));
    assert_eq!(stream.take_gaps_ms(), [0; 0]);
}

#[test]
fn random_ports_are_relayed_and_the_relay_reads_nothing() {
    let Some(mut net) = Net::new("random_ports_are_relayed_and_the_relay_reads_nothing") else { return };
    let node = Node::new(&mut net);
    let folder = tempfile::tempdir().expect("a folder");
    let capture = node.host.capture(&folder.path().join("capture"));
    let [one, two] = ["one", "two"].map(|name| net.behind(name, Nat::Symmetric));
    let mut stream = Stream::new(&node, [&one, &two]);
    println!("sound after {:?}", stream.took);
    assert!(stream.took < Duration::from_secs(3), "sound after {:?}", stream.took);
    stream.run_for(Duration::from_millis(1000));
    assert_eq!((stream.way().as_str(), stream.take_gaps_ms()), ("by relay", Vec::new()));
    let capture = capture.stop();
    let packets = u64::from(RATE_HZ / FRAMES);
    assert!(capture.len() > 500 * usize::try_from(packets).unwrap(), "{} bytes were captured", capture.len());
    let ids = [stream.one.device().0, stream.two.device().0, stream.one.user().0];
    let hexadecimal = [stream.one.device(), stream.two.device()].map(|id| id.to_string());
    let secrets = NAMES.iter().map(|name| name.as_bytes());
    let secrets = secrets.chain(ids.iter().map(|id| &id[..])).chain(hexadecimal.iter().map(String::as_bytes));
    for secret in secrets {
        assert!(!contains(&capture, secret), "{} can be read", String::from_utf8_lossy(secret));
    }
    for samples in [0.625_f32.to_le_bytes(), 0.625_f32.to_be_bytes()] {
        assert!(!contains(&capture, &samples.repeat(4)), "the sound can be heard");
    }
    let IpAddr::V4(public) = one.public else { panic!("a translator's address is of IPv4") };
    assert!(contains(&capture, &public.octets()), "this would have been seen");
}

#[test]
fn a_direct_way_that_opens_later_is_taken_without_a_gap_and_left_with_a_short_one() {
    let test = "a_direct_way_that_opens_later_is_taken_without_a_gap_and_left_with_a_short_one";
    let Some(mut net) = Net::new(test) else { return };
    let node = Node::new(&mut net);
    let [one, two] = ["one", "two"].map(|name| net.behind(name, Nat::PortPreserving));
    let between = Cut::Between(one.public, two.public);
    net.cut(between);
    let mut stream = Stream::new(&node, [&one, &two]);
    assert_eq!(stream.way(), "by relay");
    for round in 1..=2 {
        stream.run_for(Duration::from_millis(500));
        assert_eq!(stream.take_gaps_ms(), [0; 0], "round {round}");
        net.mend(between);
        let took = stream.run_until("a direct way", |stream| stream.way() == "direct");
        stream.run_for(Duration::from_millis(500));
        let gaps = stream.take_gaps_ms();
        println!("round {round}: opened, taken after {took:?}, missing {gaps:?}");
        assert_eq!(gaps, [0; 0], "round {round}");
        stream.take_jumps_ms();
        net.cut(between);
        let took = stream.run_until("the relay again", |stream| stream.way() == "by relay");
        stream.run_for(Duration::from_millis(500));
        let (gaps, jumps) = (stream.take_gaps_ms(), stream.take_jumps_ms());
        println!(
            "round {round}: closed, left after {took:?}, gap {jumps:?} ms, of which never came {gaps:?} ms"
        );
        assert!(jumps.len() <= 1 && jumps.iter().all(|gap| *gap <= 100), "round {round}: {jumps:?} ms");
        assert!(gaps.len() <= 1, "round {round}: {gaps:?} ms");
    }
}

#[test]
fn where_udp_is_dropped_sound_goes_over_tcp() {
    let Some(mut net) = Net::new("where_udp_is_dropped_sound_goes_over_tcp") else { return };
    let node = Node::new(&mut net);
    let [one, two] = ["one", "two"].map(|name| net.behind(name, Nat::PortPreserving));
    let cuts = [Cut::Udp(one.public), Cut::Udp(two.public)];
    cuts.iter().for_each(|cut| net.cut(*cut));
    let mut stream = Stream::new(&node, [&one, &two]);
    println!("sound after {:?}", stream.took);
    assert!(stream.took < Duration::from_secs(5), "sound after {:?}", stream.took);
    stream.run_for(Duration::from_millis(500));
    let tcp = "by relay over TCP, which takes longer";
    assert_eq!((stream.way().as_str(), stream.take_gaps_ms()), (tcp, Vec::new()));
    // It is let through later.
    cuts.iter().for_each(|cut| net.mend(*cut));
    let took = stream.run_until("a direct way", |stream| stream.way() == "direct");
    stream.run_for(Duration::from_millis(500));
    let gaps = stream.take_gaps_ms();
    println!("direct after {took:?}, missing {gaps:?} ms");
    assert_eq!(gaps, [0; 0]);
    // And dropped in mid-stream.
    cuts.iter().for_each(|cut| net.cut(*cut));
    stream.run_for(Duration::from_millis(100));
    let took = stream.run_until_sound();
    println!("UDP dropped in mid-stream: sound again after {took:?}");
    assert!(took < Duration::from_secs(5), "sound after {took:?}");
}

#[test]
fn a_changed_address_and_a_node_that_starts_again_heal() {
    let Some(mut net) = Net::new("a_changed_address_and_a_node_that_starts_again_heal") else { return };
    let mut node = Node::new(&mut net);
    let [mut one, two] = ["one", "two"].map(|name| net.behind(name, Nat::PortPreserving));
    let mut stream = Stream::new(&node, [&one, &two]);
    stream.run_until("a direct way", |stream| stream.way() == "direct");
    stream.run_for(Duration::from_millis(500));
    stream.take_gaps_ms();
    node.handle = None;
    stream.run_for(Duration::from_secs(2));
    node.start();
    stream.run_for(Duration::from_secs(2));
    let gaps = stream.take_gaps_ms();
    println!("the node started again: missing {gaps:?} ms");
    assert_eq!(gaps, [0; 0], "a direct stream does not need the node");
    one.renumber();
    let took = stream.run_until_sound();
    stream.run_for(Duration::from_secs(2));
    let gaps = stream.take_gaps_ms();
    println!("another address: sound again after {took:?}, missing {gaps:?} ms");
    assert!(gaps.iter().sum::<u64>() <= 2000, "{gaps:?}");
}
