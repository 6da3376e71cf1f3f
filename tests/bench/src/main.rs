//! `cargo xtask bench`: ours beside its peers and beside what the machine allows.
//!
//! **What is compared is measured in one run, in turn.** Times are the thread's CPU time, so that what else the machine
//! does counts little, and denormals are flushed to zero for everyone alike.

mod engine;
mod machine;
mod measure;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

/// Counts the heap operations of peers and of ours where it matters: see [`engine::edit`].
#[global_allocator]
static TRAP: audiocloud_rt::trap::Allocator = audiocloud_rt::trap::Allocator;

const USAGE: &str = "usage: audiocloud-bench engine [--json FILE] [--check]";

struct Arguments {
    subject: fn() -> Vec<table::Row>,
    json: Option<PathBuf>,
    check: bool,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments> {
    let subject = match words.next().as_deref() {
        Some("engine") => engine::measure,
        _ => bail!(USAGE),
    };
    let mut arguments = Arguments { subject, json: None, check: false };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => arguments.json = Some(words.next().context(USAGE)?.into()),
            "--check" => arguments.check = true,
            _ => bail!(USAGE),
        }
    }
    Ok(arguments)
}

fn main() -> Result<ExitCode> {
    let Arguments { subject, json, check } = arguments(std::env::args().skip(1))?;
    let report = table::Report { machine: machine::describe(), rows: subject() };
    print!("{}", report.table());
    if let Some(path) = json {
        std::fs::write(&path, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(if check && !report.holds() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_asked_for() {
        let of = |line: &str| arguments(line.split_whitespace().map(str::to_owned));
        assert!(of("").is_err());
        assert!(of("streams").is_err());
        assert!(of("engine --json").is_err());
        assert!(of("engine --jsn file").is_err());
        assert!(!of("engine").unwrap().check);
        let arguments = of("engine --check --json a/b").unwrap();
        assert!(arguments.check);
        assert_eq!(arguments.json, Some(PathBuf::from("a/b")));
    }
}
