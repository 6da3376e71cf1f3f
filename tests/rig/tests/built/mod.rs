//! Where the test plug-in is.

use std::path::PathBuf;

/// The test plug-in's library: built, as a dependency of this test, beside the test itself.
pub(crate) fn plugin() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = test.with_file_name(format!("{prefix}audiocloud_allocating{suffix}"));
    assert!(library.exists(), "{} is missing", library.display());
    library
}
