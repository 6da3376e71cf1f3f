//! Whether a firewall of this machine drops what comes in for our port, or what leaves it.
//!
//! Rules can be read by the superuser alone, so they are tried instead: see [`super::echo`]. A firewall that is elsewhere
//! is found by [`super::reach`].

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use ring::rand::SecureRandom;

use super::echo::{self, Call, Echo};
use super::interfaces::{Interface, interfaces};
use super::{Check, Examination, Finding};

const CHECK: Check = Check::Firewall;
/// Nobody's: administratively scoped (RFC 2365), and nothing is sent beyond the machine.
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 47, 20);
/// Nobody's: transient, of the interface alone (RFC 4291, clause 2.7).
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff11, 0, 0, 0, 0, 0, 0x4720, 0x4720);
/// Proposed where the port is any, for a rule needs one.
const PORT_PROPOSED: u16 = 4720;

pub(super) fn examine(examination: &Examination<'_>) -> Vec<Finding> {
    let configured = examination.config.bind.port();
    if configured != 0
        && let Some(runtime) = examination.runtime_on(configured)
    {
        return vec![judge_running(runtime)];
    }
    let Some(interfaces) = interfaces() else {
        return vec![Finding::unknown(CHECK, "firewalls are not examined on this system yet")];
    };
    let port = match configured {
        0 => free_port(),
        port => Some(port),
    };
    let Some(port) = port else {
        return vec![Finding::unknown(CHECK, "no UDP port can be opened to examine the firewall by")];
    };
    let bound = examination.config.bind.ip();
    let tried: Vec<Tried> = interfaces
        .iter()
        .filter(|one| one.is_usable() && !one.is_loopback && one.has_multicast && serves(one, bound))
        .flat_map(|interface| attempts(interface, port))
        .collect();
    judge(configured, &tried, Firewall::of_this_machine())
}

/// Whether an endpoint at this address uses this interface.
fn serves(interface: &Interface, bound: IpAddr) -> bool {
    match bound {
        IpAddr::V4(ip) => ip.is_unspecified() || interface.v4.contains(&ip),
        IpAddr::V6(ip) => ip.is_unspecified() || interface.v6.contains(&ip),
    }
}

fn free_port() -> Option<u16> {
    Some(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?.local_addr().ok()?.port())
}

/// What came of a datagram that comes in at one interface.
#[derive(Debug)]
struct Tried {
    place: String,
    echo: Echo,
}

fn attempts(interface: &Interface, port: u16) -> Vec<Tried> {
    let mut datagram = [0; 32];
    if ring::rand::SystemRandom::new().fill(&mut datagram).is_err() {
        return Vec::new();
    }
    let families = [
        ("IPv4", !interface.v4.is_empty(), IpAddr::V4(GROUP_V4)),
        ("IPv6", !interface.v6.is_empty(), IpAddr::V6(GROUP_V6)),
    ];
    let tried = families.into_iter().filter(|(_, there, _)| *there).map(|(family, _, group)| {
        let call = Call {
            interface,
            group,
            port,
            is_shared: false,
            leaves: false,
            datagram: &datagram,
            listen: Duration::ZERO,
        };
        Tried { place: format!("{} ({family})", interface.name), echo: echo::call(&call, |_| false) }
    });
    tried.collect()
}

/// What is known to filter packets here, for the remedy's sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Firewall {
    Ufw,
    Firewalld,
    Other,
}

impl Firewall {
    pub(super) fn of_this_machine() -> Self {
        let ufw = std::fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default();
        if ufw.lines().any(|line| line.trim() == "ENABLED=yes") {
            Self::Ufw
        } else if Path::new("/run/firewalld.pid").exists() || Path::new("/run/firewalld").exists() {
            Self::Firewalld
        } else {
            Self::Other
        }
    }

    /// How to let UDP in by this port.
    pub(super) fn open(self, port: u16) -> String {
        match self {
            Self::Ufw => format!("sudo ufw allow {port}/udp"),
            Self::Firewalld => {
                format!("sudo firewall-cmd --permanent --add-port={port}/udp && sudo firewall-cmd --reload")
            }
            Self::Other => format!(
                "let UDP port {port} in (`sudo nft list ruleset` or `sudo iptables -S` shows the rules; with iptables: \
                 `sudo iptables -I INPUT -p udp --dport {port} -j ACCEPT`)"
            ),
        }
    }

    /// How to let UDP out.
    pub(super) fn let_out(self) -> &'static str {
        match self {
            Self::Ufw => "sudo ufw default allow outgoing",
            Self::Firewalld | Self::Other => {
                "let UDP out (`sudo nft list ruleset` or `sudo iptables -S` shows the rules; with iptables: `sudo iptables \
                 -I OUTPUT -p udp -j ACCEPT`)"
            }
        }
    }
}

