//! The process in which one plug-in runs: what its program's `main` calls.
//!
//! It talks over its standard input and output, which it puts out of the plug-in's reach first. It ends when its input
//! ends, so it does not outlive the node.

#![allow(unsafe_code, reason = "inherited descriptors and foreign libraries are boundaries")]

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::ExitCode;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::stdio::{dup2_stdin, dup2_stdout, stderr, stdin, stdout};

use crate::message::{Answer, Reply, write_frame};
use crate::shared::{Shape, Shared};

mod audio;
mod callbacks;
mod instance;
mod serve;
mod spread;
mod voice;

/// Runs one plug-in, or searches one file, as `arguments` say; they come from [`crate::program::Program`].
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let done = match words.as_slice() {
        ["host", memory, wake, channels, side_chain, slots] => {
            host([*memory, *wake], [*channels, *side_chain, *slots])
        }
        ["scan", _] => scan(Path::new(&arguments[1])),
        _ => Err(invalid("this runs other people's plug-ins for `audiocloud node`, which calls it itself")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn invalid(words: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, words)
}

fn number<T: std::str::FromStr>(word: &str) -> io::Result<T> {
    word.parse().map_err(|_| invalid("a number was expected"))
}

fn host(descriptors: [&str; 2], shape: [&str; 3]) -> io::Result<()> {
    let [memory, wake] = [adopt(number(descriptors[0])?)?, adopt(number(descriptors[1])?)?];
    let shape = Shape::new(number(shape[0])?, number(shape[1])?, number(shape[2])?);
    let shared = Shared::adopt(memory, shape.ok_or_else(|| invalid("a shape that makes no sense"))?)?;
    let (commands, answers) = channels()?;
    serve::serve(shared, wake, commands, answers)
}

fn scan(path: &Path) -> io::Result<()> {
    let (_, mut answers) = channels()?;
    let answer = match instance::list(path) {
        Ok(listed) => Answer::Scanned(listed),
        Err(words) => Answer::Refused(words),
    };
    write_frame(&mut answers, &Reply { number: None, answer }, &[])
}

/// A descriptor that the parent left open for us, and that the plug-in's own children shall not have.
fn adopt(raw: RawFd) -> io::Result<OwnedFd> {
    if raw <= 2 {
        return Err(invalid("a descriptor that is not ours"));
    }
    // SAFETY: the parent opened it for this process and names each once, so nobody else here owns it; where it is not
    // open, every use of it is an error and nothing more.
    let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
    fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
    Ok(descriptor)
}

/// The pipes of standard input and output, moved away: what the plug-in prints goes where errors go. And no crash
/// leaves a core file.
fn channels() -> io::Result<(File, File)> {
    let commands = File::from(fcntl_dupfd_cloexec(stdin(), 3)?);
    let answers = File::from(fcntl_dupfd_cloexec(stdout(), 3)?);
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(stderr())?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok((commands, answers))
}
