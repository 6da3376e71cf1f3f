//! Peers that share time: the runtime's example program `clock`, each a process with a simulated clock of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::trace::Sample;
use crate::streams::network::{Site, at};

/// Until a runtime is there.
const START: Duration = Duration::from_secs(20);
/// The user's key, of which all have the same.
const USER_KEY: &str = "config/user.key";

/// A simulated clock: how wrong, and how it wanders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Simulated {
    pub(super) ppm: f64,
    pub(super) period_s: f64,
    pub(super) ahead_s: f64,
}

/// Either way, once in the period.
const WANDER_PPM: f64 = 0.5;

impl Simulated {
    /// The worst that crystals of computers are.
    pub(super) const FAST: Self = Self { ppm: 50.0, period_s: 120.0, ahead_s: 3.0 };
    pub(super) const SLOW: Self = Self { ppm: -50.0, period_s: 90.0, ahead_s: 11.0 };
    pub(super) const THIRD: Self = Self { ppm: 17.0, period_s: 70.0, ahead_s: 29.0 };
}

/// A running peer; it ends when dropped.
#[derive(Debug)]
pub(super) struct Peer {
    folder: PathBuf,
    child: Child,
    /// Open as long as it shall run.
    _input: ChildStdin,
    /// Where others find it: `ADDRESS=DEVICE`.
    pub(super) place: String,
    samples: Arc<Mutex<Vec<Sample>>>,
}

impl Peer {
    /// Starts one at an address of a site, and waits until it is there. With `others` it is another machine of their user.
    pub(super) fn start(
        program: &Path,
        folder: &Path,
        (site, address): (Site, &str),
        clock: Simulated,
        others: Option<&Self>,
        options: &[&str],
    ) -> Result<Self> {
        std::fs::create_dir_all(folder.join("config"))?;
        let Simulated { ppm, period_s, ahead_s } = clock;
        let numbers =
            [("--ppm", ppm), ("--wander", WANDER_PPM), ("--period", period_s), ("--ahead", ahead_s)];
        let mut command = at(site, None, program);
        command.arg(folder).args(["--bind", &format!("{address}:0")]).args(options);
        for (name, number) in numbers {
            command.args([name, &number.to_string()]);
        }
        if let Some(others) = others {
            std::fs::copy(others.folder.join(USER_KEY), folder.join(USER_KEY))?;
            command.args(["--peer", &others.place]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{} cannot be run", program.display()))?;
        let input = child.stdin.take().context("no pipe")?;
        let mut lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        let samples = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&samples);
        let (tell, told) = mpsc::channel();
        std::thread::Builder::new().name("trace".into()).spawn(move || {
            if let Some(Ok(first)) = lines.next() {
                // Nobody waits any longer when it came too late.
                tell.send(first).ok();
            }
            for line in lines.map_while(Result::ok) {
                if let Some(sample) = Sample::parse(&line) {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                }
            }
        })?;
        let first = told.recv_timeout(START);
        let first = first.with_context(|| format!("a peer did not start: {}", folder.display()))?;
        let (device, port) = first.split_once(' ').context("a peer of another version")?;
        let place = format!("{address}:{port}={device}");
        Ok(Self { folder: folder.to_owned(), child, _input: input, place, samples })
    }

    /// Ends it as a power cut would.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// What it told so far.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it runs still.
    pub(super) fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the peer in {} has ended by itself", self.folder.display());
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
