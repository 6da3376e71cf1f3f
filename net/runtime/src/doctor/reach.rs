//! Whether those that the user has named answer: peers and meeting points, by a handshake that goes no further.
//!
//! Any answer proves the way, be it a refusal; silence is a machine that is off, or something between that drops UDP.
//! Where the same host answers by TCP, it is the latter.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::firewall::Firewall;
use super::{Check, Examination, Finding, Outcome};
use crate::identity::Identity;
use crate::{tls, udp_port};

const CHECK: Check = Check::Reach;
/// For a handshake, two lost packets included.
const PATIENCE: Duration = Duration::from_secs(4);
const TCP_PATIENCE: Duration = Duration::from_secs(2);
/// Each is dialled on its own; a longer list is cut, and said to be.
const PLACES_MAX: usize = 16;

/// Who should answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// `host:port`.
    address: String,
    /// Where the same host takes TLS over TCP.
    tls_port: Option<u16>,
    what: &'static str,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// After so long.
    Came(Duration),
    /// Nothing came from there; whether TCP was answered, where it was tried.
    Silent { tcp: Option<bool> },
    /// The system did not send what should go there.
    KeptIn,
    /// The name leads nowhere, or the machine has no route there.
    Nowhere(String),
}

pub(super) fn examine(examination: &Examination<'_>) -> Vec<Finding> {
    let mut places = places(examination);
    if places.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if places.len() > PLACES_MAX {
        findings.push(Finding::unknown(
            CHECK,
            format!("only the first {PLACES_MAX} of {} places are asked", places.len()),
        ));
        places.truncate(PLACES_MAX);
    }
    let folder = &examination.config.config_dir;
    if !(folder.join("user.key").exists() && folder.join("device.key").exists()) {
        return vec![Finding::unknown(CHECK, "nobody is asked while there are no keys to ask with")];
    }
    let identity = match Identity::load_or_create(folder) {
        Ok(identity) => identity,
        Err(error) => return vec![Finding::of_error(CHECK, &error.to_string())],
    };
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asked: Vec<_> = places
            .iter()
            .map(|place| scope.spawn(|| ask(place, &identity, examination.config.bind)))
            .collect();
        let failed = || Answer::Nowhere("the question failed".to_owned());
        asked.into_iter().map(|one| one.join().unwrap_or_else(|_| failed())).collect()
    });
    findings.extend(judge(&places, &answers, Firewall::of_this_machine()));
    findings
}

fn places(examination: &Examination<'_>) -> Vec<Place> {
    let place = |address: &str, tls_port, what| Place { address: address.to_owned(), tls_port, what };
    let config = examination.config;
    let peers = config.peers.iter().map(|peer| place(&peer.address, None, "peer"));
    let meeting = config.meeting.iter().map(|point| place(&point.address, point.tls_port, "meeting point"));
    let asked = examination.options.reach.iter().map(|address| place(address, None, "place"));
    let mut places: Vec<Place> = Vec::new();
    for place in peers.chain(meeting).chain(asked) {
        if !places.iter().any(|known| known.address == place.address) {
            places.push(place);
        }
    }
    places
}

fn ask(place: &Place, identity: &Identity, bind: SocketAddr) -> Answer {
    let address = match place.address.to_socket_addrs().map(|mut found| found.next()) {
        Ok(Some(address)) => address,
        Ok(None) => return Answer::Nowhere("its name has no address".to_owned()),
        Err(error) => return Answer::Nowhere(error.to_string()),
    };
    // The rules may be for our port; where that is taken, any will do.
    let own = any_of(address);
    let matching = bind.is_ipv6() == address.is_ipv6();
    let socket =
        if matching { udp_port::open(bind).or_else(|_| UdpSocket::bind(own)) } else { UdpSocket::bind(own) };
    let socket = match socket {
        Ok(socket) => socket,
        Err(error) => return Answer::Nowhere(error.to_string()),
    };
    if let Some(answer) = refused_here(&socket, address) {
        return answer;
    }
    match handshake(socket, address, identity) {
        Some(after) => Answer::Came(after),
        None => Answer::Silent {
            tcp: place.tls_port.map(|port| answers_tcp(SocketAddr::new(address.ip(), port))),
        },
    }
}

