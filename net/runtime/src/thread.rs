//! The network thread: where it begins, what it waits for, and how it ends.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audiocloud_rt::wake::{WakeReceiver, Waker, wake_pair};
use audiocloud_traversal::probe::ProbeSecret;
use audiocloud_traversal::server::{Limits, Relay, Rendezvous};
use audiocloud_wire::id::InstanceId;
use audiocloud_wire::message::{Goodbye, GoodbyeReason, Message, Text};
use quinn::Runtime as _;
use ring::rand::SecureRandom;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};

use crate::candidates::Candidates;
use crate::clock::Clocks;
use crate::command::Command;
use crate::connection::{self, Context};
use crate::connection_ids::ConnectionIds;
use crate::control::{self, Announcement};
use crate::discovery::{self, Discovered, DiscoveryConfig};
use crate::hello::{self, Trust};
use crate::hub::{CloseCode, Hub};
use crate::identity::Identity;
use crate::journal::Journal;
use crate::meeting::{self, Meeting, Server};
use crate::quic_runtime::QuicRuntime;
use crate::rounds::{self, Ticks};
use crate::sessions::live::{Live, LiveThread, Order, Own};
use crate::socket::{PathSocket, Paths};
use crate::status::Shared;
use crate::{Config, Error, MeetingPoint, tls, transport};

/// Of SCHED_FIFO: below the audio threads of common hosts, above everything ordinary.
pub(crate) const PRIORITY: u8 = 60;
/// Of the socket, each way, of which the kernel counts half as its own: a tenth of a second of 64 stereo streams of 24
/// bits. It gives less where the system's limit is lower.
const BUFFER_BYTES: usize = 8 << 20;
/// Hints that may wait.
const HINTS_MAX: usize = 256;
/// First packets of strangers that may wait for the thread.
const INCOMING_MAX: usize = 64;
/// How long the last words have to leave.
const GOODBYE: Duration = Duration::from_millis(10);
const DRAIN: Duration = Duration::from_millis(30);
/// The whole end, threads of others included.
const SHUTDOWN: Duration = Duration::from_millis(280);

/// A running network thread.
pub(crate) struct NetworkThread {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) waker: Waker,
    stop: Option<oneshot::Sender<Instant>>,
    sessions: LiveThread,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the thread takes along.
struct Setup {
    config: Config,
    identity: Identity,
    shared: Arc<Shared>,
    socket: UdpSocket,
    ids: ConnectionIds,
    rendezvous: Option<Rendezvous>,
    /// Of tunnels.
    listener: Option<TcpListener>,
    wakes: WakeReceiver,
    commands: mpsc::UnboundedReceiver<Command>,
    live: Live,
    ordered: mpsc::UnboundedReceiver<Order>,
    /// To its own queue: for the control socket.
    orders: mpsc::UnboundedSender<Command>,
    /// Of this thread: for what plays chains.
    waker: Waker,
    stop: oneshot::Receiver<Instant>,
}

impl NetworkThread {
    /// Starts it; everything that can fail has been done when this returns.
    pub(crate) fn start(config: Config) -> Result<Self, Error> {
        let identity = Identity::load_or_create(&config.config_dir)?;
        let socket = bind(config.bind)?;
        let no_random =
            |_| Error::System { action: "draw random numbers", source: io::ErrorKind::Unsupported.into() };
        let mut instance = InstanceId([0; 16]);
        ring::rand::SystemRandom::new().fill(&mut instance.0).map_err(no_random)?;
        let ids = ConnectionIds::new().map_err(no_random)?;
        let (paths, rendezvous) = serving(&config).map_err(no_random)?;
        let listener = config.serve.and_then(|serve| serve.tcp).map(listen).transpose()?;
        let tunnel_port = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let (waker, wakes) =
            wake_pair().map_err(|source| Error::System { action: "make an event descriptor", source })?;
        let port = socket.local_addr().map_or(0, |address| address.port());
        let shared = Arc::new(Shared {
            device: identity.device(),
            user: identity.user(),
            instance,
            name: config.name.clone(),
            port: port.into(),
            tunnel_port: tunnel_port.map(|address| address.port()),
            meeting: Mutex::default(),
            journal: Journal::new(),
            counters: crate::counters::RuntimeCounters::default(),
            paths: Arc::new(paths),
            streams: Mutex::default(),
            peers: Mutex::default(),
            sessions: Mutex::default(),
            strangers: Mutex::default(),
            inputs: Mutex::default(),
            patch_refusals: Mutex::default(),
            clocks: Clocks::new(&config, identity.device(), instance),
            ptp: Mutex::default(),
            remotes: Mutex::default(),
            served: Mutex::default(),
            nodes: Mutex::default(),
            chains: Mutex::default(),
            instances: Mutex::default(),
            publications: Mutex::default(),
            subscriptions: Mutex::default(),
        });
        let (commands, queue) = mpsc::unbounded_channel();
        let (mut sessions, ordered) = LiveThread::start(&config, &identity, &shared)?;
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let setup = Setup {
            config,
            identity,
            shared: Arc::clone(&shared),
            socket,
            ids,
            rendezvous,
            listener,
            wakes,
            commands: queue,
            live: sessions.live.clone(),
            ordered,
            orders: commands.clone(),
            waker: waker.clone(),
            stop: stopped,
        };
        let thread = std::thread::Builder::new()
            .name("audiocloud-net".to_owned())
            .spawn(move || run(setup, &ready))
            .map_err(|source| Error::System { action: "start the network thread", source })?;
        let dead =
            || Error::System { action: "start the network thread", source: io::ErrorKind::Other.into() };
        match started.recv() {
            Ok(Ok(())) => {
                Ok(Self { shared, commands, waker, stop: Some(stop), sessions, thread: Some(thread) })
            }
            Ok(Err(error)) => {
                sessions.join();
                thread.join().map_err(|_| dead())?;
                Err(error)
            }
            Err(_) => Err(dead()),
        }
    }

