//! The demonstration's figures, as JSON and as a table.

use anyhow::Result;
use audiocloud_rig::audio::Audio;
use serde::Serialize;

use super::probe::Probe;
use super::{Attempt, length};

/// What the last attempt amounts to, and how its playout delay was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) input: String,
    pub(super) seconds: f64,
    pub(super) rate: u32,
    pub(super) channels: usize,
    pub(super) block: u32,
    /// Callbacks of Receive.
    pub(super) blocks: u64,
    /// Every sample came out as it went in, as a 32-bit float.
    pub(super) bit_exact: bool,
    pub(super) compared_frames: usize,
    /// Frames of the recording that differ or did not come out.
    pub(super) missing_frames: usize,
    /// Blocks that arrived after their time, by Receive's own count.
    pub(super) late_blocks: Option<u64>,
    /// Heap operations inside `process`, of both plug-ins together; nothing where they cannot be counted.
    pub(super) callback_heap_operations: Option<u64>,
    /// From a sample's arrival in Send's callback to its leaving Receive's.
    pub(super) latency_ms: Milliseconds,
    /// The same in blocks.
    pub(super) latency_blocks: Milliseconds,
    /// At which the whole recording held: the smallest of those that were tried with all of it.
    pub(super) playout_delay_ms: f64,
    pub(super) scheduling: &'static str,
    pub(super) scheduling_send: String,
    pub(super) scheduling_receive: String,
    /// Durations of the callbacks, in microseconds.
    pub(super) process_us: Sides,
    /// How late the machine entered callbacks, in microseconds.
    pub(super) lateness_us: Sides,
    /// Short runs that looked for the delay.
    pub(super) probes: Vec<Probe>,
    /// Playout delays at which the whole recording did not hold.
    pub(super) delays_that_did_not_hold_ms: Vec<f64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Milliseconds {
    pub(super) median: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Sides {
    pub(super) send: audiocloud_rig::report::Spread,
    pub(super) receive: audiocloud_rig::report::Spread,
}

impl Report {
    pub(super) fn new(
        input: &str,
        source: &Audio,
        block: u32,
        last: &Attempt,
        probes: &[Probe],
        attempts: &[Attempt],
    ) -> Report {
        let outcome = &last.outcome;
        let (send, receive) = (&outcome.send.report, &outcome.receive.report);
        let latency = &outcome.latency;
        let block_ms = f64::from(block) / f64::from(source.sample_rate) * 1e3;
        let fifo = |scheduler: &str| scheduler.starts_with("SCHED_FIFO");
        Report {
            input: input.to_owned(),
            seconds: length(source),
            rate: source.sample_rate,
            channels: source.channels.len(),
            block,
            blocks: receive.calls,
            bit_exact: outcome.comparison.bit_exact,
            compared_frames: outcome.comparison.compared_frames,
            missing_frames: outcome.comparison.missing_frames,
            late_blocks: outcome.receive_figure("late_blocks"),
            callback_heap_operations: send.heap_operations.zip(receive.heap_operations).map(|(a, b)| a + b),
            latency_ms: Milliseconds { median: latency.median_ms, p99: latency.p99_ms, max: latency.max_ms },
            latency_blocks: Milliseconds {
                median: latency.median_ms / block_ms,
                p99: latency.p99_ms / block_ms,
                max: latency.max_ms / block_ms,
            },
            playout_delay_ms: last.delay_ms,
            scheduling: if fifo(&send.scheduler) && fifo(&receive.scheduler) {
                "SCHED_FIFO"
            } else {
                "ordinary"
            },
            scheduling_send: send.scheduler.clone(),
            scheduling_receive: receive.scheduler.clone(),
            process_us: Sides { send: send.process_us, receive: receive.process_us },
            lateness_us: Sides { send: send.lateness_us, receive: receive.lateness_us },
            probes: probes.to_vec(),
            delays_that_did_not_hold_ms: attempts
                .iter()
                .filter(|attempt| !attempt.holds())
                .map(|attempt| attempt.delay_ms)
                .collect(),
        }
    }

    pub(super) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The figures that a user asks for first.
    pub(super) fn table(&self) -> String {
        let count = |value: Option<u64>| value.map_or_else(|| "not counted".to_owned(), |n| n.to_string());
        let Milliseconds { median, p99, max } = self.latency_ms;
        let rows = [
            ("bit exact", if self.bit_exact { "yes" } else { "NO" }.to_owned()),
            ("missing frames", format!("{} of {}", self.missing_frames, self.compared_frames)),
            ("late blocks", count(self.late_blocks)),
            ("heap operations in callbacks", count(self.callback_heap_operations)),
            ("latency", format!("median {median:.2} ms, p99 {p99:.2} ms, max {max:.2} ms")),
            (
                "latency in blocks",
                format!("median {:.2}, max {:.2}", self.latency_blocks.median, self.latency_blocks.max),
            ),
            ("smallest playout delay that held", format!("{} ms", self.playout_delay_ms)),
            ("scheduling", self.scheduling.to_owned()),
            // What the machine does to the callbacks, whatever the plug-ins do.
            (
                "callbacks entered late by at most",
                format!(
                    "{:.2} ms (Send), {:.2} ms (Receive)",
                    self.lateness_us.send.max / 1e3,
                    self.lateness_us.receive.max / 1e3
                ),
            ),
            ("callbacks", format!("{} of {} frames at {} Hz", self.blocks, self.block, self.rate)),
        ];
        let widest = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines = rows.map(|(name, value)| format!("  {name:widest$}  {value}"));
        lines.join("\n")
    }

    /// What is wrong, if something is.
    pub(super) fn complaint(&self) -> Option<String> {
        let mut wrong = Vec::new();
        if !self.bit_exact {
            wrong.push(format!(
                "{} of {} frames are missing or differ",
                self.missing_frames, self.compared_frames
            ));
        }
        match self.late_blocks {
            Some(0) => {}
            Some(late) => wrong.push(format!("{late} blocks came late")),
            None => wrong.push("Receive did not report late blocks".to_owned()),
        }
        if let Some(operations @ 1..) = self.callback_heap_operations {
            wrong.push(format!("{operations} heap operations in callbacks"));
        }
        (!wrong.is_empty()).then(|| wrong.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let figure = Milliseconds { median: 1.0, p99: 2.0, max: 3.0 };
        let spread = audiocloud_rig::report::Spread::default();
        Report {
            input: "a".to_owned(),
            seconds: 1.0,
            rate: 48_000,
            channels: 2,
            block: 128,
            blocks: 375,
            bit_exact: true,
            compared_frames: 48_000,
            missing_frames: 0,
            late_blocks: Some(0),
            callback_heap_operations: Some(0),
            latency_ms: figure,
            latency_blocks: figure,
            playout_delay_ms: 2.5,
            scheduling: "SCHED_FIFO",
            scheduling_send: String::new(),
            scheduling_receive: String::new(),
            process_us: Sides { send: spread, receive: spread },
            lateness_us: Sides { send: spread, receive: spread },
            probes: Vec::new(),
            delays_that_did_not_hold_ms: Vec::new(),
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(report().complaint(), None);
        let check = |change: fn(&mut Report), expected: &str| {
            let mut report = report();
            change(&mut report);
            assert!(report.complaint().is_some_and(|text| text.contains(expected)), "{expected}");
        };
        check(|report| report.bit_exact = false, "differ");
        check(|report| report.late_blocks = Some(3), "3 blocks came late");
        check(|report| report.late_blocks = None, "did not report");
        check(|report| report.callback_heap_operations = Some(7), "7 heap operations");
    }

    #[test]
    fn the_report_names_its_figures() {
        let json: serde_json::Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        assert_eq!(json["latency_ms"]["p99"], 2.0);
        assert_eq!(json["bit_exact"], true);
        assert!(report().table().contains("median 1.00 ms, p99 2.00 ms, max 3.00 ms"));
    }
}
