//! Whether multicast DNS, by which devices on a local network find each other, gets out of this machine and back.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ring::rand::SecureRandom;

use super::echo::{self, Call, Echo};
use super::firewall::Firewall;
use super::interfaces::{Interface, interfaces};
use super::{Check, Examination, Finding};

const CHECK: Check = Check::Multicast;
/// Of multicast DNS (RFC 6762, clause 3).
const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Devices may answer up to half a second late (RFC 6762, clause 6).
const LISTEN: Duration = Duration::from_millis(700);

pub(super) fn examine(examination: &Examination<'_>) -> Vec<Finding> {
    if !examination.config.mdns {
        let found = "`mdns = false` in config.toml: devices on this network are found by [[peer]] and by sessions alone";
        return vec![Finding::unknown(CHECK, found)];
    }
    let Some(present) = interfaces() else {
        return vec![Finding::unknown(CHECK, "multicast is not examined on this system yet")];
    };
    let chosen = &examination.config.interfaces;
    let missing = chosen.iter().filter(|name| !present.iter().any(|one| one.name == **name));
    let mut findings: Vec<Finding> = missing.map(|name| judge_missing(name, &present)).collect();
    let is_chosen =
        |one: &&Interface| if chosen.is_empty() { !one.is_loopback } else { chosen.contains(&one.name) };
    let observed: Vec<Observed> = present.iter().filter(is_chosen).map(Observed::of).collect();
    if findings.is_empty() || !observed.is_empty() {
        findings.extend(judge(&observed, Firewall::of_this_machine()));
    }
    findings
}

/// An interface, and what came of a query there.
#[derive(Debug)]
struct Observed {
    interface: Interface,
    /// `None`: not tried.
    echo: Option<Echo>,
}

impl Observed {
    fn of(interface: &Interface) -> Self {
        let can_try = interface.is_usable() && interface.has_multicast;
        Self { interface: interface.clone(), echo: if can_try { query(interface) } else { None } }
    }

    fn works(&self) -> bool {
        matches!(self.echo, Some(Echo::Heard { .. }))
    }
}

fn query(interface: &Interface) -> Option<Echo> {
    let datagram = question()?;
    let group = if interface.v4.is_empty() { IpAddr::V6(GROUP_V6) } else { IpAddr::V4(GROUP_V4) };
    let call = Call {
        interface,
        group,
        port: PORT,
        is_shared: true,
        leaves: true,
        datagram: &datagram,
        listen: LISTEN,
    };
    // The third byte's highest bit: an answer (RFC 1035, clause 4.1.1).
    Some(echo::call(&call, |bytes| bytes.get(2).is_some_and(|flags| flags & 0x80 != 0)))
}

/// "Which services are there?" (RFC 6763, clause 9), and a second question that nobody else asks, to know it again by.
fn question() -> Option<Vec<u8>> {
    let mut random = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut random).ok()?;
    let unique: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    // Id and flags 0, two questions.
    let mut bytes = vec![0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0];
    let names = [["_services", "_dns-sd", "_udp", "local"], [&unique, "_audiocloud", "_udp", "local"]];
    for (name, kind) in names.into_iter().zip([PTR, TXT]) {
        for label in name {
            bytes.push(u8::try_from(label.len()).ok()?);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(&[0, 0, kind, 0, IN]);
    }
    Some(bytes)
}

const PTR: u8 = 12;
const TXT: u8 = 16;
const IN: u8 = 1;

fn judge_missing(name: &str, present: &[Interface]) -> Finding {
    let names: Vec<&str> = present.iter().map(|one| one.name.as_str()).collect();
    Finding::fault(
        CHECK,
        format!("config.toml names the interface \"{name}\", which this machine does not have"),
        format!(
            "correct `interfaces` in config.toml: there are {}; or delete the line for all of them",
            names.join(", ")
        ),
    )
}

fn judge(observed: &[Observed], firewall: Firewall) -> Vec<Finding> {
    // What is amiss at an interface matters little where another one works: a VPN; and what is switched off or not plugged
    // in, nothing.
    let works = observed.iter().any(Observed::works);
    let matters = |one: &&Observed| !works || (one.interface.is_up && one.interface.has_carrier);
    let mut findings: Vec<Finding> =
        observed.iter().filter(matters).map(|one| judge_one(one, firewall)).collect();
    if works {
        for finding in findings.iter_mut().filter(|finding| finding.outcome == super::Outcome::Fault) {
            finding.outcome = super::Outcome::Unknown;
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fault(
            CHECK,
            "this machine has no network interface besides loopback",
            "connect it to a network; processes on this machine find each other without",
        ));
    }
    findings
}

