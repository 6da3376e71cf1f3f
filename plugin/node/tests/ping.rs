//! `audiocloud ping` while audio runs both ways between two machines, whose playouts say how long they take.

use std::process::Command;
use std::time::{Duration, Instant};

use audiocloud_engine::rt::block_ring::{self, Epoch, Flags, Header, block_ring};
use audiocloud_engine::rt::due::Due;
use audiocloud_engine::rt::event::{self, event_ring};
use audiocloud_engine::rt::{host_time, snapshot};
use audiocloud_engine::units::{Frames, MediaTime, Nanos, SampleRate};
use audiocloud_net::runtime::identity::Identity;
use audiocloud_net::runtime::{
    Config, ExplicitPeer, Handle, Publication, PublishConfig, Runtime, SubscribeConfig, Subscription,
};
use audiocloud_net::wire::codec::Codec;
use audiocloud_net::wire::id::StreamKey;
use serde_json::Value;

/// From a packet's arrival until it is heard, of every playout here.
const HEARD: Nanos = Nanos::from_millis(7);
const BLOCK: u32 = 96;
const BLOCK_US: u64 = 2_000;

struct Sender {
    publication: Publication,
    blocks: block_ring::Producer,
    _events: event::Producer,
    header: Header,
}

impl Sender {
    fn new(handle: &Handle, name: &str) -> Self {
        let sample_rate = SampleRate::new(48_000).unwrap();
        let (blocks, blocks_out) = block_ring(64, 1 << 16);
        let (events, events_out) = event_ring(16);
        let config = PublishConfig {
            name: name.to_owned(),
            sample_rate,
            channels: 2,
            codec: Codec::PcmS24,
            codecs: Vec::new(),
            bitrate_max_bps: 0,
            max_block: BLOCK,
            session: None,
            purpose: audiocloud_net::wire::message::Purpose::Play,
        };
        let claim = handle.claim(handle.random_stream()).unwrap();
        let publication = handle.publish(claim, config, blocks_out, events_out, Box::new(|| Value::Null));
        let header = Header {
            epoch: Epoch(5),
            sample_rate,
            start: MediaTime::new(0),
            frames: BLOCK,
            first_channel: 0,
            channels: 2,
            stream_channels: 2,
            host_time: host_time::now(),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        Self { publication, blocks, _events: events, header }
    }

    /// One callback.
    fn block(&mut self, handle: &Handle) {
        self.header.host_time = host_time::now();
        self.blocks.try_push(&self.header, |_, _, out| out.fill(0.25)).unwrap();
        handle.waker().wake();
        self.header.start += Frames::new(BLOCK.into());
    }
}

struct Receiver {
    subscription: Subscription,
    blocks: block_ring::Consumer,
    _events: event::Consumer,
    due: snapshot::Writer<Option<Due>>,
}

impl Receiver {
    fn new(handle: &Handle, key: StreamKey) -> Self {
        let (due, due_reader) = snapshot::snapshot(None);
        let (blocks, blocks_out) = block_ring(1024, 1 << 18);
        let (events, events_out) = event_ring(16);
        let config = SubscribeConfig { due: Some(due_reader), ..SubscribeConfig::new(key) };
        let subscription = handle.subscribe(config, blocks, events, Box::new(|| Value::Null));
        Self { subscription, blocks: blocks_out, _events: events_out, due }
    }

    /// One callback.
    fn block(&mut self, media: MediaTime) {
        while self.blocks.try_pop(|_, _| ()).is_some() {}
        self.due.write(Some(Due {
            epoch: Epoch(5),
            media,
            // Nothing is late.
            at: host_time::now() + Nanos::from_secs(1),
            sample_rate: SampleRate::new(48_000).unwrap(),
            hold: Nanos::from_millis(5),
            patience: Nanos::ZERO,
            latency: HEARD,
            needs: None,
        }));
    }
}

#[test]
fn a_round_trip_is_told_as_it_is_heard() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let config = |index: usize, name: &str| {
        let folder = folders[index].path();
        let mut config = Config::in_folders(folder, &folder.join("run"));
        config.name = name.to_owned();
        config.mdns = false;
        config.bind = "127.0.0.1:0".parse().unwrap();
        config
    };
    let theirs = Identity::load_or_create(folders[1].path()).unwrap();
    let mut here = config(0, "Here");
    here.peers.push(ExplicitPeer { address: "127.0.0.1:9".to_owned(), key: theirs.user().0 });
    let here = Runtime::acquire_with(here).unwrap();
    let mut there = config(1, "There");
    let address = format!("127.0.0.1:{}", here.port());
    there.peers.push(ExplicitPeer { address, key: here.device().0 });
    let there = Runtime::acquire_with(there).unwrap();

    let (mut guitar, mut drums) = (Sender::new(&here, "Guitar"), Sender::new(&there, "Drums"));
    let mut at_theirs = Receiver::new(&there, StreamKey::new(here.device(), guitar.publication.stream()));
    let mut at_ours = Receiver::new(&here, StreamKey::new(there.device(), drums.publication.stream()));
    let began = Instant::now();
    let is_heard = |guitar: &Sender, at_ours: &Receiver| {
        let listeners = guitar.publication.status().listeners;
        let there =
            listeners.first().and_then(|listener| listener.heard).is_some_and(|heard| heard.heard_us > 0);
        there && at_ours.subscription.status().figures.heard_us > 0
    };
    while !is_heard(&guitar, &at_ours) {
        assert!(began.elapsed() < Duration::from_secs(20), "they do not hear each other");
        guitar.block(&here);
        drums.block(&there);
        std::thread::sleep(Duration::from_millis(2));
        at_theirs.block(guitar.header.start);
        at_ours.block(drums.header.start);
    }

    let output = Command::new(env!("CARGO_BIN_EXE_audiocloud"))
        .args(["ping", "There", "--json", "--count", "1"])
        .env("AUDIOCLOUD_CONFIG_DIR", folders[0].path())
        .env("AUDIOCLOUD_RUNTIME_DIR", folders[0].path().join("run"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let us = |way: &str, field: &str| {
        told[way][0][field].as_u64().unwrap_or_else(|| panic!("{way} {field}: {told}"))
    };
    assert_eq!((&told["there"][0]["name"], &told["back"][0]["name"]), (&"Guitar".into(), &"Drums".into()));
    let heard_us = u64::try_from(HEARD.get() / 1_000).unwrap();
    for way in ["there", "back"] {
        assert_eq!((us(way, "block_us"), us(way, "heard_us")), (BLOCK_US, heard_us), "{told}");
    }
    let packets_us = told["packets_round_trip_us"].as_u64().unwrap();
    let total_us = told["heard_round_trip_us"].as_u64().unwrap();
    let known =
        2 * (BLOCK_US + heard_us) + us("there", "pump_us") + us("there", "wire_us") + us("back", "wire_us");
    assert_eq!(total_us, known);
    assert!(total_us > packets_us + 18_000, "what is heard takes longer than packets do: {told}");
    assert_eq!(told["pairs"].as_array().unwrap().len(), 1);
}
