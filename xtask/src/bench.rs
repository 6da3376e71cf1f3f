//! `cargo xtask bench`: ours beside its peers. The program is a workspace of its own, with the peers in its lock file.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::bundle::Build;
use crate::{cargo, machine};

/// The program's manifest, from the workspace's root.
pub(crate) const MANIFEST: &str = "tests/bench/Cargo.toml";

/// Debian packages of the streams' peers, and of the tools that they are measured with.
const PEERS: &[&str] =
    &["jackd2", "zita-njbridge", "jacktrip", "jamulus", "ethtool", "iproute2", "procps", "util-linux"];

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(clap::Subcommand)]
enum Subject {
    /// The graph, its parameters and its edits
    Engine(Output),
    /// The way from Send to Receive, over impaired networks under JACK; Linux, as root
    Streams(Streams),
    /// The time that machines share, beside ptp4l and over impaired networks; Linux, as root
    Clock(Clock),
    /// Chains of effects on a node: how soon they come back, and how many it holds; Linux, as root
    RemoteFx(RemoteFx),
}

#[derive(clap::Args)]
struct Output {
    /// Writes the rows there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fails when a target is missed
    #[arg(long)]
    check: bool,
}

#[derive(clap::Args)]
struct Streams {
    #[command(flatten)]
    output: Output,
    /// Installs JACK, zita-njbridge, JackTrip and Jamulus first (Debian and its like)
    #[arg(long)]
    install_peers: bool,
    /// Five minutes in each run instead of two
    #[arg(long)]
    thorough: bool,
    /// Networks and loads [default: clean,loss1,loss5,jitter,burst; an unknown one is answered with the list]
    #[arg(long, value_name = "A,B")]
    conditions: Option<String>,
    /// Systems [default: ours, zita-5, zita-10, jacktrip, jacktrip-r2, jamulus, where installed]
    #[arg(long, value_name = "A,B")]
    systems: Option<String>,
    /// Signals [default: sine, noise, music, speech]
    #[arg(long, value_name = "A,B")]
    signals: Option<String>,
    /// Frames per JACK cycle [default: 128]
    #[arg(long, value_name = "N")]
    frames: Option<u32>,
    /// How long signals are played in each run
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// How often each cell is measured; the median counts [default: 3]
    #[arg(long, value_name = "N")]
    runs: Option<u32>,
    /// Draws bad ms against latency there [default: the target folder's bench/report.png]
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Sets a parameter of Receive
    #[arg(long, value_name = "NAME=TEXT")]
    parameter: Vec<String>,
    /// Keeps logs and recordings of each run there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Clock {
    #[command(flatten)]
    output: Output,
    /// Installs ptp4l first (Debian and its like)
    #[arg(long)]
    install_peers: bool,
    /// What to measure [default: ptp,lan,wan,asymmetry,killed]
    #[arg(long, value_name = "A,B")]
    cases: Option<String>,
    /// How long each case is measured [default: 100]
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// How long it is left alone before [default: 40]
    #[arg(long, value_name = "N")]
    settle: Option<u64>,
    /// Keeps what peers told there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(clap::Args)]
struct RemoteFx {
    #[command(flatten)]
    output: Output,
    /// How long each block size is measured [default: 60]
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// The most chains that are tried at once; 0: how many a node holds is not measured [default: 64]
    #[arg(long, value_name = "N")]
    chains: Option<u64>,
}

/// Debian packages that the clock is measured with.
const TIMEKEEPERS: &[&str] = &["linuxptp", "ethtool", "iproute2", "procps", "util-linux"];

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.subject {
        Subject::Engine(output) => bench("engine", output, Vec::new()),
        Subject::Streams(streams) => {
            if streams.install_peers {
                machine::install(PEERS)?;
            }
            let arguments = streams.arguments()?;
            bench("streams", &streams.output, arguments)
        }
        Subject::Clock(clock) => {
            if clock.install_peers {
                machine::install(TIMEKEEPERS)?;
            }
            bench("clock", &clock.output, clock.arguments()?)
        }
        Subject::RemoteFx(remote_fx) => bench("remote-fx", &remote_fx.output, remote_fx.arguments()?),
    }
}

