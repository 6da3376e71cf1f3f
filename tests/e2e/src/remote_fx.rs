//! Remote FX and the node that plays its chain, in processes of their own.

pub mod late;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use audiocloud_rig::{
    audio::{Audio, seconds_to_frames},
    process::{Block, Options, Rig, Run},
    processors::{Processors, Stall},
    session::{START, World},
};
use late::{Calls, STALL_BLOCKS, Verdict};
use serde_json::{Value, json};

use crate::{LIVE, Stage};

/// CLAP id of audiocloud Remote FX.
pub const REMOTE_FX_ID: &str = "org.audiocloud.remote-fx";

/// The chain of most tests: what each effect has by itself, in a row.
pub fn chain(kinds: &[&str]) -> Value {
    let effect = |(id, kind): (usize, &&str)| json!({ "effect": { "id": id, "kind": kind } });
    json!({ "schema": 1, "items": kinds.iter().enumerate().map(effect).collect::<Vec<_>>() })
}

/// What a project keeps of a plug-in with this chain.
pub fn kept(chain: &Value) -> Value {
    kept_with_slots(chain, &json!({}))
}

/// The same, with slots of the host's that move something.
pub fn kept_with_slots(chain: &Value, slots: &Value) -> Value {
    json!({ "schema": 4, "name": "Strings", "session": null, "chain": chain, "slots": slots, "positions": [] })
}

/// Parallels in a row, each of so many branches that pass their input at this level, and slots that move all levels between
/// two others.
pub fn levels(parallels: u32, branches: u32, level_db: f64, (low, high): (f64, f64)) -> (Value, Value) {
    let branch = json!({ "level_db": level_db });
    let parallel =
        |id| json!({ "parallel": { "id": id, "branches": vec![branch.clone(); branches as usize] } });
    let chain = json!({ "schema": 1, "items": (0..parallels).map(parallel).collect::<Vec<_>>() });
    let target = |slot: u32| json!({ "effect": slot / branches, "parameter": slot % branches, "low": low, "high": high });
    let slots = (0..parallels * branches).map(|slot| (slot.to_string(), target(slot))).collect();
    (chain, Value::Object(slots))
}

/// By how many frames everything is late with the options below.
pub fn delay_frames(block: u32) -> u32 {
    2 * block + 48
}

/// A rig with the plug-in: blocks of so many frames, 1 ms for the network, no head-room.
pub fn options(chain: &Value, block: u32) -> Options {
    let mut options = Options::new(REMOTE_FX_ID);
    options.block = Block::Fixed(block);
    options.fields.push(("chain".into(), kept(chain)));
    options.parameters = vec![("Network".into(), "1".into()), ("Head-room".into(), "0".into())];
    options
}

/// `audiocloud node` in a process of its own, on this machine, for its own user.
#[derive(Debug)]
pub struct FxNode {
    world: World,
    options: Vec<String>,
    environment: Vec<(String, PathBuf)>,
    child: Option<Child>,
    place: Value,
}

impl FxNode {
    /// Starts one.
    ///
    /// # Panics
    /// It does not start.
    pub fn new(stage: &Stage) -> Self {
        Self::with(stage, &["--metrics", "off"], &[])
    }

    /// Starts one with these options and, in its environment, folders.
    ///
    /// # Panics
    /// It does not start.
    pub fn with(stage: &Stage, options: &[&str], environment: &[(&str, &Path)]) -> Self {
        let mut node = Self {
            world: stage.world.clone(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            environment: environment.iter().map(|(name, path)| ((*name).to_owned(), path.into())).collect(),
            child: None,
            place: Value::Null,
        };
        node.start(stage);
        node
    }

    /// Starts it again, and waits until it is there.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(&mut self, stage: &Stage) {
        let mut arguments = vec!["node", "--json"];
        arguments.extend(self.options.iter().map(String::as_str));
        let mut command = self.world.audiocloud(&stage.tools, &arguments);
        command.envs(self.environment.iter().map(|(name, path)| (name, path)));
        let errors = std::fs::File::create(self.errors_file()).expect("a file");
        let mut child = command.stdout(Stdio::piped()).stderr(errors).spawn().expect("a node");
        let output = child.stdout.take().expect("its output");
        self.child = Some(child);
        // It says where it is, once it is there.
        let mut said = serde_json::Deserializer::from_reader(output).into_iter::<Value>();
        self.place = said.next().expect("where it is").expect("JSON");
        // It may say more, which nobody reads: its pipe must stay open.
        std::thread::spawn(move || said.for_each(drop));
    }

    /// What it said of itself when it was there.
    pub fn place(&self) -> &Value {
        &self.place
    }

    /// What it wrote to standard error so far.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.errors_file()).unwrap_or_default()
    }

    fn errors_file(&self) -> PathBuf {
        self.world.files.join("node.stderr")
    }

    /// Asks it by a signal to end.
    ///
    /// # Panics
    /// It cannot be asked, or is not there.
    pub fn tell_to_end(&self) {
        let child = self.child.as_ref().expect("a node");
        let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill");
        assert!(told.success(), "the node cannot be told");
    }

    /// Whether it has ended by itself, and how.
    ///
    /// # Panics
    /// The system does not tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("its state"))
    }

    /// Ends it without a word.
    ///
    /// # Panics
    /// It cannot be ended.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().expect("the node cannot be ended");
        child.wait().expect("its end");
    }
}

