//! The systems we bundle for: what they call a library, and where in a bundle they want it.

use crate::Error;

/// An operating system with a layout of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// `.so`, bundles are plain folders.
    Linux,
    /// `.dylib`, bundles carry an `Info.plist`.
    MacOs,
    /// `.dll`, a CLAP is the library itself.
    Windows,
}

/// A processor that DAWs run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

/// What a bundle is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Operating system.
    pub system: System,
    /// Processor.
    pub processor: Processor,
}

impl Platform {
    /// The platform that this program itself was built for.
    ///
    /// # Errors
    /// [`Error::Target`] on a system without a layout.
    pub fn host() -> Result<Platform, Error> {
        let system = match std::env::consts::OS {
            "macos" => "apple-darwin",
            other => other,
        };
        Platform::from_target(&format!("{}-{system}", std::env::consts::ARCH))
    }

    /// Reads a Rust target triple, for example `x86_64-unknown-linux-gnu`.
    ///
    /// # Errors
    /// [`Error::Target`] for a triple without a layout.
    pub fn from_target(triple: &str) -> Result<Platform, Error> {
        let unknown = || Error::Target(triple.to_owned());
        let (processor, rest) = triple.split_once('-').ok_or_else(unknown)?;
        let processor = match processor {
            "x86_64" => Processor::X86_64,
            "aarch64" => Processor::Aarch64,
            _ => return Err(unknown()),
        };
        let has = |name: &str| rest.split('-').any(|part| part == name);
        let system = if has("linux") {
            System::Linux
        } else if has("darwin") {
            System::MacOs
        } else if has("windows") {
            System::Windows
        } else {
            return Err(unknown());
        };
        Ok(Platform { system, processor })
    }

    /// The file name that cargo gives the `cdylib` of `package`.
    pub fn library_name(self, package: &str) -> String {
        let stem = package.replace('-', "_");
        match self.system {
            System::Linux => format!("lib{stem}.so"),
            System::MacOs => format!("lib{stem}.dylib"),
            System::Windows => format!("{stem}.dll"),
        }
    }

    /// The folder below `Contents` in which a VST3 host looks for the library (VST 3 SDK, "Locations / Format
    /// Structure").
    pub fn vst3_folder(self) -> &'static str {
        match (self.system, self.processor) {
            (System::Linux, Processor::X86_64) => "x86_64-linux",
            (System::Linux, Processor::Aarch64) => "aarch64-linux",
            (System::MacOs, _) => "MacOS",
            (System::Windows, Processor::X86_64) => "x86_64-win",
            (System::Windows, Processor::Aarch64) => "arm64-win",
        }
    }

    /// The name of the library inside a VST3 bundle called `name`.
    pub fn vst3_library(self, name: &str) -> String {
        match self.system {
            System::Linux => format!("{name}.so"),
            System::MacOs => name.to_owned(),
            System::Windows => format!("{name}.vst3"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triples_name_systems_and_folders() {
        let check = |triple: &str, library: &str, folder: &str| {
            let platform = Platform::from_target(triple).unwrap();
            assert_eq!(platform.library_name("audiocloud-suite"), library, "{triple}");
            assert_eq!(platform.vst3_folder(), folder, "{triple}");
        };
        check("x86_64-unknown-linux-gnu", "libaudiocloud_suite.so", "x86_64-linux");
        check("aarch64-unknown-linux-musl", "libaudiocloud_suite.so", "aarch64-linux");
        check("aarch64-apple-darwin", "libaudiocloud_suite.dylib", "MacOS");
        check("x86_64-pc-windows-msvc", "audiocloud_suite.dll", "x86_64-win");
        check("aarch64-pc-windows-gnullvm", "audiocloud_suite.dll", "arm64-win");
    }

    #[test]
    fn a_triple_without_a_layout_is_refused_by_name() {
        for triple in ["wasm32-unknown-unknown", "x86_64-unknown-freebsd", "linux", ""] {
            let error = Platform::from_target(triple).unwrap_err();
            assert!(error.to_string().contains(&format!("`{triple}`")), "{error}");
        }
    }

    #[test]
    fn the_host_has_a_layout() {
        Platform::host().unwrap();
    }
}
