//! `audiocloud node` plays chains of effects for another process: over real sockets, as a plug-in's runtime asks for it.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use audiocloud_engine::chain::document::Chain;
use audiocloud_engine::chain::edit::{Edit, Place};
use audiocloud_engine::chain::foreign::NoForeign;
use audiocloud_engine::chain::rack::{RackCall, RackSetup, rack};
use audiocloud_engine::graph::renderer::Ports;
use audiocloud_engine::rt::block_ring::{self, Epoch, Flags, Header};
use audiocloud_engine::rt::{callback, chain_event, event, host_time};
use audiocloud_engine::units::{MediaTime, Nanos, SampleRate};
use audiocloud_net::runtime::remote::{NodeChoice, PlugEnds, Remote, RemoteConfig, RemoteState, Transfer};
use audiocloud_net::runtime::{Config, Handle, Runtime};
use serde_json::Value;

const FRAMES: u32 = 128;
const RATE_HZ: u32 = 48_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends with the test, however that ends.
struct Node {
    child: Child,
    place: Value,
}

impl Node {
    fn start(folder: &Path, options: &[&str]) -> Self {
        let mut child = audiocloud(folder, &[&["node", "--bind", "127.0.0.1:0", "--json"], options].concat())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("node.log")).unwrap())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while serde_json::from_str::<Value>(&text).is_err() {
            assert!(out.read_line(&mut text).unwrap() > 0, "it ended: {text}");
        }
        Self { place: serde_json::from_str(&text).unwrap(), child }
    }

    /// The status line, and what follows the head.
    fn get(&self, path: &str) -> (String, String) {
        let address = self.place["metrics"].as_str().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn audiocloud(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_audiocloud"));
    command
        .args(arguments)
        .env("AUDIOCLOUD_CONFIG_DIR", folder.join("config"))
        .env("AUDIOCLOUD_RUNTIME_DIR", folder.join("run"));
    command
}

fn says(folder: &Path, arguments: &[&str]) -> String {
    let output = audiocloud(folder, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until there is something.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn document() -> Chain {
    let mut chain = Chain { name: "Vocals".to_owned(), ..Chain::default() };
    for kind in ["eq", "compressor", "reverb"] {
        chain.apply(&Edit::Add { at: Place::END, kind: kind.to_owned() }).unwrap();
    }
    chain
}

/// A plug-in's runtime, and its ends of one chain's rings.
struct PlugIn {
    handle: Handle,
    remote: Remote,
    blocks: block_ring::Producer,
    _events: chain_event::Producer,
    back: block_ring::Consumer,
    _back_events: event::Consumer,
}

impl PlugIn {
    fn new(folder: &Path, transfer: Transfer) -> Self {
        let mut config = Config::in_folders(&folder.join("config"), &folder.join("run"));
        (config.mdns, config.name) = (false, "Ada".to_owned());
        let handle = Runtime::acquire_with(config).unwrap();
        let (blocks, blocks_out) = block_ring::block_ring(64, 1 << 16);
        let (events, events_out) = chain_event::chain_event_ring(64);
        let (back_in, back) = block_ring::block_ring(1024, 1 << 18);
        let (back_events_in, back_events) = event::event_ring(64);
        let config = RemoteConfig {
            name: "Vocals".to_owned(),
            session: None,
            node: NodeChoice::Automatic,
            sample_rate: SampleRate::new(RATE_HZ).unwrap(),
            inputs: 2,
            side_chain: 0,
            outputs: 2,
            block_frames_max: FRAMES,
            patience: Nanos::from_micros(100_000),
            transfer,
            document: document().to_json(),
        };
        let ends =
            PlugEnds { blocks: blocks_out, events: events_out, back: back_in, back_events: back_events_in };
        let remote = handle.remote(config, ends);
        Self { handle, remote, blocks, _events: events, back, _back_events: back_events }
    }

    fn wait_until_live(&self) {
        until("a node that opens the chain", || {
            (self.remote.status().state == RemoteState::Live).then_some(())
        });
    }

    /// Whether there was room.
    fn push(&mut self, number: u64) -> bool {
        let start = number * u64::from(FRAMES);
        let header = Header {
            epoch: Epoch(1),
            sample_rate: SampleRate::new(RATE_HZ).unwrap(),
            start: MediaTime::new(start),
            frames: FRAMES,
            first_channel: 0,
            channels: 2,
            stream_channels: 2,
            host_time: host_time::now(),
            session_time: None,
            flags: Flags::NONE,
            recovery: Nanos::ZERO,
        };
        let fill = |channel: usize, from: usize, samples: &mut [f32]| {
            for (index, sample) in samples.iter_mut().enumerate() {
                *sample = noise(channel, start + u64::try_from(from + index).unwrap());
            }
        };
        let pushed = self.blocks.try_push(&header, fill).is_ok();
        self.handle.waker().wake();
        pushed
    }
}

/// Seeded noise by channel and frame.
fn noise(channel: usize, frame: u64) -> f32 {
    let seed = frame.wrapping_mul(2).wrapping_add(u64::try_from(channel).unwrap());
    let mixed = (seed ^ (seed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = u32::try_from((mixed ^ (mixed >> 29)) >> 32 & 0x007f_ffff).unwrap();
    f32::from_bits(0x3f80_0000 | bits) - 1.5
}

/// The left channel of what the chain gives here.
fn played_here(frames: usize) -> Vec<f32> {
    struct Here(u64, Vec<f32>);
    impl Ports for Here {
        fn read(&mut self, _bus: usize, channel: usize, from: usize, samples: &mut [f32]) {
            for (index, sample) in samples.iter_mut().enumerate() {
                *sample = noise(channel, self.0 + u64::try_from(from + index).unwrap());
            }
        }
        fn write(&mut self, _bus: usize, channel: usize, _from: usize, samples: &[f32]) {
            if channel == 0 {
                self.1.extend_from_slice(samples);
            }
        }
    }
    let sample_rate = SampleRate::new(RATE_HZ).unwrap();
    let setup = RackSetup { sample_rate, inputs: 2, side_chain: 0, outputs: 2 };
    let (control, mut audio) = rack(&document(), &setup, Box::new(NoForeign)).unwrap();
    let latency = usize::try_from(control.latency_frames()).unwrap();
    let mut here = Here(0, Vec::new());
    while here.1.len() < frames + latency {
        callback::enter(|callback| {
            let call = RackCall { callback, offline: true, transport: None, events: &[] };
            audio.process(&call, 512, &mut here);
        });
        here.0 += 512;
    }
    here.1.drain(..latency);
    here.1.truncate(frames);
    here.1
}

#[test]
fn what_comes_back_is_what_the_chain_gives_here_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &["--metrics", "127.0.0.1:0", "--log-json"]);
    assert_eq!(node.place["hosts"], true, "{}", node.place);
    let mut plug_in = PlugIn::new(folder.path(), Transfer::Exact);
    plug_in.wait_until_live();
    let mut got: Vec<f32> = Vec::new();
    let blocks = 200;
    let mut pushed = 0;
    until("all that was sent", || {
        while pushed < blocks && plug_in.push(pushed) {
            pushed += 1;
        }
        let start = u64::try_from(got.len()).unwrap();
        let taken = plug_in.back.try_pop(|header, samples| {
            assert_eq!((header.epoch, header.start.get()), (Epoch(1), start), "a gap in what comes back");
            let (one, two) = samples.channel(0);
            [one, two].concat()
        });
        got.extend(taken.into_iter().flatten());
        // The last frames are still in the compressor's and the reverb's pre-delay, if they have any.
        (got.len() + 4_096 >= usize::try_from(blocks * u64::from(FRAMES)).unwrap()).then_some(())
    });
    let here = played_here(got.len());
    let differing = got.iter().zip(&here).filter(|(there, here)| there.to_bits() != here.to_bits()).count();
    assert_eq!(differing, 0, "of {} frames", got.len());
    assert!(here.iter().any(|sample| sample.abs() > 0.01), "silence proves nothing");
    // The node says what it does.
    let (status, page) = node.get("/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(page.contains("audiocloud_chains 1\n"), "{page}");
    let frames = until("the chain's figures", || {
        let (_, page) = node.get("/metrics");
        let line =
            page.lines().find(|line| line.starts_with("audiocloud_chain_frames_total{chain=\"Vocals\""))?;
        line.rsplit(' ').next()?.parse::<usize>().ok().filter(|frames| *frames > 0)
    });
    assert!(frames <= 200 * 128, "{frames}");
    let (status, health) = node.get("/healthz");
    assert!(status.ends_with("200 OK") && health.contains("\"status\":\"ok\""), "{status} {health}");
    let log = std::fs::read_to_string(folder.path().join("node.log")).unwrap();
    let opened = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(
        opened.into_iter().any(|line| line["message"] == "chain opened" && line["owner"] == "Ada"),
        "{log}"
    );
}

#[test]
fn the_command_line_shows_nodes_and_chains_and_proposes_edits() {
    let folder = tempfile::tempdir().unwrap();
    let _node = Node::start(folder.path(), &["--metrics", "off"]);
    let plug_in = PlugIn::new(folder.path(), Transfer::Live);
    plug_in.wait_until_live();
    let nodes: Value = serde_json::from_str(&says(folder.path(), &["nodes", "--json"])).unwrap();
    assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(1), "{nodes}");
    assert!(says(folder.path(), &["nodes"]).contains(" % free, "));
    let listed = says(folder.path(), &["chain", "list"]);
    assert!(listed.starts_with("\"Vocals\" of \"Ada\" ("), "{listed}");
    assert!(says(folder.path(), &["chain", "show", "Vocals"]).contains("  1  Compressor\n"));
    says(folder.path(), &["chain", "set", "vocals", "compressor", "threshold", "-20 dB"]);
    says(folder.path(), &["chain", "bypass", "Ada/Vocals", "eq"]);
    let mut edits = Vec::new();
    until("the proposals", || {
        let new = plug_in.remote.proposals();
        edits.extend(new.iter().map(|proposal| Edit::from_json(&proposal.edit).unwrap()));
        (edits.len() == 2).then_some(())
    });
    assert!(matches!(edits[0], Edit::Set { effect: 1, value: -20.0, .. }), "{edits:?}");
    assert_eq!(edits[1], Edit::Bypass(0, true));
    let wrong =
        audiocloud(folder.path(), &["chain", "set", "Vocals", "flanger", "depth", "1"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        String::from_utf8(wrong.stderr).unwrap().contains("no effect of the chain is called \"flanger\"")
    );
}

#[test]
fn a_node_that_is_told_to_end_lets_its_chains_go_first() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("config")).unwrap();
    std::fs::write(folder.path().join("config/node.toml"), "[drain]\nseconds = 60\n").unwrap();
    let mut first = Node::start(folder.path(), &["--metrics", "127.0.0.1:0"]);
    let mut plug_in = PlugIn::new(folder.path(), Transfer::Live);
    plug_in.wait_until_live();
    let second = Node::start(folder.path(), &["--metrics", "127.0.0.1:0"]);
    let reachable = || plug_in.handle.nodes().len() == 2;
    until("the second node", || reachable().then_some(()));
    let told = Command::new("kill").args(["-TERM", &first.child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let mut number = 0;
    until("the second node has the chain", || {
        plug_in.push(number);
        number += 1;
        while plug_in.back.try_pop(|_, _| ()).is_some() {}
        second.get("/metrics").1.contains("audiocloud_chains 1\n").then_some(())
    });
    let ended = until("the end of the first", || first.child.try_wait().unwrap());
    assert!(ended.success());
    plug_in.wait_until_live();
    // Told again, it ends at once, though its chain has nowhere to go.
    let mut second = second;
    for _ in 0..2 {
        let told = Command::new("kill").args(["-TERM", &second.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        std::thread::sleep(Duration::from_millis(300));
    }
    let ended = until("the end of the second", || second.child.try_wait().unwrap());
    assert!(ended.success());
}
