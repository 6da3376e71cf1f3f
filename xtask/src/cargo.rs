//! Running cargo on this workspace, in whichever target folder it is set to use.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The workspace's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// Cargo, to be run at the root.
///
/// `cargo run` tells xtask about its own package through the environment. Build scripts (ring's, for one) would take
/// that for a change and build again.
///
/// What is built is built in one piece: the pieces that an edit would leave valid are half of the disk and a good part
/// of the time. Who edits uses cargo itself, or sets `CARGO_INCREMENTAL`.
pub(crate) fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    if std::env::var_os("CARGO_INCREMENTAL").is_none() {
        command.env("CARGO_INCREMENTAL", "0");
    }
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_about_xtask) {
            command.env_remove(name);
        }
    }
    command
}

fn is_about_xtask(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_")
        || matches!(
            variable,
            "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH" | "CARGO_BIN_NAME" | "CARGO_CRATE_NAME"
        )
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let text = metadata_text(&["--no-deps"])?;
    let metadata: Metadata =
        serde_json::from_slice(&text).context("cargo metadata is not what was expected")?;
    Ok(metadata.target_directory)
}

/// The output of `cargo metadata` with further arguments.
pub(crate) fn metadata_text(arguments: &[&str]) -> Result<Vec<u8>> {
    let output = command()
        .args(["metadata", "--format-version", "1"])
        .args(arguments)
        .output()
        .context("cargo cannot be run")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata failed: {}", complaint.trim());
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tells_of_xtask_is_kept_from_cargo() {
        for (variable, kept) in [
            ("CARGO_PKG_NAME", true),
            ("CARGO_MANIFEST_DIR", true),
            ("CARGO_TARGET_DIR", false),
            ("CARGO_HOME", false),
            ("CARGO_BUILD_JOBS", false),
        ] {
            assert_eq!(is_about_xtask(variable), kept, "{variable}");
        }
    }
}
