//! One library laid out as a CLAP and as a VST3 bundle.

use std::fs;
use std::path::{Path, PathBuf};

use crate::classes::Class;
use crate::platform::{Platform, System};
use crate::{Error, install, module_info, property_list};

/// What goes into the bundles.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The built `cdylib`.
    pub library: &'a Path,
    /// What it was built for.
    pub platform: Platform,
    /// The bundles' name, without an extension.
    pub name: &'a str,
    /// The product's version, `major.minor.patch`.
    pub version: &'a str,
    /// What the library exports.
    pub classes: &'a [Class],
}

/// The two bundles as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundles {
    /// A file, or on macOS a folder.
    pub clap: PathBuf,
    /// A folder.
    pub vst3: PathBuf,
}

impl Contents<'_> {
    /// Writes both bundles into the folder `out`, which is made when it is missing. Bundles that are already there
    /// are replaced whole.
    ///
    /// # Errors
    /// [`Error::File`] when the library cannot be read or the folder not be written.
    pub fn write(&self, out: &Path) -> Result<Bundles, Error> {
        fs::create_dir_all(out).map_err(Error::file("create", out))?;
        let staging = install::staging(out)?;
        let clap = self.stage_clap(staging.path())?;
        let vst3 = self.stage_vst3(staging.path())?;
        Ok(Bundles { clap: install::replace(&clap, out)?, vst3: install::replace(&vst3, out)? })
    }

    fn stage_clap(&self, staging: &Path) -> Result<PathBuf, Error> {
        let bundle = staging.join(format!("{}.clap", self.name));
        if self.platform.system == System::MacOs {
            self.copy_library(&bundle.join("Contents/MacOS").join(self.name))?;
            self.write_property_list(&bundle, "clap")?;
        } else {
            self.copy_library(&bundle)?;
        }
        Ok(bundle)
    }

    fn stage_vst3(&self, staging: &Path) -> Result<PathBuf, Error> {
        let bundle = staging.join(format!("{}.vst3", self.name));
        let contents = bundle.join("Contents");
        let library = contents.join(self.platform.vst3_folder()).join(self.platform.vst3_library(self.name));
        self.copy_library(&library)?;
        if self.platform.system == System::MacOs {
            self.write_property_list(&bundle, "vst3")?;
        }
        let info = module_info::text(self.name, self.version, self.classes);
        write(&contents.join("Resources/moduleinfo.json"), &info)?;
        Ok(bundle)
    }

    fn copy_library(&self, to: &Path) -> Result<(), Error> {
        create_parent(to)?;
        fs::copy(self.library, to).map(drop).map_err(Error::file("copy the library", self.library))
    }

    fn write_property_list(&self, bundle: &Path, format: &str) -> Result<(), Error> {
        let contents = bundle.join("Contents");
        let identifier = format!("org.{}.{format}", self.name);
        write(&contents.join("Info.plist"), &property_list::text(self.name, &identifier, self.version))?;
        write(&contents.join("PkgInfo"), property_list::PACKAGE_INFO)
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    create_parent(path)?;
    fs::write(path, text).map_err(Error::file("write", path))
}

fn create_parent(path: &Path) -> Result<(), Error> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(Error::file("create", parent)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes;

    /// Bundles a stand-in for a library and lists every file of the result.
    fn layout(target: &str) -> (tempfile::TempDir, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("library");
        fs::write(&library, b"machine code").unwrap();
        let out = folder.path().join("out");
        let contents = Contents {
            library: &library,
            platform: Platform::from_target(target).unwrap(),
            name: "audiocloud",
            version: "0.1.0",
            classes: classes::ALL,
        };
        contents.write(&out).unwrap();
        // A second time: bundles that are there must be replaced, not refused.
        contents.write(&out).unwrap();
        let mut files = Vec::new();
        list(&out, &out, &mut files);
        files.sort();
        (folder, files)
    }

    fn list(root: &Path, folder: &Path, files: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                list(root, &path, files);
            } else {
                files.push(path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"));
            }
        }
    }

    #[test]
    fn linux() {
        let (folder, files) = layout("x86_64-unknown-linux-gnu");
        assert_eq!(
            files,
            [
                "audiocloud.clap",
                "audiocloud.vst3/Contents/Resources/moduleinfo.json",
                "audiocloud.vst3/Contents/x86_64-linux/audiocloud.so",
            ]
        );
        let copied = folder.path().join("out/audiocloud.vst3/Contents/x86_64-linux/audiocloud.so");
        assert_eq!(fs::read(copied).unwrap(), b"machine code");
    }

    #[test]
    fn macos() {
        let (folder, files) = layout("aarch64-apple-darwin");
        assert_eq!(
            files,
            [
                "audiocloud.clap/Contents/Info.plist",
                "audiocloud.clap/Contents/MacOS/audiocloud",
                "audiocloud.clap/Contents/PkgInfo",
                "audiocloud.vst3/Contents/Info.plist",
                "audiocloud.vst3/Contents/MacOS/audiocloud",
                "audiocloud.vst3/Contents/PkgInfo",
                "audiocloud.vst3/Contents/Resources/moduleinfo.json",
            ]
        );
        let read = |path: &str| fs::read_to_string(folder.path().join("out").join(path)).unwrap();
        assert!(read("audiocloud.vst3/Contents/Info.plist").contains("<string>org.audiocloud.vst3</string>"));
        assert!(read("audiocloud.clap/Contents/Info.plist").contains("<string>org.audiocloud.clap</string>"));
        assert_eq!(read("audiocloud.clap/Contents/PkgInfo"), "BNDL????");
    }

    #[test]
    fn windows() {
        let (_folder, files) = layout("x86_64-pc-windows-msvc");
        assert_eq!(
            files,
            [
                "audiocloud.clap",
                "audiocloud.vst3/Contents/Resources/moduleinfo.json",
                "audiocloud.vst3/Contents/x86_64-win/audiocloud.vst3",
            ]
        );
    }

    #[test]
    fn a_missing_library_is_named_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let contents = Contents {
            library: Path::new("no/such/library.so"),
            platform: Platform::host().unwrap(),
            name: "audiocloud",
            version: "0.1.0",
            classes: classes::ALL,
        };
        let error = contents.write(&out).unwrap_err().to_string();
        assert!(error.contains("no/such/library.so"), "{error}");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    }
}
