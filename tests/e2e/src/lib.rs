//! End-to-end tests on the built bundle: the stage they play on.
//!
//! Every test has folders, an identity and processes of its own, on the loopback interface, without multicast. The
//! bundle and the programs are found by `AUDIOCLOUD_BUNDLE_DIR`, `AUDIOCLOUD_BIN` and `AUDIOCLOUD_RIG`, which
//! `cargo xtask test` sets.

pub mod beat;
pub mod distance;
pub mod jack;
pub mod net;
pub mod node;
pub mod person;
pub mod remote_fx;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use audiocloud_rig::{
    audio::{self, Audio},
    session::{Outcome, Pair, PairOptions, Tools, World},
};
use serde_json::Value;
use tempfile::TempDir;

/// Playout delay of tests that ask whether a stream is whole, not how fast it is: a test machine that shares its processors
/// may stand still for most of so long.
pub const PLAYOUT_MS: f64 = 150.0;
/// How long a stream may take to be live.
pub const LIVE: Duration = Duration::from_secs(10);

/// One user's machine and the built tools.
#[derive(Debug)]
pub struct Stage {
    /// The built bundle and programs.
    pub tools: Tools,
    /// The machine.
    pub world: World,
    folder: TempDir,
}

impl Stage {
    /// Empty folders and a new identity.
    ///
    /// # Panics
    /// The bundle is not built, or the folders cannot be made.
    pub fn new() -> Self {
        let tools = Tools::from_environment().unwrap_or_else(|error| panic!("{error:#}"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let world = World::new(folder.path()).expect("a world");
        Self { tools, world, folder }
    }

    /// Another machine with folders and an identity of its own; `lines` are added to its `config.toml`.
    ///
    /// # Panics
    /// The folders cannot be made.
    pub fn another(&self, name: &str, lines: &str) -> World {
        World::with_config(&self.folder.path().join(name), lines).expect("a world")
    }

    /// The machine of a person in a net, with folders and an identity of its own. Its processes bind all interfaces of
    /// the host; `lines` are added to its `config.toml`.
    ///
    /// # Panics
    /// The folders cannot be made.
    pub fn on_host(&self, name: &str, host: &net::Host, lines: &str) -> World {
        World::in_namespace(&self.folder.path().join(name), Some(&host.namespace), lines).expect("a world")
    }

    /// Writes a recording where rigs can read it.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn recording(&self, name: &str, audio: &Audio) -> PathBuf {
        let path = self.folder.path().join(name).with_extension("wav");
        audio::write_f32(&path, audio).expect("written");
        path
    }

    /// A file's path in the test's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Streams `source` from one process to another and compares what comes out.
    ///
    /// # Panics
    /// A process fails, or the stream does not become live.
    pub fn stream(&self, source: &Audio, options: &mut PairOptions) -> Outcome {
        options.send.input = Some(self.recording("source", source));
        let mut pair =
            Pair::start(&self.tools, &self.world, options).unwrap_or_else(|error| panic!("{error:#}"));
        pair.wait_live(LIVE).unwrap_or_else(|error| panic!("{error:#}"));
        let length = Duration::from_secs_f64(seconds(source) + 20.0);
        pair.play(length).unwrap_or_else(|error| panic!("{error:#}"));
        pair.finish(source).unwrap_or_else(|error| panic!("{error:#}"))
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

/// Length of a recording in seconds.
pub fn seconds(audio: &Audio) -> f64 {
    f64::from(u32::try_from(audio.frames()).unwrap_or(u32::MAX)) / f64::from(audio.sample_rate)
}

/// A recording of the shared folder beside the repository, cut to `seconds`, or a phrase of the same shape where the
/// folder is absent; a fifth of a second of silence before it.
///
/// # Panics
/// The recording is there, but cannot be read or has another shape.
pub fn recording(name: &str, sample_rate: u32, channels: usize, seconds: f64) -> Audio {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/audio").join(name);
    let audio = if path.is_file() {
        let audio = audio::read(&path).expect("a recording");
        assert_eq!((audio.sample_rate, audio.channels.len()), (sample_rate, channels), "{name}");
        audio
    } else {
        audio::phrase(sample_rate, channels, seconds)
    };
    audio.cut(seconds).with_lead(0.2)
}

/// Every sample came out as it went in, at its time, and nobody touched the heap in a callback.
///
/// # Panics
/// It is not so; the message has the figures.
pub fn assert_whole(outcome: &Outcome) {
    let Outcome { comparison, send, receive, .. } = outcome;
    let figures = || {
        let stalls = (send.report.stall_max_ms, receive.report.stall_max_ms);
        format!("{comparison:#?}\nhost stalls, ms: {stalls:?}\nstatus: {:#}", outcome.status)
    };
    assert!(comparison.bit_exact, "not bit exact: {}", figures());
    assert_eq!(comparison.missing_frames, 0, "{}", figures());
    assert_eq!(comparison.stray_frames, 0, "sound beside the stream: {}", figures());
    assert_eq!(outcome.receive_figure("late_blocks"), Some(0), "{}", figures());
    assert_eq!(outcome.receive_figure("missing_frames"), Some(0), "{}", figures());
    for (name, run) in [("Send", send), ("Receive", receive)] {
        let report = &run.report;
        assert_eq!(report.process_errors, 0, "{name}: {report:#?}");
        assert_eq!(report.not_finite, 0, "{name}: {report:#?}");
        assert_eq!(report.heap_operations.unwrap_or(0), 0, "{name} used the heap in process: {report:#?}");
    }
}

/// The sentences that all plug-ins of a status say.
pub fn sentences(status: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(status, &mut found);
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(sentence) if key == "sentence" => found.push(sentence.clone()),
                    other => collect(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// How often a test repeats what it is about: `ordinarily`, or as often as the environment variable says.
pub fn repetitions(variable: &str, ordinarily: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(ordinarily)
}
