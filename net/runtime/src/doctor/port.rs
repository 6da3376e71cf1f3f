//! The UDP port of the configuration: whether it can be opened, and who has it where it cannot.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use super::{Check, Examination, Finding};
use crate::udp_port;

const CHECK: Check = Check::Port;

pub(super) fn examine(examination: &Examination<'_>) -> Vec<Finding> {
    let bind = examination.config.bind;
    let finding = match udp_port::open(bind) {
        Ok(_) => judge_open(bind),
        Err(error) => match examination.runtime_on(bind.port()) {
            Some(runtime) => {
                let found = format!(
                    "UDP port {} is open: process {} of audiocloud has it",
                    bind.port(),
                    runtime["pid"].as_u64().unwrap_or(0)
                );
                Finding::good(CHECK, found)
            }
            None => judge_refused(bind, &error, holder(bind.port())),
        },
    };
    vec![finding]
}

fn judge_open(bind: SocketAddr) -> Finding {
    let found = match bind.port() {
        0 => "UDP ports can be opened; each start takes one that is free".to_owned(),
        port => format!("UDP port {port} can be opened"),
    };
    Finding::good(CHECK, found)
}

/// `holder`: who has the port, where that can be seen.
fn judge_refused(bind: SocketAddr, error: &io::Error, holder: Option<String>) -> Finding {
    let port = bind.port();
    match error.kind() {
        ErrorKind::AddrInUse => {
            let (holder, first) = match holder {
                Some(holder) => (format!("is taken by {holder}"), "end that program".to_owned()),
                None => (
                    "is taken by another program".to_owned(),
                    format!("end that program (`sudo ss -ulpn 'sport = :{port}'` names it)"),
                ),
            };
            let remedy = format!(
                "{first}, or set another `bind` in config.toml: \"[::]:{}\", or port 0 for any",
                port ^ 1
            );
            Finding::fault(CHECK, format!("UDP port {port} {holder}"), remedy)
        }
        ErrorKind::AddrNotAvailable => Finding::fault(
            CHECK,
            format!("{} of `bind` is no address of this machine now", bind.ip()),
            format!("set `bind` in config.toml to \"{}\", for all addresses of the machine", any(bind)),
        ),
        ErrorKind::PermissionDenied if (1..1024).contains(&port) => Finding::fault(
            CHECK,
            format!("UDP port {port} is below 1024 and so for the system's own services"),
            "set a `bind` in config.toml with a port from 1024 to 65535, or 0 for any",
        ),
        _ => Finding::fault(
            CHECK,
            format!("UDP port {port} at {} cannot be opened: {error}", bind.ip()),
            "set another `bind` in config.toml; `bind = \"[::]:0\"` is the default",
        ),
    }
}

fn any(bind: SocketAddr) -> SocketAddr {
    let ip: IpAddr = if bind.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
    SocketAddr::new(ip, bind.port())
}

/// The program behind a UDP port, among those that this user may look at.
#[cfg(target_os = "linux")]
fn holder(port: u16) -> Option<String> {
    let inodes = inodes(port);
    let links: Vec<_> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let has_it = files.flatten().any(|file| {
            std::fs::read_link(file.path())
                .is_ok_and(|link| links.iter().any(|wanted| link.as_os_str() == wanted.as_str()))
        });
        if has_it {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("process {pid} ({})", name.trim_end()));
        }
    }
    None
}

/// Of sockets on this port: `/proc/net/udp` has the address in the second field, the inode in the tenth.
#[cfg(target_os = "linux")]
fn inodes(port: u16) -> Vec<String> {
    let lists = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    let text: String = lists.iter().filter_map(|list| std::fs::read_to_string(list).ok()).collect();
    let wanted = format!(":{port:04X}");
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1)?.ends_with(&wanted)).then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    };
    text.lines().filter_map(inode).collect()
}

#[cfg(not(target_os = "linux"))]
fn holder(_port: u16) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn each_refusal_has_its_remedy() {
        let check = |bind: &str, kind: ErrorKind, holder: Option<&str>, found: &str, remedy: &str| {
            let finding = judge_refused(bind.parse().unwrap(), &kind.into(), holder.map(str::to_owned));
            assert_eq!(finding.outcome, Outcome::Fault);
            assert!(finding.found.contains(found), "{finding:?}");
            assert!(finding.remedy.as_deref().unwrap().contains(remedy), "{finding:?}");
        };
        let taken = ErrorKind::AddrInUse;
        check(
            "[::]:4720",
            taken,
            Some("process 7 (jackd)"),
            "4720 is taken by process 7 (jackd)",
            "end that program",
        );
        check("[::]:4720", taken, None, "another program", "ss -ulpn 'sport = :4720'");
        check("192.0.2.7:4720", ErrorKind::AddrNotAvailable, None, "192.0.2.7", "\"0.0.0.0:4720\"");
        check("[2001:db8::1]:4720", ErrorKind::AddrNotAvailable, None, "2001:db8::1", "\"[::]:4720\"");
        check("[::]:443", ErrorKind::PermissionDenied, None, "below 1024", "from 1024");
        check("[::]:4720", ErrorKind::OutOfMemory, None, "cannot be opened", "is the default");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_behind_a_port_is_named() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = UdpSocket::bind(address) else { continue };
            let named = holder(socket.local_addr().unwrap().port()).expect(address);
            assert!(named.starts_with(&format!("process {} (", std::process::id())), "{named}");
        }
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert_eq!(holder(free), None);
    }
}
