//! A world that ends with us: what is mounted, named and started in it goes when this process goes, however it goes.
//!
//! The benchmark runs itself again as the first process of a PID namespace, in a mount namespace with a `/dev/shm` and a
//! `/run/netns` of its own. When that process dies, by its own will, by a panic or by Ctrl-C outside, the kernel kills
//! whatever it started and drops the network namespaces that only its mounts kept. Nothing needs to be cleaned up.

use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, ensure};
use rustix::process::{Signal, getuid, set_parent_process_death_signal};

/// Set in the inner process.
const INSIDE: &str = "AUDIOCLOUD_BENCH_INSIDE";

/// Prepares the mounts, then becomes the command that follows.
const PREPARE: &str = "mount -t tmpfs tmpfs /dev/shm && mkdir -p /run/netns && \
                       mount -t tmpfs tmpfs /run/netns && mkdir /dev/shm/bench && exec \"$@\"";

/// Where logs and recordings go: in memory, so that no disk disturbs what is measured.
pub(crate) fn scratch() -> &'static Path {
    Path::new("/dev/shm/bench")
}

/// Runs this program again inside and returns how it ended; nothing when we are inside already.
pub(crate) fn enter() -> Result<Option<ExitStatus>> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(None);
    }
    ensure!(getuid().is_root(), "network namespaces want root");
    // Whoever called may be killed without a chance to tell us.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let status = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["sh", "-c", PREPARE, "sh"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .context("setpriv and unshare (package util-linux) cannot be run")?;
    Ok(Some(status))
}
