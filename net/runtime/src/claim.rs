//! Who on this machine publishes a stream id: the first claimant keeps it, a later one is told so.
//!
//! A claim is a lock on `claims/<stream id>` in the runtime folder. The kernel gives it back when the process
//! dies, so a crash never leaves a stream taken.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use audiocloud_wire::id::StreamId;

use crate::private_file;

/// Why a stream id could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another instance, in this process or another one, publishes this stream.
    #[error(
        "another audiocloud Send on this machine already publishes this stream; give this one a fresh id"
    )]
    Taken,
    /// The claim's file could not be made or locked.
    #[error("cannot claim the stream in {}: {cause}; make the folder writable or set AUDIOCLOUD_RUNTIME_DIR to another", folder.display())]
    Io { folder: PathBuf, cause: io::Error },
}

/// The claims of one process.
#[derive(Clone, Debug)]
pub struct Claims {
    folder: PathBuf,
    // What this process holds. Locks of one process do not exclude each other on every system.
    held: Arc<Mutex<BTreeSet<StreamId>>>,
}

impl Claims {
    /// Claims under `runtime_dir`; no file is touched before the first claim.
    pub fn new(runtime_dir: &Path) -> Self {
        Self { folder: runtime_dir.join("claims"), held: Arc::default() }
    }

    /// Takes the stream id until the claim is dropped, or the process ends in any way.
    ///
    /// # Errors
    /// `Taken` when someone has it; `Io` when the lock cannot be had for another cause.
    pub fn try_claim(&self, stream: StreamId) -> Result<Claim, ClaimError> {
        if !lock(&self.held).insert(stream) {
            return Err(ClaimError::Taken);
        }
        let path = self.folder.join(stream.to_string());
        match self.lock_file(&path) {
            Ok(file) => Ok(Claim { stream, path, file: Some(file), held: Arc::clone(&self.held) }),
            Err(error) => {
                lock(&self.held).remove(&stream);
                Err(error)
            }
        }
    }

    fn lock_file(&self, path: &Path) -> Result<File, ClaimError> {
        let io = |cause| ClaimError::Io { folder: self.folder.clone(), cause };
        private_file::create_dir(&self.folder).map_err(io)?;
        if let Some(exposure) = private_file::dir_exposure(&self.folder).map_err(io)? {
            return Err(io(io::Error::other(format!("the folder {exposure}"))));
        }
        // The holder removes the file when it lets go, so a lock may turn out to be on a file that is no
        // longer there. Each further round needs another holder to have let go meanwhile; a few settle it.
        for _ in 0..16 {
            let file = private_file::open_lock(path).map_err(io)?;
            match file.try_lock() {
                Ok(()) if is_the_file_at(&file, path) => return Ok(file),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(ClaimError::Taken),
                Err(TryLockError::Error(cause)) => return Err(io(cause)),
            }
        }
        Err(ClaimError::Taken)
    }
}

#[cfg(unix)]
fn is_the_file_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Elsewhere claim files are not removed, so the path always leads to the locked one.
#[cfg(not(unix))]
fn is_the_file_at(_file: &File, _path: &Path) -> bool {
    true
}

/// The right to publish one stream id on this machine. Dropping it gives the id back.
#[derive(Debug)]
pub struct Claim {
    stream: StreamId,
    path: PathBuf,
    file: Option<File>,
    held: Arc<Mutex<BTreeSet<StreamId>>>,
}

impl Claim {
    /// The stream that is claimed.
    pub fn stream(&self) -> StreamId {
        self.stream
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Removed while still locked, so nobody else's claim can be in the file that goes. A file that stays
        // is harmless.
        #[cfg(unix)]
        std::fs::remove_file(&self.path).ok();
        drop(self.file.take());
        lock(&self.held).remove(&self.stream);
    }
}

/// A panic elsewhere cannot leave the set half-changed, so a poisoned lock is as good as another.
fn lock(held: &Mutex<BTreeSet<StreamId>>) -> std::sync::MutexGuard<'_, BTreeSet<StreamId>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn is_taken(result: Result<Claim, ClaimError>) -> bool {
        matches!(result, Err(ClaimError::Taken))
    }

    #[test]
    fn the_first_claimant_keeps_the_stream_until_it_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::new(folder.path());
        let first = claims.try_claim(StreamId(7)).unwrap();
        assert!(is_taken(claims.try_claim(StreamId(7))));
        assert_eq!(first.stream(), StreamId(7));
        let other = claims.try_claim(StreamId(8)).unwrap();
        drop(first);
        drop(claims.try_claim(StreamId(7)).unwrap());
        drop(other);
        assert_eq!(std::fs::read_dir(folder.path().join("claims")).unwrap().count(), 0);
    }

    #[test]
    fn two_runtimes_of_one_process_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (Claims::new(folder.path()), Claims::new(folder.path()));
        let claim = a.try_claim(StreamId(7)).unwrap();
        assert!(is_taken(b.try_claim(StreamId(7))));
        drop(claim);
        b.try_claim(StreamId(7)).unwrap();
    }

    #[test]
    fn of_many_at_once_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..50 {
            let barrier = std::sync::Barrier::new(4);
            let results = std::thread::scope(|scope| {
                let claimants = [(); 4].map(|()| {
                    scope.spawn(|| {
                        barrier.wait();
                        Claims::new(folder.path()).try_claim(StreamId(7))
                    })
                });
                claimants.map(|one| one.join().unwrap())
            });
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Claims::new(&file).try_claim(StreamId(7)).unwrap_err();
        assert!(error.to_string().contains("AUDIOCLOUD_RUNTIME_DIR"), "{error}");
    }

    const CHILD: &str = "AUDIOCLOUD_TEST_CLAIM_CHILD";

    /// Not a test by itself: the other process of the next test.
    #[test]
    fn child_that_claims() {
        let Some(folder) = std::env::var_os(CHILD) else { return };
        let _claim = Claims::new(Path::new(&folder)).try_claim(StreamId(7)).unwrap();
        println!("claimed");
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }

    #[test]
    fn a_killed_process_gives_its_claim_back() {
        use std::io::BufRead;
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "claim::tests::child_that_claims", "--nocapture"])
            .env(CHILD, folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains("claimed")));
        let claims = Claims::new(folder.path());
        assert!(is_taken(claims.try_claim(StreamId(7))));
        child.kill().unwrap();
        child.wait().unwrap();
        claims.try_claim(StreamId(7)).unwrap();
    }
}
