//! Folders and files that belong to one user: made with owner-only rights, replaced in one step.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Makes the folder and its parents, readable by their owner alone. A folder that is there keeps its rights.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The reason why others could put files into this folder, or `None` when only its owner can.
#[cfg(unix)]
pub(crate) fn dir_exposure(path: &Path) -> io::Result<Option<&'static str>> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::metadata(path)?;
    Ok(if !found.is_dir() {
        Some("is not a folder")
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        Some("belongs to another user")
    } else if found.mode() & 0o022 != 0 {
        Some("can be written by other users")
    } else {
        None
    })
}

/// Elsewhere the system's own access lists for the user's folders have to serve.
#[cfg(not(unix))]
pub(crate) fn dir_exposure(_path: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

/// Writes a file that only its owner can read, whole or not at all: readers see the old one or the new one.
/// `durable` waits until it has reached the disk; files that can be made again need not.
pub(crate) fn write(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("the file has no folder"))?;
    let name = path.file_name().ok_or_else(|| io::Error::other("the file has no name"))?;
    // A process writes one such file at a time under a lock, so its id makes the name its own.
    let beside = folder.join(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    let written = create(&beside).and_then(|mut file| {
        file.write_all(content)?;
        if durable { file.sync_all() } else { Ok(()) }
    });
    let replaced = written.and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        // Nothing else can be done for the half-written file; the first error is the one to tell.
        fs::remove_file(&beside).ok();
    }
    replaced?;
    #[cfg(unix)]
    if durable {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Opens a file for locking, making it when it is not there.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn folders_and_files_are_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        create_dir(&deep).unwrap();
        assert_eq!((mode(&deep), mode(&folder.path().join("a"))), (0o700, 0o700));
        let file = deep.join("x");
        write(&file, b"one", true).unwrap();
        write(&file, b"two", false).unwrap();
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 1, "nothing half-written stays");
    }

    #[test]
    fn a_folder_that_others_can_write_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(dir_exposure(folder.path()).unwrap(), None);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(dir_exposure(folder.path()).unwrap(), Some("can be written by other users"));
    }
}
