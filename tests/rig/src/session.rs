//! Sessions of rigs: folders of their own, an identity, Send in one process and Receive in another.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    analysis::{self, Comparison, Latency},
    audio::Audio,
    process::{Block, Options, Pace, Rig, Run, command_in},
};

/// CLAP id of audiocloud Send.
pub const SEND_ID: &str = "org.audiocloud.send";
/// CLAP id of audiocloud Receive.
pub const RECEIVE_ID: &str = "org.audiocloud.receive";

/// CLAP id of audiocloud Clock.
pub const CLOCK_ID: &str = "org.audiocloud.clock";

/// Where the built things are.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The binary `audiocloud-rig`.
    pub rig: PathBuf,
    /// The binary `audiocloud`.
    pub audiocloud: PathBuf,
    /// The CLAP file.
    pub plugin: PathBuf,
}

impl Tools {
    /// From `AUDIOCLOUD_BUNDLE_DIR`, `AUDIOCLOUD_BIN` and `AUDIOCLOUD_RIG`; the rig may also lie beside the running
    /// program or, for a test, one folder above it.
    ///
    /// # Errors
    /// One is unset or is not there; the message says what sets it.
    pub fn from_environment() -> Result<Self> {
        let set = |name: &str| {
            env::var_os(name).map(PathBuf::from).with_context(|| {
                format!("{name} is not set: run `cargo xtask test`, which builds the bundle and sets it")
            })
        };
        let tools = Self {
            plugin: set("AUDIOCLOUD_BUNDLE_DIR")?.join("audiocloud.clap"),
            audiocloud: set("AUDIOCLOUD_BIN")?,
            rig: env::var_os("AUDIOCLOUD_RIG").map(PathBuf::from).map_or_else(beside, Ok)?,
        };
        for path in [&tools.plugin, &tools.audiocloud, &tools.rig] {
            ensure!(path.exists(), "{} is missing: run `cargo xtask bundle`", path.display());
        }
        Ok(tools)
    }
}

fn beside() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let name = format!("audiocloud-rig{}", env::consts::EXE_SUFFIX);
    let folders = program.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(&name)).find(|path| path.exists());
    found.context("audiocloud-rig is not built: run `cargo build -p audiocloud-rig` or set AUDIOCLOUD_RIG")
}

/// One user's machine: a configuration folder, a runtime folder, and a folder for what is written.
#[derive(Clone, Debug)]
pub struct World {
    /// Where identity and `config.toml` are.
    pub config: PathBuf,
    /// Where control sockets and claims are.
    pub runtime: PathBuf,
    /// Where the rigs' files go.
    pub files: PathBuf,
    /// Network namespace of its processes; none: this one.
    pub namespace: Option<String>,
}

/// Who a [`World`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device's key, in hexadecimal digits.
    pub device: String,
    /// The user's key, in hexadecimal digits.
    pub user: String,
}

