//! Networks that exist for one test: nothing of them reaches the machine's.

use std::process::Command;

const INSIDE: &str = "AUDIOCLOUD_TEST_INSIDE_NAMESPACE";

/// Runs the named test again in a network namespace of its own. True inside it; false outside, when the test has run
/// there, or cannot run on this machine.
pub(crate) fn enter(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    match Command::new("unshare").args(["--map-root-user", "--net", "ip", "link"]).output() {
        Ok(output) if output.status.success() => {}
        refused => {
            println!("{test} skipped: this machine permits no network namespaces: {refused:?}");
            return false;
        }
    }
    let again = unshare(&["--map-root-user"], test).env(INSIDE, "1").status().unwrap();
    assert!(again.success(), "the test failed inside its namespace");
    false
}

/// A command that runs the named test of this binary in a new network namespace.
pub(crate) fn unshare(options: &[&str], test: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(options).arg("--net").arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command
}

/// Runs `ip` of iproute2, arguments separated by single spaces.
pub(crate) fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().expect("ip, of iproute2");
    assert!(done.success(), "ip {arguments}");
}
