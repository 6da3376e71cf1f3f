//! A JACK server that plays to nobody, and what runs at it.

use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A server of a name that no other has; it and what is started at it end with this.
#[derive(Debug)]
pub struct Jack {
    /// Its name, for `JACK_DEFAULT_SERVER`.
    pub server: String,
    processes: Vec<Child>,
}

impl Jack {
    /// A server at 48 kHz with periods of so many frames; nothing where JACK is not installed, which is said.
    ///
    /// # Panics
    /// It does not come.
    #[must_use]
    pub fn start(period: u32) -> Option<Self> {
        let mut jack = Self { server: format!("audiocloud-{}", std::process::id()), processes: Vec::new() };
        let (name, period) = (jack.server.clone(), period.to_string());
        let arguments = ["--name", &name, "-d", "dummy", "-r", "48000", "-p", &period];
        if jack.spawn(jack.command("jackd").args(arguments)).is_err() {
            println!("skipped: there is no jackd (remedy: apt-get install jackd2)");
            return None;
        }
        until("the JACK server", || jack.succeeds("jack_lsp", &[]));
        Some(jack)
    }

    /// A program that finds this server. What it prints goes nowhere unless that is changed.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("JACK_DEFAULT_SERVER", &self.server);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts a command; its output where that is piped.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn spawn(&mut self, command: &mut Command) -> std::io::Result<Option<ChildStdout>> {
        let mut process = command.spawn()?;
        let output = process.stdout.take();
        self.processes.push(process);
        Ok(output)
    }

    /// Whether one of JACK's programs does what it is asked.
    #[must_use]
    pub fn succeeds(&self, program: &str, arguments: &[&str]) -> bool {
        self.command(program).args(arguments).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Jack {
    fn drop(&mut self) {
        // JACK has room for eight servers, and a place stays taken by one that could not clear up behind itself.
        for process in self.processes.iter_mut().rev() {
            let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
            // It may have ended by itself.
            pid.map(|pid| kill_process(pid, Signal::TERM).ok());
            let deadline = Instant::now() + Duration::from_secs(3);
            while matches!(process.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            process.kill().ok();
            process.wait().ok();
        }
    }
}

/// Waits for something that has to come.
///
/// # Panics
/// It does not come within half a minute.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}
