//! Devices of this user on the local network, by multicast DNS (RFC 6762) and service discovery (RFC 6763).
//!
//! What the network sees is a random name, a random host name, an address, and a TXT record of `v=1` and
//! `h=<hash>`. The hash is keyed with a secret of this user's devices, covers the name and the hour, and both
//! names are new each hour: who lacks the secret learns neither who is there nor whether it was there
//! yesterday.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mdns_sd::{
    IfKind, RecvTimeoutError, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo,
};
use ring::rand::SecureRandom;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Discovered, DiscoveryConfig, Source};

const SERVICE: &str = "_audiocloud._udp.local.";
const VERSION: &str = "1";
const PERIOD_S: u64 = 3600;
/// How often names are checked for their age and hints are given again: soon enough for a machine that wakes
/// from sleep.
const CLOCK: Duration = Duration::from_secs(5);
/// Services, and proven addresses, that are remembered.
const PRESENT_MAX: usize = 256;
/// How soon a cable that is put in, or a network that is joined, is noticed.
const ADDRESS_CHECK_S: u32 = 1;
/// A host that claims more addresses than this has them ignored.
const ADDRESSES_MAX: usize = 8;
/// Own names that may still come back from others' caches.
const OWN_NAMES_MAX: usize = 4;

/// Why there is no mDNS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "mDNS cannot start: {0}; devices on this network are found only as peers in config.toml (mdns = false hides this)"
    )]
    Daemon(#[from] mdns_sd::Error),
    #[error("mDNS cannot start: this system's random number source does not work")]
    Random,
}

/// The hour since 1970: names and hashes live that long.
fn period_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / PERIOD_S)
}

/// 16 bytes as hexadecimal digits: enough that nobody without the secret guesses one.
fn keyed_hash(secret: &[u8; 32], name: &str, period: u64) -> String {
    let hash =
        blake3::Hasher::new_keyed(secret).update(name.as_bytes()).update(&period.to_be_bytes()).finalize();
    hash.to_hex()[..32].to_owned()
}

/// Whether a device with our secret announced this name in this hour or one beside it: clocks differ, and
/// caches hold.
fn is_ours(secret: &[u8; 32], name: &str, hash: &str, period: u64) -> bool {
    let hours = period.saturating_sub(1)..=period.saturating_add(1);
    hours.into_iter().any(|hour| keyed_hash(secret, name, hour) == hash)
}

pub(crate) fn random_name() -> Result<String, Error> {
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The service as the network sees it for one hour, and its random name.
fn service(config: &DiscoveryConfig, period: u64) -> Result<(String, ServiceInfo), Error> {
    let (name, host) = (random_name()?, format!("{}.local.", random_name()?));
    let hash = keyed_hash(&config.secret, &name, period);
    let txt = [("v", VERSION), ("h", hash.as_str())];
    let all = config.ip.is_unspecified();
    let address = if all { String::new() } else { config.ip.to_string() };
    let mut info = ServiceInfo::new(SERVICE, &name, &host, address.as_str(), config.port, &txt[..])?;
    if all {
        info = info.enable_addr_auto();
    }
    // Names of 128 random bits do not collide: probing would only cost the time to first contact.
    info.set_requires_probe(false);
    Ok((name, info))
}

/// The daemon at work.
#[derive(Debug)]
pub(super) struct Mdns {
    daemon: Daemon,
    threads: Vec<Thread>,
}

struct Daemon(ServiceDaemon);

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServiceDaemon")
    }
}

