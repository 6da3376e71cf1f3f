//! `cargo xtask test`: everything that continuous integration runs.
//!
//! The cheapest checks first. Then everything is built, once, with the features that all of it needs together. What
//! wants the processor but no particular moment runs beside the tests that wait for sockets and for other processes, at
//! a priority at which it takes nothing from them; the tests that measure time run alone.

mod built;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::bundle::{Build, Built, Exports};
use crate::steps::{Aside, Beside, Steps, Tally, execute};
use crate::{cargo, machine, tidy};
use built::{Part, Tests};

/// The programs that the end-to-end tests start.
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

/// What a run writes that finds nothing built, as measured, and half as much again.
const SPACE_BYTES: u64 = 8_000_000_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also rolls a project in Ardour without a window, opens projects of a session there again, and pulls cables for a minute
    #[arg(long)]
    slow: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let slow = args.slow;
    if let Some(warning) = cargo::target_directory().ok().and_then(|folder| little_space(&folder)) {
        println!("{warning}");
    }
    // Downloads take time and no processor.
    let machine = std::thread::spawn(move || prepare_machine(slow));
    let mut steps = Steps::new();
    steps.run("format", |tally| {
        machine::ensure_component("fmt", "rustfmt")?;
        execute(cargo::command().args(["fmt", "--all", "--check"]), tally)
    });
    steps.run("tidy", |_| tidy::run());
    let bundle = steps.run("bundle", |_| bundle_all());
    let tests = steps.run("build of the tests", |_| Tests::build());
    for missing in machine.join().expect("what cannot be had is no panic") {
        println!("{missing:#}");
    }
    let beside = asides().map(Beside::start);
    run_part(&mut steps, "unit and property tests", tests.as_ref(), Part::Units { slow });
    if let Some(bundle) = &bundle {
        let part = Part::Unhurried { bundle, slow };
        run_part(&mut steps, "end to end, beside other steps", tests.as_ref(), part);
    }
    match beside {
        Ok(beside) => steps.join(beside),
        Err(error) => steps.impossible("clippy, Loom and documentation", &format!("for {error:#}")),
    }
    if sanitizes() {
        steps.run("RealtimeSanitizer", |tally| execute(&mut realtime_sanitizer()?, tally));
    }
    match &bundle {
        Some(bundle) => end_alone(&mut steps, tests.as_ref(), bundle, slow),
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

/// The steps beside which nothing runs, for they measure time in real hosts.
fn end_alone(steps: &mut Steps, tests: Option<&Tests>, bundle: &Built, slow: bool) {
    run_part(steps, "end to end, alone", tests, Part::Measuring { bundle, slow });
    for (name, file) in PYTHON_HOSTS {
        steps.run(name, |tally| python_host(bundle, file, tally));
    }
    for (name, file) in ARDOUR.into_iter().filter(|_| slow) {
        steps.run(name, |tally| {
            machine::ensure_ardour()?;
            python_host(bundle, file, tally)
        });
    }
}

fn run_part(steps: &mut Steps, name: &str, tests: Option<&Tests>, part: Part<'_>) {
    match tests {
        Some(tests) => {
            steps.run(name, |tally| tests.run(part, tally));
        }
        None => steps.impossible(name, "for the tests do not build"),
    }
}

/// One line of warning where the disk of the target folder may not do.
fn little_space(folder: &Path) -> Option<String> {
    let free = machine::free_bytes(folder).filter(|&bytes| bytes < SPACE_BYTES)?;
    let gigabytes = |bytes: u64| format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10);
    Some(format!(
        "little space: the disk of {} has {} left, and a run that finds nothing built needs {}: it may end with \
         \"No space left on device\" (remedy: free some, or set CARGO_TARGET_DIR to a folder of another disk)",
        folder.display(),
        gigabytes(free),
        gigabytes(SPACE_BYTES)
    ))
}

/// Gets what tests want of the machine, and returns what cannot be had. The tests that need it say so, and have nothing
/// to do.
fn prepare_machine(slow: bool) -> Vec<anyhow::Error> {
    let mut got = vec![
        machine::ensure_plugins(),
        machine::ensure_jack(),
        machine::ensure_networks(),
        python().map(|_| ()),
    ];
    if slow {
        got.extend([machine::ensure_ardour().map(|_| ()), machine::ensure_supercollider()]);
    }
    got.into_iter().filter_map(Result::err).collect()
}

/// The bundles of one class first: the last build's programs and library are the ones that stay.
fn bundle_all() -> Result<Built> {
    let build = Build { programs: PROGRAMS, for_tests: true, ..Build::default() };
    for exports in [Exports::OnlySend, Exports::OnlyReceive, Exports::OnlyClock, Exports::OnlyRemoteFx] {
        Build { exports, ..build }.run()?;
    }
    build.run()
}

/// What runs beside tests, the build of a later step too.
fn asides() -> Result<Vec<Aside>> {
    machine::ensure_component("clippy", "clippy")?;
    let mut clippy = cargo::command();
    clippy.args(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]);
    // cargo-nextest runs none of them.
    let mut documentation = cargo::command();
    documentation.args(["test", "--workspace", "--doc", "--locked", "--no-fail-fast"]);
    let aside = |name, command, counts| Aside { name, command: machine::at_leisure(command), counts };
    let mut asides = vec![aside("clippy", clippy, false)];
    if sanitizes() {
        let mut command = realtime_sanitizer()?;
        command.arg("--no-run");
        asides.push(aside("RealtimeSanitizer, built", command, false));
    }
    asides.extend([aside("Loom", loom()?, true), aside("documentation", documentation, true)]);
    Ok(asides)
}

/// What threads share, in every order in which their operations may take effect. The model checker stands in for the
/// standard library's atomics, so this is a build of its own.
fn loom() -> Result<Command> {
    let mut command = cargo::command();
    command
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", cargo::target_directory()?.join("loom"))
        .args(["test", "--locked", "--package", "audiocloud-rt", "--test", "loom"]);
    Ok(command)
}

/// Whether the compiler has the sanitizer for this system.
fn sanitizes() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
}

/// The callbacks of graph, effects, chains, sender and receiver, and what callbacks share with other threads, under a
/// sanitizer that ends the process at a lock, an allocation or a system call other than the wake. It is not stable in
/// the compiler yet, hence the bootstrap; its build is kept apart.
fn realtime_sanitizer() -> Result<Command> {
    let mut command = cargo::command();
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=realtime")
        .env("CARGO_TARGET_DIR", cargo::target_directory()?.join("sanitizer"))
        .args(["test", "--locked", "--package", "audiocloud-rt", "--package", "audiocloud-stream"])
        .args(["--package", "audiocloud-graph", "--package", "audiocloud-effects"])
        .args(["--package", "audiocloud-chain", "--package", "audiocloud-host", "--features", "rtsan"])
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .args(["--test", "allocations", "--test", "realtime_sanitizer"]);
    Ok(command)
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
