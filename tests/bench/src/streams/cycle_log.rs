//! Which frames went through which of a JACK server's cycles, and when: from two such logs follows how long a frame took.

use std::path::Path;

use anyhow::{Context, Result, ensure};

const RECORD_BYTES: usize = 32;

/// One cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cycle {
    /// The signal's first frame in it.
    pub(crate) frame: u64,
    /// When it began, by JACK's delay-locked loop: `CLOCK_MONOTONIC`, µs.
    pub(crate) began_us: u64,
    /// When our callback was entered: `CLOCK_MONOTONIC`, µs.
    pub(crate) entered_us: u64,
    /// JACK's own count of frames, which jumps when a cycle was skipped.
    pub(crate) jack_frame: u32,
    pub(crate) frames: u32,
}

/// All cycles of a run, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct CycleLog {
    pub(crate) cycles: Vec<Cycle>,
}

impl CycleLog {
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut bytes = Vec::with_capacity(self.cycles.len() * RECORD_BYTES);
        for cycle in &self.cycles {
            bytes.extend_from_slice(&cycle.frame.to_le_bytes());
            bytes.extend_from_slice(&cycle.began_us.to_le_bytes());
            bytes.extend_from_slice(&cycle.entered_us.to_le_bytes());
            bytes.extend_from_slice(&cycle.jack_frame.to_le_bytes());
            bytes.extend_from_slice(&cycle.frames.to_le_bytes());
        }
        std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let cycle = |record: &[u8]| -> Option<Cycle> {
            Some(Cycle {
                frame: u64::from_le_bytes(record.get(0..8)?.try_into().ok()?),
                began_us: u64::from_le_bytes(record.get(8..16)?.try_into().ok()?),
                entered_us: u64::from_le_bytes(record.get(16..24)?.try_into().ok()?),
                jack_frame: u32::from_le_bytes(record.get(24..28)?.try_into().ok()?),
                frames: u32::from_le_bytes(record.get(28..32)?.try_into().ok()?),
            })
        };
        let cycles: Vec<Cycle> = bytes.chunks_exact(RECORD_BYTES).filter_map(cycle).collect();
        ensure!(!cycles.is_empty(), "{}: JACK never called", path.display());
        Ok(Self { cycles })
    }

    /// When `frame` was at the port, µs: its cycle's beginning and its place in the cycle. Frames need not be whole.
    pub(crate) fn time_us(&self, frame: f64, sample_rate_hz: f64) -> f64 {
        let after = self.cycles.partition_point(|cycle| exact(cycle.frame) <= frame);
        let cycle = self.cycles[after.saturating_sub(1)];
        exact(cycle.began_us) + (frame - exact(cycle.frame)) * 1e6 / sample_rate_hz
    }

    /// The frame that was at the port at `time_us`.
    pub(crate) fn frame_at(&self, time_us: f64, sample_rate_hz: f64) -> f64 {
        let after = self.cycles.partition_point(|cycle| exact(cycle.began_us) <= time_us);
        let cycle = self.cycles[after.saturating_sub(1)];
        let into = (time_us - exact(cycle.began_us)) * sample_rate_hz / 1e6;
        // A cycle that begins late leaves time in which no frame was at the port.
        exact(cycle.frame) + into.min(f64::from(cycle.frames))
    }

    /// When the host stalled, µs: cycles entered more than three quarters of a period late, and cycles after a skipped
    /// one.
    pub(crate) fn stalls_us(&self, sample_rate_hz: f64) -> Vec<f64> {
        let mut stalls = Vec::new();
        for pair in self.cycles.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            let period_us = f64::from(before.frames) * 1e6 / sample_rate_hz;
            let late = exact(after.entered_us) - exact(before.entered_us) > 1.75 * period_us;
            let skipped = after.jack_frame.wrapping_sub(before.jack_frame) != before.frames;
            if late || skipped {
                stalls.push(exact(after.entered_us));
            }
        }
        stalls
    }
}

/// Frames and microseconds of a run are far below 2^53.
#[allow(clippy::cast_precision_loss, reason = "years of frames or microseconds fit 53 bits")]
pub(crate) fn exact(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> CycleLog {
        let cycle = |n: u32, late_us: u64| Cycle {
            frame: u64::from(n) * 48,
            began_us: 5_000 + u64::from(n) * 1_000,
            entered_us: 5_020 + u64::from(n) * 1_000 + late_us,
            jack_frame: 7 + n * 48,
            frames: 48,
        };
        CycleLog { cycles: (0..100).map(|n| cycle(n, if n == 50 { 800 } else { 0 })).collect() }
    }

    #[test]
    fn frames_and_times_answer_each_other() {
        let log = log();
        assert_eq!(log.time_us(48.0, 48e3), 6_000.0);
        assert_eq!(log.time_us(60.0, 48e3), 6_250.0);
        for frame in [0.0, 1.5, 48.0, 4_000.25] {
            assert!((log.frame_at(log.time_us(frame, 48e3), 48e3) - frame).abs() < 1e-6, "{frame}");
        }
    }

    #[test]
    fn late_and_skipped_cycles_are_stalls() {
        let mut log = log();
        assert_eq!(log.stalls_us(48e3), [55_820.0]);
        for cycle in &mut log.cycles[80..] {
            cycle.jack_frame += 48;
        }
        assert_eq!(log.stalls_us(48e3).len(), 2);
    }

    #[test]
    fn the_file_holds_the_log() {
        let path = std::env::temp_dir().join(format!("audiocloud-bench-cycles-{}", std::process::id()));
        log().write(&path).unwrap();
        let back = CycleLog::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(back.cycles, log().cycles);
    }
}
