//! How a plug-in's process is started.

#![allow(unsafe_code, reason = "what happens between fork and exec is the system's boundary")]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::shared::Shape;

/// A program that calls [`crate::sandbox::run`] with the arguments that follow its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// A program, and what comes before the arguments of the sandbox.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self { path: path.into(), arguments: arguments.iter().map(OsString::from).collect() }
    }

    /// The program that is running.
    ///
    /// # Errors
    /// The system's, where it does not tell which one that is.
    pub fn this(arguments: &[&str]) -> io::Result<Self> {
        Ok(Self::new(std::env::current_exe()?, arguments))
    }

    /// A process for one plug-in, which talks over its standard input and output. What else it writes goes where this
    /// process's errors go.
    pub(crate) fn host(
        &self,
        shape: Shape,
        memory: BorrowedFd<'_>,
        wake: BorrowedFd<'_>,
    ) -> io::Result<Child> {
        let mut command = self.command();
        command.arg("host").arg(memory.as_raw_fd().to_string()).arg(wake.as_raw_fd().to_string());
        command.args(
            [u32::from(shape.channels), u32::from(shape.side_chain), shape.slots].map(|n| n.to_string()),
        );
        let (memory, wake) = (memory.as_raw_fd(), wake.as_raw_fd());
        let inherit = move || {
            for descriptor in [memory, wake] {
                // SAFETY: both are open in the parent for the length of the spawn, so they are in its copy.
                let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
                fcntl_setfd(descriptor, FdFlags::empty())?;
            }
            Ok(())
        };
        // SAFETY: between fork and exec this makes two system calls and nothing else: no heap, no lock.
        unsafe { command.pre_exec(inherit) };
        command.stderr(Stdio::inherit()).spawn()
    }

    /// A process that looks what is in a file, and says it on its standard output.
    pub(crate) fn scan(&self, file: &Path) -> io::Result<Child> {
        self.command().arg("scan").arg(file).stdin(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        // What a terminal sends to the node, such as an interrupt, is not meant for it.
        command.process_group(0);
        command
    }
}
