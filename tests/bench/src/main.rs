//! `cargo xtask bench`: ours beside its peers and beside what the machine allows.
//!
//! **What is compared is measured in one run, in turn.** The engine's times are the thread's CPU time, so that what else
//! the machine does counts little, and denormals are flushed to zero for everyone alike; the streams' host stalls are
//! measured and left out.

mod clock;
mod engine;
mod machine;
mod measure;
mod remote_fx;
mod streams;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Counts the heap operations of peers and of ours where it matters: see [`engine::edit`].
#[global_allocator]
static TRAP: audiocloud_rt::trap::Allocator = audiocloud_rt::trap::Allocator;

/// Ours beside its peers.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    subject: Subject,
    /// Writes the rows there too
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fails when a target is missed
    #[arg(long, global = true)]
    check: bool,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// The graph, its parameters and its edits
    Engine,
    /// The way from Send to Receive
    Streams(Box<streams::Args>),
    /// The time that machines share
    Clock(clock::Args),
    /// Chains of effects on a node
    RemoteFx(remote_fx::Args),
    /// Plays or records on a JACK server, for `streams`
    #[command(hide = true)]
    Probe(streams::probe::Args),
}

fn main() -> Result<ExitCode> {
    let Arguments { subject, json, check } = Arguments::parse();
    let mut remote_fx = None;
    let (rows, streams, clock) = match subject {
        Subject::Engine => (engine::measure(), None, None),
        Subject::RemoteFx(args) => {
            let (rows, details) = remote_fx::measure(&args)?;
            remote_fx = Some(details);
            (rows, None, None)
        }
        Subject::Streams(args) => match streams::measure(&args)? {
            Ok((rows, details)) => (rows, Some(details), None),
            Err(status) => return Ok(ended(status)),
        },
        Subject::Clock(args) => match clock::measure(&args)? {
            Ok((rows, cases)) => (rows, None, Some(cases)),
            Err(status) => return Ok(ended(status)),
        },
        Subject::Probe(args) => return streams::probe::run(&args).map(|()| ExitCode::SUCCESS),
    };
    let report = table::Report { machine: machine::describe(), rows, streams, clock, remote_fx };
    print!("{}", report.table());
    if let Some(path) = json {
        std::fs::write(&path, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(if check && !report.holds() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// As the process did that measured in our place.
fn ended(status: std::process::ExitStatus) -> ExitCode {
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn what_can_be_asked_for() {
        Arguments::command().debug_assert();
        let of = |line: &str| Arguments::try_parse_from(format!("bench {line}").split_whitespace());
        assert!(of("").is_err());
        assert!(of("streams").is_err());
        assert!(of("engine --json").is_err());
        assert!(of("engine --jsn file").is_err());
        assert!(!of("engine").unwrap().check);
        let arguments = of("engine --check --json a/b").unwrap();
        assert!(arguments.check);
        assert_eq!(arguments.json, Some(PathBuf::from("a/b")));
        let tools = "--rig r --audiocloud a --plugin p";
        assert!(
            of(&format!("streams {tools} --conditions clean,loss1 --systems ours,zita-5 --json f")).is_ok()
        );
        assert!(of(&format!("streams {tools} --conditions foul")).is_err());
        assert!(of("clock --peer p --cases lan,wan --seconds 20 --json f").is_ok());
        assert!(of("clock").is_err());
        assert!(of("remote-fx --audiocloud a --client c --seconds 20 --chains 8 --json f").is_ok());
        assert!(of("remote-fx --audiocloud a").is_err());
    }
}
