//! A rig in a process of its own: how it is started, told and heard.
//!
//! The rig reads commands as lines on its standard input (`start`, `stop`, `state`, `restart`, `settle`, `parameter NAME=VALUE`)
//! and tells what happens as lines of JSON on its standard output, each an object with an `event`. It ends when its
//! input is closed, so that it cannot outlive the test that started it.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::{
    audio, audio::Audio, callback_log::CallbackLog, card::Card, notes::NoteEvent, report::Report, transport,
};

/// Sizes of the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Every block has so many frames.
    Fixed(u32),
    /// Every block has a size of its own, drawn evenly between the first two; the third is the seed.
    Random(u32, u32, u64),
}

/// When `process` is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At the rate of an audio device.
    Realtime,
    /// One call after the other, from the input's first frame on.
    Fast,
    /// So many calls at once, then a wait until as much time has gone by.
    Burst(u32),
}

/// What a rig is to run. Files go to the folder and under the name given to [`Rig::spawn`].
#[derive(Clone, Debug)]
pub struct Options {
    /// CLAP id of the plug-in.
    pub id: String,
    /// Recording to feed; silence without one.
    pub input: Option<PathBuf>,
    /// Events to feed, JSON.
    pub notes: Option<PathBuf>,
    /// The host's transport by a script; none: 4/4 at 120 from where the input begins.
    pub transport: Option<Vec<transport::Change>>,
    /// The transport that is told is that of so many frames later.
    pub transport_ahead: u32,
    /// Width of the main ports.
    pub channels: usize,
    /// Frames per second.
    pub sample_rate: u32,
    /// Block sizes.
    pub block: Block,
    /// Pacing.
    pub pace: Pace,
    /// The sound card that it simulates; none: an exact one.
    pub card: Option<Card>,
    /// How far ahead of its deadlines the rig runs, in milliseconds.
    pub ahead_ms: u32,
    /// `SCHED_FIFO` priority of the audio thread; ordinary scheduling without one.
    pub fifo: Option<u32>,
    /// Persisted fields of the plug-in: key and JSON.
    pub fields: Vec<(String, Value)>,
    /// Parameters: id or name, and text.
    pub parameters: Vec<(String, String)>,
    /// Parameters of the second plug-in, likewise.
    pub then_parameters: Vec<(String, String)>,
    /// Saved state to load.
    pub state: Option<PathBuf>,
    /// Room for the recording, in seconds; the rig stops there.
    pub seconds_max: f64,
    /// Tell the plug-in that the render is offline.
    pub offline: bool,
    /// Begin feeding at once instead of at `start`.
    pub start: bool,
    /// A second plug-in that hears the first one's output, and its persisted fields.
    pub then: Option<(String, Vec<(String, Value)>)>,
    /// Name of a JACK client: run inside a JACK client instead of the paced loop.
    pub jack: Option<String>,
    /// Network namespace to run in; none: this one.
    pub namespace: Option<String>,
    /// Further environment of the process.
    pub environment: Vec<(String, String)>,
}

impl Options {
    /// A real-time run of plug-in `id`: stereo, 48 kHz, 128 frames, silence in, at most two minutes.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            input: None,
            notes: None,
            transport: None,
            transport_ahead: 0,
            channels: 2,
            sample_rate: 48_000,
            block: Block::Fixed(128),
            pace: Pace::Realtime,
            card: None,
            ahead_ms: 0,
            fifo: Some(70),
            fields: Vec::new(),
            parameters: Vec::new(),
            then_parameters: Vec::new(),
            state: None,
            seconds_max: 120.0,
            offline: false,
            start: false,
            then: None,
            jack: None,
            namespace: None,
            environment: Vec::new(),
        }
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut push = |flag: &str, value: &dyn AsRef<std::ffi::OsStr>| {
            arguments.push(flag.into());
            arguments.push(value.as_ref().into());
        };
        push("--id", &self.id);
        push("--channels", &self.channels.to_string());
        push("--rate", &self.sample_rate.to_string());
        push("--seconds", &self.seconds_max.to_string());
        push("--ahead-ms", &self.ahead_ms.to_string());
        if let Some(Card { drift_ppm, wander_ppm }) = self.card {
            push("--card", &format!("{drift_ppm}:{wander_ppm}"));
        }
        push("--transport-ahead", &self.transport_ahead.to_string());
        match self.block {
            Block::Fixed(frames) => push("--block", &frames.to_string()),
            Block::Random(low, high, seed) => {
                push("--block-random", &format!("{low}:{high}"));
                push("--seed", &seed.to_string());
            }
        }
        push(
            "--pace",
            &match self.pace {
                Pace::Realtime => "realtime".to_owned(),
                Pace::Fast => "fast".to_owned(),
                Pace::Burst(calls) => format!("burst:{calls}"),
            },
        );
        let paths = [("--input", &self.input), ("--notes", &self.notes), ("--state", &self.state)];
        for (flag, path) in paths {
            if let Some(path) = path {
                push(flag, path);
            }
        }
        if let Some(priority) = self.fifo {
            push("--fifo", &priority.to_string());
        }
        if let Some(client) = &self.jack {
            push("--jack", client);
        }
        for (key, value) in &self.fields {
            push("--field", &format!("{key}={value}"));
        }
        if let Some((id, fields)) = &self.then {
            push("--then", id);
            for (key, value) in fields {
                push("--then-field", &format!("{key}={value}"));
            }
        }
        for (name, text) in &self.then_parameters {
            push("--then-param", &format!("{name}={text}"));
        }
        for (name, text) in &self.parameters {
            push("--param", &format!("{name}={text}"));
        }
        let flags = [("--offline", self.offline), ("--wait", !self.start)];
        arguments.extend(flags.into_iter().filter(|(_, set)| *set).map(|(flag, _)| OsString::from(flag)));
        arguments
    }
}

