//! CLAP and VST3 bundles of the built library, and the folders in which DAWs look for them.
//!
//! **A bundle is files in a layout: this crate copies, writes and renames, and builds nothing.** It never runs a
//! compiler, never loads the library it is given (which may be another machine's), and never leaves a half-written
//! bundle where a DAW could find it.
//!
//! `nice-plug-xtask` was tried for this and left: it runs cargo itself with arguments of its own, bundles for the
//! host alone, writes no `moduleinfo.json`, and installs nothing. What remains of it is the layouts, which are here.

pub mod bundle;
pub mod classes;
pub mod install;
pub mod module_info;
pub mod platform;
mod property_list;

/// Why a bundle could not be written or installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target triple names a system for which there is no layout.
    #[error("no bundle layout for target `{0}`: use a Linux, macOS or Windows target on x86_64 or aarch64")]
    Target(String),
    /// The folder in which DAWs look depends on a variable that is not set.
    #[error("cannot tell where DAWs look for plug-ins: the variable {0} is not set")]
    Variable(&'static str),
    /// The file system refused.
    #[error("cannot {act} {}: {cause}", path.display())]
    File {
        /// What was tried: a verb.
        act: &'static str,
        /// On which path.
        path: std::path::PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}

impl Error {
    /// For `map_err`: what was tried, and on which path.
    fn file(act: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |cause| Error::File { act, path, cause }
    }
}