fn any_of(address: SocketAddr) -> SocketAddr {
    let ip: std::net::IpAddr = if address.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
    SocketAddr::new(ip, 0)
}

/// Whether the system itself keeps it in, which QUIC would take for a loss. What is sent for that is one byte that does
/// not get beyond the local network.
fn refused_here(socket: &UdpSocket, address: SocketAddr) -> Option<Answer> {
    let Ok(limited) = socket.try_clone() else { return None };
    let reference = socket2::SockRef::from(&limited);
    let before = if address.is_ipv6() { reference.unicast_hops_v6() } else { reference.ttl_v4() };
    let set = |hops| {
        if address.is_ipv6() { reference.set_unicast_hops_v6(hops) } else { reference.set_ttl_v4(hops) }
    };
    set(1).ok()?;
    let sent = limited.send_to(&[0], address);
    set(before.unwrap_or(64)).ok()?;
    match sent {
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Some(Answer::KeptIn),
        Err(error) => Some(Answer::Nowhere(error.to_string())),
    }
}

/// How long until something that speaks QUIC answered.
fn handshake(socket: UdpSocket, address: SocketAddr, identity: &Identity) -> Option<Duration> {
    let (config, _) = tls::client_config(identity, None).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        socket.set_nonblocking(true).ok()?;
        let endpoint = quinn::Endpoint::new(
            quinn::EndpointConfig::default(),
            None,
            socket,
            Arc::new(quinn::TokioRuntime),
        )
        .ok()?;
        let began = Instant::now();
        let connecting = endpoint.connect_with(config, address, tls::SERVER_NAME).ok()?;
        let answered = match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(Ok(connection)) => {
                connection.close(quinn::VarInt::from_u32(0), b"self-test");
                true
            }
            Ok(Err(quinn::ConnectionError::TimedOut | quinn::ConnectionError::LocallyClosed)) | Err(_) => {
                false
            }
            // Anything else is an answer: a refusal, another protocol, another version.
            Ok(Err(_)) => true,
        };
        let after = began.elapsed();
        endpoint.close(quinn::VarInt::from_u32(0), b"self-test");
        tokio::time::timeout(Duration::from_millis(100), endpoint.wait_idle()).await.ok();
        answered.then_some(after)
    })
}

fn answers_tcp(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, TCP_PATIENCE).is_ok()
}

fn judge(places: &[Place], answers: &[Answer], firewall: Firewall) -> Vec<Finding> {
    places.iter().zip(answers).map(|(place, answer)| judge_one(place, answer, firewall)).collect()
}

fn judge_one(place: &Place, answer: &Answer, firewall: Firewall) -> Finding {
    let Place { address, what, .. } = place;
    let port = address.rsplit_once(':').map_or("its port", |(_, port)| port);
    match answer {
        Answer::Came(after) => Finding::good(
            CHECK,
            format!("the {what} {address} answers by UDP, after {} ms", after.as_millis()),
        ),
        Answer::KeptIn => Finding::fault(
            CHECK,
            format!("a firewall of this machine does not let UDP out to the {what} {address}"),
            firewall.let_out(),
        ),
        Answer::Nowhere(error) => Finding::fault(
            CHECK,
            format!("there is no way to the {what} {address}: {error}"),
            "correct its address, or connect this machine to its network",
        ),
        Answer::Silent { tcp: Some(true) } => Finding::fault(
            CHECK,
            format!("the {what} {address} answers by TCP but not by UDP: something between drops UDP"),
            format!(
                "ask for UDP port {port} to be let out of this network; until then audio takes the relay by TCP, with more \
                     delay"
            ),
        ),
        Answer::Silent { tcp: Some(false) } => silent(
            place,
            "by UDP and by TCP",
            format!("start it there (`audiocloud node`), and let UDP port {port} in by its firewall"),
        ),
        Answer::Silent { tcp: None } => silent(
            place,
            "by UDP",
            format!(
                "start audiocloud there, and let UDP port {port} in (there: `audiocloud doctor firewall`); behind a router, \
                 forward the port or meet in a session with a meeting point"
            ),
        ),
    }
}