    /// Ends it and waits until it has.
    pub(crate) fn stop(&mut self) {
        let deadline = Instant::now() + SHUTDOWN;
        if let Some(stop) = self.stop.take() {
            // When the thread is gone already there is nobody to tell.
            stop.send(deadline).ok();
        }
        self.sessions.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(target: "audiocloud::net", "the network thread has panicked; this is a mistake of ours");
        }
        self.sessions.join();
    }
}

/// What the socket shares, and what this machine does for others, each with random numbers of its own.
fn serving(config: &Config) -> Result<(Paths, Option<Rendezvous>), ring::error::Unspecified> {
    let random = || {
        let mut bytes = [0; 32];
        ring::rand::SystemRandom::new().fill(&mut bytes).map(|()| bytes)
    };
    let serve = config.serve.unwrap_or_default();
    let limits = Limits::default();
    let relay = serve.relay.then(|| Relay::new(limits));
    let rendezvous =
        if serve.rendezvous { Some(Rendezvous::new(limits, random()?, serve.relay)) } else { None };
    Ok((Paths::new(ProbeSecret::from_bytes(random()?), relay), rendezvous))
}

fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(address);
    let listener = listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    listener.map_err(|source| Error::BindTcp { address, source })
}

/// The port, on all addresses: on a machine without IPv6, of IPv4.
fn bind(address: SocketAddr) -> Result<UdpSocket, Error> {
    let opened = UdpSocket::bind(address).or_else(|error| {
        if address.is_ipv6() && address.ip().is_unspecified() {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, address.port()))
        } else {
            Err(error)
        }
    });
    let socket = opened.map_err(|source| Error::Bind { address, source })?;
    if let Err(error) = enlarge_buffers(&socket) {
        tracing::debug!(target: "audiocloud::net", %error, "the socket's buffers stay as they are");
    }
    Ok(socket)
}

/// The kernel keeps what arrives while the thread is held up; the system's limits (`net.core.rmem_max`) apply.
fn enlarge_buffers(socket: &UdpSocket) -> io::Result<()> {
    let state = quinn::udp::UdpSocketState::new(socket.into())?;
    state.set_recv_buffer_size(socket.into(), BUFFER_BYTES)?;
    state.set_send_buffer_size(socket.into(), BUFFER_BYTES)
}

fn run(setup: Setup, ready: &std::sync::mpsc::Sender<Result<(), Error>>) {
    raise_priority();
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Look for packets and wakes often, even when tasks keep each other busy.
        .event_interval(7)
        // One queue of tasks, ours and QUIC's: between two, every packet would cost one more look at the events.
        .build_local(LocalOptions::default());
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(source) => {
            ready.send(Err(Error::System { action: "start an event loop", source })).ok();
            return;
        }
    };
    runtime.block_on(live(setup, ready));
    // Name look-ups may still run: they are waited for, but not forever.
    runtime.shutdown_timeout(Duration::from_millis(100));
}

fn raise_priority() {
    match audiocloud_rt::priority::realtime(PRIORITY) {
        Ok(()) => tracing::debug!(target: "audiocloud::net", PRIORITY, "real-time scheduling"),
        Err(error) => tracing::debug!(target: "audiocloud::net", %error, "no real-time scheduling"),
    }
}

