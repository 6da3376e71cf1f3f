//! Where DAWs look for plug-ins, and how a bundle gets there while one of them may be looking.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Error;
use crate::bundle::Bundles;
use crate::platform::System;

/// The folders in which DAWs look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// For CLAP.
    pub clap: PathBuf,
    /// For VST3.
    pub vst3: PathBuf,
}

impl Folders {
    /// The user's own folders on Linux and macOS; on Windows those of all users, for not every host there looks
    /// elsewhere. `variable` reads the environment.
    ///
    /// # Errors
    /// [`Error::Variable`] when the environment does not tell.
    pub fn of(system: System, variable: impl Fn(&str) -> Option<OsString>) -> Result<Folders, Error> {
        let folder = |name: &'static str| {
            variable(name).filter(|value| !value.is_empty()).map(PathBuf::from).ok_or(Error::Variable(name))
        };
        Ok(match system {
            System::Linux => {
                let home = folder("HOME")?;
                Folders { clap: home.join(".clap"), vst3: home.join(".vst3") }
            }
            System::MacOs => {
                let plug_ins = folder("HOME")?.join("Library/Audio/Plug-Ins");
                Folders { clap: plug_ins.join("CLAP"), vst3: plug_ins.join("VST3") }
            }
            System::Windows => {
                let common = folder("COMMONPROGRAMFILES")?;
                Folders { clap: common.join("CLAP"), vst3: common.join("VST3") }
            }
        })
    }

    /// Copies both bundles into these folders. Each appears whole or not at all, and an earlier one stays until
    /// then. A DAW that has it loaded keeps its copy.
    ///
    /// # Errors
    /// [`Error::File`] when a folder cannot be written.
    pub fn install(&self, bundles: &Bundles) -> Result<Bundles, Error> {
        Ok(Bundles { clap: install(&bundles.clap, &self.clap)?, vst3: install(&bundles.vst3, &self.vst3)? })
    }
}

fn install(bundle: &Path, folder: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let staging = staging(folder)?;
    let copy = staging.path().join(bundle.file_name().expect("a bundle has a name"));
    copy_tree(bundle, &copy)?;
    replace(&copy, folder)
}

/// A folder inside `folder`, so that moving out of it stays on one file system. Its name ends in nothing that a DAW
/// would scan for, and it goes when it is dropped.
pub(crate) fn staging(folder: &Path) -> Result<TempDir, Error> {
    tempfile::Builder::new()
        .prefix(".audiocloud-")
        .tempdir_in(folder)
        .map_err(Error::file("write into", folder))
}

/// Moves a staged bundle into `folder`; what had its name before ends up in the staging folder and goes with it.
pub(crate) fn replace(staged: &Path, folder: &Path) -> Result<PathBuf, Error> {
    let target = folder.join(staged.file_name().expect("a bundle has a name"));
    // A file replaces a file in one step, and so does the first installation. A folder that is full does not.
    let moved = match fs::rename(staged, &target) {
        Ok(()) => Ok(()),
        Err(_) if target.exists() => exchange(staged, &target),
        Err(cause) => Err(cause),
    };
    moved.map_err(Error::file("replace", &target))?;
    Ok(target)
}

/// Both names exist at every moment.
#[cfg(target_os = "linux")]
fn exchange(staged: &Path, target: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, staged, CWD, target, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // Some file systems (network ones above all) cannot.
        Err(_) => step_aside(staged, target),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(staged: &Path, target: &Path) -> std::io::Result<()> {
    step_aside(staged, target)
}

/// The old one is out of the way for the moment between two renames, and comes back if the second fails.
fn step_aside(staged: &Path, target: &Path) -> std::io::Result<()> {
    let aside = staged.with_extension("old");
    fs::rename(target, &aside)?;
    match fs::rename(staged, target) {
        Ok(()) => Ok(()),
        Err(cause) => match fs::rename(&aside, target) {
            Ok(()) => Err(cause),
            Err(worse) => Err(worse),
        },
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Error> {
    if !from.is_dir() {
        return fs::copy(from, to).map(drop).map_err(Error::file("copy", from));
    }
    fs::create_dir_all(to).map_err(Error::file("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::file("read", from))? {
        let entry = entry.map_err(Error::file("read", from))?;
        copy_tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "HOME" => Some("/home/ada".into()),
            "COMMONPROGRAMFILES" => Some("C:/Program Files/Common Files".into()),
            _ => None,
        }
    }

    #[test]
    fn folders_are_where_daws_look() {
        let check = |system, clap: &str, vst3: &str| {
            let folders = Folders::of(system, environment).unwrap();
            assert_eq!((folders.clap, folders.vst3), (PathBuf::from(clap), PathBuf::from(vst3)));
        };
        check(System::Linux, "/home/ada/.clap", "/home/ada/.vst3");
        check(
            System::MacOs,
            "/home/ada/Library/Audio/Plug-Ins/CLAP",
            "/home/ada/Library/Audio/Plug-Ins/VST3",
        );
        check(System::Windows, "C:/Program Files/Common Files/CLAP", "C:/Program Files/Common Files/VST3");
    }

    #[test]
    fn an_unset_or_empty_variable_is_named() {
        for value in [None, Some(OsString::new())] {
            let error = Folders::of(System::Linux, |_| value.clone()).unwrap_err();
            assert!(error.to_string().contains("HOME"), "{error}");
        }
    }

    fn bundles(folder: &Path, content: &str) -> Bundles {
        let bundles = Bundles { clap: folder.join("a.clap"), vst3: folder.join("a.vst3") };
        fs::create_dir_all(bundles.vst3.join("Contents")).unwrap();
        fs::write(&bundles.clap, content).unwrap();
        fs::write(bundles.vst3.join("Contents").join(content), content).unwrap();
        bundles
    }

    #[test]
    fn installing_again_replaces_all_of_it_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let folders = Folders { clap: home.join(".clap"), vst3: home.join(".vst3") };
        for content in ["first", "second", "third"] {
            let made = bundles(&folder.path().join(content), content);
            let installed = folders.install(&made).unwrap();
            assert_eq!(fs::read_to_string(&installed.clap).unwrap(), content);
            let inside: Vec<_> = fs::read_dir(installed.vst3.join("Contents")).unwrap().collect();
            assert_eq!(inside.len(), 1, "files of an earlier version remain");
            assert_eq!(fs::read_to_string(installed.vst3.join("Contents").join(content)).unwrap(), content);
            for directory in [&folders.clap, &folders.vst3] {
                assert_eq!(fs::read_dir(directory).unwrap().count(), 1, "staging remains");
            }
        }
    }

    #[test]
    fn a_folder_steps_aside_where_names_cannot_be_exchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (staged, target) = (folder.path().join("new.vst3"), folder.path().join("a.vst3"));
        for (path, content) in [(&staged, "new"), (&target, "old")] {
            fs::create_dir_all(path).unwrap();
            fs::write(path.join("x"), content).unwrap();
        }
        step_aside(&staged, &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("x")).unwrap(), "new");
    }

    #[test]
    fn an_open_file_survives_its_replacement() {
        use std::io::Read;
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders { clap: folder.path().join("c"), vst3: folder.path().join("v") };
        let installed = folders.install(&bundles(&folder.path().join("1"), "first")).unwrap();
        let mut loaded = fs::File::open(installed.clap).unwrap();
        folders.install(&bundles(&folder.path().join("2"), "second")).unwrap();
        let mut content = String::new();
        loaded.read_to_string(&mut content).unwrap();
        assert_eq!(content, "first");
    }
}
