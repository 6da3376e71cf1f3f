//! Which CLAP plug-ins this machine has, and which of them may not be loaded.
//!
//! A file is searched by a child, once: what was found is kept until the file changes. What crashes or hangs, in the
//! search or later, is put in quarantine until its file changes or it is released.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::description::Listed;
use crate::error::HostError;
use crate::program::Program;

mod search;

/// What a file was when it was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    modified_ns: u64,
    bytes: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        let modified = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self { modified_ns: u64::try_from(modified.as_nanos()).ok()?, bytes: file.len() })
    }
}

/// A file that was searched.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Searched {
    stamp: Stamp,
    plugins: Vec<Listed>,
    /// Why there are none.
    words: Option<String>,
}

/// Something that may not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The file.
    pub path: PathBuf,
    /// The one plug-in of it, or all of them.
    pub id: Option<String>,
    /// What it did.
    pub words: String,
    /// When, in seconds since 1970.
    pub at_s: u64,
    stamp: Stamp,
}

/// A plug-in that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// As its factory lists it.
    pub listed: Listed,
    /// Its file.
    pub path: PathBuf,
}

/// What a search came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Files with a name of CLAP's.
    pub files: usize,
    /// Those of them that were loaded, because they are new or changed.
    pub searched: usize,
    /// Plug-ins in all of them.
    pub plugins: usize,
    /// What could not be searched, and why.
    pub faults: Vec<(PathBuf, String)>,
}

#[derive(Debug, Default)]
struct Shelves {
    files: BTreeMap<PathBuf, Searched>,
    quarantine: Vec<Quarantined>,
    /// The two files as they were read or written last: another process may write them too.
    stamps: [Option<Stamp>; 2],
}

/// The plug-ins of this machine. Kept in two files of one folder; any thread but the audio's.
#[derive(Debug)]
pub struct Library {
    folder: PathBuf,
    program: Program,
    shelves: Mutex<Shelves>,
}

/// How long loading a file may take when it is searched.
pub const SEARCH_LIMIT: Duration = Duration::from_secs(20);

const FILES: &str = "plug-ins.json";
const QUARANTINE: &str = "quarantine.json";

impl Library {
    /// What is known from before, in `folder`. `program` starts the children. What cannot be read counts as nothing, and
    /// is found again by a search.
    #[must_use]
    pub fn open(folder: &Path, program: Program) -> Self {
        Self { folder: folder.to_owned(), program, shelves: Mutex::default() }
    }