/// Announces and browses; devices of this user go to `found`.
pub(super) fn start(
    config: &DiscoveryConfig,
    proven: Proven,
    found: mpsc::Sender<Discovered>,
) -> Result<(Mdns, JoinHandle<()>), Error> {
    let (name, info) = service(config, period_now())?;
    let before = Thread::all();
    let daemon = ServiceDaemon::new()?;
    // The daemon's thread is among those that are new; which one it is, its name tells at the end.
    let threads = Thread::all().into_iter().filter(|thread| !before.contains(thread)).collect();
    let mdns = Mdns { daemon: Daemon(daemon.clone()), threads };
    let configured = configure(&daemon, &config.interfaces)
        .and_then(|()| daemon.register(info))
        .and_then(|()| daemon.browse(SERVICE));
    let events = match configured {
        Ok(events) => events,
        Err(error) => {
            mdns.leave().wait(Instant::now() + Duration::from_millis(100));
            return Err(error.into());
        }
    };
    let names = Names { config: config.clone(), own: VecDeque::from([name]), period: period_now() };
    Ok((mdns, tokio::spawn(run(names, daemon, events, proven, found))))
}

pub(crate) fn configure(daemon: &ServiceDaemon, interfaces: &[String]) -> mdns_sd::Result<()> {
    daemon.set_ip_check_interval(ADDRESS_CHECK_S)?;
    if interfaces.is_empty() {
        // Control sockets serve this machine.
        return daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6]);
    }
    daemon.disable_interface(IfKind::All)?;
    daemon.enable_interface(interfaces.iter().map(IfKind::from).collect::<Vec<_>>())
}

async fn run(
    mut names: Names,
    daemon: ServiceDaemon,
    events: mdns_sd::Receiver<ServiceEvent>,
    proven: Proven,
    found: mpsc::Sender<Discovered>,
) {
    let mut clock = tokio::time::interval(CLOCK);
    let mut present = Present::default();
    loop {
        let hints = tokio::select! {
            event = events.recv_async() => match event {
                Ok(ServiceEvent::ServiceResolved(service)) => present.appeared(&service.fullname, names.hints(&service)),
                Ok(ServiceEvent::ServiceRemoved(_, fullname)) => present.left(&fullname),
                Ok(_) => Vec::new(),
                Err(_) => return,
            },
            _ = clock.tick() => {
                if let Err(error) = names.renew(&daemon, period_now()) {
                    tracing::debug!(target: "audiocloud::discovery", %error, "mDNS name not renewed");
                }
                present.reminders(&proven)
            }
        };
        for hint in hints {
            if found.send(hint).await.is_err() {
                return;
            }
        }
    }
}

/// Services of this user that are on the network now.
#[derive(Debug, Default)]
struct Present(BTreeMap<String, Vec<Discovered>>);

impl Present {
    fn appeared(&mut self, fullname: &str, hints: Vec<Discovered>) -> Vec<Discovered> {
        if !hints.is_empty() && (self.0.len() < PRESENT_MAX || self.0.contains_key(fullname)) {
            self.0.insert(fullname.to_owned(), hints.clone());
        }
        hints
    }

    fn left(&mut self, fullname: &str) -> Vec<Discovered> {
        self.0.remove(fullname);
        Vec::new()
    }

    /// Hints to give again: after a break of the network that the records outlive, nothing else would bring
    /// peers back together. Of a service that was reached before, only where it was reached.
    fn reminders(&self, proven: &Proven) -> Vec<Discovered> {
        let chosen = self.0.values().flat_map(|hints| {
            let reached: Vec<Discovered> =
                hints.iter().filter(|hint| proven.contains(hint.address)).copied().collect();
            if reached.is_empty() { hints.clone() } else { reached }
        });
        chosen.collect()
    }
}

/// Addresses that led to a peer in this run.
#[derive(Clone, Debug, Default)]
pub(super) struct Proven(Arc<Mutex<BTreeSet<SocketAddr>>>);

impl Proven {
    pub(super) fn insert(&self, address: SocketAddr) {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= PRESENT_MAX {
            addresses.pop_first();
        }
        addresses.insert(comparable(address));
    }

    fn contains(&self, address: SocketAddr) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&comparable(address))
    }
}

