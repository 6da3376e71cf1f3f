//! The child alone, for tests and for trying a plug-in by hand.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    audiocloud_host::sandbox::run(std::env::args_os().skip(1))
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("plug-ins are hosted on Linux alone");
    ExitCode::FAILURE
}