    /// Where CLAP plug-ins are: `CLAP_PATH`, the user's folder, the system's.
    #[must_use]
    pub fn folders() -> Vec<PathBuf> {
        let path = std::env::var_os("CLAP_PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> =
            std::env::split_paths(&path).filter(|path| path.is_absolute()).collect();
        folders.extend(std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".clap")));
        folders.extend(["/usr/lib/clap", "/usr/local/lib/clap"].map(PathBuf::from));
        folders
    }

    /// [`Library::search_within`] the usual limit.
    ///
    /// # Errors
    /// As there.
    pub fn search(&self, folders: &[PathBuf]) -> Result<Report, HostError> {
        self.search_within(folders, SEARCH_LIMIT)
    }

    /// Looks for plug-ins in `folders`, which takes as long as loading each new one; a file that takes longer than
    /// `limit` hangs.
    ///
    /// # Errors
    /// What was found cannot be kept; it is known nevertheless.
    pub fn search_within(&self, folders: &[PathBuf], limit: Duration) -> Result<Report, HostError> {
        let paths = search::files(folders);
        let mut report = Report { files: paths.len(), ..Report::default() };
        let mut files = BTreeMap::new();
        for path in paths {
            let Some(stamp) = Stamp::of(&path) else { continue };
            let known = self.shelves().files.get(&path).filter(|known| known.stamp == stamp).cloned();
            let searched = known.unwrap_or_else(|| {
                report.searched += 1;
                self.look_into(&path, stamp, limit)
            });
            report.plugins += searched.plugins.len();
            report.faults.extend(searched.words.clone().map(|words| (path.clone(), words)));
            files.insert(path, searched);
        }
        let mut shelves = self.shelves();
        shelves.files = files;
        shelves.quarantine.retain(|entry| Stamp::of(&entry.path) == Some(entry.stamp));
        self.keep(&mut shelves)?;
        Ok(report)
    }

    fn look_into(&self, path: &Path, stamp: Stamp, limit: Duration) -> Searched {
        match search::search(&self.program, path, limit) {
            Ok(plugins) => Searched { stamp, plugins, words: None },
            Err(fault) => {
                if fault.own {
                    self.quarantine(path, None, &fault.words);
                }
                Searched { stamp, plugins: Vec::new(), words: Some(fault.words) }
            }
        }
    }

    /// All that can be loaded, by name.
    #[must_use]
    pub fn plugins(&self) -> Vec<Found> {
        let shelves = self.shelves();
        let mut found: BTreeMap<&str, Found> = BTreeMap::new();
        for (path, searched) in &shelves.files {
            for listed in &searched.plugins {
                if shelves.held(path, &listed.id).is_none() {
                    found
                        .entry(&listed.id)
                        .or_insert_with(|| Found { listed: listed.clone(), path: path.clone() });
                }
            }
        }
        let mut found: Vec<Found> = found.into_values().collect();
        found.sort_by_key(|found| found.listed.name.to_lowercase());
        found
    }

    /// What may not be loaded, and why.
    #[must_use]
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.shelves().quarantine.clone()
    }

    /// The file of a plug-in.
    ///
    /// # Errors
    /// There is none, or it may not be loaded.
    pub fn find(&self, id: &str) -> Result<(PathBuf, Listed), HostError> {
        let shelves = self.shelves();
        let mut held = None;
        for (path, searched) in &shelves.files {
            let Some(listed) = searched.plugins.iter().find(|listed| listed.id == id) else { continue };
            match shelves.held(path, id) {
                Some(words) => held = held.or(Some(words.to_owned())),
                None => return Ok((path.clone(), listed.clone())),
            }
        }
        let of = |entry: &&Quarantined| entry.id.as_deref() == Some(id);
        let held = held.or_else(|| shelves.quarantine.iter().find(of).map(|entry| entry.words.clone()));
        Err(match held {
            Some(words) => HostError::Quarantined { id: id.to_owned(), words },
            None => HostError::Unknown { id: id.to_owned() },
        })
    }

    /// Has a plug-in of a file, or all of them, not be loaded again until the file changes.
    pub fn quarantine(&self, path: &Path, id: Option<&str>, words: &str) {
        let at_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut shelves = self.shelves();
        shelves.quarantine.retain(|entry| entry.path != path || entry.id.as_deref() != id);
        shelves.quarantine.push(Quarantined {
            path: path.to_owned(),
            id: id.map(str::to_owned),
            words: words.to_owned(),
            at_s,
            stamp: Stamp::of(path).unwrap_or_default(),
        });
        if let Err(error) = self.keep(&mut shelves) {
            tracing::warn!(target: "audiocloud::host", %error, "the quarantine holds until this process ends");
        }
    }

    /// Lets a plug-in, or the file of this path, be loaded again; how many entries that were.
    ///
    /// # Errors
    /// That cannot be kept; it holds nevertheless, for this process.
    pub fn release(&self, id_or_path: &str) -> Result<usize, HostError> {
        let mut shelves = self.shelves();
        let before = shelves.quarantine.len();
        let is_meant = |entry: &Quarantined| {
            entry.id.as_deref() == Some(id_or_path) || entry.path == Path::new(id_or_path)
        };
        let files: Vec<PathBuf> = shelves
            .quarantine
            .iter()
            .filter(|entry| is_meant(entry))
            .map(|entry| entry.path.clone())
            .collect();
        shelves.quarantine.retain(|entry| !is_meant(entry));
        // A file that could not be searched is searched again.
        for path in files {
            if shelves.files.get(&path).is_some_and(|searched| searched.words.is_some()) {
                shelves.files.remove(&path);
            }
        }
        self.keep(&mut shelves)?;
        Ok(before - shelves.quarantine.len())
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// What is known, with what other processes have found or released since.
    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.stamps();
        if stamps[0].is_some() && stamps[0] != shelves.stamps[0] {
            shelves.files = load(&self.folder.join(FILES)).unwrap_or_default();
        }
        if stamps[1].is_some() && stamps[1] != shelves.stamps[1] {
            shelves.quarantine = load(&self.folder.join(QUARANTINE)).unwrap_or_default();
        }
        shelves.stamps = stamps;
        shelves
    }

    fn stamps(&self) -> [Option<Stamp>; 2] {
        [FILES, QUARANTINE].map(|name| Stamp::of(&self.folder.join(name)))
    }

    fn keep(&self, shelves: &mut Shelves) -> Result<(), HostError> {
        save(&self.folder, FILES, &shelves.files)?;
        save(&self.folder, QUARANTINE, &shelves.quarantine)?;
        shelves.stamps = self.stamps();
        Ok(())
    }
}

