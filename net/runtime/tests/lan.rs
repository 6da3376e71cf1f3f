//! Two machines of one user on one cable: network namespaces joined by a virtual one, a whole runtime in
//! each.
#![cfg(target_os = "linux")]

mod namespace;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use audiocloud_rt::block_ring::{Consumer, Epoch, Flags, Header, block_ring};
use audiocloud_rt::event::event_ring;
use audiocloud_rt::host_time;
use audiocloud_runtime::{Config, Handle, Link, PeerState, PublishConfig, Runtime, SubscribeConfig};
use audiocloud_units::{MediaTime, Nanos, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{DeviceId, StreamId, StreamKey};
use namespace::ip;

const STREAM: StreamId = StreamId(0x77);
const FRAMES: u32 = 128;
const RATE_HZ: u32 = 48_000;
const WITHIN: Duration = Duration::from_secs(15);
const FOLDER: &str = "AUDIOCLOUD_TEST_LAN_FOLDER";

/// A runtime as on a machine of its own: folders apart, found by multicast alone.
fn runtime(folder: &Path, interface: &str) -> Handle {
    let mut config = Config::in_folders(&folder.join("config"), &folder.join("run"));
    config.name = interface.to_owned();
    config.interfaces = vec![interface.to_owned()];
    Runtime::acquire_with(config).unwrap()
}

/// What both ends know the sample of a frame to be.
fn sample(frame: u64) -> f32 {
    f32::from(u16::try_from(frame % 65_521).unwrap()) / 65_536.0
}

/// Not a test by itself: the other machine. It publishes from when it is told that its cable is plugged in
/// until it is told to end.
#[test]
fn the_other_machine() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let order = || std::io::stdin().read_line(&mut String::new());
    println!("ready");
    order().unwrap();
    ip("address add 10.77.0.2/24 dev lanb");
    ip("link set lanb up");
    let handle = runtime(Path::new(&folder), "lanb");
    println!("device {}", handle.device());
    let (mut blocks, blocks_out) = block_ring(64, 64 * 128);
    let (_events, events_out) = event_ring(16);
    let sample_rate = SampleRate::new(RATE_HZ).unwrap();
    let config = PublishConfig {
        name: "Over the cable".to_owned(),
        sample_rate,
        channels: 1,
        codec: Codec::PcmF32,
        codecs: Vec::new(),
        bitrate_max_bps: 0,
        max_block: FRAMES,
        session: None,
        purpose: audiocloud_wire::message::Purpose::Play,
    };
    let claim = handle.claim(STREAM).unwrap();
    let publication =
        handle.publish(claim, config, blocks_out, events_out, Box::new(|| serde_json::Value::Null));
    let ended = std::thread::spawn(order);
    let waker = handle.waker();
    let began = Instant::now();
    let mut start = 0_u64;
    while !ended.is_finished() {
        let header = Header {
            epoch: Epoch(1),
            sample_rate,
            start: MediaTime::new(start),
            frames: FRAMES,
            first_channel: 0,
            channels: 1,
            stream_channels: 1,
            host_time: host_time::now(),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        blocks
            .try_push(&header, |_, from, piece| {
                for (frame, to) in (start + u64::try_from(from).unwrap()..).zip(piece) {
                    *to = sample(frame);
                }
            })
            .unwrap();
        waker.wake();
        start += u64::from(FRAMES);
        // As a sound card paces: by the time that has passed, not by the length of sleeps.
        let due = Duration::from_micros(start * 1_000_000 / u64::from(RATE_HZ));
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    drop(publication);
}

struct OtherMachine {
    process: Child,
    orders: ChildStdin,
    device: DeviceId,
}

impl OtherMachine {
    /// Starts it, and joins it to this machine by a cable: `lana` is our end.
    fn start(folder: &Path) -> Self {
        let mut process = namespace::unshare(&[], "the_other_machine")
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut orders = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(answers.any(|line| line.contains("ready")));
        ip(&format!("link add lana type veth peer name lanb netns {}", process.id()));
        ip("address add 10.77.0.1/24 dev lana");
        ip("link set lana up");
        writeln!(orders, "the cable is in").unwrap();
        let device = answers.find_map(|line| line.split("device ").nth(1).map(str::to_owned)).unwrap();
        std::thread::spawn(move || answers.for_each(drop));
        Self { process, orders, device: device.parse().unwrap() }
    }

    fn end(mut self) {
        writeln!(self.orders, "end").unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

/// Waits for something to become true, and tells how long it took.
fn wait_until(what: &str, within: Duration, handle: &Handle, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < within, "not {what}; log: {:#?}", handle.events_log());
        std::thread::sleep(Duration::from_millis(2));
    }
    println!("{what} after {} ms", started.elapsed().as_millis());
}

/// Checks every sample of whatever is there; how many frames that were.
fn play(blocks: &mut Consumer, next: &mut Option<u64>) -> u64 {
    let mut frames = 0;
    while blocks
        .try_pop(|header, samples| {
            let start = header.start.get();
            let end = start + u64::from(header.frames);
            assert_eq!(next.replace(end).unwrap_or(start), start, "no frame is missing or comes twice");
            for (index, frame) in (start..end).enumerate() {
                assert_eq!(samples.get(0, index).to_bits(), sample(frame).to_bits());
            }
            frames += u64::from(header.frames);
        })
        .is_some()
    {}
    frames
}

#[test]
fn machines_of_one_user_find_each_other_by_multicast_and_stream() {
    if !namespace::enter("machines_of_one_user_find_each_other_by_multicast_and_stream") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("a"), folder.path().join("b"));
    // The second machine becomes the user's by a copy of the user's key.
    audiocloud_runtime::identity::Identity::load_or_create(&here.join("config")).unwrap();
    std::fs::create_dir_all(there.join("config")).unwrap();
    std::fs::copy(here.join("config/user.key"), there.join("config/user.key")).unwrap();

    let other = OtherMachine::start(&there);
    let handle = runtime(&here, "lana");
    let key = StreamKey::new(other.device, STREAM);
    let entry = || handle.streams().into_iter().find(|entry| entry.key == key);
    wait_until("found", WITHIN, &handle, || entry().is_some());
    let entry = entry().unwrap();
    let told = (entry.name.as_str(), entry.publisher_name.as_str(), entry.local);
    assert_eq!(told, ("Over the cable", "lanb", false));

    let (blocks_in, mut blocks) = block_ring(256, 256 * 512);
    let (events_in, _events) = event_ring(16);
    let subscription = handle.subscribe(
        SubscribeConfig::new(key),
        blocks_in,
        events_in,
        Box::new(|| serde_json::Value::Null),
    );
    let (mut frames, mut next) = (0, None);
    wait_until("a second played", WITHIN, &handle, || {
        frames += play(&mut blocks, &mut next);
        frames >= u64::from(RATE_HZ)
    });
    let mut peers = handle.peers();
    // The other's further addresses may be tried still.
    peers.retain(|peer| peer.state == PeerState::Connected);
    assert_eq!(peers.len(), 1, "{peers:#?}");
    assert!(peers[0].address.ip().to_canonical().to_string().starts_with("10.77.0."), "{peers:#?}");
    assert_eq!(peers[0].device, Some(other.device));

    ip("link set lana down");
    wait_until("lost", WITHIN, &handle, || matches!(subscription.status().link, Link::Lost { .. }));
    play(&mut blocks, &mut next);
    ip("link set lana up");
    let mut next = None;
    wait_until("playing again", WITHIN, &handle, || play(&mut blocks, &mut next) > 0);

    other.end();
    let ending = Instant::now();
    drop((subscription, handle));
    println!("ended within {} ms", ending.elapsed().as_millis());
    assert!(ending.elapsed() < Duration::from_millis(300));
    // Whoever dialled remembers where that worked.
    let files = [&here, &there].map(|folder| std::fs::read_to_string(folder.join("config/last_peers.json")));
    let remembered: String = files.into_iter().flatten().collect();
    assert!(remembered.contains("10.77.0."), "{remembered}");
}
