//! CLAP plug-ins of somebody else's in the chains of a node: what they make comes back to the bit, and one that crashes costs
//! its own chain alone.

use std::{
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use audiocloud_e2e::{Stage, remote_fx::chain};
use audiocloud_misbehaving as trouble;
use audiocloud_net::runtime::{
    Config, Handle, Runtime,
    remote::{NodeChoice, PlugEnds, Remote, RemoteConfig, RemoteState, Transfer},
};
use audiocloud_rt::{
    block_ring::{self, Epoch, Flags, Header},
    chain_event::{self, ChainBody, ChainEvent},
    event, host_time,
};
use audiocloud_units::{MediaTime, Nanos, SampleRate};
use serde_json::Value;

const FRAMES: u32 = 128;
const RATE_HZ: u32 = 48_000;
const PATIENCE: Duration = Duration::from_secs(30);
const GAIN: &str = "org.audiocloud.test.gain";
const MONO: &str = "org.audiocloud.test.mono";
/// Of an empty chain's first effect.
const FIRST: u32 = 0;

/// A node with the test plug-ins and whatever else is installed.
struct Node {
    child: Child,
}

impl Node {
    fn start(stage: &Stage) -> Self {
        let folder = stage.path("clap");
        std::fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(built(), folder.join("test.clap")).unwrap();
        let errors = std::fs::File::create(stage.world.files.join("node.stderr")).unwrap();
        let child = stage
            .world
            .audiocloud(&stage.tools, &["node", "--json", "--metrics", "off"])
            .env("CLAP_PATH", folder)
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap();
        let node = Self { child };
        until("the search for plug-ins", || found(stage, GAIN));
        node
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The test plug-ins' library: built, as a dependency of this test, beside the test itself.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let library = test.with_file_name("libaudiocloud_misbehaving.so");
    assert!(library.exists(), "{} is missing", library.display());
    library
}

fn known(stage: &Stage) -> Value {
    stage.world.ask(&stage.tools, &["plug-ins", "--json"]).unwrap()
}

/// The id of a plug-in that can be loaded, by its id or its name.
fn found(stage: &Stage, what: &str) -> Option<String> {
    let known = known(stage);
    let is_it = |one: &&Value| one["id"] == what || one["name"] == what;
    known["plug_ins"].as_array()?.iter().find(is_it)?["id"].as_str().map(str::to_owned)
}

/// Waits until there is something.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A Remote FX without its host: its runtime's ends of one chain. Everything is exact, so nothing is ever late.
struct Insert {
    handle: Handle,
    remote: Remote,
    blocks: block_ring::Producer,
    events: chain_event::Producer,
    back: block_ring::Consumer,
    _back_events: event::Consumer,
    pushed: u64,
    /// What came back, of the first channel.
    got: Vec<f32>,
}

impl Insert {
    fn new(stage: &Stage, name: &str, kinds: &[&str]) -> Self {
        let (config, run) = (&stage.world.config, &stage.world.runtime);
        let mut config = Config::in_folders(config, run);
        config.mdns = false;
        let handle = Runtime::acquire_with(config).unwrap();
        let (blocks, blocks_out) = block_ring::block_ring(64, 1 << 16);
        let (events, events_out) = chain_event::chain_event_ring(64);
        let (back_in, back) = block_ring::block_ring(1024, 1 << 18);
        let (back_events_in, back_events) = event::event_ring(64);
        let config = RemoteConfig {
            name: name.to_owned(),
            session: None,
            node: NodeChoice::Automatic,
            sample_rate: SampleRate::new(RATE_HZ).unwrap(),
            inputs: 2,
            side_chain: 0,
            outputs: 2,
            block_frames_max: FRAMES,
            patience: Nanos::from_micros(100_000),
            transfer: Transfer::Exact,
            document: chain(kinds).to_string().into_bytes(),
        };
        let ends =
            PlugEnds { blocks: blocks_out, events: events_out, back: back_in, back_events: back_events_in };
        let remote = handle.remote(config, ends);
        until("a node that plays the chain", || (remote.status().state == RemoteState::Live).then_some(()));
        Self { handle, remote, blocks, events, back, _back_events: back_events, pushed: 0, got: Vec::new() }
    }

    /// Sends up to `blocks` blocks in all, and takes what is back; whether all but what is late is.
    fn play(&mut self, blocks: u64, late: usize) -> bool {
        while self.pushed < blocks {
            let start = self.pushed * u64::from(FRAMES);
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
            let fill = |_channel: usize, from: usize, samples: &mut [f32]| {
                for (frame, sample) in (start + u64::try_from(from).unwrap()..).zip(samples) {
                    *sample = noise(frame);
                }
            };
            if self.blocks.try_push(&header, fill).is_err() {
                break;
            }
            self.pushed += 1;
        }
        self.handle.waker().wake();
        loop {
            let next = u64::try_from(self.got.len()).unwrap();
            let taken = self.back.try_pop(|header, samples| {
                assert_eq!(header.start.get(), next, "a gap in what comes back");
                let (one, two) = samples.channel(0);
                [one, two].concat()
            });
            let Some(samples) = taken else { break };
            self.got.extend(samples);
        }
        self.got.len() + late >= usize::try_from(blocks * u64::from(FRAMES)).unwrap()
    }

    /// A parameter of the first effect, from a block that is not sent yet.
    fn set(&mut self, parameter: u32, value: f32) {
        let body = ChainBody::Parameter { effect: FIRST, parameter, value, ramp_frames: None };
        let time = MediaTime::new(self.pushed * u64::from(FRAMES));
        self.events.push(ChainEvent { epoch: Epoch(1), time, body }).unwrap();
    }

    fn report(&self) -> String {
        String::from_utf8_lossy(&self.remote.status().node_report).into_owned()
    }
}

/// Seeded noise.
fn noise(frame: u64) -> f32 {
    let mixed = (frame ^ (frame >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = u32::try_from((mixed ^ (mixed >> 29)) >> 32 & 0x007f_ffff).unwrap();
    f32::from_bits(0x3f80_0000 | bits) - 1.5
}

fn clap(id: &str) -> String {
    format!("clap:{id}")
}

#[test]
fn a_plug_in_that_crashes_costs_its_own_chain_alone() {
    let stage = Stage::new();
    let _node = Node::start(&stage);
    let mut broken = Insert::new(&stage, "Broken", &[&clap(GAIN)]);
    let mut neighbour = Insert::new(&stage, "Neighbour", &[&clap(MONO)]);
    until("both chains", || (broken.play(100, 512) & neighbour.play(100, 512)).then_some(()));
    broken.set(trouble::TROUBLE, trouble::CRASH);
    until("both chains, after the crash", || {
        (broken.play(600, 512) & neighbour.play(600, 512)).then_some(())
    });

    let crashed_at = 100 * usize::try_from(FRAMES).unwrap();
    for (frame, sample) in neighbour.got.iter().enumerate() {
        assert_eq!(*sample, noise(u64::try_from(frame).unwrap()), "the neighbour's frame {frame}");
    }
    for (frame, sample) in broken.got[..crashed_at - 256].iter().enumerate() {
        assert_eq!(*sample, noise(u64::try_from(frame).unwrap()), "frame {frame} before the crash");
    }
    assert!(broken.got[crashed_at + 4096..].iter().all(|sample| *sample == 0.0), "it is silent afterwards");

    until("its name", || broken.report().contains("SIGSEGV").then_some(()));
    assert!(!neighbour.report().contains("SIGSEGV"));
    let held = until("quarantine", || {
        known(&stage)["quarantined"].as_array().and_then(|held| held.first().cloned())
    });
    assert_eq!((held["id"].as_str(), found(&stage, GAIN)), (Some(GAIN), None));
    let mut refused = Insert::new(&stage, "Refused", &[&clap(GAIN)]);
    until("a chain without it", || refused.play(10, 512).then_some(()));
    until("its words", || refused.report().contains("quarantine").then_some(()));

    let released = stage.world.ask(&stage.tools, &["plug-ins", "release", GAIN, "--json"]).unwrap();
    assert_eq!(released["released"], 1);
    let mut again = Insert::new(&stage, "Again", &[&clap(GAIN)]);
    again.set(trouble::GAIN, 0.5);
    until("it plays again", || again.play(100, 512).then_some(()));
    let half = |(frame, sample): (usize, &f32)| *sample == 0.5 * noise(u64::try_from(frame).unwrap());
    assert!(again.got.iter().enumerate().all(half), "at half the level: {}", again.report());
}

#[test]
fn plug_ins_of_a_distribution_play_in_a_chain() {
    let stage = Stage::new();
    let _node = Node::start(&stage);
    let mut played = 0;
    for name in ["ZamEQ2", "ZamComp", "ZamTube"] {
        let Some(id) = found(&stage, name) else {
            println!("{name} skipped: it needs zam-plugins (remedy: apt-get install zam-plugins)");
            continue;
        };
        let mut insert = Insert::new(&stage, name, &["eq", &clap(&id), "limiter"]);
        until("its answer", || insert.play(400, 8192).then_some(()));
        let level = insert.got[20_000..].iter().map(|sample| sample.abs()).fold(0.0, f32::max);
        assert!((0.01..1.5).contains(&level), "{name}: {level}: {}", insert.report());
        // Twice the same, from the beginning.
        let mut again = Insert::new(&stage, name, &["eq", &clap(&id), "limiter"]);
        until("its answer", || again.play(400, 8192).then_some(()));
        let frames = insert.got.len().min(again.got.len());
        assert_eq!(insert.got[..frames], again.got[..frames], "{name}");
        played += 1;
    }
    println!("{played} of somebody else's plug-ins played in chains");
}