fn judge_one(observed: &Observed, firewall: Firewall) -> Finding {
    let Observed { interface, echo } = observed;
    let name = &interface.name;
    if !interface.is_up {
        return Finding::fault(CHECK, format!("{name} is down"), format!("sudo ip link set {name} up"));
    }
    if !interface.has_carrier {
        return Finding::fault(
            CHECK,
            format!("{name} is not connected"),
            "plug in its cable, or join a wireless network",
        );
    }
    if !interface.has_multicast {
        return Finding::fault(
            CHECK,
            format!("{name} carries no multicast, as is usual for a VPN: devices beyond it are not found"),
            format!(
                "sudo ip link set {name} multicast on; where the network itself has none, name peers as [[peer]] in \
                     config.toml or meet in a session"
            ),
        );
    }
    match echo {
        None => Finding::fault(
            CHECK,
            format!("{name} has no address"),
            "wait for its network to give it one, or set one by hand",
        ),
        Some(Echo::Heard { others: 0 }) => Finding::good(
            CHECK,
            format!(
                "multicast leaves and enters at {name}; no other device answered, so this one is alone there, or the \
                     switch or access point holds multicast back (client isolation, IGMP snooping)"
            ),
        ),
        Some(Echo::Heard { others }) => Finding::good(
            CHECK,
            format!("multicast works at {name}: other devices answered, {others} of them"),
        ),
        Some(Echo::Silent) => Finding::fault(
            CHECK,
            format!(
                "a query to the group of multicast DNS does not come in at {name}: a firewall of this machine drops it"
            ),
            firewall.open(PORT),
        ),
        Some(Echo::NotSent(error)) if error.kind() == ErrorKind::PermissionDenied => Finding::fault(
            CHECK,
            format!("a firewall of this machine does not let multicast DNS out at {name}"),
            firewall.let_out(),
        ),
        Some(Echo::NotSent(error)) => Finding::fault(
            CHECK,
            format!("multicast cannot be sent at {name}: {error}"),
            format!("sudo ip route add 224.0.0.0/4 dev {name}"),
        ),
        Some(Echo::NoSocket(error)) => Finding::fault(
            CHECK,
            format!("the port of multicast DNS, UDP {PORT}, cannot be shared at {name}: {error}"),
            format!("end the program that keeps it to itself (`sudo ss -ulpn 'sport = :{PORT}'` names it)"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use std::io;

    fn eth0() -> Interface {
        Interface {
            name: "eth0".to_owned(),
            index: 2,
            is_up: true,
            has_carrier: true,
            has_multicast: true,
            is_loopback: false,
            v4: vec![Ipv4Addr::new(192, 0, 2, 1)],
            v6: Vec::new(),
        }
    }

    fn check(interface: Interface, echo: Option<Echo>, outcome: Outcome, found: &str, remedy: &str) {
        let findings = judge(&[Observed { interface, echo }], Firewall::Ufw);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.outcome, outcome, "{finding:?}");
        assert!(finding.found.contains(found), "{finding:?}");
        assert!(finding.remedy.as_deref().unwrap_or_default().contains(remedy), "{finding:?}");
    }

    #[test]
    fn each_reason_why_multicast_is_missing_has_its_remedy() {
        let fault = Outcome::Fault;
        check(Interface { is_up: false, ..eth0() }, None, fault, "eth0 is down", "ip link set eth0 up");
        check(Interface { has_carrier: false, ..eth0() }, None, fault, "not connected", "cable");
        check(Interface { has_multicast: false, ..eth0() }, None, fault, "no multicast", "multicast on");
        check(eth0(), None, fault, "no address", "give it one");
        check(eth0(), Some(Echo::Silent), fault, "does not come in at eth0", "ufw allow 5353/udp");
        let not_sent = |kind: ErrorKind| Some(Echo::NotSent(io::Error::from(kind)));
        check(eth0(), not_sent(ErrorKind::PermissionDenied), fault, "let multicast DNS out", "outgoing");
        check(
            eth0(),
            not_sent(ErrorKind::NetworkUnreachable),
            fault,
            "cannot be sent",
            "ip route add 224.0.0.0/4 dev eth0",
        );
        let taken = Some(Echo::NoSocket(ErrorKind::AddrInUse.into()));
        check(eth0(), taken, fault, "cannot be shared", "ss -ulpn");
        check(eth0(), Some(Echo::Heard { others: 0 }), Outcome::Good, "no other device answered", "");
        check(eth0(), Some(Echo::Heard { others: 3 }), Outcome::Good, "3 of them", "");
        assert_eq!(judge(&[], Firewall::Ufw)[0].outcome, fault);
        assert!(judge_missing("eth9", &[eth0()]).remedy.unwrap().contains("there are eth0"));
    }

    #[test]
    fn where_one_interface_works_the_others_are_no_faults() {
        let wg0 = Interface { name: "wg0".to_owned(), has_multicast: false, ..eth0() };
        let observed = [
            Observed { interface: eth0(), echo: Some(Echo::Heard { others: 1 }) },
            Observed { interface: wg0, echo: None },
            Observed { interface: Interface { name: "ifb0".to_owned(), is_up: false, ..eth0() }, echo: None },
        ];
        let outcomes: Vec<_> =
            judge(&observed, Firewall::Ufw).iter().map(|finding| finding.outcome).collect();
        assert_eq!(outcomes, [Outcome::Good, Outcome::Unknown]);
    }

    #[test]
    fn the_question_is_a_well_formed_query() {
        let bytes = question().unwrap();
        assert_eq!(bytes[..12], [0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]);
        let services = b"\x09_services\x07_dns-sd\x04_udp\x05local\x00\x00\x0c\x00\x01";
        assert_eq!(bytes[12..12 + services.len()], services[..]);
        assert!(bytes.ends_with(b"\x0b_audiocloud\x04_udp\x05local\x00\x00\x10\x00\x01"));
        assert_ne!(bytes, question().unwrap(), "known again by what is random in it");
    }
}