impl Drop for FxNode {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the plug-ins say of themselves in a status.
pub fn reports(status: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    collect(status, &mut found);
    found
}

fn collect<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) if members.get("plugin").is_some_and(|plugin| plugin == "remote-fx") => {
            found.push(value)
        }
        Value::Object(members) => members.values().for_each(|member| collect(member, found)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// Waits until the only plug-in's report is as wanted; the report.
///
/// # Panics
/// It is not in time.
pub fn wait_report(stage: &Stage, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = stage.world.wait_status(&stage.tools, LIVE, what, |status| {
        reports(status).first().filter(|report| wanted(report)).map(|report| (*report).clone())
    });
    found.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Waits until a node plays the chain; the report.
///
/// # Panics
/// It does not in time.
pub fn wait_live(stage: &Stage) -> Value {
    wait_report(stage, "a chain that runs", |report| report["state"] == "live" && report["answering"] == true)
}

/// A rig that plays its input, and what was known when that began.
#[derive(Debug)]
pub struct Playing {
    /// The host's process.
    pub rig: Rig,
    missed: u64,
    processors: Processors,
    options: Options,
    delay_frames: u32,
}

/// What came of it.
#[derive(Debug)]
pub struct Played {
    /// What the rig leaves.
    pub run: Run,
    /// What came out from the frame on that the input began at, until a second after its end.
    pub heard: Audio,
    /// The plug-in's last report.
    pub report: Value,
    /// Callbacks that lacked frames of an answer since the input began.
    pub late: usize,
    stalls: Result<Vec<Stall>, String>,
    block: u32,
    delay_frames: u32,
}

/// Starts a rig, waits until its latency is settled and, with a node, its chain plays; then begins a new epoch with the
/// first frame of the input. A host restarts a plug-in whose latency became another, and what moves by itself would then be
/// elsewhere when the input begins.
///
/// # Panics
/// Something of it fails.
pub fn launch(stage: &Stage, name: &str, options: &Options, delay_frames: u32, on_node: bool) -> Playing {
    let options = Options { start: false, ..options.clone() };
    let mut rig = stage.world.rig(&stage.tools, name, &options).expect("a rig");
    // It has been told its parameters with the first block, and decides on its latency when it is activated.
    rig.wait("ready", START).expect("ready");
    rig.command("restart").expect("restarted");
    rig.wait("restarted", START).expect("restarted");
    rig.command("settle").expect("settled");
    let settled = rig.wait("settled", START).expect("settled");
    assert_eq!(settled["latency"], delay_frames, "{settled}");
    if on_node {
        wait_live(stage);
    }
    rig.command("pause").expect("paused");
    rig.wait("paused", START).expect("paused");
    let missed = missed(&wait_report(stage, "paused", |report| report["callbacks"].is_u64()));
    let Block::Fixed(block) = options.block else { panic!("blocks of one size") };
    let block_s = f64::from(block) / f64::from(options.sample_rate);
    let processors = Processors::watch(Duration::from_secs_f64(block_s * STALL_BLOCKS)).expect("watchers");
    rig.command("start").expect("begun");
    rig.command("resume").expect("resumed");
    Playing { rig, missed, processors, options, delay_frames }
}

/// Callbacks that lacked frames of an answer, whyever.
fn missed(report: &Value) -> u64 {
    let figure = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report:#}"));
    figure("late_callbacks") + figure("unanswered_callbacks")
}

/// Plays all of the input, and a second more.
///
/// # Panics
/// Something of it fails.
pub fn play(stage: &Stage, playing: Playing, seconds: f64) -> Played {
    let Playing { mut rig, missed: before, processors, options, delay_frames } = playing;
    rig.wait("input-done", Duration::from_secs_f64(seconds + 20.0)).expect("played");
    rig.command("run-on 1").expect("run on");
    rig.wait("ran-on", START).expect("ran on");
    let report = wait_report(stage, "played", |report| report["callbacks"].is_u64());
    let stalls = processors.finish().map_err(|error| format!("{error:#}"));
    let mut run = rig.finish().expect("a run");
    let from = usize::try_from(run.report.input_from_frame.expect("an input")).expect("an index");
    let mut heard = std::mem::replace(&mut run.output, Audio::silence(options.sample_rate, 0, 0));
    let length = seconds_to_frames(seconds + 1.0, options.sample_rate);
    for channel in &mut heard.channels {
        channel.drain(..from);
        assert!(channel.len() >= length, "the recording ended before the input: {} frames", channel.len());
        channel.truncate(length);
    }
    let late = usize::try_from(missed(&report) - before).expect("a count");
    let Block::Fixed(block) = options.block else { panic!("blocks of one size") };
    Played { run, heard, report, late, stalls, block, delay_frames }
}

impl Played {
    /// What was heard beside what should have been.
    pub fn verdict(&self, expected: &Audio) -> Verdict {
        let length = |frames: u32| usize::try_from(frames).expect("an index");
        let calls = Calls {
            log: &self.run.log,
            input_from: self.run.report.input_from_frame.expect("an input"),
            block: length(self.block),
            delay: length(self.delay_frames),
            sample_rate: self.heard.sample_rate,
        };
        if let Err(unknown) = &self.stalls {
            println!("whose fault late blocks are is not judged: {unknown}");
        }
        Verdict::new(expected, &self.heard, &calls, self.late, self.stalls.as_deref().ok())
    }

    /// A figure of the plug-in's report.
    ///
    /// # Panics
    /// There is none of this name.
    #[track_caller]
    pub fn figure(&self, name: &str) -> u64 {
        self.report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {:#}", self.report))
    }
}
