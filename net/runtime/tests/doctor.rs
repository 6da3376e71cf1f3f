//! The self-test on machines that are broken on purpose: a port that is taken, a firewall, networks without multicast, a
//! wrong clock, a user without rights. Each in a namespace of its own.
#![cfg(target_os = "linux")]

mod namespace;

use std::io::Write;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use audiocloud_runtime::doctor::{self, Check, Finding, Options, Outcome};
use audiocloud_runtime::{Config, ExplicitPeer, Runtime};
use namespace::ip;

/// A configuration in a folder of its own.
fn config() -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::in_folders(&folder.path().join("config"), &folder.path().join("run"));
    (folder, config)
}

fn examine(config: &Config, check: Check) -> Vec<Finding> {
    let options = Options { checks: vec![check], ..Options::default() };
    let mut told = Vec::new();
    let findings = doctor::examine(config, &options, &mut |finding| told.push(finding.clone()));
    assert_eq!(told, findings, "each is told once");
    for finding in &findings {
        println!("{finding:?}");
        assert!(finding.outcome < Outcome::Warning || finding.remedy.is_some(), "no remedy: {finding:?}");
    }
    findings
}

/// The one fault among the findings names the cause and the remedy.
fn check_fault(findings: &[Finding], found: &str, remedy: &str) {
    let faults: Vec<&Finding> = findings.iter().filter(|one| one.outcome == Outcome::Fault).collect();
    let [fault] = faults[..] else { panic!("not one fault: {findings:?}") };
    assert!(fault.found.contains(found), "{fault:?}");
    assert!(fault.remedy.as_deref().unwrap().contains(remedy), "{fault:?}");
}

fn all_are(findings: &[Finding], outcome: Outcome) {
    assert!(!findings.is_empty() && findings.iter().all(|one| one.outcome == outcome), "{findings:?}");
}

/// Two ends of a cable, `one` with an address: the other end makes it a carrier.
fn cable() {
    ip("link set lo up");
    ip("link add one type veth peer name two");
    ip("address add 10.78.0.1/24 dev one");
    // Without duplicate address detection, which takes seconds.
    ip("address add fd78::1/64 dev one nodad");
    ip("link set two addrgenmode none");
    ip("link set two up");
    plug_in();
}

/// The kernel notices the carrier a moment after the interface is up.
fn plug_in() {
    ip("link set one up");
    let began = Instant::now();
    let is_up = || {
        let shown = Command::new("ip").args(["-o", "link", "show", "one"]).output().unwrap();
        String::from_utf8(shown.stdout).unwrap().contains("state UP")
    };
    while !is_up() {
        assert!(began.elapsed() < Duration::from_secs(10), "no carrier");
    }
}

/// Makes this the whole firewall of the namespace; false where this machine has none.
fn nft(hook: &str, rules: &[&str]) -> bool {
    let chain = format!("type filter hook {hook} priority 0\n{}\n", rules.join("\n"));
    let ruleset = format!("flush ruleset\ntable inet filter {{\nchain {hook} {{\n{chain}}}\n}}\n");
    let Ok(mut nft) = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn() else {
        println!("skipped: no nft on this machine");
        return false;
    };
    nft.stdin.take().unwrap().write_all(ruleset.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "{ruleset}");
    true
}

#[test]
fn a_port_that_another_program_has_is_named_with_the_program() {
    let taken = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0")).unwrap();
    let (_folder, mut config) = config();
    config.bind = taken.local_addr().unwrap();
    let port = config.bind.port();
    let found = format!("UDP port {port} is taken by process {}", std::process::id());
    check_fault(&examine(&config, Check::Port), &found, "or set another `bind` in config.toml");
    drop(taken);
    let began = Instant::now();
    let is_good = || examine(&config, Check::Port)[0].outcome == Outcome::Good;
    // A process that another test is starting holds the port until it has begun.
    while !is_good() {
        assert!(began.elapsed() < Duration::from_secs(10), "the port stays taken");
    }
}

#[test]
fn a_port_that_a_runtime_has_is_no_fault() {
    let (_folder, mut config) = config();
    config.mdns = false;
    config.bind = "127.0.0.1:0".parse().unwrap();
    let runtime = Runtime::acquire_with(config.clone()).unwrap();
    config.bind.set_port(runtime.port());
    let findings = examine(&config, Check::Port);
    all_are(&findings, Outcome::Good);
    assert!(findings[0].found.contains(&format!("process {}", std::process::id())), "{findings:?}");
    all_are(&examine(&config, Check::Firewall), Outcome::Unknown);
}

#[test]
fn a_firewall_that_drops_what_comes_in_is_found_without_help() {
    if !namespace::enter("a_firewall_that_drops_what_comes_in_is_found_without_help") {
        return;
    }
    cable();
    let (_folder, mut config) = config();
    config.bind.set_port(4720);
    all_are(&examine(&config, Check::Firewall), Outcome::Good);
    // As distributions have it: what was asked for and what is this machine's own comes in, nothing else.
    let stateful =
        |rule: &str| nft("input", &["ct state established,related accept", "iif lo accept", rule, "drop"]);
    if !stateful("") {
        return;
    }
    check_fault(
        &examine(&config, Check::Firewall),
        "drops what comes in for UDP port 4720",
        "UDP port 4720 in",
    );
    let any = Config { bind: "[::]:0".parse().unwrap(), ..config.clone() };
    check_fault(&examine(&any, Check::Firewall), "for a UDP port at one", "set `bind = \"[::]:4720\"`");
    assert!(stateful("udp dport 4720 accept"));
    all_are(&examine(&config, Check::Firewall), Outcome::Good);
    // Of one family alone.
    assert!(stateful("meta nfproto ipv4 udp dport 4720 accept"));
    check_fault(&examine(&config, Check::Firewall), "at one (IPv6)", "UDP port 4720 in");
}

