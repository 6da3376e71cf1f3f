//! What the figures were measured on.

use std::process::Command;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    os: String,
    rustc: String,
}

impl Machine {
    pub(crate) fn line(&self) -> String {
        let Self { cpu, cores, os, rustc } = self;
        format!("{cpu}, {cores} cores, {os}, {rustc}")
    }
}

pub(crate) fn describe() -> Machine {
    Machine {
        cpu: cpu().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        os: said_by("uname", &["-s", "-r"]).unwrap_or_else(|| std::env::consts::OS.to_owned()),
        rustc: said_by("rustc", &["--version"]).unwrap_or_else(|| "an unknown compiler".to_owned()),
    }
}

/// The processor's name as Linux or macOS has it.
fn cpu() -> Option<String> {
    let named = |text: String| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let linux = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(named);
    linux.or_else(|| said_by("sysctl", &["-n", "machdep.cpu.brand_string"]))
}

/// What a command prints, if it can be run.
fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
