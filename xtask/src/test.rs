//! `cargo xtask test`: everything that continuous integration runs, from the cheapest check to the dearest.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};

use crate::bundle::{Build, Built, Exports};
use crate::steps::{Steps, Tally, execute};
use crate::{cargo, machine, tidy};

/// The package of the tests that drive the built bundle.
const END_TO_END: &str = "audiocloud-e2e";
/// The programs that those tests start.
const PROGRAMS: &[&str] = &["audiocloud-node", "audiocloud-rig"];

/// What the VST3 bundle is loaded into, and the file of its tests.
const PYTHON_HOSTS: [(&str, &str); 4] = [
    ("VST3 factory", "test_factory.py"),
    ("pedalboard", "test_pedalboard.py"),
    ("DawDreamer", "test_dawdreamer.py"),
    ("Remote FX in pedalboard and DawDreamer", "test_remote_fx.py"),
];

/// The same in Ardour without a window.
const ARDOUR: [(&str, &str); 3] = [
    ("Ardour", "test_ardour.py"),
    ("Ardour in a session", "test_ardour_session.py"),
    ("Remote FX in Ardour", "test_ardour_remote_fx.py"),
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also rolls a project in Ardour without a window, opens projects of a session there again, and pulls cables for a minute
    #[arg(long)]
    slow: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let mut steps = Steps::new();
    steps.run("format", |tally| {
        machine::ensure_component("fmt", "rustfmt")?;
        execute(cargo::command().args(["fmt", "--all", "--check"]), tally)
    });
    steps.run("tidy", |_| tidy::run());
    steps.run("clippy", |tally| {
        machine::ensure_component("clippy", "clippy")?;
        let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
        execute(cargo::command().args(arguments), tally)
    });
    let built = steps.run("bundle", |_| bundle_all());
    steps.run("unit and property tests", |tally| cargo_tests(Part::Units, tally));
    if nextest() {
        // Which runs none of them; `cargo test` does.
        let arguments = ["test", "--workspace", "--doc", "--locked", "--no-fail-fast"];
        steps.run("documentation", |tally| execute(cargo::command().args(arguments), tally));
    }
    steps.run("Loom", loom);
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        steps.run("RealtimeSanitizer", realtime_sanitizer);
    }
    match &built {
        Some(built) => {
            steps.run("end to end", |tally| cargo_tests(Part::EndToEnd { built, slow: args.slow }, tally));
            for (name, tests) in PYTHON_HOSTS {
                steps.run(name, |tally| python_host(built, tests, tally));
            }
            if args.slow {
                for (name, tests) in ARDOUR {
                    steps.run(name, |tally| {
                        machine::ensure_ardour()?;
                        python_host(built, tests, tally)
                    });
                }
            }
        }
        None => {
            for name in ["end to end"].into_iter().chain(PYTHON_HOSTS.map(|(name, _)| name)) {
                steps.impossible(name, "for there is no bundle");
            }
        }
    }
    // The count is the last line: no error text after it.
    match steps.summary(std::io::stdout()) {
        Ok(Tally { failed: 0, .. }) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The bundles of one class first: the last build's programs and library are the ones that stay.
fn bundle_all() -> Result<Built> {
    for exports in [Exports::OnlySend, Exports::OnlyReceive, Exports::OnlyClock, Exports::OnlyRemoteFx] {
        Build { exports, programs: PROGRAMS, ..Build::default() }.run()?;
    }
    Build { programs: PROGRAMS, ..Build::default() }.run()
}

fn nextest() -> bool {
    machine::answers("cargo-nextest", &["nextest", "--version"])
}

enum Part<'a> {
    /// All but the end-to-end tests.
    Units,
    /// These alone, one at a time, on the built bundle; those that take minutes too, where asked for.
    EndToEnd { built: &'a Built, slow: bool },
}

fn cargo_tests(part: Part<'_>, tally: &mut Tally) -> Result<()> {
    let mut command = cargo::command();
    // Both parts select the whole workspace where they can: another selection would unify features differently, and
    // compile dependencies again.
    match (&part, nextest()) {
        (Part::Units, true) => {
            let filter = format!("not package({END_TO_END})");
            command.args(["nextest", "run", "--workspace", "--locked", "-E"]).arg(filter);
        }
        (Part::EndToEnd { .. }, true) => {
            let filter = format!("package({END_TO_END})");
            command.args(["nextest", "run", "--workspace", "--locked", "-E"]).arg(filter);
        }
        (Part::Units, false) => {
            command.args(["test", "--workspace", "--locked", "--no-fail-fast", "--exclude", END_TO_END]);
        }
        (Part::EndToEnd { .. }, false) => {
            command.args([
                "test",
                "--locked",
                "--no-fail-fast",
                "--package",
                END_TO_END,
                "--",
                "--test-threads=1",
            ]);
        }
    }
    // Where they cannot be had, the tests that need them say so and have nothing to do.
    if let Err(missing) = machine::ensure_plugins() {
        println!("{missing:#}");
    }
    if let Part::EndToEnd { built, slow } = part {
        describe(&mut command, built);
        // Peers of tempo Link are started in it. Where it cannot be made, the tests of Python's hosts say why.
        if let Ok(python) = python() {
            command.env("AUDIOCLOUD_PYTHON", python);
        }
        // Where they cannot be had, the tests that need them say so and have nothing to do.
        for missing in
            [machine::ensure_jack(), machine::ensure_networks()].into_iter().filter_map(Result::err)
        {
            println!("{missing:#}");
        }
        if slow {
            command.env("AUDIOCLOUD_SLOW", "1");
            machine::ensure_ardour()?;
            machine::ensure_supercollider()?;
        }
        command = machine::in_own_network(command);
    }
    let before = tally.passed;
    execute(&mut command, tally)?;
    ensure!(tally.passed > before, "no test was run");
    Ok(())
}

/// What threads share, in every order in which their operations may take effect. The model checker stands in for the
/// standard library's atomics, so this is a build of its own.
fn loom(tally: &mut Tally) -> Result<()> {
    let mut command = cargo::command();
    command
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", cargo::target_directory()?.join("loom"))
        .args(["test", "--locked", "--package", "audiocloud-rt", "--test", "loom"]);
    let before = tally.passed;
    execute(&mut command, tally)?;
    ensure!(tally.passed > before, "no model was run");
    Ok(())
}

/// The callbacks of graph, effects, sender and receiver, and what callbacks share with other threads, under a sanitizer
/// that ends the process at a lock, an allocation or a system call other than the wake. It is not stable in the compiler
/// yet, hence the bootstrap; its build is kept apart.
fn realtime_sanitizer(tally: &mut Tally) -> Result<()> {
    let mut command = cargo::command();
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=realtime")
        .env("CARGO_TARGET_DIR", cargo::target_directory()?.join("sanitizer"))
        .args(["test", "--locked", "--package", "audiocloud-rt", "--package", "audiocloud-stream"])
        .args(["--package", "audiocloud-graph", "--package", "audiocloud-effects"])
        .args(["--package", "audiocloud-host", "--features", "rtsan"])
        .args([
            "--target",
            "x86_64-unknown-linux-gnu",
            "--test",
            "allocations",
            "--test",
            "realtime_sanitizer",
        ]);
    execute(&mut command, tally)
}

/// Tells a test where the built things are.
fn describe(command: &mut Command, built: &Built) {
    command
        .env("AUDIOCLOUD_BUNDLE_DIR", &built.folder)
        .env("AUDIOCLOUD_BIN", built.programs.join("audiocloud"))
        .env("AUDIOCLOUD_RIG", built.programs.join("audiocloud-rig"));
}

/// The Python that has what tests need of it.
fn python() -> Result<PathBuf> {
    let environment = cargo::target_directory()?.join("venv");
    machine::python_environment(&environment, &cargo::root().join("tests/hosts/requirements.txt"))
}

/// Runs one file of tests in a process of its own: two hosts built on JUCE do not share one.
fn python_host(built: &Built, tests: &str, tally: &mut Tally) -> Result<()> {
    let mut command = Command::new(python()?);
    command
        .args(["-m", "pytest", "--verbose", "-p", "no:cacheprovider", "--color=no"])
        .arg(cargo::root().join("tests/hosts").join(tests));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    describe(&mut command, built);
    let own = tempfile::tempdir()?;
    isolate(&mut command, own.path())?;
    execute(&mut machine::in_own_network(command), tally)
}

/// A configuration and a runtime folder of its own, and no multicast: a test neither finds the user's own peers nor
/// leaves an identity behind.
fn isolate(command: &mut Command, folder: &Path) -> Result<()> {
    let (config, runtime) = (folder.join("config"), folder.join("runtime"));
    std::fs::create_dir_all(&config)?;
    std::fs::create_dir_all(&runtime)?;
    std::fs::write(config.join("config.toml"), "bind = \"127.0.0.1:0\"\nmdns = false\n")?;
    command.env("AUDIOCLOUD_CONFIG_DIR", config).env("AUDIOCLOUD_RUNTIME_DIR", runtime);
    Ok(())
}
