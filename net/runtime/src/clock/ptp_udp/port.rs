//! The thread that has the sockets.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use audiocloud_clock::election::Quality;
use audiocloud_clock::estimate::ClockEstimate;
use audiocloud_clock::filter::{Filter, Measurement, MinimumDelay};
use audiocloud_clock::ptp::{self, Action, Exchange, Grandmaster, State, Unstamped};
use audiocloud_units::Nanos;
use timestamped_socket::interface::{InterfaceName, interfaces};
use timestamped_socket::socket::{InterfaceTimestampMode, Open, Socket, TimestampData, open_interface_udp4};
use tokio::sync::oneshot;

use super::stamps::Stamps;
use super::{PtpConfig, PtpError, PtpStatus, is_ours};
use crate::clock::HostClock;
use crate::status::{Shared, lock};

/// 224.0.1.129, *PTP-primary* (IEEE 1588-2019, C.3).
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 129);
const EVENT_PORT: u16 = 319;
const GENERAL_PORT: u16 = 320;
/// Longer messages than the ones we use have something appended, which is cut off.
const BYTES_MAX: usize = 256;
/// Clock classes that have, or lately had, a source of time beyond their crystal (IEEE 1588-2019, table 4).
const TRACEABLE: [u8; 4] = [6, 7, 13, 14];
/// After a socket has failed it is not asked again at once.
const PAUSE: Duration = Duration::from_millis(100);
/// The state is looked at so often, also when nothing comes.
const LOOK: Nanos = Nanos::from_millis(250);

type UdpSocket = Socket<SocketAddrV4, Open>;

/// Opens the sockets and starts the thread.
pub(super) fn start(
    shared: Arc<Shared>,
    config: PtpConfig,
    identity: [u8; 8],
) -> Result<(oneshot::Sender<()>, JoinHandle<()>), PtpError> {
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = mpsc::channel();
    let interface = config.interface.clone();
    let failed = |cause| PtpError::Socket { interface: interface.clone(), cause };
    let thread = std::thread::Builder::new().name("audiocloud-ptp".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let opened = match &runtime {
            Ok(runtime) => {
                let _inside = runtime.enter();
                Sockets::open(&config)
            }
            Err(error) => Err(PtpError::Socket {
                interface: config.interface.clone(),
                cause: std::io::Error::other(error.to_string()),
            }),
        };
        match (runtime, opened) {
            (Ok(runtime), Ok(sockets)) => {
                // Whoever asked is waiting for it.
                tell.send(Ok(())).ok();
                runtime.block_on(Port::new(shared, &config, identity, sockets).run(stopped));
            }
            (_, Err(error)) => tell.send(Err(error)).unwrap_or_default(),
            (Err(_), Ok(_)) => {}
        }
    });
    let thread = thread.map_err(failed)?;
    match told.recv() {
        Ok(Ok(())) => Ok((stop, thread)),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(failed(std::io::Error::other("its thread ended"))),
    }
}

/// Both ports of one interface.
struct Sockets {
    event: UdpSocket,
    general: UdpSocket,
    stamps: Stamps,
    /// Why stamps are not the interface's although it has some.
    trouble: Option<String>,
}

impl Sockets {
    fn open(config: &PtpConfig) -> Result<Self, PtpError> {
        let interface = named(&config.interface)?;
        let refused = |cause: std::io::Error| match cause.kind() {
            std::io::ErrorKind::PermissionDenied => {
                PtpError::NotPermitted { interface: config.interface.clone() }
            }
            _ => PtpError::Socket { interface: config.interface.clone(), cause },
        };
        let (event, stamps, trouble) = event_socket(interface).map_err(refused)?;
        let general = open_interface_udp4(interface, GENERAL_PORT, InterfaceTimestampMode::None, None)
            .map_err(refused)?;
        for socket in [&event, &general] {
            socket.join_multicast(SocketAddrV4::new(GROUP, 0), interface).map_err(refused)?;
        }
        Ok(Self { event, general, stamps, trouble })
    }
}

