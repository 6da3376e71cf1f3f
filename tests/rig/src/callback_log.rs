//! The callback log: one record for each call of a plug-in's `process`, kept in memory that is reserved before the
//! first call, and its file.
//!
//! The file is a sequence of little-endian records of [`RECORD_LEN`] bytes after the eight bytes of [`MAGIC`].

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

/// The first bytes of a callback log's file.
pub const MAGIC: &[u8; 8] = b"acrigcb2";
/// Bytes per record.
pub const RECORD_LEN: usize = 40;

/// One call of `process`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Index of the call's first frame, counted since processing began.
    pub first_frame: u64,
    /// Frames in the call.
    pub frames: u32,
    /// Heap operations inside the call; 0 where they cannot be counted.
    pub heap_operations: u32,
    /// `CLOCK_MONOTONIC` at entry, in nanoseconds.
    pub entered_ns: i64,
    /// Duration of the call, in nanoseconds.
    pub duration_ns: i64,
    /// Processor time that its thread used in the call, in nanoseconds.
    pub cpu_ns: i64,
}

impl Record {
    /// `CLOCK_MONOTONIC` when the call returned, in nanoseconds.
    pub fn left_ns(&self) -> i64 {
        self.entered_ns + self.duration_ns
    }

    fn end_frame(&self) -> u64 {
        self.first_frame + u64::from(self.frames)
    }

    fn to_bytes(self) -> [u8; RECORD_LEN] {
        let mut bytes = [0; RECORD_LEN];
        bytes[0..8].copy_from_slice(&self.first_frame.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.frames.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.heap_operations.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.entered_ns.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.duration_ns.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.cpu_ns.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            first_frame: u64::from_le_bytes(bytes.get(0..8)?.try_into().ok()?),
            frames: u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?),
            heap_operations: u32::from_le_bytes(bytes.get(12..16)?.try_into().ok()?),
            entered_ns: i64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?),
            duration_ns: i64::from_le_bytes(bytes.get(24..32)?.try_into().ok()?),
            cpu_ns: i64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?),
        })
    }
}

/// All calls of one run, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallbackLog {
    /// The calls.
    pub records: Vec<Record>,
    /// Calls that no memory had been reserved for.
    pub dropped: u64,
}

impl CallbackLog {
    /// A log with room for `calls`.
    pub fn with_capacity(calls: usize) -> Self {
        Self { records: Vec::with_capacity(calls), dropped: 0 }
    }

    /// Notes a call; counts it as dropped when the reserved memory is used up. *Realtime-safe: yes.*
    pub fn push(&mut self, record: Record) {
        if self.records.len() < self.records.capacity() {
            self.records.push(record);
        } else {
            self.dropped += 1;
        }
    }

    /// The call that `frame` went through.
    pub fn call_of(&self, frame: u64) -> Option<&Record> {
        let after = self.records.partition_point(|record| record.first_frame <= frame);
        let record = self.records.get(after.checked_sub(1)?)?;
        (frame < record.end_frame()).then_some(record)
    }

    /// The first frame of the first call that was entered at or after `host_ns`.
    pub fn frame_at(&self, host_ns: i64) -> Option<u64> {
        let after = self.records.partition_point(|record| record.entered_ns < host_ns);
        self.records.get(after).map(|record| record.first_frame)
    }

    /// Writes the log's file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut bytes = Vec::with_capacity(MAGIC.len() + self.records.len() * RECORD_LEN);
        bytes.extend_from_slice(MAGIC);
        for record in &self.records {
            bytes.extend_from_slice(&record.to_bytes());
        }
        fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
    }

    /// Reads a log's file.
    ///
    /// # Errors
    /// The file cannot be read, or is no callback log.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        ensure!(bytes.starts_with(MAGIC), "{} is no callback log", path.display());
        let records = bytes[MAGIC.len()..].chunks_exact(RECORD_LEN).filter_map(Record::from_bytes).collect();
        Ok(Self { records, dropped: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> CallbackLog {
        let mut log = CallbackLog::with_capacity(3);
        for (index, frames) in [(0, 100), (100, 60), (160, 40)] {
            let entered_ns = i64::try_from(index).expect("small") * 1000;
            log.push(Record {
                first_frame: index,
                frames,
                heap_operations: 1,
                entered_ns,
                duration_ns: 7,
                cpu_ns: 5,
            });
        }
        log
    }

    #[test]
    fn a_frame_is_found_in_its_call() {
        let log = log();
        let check = |frame, expected: Option<u64>| {
            assert_eq!(log.call_of(frame).map(|record| record.first_frame), expected, "frame {frame}");
        };
        check(0, Some(0));
        check(99, Some(0));
        check(100, Some(100));
        check(199, Some(160));
        check(200, None);
    }

    #[test]
    fn a_full_log_counts_and_does_not_grow() {
        let mut log = log();
        log.push(Record::default());
        assert_eq!((log.records.len(), log.dropped), (3, 1));
    }

    #[test]
    fn the_file_holds_the_log() {
        let path = std::env::temp_dir().join(format!("audiocloud-rig-log-{}", std::process::id()));
        log().write(&path).expect("written");
        let back = CallbackLog::read(&path).expect("read");
        fs::remove_file(&path).expect("removed");
        assert_eq!(back, log());
    }
}
