//! What is started: programs at a site, the time they take, and their end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use audiocloud_rig::clock::process_cpu_ns;
use rustix::process::{Pid, Signal, kill_process};

/// A program that was asked to end is killed after so long.
const PATIENCE: Duration = Duration::from_secs(3);
/// The scheduling policy's place among the fields of `/proc/…/stat` after the program's name.
const POLICY_FIELD: usize = 38;

/// A running program; it is ended when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    child: Child,
    commands: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Program {
    /// Starts `command`; what it says on standard error goes to a file in `folder`.
    pub(crate) fn start(mut command: Command, name: &str, folder: &Path) -> Result<Self> {
        let log = File::create(folder.join(format!("{name}.log")))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let output = child.stdout.take().context("no standard output")?;
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
            for line in lines {
                if tell.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    // Nobody listens any more, but the program must not wait for us either.
                    continue;
                }
            }
        });
        Ok(Self { name: name.to_owned(), commands: child.stdin.take(), child, lines })
    }

    pub(crate) fn command(&mut self, line: &str) -> Result<()> {
        let commands = self.commands.as_mut().with_context(|| format!("{} takes no commands", self.name))?;
        writeln!(commands, "{line}").with_context(|| format!("{} took no command", self.name))
    }

    /// Waits for a line in which `wanted` is.
    pub(crate) fn wait_for(&mut self, wanted: &str, within: Duration, folder: &Path) -> Result<String> {
        let deadline = Instant::now() + within;
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(wanted) => return Ok(line),
                Ok(line) => said.push(line),
                Err(reason) => {
                    let what = match reason {
                        RecvTimeoutError::Timeout => format!("did not say {wanted:?} within {within:?}"),
                        RecvTimeoutError::Disconnected => format!("ended before it said {wanted:?}"),
                    };
                    let errors = fs::read_to_string(folder.join(format!("{}.log", self.name)));
                    bail!("{} {what}: {} {}", self.name, said.join("\n"), errors.unwrap_or_default());
                }
            }
        }
    }

    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The processor time that its threads have taken so far, those that have ended included: zita-n2j begins its network
    /// thread anew whenever it has lost the stream. Nothing once it is gone.
    pub(crate) fn run_time(&self) -> Duration {
        let nanos = process_cpu_ns(self.child.id()).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// Puts those of its threads at SCHED_FIFO `priority` that gave up the scheduling they were started with.
    pub(crate) fn schedule_all(&self, priority: u32) {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten();
        for task in tasks.filter_map(Result::ok) {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            if fields.clone().nth(POLICY_FIELD) == Some("0") {
                let mut command = Command::new("chrt");
                command.args(["--fifo", "--pid", &priority.to_string()]).arg(task.file_name());
                // A thread that has ended meanwhile needs no scheduling.
                command.output().ok();
            }
        }
    }

    /// Asks it to end, by the end of its input and by a signal, and waits until it has.
    pub(crate) fn end(mut self) {
        self.stop(Some(Signal::TERM));
    }

    /// Lets it end by itself, after its input's end.
    pub(crate) fn finish(mut self, within: Duration) -> Result<()> {
        self.commands = None;
        let deadline = Instant::now() + within;
        while self.runs() {
            if Instant::now() > deadline {
                bail!("{} did not end within {within:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{} ended with {status}", self.name);
        }
        Ok(())
    }

    fn stop(&mut self, signal: Option<Signal>) {
        self.commands = None;
        if let Some(signal) = signal.filter(|_| self.runs()) {
            // It may have ended meanwhile.
            kill_process(Pid::from_child(&self.child), signal).ok();
            let deadline = Instant::now() + PATIENCE;
            while self.runs() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if self.runs() {
            self.child.kill().ok();
        }
        self.child.wait().ok();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop(Some(Signal::TERM));
    }
}
