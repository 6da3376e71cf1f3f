//! Remote FX and the node that plays its chain, in processes of their own.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use audiocloud_rig::{
    audio::Audio,
    process::{Block, Options, Rig, Run},
    session::{START, World},
};
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

/// `audiocloud node` in a process of its own.
#[derive(Debug)]
pub struct FxNode {
    world: World,
    child: Option<Child>,
}

impl FxNode {
    /// Starts one on this machine, for its own user.
    ///
    /// # Panics
    /// It does not start.
    pub fn new(stage: &Stage) -> Self {
        let mut node = Self { world: stage.world.clone(), child: None };
        node.start(stage);
        node
    }

    /// Starts it again, and waits until it is there.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(&mut self, stage: &Stage) {
        let arguments = ["node", "--json", "--metrics", "off"];
        let mut command = self.world.audiocloud(&stage.tools, &arguments);
        let errors = std::fs::File::create(self.world.files.join("node.stderr")).expect("a file");
        let mut child = command.stdout(Stdio::piped()).stderr(errors).spawn().expect("a node");
        let output = child.stdout.take().expect("its output");
        self.child = Some(child);
        // It says where it is, once it is there.
        let mut said = serde_json::Deserializer::from_reader(output).into_iter::<Value>();
        said.next().expect("where it is").expect("JSON");
        // It may say more, which nobody reads: its pipe must stay open.
        std::thread::spawn(move || said.for_each(drop));
    }

    /// Ends it without a word.
    ///
    /// # Panics
    /// It cannot be ended.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let killed = Command::new("kill").args(["-KILL", &child.id().to_string()]).status().expect("kill");
        assert!(killed.success(), "the node cannot be ended");
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

/// Starts a rig, waits until it is as late as it should be (a host restarts a plug-in whose latency became another) and, with a
/// node, its chain plays; then begins a new epoch with the first frame of the input.
///
/// # Panics
/// Something of it fails.
pub fn launch(stage: &Stage, name: &str, options: &Options, delay_frames: u32, on_node: bool) -> Rig {
    let options = Options { start: false, ..options.clone() };
    let mut rig = stage.world.rig(&stage.tools, name, &options).expect("a rig");
    rig.wait("ready", START).expect("ready");
    wait_report(stage, "settled", |report| report["delay_frames"] == delay_frames);
    // A host may restart it once more: what moves by itself would then be elsewhere when the input begins.
    std::thread::sleep(Duration::from_secs(1));
    if on_node {
        wait_live(stage);
    }
    rig.command("pause").expect("paused");
    rig.wait("paused", START).expect("paused");
    rig.command("start").expect("begun");
    rig.command("resume").expect("resumed");
    rig
}

/// Plays all of the input, and a second more. What came out from the frame on that the input began at, with the plug-in's
/// last report.
///
/// # Panics
/// Something of it fails.
pub fn play(stage: &Stage, mut rig: Rig, seconds: f64) -> (Run, Audio, Option<Value>) {
    rig.wait("input-done", Duration::from_secs_f64(seconds + 20.0)).expect("played");
    rig.command("run-on 1").expect("run on");
    rig.wait("ran-on", START).expect("ran on");
    let status = stage.world.status(&stage.tools).ok();
    let report = status.as_ref().and_then(|status| reports(status).first().map(|report| (*report).clone()));
    let run = rig.finish().expect("a run");
    let from = usize::try_from(run.report.input_from_frame.expect("an input")).expect("an index");
    let channels = run.output.channels.iter().map(|channel| channel[from..].to_vec()).collect();
    let heard = Audio { channels, ..run.output.clone() };
    (run, heard, report)
}
