//! What the plug-in's side told.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use audiocloud_rig::processors::{Stall, stood_still_us};
use serde::Deserialize;
use serde_json::Value;

/// One run of the example program `remote`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Told {
    pub(super) live: u64,
    pub(super) words: Vec<String>,
    pub(super) realtime: bool,
    pub(super) blocks: u64,
    pub(super) never: u64,
    pub(super) round_us: Times,
    /// Those that took longer than a block lasts.
    pub(super) late: Vec<Round>,
    pub(super) report: Value,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Times {
    pub(super) p50: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// A block: when its callback began, `CLOCK_MONOTONIC`, and how long it took to come back, in µs.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(from = "(f64, f64)")]
pub(super) struct Round {
    at_us: f64,
    pub(super) took_us: f64,
}

impl From<(f64, f64)> for Round {
    fn from((at_us, took_us): (f64, f64)) -> Self {
        Self { at_us, took_us }
    }
}

impl Round {
    /// How long it would have taken had no processor stood still meanwhile.
    pub(super) fn without(&self, stalls: &[Stall]) -> f64 {
        self.took_us - stood_still_us(stalls, self.at_us, self.at_us + self.took_us)
    }
}

pub(super) fn run(command: &mut Command) -> Result<Told> {
    let output = command.output().context("the plug-in's side cannot be run")?;
    ensure!(output.status.success(), "the plug-in's side failed");
    let told: Told =
        serde_json::from_slice(&output.stdout).context("the plug-in's side told nothing readable")?;
    ensure!(told.realtime, "SCHED_FIFO is not allowed; run it as root, or allow it (ulimit -r)");
    Ok(told)
}

/// The id of the first plug-in in what a node keeps of its search.
pub(super) fn first_plug_in(kept: &[u8]) -> Option<String> {
    let files: Value = serde_json::from_slice(kept).ok()?;
    let mut plug_ins =
        files.as_object()?.values().flat_map(|file| file["plugins"].as_array().into_iter().flatten());
    Some(plug_ins.next()?["id"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_are_taken_off() {
        let round = Round { at_us: 1_000.0, took_us: 500.0 };
        assert_eq!(round.without(&[Stall { from_us: 1_100.0, to_us: 1_200.0 }]), 400.0);
        assert_eq!(round.without(&[Stall { from_us: 1_600.0, to_us: 1_700.0 }]), 500.0);
    }

    #[test]
    fn what_is_told_is_read() {
        let text = r#"{"live":1,"words":["runs"],"realtime":true,"blocks":9,"never":0,"frames":64,
            "round_us":{"p50":1,"p99":2,"p999":3,"max":4},"late":[[5,6]],"report":{"plug_ins":{}}}"#;
        let told: Told = serde_json::from_str(text).unwrap();
        assert_eq!((told.blocks, told.round_us.p999, told.late[0].took_us), (9, 3.0, 6.0));
        let kept = br#"{"/a":{"plugins":[]},"/b":{"plugins":[{"id":"x"},{"id":"y"}]}}"#;
        assert_eq!(first_plug_in(kept).as_deref(), Some("x"));
        assert_eq!(first_plug_in(b"{}"), None);
    }
}