impl Clock {
    /// The program's arguments; the peer that it measures is built.
    fn arguments(&self) -> Result<Vec<OsString>> {
        println!("building");
        let peer = example("clock")?;
        let mut arguments: Vec<OsString> = vec!["--peer".into(), peer.into()];
        let texts = [
            ("--cases", self.cases.clone()),
            ("--seconds", self.seconds.map(|seconds| seconds.to_string())),
            ("--settle", self.settle.map(|seconds| seconds.to_string())),
        ];
        for (flag, text) in texts {
            if let Some(text) = text {
                arguments.extend([flag.into(), text.into()]);
            }
        }
        if let Some(folder) = &self.keep {
            arguments.extend(["--keep".into(), std::path::absolute(folder)?.into()]);
        }
        Ok(arguments)
    }
}

impl RemoteFx {
    /// The program's arguments; both sides are built.
    fn arguments(&self) -> Result<Vec<OsString>> {
        println!("building");
        let client = example("remote")?;
        let mut build = cargo::command();
        build.args(["build", "--release", "--package", "audiocloud-node"]);
        ensure!(build.status()?.success(), "the node does not build");
        let audiocloud = cargo::target_directory()?.join("release/audiocloud");
        let mut arguments: Vec<OsString> =
            vec!["--audiocloud".into(), audiocloud.into(), "--client".into(), client.into()];
        let texts = [("--seconds", self.seconds), ("--chains", self.chains)];
        for (flag, number) in texts {
            if let Some(number) = number {
                arguments.extend([flag.into(), number.to_string().into()]);
            }
        }
        Ok(arguments)
    }
}

/// Builds an example program of the runtime; where it is.
fn example(name: &str) -> Result<PathBuf> {
    let mut example = cargo::command();
    example.args(["build", "--release", "--package", "audiocloud-runtime", "--example", name]);
    ensure!(example.status()?.success(), "the example {name} does not build");
    Ok(cargo::target_directory()?.join("release/examples").join(name))
}

impl Streams {
    /// The program's arguments; what it measures is built.
    fn arguments(&self) -> Result<Vec<OsString>> {
        println!("building");
        let programs = &["audiocloud-node", "audiocloud-rig"];
        let built = Build { release: true, programs, ..Build::default() }.run()?;
        let load = example("scale")?;
        let picture = match &self.picture {
            Some(path) => std::path::absolute(path)?,
            None => cargo::target_directory()?.join("bench/report.png"),
        };
        let mut arguments: Vec<OsString> = Vec::new();
        let mut push = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
        push("--rig", built.programs.join("audiocloud-rig").into());
        push("--audiocloud", built.programs.join("audiocloud").into());
        push("--plugin", built.bundles.clap.into());
        push("--load", load.into());
        push("--recordings", cargo::root().join("../shared/audio").into());
        push("--picture", picture.into());
        if let Some(folder) = &self.keep {
            push("--keep", std::path::absolute(folder)?.into());
        }
        let texts = [
            ("--conditions", self.conditions.clone()),
            ("--systems", self.systems.clone()),
            ("--signals", self.signals.clone()),
            ("--frames", self.frames.map(|frames| frames.to_string())),
            ("--seconds", self.seconds.map(|seconds| seconds.to_string())),
            ("--runs", self.runs.map(|runs| runs.to_string())),
        ];
        for (flag, text) in texts {
            if let Some(text) = text {
                push(flag, text.into());
            }
        }
        for parameter in &self.parameter {
            push("--parameter", parameter.into());
        }
        if self.thorough {
            arguments.push("--thorough".into());
        }
        Ok(arguments)
    }
}

fn bench(subject: &str, output: &Output, arguments: Vec<OsString>) -> Result<()> {
    let mut command = cargo::command();
    command
        .env("CARGO_TARGET_DIR", cargo::target_directory()?.join("bench"))
        .args(["run", "--quiet", "--release", "--locked", "--manifest-path", MANIFEST, "--"])
        .arg(subject)
        .args(arguments);
    if let Some(file) = &output.json {
        // Cargo runs at the root, wherever we are.
        command.arg("--json").arg(std::path::absolute(file)?);
    }
    if output.check {
        command.arg("--check");
    }
    let status = command.status().context("cargo cannot be run")?;
    ensure!(status.success(), "bench {subject} failed");
    Ok(())
}
