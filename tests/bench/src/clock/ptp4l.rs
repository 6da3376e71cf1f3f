//! `ptp4l` (linuxptp), which never steers this machine: its clock is the wall clock.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::streams::network::{Site, at};

/// A running one; it ends when dropped.
#[derive(Debug)]
pub(super) struct Ptp4l {
    child: Child,
    offsets: Arc<Mutex<Vec<Offset>>>,
}

/// What a slave says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    /// This machine's monotonic clock, in ns, to the millisecond.
    pub(super) machine: i64,
    /// By how much the wall clock is ahead of the master, in ns.
    pub(super) ahead: i64,
}

const COMMON: &str = "time_stamping software\nfree_running 1\nsummary_interval -4\nlogMinDelayReqInterval -3\n\
                      freq_est_interval 0\n";
/// Eight syncs a second.
pub(super) const MASTER: &str = "priority1 100\nlogSyncInterval -3\nlogAnnounceInterval 0";
pub(super) const SLAVE: &str = "slaveOnly 1";

impl Ptp4l {
    pub(super) fn start(folder: &Path, site: Site, interface: &str, domain: u8, role: &str) -> Result<Self> {
        let (file, socket) =
            (folder.join(format!("{interface}.cfg")), folder.join(format!("{interface}.uds")));
        let socket = socket.display();
        std::fs::write(
            &file,
            format!("[global]\n{COMMON}uds_address {socket}\ndomainNumber {domain}\n{role}\n"),
        )?;
        let mut command = at(site, None, "ptp4l");
        command.args(["-i", interface, "-m", "-q", "-f"]).arg(&file);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("ptp4l (package linuxptp) cannot be run")?;
        let lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        let offsets = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&offsets);
        std::thread::Builder::new().name("ptp4l".into()).spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(offset) = Offset::parse(&line) {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(offset);
                }
            }
        })?;
        Ok(Self { child, offsets })
    }

    pub(super) fn offsets(&self) -> Vec<Offset> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Ptp4l {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Offset {
    /// `ptp4l[49409.806]: master offset       -684 s0 freq   -1713 path delay      3130`
    fn parse(line: &str) -> Option<Self> {
        let (stamp, rest) = line.strip_prefix("ptp4l[")?.split_once("]:")?;
        let (seconds, millis) = stamp.split_once('.')?;
        let machine = (seconds.parse::<i64>().ok()? * 1_000 + millis.parse::<i64>().ok()?) * 1_000_000;
        let ahead = rest.trim().strip_prefix("master offset")?.split_whitespace().next()?.parse().ok()?;
        Some(Self { machine, ahead })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slave_s_lines_are_read() {
        let read = |line| Offset::parse(line);
        let line = "ptp4l[49409.806]: master offset       -684 s0 freq   -1713 path delay      3130";
        assert_eq!(read(line), Some(Offset { machine: 49_409_806_000_000, ahead: -684 }));
        assert_eq!(read("ptp4l[49399.977]: port 1: INITIALIZING to LISTENING on INIT_COMPLETE"), None);
        assert_eq!(read("nonsense"), None);
    }
}