impl World {
    /// Makes the folders under `root` and a configuration that binds the loopback interface and announces nothing.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn new(root: &Path) -> Result<Self> {
        Self::with_config(root, "")
    }

    /// As [`World::new`], with further lines of `config.toml`.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn with_config(root: &Path, lines: &str) -> Result<Self> {
        Self::in_namespace(root, None, lines)
    }

    /// As [`World::with_config`], with processes that run in a network namespace, and bind all of its interfaces.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn in_namespace(root: &Path, namespace: Option<&str>, lines: &str) -> Result<Self> {
        let [config, runtime, files] = ["config", "runtime", "files"].map(|folder| root.join(folder));
        let world = Self { config, runtime, files, namespace: namespace.map(str::to_owned) };
        for folder in [&world.config, &world.runtime, &world.files] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        world.configure(lines)?;
        Ok(world)
    }

    /// Writes `config.toml` anew, with further `lines`: what starts from now on reads it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure(&self, lines: &str) -> Result<()> {
        let bind = if self.namespace.is_some() { "[::]:0" } else { "127.0.0.1:0" };
        let config = format!("name = \"Test\"\nbind = \"{bind}\"\nmdns = false\n{lines}");
        fs::write(self.config.join("config.toml"), config).context("writing config.toml")
    }

    /// The variables that make a process part of this world.
    pub fn environment(&self) -> Vec<(String, String)> {
        let folder = |path: &Path| path.display().to_string();
        vec![
            ("AUDIOCLOUD_CONFIG_DIR".into(), folder(&self.config)),
            ("AUDIOCLOUD_RUNTIME_DIR".into(), folder(&self.runtime)),
        ]
    }

    /// Who this world is; its keys are made by the first call.
    ///
    /// # Errors
    /// The binary fails or answers in another form.
    pub fn identity(&self, tools: &Tools) -> Result<Identity> {
        let answer = self.ask(tools, &["identity", "--json"])?;
        let text = |key: &str| {
            answer[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {answer}"))
        };
        Ok(Identity { device: text("device")?, user: text("user")? })
    }

    /// What `audiocloud status --json` answers.
    ///
    /// # Errors
    /// The binary fails or does not answer in JSON.
    pub fn status(&self, tools: &Tools) -> Result<Value> {
        self.ask(tools, &["status", "--json"])
    }

    /// The command `audiocloud` with these arguments, as a process of this world.
    pub fn audiocloud(&self, tools: &Tools, arguments: &[&str]) -> Command {
        let mut command = command_in(self.namespace.as_deref(), &tools.audiocloud);
        command.args(arguments).envs(self.environment());
        command
    }

    /// What a command answers in JSON.
    ///
    /// # Errors
    /// The binary fails or does not answer in JSON.
    pub fn ask(&self, tools: &Tools, arguments: &[&str]) -> Result<Value> {
        let output = self.audiocloud(tools, arguments).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "audiocloud {arguments:?}: {}: {errors}", output.status);
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!("audiocloud {arguments:?} said {:?}", String::from_utf8_lossy(&output.stdout))
        })
    }

    /// Asks for the status until `wanted` finds what it looks for in it.
    ///
    /// # Errors
    /// It is not found in time; the message has the last status.
    pub fn wait_status<T>(
        &self,
        tools: &Tools,
        within: Duration,
        what: &str,
        wanted: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            let status = self.status(tools);
            if let Some(found) = status.as_ref().ok().and_then(&wanted) {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                bail!("not {what} within {within:?}; status: {status:#?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a rig in this world.
    ///
    /// # Errors
    /// As [`Rig::spawn`].
    pub fn rig(&self, tools: &Tools, name: &str, options: &Options) -> Result<Rig> {
        let mut options = options.clone();
        let mut environment = self.environment();
        environment.append(&mut options.environment);
        options.environment = environment;
        options.namespace = options.namespace.or_else(|| self.namespace.clone());
        Rig::spawn(&tools.rig, &tools.plugin, &self.files, name, &options)
    }
}

/// The subscriptions of all runtimes in a status.
pub fn subscriptions(status: &Value) -> Vec<&Value> {
    list(status, "subscriptions")
}

/// The publications of all runtimes in a status.
pub fn publications(status: &Value) -> Vec<&Value> {
    list(status, "publications")
}

fn list<'a>(status: &'a Value, key: &str) -> Vec<&'a Value> {
    let runtimes = status["runtimes"].as_array().map(Vec::as_slice).unwrap_or_default();
    runtimes.iter().filter_map(|runtime| runtime[key].as_array()).flatten().collect()
}

/// How a pair is run.
#[derive(Clone, Debug)]
pub struct PairOptions {
    /// Send's rig.
    pub send: Options,
    /// Receive's rig.
    pub receive: Options,
    /// The stream's id.
    pub stream: u64,
    /// Receive's playout delay in milliseconds, which is fixed then; without one, the lowest latency.
    pub playout_ms: Option<f64>,
    /// How Send writes samples, by the name of announcements; the plug-in's default without one.
    pub codec: Option<&'static str>,
}

impl PairOptions {
    /// Both sides alike: the given width, rate and block, in real time.
    pub fn new(channels: usize, sample_rate: u32, block: Block) -> Self {
        let side = |id: &str| Options { channels, sample_rate, block, ..Options::new(id) };
        Self {
            send: side(SEND_ID),
            receive: side(RECEIVE_ID),
            stream: 0x0123_4567_89ab_cdef,
            playout_ms: None,
            codec: None,
        }
    }

    /// Both sides paced alike.
    #[must_use]
    pub fn paced(mut self, pace: Pace) -> Self {
        self.send.pace = pace;
        self.receive.pace = pace;
        self
    }
}

/// Send in one process, Receive in another.
#[derive(Debug)]
pub struct Pair {
    /// Where the two live.
    pub world: World,
    /// Send's rig.
    pub send: Rig,
    /// Receive's rig.
    pub receive: Rig,
    /// The options both were started with, fields filled in.
    pub options: PairOptions,
    tools: Tools,
}

/// What a pair's run amounts to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Send's side.
    pub send: Run,
    /// Receive's side.
    pub receive: Run,
    /// The source against what came out.
    pub comparison: Comparison,
    /// From Send's callback to out of Receive's.
    pub latency: Latency,
    /// The status of all runtimes just before the end.
    pub status: Value,
}

impl Outcome {
    /// A figure of Receive's report in the status, searched for by name at any depth.
    pub fn receive_figure(&self, name: &str) -> Option<u64> {
        subscriptions(&self.status).into_iter().find_map(|entry| figure(entry, name))
    }
}

/// The first number called `name` in `value`, at any depth.
pub fn figure(value: &Value, name: &str) -> Option<u64> {
    match value {
        Value::Object(members) => members
            .get(name)
            .and_then(Value::as_u64)
            .or_else(|| members.values().find_map(|member| figure(member, name))),
        Value::Array(items) => items.iter().find_map(|item| figure(item, name)),
        _ => None,
    }
}

