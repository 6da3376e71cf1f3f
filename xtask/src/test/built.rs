//! The workspace's tests: built once, run in parts.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::bundle::Built;
use crate::steps::{Tally, execute};
use crate::{cargo, machine};

/// The package of the tests that drive the built bundle.
const END_TO_END: &str = "audiocloud-e2e";

/// Which of those tests wait for things to happen and judge what is heard, by module. The others, and new ones until they
/// are named here, measure time as well: nothing runs beside them.
const UNHURRIED: [&str; 20] = [
    "aligned",
    "ardour",
    "clock",
    "cut",
    "everyday",
    "faults",
    "heal",
    "hostile",
    "mixing",
    "nat",
    "net",
    "notes",
    "patch",
    "plug_ins",
    "project",
    "session",
    "sixteen",
    "strangers",
    "three",
    "whole",
];

/// Some of the tests.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    /// All but the end-to-end tests.
    Units { slow: bool },
    /// Those end-to-end tests that leave the processor to others and take what others leave, on the built bundle.
    Unhurried { bundle: &'a Built, slow: bool },
    /// Those that measure time; with those that take minutes, where asked for.
    Measuring { bundle: &'a Built, slow: bool },
}

/// What runs the tests.
pub(super) enum Tests {
    /// cargo-nextest, told what was built and of what workspace. It does not ask cargo again, which would wait for
    /// whatever else is being built.
    Nextest { binaries: PathBuf, workspace: PathBuf },
    /// `cargo test`, where there is no cargo-nextest.
    Cargo,
}

impl Tests {
    pub(super) fn build() -> Result<Tests> {
        let mut command = cargo::command();
        if !machine::answers("cargo-nextest", &["nextest", "--version"]) {
            let built = command.args(["test", "--workspace", "--locked", "--no-run"]).status()?;
            ensure!(built.success(), "the tests do not build");
            return Ok(Tests::Cargo);
        }
        let folder = cargo::target_directory()?.join("nextest");
        std::fs::create_dir_all(&folder)?;
        let [binaries, workspace] = ["binaries.json", "workspace.json"].map(|name| folder.join(name));
        let list = File::create(&binaries).with_context(|| format!("{}", binaries.display()))?;
        command.args(["nextest", "list", "--workspace", "--locked", "--list-type", "binaries-only"]);
        let built = command.args(["--message-format", "json"]).stdout(list).status()?;
        ensure!(built.success(), "the tests do not build");
        std::fs::write(&workspace, cargo::metadata_text(&["--locked", "--all-features"])?)?;
        Ok(Tests::Nextest { binaries, workspace })
    }

    pub(super) fn run(&self, part: Part<'_>, tally: &mut Tally) -> Result<()> {
        let mut command = cargo::command();
        match self {
            Tests::Nextest { binaries, workspace } => {
                command.args(["nextest", "run", "--binaries-metadata"]).arg(binaries);
                command.arg("--cargo-metadata").arg(workspace).arg("-E").arg(part.filter());
                if let Some(most) = part.at_once() {
                    command.args(["--test-threads", most]);
                }
            }
            Tests::Cargo => {
                command.args(["test", "--locked", "--no-fail-fast"]).args(part.arguments());
            }
        }
        let (Part::Units { slow } | Part::Unhurried { slow, .. } | Part::Measuring { slow, .. }) = part;
        if slow {
            command.env("AUDIOCLOUD_SLOW", "1");
        }
        if let Part::Unhurried { bundle, .. } | Part::Measuring { bundle, .. } = part {
            command = on_the_bundle(command, bundle, slow)?;
        }
        let before = tally.passed;
        execute(&mut command, tally)?;
        ensure!(tally.passed > before, "no test was run");
        Ok(())
    }
}

impl Part<'_> {
    /// In the words of cargo-nextest.
    fn filter(self) -> String {
        let unhurried = format!("test(/^({})::/)", UNHURRIED.join("|"));
        match self {
            Part::Units { .. } => format!("not package({END_TO_END})"),
            Part::Unhurried { .. } => format!("package({END_TO_END}) and {unhurried}"),
            Part::Measuring { .. } => format!("package({END_TO_END}) and not {unhurried}"),
        }
    }

    /// How many tests run at once, where that is not as many as there are processors.
    fn at_once(self) -> Option<&'static str> {
        match self {
            Part::Units { .. } => None,
            // They wait most of the time.
            Part::Unhurried { .. } => Some("2"),
            Part::Measuring { .. } => Some("1"),
        }
    }

    /// In the words of `cargo test`, which knows of no beginnings.
    fn arguments(self) -> Vec<String> {
        let modules = UNHURRIED.iter().map(|module| format!("{module}::"));
        let end_to_end = ["--package", END_TO_END, "--", "--test-threads=1"].map(str::to_owned).into_iter();
        match self {
            Part::Units { .. } => ["--workspace", "--exclude", END_TO_END].map(str::to_owned).into(),
            Part::Unhurried { .. } => end_to_end.chain(modules).collect(),
            Part::Measuring { .. } => {
                end_to_end.chain(modules.flat_map(|module| ["--skip".to_owned(), module])).collect()
            }
        }
    }
}

/// In a network of its own, told where the built things are, and what else the machine has.
fn on_the_bundle(mut command: Command, bundle: &Built, slow: bool) -> Result<Command> {
    super::describe(&mut command, bundle);
    // Peers of tempo Link are started in it. Where it cannot be made, the tests of Python's hosts say why.
    if let Ok(python) = super::python() {
        command.env("AUDIOCLOUD_PYTHON", python);
    }
    if slow {
        machine::ensure_ardour()?;
        machine::ensure_supercollider()?;
    }
    Ok(machine::in_own_network(command))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A module that is renamed would leave its tests among those that measure time; one that is misspelt, too.
    #[test]
    fn what_is_unhurried_is_there() {
        let read = |file: &str| std::fs::read_to_string(cargo::root().join("tests/e2e").join(file)).unwrap();
        let text = read("tests/main.rs") + &read("src/lib.rs");
        let modules: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
            .collect();
        for module in UNHURRIED {
            assert!(modules.contains(module), "{module} is none of {modules:?}");
        }
    }
}
