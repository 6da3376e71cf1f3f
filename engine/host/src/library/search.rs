//! Looking into files, each in a process of its own.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::description::Listed;
use crate::message::{Answer, Decoder, Reply};
use crate::process;
use crate::program::Program;

/// How long a process that closed its output may take to end.
const ENDS: Duration = Duration::from_secs(2);
/// How deep folders are searched, and how many files count.
const DEPTH_MAX: usize = 8;
const FILES_MAX: usize = 10_000;

/// Why a file could not be searched.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) words: String,
    /// Whether it is the file's own.
    pub(super) own: bool,
}

/// The CLAP files below folders, in the order of the folders, each once.
pub(super) fn files(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        visit(folder, DEPTH_MAX, &mut found);
    }
    found
}

fn visit(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let is_folder = path.is_dir();
        let is_clap = path.extension().is_some_and(|extension| extension == "clap");
        if is_folder && depth > 0 {
            visit(&path, depth - 1, found);
        } else if is_clap && !is_folder && found.len() < FILES_MAX && !found.contains(&path) {
            found.push(path);
        }
    }
}

/// What is in a file.
pub(super) fn search(program: &Program, file: &Path, limit: Duration) -> Result<Vec<Listed>, Fault> {
    let fault = |words: String, own| Err(Fault { words, own });
    let mut child = match program.scan(file) {
        Ok(child) => child,
        Err(error) => return fault(format!("no process to search it: {error}"), false),
    };
    let answer = listen(&mut child, limit);
    let grace = if matches!(answer, Ok(None)) { ENDS } else { Duration::ZERO };
    let signal = process::end(&mut child, grace).ok().and_then(|status| status.signal());
    match (answer, signal) {
        (Ok(Some(Answer::Scanned(plugins))), _) => Ok(plugins),
        (Ok(Some(Answer::Refused(words))), _) => fault(words, false),
        (Ok(_), Some(signal)) => fault(format!("crashed when it was searched (signal {signal})"), true),
        (Ok(_), None) => fault("ended when it was searched".into(), true),
        (Err(error), _) if error.kind() == io::ErrorKind::TimedOut => {
            fault(format!("hung when it was searched, for {} s", limit.as_secs_f32()), true)
        }
        (Err(error), _) => fault(format!("when it was searched: {error}"), false),
    }
}

/// The one answer; none where the process ended without.
fn listen(child: &mut Child, limit: Duration) -> io::Result<Option<Answer>> {
    let Some(mut answers) = child.stdout.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
    let (mut decoder, mut piece) = (Decoder::default(), [0; 65_536]);
    let deadline = Instant::now() + limit;
    loop {
        if let Some((reply, _)) = decoder.frame::<Reply>().map_err(io::Error::other)? {
            return Ok(Some(reply.answer));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if !process::wait_to_read(&answers, left)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match answers.read(&mut piece)? {
            0 => return Ok(None),
            length => decoder.push(&piece[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_order_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("b/deep")).unwrap();
        for name in ["b/deep/z.clap", "b/a.clap", "b/readme.txt", "c.clap"] {
            std::fs::write(at(name), "").unwrap();
        }
        let folders = [at("b"), folder.path().to_owned(), at("missing")];
        assert_eq!(files(&folders), [at("b/a.clap"), at("b/deep/z.clap"), at("c.clap")]);
    }
}
