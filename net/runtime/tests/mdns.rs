//! Discovery by multicast, in a network namespace of its own: nothing of it reaches the machine's network.
#![cfg(target_os = "linux")]

mod namespace;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use audiocloud_runtime::discovery::{self, Discovered, Discovery, DiscoveryConfig, Source};
use audiocloud_wire::id::{DeviceId, InstanceId};
use mdns_sd::{ServiceDaemon, ServiceEvent};
use namespace::ip;
use tokio::sync::mpsc;

const FOUND_WITHIN: Duration = Duration::from_secs(10);
/// What the runtime gives discovery of its 300 ms.
const GONE_WITHIN: Duration = Duration::from_millis(250);

struct Node {
    _folder: tempfile::TempDir,
    found: mpsc::Receiver<Discovered>,
    discovery: Discovery,
    port: u16,
    ours: BTreeSet<u16>,
}

/// A runtime's discovery with folders of its own, as on another machine.
fn node(number: u8, secret: [u8; 32], mdns: bool) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let port = 5000 + u16::from(number);
    let (to, found) = mpsc::channel(64);
    let config = DiscoveryConfig {
        instance: InstanceId([number; 16]),
        device: DeviceId([number; 32]),
        ip: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        port,
        secret,
        mdns,
        interfaces: vec!["lo".to_owned()],
        runtime_dir: folder.path().join("run"),
        config_dir: folder.path().join("config"),
    };
    Node { _folder: folder, found, discovery: discovery::start(config, to), port, ours: BTreeSet::new() }
}

impl Node {
    async fn finds(&mut self, port: u16) {
        let search = async {
            while let Some(hint) = self.found.recv().await {
                assert!(hint.address.ip().is_loopback(), "{hint:?}");
                if hint.address.port() == port {
                    assert_eq!(hint.source, Source::Mdns);
                    return;
                }
                self.note(&hint);
            }
        };
        tokio::time::timeout(FOUND_WITHIN, search).await.expect("the other is found");
    }

    fn note(&mut self, hint: &Discovered) {
        if hint.source != Source::Stranger {
            self.ours.insert(hint.address.port());
        }
    }

    /// Where a device of the same user was found: strangers are shown, but are none of ours.
    fn ports_of_ours(&mut self) -> BTreeSet<u16> {
        while let Ok(hint) = self.found.try_recv() {
            self.note(&hint);
        }
        std::mem::take(&mut self.ours)
    }

    fn ends_in_time(self) {
        let started = Instant::now();
        assert!(self.discovery.shutdown(started + GONE_WITHIN), "the mDNS thread outlives its deadline");
        println!("gone within {} ms", started.elapsed().as_millis());
    }
}

/// A loopback that carries multicast, in a network of its own.
fn on_a_loopback_of_its_own(test: &str) -> bool {
    let inside = namespace::enter(test);
    if inside {
        ip("link set lo up");
        ip("link set lo multicast on");
        ip("route add 224.0.0.0/4 dev lo");
    }
    inside
}

fn daemon_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "mDNS_daemon").count()
}

/// UDP sockets of this namespace on the port of mDNS, 5353 = 0x14e9.
fn multicast_sockets() -> usize {
    let lists = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    let text: String = lists.map(|list| std::fs::read_to_string(Path::new(list)).unwrap()).concat();
    text.lines()
        .filter(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(":14E9")))
        .count()
}

#[tokio::test]
async fn devices_of_one_user_find_each_other_and_nobody_else() {
    if !on_a_loopback_of_its_own("devices_of_one_user_find_each_other_and_nobody_else") {
        return;
    }
    let (mut a, mut stranger) = (node(1, [1; 32], true), node(3, [3; 32], true));
    let mut b = node(2, [1; 32], true);
    let started = Instant::now();
    a.finds(b.port).await;
    b.finds(a.port).await;
    println!("found each other within {} ms", started.elapsed().as_millis());
    assert!(!a.ports_of_ours().contains(&stranger.port));
    assert!(!b.ports_of_ours().contains(&stranger.port));
    assert!(stranger.ports_of_ours().is_empty());
    // Proof that counting sees them: a thread has its name only once it runs.
    while daemon_threads() != 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    a.ends_in_time();
    // A device that comes back, as a new process, is found again.
    let mut again = node(4, [1; 32], true);
    b.finds(again.port).await;
    again.finds(b.port).await;
    [b, again, stranger].into_iter().for_each(Node::ends_in_time);
    assert_eq!((daemon_threads(), multicast_sockets()), (0, 0));
}

#[tokio::test]
async fn the_network_sees_random_names_a_version_and_a_hash() {
    if !on_a_loopback_of_its_own("the_network_sees_random_names_a_version_and_a_hash") {
        return;
    }
    let node = node(7, [1; 32], true);
    let onlooker = ServiceDaemon::new().unwrap();
    let events = onlooker.browse("_audiocloud._udp.local.").unwrap();
    let seen = loop {
        match tokio::time::timeout(FOUND_WITHIN, events.recv_async()).await.unwrap().unwrap() {
            ServiceEvent::ServiceResolved(service) => break service,
            _ => continue,
        }
    };
    let is_random = |text: &str| text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    assert!(is_random(seen.fullname.strip_suffix("._audiocloud._udp.local.").unwrap()), "{}", seen.fullname);
    assert!(is_random(seen.host.strip_suffix(".local.").unwrap()), "{}", seen.host);
    let mut txt: Vec<(&str, &str)> = seen.txt_properties.iter().map(|p| (p.key(), p.val_str())).collect();
    txt.sort_unstable();
    assert!(matches!(txt[..], [("h", hash), ("v", "1")] if is_random(hash)), "{txt:?}");
    onlooker.shutdown().unwrap().recv().unwrap();
    node.ends_in_time();
}

#[tokio::test]
async fn switched_off_it_opens_no_socket_and_starts_no_thread() {
    if !on_a_loopback_of_its_own("switched_off_it_opens_no_socket_and_starts_no_thread") {
        return;
    }
    let node = node(8, [1; 32], false);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((daemon_threads(), multicast_sockets()), (0, 0));
    node.ends_in_time();
}

#[tokio::test]
async fn it_ends_in_time_whatever_it_was_doing() {
    if !on_a_loopback_of_its_own("it_ends_in_time_whatever_it_was_doing") {
        return;
    }
    for round in 0..30_u8 {
        let node = node(round, [1; 32], true);
        tokio::time::sleep(Duration::from_millis(u64::from(round % 6) * 10)).await;
        node.ends_in_time();
        assert_eq!(daemon_threads(), 0);
    }
}
