//! Networks that exist for one test: hosts, translators and an internet between them, each a network namespace.
//!
//! The internet is a router that everything public hangs on, each host by a network of its own, so that it can be told
//! what to drop ([`Cut`]). A host [behind](Net::behind) a translator has a private address, and the translator the
//! public one. Hosts [of IPv6](Net::host_v6) have no other address, and need no translator: at most a
//! [firewall](Net::firewalled_v6). All of it is gone when the [`Net`] is dropped. It needs root, `ip` (iproute2) and
//! `nft` (nftables); where they are missing, [`Net::new`] says so and is none, and the test has nothing to do.

use std::{
    ffi::OsStr,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use audiocloud_rig::process::command_in;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How a translator maps addresses and ports, in the words of RFC 4787.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// Keeps the port wherever it can, and lets in only answers: what most home routers do. Two of them can be punched
    /// through.
    PortPreserving,
    /// A random port for each destination, and only answers: nobody can know where to send.
    Symmetric,
}

/// What the internet drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Everything between these two public addresses.
    Between(IpAddr, IpAddr),
    /// All UDP from and to this one.
    Udp(IpAddr),
    /// UDP from and to this port of anybody.
    UdpPort(u16),
    /// Everything from and to this one.
    All(IpAddr),
}

impl Cut {
    fn rules(self) -> Vec<String> {
        let ends = ["saddr", "daddr"];
        match self {
            Self::Between(one, other) => [[one, other], [other, one]].map(|[from, to]| {
                format!("{} saddr {from} {} daddr {to} drop", protocol(from), protocol(to))
            }),
            Self::Udp(one) => ends.map(|end| format!("{} {end} {one} meta l4proto udp drop", protocol(one))),
            Self::UdpPort(port) => ["sport", "dport"].map(|end| format!("udp {end} {port} drop")),
            Self::All(one) => ends.map(|end| format!("{} {end} {one} drop", protocol(one))),
        }
        .into()
    }
}

/// As nftables calls the protocol of an address.
fn protocol(of: IpAddr) -> &'static str {
    if of.is_ipv4() { "ip" } else { "ip6" }
}

/// A machine in the net.
#[derive(Clone, Debug)]
pub struct Host {
    /// The network namespace, for `ip netns exec`.
    pub namespace: String,
    /// Its own address.
    pub address: IpAddr,
    /// The one that others see.
    pub public: IpAddr,
    gateway: IpAddr,
}

impl Host {
    /// A command that runs on this host. It is one process: what is started is what is killed.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        command_in(Some(&self.namespace), Path::new(program.as_ref()))
    }

    /// Runs `work` on this host, in a thread of its own. Sockets that it opens stay here, wherever they are used.
    ///
    /// # Panics
    /// `work` does, or the namespace is gone.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace =
            std::fs::File::open(Path::new("/run/netns").join(&self.namespace)).expect("a namespace");
        let enter_and_work = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).expect("the right to enter");
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter_and_work).join().expect("work on the host"))
    }

    /// Runs `ip` on this host, arguments separated by single spaces.
    ///
    /// # Panics
    /// It fails.
    pub fn ip(&self, arguments: &str) {
        succeed(Command::new("ip").args(["-n", &self.namespace]).args(arguments.split(' ')));
    }

    /// Pulls the network cable.
    ///
    /// # Panics
    /// `ip` fails.
    pub fn unplug(&self) {
        self.ip("link set eth0 down");
    }

    /// Plugs it in again.
    ///
    /// # Panics
    /// `ip` fails.
    pub fn plug(&self) {
        self.ip("link set eth0 up");
        // Without a cable the system forgets addresses of IPv6.
        self.ip(&format!("address replace {}", on(self.address, "eth0")));
        self.ip(&format!("route replace default via {}", self.gateway));
    }

    /// Takes another address in the same network. Behind a translator the public one stays, and its port changes only
    /// if it must.
    ///
    /// # Panics
    /// `ip` fails.
    pub fn renumber(&mut self) {
        let next: IpAddr = match self.address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() + 1).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() + 1).into(),
        };
        self.ip("address flush dev eth0 scope global");
        self.ip(&format!("address add {}", on(next, "eth0")));
        self.ip(&format!("route replace default via {}", self.gateway));
        if self.public == self.address {
            self.public = next;
        }
        self.address = next;
    }

    /// Writes what passes this host's interfaces to a file, until the capture is stopped.
    ///
    /// # Panics
    /// There is no tcpdump, or it does not begin.
    pub fn capture(&self, file: &Path) -> Capture {
        let mut command = self.command("tcpdump");
        command
            .args(["-i", "any", "-U", "--immediate-mode", "-s", "0", "-w"])
            .arg(file)
            .stderr(Stdio::null());
        let capture = Capture { child: command.spawn().expect("tcpdump"), file: file.to_owned() };
        // It has written the file's header when it listens.
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::metadata(file).map_or(0, |file| file.len()) == 0 {
            assert!(Instant::now() < deadline, "tcpdump does not begin; is it installed?");
            std::thread::sleep(Duration::from_millis(10));
        }
        capture
    }
}

