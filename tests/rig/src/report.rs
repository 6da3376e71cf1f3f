//! What one run of the rig found out, as JSON.

use serde::{Deserialize, Serialize};

use crate::card::Card;

/// Figures of one run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Id of the plug-in.
    pub id: String,
    /// Frames per second.
    pub sample_rate: u32,
    /// Width of the main ports.
    pub channels: usize,
    /// How the block sizes were chosen.
    pub block: String,
    /// How the calls were paced.
    pub pace: String,
    /// The audio thread's scheduling class, and why not the one asked for.
    pub scheduler: String,
    /// Frames processed.
    pub frames: u64,
    /// Calls of `process`.
    pub calls: u64,
    /// The frame at which the input began.
    pub input_from_frame: Option<u64>,
    /// Durations of `process`.
    pub process_us: Spread,
    /// How late calls were entered against their deadline.
    pub lateness_us: Spread,
    /// Heap operations inside `process`; `None` where they cannot be counted.
    pub heap_operations: Option<u64>,
    /// The first frames of the calls that operated on the heap; at most 16.
    pub heap_at_frames: Vec<u64>,
    /// Calls that were entered more than one block late.
    pub stalls: u64,
    /// The longest of them, in milliseconds.
    pub stall_max_ms: f64,
    /// Deadlines that were given up, so as not to race after a long stall, in milliseconds.
    pub time_given_up_ms: f64,
    /// The first of those, each with the frame that was due then, in nanoseconds.
    pub given_up_ns: Vec<(i64, i64)>,
    /// `CLOCK_MONOTONIC` when the first frame was due, since processing last began.
    pub origin_ns: i64,
    /// The simulated sound card.
    pub card: Card,
    /// Calls that returned an error.
    pub process_errors: u64,
    /// Samples that were not finite.
    pub not_finite: u64,
    /// The largest magnitude in the output.
    pub peak: f32,
    /// Latency the plug-in reports, in frames.
    pub latency_frames: Option<u32>,
    /// Restarts (deactivate, activate) during the run.
    pub restarts: u32,
    /// Names, values and texts of the parameters at the end.
    pub parameters: Vec<Parameter>,
    /// Events heard that no memory had been reserved for.
    pub notes_dropped: u64,
    /// Calls that no memory had been reserved for.
    pub calls_unlogged: u64,
}

/// A parameter as the plug-in describes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Parameter {
    /// CLAP's id.
    pub id: u32,
    /// Display name.
    pub name: String,
    /// CLAP's plain value.
    pub value: f64,
    /// The value's text.
    pub text: String,
}

/// A distribution in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spread {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// The distribution of `values` in nanoseconds.
    pub fn of_nanos(mut values: Vec<i64>) -> Self {
        values.sort_unstable();
        let at = |thousandths: usize| {
            let rank = (values.len() * thousandths).div_ceil(1000).max(1) - 1;
            values.get(rank).copied().map_or(0.0, micros)
        };
        Self { p50: at(500), p99: at(990), p999: at(999), max: at(1000) }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a duration of less than 104 days in nanoseconds fits 53 bits")]
fn micros(ns: i64) -> f64 {
    ns as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_a_spread() {
        let spread = Spread::of_nanos((1..=1000).rev().map(|value| value * 1000).collect());
        assert_eq!(spread, Spread { p50: 500.0, p99: 990.0, p999: 999.0, max: 1000.0 });
        assert_eq!(Spread::of_nanos(Vec::new()), Spread::default());
    }
}