#[test]
fn a_firewall_that_keeps_udp_in_is_found() {
    if !namespace::enter("a_firewall_that_keeps_udp_in_is_found") {
        return;
    }
    cable();
    if !nft("output", &["oif lo accept", "meta l4proto udp drop"]) {
        return;
    }
    let (_folder, mut config) = config();
    config.bind.set_port(4720);
    check_fault(&examine(&config, Check::Firewall), "does not let UDP out at one", "let UDP out");
    config.interfaces = vec!["one".to_owned()];
    check_fault(&examine(&config, Check::Multicast), "does not let multicast DNS out at one", "let UDP out");
    audiocloud_runtime::identity::Identity::load_or_create(&config.config_dir).unwrap();
    config.peers.push(ExplicitPeer { address: "10.78.0.2:4720".to_owned(), key: [7; 32] });
    check_fault(&examine(&config, Check::Reach), "out to the peer 10.78.0.2:4720", "let UDP out");
}

#[test]
fn multicast_that_is_missing_is_told_from_multicast_that_is_dropped() {
    if !namespace::enter("multicast_that_is_missing_is_told_from_multicast_that_is_dropped") {
        return;
    }
    let (_folder, mut config) = config();
    check_fault(&examine(&config, Check::Multicast), "no network interface besides loopback", "connect it");
    cable();
    let both = examine(&config, Check::Multicast);
    assert!(
        both.iter().any(|one| one.found == "two has no address" && one.outcome == Outcome::Unknown),
        "{both:?}"
    );
    config.interfaces = vec!["one".to_owned()];
    let heard = |config: &Config| examine(config, Check::Multicast);
    all_are(&heard(&config), Outcome::Good);
    ip("link set one multicast off");
    check_fault(&heard(&config), "one carries no multicast", "sudo ip link set one multicast on");
    ip("link set one multicast on");
    ip("link set one down");
    check_fault(&heard(&config), "one is down", "sudo ip link set one up");
    plug_in();
    let named = Config { interfaces: vec!["eth7".to_owned()], ..config.clone() };
    check_fault(&heard(&named), "names the interface \"eth7\"", "there are lo, one, two");
    let off = Config { mdns: false, ..config.clone() };
    all_are(&heard(&off), Outcome::Unknown);
    if nft("input", &["udp dport 5353 drop"]) {
        check_fault(&heard(&config), "does not come in at one", "5353");
    }
}

#[test]
fn a_wrong_clock_is_found_by_what_was_written_before() {
    let (_folder, config) = config();
    audiocloud_runtime::identity::Identity::load_or_create(&config.config_dir).unwrap();
    let at = |now| {
        let options = Options { checks: vec![Check::Clock], now, ..Options::default() };
        doctor::examine(&config, &options, &mut |_| ())
    };
    check_fault(
        &at(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)),
        "1970-01-02",
        "timedatectl set-ntp true",
    );
    check_fault(
        &at(SystemTime::now() - Duration::from_secs(3 * 3600)),
        "3 hours later",
        "timedatectl set-ntp true",
    );
    assert!(doctor::worst(&at(SystemTime::now())) < Outcome::Fault);
}

const CHILD: &str = "AUDIOCLOUD_TEST_DOCTOR_CHILD";

/// Not a test by itself: the user without rights of the next one.
#[test]
fn child_without_rights() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let folder = Path::new("/nonexistent");
    let findings = examine(&Config::in_folders(folder, folder), Check::Scheduling);
    println!("examined {}", serde_json::to_string(&findings).unwrap());
}

#[test]
fn missing_real_time_rights_are_found_and_the_limits_named() {
    let as_nobody = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "prlimit",
        "--rtprio=0",
        "--memlock=65536:65536",
    ];
    let mut command = Command::new("setpriv");
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    if is_root {
        command.args(as_nobody);
    } else {
        // An ordinary user has what its limits say.
        command = Command::new("prlimit");
        command.args(&as_nobody[4..]);
    }
    let output = command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_without_rights", "--nocapture"])
        .env(CHILD, "1")
        .output();
    let output = match output {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap(),
        cannot => {
            println!("skipped: this machine cannot become another user: {cannot:?}");
            return;
        }
    };
    let told = output.lines().find_map(|line| line.split("examined ").nth(1)).expect(&output);
    let told: serde_json::Value = serde_json::from_str(told).unwrap();
    let priority = &told[0];
    assert_eq!(priority["outcome"], "fault", "{told}");
    assert!(priority["found"].as_str().unwrap().contains("is 0, and 60 is needed"), "{told}");
    let remedy = priority["remedy"].as_str().unwrap();
    assert!(remedy.contains("@audio - rtprio 95") || remedy.contains("usermod -aG audio"), "{told}");
    assert_eq!(told[1]["outcome"], "warning", "{told}");
    assert!(told[1]["found"].as_str().unwrap().contains("64 KiB"), "{told}");
}

#[test]
fn a_second_of_sound_comes_through_bit_for_bit() {
    let (_folder, config) = config();
    let findings = examine(&config, Check::Stream);
    // How late it comes is this machine's affair; that it comes whole is not.
    assert!(findings[0].found.contains("a second of sound came through bit for bit"), "{findings:?}");
}

#[test]
fn sound_that_a_firewall_stops_on_loopback_is_told() {
    if !namespace::enter("sound_that_a_firewall_stops_on_loopback_is_told") {
        return;
    }
    ip("link set lo up");
    if nft("input", &["iif lo meta l4proto udp drop"]) {
        let (_folder, config) = config();
        check_fault(
            &examine(&config, Check::Stream),
            "do not reach each other by UDP on 127.0.0.1",
            "-i lo -j ACCEPT",
        );
    }
}