/// The same place in one form: an endpoint for both families sees IPv4 addresses as IPv6 ones.
fn comparable(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Which names are ours, and whose are of this user.
struct Names {
    config: DiscoveryConfig,
    /// What this process was called, the newest last.
    own: VecDeque<String>,
    period: u64,
}

impl Names {
    /// Where this service is, if it is another device or process of this user.
    fn hints(&self, service: &ResolvedService) -> Vec<Discovered> {
        let name = service.fullname.strip_suffix(SERVICE).and_then(|name| name.strip_suffix('.'));
        let (Some(name), Some(version), Some(hash)) =
            (name, service.get_property_val_str("v"), service.get_property_val_str("h"))
        else {
            return Vec::new();
        };
        if version != VERSION || self.own.iter().any(|own| own == name) {
            return Vec::new();
        }
        let ours = is_ours(&self.config.secret, name, hash, self.period);
        let source = if ours { Source::Mdns } else { Source::Stranger };
        let addresses = socket_addresses(service, self.config.ip.is_ipv6());
        let hint = |address| Discovered { device: None, instance: None, address, source, session: None };
        addresses.into_iter().map(hint).collect()
    }

    /// At a new hour: a new name in, then the old one out.
    fn renew(&mut self, daemon: &ServiceDaemon, period: u64) -> Result<(), Error> {
        if period == self.period {
            return Ok(());
        }
        let (name, info) = service(&self.config, period)?;
        daemon.register(info)?;
        if let Some(old) = self.own.back() {
            // The answer is of no use; should the request find no room, the record runs out by itself.
            daemon.unregister(&format!("{old}.{SERVICE}")).ok();
        }
        self.adopt(name, period);
        Ok(())
    }

    fn adopt(&mut self, name: String, period: u64) {
        self.own.push_back(name);
        if self.own.len() > OWN_NAMES_MAX {
            self.own.pop_front();
        }
        self.period = period;
    }
}

/// Where a service is, the likeliest first: link-local addresses last. `is_ipv6`: whether those of IPv6 can be dialled.
pub(crate) fn socket_addresses(service: &ResolvedService, is_ipv6: bool) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> =
        service.addresses.iter().map(|address| socket_address(address, service.port)).collect();
    addresses.retain(|address| is_ipv6 || address.is_ipv4());
    addresses.sort_by_key(|address| (preference(address), *address));
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

fn socket_address(address: &ScopedIp, port: u16) -> SocketAddr {
    match address {
        ScopedIp::V6(v6) if v6.addr().is_unicast_link_local() => {
            SocketAddr::V6(SocketAddrV6::new(*v6.addr(), port, 0, v6.scope_id().index))
        }
        other => SocketAddr::new(other.to_ip_addr(), port),
    }
}

fn preference(address: &SocketAddr) -> u8 {
    match address.ip() {
        IpAddr::V4(v4) if v4.is_loopback() || v4.is_link_local() => 2,
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unicast_link_local() => 3,
        IpAddr::V6(_) => 1,
    }
}

impl Mdns {
    /// Says goodbye on the network and begins to end the thread.
    pub(super) fn leave(self) -> Leaving {
        let Self { daemon: Daemon(daemon), threads } = self;
        let answer = daemon.shutdown();
        Leaving { daemon, answer, threads }
    }
}

/// A daemon that has been told to end.
pub(super) struct Leaving {
    daemon: ServiceDaemon,
    answer: mdns_sd::Result<mdns_sd::Receiver<mdns_sd::DaemonStatus>>,
    threads: Vec<Thread>,
}

impl Leaving {
    /// Waits until the daemon's thread is gone, not merely about to go. Returns whether it is.
    pub(super) fn wait(mut self, deadline: Instant) -> bool {
        let answered = loop {
            match &self.answer {
                // The queue of commands was full: it is being emptied.
                Err(mdns_sd::Error::Again) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(1));
                    self.answer = self.daemon.shutdown();
                }
                Err(mdns_sd::Error::DaemonShutdown) => break true,
                Err(_) => break false,
                // A channel that closes without an answer belonged to a thread that has ended.
                Ok(answer) => {
                    break !matches!(answer.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
                }
            }
        };
        drop(self.daemon);
        let gone = answered && Thread::wait_until_gone(&self.threads, deadline);
        if !gone {
            tracing::warn!(target: "audiocloud::discovery", "the mDNS thread did not end in time");
        }
        gone
    }
}

