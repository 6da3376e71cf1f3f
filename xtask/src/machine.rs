//! What a bare machine lacks: installed where that is possible, else named in one line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo;

/// Whether a command can be run and succeeds.
pub(crate) fn answers(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Makes sure that a part of the Rust toolchain is there.
pub(crate) fn ensure_component(subcommand: &str, component: &str) -> Result<()> {
    let present = || {
        cargo::command()
            .args([subcommand, "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if present() {
        return Ok(());
    }
    println!("installing {component}");
    let installed = answers("rustup", &["component", "add", component]) && present();
    ensure!(installed, "missing: {component} (remedy: rustup component add {component})");
    Ok(())
}

/// Brings the loopback interface up, then becomes the command that follows.
const IN_OWN_NETWORK: &str = "ip link set dev lo up && exec \"$@\"";

/// The same command in a network of its own, of nothing but a loopback interface, where Linux lets us make one; else as
/// it is. What it starts can neither reach the machine's network nor be reached from there.
pub(crate) fn in_own_network(command: Command) -> Command {
    if !answers("unshare", &["--net", "sh", "-c", IN_OWN_NETWORK, "sh", "true"]) {
        return command;
    }
    through("unshare", &["--net", "sh", "-c", IN_OWN_NETWORK, "sh"], &command)
}

/// The same command for whatever time nothing else wants: what it starts has the lowest priority of the system.
pub(crate) fn at_leisure(command: Command) -> Command {
    // Linux has a class for it, from which everything else takes the processor at once.
    let classes: [(&str, &[&str]); 2] = [("chrt", &["--idle", "0"]), ("nice", &["-n", "19"])];
    for (program, arguments) in classes {
        if answers(program, &[arguments, &["true"]].concat()) {
            return through(program, arguments, &command);
        }
    }
    command
}

/// The same command, started by another, whose arguments it follows.
fn through(program: &str, arguments: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(program);
    wrapped.args(arguments).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

/// Bytes free in the file system of `folder`, or of the nearest of its parents that is there.
#[cfg(unix)]
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|folder| folder.exists())?;
    let system = rustix::fs::statvfs(there).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

#[cfg(not(unix))]
pub(crate) fn free_bytes(_: &Path) -> Option<u64> {
    None
}

/// Installs Debian packages where that is possible.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    let missing = format!("missing: {names} (remedy: apt-get install {names}, or your system's like)");
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    ensure!(root && answers("apt-get", &["--version"]), missing);
    println!("installing {names}");
    let apt = |arguments: &[&str]| -> Result<bool> {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq").args(arguments).stdout(Stdio::null());
        Ok(command.status().context("apt-get cannot be run")?.success())
    };
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    // The lists of a fresh machine may be empty or old.
    let installed = apt(&arguments)? || (apt(&["update"])? && apt(&arguments)?);
    ensure!(installed, missing);
    Ok(())
}

/// A Python environment of our own with exactly the packages of `requirements`, in `folder`. It is made once; a
/// change of the requirements makes it again.
pub(crate) fn python_environment(folder: &Path, requirements: &Path) -> Result<PathBuf> {
    let wanted = std::fs::read_to_string(requirements)
        .with_context(|| format!("{} cannot be read", requirements.display()))?;
    let python = folder.join("bin/python");
    let stamp = folder.join("requirements.installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted)
        && answers(&python, &["--version"])
    {
        return Ok(python);
    }
    let can_make = || answers("python3", &["-c", "import venv, ensurepip"]);
    if !can_make() {
        install(&["python3", "python3-venv"])?;
        ensure!(
            can_make(),
            "python3 is there but makes no virtual environment (remedy: install python3-venv)"
        );
    }
    println!("making a Python environment in {}", folder.display());
    ensure!(
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder).status()?.success(),
        "python3 -m venv failed"
    );
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(requirements);
    if !pip.status()?.success() {
        let version = Command::new(&python).arg("--version").output()?.stdout;
        bail!(
            "pip cannot install {} for {} (remedy: a connection to pypi.org, and Python 3.11 to 3.13)",
            requirements.display(),
            String::from_utf8_lossy(&version).trim()
        );
    }
    std::fs::write(&stamp, wanted).with_context(|| format!("{} cannot be written", stamp.display()))?;
    Ok(python)
}

/// Where Debian's Ardour keeps its programs without a window.
const ARDOUR: &str = "/usr/lib/ardour7";

/// Makes sure that Ardour is there, and returns the folder of its programs.
pub(crate) fn ensure_ardour() -> Result<&'static Path> {
    let folder = Path::new(ARDOUR);
    let present = || ["luasession", "ardour-vst3-scanner"].iter().all(|name| folder.join(name).is_file());
    if !present() {
        install(&["ardour"])?;
        ensure!(present(), "Ardour is there but not version 7 in {ARDOUR} (remedy: Debian 12's package)");
    }
    Ok(folder)
}

/// Makes sure that SuperCollider's language is there, which has a peer of tempo Link.
pub(crate) fn ensure_supercollider() -> Result<()> {
    if answers("sclang", &["-v"]) { Ok(()) } else { install(&["supercollider-language"]) }
}

/// Makes sure that networks can be made, cut and listened to, and that there is another's PTP in them.
pub(crate) fn ensure_networks() -> Result<()> {
    let tools = [("iproute2", "ip", "-V"), ("nftables", "nft", "--version")];
    let peers = [("tcpdump", "tcpdump", "--version"), ("linuxptp", "ptp4l", "-v")];
    let missing: Vec<&str> = tools
        .iter()
        .chain(&peers)
        .filter(|(_, program, version)| !answers(program, &[version]))
        .map(|(package, ..)| *package)
        .collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// Makes sure that JACK's server is there, and its programs.
pub(crate) fn ensure_jack() -> Result<()> {
    if answers("jackd", &["--version"]) { Ok(()) } else { install(&["jackd2"]) }
}

/// Makes sure that there are CLAP plug-ins of somebody else's to host.
pub(crate) fn ensure_plugins() -> Result<()> {
    if Path::new("/usr/lib/clap/ZamEQ2.clap").exists() { Ok(()) } else { install(&["zam-plugins"]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_command_keeps_what_it_was_given() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $AUDIOCLOUD_WORD-$1; pwd", "sh", "a b"]);
        command.env("AUDIOCLOUD_WORD", "kept").current_dir("/");
        let output = at_leisure(in_own_network(command)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "kept-a b\n/\n");
    }

    #[cfg(unix)]
    #[test]
    fn space_is_looked_for_where_a_folder_will_be() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(free_bytes(&folder.path().join("a/b")).is_some(), free_bytes(folder.path()).is_some());
        assert!(free_bytes(folder.path()).is_some_and(|bytes| bytes > 0));
    }
}
