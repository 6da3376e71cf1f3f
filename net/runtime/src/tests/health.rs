//! What is told of paths and streams, and that who is gone is noticed within two seconds, and cleaned up.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use audiocloud_rt::block_ring::{Epoch, block_ring};
use audiocloud_rt::due::Due;
use audiocloud_rt::event::event_ring;
use audiocloud_rt::{host_time, snapshot};
use audiocloud_units::{MediaTime, Nanos, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{StreamId, StreamKey};

use super::rig::{Machine, Receiver, Sender, config, until, until_subscribed};
use crate::handle::SubscribeConfig;
use crate::identity::Identity;
use crate::{ExplicitPeer, Handle, Link, LossCause, PeerState, Runtime};

/// Within this, whoever is gone is known to be.
const NOTICED: Duration = Duration::from_secs(2);
const CONFIG: &str = "AUDIOCLOUD_TEST_HEALTH_CONFIG";
const RUNTIME: &str = "AUDIOCLOUD_TEST_HEALTH_RUNTIME";
const HEARD: &str = "AUDIOCLOUD_TEST_HEALTH_HEARD";
const STREAM: StreamId = StreamId(0x0123_4567_89ab_cdef);

/// A Receive whose playout says when frames are due.
fn receiver_with_playout(handle: &Handle, key: StreamKey) -> (Receiver, snapshot::Writer<Option<Due>>) {
    let (writer, reader) = snapshot::snapshot(None);
    let (blocks, blocks_out) = block_ring(4096, 1 << 20);
    let (events, events_out) = event_ring(256);
    let config = SubscribeConfig { due: Some(reader), ..SubscribeConfig::new(key) };
    let subscription = handle.subscribe(config, blocks, events, Box::new(|| serde_json::json!({})));
    (Receiver { subscription, blocks: blocks_out, events: events_out }, writer)
}

fn due(media: MediaTime) -> Option<Due> {
    Some(Due {
        epoch: Epoch(77),
        media,
        // Nothing is late.
        at: host_time::now() + Nanos::from_secs(1),
        sample_rate: SampleRate::new(48_000).unwrap(),
        hold: Nanos::from_millis(5),
        patience: Nanos::ZERO,
        latency: Nanos::from_micros(7_700),
        needs: None,
    })
}

#[test]
fn both_ends_tell_the_same_story_by_the_same_names() {
    let machine = Machine::new();
    let (one, two) = (machine.start("one"), machine.start("two"));
    let mut sender = Sender::new(&one, 2, 128, Codec::PcmS24);
    let (mut receiver, mut playout) = receiver_with_playout(&two, sender.key(&one));
    receiver.until_live();
    until_subscribed(&sender, 1);
    until("both ends know how it is heard", || {
        sender.block();
        std::thread::sleep(Duration::from_millis(2));
        receiver.check_blocks();
        playout.write(due(sender.header.start));
        let listeners = sender.publication.status().listeners;
        let there = listeners.first().and_then(|one| one.heard).map(|heard| (heard.heard_us, heard.hold_us));
        let here = receiver.subscription.status().figures;
        there == Some((7_700, 5_000)) && (here.heard_us, here.hold_us) == (7_700, 5_000)
    });
    let (sent, received) = (one.status_json(), two.status_json());
    let (publication, subscription) = (&sent["publications"][0], &received["subscriptions"][0]);
    let listener = &publication["listeners"][0];
    assert_eq!(listener["device"], two.device().to_string());
    assert_eq!((&listener["codec"], &listener["given_up"]), (&"pcm-s24".into(), &serde_json::Value::Null));
    assert!(listener["heard"]["age_ms"].as_u64().unwrap() < 1_000);
    assert_eq!(
        (&publication["counters"]["block_frames"], &subscription["block_frames_max"]),
        (&128.into(), &128.into())
    );
    for owned in [publication, subscription, listener] {
        assert_eq!(owned["losses"], serde_json::json!([]), "nothing was lost");
    }
    for path in [&listener["path"], &subscription["path"], &sent["peers"][0]["path"]] {
        let us = |field: &str| path[field].as_u64().unwrap();
        assert!(us("rtt_us") > 0 && us("one_way_us") <= us("rtt_us") && us("one_way_us") >= us("rtt_us") / 2);
        assert!(path["rate_cap_bps"].is_null(), "the loopback takes everything");
    }
    for field in [
        "gaps",
        "lost",
        "late",
        "recovered_resend",
        "recovered_repair",
        "recovered_fec",
        "concealed_codec",
        "duplicates",
        "reordered",
        "requests_sent",
        "jitter_us",
        "hold_us",
        "heard_us",
        "rate_bps",
    ] {
        assert!(subscription["counters"][field].is_u64(), "{field}");
    }
    let lane = [
        "packets",
        "bytes",
        "repeats",
        "repairs",
        "events_repeated",
        "requests_answered",
        "requests_too_old",
        "level",
        "rate_bps",
    ];
    assert!(lane.iter().all(|field| listener["counters"][field].is_u64()), "{listener}");
}

/// A path between two runtimes that can be cut.
struct Cuttable {
    address: SocketAddr,
    state: Arc<PathState>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct PathState {
    cut: AtomicBool,
    stopped: AtomicBool,
    caller: Mutex<Option<SocketAddr>>,
}

impl Cuttable {
    /// To the runtime on this port.
    fn to(port: u16) -> Self {
        let state = Arc::new(PathState::default());
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            Arc::new(socket)
        };
        let (near, far) = (socket(), socket());
        let address = near.local_addr().unwrap();
        let server = SocketAddr::from(([127, 0, 0, 1], port));
        let (there, back) = (Arc::clone(&far), Arc::clone(&near));
        let there = carry(near, Arc::clone(&state), move |state, bytes, peer| {
            *state.caller.lock().unwrap() = Some(peer);
            there.send_to(bytes, server).ok();
        });
        let back = carry(far, Arc::clone(&state), move |state, bytes, _| {
            if let Some(caller) = *state.caller.lock().unwrap() {
                back.send_to(bytes, caller).ok();
            }
        });
        Self { address, state, threads: vec![there, back] }
    }
}

/// Hands on what comes, while the path is whole.
fn carry(
    from: Arc<UdpSocket>,
    state: Arc<PathState>,
    send: impl Fn(&PathState, &[u8], SocketAddr) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = [0; 2048];
        while !state.stopped.load(Ordering::Relaxed) {
            let Ok((length, peer)) = from.recv_from(&mut bytes) else { continue };
            if !state.cut.load(Ordering::Relaxed) {
                send(&state, &bytes[..length], peer);
            }
        }
    })
}