/// A thread of this process. `mdns-sd` keeps its join handle to itself, so the system is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thread {
    id: u32,
}

#[cfg(target_os = "linux")]
impl Thread {
    const TASKS: &str = "/proc/self/task";

    fn all() -> Vec<Self> {
        let entries = std::fs::read_dir(Self::TASKS).into_iter().flatten();
        entries
            .filter_map(|entry| Some(Self { id: entry.ok()?.file_name().to_str()?.parse().ok()? }))
            .collect()
    }

    /// Whether this is an `mdns-sd` daemon's thread that still runs.
    fn is_daemon(self) -> bool {
        let name = std::fs::read_to_string(format!("{}/{}/comm", Self::TASKS, self.id));
        name.is_ok_and(|name| name.trim_end() == "mDNS_daemon")
    }

    fn wait_until_gone(threads: &[Self], deadline: Instant) -> bool {
        while threads.iter().any(|thread| thread.is_daemon()) {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_micros(500));
        }
        true
    }
}

/// Elsewhere there is no way to ask: the daemon has said that it ends, and gets a moment for it.
#[cfg(not(target_os = "linux"))]
impl Thread {
    fn all() -> Vec<Self> {
        Vec::new()
    }

    fn wait_until_gone(_threads: &[Self], deadline: Instant) -> bool {
        thread::sleep(deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(20)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_wire::id::{DeviceId, InstanceId};

    const SECRET: [u8; 32] = [5; 32];

    fn config(ip: &str) -> DiscoveryConfig {
        DiscoveryConfig {
            instance: InstanceId([1; 16]),
            device: DeviceId([2; 32]),
            ip: ip.parse().unwrap(),
            port: 4720,
            secret: SECRET,
            mdns: true,
            interfaces: Vec::new(),
            runtime_dir: "/nowhere".into(),
            config_dir: "/nowhere".into(),
        }
    }

    #[test]
    fn the_network_sees_a_version_a_hash_and_random_names_only() {
        let config = config("::");
        let (name, info) = service(&config, 7).unwrap();
        let resolved = info.as_resolved_service();
        let mut txt: Vec<_> =
            resolved.txt_properties.iter().map(|p| format!("{}={}", p.key(), p.val_str())).collect();
        txt.sort();
        assert_eq!(txt, [format!("h={}", keyed_hash(&SECRET, &name, 7)), "v=1".to_owned()]);
        let (other_name, other) = service(&config, 7).unwrap();
        let other = other.as_resolved_service();
        assert!(name != other_name && resolved.host != other.host);
        let seen = format!("{} {} {}", resolved.fullname, resolved.host, txt.join(" "));
        for private in [
            config.instance.to_string(),
            config.device.to_string(),
            crate::config::Config::in_folders("/".as_ref(), "/".as_ref()).name,
        ] {
            assert!(!seen.contains(&private), "{seen} holds {private}");
        }
    }

    #[test]
    fn a_hash_holds_for_its_name_its_secret_and_the_hours_around() {
        let hash = keyed_hash(&SECRET, "name", 100);
        assert_eq!(hash.len(), 32);
        let check = |secret: [u8; 32], name, period, expected| {
            assert_eq!(is_ours(&secret, name, &hash, period), expected, "{name} {period}");
        };
        check(SECRET, "name", 100, true);
        check(SECRET, "name", 99, true);
        check(SECRET, "name", 101, true);
        check(SECRET, "name", 98, false);
        check(SECRET, "name", 102, false);
        check(SECRET, "eman", 100, false);
        check([6; 32], "name", 100, false);
        assert!(!is_ours(&SECRET, "name", "", 0) && !is_ours(&SECRET, "name", "x", u64::MAX));
    }

    fn names(ip: &str) -> Names {
        Names { config: config(ip), own: VecDeque::from(["own".to_owned()]), period: 100 }
    }

    fn seen(name: &str, txt: &[(&str, &str)], addresses: &str) -> ResolvedService {
        ServiceInfo::new(SERVICE, name, "host.local.", addresses, 9, txt).unwrap().as_resolved_service()
    }

    #[test]
    fn devices_of_this_user_and_strangers_are_passed_on_as_such_likeliest_address_first() {
        let dual = names("::");
        let hash = keyed_hash(&SECRET, "theirs", 99);
        let check = |name: &str, txt: &[(&str, &str)], expected: &[&str]| {
            let addresses = "169.254.0.1,2001:db8::1,192.0.2.7";
            let hints = dual.hints(&seen(name, txt, addresses));
            let addresses: Vec<String> = hints.iter().map(|hint| hint.address.to_string()).collect();
            assert_eq!(addresses, expected);
            let ours = name == "theirs" && txt[1..] == [("h", &hash[..])];
            let source = if ours { Source::Mdns } else { Source::Stranger };
            assert!(hints.iter().all(|hint| hint.source == source && hint.device.is_none()));
        };
        check("theirs", &[("v", "1"), ("h", &hash)], &["192.0.2.7:9", "[2001:db8::1]:9", "169.254.0.1:9"]);
        check("theirs", &[("v", "2"), ("h", &hash)], &[]);
        check("theirs", &[("h", &hash)], &[]);
        check("theirs", &[("v", "1")], &[]);
        let all = ["192.0.2.7:9", "[2001:db8::1]:9", "169.254.0.1:9"];
        check("theirs", &[("v", "1"), ("h", &hash[1..])], &all);
        check("others", &[("v", "1"), ("h", &hash)], &all);
        check("own", &[("v", "1"), ("h", &keyed_hash(&SECRET, "own", 100))], &[]);
    }

    #[test]
    fn an_endpoint_without_ipv6_gets_no_such_address() {
        let v4 = names("0.0.0.0");
        let txt = [("v", "1"), ("h", &keyed_hash(&SECRET, "theirs", 100))];
        let many: Vec<String> = (0..40).map(|last| format!("192.0.2.{last}")).collect();
        assert_eq!(v4.hints(&seen("theirs", &txt, &many.join(","))).len(), ADDRESSES_MAX);
        assert_eq!(v4.hints(&seen("theirs", &txt, "2001:db8::1")), []);
    }

    #[test]
    fn who_is_present_is_called_to_mind_by_the_address_that_worked() {
        let names = names("::");
        let txt = [("v", "1"), ("h", &keyed_hash(&SECRET, "theirs", 100))];
        let service = seen("theirs", &txt, "192.0.2.7,2001:db8::1");
        let (mut present, proven) = (Present::default(), Proven::default());
        let check = |present: &Present, expected: &[&str]| {
            let again: Vec<String> =
                present.reminders(&proven).iter().map(|hint| hint.address.to_string()).collect();
            assert_eq!(again, expected);
        };
        assert_eq!(present.appeared(&service.fullname, names.hints(&service)).len(), 2);
        assert_eq!(present.appeared("stranger", Vec::new()), []);
        check(&present, &["192.0.2.7:9", "[2001:db8::1]:9"]);
        proven.insert("[::ffff:192.0.2.7]:9".parse().unwrap());
        check(&present, &["192.0.2.7:9"]);
        present.left(&service.fullname);
        check(&present, &[]);
    }

    #[test]
    fn own_names_are_known_while_caches_may_return_them() {
        let mut names = names("::");
        for period in 101..104 {
            names.adopt(period.to_string(), period);
            let txt = [("v", "1"), ("h", &keyed_hash(&SECRET, "own", period))];
            assert_eq!(names.hints(&seen("own", &txt, "192.0.2.7")), []);
        }
        names.adopt("104".to_owned(), 104);
        assert_eq!((names.own.len(), names.period), (OWN_NAMES_MAX, 104));
    }
}
