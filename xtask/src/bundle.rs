//! `cargo xtask bundle`: builds the plug-ins and lays them out as CLAP and VST3.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use audiocloud_bundler::bundle::{Bundles, Contents};
use audiocloud_bundler::classes::{self, Class};
use audiocloud_bundler::install::Folders;
use audiocloud_bundler::platform::Platform;

use crate::cargo;

/// The bundles' name.
const NAME: &str = "audiocloud";
/// The package whose library goes into them.
const SUITE: &str = "audiocloud-suite";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Builds for use instead of for tests
    #[arg(long)]
    release: bool,
    /// Puts the bundles where DAWs look
    #[arg(long)]
    install: bool,
    /// Builds for another system, by its Rust target triple
    #[arg(long, value_name = "T")]
    target: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let build = Build { release: args.release, target: args.target.as_deref(), ..Build::default() };
    ensure!(
        !args.install || build.platform()?.system == Platform::host()?.system,
        "--install puts plug-ins where this machine's DAWs look: bundles for another system do not belong there"
    );
    let built = build.run()?;
    println!("{}\n{}", built.bundles.clap.display(), built.bundles.vst3.display());
    if args.install {
        let folders = Folders::of(build.platform()?.system, |name| std::env::var_os(name))?;
        let installed = folders.install(&built.bundles)?;
        println!("installed\n{}\n{}", installed.clap.display(), installed.vst3.display());
    }
    Ok(())
}

/// Which of the plug-ins a library exports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Exports {
    /// All: what is shipped.
    #[default]
    All,
    /// One, for a host that sees only a bundle's first class.
    OnlySend,
    /// One, for a host that sees only a bundle's first class.
    OnlyReceive,
    /// One, for a host that sees only a bundle's first class.
    OnlyClock,
    OnlyRemoteFx,
}

impl Exports {
    /// The suite's feature, which is also the name of the bundle's folder.
    pub(crate) fn feature(self) -> Option<&'static str> {
        match self {
            Exports::All => None,
            Exports::OnlySend => Some("only-send"),
            Exports::OnlyReceive => Some("only-receive"),
            Exports::OnlyClock => Some("only-clock"),
            Exports::OnlyRemoteFx => Some("only-remote-fx"),
        }
    }

    fn classes(self) -> &'static [Class] {
        match self {
            Exports::All => classes::ALL,
            Exports::OnlySend => &[classes::SEND],
            Exports::OnlyReceive => &[classes::RECEIVE],
            Exports::OnlyClock => &[classes::CLOCK],
            Exports::OnlyRemoteFx => &[classes::REMOTE_FX],
        }
    }
}

/// What to build.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Build<'a> {
    /// With the `release` profile instead of `dev`.
    pub(crate) release: bool,
    /// For this target instead of the host.
    pub(crate) target: Option<&'a str>,
    /// Which plug-ins.
    pub(crate) exports: Exports,
    /// Packages whose programs are built along with the library.
    pub(crate) programs: &'a [&'a str],
    /// With everything else of the workspace, and with the features that only tests ask for: what tests need as well is
    /// the same and is not compiled again.
    pub(crate) for_tests: bool,
}

/// What was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The folder that holds the bundles.
    pub(crate) folder: PathBuf,
    /// The bundles.
    pub(crate) bundles: Bundles,
    /// The folder that holds the programs.
    pub(crate) programs: PathBuf,
}

impl Build<'_> {
    fn platform(&self) -> Result<Platform> {
        Ok(match self.target {
            Some(triple) => Platform::from_target(triple)?,
            None => Platform::host()?,
        })
    }

    /// Builds and bundles.
    ///
    /// Bundles of one class share the target folder with the others: their features reach no dependency, so that
    /// only the suite is compiled again. Each is copied out before the next is built.
    pub(crate) fn run(&self) -> Result<Built> {
        let platform = self.platform()?;
        let status = self.cargo().status()?;
        ensure!(status.success(), "the plug-ins do not build");
        let target = cargo::target_directory()?;
        let programs = self.programs_in(&target);
        let mut folder = target.join("bundled");
        folder.extend(self.target);
        folder.extend(self.exports.feature());
        let contents = Contents {
            library: &programs.join(platform.library_name(SUITE)),
            platform,
            name: NAME,
            version: env!("CARGO_PKG_VERSION"),
            classes: self.exports.classes(),
        };
        let bundles = contents.write(&folder)?;
        Ok(Built { folder, bundles, programs })
    }

    fn cargo(&self) -> std::process::Command {
        let mut cargo = cargo::command();
        cargo.arg("build");
        if self.for_tests {
            // It is examples, which may use what tests may, that make cargo ask for features of tests.
            cargo.args(["--workspace", "--lib", "--bins", "--examples", "--locked"]);
        } else {
            for package in [SUITE].iter().chain(self.programs) {
                cargo.args(["--package", package]);
            }
        }
        if self.release {
            cargo.arg("--release");
        }
        if let Some(triple) = self.target {
            cargo.args(["--target", triple]);
        }
        if let Some(feature) = self.exports.feature() {
            cargo.args(["--features", &format!("{SUITE}/{feature}")]);
        }
        cargo
    }

    fn programs_in(&self, target: &std::path::Path) -> PathBuf {
        let mut folder = target.to_path_buf();
        folder.extend(self.target);
        folder.join(if self.release { "release" } else { "debug" })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn cargo_is_asked_for_what_was_asked() {
        let check = |build: Build<'_>, expected: &str| {
            let cargo = build.cargo();
            let arguments: Vec<_> = cargo.get_args().map(|a| a.to_str().unwrap()).collect();
            assert_eq!(arguments.join(" "), expected);
        };
        check(Build::default(), "build --package audiocloud-suite");
        check(
            Build {
                release: true,
                target: Some("x86_64-pc-windows-msvc"),
                exports: Exports::OnlySend,
                programs: &["audiocloud-node"],
                ..Build::default()
            },
            "build --package audiocloud-suite --package audiocloud-node --release \
             --target x86_64-pc-windows-msvc --features audiocloud-suite/only-send",
        );
        check(
            Build { for_tests: true, ..Build::default() },
            "build --workspace --lib --bins --examples --locked",
        );
    }

    #[test]
    fn a_target_has_a_folder_of_its_own() {
        let folder = |build: Build<'_>| build.programs_in(Path::new("t"));
        assert_eq!(folder(Build::default()), Path::new("t/debug"));
        assert_eq!(
            folder(Build { release: true, target: Some("aarch64-apple-darwin"), ..Build::default() }),
            Path::new("t/aarch64-apple-darwin/release")
        );
    }

    #[test]
    fn one_class_is_told_of_as_one() {
        assert_eq!(Exports::All.classes().len(), 4);
        assert_eq!(Exports::OnlySend.classes(), [classes::SEND]);
        assert_eq!(Exports::OnlyReceive.classes(), [classes::RECEIVE]);
        assert_eq!(Exports::OnlyClock.classes(), [classes::CLOCK]);
        assert_eq!(Exports::OnlyRemoteFx.classes(), [classes::REMOTE_FX]);
    }
}
