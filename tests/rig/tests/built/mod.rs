//! Where the test plug-in is, and a rig that has loaded it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use audiocloud_rig::process::{Options, Rig};

/// The test plug-in's library: built, as a dependency of this test, beside the test itself.
fn plugin() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = test.with_file_name(format!("{prefix}audiocloud_misbehaving{suffix}"));
    assert!(library.exists(), "{} is missing", library.display());
    library
}

/// A rig with the test plug-in in it, ready.
pub(crate) fn ready(folder: &Path, options: &Options) -> Rig {
    let program = Path::new(env!("CARGO_BIN_EXE_audiocloud-rig"));
    let mut rig = Rig::spawn(program, &plugin(), folder, "rig", options).expect("a rig");
    rig.wait("ready", Duration::from_secs(10)).expect("ready");
    rig
}
