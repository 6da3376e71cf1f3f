//! An invitation by a spoken code: on a network of its own, and through a meeting point.

mod namespace;

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::mpsc;

use audiocloud_membership::pairing::{Code, PairingError};
use audiocloud_runtime::config::{MeetingPoint, Serve};
use audiocloud_runtime::identity::Identity;
use audiocloud_runtime::pairing::{self, Cancel, Error};
use audiocloud_runtime::sessions::{InviteOptions, acts};
use audiocloud_runtime::{Config, Runtime};
use audiocloud_wire::id::DeviceId;

struct Machine {
    config: Config,
    _folder: tempfile::TempDir,
}

impl Machine {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::in_folders(&folder.path().join("config"), &folder.path().join("run"));
        config.name = name.to_owned();
        config.interfaces = vec!["lo".to_owned()];
        Self { config, _folder: folder }
    }

    fn device(&self) -> DeviceId {
        Identity::load_or_create(&self.config.config_dir).unwrap().device()
    }
}

/// What came of it on both sides.
struct Paired {
    /// Whom the host gave the invitation.
    given: Result<DeviceId, Error>,
    /// From whom the guest has it, and the session that it joined.
    taken: Result<(DeviceId, String), Error>,
    /// The host, the guest.
    devices: [DeviceId; 2],
}

/// What the guest hears of the code is what `say` makes of it.
fn pair(meeting: Option<&MeetingPoint>, say: impl FnOnce(String) -> String) -> Paired {
    let (ada, ben) = (Machine::new("Ada"), Machine::new("Ben"));
    let band = acts::create(&ada.config, "Band", &[]).unwrap();
    let invitation = acts::invite(&ada.config, &band.session, &InviteOptions::default()).unwrap();
    let (told, heard) = mpsc::channel();
    let devices = [ada.device(), ben.device()];
    std::thread::scope(|scope| {
        let host = scope.spawn(|| {
            let tell = |code: &Code| told.send(code.to_string()).unwrap();
            pairing::host(&ada.config, meeting, &invitation, &Cancel::default(), tell)
        });
        let code: Code = say(heard.recv().unwrap()).parse().unwrap();
        let taken = pairing::guest(&ben.config, meeting, code, &Cancel::default());
        let joined = taken.map(|(device, invitation)| {
            let membership = acts::accept(&ben.config, invitation).unwrap();
            assert_eq!(membership.session, band.session);
            (device, membership.name)
        });
        Paired { given: host.join().unwrap(), taken: joined, devices }
    })
}

/// Another word in place of the last one.
fn misheard(code: String) -> String {
    let (rest, last) = code.rsplit_once('-').unwrap();
    let other = code.split('-').nth(1).unwrap();
    let other = if other == last { code.split('-').nth(2).unwrap() } else { other };
    format!("{rest}-{other}")
}

fn check_paired(paired: Paired) {
    let [ada, ben] = paired.devices;
    assert_eq!(paired.given.unwrap(), ben);
    assert_eq!(paired.taken.unwrap(), (ada, "Band".to_owned()));
}

fn check_refused(paired: Paired) {
    let Paired { given, taken, .. } = paired;
    assert!(matches!(given, Err(Error::Pairing(PairingError::Failed))), "{given:?}");
    let error = taken.unwrap_err();
    assert!(error.to_string().contains("make a new code"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn on_one_network_a_code_gives_an_invitation_and_a_wrong_one_nothing() {
    if !namespace::enter("on_one_network_a_code_gives_an_invitation_and_a_wrong_one_nothing") {
        return;
    }
    for command in ["link set lo up", "link set lo multicast on", "route add 224.0.0.0/4 dev lo"] {
        namespace::ip(command);
    }
    check_paired(pair(None, |code| code));
    check_refused(pair(None, misheard));
}

/// A rendezvous node on loopback.
fn node(folder: &Path) -> (audiocloud_runtime::Handle, MeetingPoint) {
    let mut config = Config::in_folders(folder, folder);
    config.bind = (Ipv4Addr::LOCALHOST, 0).into();
    config.mdns = false;
    let tcp = Some((Ipv4Addr::LOCALHOST, 0).into());
    config.serve = Some(Serve { rendezvous: true, relay: true, tcp });
    let handle = Runtime::acquire_with(config).unwrap();
    let address = format!("127.0.0.1:{}", handle.port());
    let point = MeetingPoint { address, device: handle.device().0, tls_port: handle.tunnel_port() };
    (handle, point)
}

#[test]
fn a_meeting_point_passes_a_pairing_on() {
    let folder = tempfile::tempdir().unwrap();
    let (_node, point) = node(folder.path());
    let point = MeetingPoint { tls_port: None, ..point };
    check_paired(pair(Some(&point), |code| code));
    check_refused(pair(Some(&point), misheard));
}

#[test]
fn where_udp_is_dropped_a_pairing_goes_by_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let (_node, point) = node(folder.path());
    // Takes all datagrams, and answers none.
    let void = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let point = MeetingPoint { address: void.local_addr().unwrap().to_string(), ..point };
    check_paired(pair(Some(&point), |code| code));
    void.set_nonblocking(true).unwrap();
    assert!(void.recv_from(&mut [0; 1500]).is_ok(), "UDP was tried as well");
}

#[test]
fn a_meeting_point_that_is_not_there_or_another_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (node, point) = node(folder.path());
    let ben = Machine::new("Ben");
    let code = || Code::generate(7).unwrap();
    let another = MeetingPoint { device: [9; 32], ..point.clone() };
    let error =
        pairing::guest(&ben.config, Some(&another), code(), &Cancel::default()).unwrap_err().to_string();
    assert!(error.contains(&point.address) && error.contains("audiocloud node --rendezvous"), "{error}");
    drop(node);
    let error = pairing::guest(&ben.config, Some(&point), code(), &Cancel::default()).unwrap_err();
    assert!(matches!(error, Error::Meeting { .. }), "{error}");
}

#[test]
fn a_code_that_is_put_away_is_waited_for_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let (_node, point) = node(folder.path());
    let ada = Machine::new("Ada");
    let band = acts::create(&ada.config, "Band", &[]).unwrap();
    let invitation = acts::invite(&ada.config, &band.session, &InviteOptions::default()).unwrap();
    let cancel = Cancel::default();
    // Nobody comes: without this it would wait for ten minutes.
    let given = pairing::host(&ada.config, Some(&point), &invitation, &cancel, |_| cancel.cancel());
    assert!(matches!(given, Err(Error::Cancelled)), "{given:?}");
}