impl Shelves {
    /// Why a plug-in may not be loaded. A file that changed since is another.
    fn held(&self, path: &Path, id: &str) -> Option<&str> {
        let of = |entry: &&Quarantined| {
            entry.path == path
                && entry.id.as_deref().is_none_or(|held| held == id)
                && Stamp::of(path) == Some(entry.stamp)
        };
        self.quarantine.iter().find(of).map(|entry| entry.words.as_str())
    }
}

fn load<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(target: "audiocloud::host", path = %path.display(), %error, "is left out");
            }
            return None;
        }
    };
    let loaded = serde_json::from_slice(&text);
    if let Err(error) = &loaded {
        tracing::warn!(target: "audiocloud::host", path = %path.display(), %error, "is left out");
    }
    loaded.ok()
}

/// Written aside, then moved: a reader finds the old one or the new one.
fn save(folder: &Path, name: &str, content: &impl Serialize) -> Result<(), HostError> {
    let path = folder.join(name);
    let aside = folder.join(format!("{name}.{}", std::process::id()));
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| serde_json::to_vec_pretty(content).map_err(io::Error::other))
        .and_then(|text| std::fs::write(&aside, text))
        .and_then(|()| std::fs::rename(&aside, &path));
    written.map_err(|source| HostError::File { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: &str) -> Listed {
        Listed { id: id.into(), name: id.to_uppercase(), ..Listed::default() }
    }

    /// A library with two plug-ins in one file, whose children would fail.
    fn library(folder: &Path) -> (Library, PathBuf) {
        let path = folder.join("two.clap");
        std::fs::write(&path, "not really").unwrap();
        let library = Library::open(&folder.join("state"), Program::new("/nonexistent", &[]));
        let plugins = vec![listed("a"), listed("b")];
        let searched = Searched { stamp: Stamp::of(&path).unwrap(), plugins, words: None };
        let mut shelves = library.shelves();
        shelves.files.insert(path.clone(), searched);
        library.keep(&mut shelves).unwrap();
        drop(shelves);
        (library, path)
    }

    fn ids(library: &Library) -> Vec<String> {
        library.plugins().into_iter().map(|found| found.listed.id).collect()
    }

    #[test]
    fn what_crashed_is_held_until_it_is_released_or_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (library, path) = library(folder.path());
        assert_eq!(ids(&library), ["a", "b"]);
        library.quarantine(&path, Some("a"), "crashed (SIGSEGV)");
        assert_eq!(ids(&library), ["b"]);
        let refused = library.find("a").unwrap_err().to_string();
        assert!(refused.contains("crashed (SIGSEGV)") && refused.contains("release"), "{refused}");
        assert!(library.find("b").is_ok());
        assert!(matches!(library.find("c"), Err(HostError::Unknown { .. })));

        let again = Library::open(&folder.path().join("state"), library.program().clone());
        assert!(matches!(again.find("a"), Err(HostError::Quarantined { .. })), "it outlives the process");
        assert_eq!(again.release("a").unwrap(), 1);
        assert_eq!((ids(&again), again.release("a").unwrap()), (vec!["a".into(), "b".into()], 0));

        assert!(library.find("a").is_ok(), "what another process released is released");

        library.quarantine(&path, None, "crashed when it was searched");
        assert_eq!(ids(&library), [""; 0]);
        std::fs::write(&path, "an update").unwrap();
        assert_eq!(ids(&library), ["a", "b"]);
    }

    #[test]
    fn what_cannot_be_read_counts_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(QUARANTINE), "{").unwrap();
        let library = Library::open(folder.path(), Program::new("/nonexistent", &[]));
        assert_eq!(library.quarantined(), []);
    }
}
