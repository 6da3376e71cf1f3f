//! The program `beat` of this crate's examples: bridges without a plug-in, led by lines.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// One that runs; it ends with this.
#[derive(Debug)]
pub struct Beat {
    process: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Beat {
    /// Starts it with these arguments, in this environment.
    ///
    /// # Panics
    /// It is not built: cargo builds the examples of a package along with its tests.
    #[must_use]
    pub fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        // …/debug/deps/all-…, and …/debug/examples/beat.
        let tests = std::env::current_exe().expect("a test");
        let program = tests.ancestors().nth(2).expect("two folders above").join("examples/beat");
        let mut process = Command::new(&program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let to = process.stdin.take();
        let from = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, to, from }
    }

    /// An edit of the beat map; when it begins.
    ///
    /// # Panics
    /// It is refused.
    pub fn edit(&mut self, line: &str) -> Instant {
        let answer: Value = serde_json::from_str(&self.ask(line)).expect("an answer");
        let begins = answer["begins_ns"].as_u64().expect("when it begins");
        // Rust's clock is the kernel's monotonic one, too, but does not say what it reads.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).expect("after the start of the machine");
        let now_ns = seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).expect("a part of a second");
        Instant::now() + Duration::from_nanos(begins.saturating_sub(now_ns))
    }

    /// What the bridges say.
    pub fn status(&mut self) -> String {
        self.ask("status")
    }

    fn ask(&mut self, line: &str) -> String {
        let to = self.to.as_mut().expect("open until the end");
        writeln!(to, "{line}").and_then(|()| to.flush()).expect("it reads");
        let mut answer = String::new();
        self.from.read_line(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        // The end of its input is its end: it leaves whom it led stopped.
        drop(self.to.take());
        if self.process.wait().is_err() {
            self.process.kill().ok();
        }
    }
}