fn open(
    setup_config: &Config,
    identity: &Identity,
    shared: &Shared,
    socket: UdpSocket,
    ids: ConnectionIds,
) -> Result<(quinn::Endpoint, Arc<PathSocket>), Error> {
    let runtime = Arc::new(QuicRuntime);
    let wrap = |source| Error::Bind { address: setup_config.bind, source };
    let inner = runtime.wrap_udp_socket(socket).map_err(wrap)?;
    let socket = Arc::new(PathSocket::new(inner, Arc::clone(&shared.paths), ids).map_err(wrap)?);
    let is_rendezvous = setup_config.serve.is_some_and(|serve| serve.rendezvous);
    let endpoint = quinn::Endpoint::new_with_abstract_socket(
        transport::endpoint(ids)?,
        Some(tls::server_config(identity, INCOMING_MAX, is_rendezvous)?),
        Arc::clone(&socket) as Arc<dyn quinn::AsyncUdpSocket>,
        runtime,
    );
    Ok((endpoint.map_err(wrap)?, socket))
}

async fn live(setup: Setup, ready: &std::sync::mpsc::Sender<Result<(), Error>>) {
    let Setup {
        config,
        identity,
        shared,
        socket,
        ids,
        rendezvous,
        listener,
        wakes,
        commands,
        live: sessions,
        ordered,
        orders,
        waker,
        stop,
    } = setup;
    let bound = socket.local_addr().unwrap_or(config.bind);
    let (endpoint, socket) = match open(&config, &identity, &shared, socket, ids) {
        Ok(opened) => opened,
        Err(error) => {
            ready.send(Err(error)).ok();
            return;
        }
    };
    let hello = hello::own(&identity, &config.name, shared.instance);
    let trust = Trust::new(hello.clone(), &config.peers);
    let candidates = Candidates::new(shared.instance, &config.peers, Instant::now());
    let secret = identity.discovery_secret();
    let context = Rc::new(Context {
        hub: RefCell::new(Hub::new(
            Arc::clone(&shared),
            hello,
            candidates,
            sessions,
            (orders.clone(), waker),
        )),
        endpoint: endpoint.clone(),
        identity,
        trust,
        discovery: RefCell::new(None),
        handshakes: Cell::new(0),
        ticks: Ticks::new(),
        socket,
        meeting: Meeting::new(Arc::clone(&shared.paths), &secret, &config.meeting),
        server: rendezvous.map(|rendezvous| Rc::new(Server::new(Arc::clone(&shared.paths), rendezvous))),
    });
    let (hints, found) = mpsc::channel(HINTS_MAX);
    // Peers are answered before anybody is told that we are here.
    let mut tasks = vec![
        tokio::task::spawn_local(connection::accept_peers(Rc::clone(&context))),
        tokio::task::spawn_local(connection::dial_candidates(Rc::clone(&context))),
        tokio::task::spawn_local(take_hints(Rc::clone(&context), found)),
        tokio::task::spawn_local(take_commands(Rc::clone(&context), commands)),
        tokio::task::spawn_local(take_orders(Rc::clone(&context), ordered)),
        tokio::task::spawn_local(rounds::pump(Rc::clone(&context), wakes)),
        tokio::task::spawn_local(rounds::tick(Rc::clone(&context))),
        tokio::task::spawn_local(rounds::wake(Rc::clone(&context))),
        tokio::task::spawn_local(keep_time(Rc::clone(&context))),
        tokio::task::spawn_local(meeting::client::watch_addresses(Rc::clone(&context), bound)),
        tokio::task::spawn_local(meeting::client::keep_ways(Rc::clone(&context))),
    ];
    if let Some(server) = &context.server {
        tasks.push(tokio::task::spawn_local(meeting::server::keep(Rc::clone(server))));
    }
    if let Some(listener) = listener {
        match meeting::tunnel::serve(listener, &context.identity, Arc::clone(&shared.paths)) {
            Ok(serving) => tasks.push(tokio::task::spawn_local(serving)),
            Err(error) => {
                ready.send(Err(error)).ok();
                return;
            }
        }
    }
    context.meeting.set_places(&context, &[]);
    let control = serve_control(&config.runtime_dir, &shared, bound, orders, hints.clone());
    let found_by = discovery::start(discovery_config(&config, &shared, bound, secret), hints);
    for problem in found_by.problems() {
        shared.journal.note(problem);
    }
    *context.discovery.borrow_mut() = Some(found_by);
    tracing::info!(target: "audiocloud::net", %bound, device = %shared.device.short(), "network started");
    ready.send(Ok(())).ok();
    let deadline = stop.await.unwrap_or_else(|_| Instant::now() + SHUTDOWN);
    drop(control);
    say_goodbye(&context, &endpoint).await;
    if let Some(discovery) = context.discovery.borrow_mut().take()
        && !discovery.shutdown(deadline)
    {
        tracing::warn!(target: "audiocloud::net", "discovery did not end in time");
    }
    context.meeting.end();
    for task in tasks {
        task.abort();
    }
    tracing::info!(target: "audiocloud::net", "network stopped");
}