impl Drop for Cuttable {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn is_connected(handle: &Handle) -> bool {
    handle.peers().iter().any(|peer| peer.state == PeerState::Connected)
}

fn is_timed_out(receiver: &Receiver) -> bool {
    matches!(receiver.subscription.status().link, Link::Lost { cause: LossCause::Timeout, .. })
}

fn is_served(sender: &Sender) -> bool {
    let status = sender.publication.status();
    status.subscribers > 0 || !status.listeners.is_empty()
}

#[test]
fn a_cut_path_is_noticed_at_both_ends_and_what_was_on_it_is_freed() {
    let (here, there) = (Machine::new(), Machine::new());
    let caller = Identity::load_or_create(there.config.path()).unwrap();
    let mut listening = here.config("one");
    listening.peers.push(ExplicitPeer { address: "127.0.0.1:9".to_owned(), key: caller.user().0 });
    let one = Runtime::acquire_with(listening).unwrap();
    let path = Cuttable::to(one.port());
    let mut calling = there.config("two");
    calling.peers.push(ExplicitPeer { address: path.address.to_string(), key: one.device().0 });
    let two = Runtime::acquire_with(calling).unwrap();
    let mut sender = Sender::new(&one, 2, 128, Codec::PcmS24);
    let mut receiver = Receiver::new(&two, sender.key(&one));
    let mut play = |receiver: &mut Receiver| {
        sender.block();
        std::thread::sleep(Duration::from_millis(2));
        (receiver.check_blocks() > 0, is_served(&sender))
    };
    until("it plays", || play(&mut receiver) == (true, true));
    path.state.cut.store(true, Ordering::Relaxed);
    let cut = Instant::now();
    until("both ends notice, and free what they had", || {
        let (_, served) = play(&mut receiver);
        is_timed_out(&receiver) && !served && !is_connected(&one) && !is_connected(&two)
    });
    assert!(cut.elapsed() < NOTICED, "{:?}", cut.elapsed());
    path.state.cut.store(false, Ordering::Relaxed);
    until("it plays again", || play(&mut receiver).0);
    assert_eq!(receiver.subscription.status().figures.reconnects, 1);
}

/// Only does something as a child of the test below: sends a stream, and listens to one.
#[test]
fn child_that_sends_and_listens() {
    let folders = std::env::var_os(CONFIG).zip(std::env::var_os(RUNTIME)).zip(std::env::var(HEARD).ok());
    let Some(((config_dir, runtime_dir), heard)) = folders else { return };
    let config = config(Path::new(&config_dir), Path::new(&runtime_dir), "child");
    let handle = Runtime::acquire_with(config).unwrap();
    let key = StreamKey::new(handle.device(), StreamId(u64::from_str_radix(&heard, 16).unwrap()));
    let mut receiver = Receiver::new(&handle, key);
    let mut sender = Sender::with_claim(&handle, handle.claim(STREAM).unwrap(), 2, 128, Codec::PcmF32);
    let began = Instant::now();
    // Killed long before, unless the parent has died first.
    while began.elapsed() < Duration::from_secs(60) {
        sender.block();
        receiver.check_blocks();
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_killed_peer_is_noticed_and_what_it_had_is_freed() {
    let machine = Machine::new();
    let handle = machine.start("survivor");
    let mut sender = Sender::new(&handle, 2, 128, Codec::PcmF32);
    let mut receiver = Receiver::new(&handle, StreamKey::new(handle.device(), STREAM));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::health::child_that_sends_and_listens", "--nocapture", "--test-threads=1"])
        .env(CONFIG, machine.config.path())
        .env(RUNTIME, machine.runtime.path())
        .env(HEARD, sender.publication.stream().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut play = |receiver: &mut Receiver| {
        sender.block();
        std::thread::sleep(Duration::from_millis(2));
        (receiver.check_blocks() > 0, is_served(&sender))
    };
    until("each hears the other", || play(&mut receiver) == (true, true));
    child.kill().unwrap();
    let killed = Instant::now();
    until("it is noticed, and what it had is freed", || {
        let (_, served) = play(&mut receiver);
        is_timed_out(&receiver) && !served && !is_connected(&handle)
    });
    assert!(killed.elapsed() < NOTICED, "{:?}", killed.elapsed());
    child.wait().unwrap();
}