fn named(interface: &str) -> Result<InterfaceName, PtpError> {
    let there = interfaces().unwrap_or_default();
    let found = interface.parse::<InterfaceName>().ok().filter(|name| there.contains_key(name));
    found.ok_or_else(|| {
        let mut names: Vec<String> = there.keys().map(ToString::to_string).collect();
        names.sort();
        PtpError::NoInterface { interface: interface.to_owned(), there: names.join(", ") }
    })
}

/// With the interface's own stamps where it has them and lets us, else with the kernel's.
fn event_socket(interface: InterfaceName) -> std::io::Result<(UdpSocket, Stamps, Option<String>)> {
    let open = |mode| open_interface_udp4(interface, EVENT_PORT, mode, None);
    let mut trouble = None;
    if let Some(clock) = interface.lookup_phc() {
        let path = format!("/dev/ptp{clock}");
        let hardware = std::fs::File::open(&path)
            .and_then(|file| Ok((open(InterfaceTimestampMode::HardwarePTPAll)?, file)));
        match hardware {
            Ok((socket, file)) => return Ok((socket, Stamps::Hardware(file), None)),
            Err(error) => {
                trouble = Some(format!(
                    "the interface's own time stamps ({path}) cannot be had: {error}; they need read access to it and \
                     cap_net_admin. The kernel's are used"
                ));
            }
        }
    }
    Ok((open(InterfaceTimestampMode::SoftwareAll)?, Stamps::Kernel { ahead: None }, trouble))
}

struct Port {
    shared: Arc<Shared>,
    host_clock: HostClock,
    exchange: Exchange,
    sockets: Sockets,
    /// Of the grandmaster that is followed.
    follows: Option<Follows>,
    status: PtpStatus,
}

struct Follows {
    master: Grandmaster,
    filter: MinimumDelay,
}

enum Came {
    Event(usize, TimestampData),
    General(usize),
    Failed(std::io::Error),
    Due,
    End,
}

impl Port {
    fn new(shared: Arc<Shared>, config: &PtpConfig, identity: [u8; 8], sockets: Sockets) -> Self {
        let host_clock = shared.clocks.host_clock();
        let seed = identity.into_iter().fold(0, |seed, byte| seed << 8 | u64::from(byte));
        let exchange =
            Exchange::new(ptp::Config::network(identity, config.domain, config.role), seed, host_clock.now());
        let status = PtpStatus {
            interface: config.interface.clone(),
            domain: config.domain,
            identity,
            is_hardware: matches!(sockets.stamps, Stamps::Hardware(_)),
            trouble: sockets.trouble.clone(),
            ..PtpStatus::default()
        };
        Self { shared, host_clock, exchange, sockets, follows: None, status }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let (mut event, mut general) = ([0; BYTES_MAX], [0; BYTES_MAX]);
        loop {
            self.exchange.set_line(self.shared.clocks.leading_line());
            self.act().await;
            self.tell();
            let now = self.host_clock.now();
            let due = self.exchange.deadline().unwrap_or(now + LOOK).min(now + LOOK);
            let wait = Duration::from_nanos(u64::try_from((due - now).get()).unwrap_or(0));
            let came = tokio::select! {
                _ = &mut stopped => Came::End,
                got = self.sockets.event.recv(&mut event) => {
                    got.map_or_else(Came::Failed, |got| Came::Event(got.bytes_read, got.timestamp_data))
                }
                got = self.sockets.general.recv(&mut general) => {
                    got.map_or_else(Came::Failed, |got| Came::General(got.bytes_read))
                }
                () = tokio::time::sleep(wait) => Came::Due,
            };
            match came {
                Came::End => break,
                Came::Event(length, data) => self.take_event(&event[..length.min(BYTES_MAX)], &data),
                // An event message has no business here, for it has no time.
                Came::General(length) => {
                    let bytes = &general[..length.min(BYTES_MAX)];
                    if ptp::is_event(bytes) {
                        self.status.unstamped += 1;
                    } else {
                        self.exchange.receive(bytes, self.host_clock.now());
                    }
                }
                Came::Failed(error) => self.fail(&error).await,
                Came::Due => {}
            }
            self.exchange.handle_timeout(self.host_clock.now());
        }
        self.offer(Quality::Crystal, None);
    }