fn serve_control(
    runtime_dir: &Path,
    shared: &Arc<Shared>,
    bound: SocketAddr,
    orders: mpsc::UnboundedSender<Command>,
    hints: mpsc::Sender<Discovered>,
) -> Option<control::Control> {
    let me = Announcement::new(shared.instance, shared.device, bound);
    let status = Arc::clone(shared);
    let ordered = Arc::clone(shared);
    let orders = move |order| match order {
        control::Order::Patch(control::Patch { device, input, stream, on }) => {
            // After the runtime's end there is nobody to be told.
            orders.send(Command::Patch { device, input, stream, on }).ok();
            Ok(())
        }
        control::Order::Time(order) => ordered.clocks.order(&order),
        control::Order::Propose(control::Proposal { chain, edit }) => {
            ordered.propose(&orders, chain, edit.to_string().into_bytes())
        }
    };
    let served = control::serve(runtime_dir, me, Arc::new(move || status.to_json()), Arc::new(orders), hints);
    served.inspect_err(|error| shared.journal.note(&error.to_string())).ok()
}

fn discovery_config(
    config: &Config,
    shared: &Shared,
    bound: SocketAddr,
    secret: [u8; 32],
) -> DiscoveryConfig {
    DiscoveryConfig {
        instance: shared.instance,
        device: shared.device,
        ip: bound.ip(),
        port: shared.port.load(Ordering::Relaxed),
        secret,
        mdns: config.mdns,
        interfaces: config.interfaces.clone(),
        runtime_dir: config.runtime_dir.clone(),
        config_dir: config.config_dir.clone(),
    }
}

async fn say_goodbye(context: &Rc<Context>, endpoint: &quinn::Endpoint) {
    let goodbye = Goodbye { reason: GoodbyeReason::Shutdown, text: Text::new("audiocloud ends here") };
    let has_peers = context.hub.borrow().connections() > 0;
    context.hub.borrow_mut().say_goodbye(&Message::Goodbye(goodbye));
    if has_peers {
        tokio::time::sleep(GOODBYE).await;
    }
    endpoint.close(CloseCode::Goodbye.code(), b"goodbye");
    // Connections linger for three timeouts after they are closed; the closing itself leaves at once.
    tokio::time::timeout(DRAIN, endpoint.wait_idle()).await.ok();
}

async fn take_hints(context: Rc<Context>, mut found: mpsc::Receiver<Discovered>) {
    while let Some(hint) = found.recv().await {
        let mut hub = context.hub.borrow_mut();
        if hub.candidates.discovered(hint, Instant::now()) {
            hub.dialler.notify_one();
        }
    }
}

async fn take_commands(context: Rc<Context>, mut commands: mpsc::UnboundedReceiver<Command>) {
    while let Some(command) = commands.recv().await {
        context.hub.borrow_mut().handle_command(command);
    }
}

/// Measures shared time, and says what was edited of its beats.
async fn keep_time(context: Rc<Context>) {
    let news = Arc::clone(&context.hub.borrow().shared.clocks.news);
    loop {
        let idle = context.hub.borrow_mut().keep_time();
        let due = async {
            match idle {
                Some(idle) => tokio::time::sleep(idle).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = news.notified() => {}
        }
    }
}

/// Does what the thread of the sessions orders.
async fn take_orders(context: Rc<Context>, mut ordered: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = ordered.recv().await {
        if let Order::Sessions(own) = &order {
            context.meeting.set_places(&context, &meeting_places(own));
        }
        context.hub.borrow_mut().handle_order(order);
        // However much there is to say, media has its turn after each message.
        tokio::task::yield_now().await;
    }
}

/// Where the members of these sessions meet. Who is out of one meets nobody there.
fn meeting_places(own: &[Own]) -> Vec<meeting::Place> {
    let places = own.iter().filter(|own| own.grant.is_ok()).flat_map(|own| {
        own.meeting.iter().map(|at| meeting::Place {
            point: MeetingPoint { address: at.address.to_string(), device: at.device, tls_port: at.tls_port },
            session: Some(own.session),
        })
    });
    places.collect()
}
