//! What the tests of this crate play on: a graph of one plug-in, and a host of vectors.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audiocloud_graph::controller::{Config, Controller, play};
use audiocloud_graph::event::Body;
use audiocloud_graph::graph::{Graph, NodeKey};
use audiocloud_graph::node::Node;
use audiocloud_graph::renderer::{Call, HostEvent, Ports, Renderer, Target};
use audiocloud_host::library::Library;
use audiocloud_host::plugin::{Handle, HostedPlugin, Setup};
use audiocloud_host::program::Program;
use audiocloud_rt::callback;
use audiocloud_units::SampleRate;
use tempfile::TempDir;

pub(crate) const GAIN: &str = "org.audiocloud.test.gain";
pub(crate) const MONO: &str = "org.audiocloud.test.mono";
pub(crate) const LATE: &str = "org.audiocloud.test.late";
pub(crate) const UNMAKEABLE: &str = "org.audiocloud.test.unmakeable";

pub(crate) fn rate() -> SampleRate {
    SampleRate::new(48_000).unwrap()
}

pub(crate) fn setup(block_frames_max: u32) -> Setup {
    Setup { sample_rate: rate(), channels: 2, side_chain: 0, block_frames_max, priority: None }
}

/// The test plug-ins' library: built, as a dependency of this test, beside the test itself.
pub(crate) fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = test.with_file_name(format!("{prefix}audiocloud_misbehaving{suffix}"));
    assert!(library.exists(), "{} is missing", library.display());
    library
}

pub(crate) fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_audiocloud-sandbox"), &[])
}

/// A library of the test plug-ins, searched, in a folder of its own.
pub(crate) fn library() -> (TempDir, Arc<Library>) {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("clap");
    std::fs::create_dir(&plugins).unwrap();
    std::os::unix::fs::symlink(built(), plugins.join("test.clap")).unwrap();
    let library = Library::open(&folder.path().join("state"), program());
    let report = library.search_within(&[plugins], Duration::from_secs(10)).unwrap();
    assert_eq!((report.plugins, report.faults.len()), (6, 0), "{report:?}");
    (folder, Arc::new(library))
}

/// Noise that is the same for the same seed, within ±0.5.
pub(crate) fn noise(seed: u32, frames: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f32::from(u16::try_from(state >> 16).unwrap()) / 65_536.0 - 0.5
    };
    (0..frames).map(|_| next()).collect()
}

/// One plug-in between a host's input and output; bus 1 of the host is the side-chain.
pub(crate) struct Rig {
    pub(crate) handle: Handle,
    pub(crate) graph: Graph,
    pub(crate) key: NodeKey,
    pub(crate) controller: Controller,
    pub(crate) renderer: Renderer,
    pub(crate) host: Host,
    /// Blocks of 64 frames that the plug-in answered before.
    answered: u64,
}

/// `inputs[bus][channel][frame]`.
#[derive(Debug, Default)]
pub(crate) struct Host {
    pub(crate) inputs: Vec<Vec<Vec<f32>>>,
    pub(crate) output: Vec<Vec<f32>>,
    pub(crate) events: Vec<(usize, Body)>,
    pub(crate) at: usize,
    /// Whether it would rather wait.
    pub(crate) offline: bool,
}

impl Rig {
    pub(crate) fn new(library: &Arc<Library>, id: &str, setup: &Setup, inputs: Vec<Vec<Vec<f32>>>) -> Self {
        Self::of(HostedPlugin::open(library, id, setup, None).unwrap(), setup, inputs)
    }

    pub(crate) fn of(plugin: HostedPlugin, setup: &Setup, inputs: Vec<Vec<Vec<f32>>>) -> Self {
        let (handle, layout) = (plugin.handle(), plugin.layout());
        let buses: Vec<u16> =
            [setup.channels, setup.side_chain].into_iter().filter(|width| *width > 0).collect();
        let mut graph = Graph::new(&buses, &[setup.channels]).unwrap();
        let key = graph.add("plug-in", plugin).unwrap();
        for (bus, _) in (0..).zip(&buses) {
            graph.connect_audio((graph.input(), bus), (key, bus)).unwrap();
        }
        graph.connect_audio((key, 0), (graph.output(), 0)).unwrap();
        if layout.event_input {
            graph.connect_events(graph.input(), key).unwrap();
        }
        if layout.event_output {
            graph.connect_events(key, graph.output()).unwrap();
        }
        let (controller, renderer) = play(&graph, Config::new(rate()), None).unwrap();
        let frames = inputs[0][0].len();
        let output = vec![vec![f32::NAN; frames]; usize::from(setup.channels)];
        let host = Host { inputs, output, offline: true, ..Host::default() };
        Self { handle, graph, key, controller, renderer, host, answered: 0 }
    }

    pub(crate) fn frames(&self) -> usize {
        self.host.output[0].len()
    }

    pub(crate) fn latency(&self) -> usize {
        usize::try_from(self.controller.latency_frames()).unwrap()
    }

    pub(crate) fn event(&self, offset: u32, body: Body) -> HostEvent {
        let target = Target::Node(self.controller.address(self.key).unwrap());
        HostEvent { offset, target, body }
    }

    /// Plays up to frame `to` in one callback.
    pub(crate) fn play(&mut self, to: usize, events: &[HostEvent]) {
        let frames = to - self.host.at;
        callback::enter(|callback| {
            let call = Call { callback, transport: None, offline: self.host.offline, events };
            self.renderer.process(&call, frames, &mut self.host);
        });
        self.host.at = to;
    }

    /// Plays to frame `to` in blocks of this many frames.
    pub(crate) fn play_in(&mut self, to: usize, block: usize) {
        while self.host.at < to {
            self.play((self.host.at + block).min(to), &[]);
        }
    }

    /// As a host that listens, but at a pace that the plug-in keeps: each callback comes when the one before is answered.
    pub(crate) fn play_live(&mut self, to: usize, block: usize) {
        self.host.offline = false;
        while self.host.at < to {
            let from = self.host.at;
            self.play((from + block).min(to), &[]);
            self.answered += u64::try_from(self.host.at / 64 - from / 64).unwrap();
            let answered = self.answered;
            wait("an answer", || {
                let status = self.handle.status();
                status.turn.count >= answered || !status.running
            });
        }
    }
}

/// Until something is true, for at most ten seconds.
pub(crate) fn wait(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_true() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_micros(100));
    }
}

impl Ports for Host {
    fn read(&mut self, bus: usize, channel: usize, from: usize, samples: &mut [f32]) {
        let from = self.at + from;
        match self.inputs.get(bus).and_then(|bus| bus.get(channel)) {
            Some(input) => samples.copy_from_slice(&input[from..from + samples.len()]),
            None => samples.fill(0.0),
        }
    }

    fn write(&mut self, _bus: usize, channel: usize, from: usize, samples: &[f32]) {
        let from = self.at + from;
        self.output[channel][from..from + samples.len()].copy_from_slice(samples);
    }

    fn event(&mut self, offset: usize, body: &Body) {
        self.events.push((self.at + offset, *body));
    }
}