/// An address with what `ip address` is to know of it. That nobody else has it needs no second's proof.
fn on(address: IpAddr, device: &str) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}/24 dev {device}"),
        IpAddr::V6(address) => format!("{address}/64 dev {device} nodad"),
    }
}

/// A tcpdump that runs.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// What was captured so far: packets with their headers, in the format of libpcap. A packet is there some
    /// milliseconds after it passed.
    ///
    /// # Panics
    /// The file cannot be read.
    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.file).expect("a capture")
    }

    /// Ends it, and gives the capture.
    ///
    /// # Panics
    /// The file cannot be read.
    pub fn stop(mut self) -> Vec<u8> {
        self.end();
        self.bytes()
    }

    fn end(&mut self) {
        let id = self.child.id().to_string();
        // As Ctrl-C: it writes what it has.
        let asked = Command::new("kill").args(["-INT", &id]).status();
        if !asked.is_ok_and(|status| status.success()) {
            self.child.kill().ok();
        }
        self.child.wait().ok();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

/// A net of its own.
#[derive(Debug)]
pub struct Net {
    prefix: String,
    namespaces: Vec<String>,
    internet: String,
    networks: u8,
    cuts: Vec<Cut>,
}

/// Packets pass, but for those that [`Cut`]s name; a network that nobody has is told so.
const INTERNET: &str = "
table inet net {
    chain cut { type filter hook forward priority filter; policy accept; }
}";

impl Net {
    /// An internet with nobody on it. None, with the reason printed, where this machine permits none.
    pub fn new(test: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("ac{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let internet = format!("{prefix}-internet");
        let mut net = Self { prefix, namespaces: Vec::new(), internet, networks: 0, cuts: Vec::new() };
        let made =
            net.try_namespace(&net.internet.clone()).and_then(|()| net.try_nft(&net.internet, INTERNET));
        if let Err(reason) = made {
            println!("{test} skipped: network namespaces need root, iproute2 and nftables: {reason}");
            return None;
        }
        Some(net)
    }

    /// A machine with a public address.
    ///
    /// # Panics
    /// `ip` fails.
    pub fn host(&mut self, name: &str) -> Host {
        let namespace = self.namespace(name);
        let (address, gateway) = self.attach(&namespace, address_v4);
        Host { namespace, address, public: address, gateway }
    }

    /// Whether this machine has IPv6; says so where it has none, and the test has nothing to do.
    pub fn has_ipv6(&self, test: &str) -> bool {
        let has_ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        if !has_ipv6 {
            println!("{test} skipped: this machine has no IPv6");
        }
        has_ipv6
    }

    /// A machine with an address of IPv6 and no other.
    ///
    /// # Panics
    /// `ip` fails.
    pub fn host_v6(&mut self, name: &str) -> Host {
        route_v6(&self.internet);
        let namespace = self.namespace(name);
        let (address, gateway) = self.attach(&namespace, address_v6);
        Host { namespace, address, public: address, gateway }
    }

    /// A machine with an address of IPv6 and no other, behind a firewall that lets in only answers.
    ///
    /// # Panics
    /// `ip` or `nft` fails.
    pub fn firewalled_v6(&mut self, name: &str) -> Host {
        route_v6(&self.internet);
        let router = self.namespace(&format!("{name}-wall"));
        route_v6(&router);
        let (outside, _) = self.attach(&router, address_v6);
        let namespace = self.namespace(name);
        let within = |host| Ipv6Addr::new(0xfd00, 0x77, self.networks.into(), 0, 0, 0, 0, host);
        let [address, gateway] = [within(2), within(1)].map(IpAddr::from);
        let network = within(0);
        join(&namespace, "eth0", address, &router, "lan", gateway);
        ip(&namespace, &format!("route add default via {gateway}"));
        ip(&self.internet, &format!("route add {network}/64 via {outside}"));
        let firewall = "table inet wall {
                chain through { type filter hook forward priority filter; iifname \"eth0\" ct state new drop; }
            }";
        self.try_nft(&router, firewall).unwrap_or_else(|reason| panic!("{reason}"));
        Host { namespace, address, public: address, gateway }
    }

    /// A machine behind a translator of its own.
    ///
    /// # Panics
    /// `ip` or `nft` fails.
    pub fn behind(&mut self, name: &str, nat: Nat) -> Host {
        let router = self.namespace(&format!("{name}-nat"));
        let (public, _) = self.attach(&router, address_v4);
        let namespace = self.namespace(name);
        let [address, gateway] = [2, 1].map(|host| Ipv4Addr::new(10, 77, self.networks, host).into());
        join(&namespace, "eth0", address, &router, "lan", gateway);
        ip(&namespace, &format!("route add default via {gateway}"));
        let masquerade = match nat {
            Nat::PortPreserving => "masquerade",
            Nat::Symmetric => "masquerade fully-random",
        };
        // What nobody asked for is dropped before it is tracked for good: otherwise it would take the port from who is
        // about to send from it.
        let rules = format!(
            "table inet nat {{
                chain out {{ type nat hook postrouting priority srcnat; oifname \"eth0\" {masquerade}; }}
                chain into {{ type filter hook input priority filter; iifname \"eth0\" ct state new drop; }}
                chain through {{ type filter hook forward priority filter; iifname \"eth0\" ct state new drop; }}
            }}"
        );
        self.try_nft(&router, &rules).unwrap_or_else(|reason| panic!("{reason}"));
        Host { namespace, address, public, gateway }
    }

    /// A cable from one host to another, beside all else: interface `lan0` at both. What is on it hears each other's multicast,
    /// which no router passes on.
    ///
    /// # Panics
    /// `ip` fails.
    pub fn cable(&mut self, one: &Host, other: &Host) {
        self.networks += 1;
        let [near, far] = [1, 2].map(|host| Ipv4Addr::new(10, 78, self.networks, host).into());
        join(&one.namespace, "lan0", near, &other.namespace, "lan0", far);
    }

    /// Drops this from now on.
    ///
    /// # Panics
    /// `nft` fails.
    pub fn cut(&mut self, cut: Cut) {
        self.cuts.push(cut);
        self.tell_cuts();
    }

    /// No longer.
    ///
    /// # Panics
    /// `nft` fails.
    pub fn mend(&mut self, cut: Cut) {
        self.cuts.retain(|made| *made != cut);
        self.tell_cuts();
    }

    fn tell_cuts(&self) {
        let rules = self.cuts.iter().flat_map(|cut| cut.rules());
        let added: String = rules.map(|rule| format!("add rule inet net cut {rule}\n")).collect();
        let all = format!("flush chain inet net cut\n{added}");
        self.try_nft(&self.internet, &all).unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// Hangs a namespace on the internet: its address, and the internet's beside it.
    fn attach(&mut self, namespace: &str, address_of: fn(u8, u8) -> IpAddr) -> (IpAddr, IpAddr) {
        self.networks += 1;
        let [address, gateway] = [2, 1].map(|host| address_of(self.networks, host));
        let port = format!("port{}", self.networks);
        join(namespace, "eth0", address, &self.internet, &port, gateway);
        ip(namespace, &format!("route add default via {gateway}"));
        (address, gateway)
    }

    fn namespace(&mut self, name: &str) -> String {
        let name = format!("{}-{name}", self.prefix);
        self.try_namespace(&name).unwrap_or_else(|reason| panic!("{reason}"));
        name
    }

    fn try_namespace(&mut self, name: &str) -> Result<(), String> {
        attempt(Command::new("ip").args(["netns", "add", name]))?;
        self.namespaces.push(name.to_owned());
        attempt(Command::new("ip").args(["-n", name, "link", "set", "lo", "up"]))?;
        let forward = ["netns", "exec", name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"];
        attempt(Command::new("ip").args(forward))
    }

    fn try_nft(&self, namespace: &str, rules: &str) -> Result<(), String> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "nft", "-f", "-"]);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("ip: {error}"))?;
        let mut input = child.stdin.take().ok_or("no standard input")?;
        input.write_all(rules.as_bytes()).map_err(|error| format!("nft: {error}"))?;
        drop(input);
        let output = child.wait_with_output().map_err(|error| format!("nft: {error}"))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            if let Err(reason) = attempt(Command::new("ip").args(["netns", "delete", namespace])) {
                eprintln!("the namespace {namespace} stays: {reason}");
            }
        }
    }
}

/// A public address: of the range for measurements between networks (RFC 2544).
fn address_v4(network: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(198, 18, network, host).into()
}

/// One of IPv6 that belongs to nobody (RFC 4193).
fn address_v6(network: u8, host: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0x18, network.into(), 0, 0, 0, 0, host.into()).into()
}

/// Lets a namespace pass on packets of IPv6 that are for others, at once: not only when it knows that nobody else has
/// its addresses.
fn route_v6(namespace: &str) {
    for (setting, value) in [("all/forwarding", 1), ("all/accept_dad", 0), ("default/accept_dad", 0)] {
        let write = format!("echo {value} > /proc/sys/net/ipv6/conf/{setting}");
        succeed(Command::new("ip").args(["netns", "exec", namespace, "sh", "-c", &write]));
    }
}

/// A cable between two namespaces, and the addresses of its ends.
fn join(one: &str, name: &str, address: IpAddr, other: &str, port: &str, gateway: IpAddr) {
    let cable = ["link", "add", name, "netns", one, "type", "veth", "peer", "name", port, "netns", other];
    succeed(Command::new("ip").args(cable));
    for (namespace, end, address) in [(one, name, address), (other, port, gateway)] {
        ip(namespace, &format!("address add {}", on(address, end)));
        ip(namespace, &format!("link set {end} up"));
    }
}

fn ip(namespace: &str, arguments: &str) {
    succeed(Command::new("ip").args(["-n", namespace]).args(arguments.split(' ')));
}

fn succeed(command: &mut Command) {
    attempt(command).unwrap_or_else(|reason| panic!("{reason}"));
}

fn attempt(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", errors.trim())) }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};

    use super::*;

    const PORT: u16 = 4460;

    fn socket(host: &Host) -> UdpSocket {
        let any = if host.address.is_ipv4() { "0.0.0.0" } else { "::" };
        let socket = host.within(|| UdpSocket::bind((any, PORT))).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
        socket
    }

    fn at(address: IpAddr) -> SocketAddr {
        (address, PORT).into()
    }

    /// Where a datagram that is sent now comes from, if it arrives.
    fn arrives(from: &UdpSocket, to: &UdpSocket, address: SocketAddr) -> Option<SocketAddr> {
        // A cut may be told to the sender.
        from.send_to(b"?", address).ok();
        to.recv_from(&mut [0; 9]).ok().map(|(_, from)| from)
    }

    #[test]
    fn a_net_drops_what_it_is_told_to() {
        let test = "a_net_drops_what_it_is_told_to";
        let Some(mut net) = Net::new(test) else { return };
        let hosts = [net.host("one"), net.host("two")];
        drops_what_it_is_told_to(&mut net, hosts);
        if net.has_ipv6(test) {
            let hosts = [net.host_v6("three"), net.host_v6("four")];
            drops_what_it_is_told_to(&mut net, hosts);
        }
    }

    fn drops_what_it_is_told_to(net: &mut Net, [one, two]: [Host; 2]) {
        let (near, far) = (socket(&one), socket(&two));
        let cuts = [
            Cut::Between(one.public, two.public),
            Cut::Udp(two.public),
            Cut::UdpPort(PORT),
            Cut::All(one.public),
        ];
        for cut in cuts {
            assert_eq!(arrives(&near, &far, at(two.public)), Some(at(one.public)));
            net.cut(cut);
            assert_eq!(arrives(&near, &far, at(two.public)), None, "{cut:?}");
            net.mend(cut);
        }
        one.unplug();
        assert_eq!(arrives(&near, &far, at(two.public)), None);
        one.plug();
        assert_eq!(arrives(&near, &far, at(two.public)), Some(at(one.public)));
    }

    #[test]
    fn translators_that_keep_ports_can_be_punched_through_and_others_cannot() {
        let test = "translators_that_keep_ports_can_be_punched_through_and_others_cannot";
        let Some(mut net) = Net::new(test) else { return };
        let node = net.host("node");
        let meeting = socket(&node);
        for (nat, name) in [(Nat::PortPreserving, "keeps"), (Nat::Symmetric, "random")] {
            let [one, two] = [1, 2].map(|number| net.behind(&format!("{name}{number}"), nat));
            let (near, far) = (socket(&one), socket(&two));
            let seen = arrives(&near, &meeting, at(node.public)).expect("a way out");
            assert_eq!(seen.ip(), one.public);
            assert_eq!(seen.port() == PORT, nat == Nat::PortPreserving, "{seen}");
            assert_eq!(arrives(&far, &near, at(one.public)), None, "unasked");
            assert_eq!(arrives(&near, &far, at(two.public)).is_some(), nat == Nat::PortPreserving, "{nat:?}");
        }
    }

    #[test]
    fn firewalls_let_in_answers_alone() {
        let test = "firewalls_let_in_answers_alone";
        let Some(mut net) = Net::new(test) else { return };
        if !net.has_ipv6(test) {
            return;
        }
        let [one, two] = ["one", "two"].map(|name| net.firewalled_v6(name));
        let (near, far) = (socket(&one), socket(&two));
        assert_eq!(arrives(&near, &far, at(two.public)), None, "unasked");
        // Neighbours of IPv6 that were not found at once are looked for again a second later.
        let answer = (0..20).find_map(|_| arrives(&far, &near, at(one.public)));
        assert_eq!(answer, Some(at(two.public)), "an answer");
        let answer = (0..20).find_map(|_| arrives(&near, &far, at(two.public)));
        assert_eq!(answer, Some(at(one.public)), "an answer to that");
    }

    #[test]
    fn a_capture_has_what_passed() {
        let Some(mut net) = Net::new("a_capture_has_what_passed") else { return };
        if Command::new("tcpdump").arg("--version").output().is_err() {
            return println!("skipped: there is no tcpdump");
        }
        let (one, two) = (net.host("one"), net.host("two"));
        let folder = tempfile::tempdir().expect("a folder");
        let capture = two.capture(&folder.path().join("capture"));
        let (near, far) = (socket(&one), socket(&two));
        near.send_to(b"a sentence that is looked for", at(two.public)).expect("sent");
        far.recv_from(&mut [0; 99]).expect("received");
        let deadline = Instant::now() + Duration::from_secs(5);
        while !capture.bytes().windows(29).any(|bytes| bytes == b"a sentence that is looked for") {
            assert!(Instant::now() < deadline, "it is not in the capture");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!capture.stop().is_empty());
    }
}
