//! `cargo xtask bench`: ours beside its peers. The program is a workspace of its own, with the peers in its lock file.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::cargo;

/// The program's manifest, from the workspace's root.
pub(crate) const MANIFEST: &str = "tests/bench/Cargo.toml";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is measured
    subject: Subject,
    /// Writes the rows there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fails when a target is missed
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Subject {
    /// The graph, its parameters and its edits
    Engine,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut command = cargo::command();
    command
        .env("CARGO_TARGET_DIR", cargo::target_directory()?.join("bench"))
        .args(["run", "--quiet", "--release", "--locked", "--manifest-path", MANIFEST, "--"])
        .arg(args.subject.name());
    if let Some(file) = &args.json {
        // Cargo runs at the root, wherever we are.
        command.arg("--json").arg(std::path::absolute(file)?);
    }
    if args.check {
        command.arg("--check");
    }
    let status = command.status().context("cargo cannot be run")?;
    ensure!(status.success(), "bench {} failed", args.subject.name());
    Ok(())
}