impl Pair {
    /// Starts Receive, then Send, with the stream's id and publisher in their states, input waiting.
    ///
    /// # Errors
    /// A process cannot be started.
    pub fn start(tools: &Tools, world: &World, options: &PairOptions) -> Result<Self> {
        let device = world.identity(tools)?.device;
        let mut options = options.clone();
        let stream = format!("{:016x}", options.stream);
        let mut field = send_field(&stream);
        if let Some(codec) = options.codec {
            field["codec"] = codec.into();
        }
        options.send.fields.push(("stream".into(), field));
        options.receive.fields.push(("stream".into(), receive_field(&device, &stream)));
        if let Some(delay) = options.playout_ms {
            options.receive.parameters.push(("playout".into(), "Fixed".into()));
            options.receive.parameters.push(("delay".into(), delay.to_string()));
        }
        let mut receive = world.rig(tools, "receive", &options.receive)?;
        receive.wait("ready", START)?;
        let mut send = world.rig(tools, "send", &options.send)?;
        send.wait("ready", START)?;
        Ok(Self { world: world.clone(), send, receive, options, tools: tools.clone() })
    }

    /// Waits until the stream plays on Receive's side.
    ///
    /// # Errors
    /// It does not within `within`.
    pub fn wait_live(&self, within: Duration) -> Result<()> {
        self.world.wait_status(&self.tools, within, "live", |status| {
            subscriptions(status).into_iter().any(is_playing).then_some(())
        })
    }

    /// Begins to feed the input and waits until all of it is in; `within` is its length and some more.
    ///
    /// # Errors
    /// A rig fails.
    pub fn play(&mut self, within: Duration) -> Result<()> {
        self.begin()?;
        self.send.wait("input-done", within)?;
        Ok(())
    }

    /// Begins to feed the input.
    ///
    /// # Errors
    /// The rig does not answer.
    pub fn begin(&mut self) -> Result<()> {
        self.send.command("start")?;
        self.send.wait("input", START)?;
        Ok(())
    }

    /// Waits for what is under way to come out, ends both rigs and compares with `source`.
    ///
    /// # Errors
    /// A rig fails or has crashed.
    pub fn finish(self, source: &Audio) -> Result<Outcome> {
        let (_, outcome) = self.end(source)?;
        Ok(outcome)
    }

    fn end(mut self, source: &Audio) -> Result<(World, Outcome)> {
        let status = self.world.status(&self.tools)?;
        // The longest playout delay and then some, counted in Receive's own frames.
        self.receive.command("run-on 0.4")?;
        self.receive.wait("ran-on", START)?;
        let receive = self.receive.finish()?;
        let send = self.send.finish()?;
        let comparison = analysis::compare(source, &receive.output);
        let from = send.report.input_from_frame.unwrap_or(0);
        let shift = comparison.offset_frames.saturating_sub(i64::try_from(from)?);
        let to = from + u64::try_from(source.frames())?;
        let latency = analysis::latency(&send.log, &receive.log, shift, from..to);
        Ok((self.world, Outcome { send, receive, comparison, latency, status }))
    }
}

/// How long a rig may take to load a plug-in and begin.
pub const START: Duration = Duration::from_secs(20);

/// Whether a subscription of a status is live and plays.
pub fn is_playing(subscription: &Value) -> bool {
    let link = subscription["link"].as_str().is_some_and(|link| link.eq_ignore_ascii_case("live"));
    link && subscription["report"]["state"]
        .as_str()
        .is_some_and(|state| state.eq_ignore_ascii_case("playing"))
}

/// Send's persisted field.
pub fn send_field(stream: &str) -> Value {
    json!({ "schema": 1, "name": "Rig", "stream": stream })
}

/// Receive's persisted field.
pub fn receive_field(publisher: &str, stream: &str) -> Value {
    json!({ "schema": 1, "publisher": publisher, "stream": stream, "name": "Rig" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_at_any_depth() {
        let status = json!({"runtimes": [{"subscriptions": [
            {"link": "live", "report": {"state": "Playing"}, "counters": {"packets": 7}}
        ]}]});
        assert_eq!(figure(&status, "packets"), Some(7));
        assert_eq!(figure(&status, "absent"), None);
        assert!(subscriptions(&status).into_iter().all(is_playing));
        assert!(!is_playing(&json!({"link": "live", "report": {"state": "Waiting"}})));
        assert!(!is_playing(&json!({"link": "lost", "report": {"state": "Playing"}})));
    }

    #[test]
    fn a_world_is_on_the_loopback_interface() {
        let root = std::env::temp_dir().join(format!("audiocloud-rig-world-{}", std::process::id()));
        let world = World::with_config(&root, "[[peer]]\n").expect("a world");
        let config = fs::read_to_string(world.config.join("config.toml")).expect("a config");
        fs::remove_dir_all(&root).expect("removed");
        assert!(config.contains("bind = \"127.0.0.1:0\"") && config.ends_with("[[peer]]\n"));
    }
}