/// A running rig.
#[derive(Debug)]
pub struct Rig {
    name: String,
    child: Child,
    commands: Option<ChildStdin>,
    told: Receiver<Value>,
    files: PathBuf,
}

/// What a finished rig leaves.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its figures.
    pub report: Report,
    /// Its calls.
    pub log: CallbackLog,
    /// What the plug-in's main output was.
    pub output: Audio,
    /// What the plug-in's second output was, if it has one.
    pub output_2: Option<Audio>,
    /// What the second plug-in's main output was, if there was one.
    pub then_output: Option<Audio>,
    /// What the plug-in was told of the host's transport, block by block.
    pub transport: Vec<transport::Record>,
    /// Events the plug-in sent.
    pub notes: Vec<NoteEvent>,
    /// The plug-in's state at the end.
    pub state: Value,
}

/// A command that runs in a network namespace, as one process.
pub fn command_in(namespace: Option<&str>, program: &Path) -> Command {
    let Some(namespace) = namespace else { return Command::new(program) };
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

impl Rig {
    /// Starts `binary` on `plugin`; its files are `folder/name.*`. The process's standard error goes to a file there.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn spawn(binary: &Path, plugin: &Path, folder: &Path, name: &str, options: &Options) -> Result<Self> {
        let files = folder.join(name);
        let errors = std::fs::File::create(files.with_extension("stderr"))?;
        let mut arguments = options.arguments();
        if let Some(script) = &options.transport {
            let path = files.with_extension("script.json");
            std::fs::write(&path, serde_json::to_vec(script)?)?;
            arguments.extend(["--transport".into(), path.into()]);
        }
        let mut child = command_in(options.namespace.as_deref(), binary)
            .arg("run")
            .arg("--plugin")
            .arg(plugin)
            .args(arguments)
            .arg("--files")
            .arg(&files)
            .envs(options.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let output = child.stdout.take().context("no standard output")?;
        let (tell, told) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if tell.send(value).is_err() {
                    break;
                }
            }
        });
        let commands = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, commands, told, files })
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a command line.
    ///
    /// # Errors
    /// The rig no longer reads.
    pub fn command(&mut self, line: &str) -> Result<()> {
        let commands = self.commands.as_mut().context("the rig's input is closed")?;
        writeln!(commands, "{line}")
            .with_context(|| format!("{} took no command: {}", self.name, self.errors()))
    }

    /// Waits for an event of the given name and returns its object; others before it are passed over.
    ///
    /// # Errors
    /// It does not come in time, or the rig ends, or reports an error.
    pub fn wait(&mut self, event: &str, within: Duration) -> Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.told.recv_timeout(left) {
                Ok(value) if value["event"] == event => return Ok(value),
                Ok(value) if value["event"] == "error" => bail!("{}: {}", self.name, value["message"]),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not say {event:?} within {within:?}: {}", self.name, self.errors())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().map(|status| status.to_string()).unwrap_or_default();
                    bail!("{} ended ({status}) before {event:?}: {}", self.name, self.errors())
                }
            }
        }
    }

    /// The plug-in's state, asked for now.
    ///
    /// # Errors
    /// The rig does not answer.
    pub fn state(&mut self) -> Result<Value> {
        self.command("state")?;
        Ok(self.wait("state", Duration::from_secs(5))?["state"].take())
    }

    /// Kills the process as `kill -9` does and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether the process still runs, else how it ended.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Stops the run, waits for the process's end and reads what it left.
    ///
    /// # Errors
    /// The rig fails, crashes, or does not end within a minute.
    pub fn finish(mut self) -> Result<Run> {
        // A rig that reached its `--seconds` is going or gone, and takes no command: its files tell.
        self.command("stop").ok();
        let status = self.wait_for_end(Duration::from_secs(60))?;
        if !status.success() {
            bail!("{} ended with {status}: {}", self.name, self.errors());
        }
        let optional =
            |extension: &str| Some(self.files.with_extension(extension)).filter(|path| path.is_file());
        let json = |extension: &str| -> Result<Value> {
            let path = self.files.with_extension(extension);
            let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            Ok(serde_json::from_slice(&text)?)
        };
        Ok(Run {
            report: serde_json::from_value(json("json")?)?,
            log: CallbackLog::read(self.files.with_extension("calls"))?,
            output: audio::read(self.files.with_extension("wav"))?,
            output_2: optional("2.wav").map(audio::read).transpose()?,
            then_output: optional("then.wav").map(audio::read).transpose()?,
            transport: serde_json::from_value(json("transport.json")?)?,
            notes: serde_json::from_value(json("notes.json")?)?,
            state: json("state.json")?,
        })
    }

    fn wait_for_end(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        // The reader's end closes with the process: waiting for it is waiting for the process.
        while Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.told.recv_timeout(left) {
                Ok(value) if value["event"] == "error" => bail!("{}: {}", self.name, value["message"]),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(self.child.wait()?),
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        Err(anyhow!("{} did not end within {within:?}: {}", self.name, self.errors()))
    }

    /// The path of the state file that the rig writes when it ends.
    pub fn state_file(&self) -> PathBuf {
        self.files.with_extension("state.json")
    }

    /// What the rig and the plug-in wrote to standard error so far.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.files.with_extension("stderr")).unwrap_or_default()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.commands = None;
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nothing to do about a process that can be neither killed nor waited for.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