/// It may merely be switched off.
fn silent(place: &Place, how: &str, remedy: String) -> Finding {
    let found = format!(
        "the {} {} does not answer {how}: it is off, or something between drops it",
        place.what, place.address
    );
    Finding { check: CHECK, outcome: Outcome::Warning, found, remedy: Some(remedy) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MeetingPoint;
    use crate::{Config, ExplicitPeer};
    use std::net::{Ipv4Addr, TcpListener};

    fn place(address: &str, tls_port: Option<u16>) -> Place {
        Place { address: address.to_owned(), tls_port, what: "meeting point" }
    }

    #[test]
    fn each_answer_is_told_with_its_remedy() {
        let check = |answer: Answer, outcome, found: &str, remedy: &str| {
            let finding = judge_one(&place("node.example.org:4720", None), &answer, Firewall::Ufw);
            assert_eq!(finding.outcome, outcome, "{finding:?}");
            assert!(finding.found.contains(found), "{finding:?}");
            assert!(finding.remedy.as_deref().unwrap_or_default().contains(remedy), "{finding:?}");
        };
        check(Answer::Came(Duration::from_millis(31)), Outcome::Good, "after 31 ms", "");
        check(Answer::KeptIn, Outcome::Fault, "does not let UDP out", "allow outgoing");
        check(Answer::Nowhere("no such host".into()), Outcome::Fault, "no such host", "correct its address");
        check(Answer::Silent { tcp: Some(true) }, Outcome::Fault, "by TCP but not by UDP", "UDP port 4720");
        check(Answer::Silent { tcp: Some(false) }, Outcome::Warning, "by UDP and by TCP", "audiocloud node");
        check(Answer::Silent { tcp: None }, Outcome::Warning, "does not answer by UDP", "UDP port 4720 in");
    }

    #[test]
    fn every_place_is_asked_once() {
        let mut config = Config::in_folders("/nowhere".as_ref(), "/nowhere".as_ref());
        config.peers = vec![ExplicitPeer { address: "a:1".into(), key: [0; 32] }];
        config.meeting = vec![MeetingPoint { address: "b:2".into(), device: [0; 32], tls_port: Some(443) }];
        let options = super::super::Options { reach: vec!["a:1".into(), "c:3".into()], ..Default::default() };
        let examination = Examination { config: &config, options: &options, runtimes: Vec::new() };
        let addresses: Vec<String> = places(&examination).into_iter().map(|place| place.address).collect();
        assert_eq!(addresses, ["a:1", "b:2", "c:3"]);
        assert_eq!(examine(&examination)[0].outcome, Outcome::Unknown, "there are no keys there");
    }

    #[test]
    fn a_runtime_answers_and_a_silent_port_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(folder.path()).unwrap();
        let stranger = tempfile::tempdir().unwrap();
        let mut config = Config::in_folders(stranger.path(), stranger.path());
        config.bind = (Ipv4Addr::LOCALHOST, 0).into();
        config.mdns = false;
        let runtime = crate::Runtime::acquire_with(config).unwrap();
        let any = (Ipv4Addr::UNSPECIFIED, 0).into();
        let there = place(&format!("127.0.0.1:{}", runtime.port()), None);
        assert!(matches!(ask(&there, &identity, any), Answer::Came(_)));
        // A port that is open but behind which nobody speaks, on a host that takes TCP.
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let tls_port = Some(tcp.local_addr().unwrap().port());
        let dropped = place(&silent.local_addr().unwrap().to_string(), tls_port);
        assert_eq!(ask(&dropped, &identity, any), Answer::Silent { tcp: Some(true) });
        assert!(matches!(ask(&place("127.0.0.1:none", None), &identity, any), Answer::Nowhere(_)));
    }
}