    fn take_event(&mut self, bytes: &[u8], data: &TimestampData) {
        match self.sockets.stamps.host(data) {
            Some(machine) => self.exchange.receive(bytes, self.host_clock.at(machine)),
            None if ptp::is_event(bytes) => self.status.unstamped += 1,
            None => self.exchange.receive(bytes, self.host_clock.now()),
        }
    }

    async fn act(&mut self) {
        while let Some(action) = self.exchange.poll_action() {
            match action {
                Action::Measured(measurement) => self.measure(measurement),
                Action::Send { message, stamp: None } => {
                    let to = SocketAddrV4::new(GROUP, GENERAL_PORT);
                    let sent = self.sockets.general.send_to(&message, to).await;
                    if let Err(error) = sent {
                        self.fail(&error).await;
                    }
                }
                Action::Send { message, stamp: Some(unstamped) } => {
                    let to = SocketAddrV4::new(GROUP, EVENT_PORT);
                    match self.sockets.event.send_to(&message, to).await {
                        Ok(data) => self.sent(unstamped, &data),
                        Err(error) => self.fail(&error).await,
                    }
                }
            }
        }
    }

    fn sent(&mut self, unstamped: Unstamped, data: &TimestampData) {
        match self.sockets.stamps.host(data) {
            Some(machine) => {
                self.status.trouble.clone_from(&self.sockets.trouble);
                self.exchange.sent(unstamped, self.host_clock.at(machine));
            }
            None => self.status.unstamped += 1,
        }
    }

    async fn fail(&mut self, error: &std::io::Error) {
        let text = format!("{error}; is the interface up, and has it an IPv4 address?");
        self.status.trouble = Some(text);
        tokio::time::sleep(PAUSE).await;
    }

    fn measure(&mut self, measurement: Measurement) {
        let State::Following(master) = self.exchange.state() else { return };
        if self.follows.as_ref().is_none_or(|follows| follows.master.identity != master.identity) {
            self.follows = Some(Follows { master, filter: MinimumDelay::local() });
        }
        let Some(follows) = &mut self.follows else { return };
        let Some(estimate) = follows.filter.measure(measurement) else { return };
        // What it said of UTC when it was found stays: shared time knows no leap seconds.
        let offset = estimate.offset - follows.master.ahead_of_utc;
        let estimate = ClockEstimate { offset, ..estimate };
        self.status.estimate = Some(estimate);
        self.status.round_trip = follows.filter.round_trip();
        let is_traceable = TRACEABLE.contains(&follows.master.class);
        if !is_ours(follows.master.identity) {
            let quality = if is_traceable { Quality::Traceable } else { Quality::Network };
            self.offer(quality, Some(estimate));
        }
    }

    fn offer(&self, quality: Quality, estimate: Option<ClockEstimate>) {
        self.shared.clocks.offer(quality, estimate);
    }

    /// Shows how it stands; a master that is gone is offered no longer.
    fn tell(&mut self) {
        let state = self.exchange.state();
        if !matches!(state, State::Following(_)) && self.follows.take().is_some() {
            (self.status.estimate, self.status.round_trip) = (None, None);
            self.offer(Quality::Crystal, None);
        }
        let is_news = std::mem::discriminant(&self.status.state) != std::mem::discriminant(&state);
        (self.status.state, self.status.counters) = (state, self.exchange.counters());
        if is_news {
            let interface = &self.status.interface;
            self.shared.journal.note(&format!("PTP on {interface}: {}", self.status.words()));
        }
        *lock(&self.shared.ptp) = Some(self.status.clone());
    }
}
