//! Two JACK servers with the dummy driver, realtime, one at each site.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::network::{Site, at};
use super::program::Program;
use super::signal::SAMPLE_RATE_HZ;

const PRIORITY: u32 = 75;
const ANSWERS: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct JackServers {
    pub(crate) names: [String; 2],
    pub(crate) programs: [Program; 2],
}

impl JackServers {
    /// Starts both with blocks of `block` frames. `round` is in their names, for JACK keeps what a server that was killed
    /// left.
    pub(crate) fn start(block: u32, round: u32, folder: &Path) -> Result<Self> {
        let names = Site::BOTH.map(|site| format!("{}{round}", site.name()));
        let start = |site: Site, name: &str| {
            let mut command = at(site, Some(PRIORITY - 1), "jackd");
            command.args([
                "-n",
                name,
                "-R",
                "-P",
                &PRIORITY.to_string(),
                "-d",
                "dummy",
                "-C",
                "2",
                "-P",
                "2",
            ]);
            command.args(["-r", &SAMPLE_RATE_HZ.to_string(), "-p", &block.to_string()]);
            Program::start(command, &format!("jackd-{name}"), folder)
        };
        let programs = [start(Site::A, &names[0])?, start(Site::B, &names[1])?];
        let deadline = Instant::now() + ANSWERS;
        for name in &names {
            let answers = || {
                let output = Command::new("jack_wait").args(["-s", name, "-w", "-t", "1"]).output();
                output.is_ok_and(|output| output.status.success())
            };
            while !answers() {
                ensure!(Instant::now() < deadline, "JACK server {name} does not answer");
            }
        }
        Ok(Self { names, programs })
    }
}