fn judge(configured: u16, tried: &[Tried], firewall: Firewall) -> Vec<Finding> {
    let places = |wanted: fn(&Echo) -> bool| {
        let found: Vec<&str> =
            tried.iter().filter(|one| wanted(&one.echo)).map(|one| one.place.as_str()).collect();
        (!found.is_empty()).then(|| found.join(", "))
    };
    let port = match configured {
        0 => "a UDP port".to_owned(),
        port => format!("UDP port {port}"),
    };
    let mut findings = Vec::new();
    if let Some(places) = places(is_kept_in) {
        findings.push(Finding::fault(
            CHECK,
            format!("a firewall of this machine does not let UDP out at {places}"),
            firewall.let_out(),
        ));
    }
    if let Some(places) = places(|echo| matches!(echo, Echo::Silent)) {
        let remedy = match configured {
            0 => format!(
                "a rule needs a fixed port: set `bind = \"[::]:{PORT_PROPOSED}\"` in config.toml, then {}",
                firewall.open(PORT_PROPOSED)
            ),
            port => firewall.open(port),
        };
        findings.push(Finding::fault(
            CHECK,
            format!("a firewall of this machine drops what comes in for {port} at {places}"),
            remedy,
        ));
    }
    if let Some(places) = places(|echo| matches!(echo, Echo::Heard { .. })) {
        findings.push(Finding::good(
            CHECK,
            format!("{port} is open to what comes in at {places}, as far as this machine decides"),
        ));
    }
    for one in tried {
        if let Echo::NoSocket(error) | Echo::NotSent(error) = &one.echo
            && !is_kept_in(&one.echo)
        {
            findings.push(Finding::unknown(CHECK, format!("{} could not be examined: {error}", one.place)));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::unknown(
            CHECK,
            "no network that carries multicast is connected, and so the firewall cannot be tried",
        ));
    }
    findings
}

/// Linux says so where a rule drops what is being sent.
fn is_kept_in(echo: &Echo) -> bool {
    matches!(echo, Echo::NotSent(error) if error.kind() == ErrorKind::PermissionDenied)
}

/// The port is a runtime's, so nothing else can listen there; but the runtime knows who came.
fn judge_running(runtime: &serde_json::Value) -> Finding {
    let port = runtime["port"].as_u64().unwrap_or(0);
    let peers = runtime["peers"].as_array().map_or(&[][..], Vec::as_slice);
    let is_far = |peer: &&serde_json::Value| {
        let address =
            peer["address"].as_str().and_then(|address| address.parse::<std::net::SocketAddr>().ok());
        peer["state"] == "connected" && address.is_some_and(|it| !it.ip().to_canonical().is_loopback())
    };
    match peers.iter().find(is_far) {
        Some(peer) => Finding::good(
            CHECK,
            format!(
                "datagrams come and go by UDP port {port}: {} is connected",
                peer["address"].as_str().unwrap_or("a peer")
            ),
        ),
        None => Finding::unknown(
            CHECK,
            format!(
                "UDP port {port} is in use by audiocloud, and nobody elsewhere is connected; to examine its firewall, \
                     close the DAW and run this again"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use serde_json::json;
    use std::io;

    fn tried(place: &str, echo: Echo) -> Tried {
        Tried { place: place.to_owned(), echo }
    }

    fn refused(kind: ErrorKind) -> Echo {
        Echo::NotSent(io::Error::from(kind))
    }

    #[test]
    fn what_is_dropped_is_told_by_direction_with_its_remedy() {
        let eth0 = || tried("eth0 (IPv4)", Echo::Silent);
        let check = |port, echoes: &[Tried], firewall, found: &str, remedy: &str| {
            let findings = judge(port, echoes, firewall);
            let fault = findings.iter().find(|finding| finding.outcome == Outcome::Fault).unwrap();
            assert!(fault.found.contains(found), "{fault:?}");
            assert!(fault.remedy.as_deref().unwrap().contains(remedy), "{fault:?}");
        };
        let heard = || tried("wlan0 (IPv4)", Echo::Heard { others: 0 });
        check(
            4720,
            &[eth0(), heard()],
            Firewall::Ufw,
            "for UDP port 4720 at eth0 (IPv4)",
            "ufw allow 4720/udp",
        );
        check(5000, &[eth0()], Firewall::Firewalld, "port 5000", "--add-port=5000/udp");
        check(5000, &[eth0()], Firewall::Other, "port 5000", "--dport 5000");
        check(
            0,
            &[eth0()],
            Firewall::Ufw,
            "for a UDP port",
            "set `bind = \"[::]:4720\"` in config.toml, then sudo ufw",
        );
        let kept = tried("eth0 (IPv6)", refused(ErrorKind::PermissionDenied));
        check(4720, &[kept], Firewall::Ufw, "does not let UDP out at eth0 (IPv6)", "default allow outgoing");
    }

    #[test]
    fn what_passes_and_what_cannot_be_tried_is_told_apart() {
        let outcome = |tried: &[Tried]| judge(4720, tried, Firewall::Other)[0].outcome;
        assert_eq!(outcome(&[tried("eth0 (IPv4)", Echo::Heard { others: 0 })]), Outcome::Good);
        assert_eq!(outcome(&[]), Outcome::Unknown);
        assert_eq!(
            outcome(&[tried("eth0 (IPv4)", refused(ErrorKind::NetworkUnreachable))]),
            Outcome::Unknown
        );
        let taken = Echo::NoSocket(ErrorKind::AddrInUse.into());
        assert_eq!(outcome(&[tried("eth0 (IPv4)", taken)]), Outcome::Unknown);
    }

    #[test]
    fn a_running_runtime_proves_the_way_by_its_peers() {
        let runtime = |address: &str, state: &str| json!({"port": 4720, "peers": [{"address": address, "state": state}]});
        let outcome = |runtime| judge_running(&runtime).outcome;
        assert_eq!(outcome(runtime("192.0.2.1:9", "connected")), Outcome::Good);
        assert_eq!(outcome(runtime("192.0.2.1:9", "away")), Outcome::Unknown);
        assert_eq!(outcome(runtime("[::ffff:127.0.0.1]:9", "connected")), Outcome::Unknown);
    }
}
