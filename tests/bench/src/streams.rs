//! The way from Send to Receive beside its peers, on good networks and bad ones: real sockets, two JACK servers, real
//! programs, one system after the other on the same seeded network.

mod alignment;
mod cell;
mod condition;
mod cycle_log;
mod forwarder;
mod impairment;
mod jack_servers;
mod latency;
mod network;
mod ours;
mod packet_socket;
mod picture;
pub(crate) mod probe;
mod program;
mod rows;
mod samples;
mod sandbox;
mod signal;
mod sine;
mod system;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

pub(crate) use self::cell::Cell;
use self::condition::Condition;
use self::signal::{Kind, Signal};
use self::system::{Stage, System};
use crate::table::Row;

/// Of each run, in seconds; a third of it under `--thorough`'s five minutes.
const SECONDS: f64 = 120.0;
const SECONDS_THOROUGH: f64 = 300.0;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    tools: ours::Tools,
    /// Five minutes instead of two
    #[arg(long)]
    thorough: bool,
    /// Networks [default: clean,loss1,loss5,jitter,burst]
    #[arg(long, value_delimiter = ',')]
    conditions: Vec<Condition>,
    /// Systems [default: all that are installed]
    #[arg(long, value_delimiter = ',')]
    systems: Vec<System>,
    /// Signals; the sine lasts as long as all others together [default: all, without recordings sine and noise]
    #[arg(long, value_delimiter = ',')]
    signals: Vec<Kind>,
    /// Frames per JACK cycle
    #[arg(long, default_value_t = 128)]
    frames: u32,
    /// How long signals are played in each run
    #[arg(long)]
    seconds: Option<f64>,
    /// How often each cell is measured, each time on new servers; its figure is the median
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Recordings of music and speech
    #[arg(long, value_name = "DIR", default_value = "../shared/audio")]
    recordings: PathBuf,
    /// Draws bad ms against latency there
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Sets a parameter of Receive
    #[arg(long, value_name = "NAME=TEXT")]
    parameter: Vec<String>,
    /// Keeps the recordings of each run there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) rows: Vec<Row>,
    pub(crate) cells: Vec<Cell>,
}

/// Measures; nothing when a process inside the sandbox did it in our place, and how that ended.
pub(crate) fn measure(args: &Args) -> Result<Result<Measured, std::process::ExitStatus>> {
    if let Some(status) = sandbox::enter()? {
        return Ok(Err(status));
    }
    let systems = systems(&args.systems)?;
    let conditions =
        if args.conditions.is_empty() { Condition::DEFAULT.to_vec() } else { args.conditions.clone() };
    let signal = Signal::new(&sections(args), &args.recordings)?;
    network::set_up()?;
    let mut cells = Vec::new();
    for run in 1..=args.runs {
        // New servers for each run: how their cycles lie to each other is part of what is measured.
        let servers = jack_servers::JackServers::start(args.frames, run, sandbox::scratch())?;
        for &condition in &conditions {
            for &system in &systems {
                let folder = cell::folder(sandbox::scratch(), system, condition, run);
                let stage = Stage {
                    folder: folder.clone(),
                    servers: servers.names.clone(),
                    block: args.frames,
                    seconds_max: signal.seconds() + 90.0,
                    ours: args.tools.clone(),
                    parameters: args.parameter.clone(),
                };
                let cell = cell::run(system, condition, run, &stage, &signal);
                eprintln!("{}", cell::line(&cell));
                cells.push(cell);
                if let Some(kept) = &args.keep {
                    copy(&folder, &kept.join(folder.file_name().unwrap_or_default()))?;
                }
                std::fs::remove_dir_all(&folder)?;
            }
        }
        let [a, b] = servers.programs;
        a.end();
        b.end();
    }
    if let Some(path) = &args.picture {
        picture::draw(path, &cells, args.frames)?;
    }
    Ok(Ok(Measured { rows: rows::of(&cells, args.frames), cells }))
}

/// Those asked for, or those that can be had.
fn systems(asked: &[System]) -> Result<Vec<System>> {
    let installed = |system: &System| {
        system.program().is_none_or(|program| {
            Command::new("which").arg(program).output().is_ok_and(|output| output.status.success())
        })
    };
    for needed in ["jackd", "ethtool", "ip", "chrt"] {
        let found = Command::new("which").arg(needed).output()?.status.success();
        ensure!(found, "missing: {needed} (remedy: cargo xtask bench streams --install-peers)");
    }
    let missing: Vec<&str> =
        asked.iter().filter(|system| !installed(system)).map(|system| system.name()).collect();
    ensure!(
        missing.is_empty(),
        "not installed: {} (remedy: cargo xtask bench streams --install-peers)",
        missing.join(", ")
    );
    if !asked.is_empty() {
        return Ok(asked.to_vec());
    }
    let (there, absent): (Vec<System>, Vec<System>) = System::ALL.into_iter().partition(installed);
    for system in absent {
        eprintln!("{} is not installed (remedy: cargo xtask bench streams --install-peers)", system.name());
    }
    Ok(there)
}

/// Half of the time for the sine, the other half for the others; a recording that is not there is not asked for.
fn sections(args: &Args) -> Vec<(Kind, f64)> {
    let seconds = args.seconds.unwrap_or(if args.thorough { SECONDS_THOROUGH } else { SECONDS });
    let mut kinds = args.signals.clone();
    if kinds.is_empty() {
        kinds = vec![Kind::Sine, Kind::Noise];
        if args.recordings.is_dir() {
            kinds.extend([Kind::Music, Kind::Speech]);
        }
    }
    let others = kinds.iter().filter(|kind| **kind != Kind::Sine).count();
    let has_sine = others < kinds.len();
    let share = |kind: Kind| match (kind, has_sine, others) {
        (Kind::Sine, _, 0) => seconds,
        (Kind::Sine, ..) => seconds / 2.0,
        (_, true, others) => seconds / 2.0 / signal::count(others),
        (_, false, others) => seconds / signal::count(others),
    };
    kinds.iter().map(|kind| (*kind, share(*kind))).collect()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
