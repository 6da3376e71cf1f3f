//! The way from Send to Receive beside its peers, on good networks and bad ones: real sockets, two JACK servers, real
//! programs, one system after the other on the same seeded network.

mod alignment;
mod cell;
mod condition;
mod cycle_log;
pub(crate) mod forwarder;
pub(crate) mod impairment;
mod jack_servers;
mod latency;
mod load;
pub(crate) mod network;
mod ours;
mod packet_socket;
mod picture;
pub(crate) mod probe;
mod program;
mod quality;
mod rows;
mod samples;
pub(crate) mod sandbox;
mod signal;
mod sine;
mod system;
mod tcp;
mod verdict;
mod wake;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use self::cell::Cell;
use self::condition::Condition;
use self::load::Load;
use self::signal::{Kind, Signal};
use self::system::{Stage, System};
use crate::table::Row;

/// How long signals are played in each run.
const SECONDS: f64 = 120.0;
const SECONDS_THOROUGH: f64 = 300.0;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    tools: ours::Tools,
    /// Five minutes instead of two
    #[arg(long)]
    thorough: bool,
    /// Networks: clean, loss1, loss5, loss10, jitter, burst, wan, gilbert; and loads: scale, bulk, bulk-reordered, share
    /// [default: clean,loss1,loss5,jitter,burst]
    #[arg(long, value_delimiter = ',')]
    conditions: Vec<Asked>,
    /// Systems [default: all that are installed]
    #[arg(long, value_delimiter = ',')]
    systems: Vec<System>,
    /// Signals; the sine lasts as long as all others together [default: all, without recordings sine and noise]
    #[arg(long, value_delimiter = ',')]
    signals: Vec<Kind>,
    /// The runtime's example program `scale`, for loads
    #[arg(long, value_name = "FILE")]
    load: Option<PathBuf>,
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

/// What `--conditions` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Network(Condition),
    Load(Load),
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let network = Condition::from_str(name, false).map(Self::Network);
        network.or_else(|_| Load::from_str(name, false).map(Self::Load)).map_err(|_| {
            let networks = Condition::ALL.map(Condition::name).join(", ");
            format!("none of {networks}, {}", Load::ALL.map(Load::name).join(", "))
        })
    }
}

/// What the rows are made from.
#[derive(Debug, Serialize)]
pub(crate) struct Details {
    cells: Vec<Cell>,
    loads: Vec<load::Measured>,
}

/// Measures; nothing but how that ended when a process inside the sandbox did it in our place.
pub(crate) fn measure(args: &Args) -> Result<Result<(Vec<Row>, Details), std::process::ExitStatus>> {
    if let Some(status) = sandbox::enter()? {
        return Ok(Err(status));
    }
    let (mut conditions, mut loads) = (Vec::new(), Vec::new());
    for asked in &args.conditions {
        match asked {
            Asked::Network(condition) => conditions.push(*condition),
            Asked::Load(load) => loads.push(*load),
        }
    }
    if args.conditions.is_empty() {
        conditions = Condition::DEFAULT.to_vec();
    }
    ensure_tools()?;
    network::set_up()?;
    let cells = if conditions.is_empty() { Vec::new() } else { cells(args, &conditions)? };
    let mut measured = Vec::new();
    for load in loads {
        let program = args.load.as_deref().context("--load names the program")?;
        let one = load::run(load, program, load_seconds(args), 1)?;
        eprintln!("{one:?}");
        measured.push(one);
    }
    if let Some(path) = args.picture.as_ref().filter(|_| !cells.is_empty()) {
        picture::draw(path, &cells, args.frames)?;
    }
    let mut rows = rows::of(&cells, args.frames);
    rows.extend(load::rows(&measured));
    Ok(Ok((rows, Details { cells, loads: measured })))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; a run lasts minutes")]
fn load_seconds(args: &Args) -> u32 {
    args.seconds.unwrap_or(60.0).ceil() as u32
}

/// Every system on every network, run by run.
fn cells(args: &Args, conditions: &[Condition]) -> Result<Vec<Cell>> {
    let systems = systems(&args.systems)?;
    let signal = Signal::new(&sections(args), &args.recordings)?;
    let mut cells = Vec::new();
    for run in 1..=args.runs {
        // New servers for each run: how their cycles lie to each other is part of what is measured.
        let servers = jack_servers::JackServers::start(args.frames, run, sandbox::scratch())?;
        for &condition in conditions {
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
    Ok(cells)
}

fn is_installed(program: &str) -> bool {
    Command::new("which").arg(program).output().is_ok_and(|output| output.status.success())
}

fn ensure_tools() -> Result<()> {
    for needed in ["jackd", "jack_wait", "ethtool", "ip", "chrt", "sysctl"] {
        ensure!(
            is_installed(needed),
            "missing: {needed} (remedy: cargo xtask bench streams --install-peers)"
        );
    }
    Ok(())
}

/// Those asked for, or those that can be had.
fn systems(asked: &[System]) -> Result<Vec<System>> {
    let installed = |system: &System| system.program().is_none_or(is_installed);
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
    let (there, absent): (Vec<System>, Vec<System>) = System::DEFAULT.into_iter().partition(installed);
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
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
