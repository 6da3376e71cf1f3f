//! This runtime at the rendezvous nodes of its sessions: a connection to each, kept as long as there is somebody to meet.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audiocloud_traversal::meeting::{self, Introduced, Leave, Message, Register, Room};
use audiocloud_traversal::ways::Carrier;
use audiocloud_wire::id::{DeviceId, SessionId};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

use super::own_addresses::own_addresses;
use super::{Place, by_udp_or_tcp, tunnel};
use crate::address_table;
use crate::backoff;
use crate::config::MeetingPoint;
use crate::connection::Context;
use crate::discovery::{Discovered, Source};
use crate::socket::Paths;
use crate::tls;

/// The most nodes that are visited.
const NODES_MAX: usize = 16;
/// The room of one user's own machines.
const OWN_ROOM_CONTEXT: &str = "audiocloud 2026 meeting: room of a user's own machines, v1";
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often one who came by TCP looks whether UDP gets through by now. A look is the start of a handshake, which QUIC
/// repeats once in this time: a packet of 1,200 bytes each second.
const UDP_AGAIN: Duration = Duration::from_secs(2);
/// How long it stays there too when it does.
const OVERLAP: Duration = Duration::from_secs(2);
/// Registrations are repeated at least so often.
const KEEP: Duration = Duration::from_secs(10);
/// How often our own addresses are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Meeting {
    paths: Arc<Paths>,
    own_room: Room,
    /// Where this user's own machines meet.
    own: Vec<MeetingPoint>,
    nodes: RefCell<Vec<Rc<Node>>>,
    addresses: RefCell<Vec<SocketAddr>>,
}

/// A node that we visit, or visited: its number is its place, for as long as the runtime runs.
#[derive(Debug)]
struct Node {
    number: u16,
    point: MeetingPoint,
    rooms: RefCell<BTreeMap<Room, Option<SessionId>>>,
    /// Rung when the rooms, or our addresses, have changed.
    changed: Notify,
    task: RefCell<Option<JoinHandle<()>>>,
    /// It wants to hear from us at least so often.
    keep: Cell<Duration>,
    /// For people.
    state: RefCell<String>,
}

/// How it stands with a node, for the status.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MeetingStatus {
    /// The node's address, as given.
    pub address: String,
    /// In words.
    pub state: String,
}

impl Meeting {
    /// `discovery_secret` is the user's: it names the room of the user's own machines, who meet at `own`.
    pub(crate) fn new(paths: Arc<Paths>, discovery_secret: &[u8; 32], own: &[MeetingPoint]) -> Self {
        let own_room = Room(blake3::derive_key(OWN_ROOM_CONTEXT, discovery_secret));
        Self { paths, own_room, own: own.to_vec(), nodes: RefCell::default(), addresses: RefCell::default() }
    }

    /// Meets the members of sessions at all these, and no others any more; and this user's machines where the
    /// configuration says.
    pub(crate) fn set_places(&self, context: &Rc<Context>, of_sessions: &[Place]) {
        let own = self.own.iter().map(|point| Place { point: point.clone(), session: None });
        let places: Vec<_> = own.chain(of_sessions.iter().cloned()).collect();
        for place in &places {
            if place.point.device != context.identity.device().0 && self.node(&place.point).is_none() {
                self.add_node(context, &place.point, &places);
            }
        }
        for node in self.nodes.borrow().iter() {
            let wanted = places.iter().filter(|place| place.point == node.point);
            let wanted = wanted.map(|place| (self.room_of(place.session), place.session));
            let wanted: BTreeMap<_, _> = wanted.collect();
            if *node.rooms.borrow() == wanted {
                continue;
            }
            let is_over = wanted.is_empty();
            *node.rooms.borrow_mut() = wanted;
            node.changed.notify_one();
            let task = node.task.borrow_mut().take();
            *node.task.borrow_mut() = match task {
                Some(task) if is_over => {
                    task.abort();
                    self.leave(node, Carrier::Udp);
                    self.leave(node, Carrier::Tunnel);
                    *node.state.borrow_mut() = String::new();
                    None
                }
                None if !is_over => {
                    let visiting = visit(Rc::clone(context), Rc::clone(node));
                    Some(tokio::task::spawn_local(visiting))
                }
                task => task,
            };
        }
    }

    /// In the place of one that is wanted no longer, or in one of its own.
    fn add_node(&self, context: &Context, point: &MeetingPoint, wanted: &[Place]) {
        let mut nodes = self.nodes.borrow_mut();
        let is_wanted = |node: &Node| wanted.iter().any(|place| place.point == node.point);
        let free = nodes.iter().position(|node| node.task.borrow().is_none() && !is_wanted(node));
        let place = free.unwrap_or(nodes.len());
        if place >= NODES_MAX {
            let line = format!("{} is not visited: {NODES_MAX} meeting points are", point.address);
            context.hub.borrow().shared.journal.note(&line);
            return;
        }
        let node = Rc::new(Node {
            number: u16::try_from(place).unwrap_or(u16::MAX),
            point: point.clone(),
            rooms: RefCell::default(),
            changed: Notify::new(),
            task: RefCell::default(),
            keep: Cell::new(KEEP),
            state: RefCell::default(),
        });
        match nodes.get_mut(place) {
            Some(unused) => *unused = node,
            None => nodes.push(node),
        }
    }

    /// Visits nobody any more.
    pub(crate) fn end(&self) {
        for node in self.nodes.borrow().iter() {
            if let Some(task) = node.task.borrow_mut().take() {
                task.abort();
            }
        }
    }

    fn room_of(&self, session: Option<SessionId>) -> Room {
        session.map_or(self.own_room, |session| Room::of_session(&session.0))
    }

    fn node(&self, point: &MeetingPoint) -> Option<Rc<Node>> {
        self.nodes.borrow().iter().find(|node| node.point == *point).cloned()
    }

    /// Forgets what a node said by a carrier.
    fn leave(&self, node: &Node, carrier: Carrier) {
        let mut peers = self.paths.peers();
        peers.left((node.number, carrier), None, &mut self.paths.table(), Instant::now());
        peers.set_node(node.number, carrier, None);
    }

    /// The session of which we met a peer, by its rooms.
    fn session_of(&self, rooms: &[Room]) -> Option<SessionId> {
        let nodes = self.nodes.borrow();
        let mut sessions = nodes.iter().flat_map(|node| {
            let known = node.rooms.borrow();
            rooms.iter().filter_map(|room| known.get(room).copied().flatten()).collect::<Vec<_>>()
        });
        sessions.next()
    }

    /// For the status.
    pub(crate) fn status(&self) -> Vec<MeetingStatus> {
        let nodes = self.nodes.borrow();
        let visited = nodes.iter().filter(|node| !node.rooms.borrow().is_empty());
        let status = |node: &Rc<Node>| MeetingStatus {
            address: node.point.address.clone(),
            state: node.state.borrow().clone(),
        };
        visited.map(status).collect()
    }
}

// ---- Visiting a node.

/// How a node was reached.
struct Reached {
    connection: Connection,
    carrier: Carrier,
    /// The node's, real or a tunnel's.
    address: SocketAddr,
    /// Ends with this.
    _held: Held,
}

/// What a connection needs beneath it.
struct Held {
    paths: Arc<Paths>,
    pinned: SocketAddr,
    tunnel: Option<AbortHandle>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.paths.table().unpin(self.pinned);
        if let Some(tunnel) = &self.tunnel {
            tunnel.abort();
        }
    }
}

/// Keeps a connection to a node, forever.
async fn visit(context: Rc<Context>, node: Rc<Node>) {
    let mut failures = 0;
    let mut next = None;
    loop {
        let reached = match next.take() {
            Some(reached) => Ok(reached),
            None => reach(&context, &node, failures).await,
        };
        let ended = match reached {
            Ok(reached) => {
                failures = 0;
                let carrier = reached.carrier;
                match converse(&context, &node, &reached).await {
                    Ok(better) => {
                        next = Some(better);
                        let (context, node) = (Rc::clone(&context), Rc::clone(&node));
                        tokio::task::spawn_local(async move {
                            // Packets still come by it until the others have heard of the new one.
                            tokio::time::sleep(OVERLAP).await;
                            context.meeting.leave(&node, carrier);
                            drop(reached);
                        });
                        continue;
                    }
                    Err(error) => {
                        context.meeting.leave(&node, carrier);
                        error
                    }
                }
            }
            Err(error) => error.to_string(),
        };
        let line = format!("the meeting point {} is not reached: {ended}", node.point.address);
        if failures == 0 {
            context.hub.borrow().shared.journal.note(&line);
        }
        *node.state.borrow_mut() = line;
        failures += 1;
        let random = context.hub.borrow().random();
        if timeout(backoff::wait(failures, random), node.changed.notified()).await.is_ok() {
            // Another network, perhaps one again.
            failures = 1;
        }
    }
}

/// By UDP, or when that takes long, and the node has a TCP port, by that.
async fn reach(context: &Rc<Context>, node: &Node, attempt: u32) -> io::Result<Reached> {
    let by_udp = reach_by_udp(context, node, attempt);
    let Some(port) = node.point.tls_port else { return by_udp.await };
    by_udp_or_tcp(by_udp, reach_by_tcp(context, node, port, attempt)).await
}

/// As [`reach_by_udp`], until it gets through.
async fn reach_by_udp_again(context: &Rc<Context>, node: &Node) -> Reached {
    let mut looks = tokio::time::interval(UDP_AGAIN);
    let mut attempt = 0;
    loop {
        looks.tick().await;
        // What is dropped is not waited for: the next look may find it let through.
        if let Ok(Ok(reached)) = timeout(UDP_AGAIN, reach_by_udp(context, node, attempt)).await {
            return reached;
        }
        attempt += 1;
    }
}

async fn reach_by_udp(context: &Rc<Context>, node: &Node, attempt: u32) -> io::Result<Reached> {
    let address = address_table::canonical(resolve(&node.point.address, attempt).await?);
    dial(context, node, address, Carrier::Udp, None).await
}

async fn reach_by_tcp(context: &Rc<Context>, node: &Node, port: u16, attempt: u32) -> io::Result<Reached> {
    let address = SocketAddr::new(resolve(&node.point.address, attempt).await?.ip(), port);
    let device = DeviceId(node.point.device);
    let config = tls::tunnel_client_config(&context.identity, device).map_err(io::Error::other)?;
    let tunnel = tunnel::open(address, config, &context.meeting.paths).await?;
    let address = tunnel.address();
    let carrying = tokio::task::spawn_local(async move {
        if let Err(error) = tunnel.carry().await {
            tracing::debug!(target: "audiocloud::tunnel", %error, "the tunnel ended");
        }
    });
    dial(context, node, address, Carrier::Tunnel, Some(carrying.abort_handle())).await
}

async fn resolve(name: &str, attempt: u32) -> io::Result<SocketAddr> {
    let found: Vec<_> = tokio::net::lookup_host(name).await?.collect();
    let attempt = usize::try_from(attempt).unwrap_or(0);
    let next = attempt.checked_rem(found.len()).and_then(|index| found.get(index).copied());
    next.ok_or_else(|| io::Error::other("the name has no address"))
}

async fn dial(
    context: &Rc<Context>,
    node: &Node,
    address: SocketAddr,
    carrier: Carrier,
    tunnel: Option<AbortHandle>,
) -> io::Result<Reached> {
    let paths = Arc::clone(&context.meeting.paths);
    let config = tls::meeting_client_config(&context.identity, DeviceId(node.point.device));
    let virtual_address = paths.table().pin(address);
    let held = Held { paths, pinned: address, tunnel };
    let config = config.map_err(io::Error::other)?;
    let connecting = context.endpoint.connect_with(config, virtual_address, tls::SERVER_NAME);
    let connection = timeout(HANDSHAKE_TIMEOUT, connecting.map_err(io::Error::other)?).await??;
    Ok(Reached { connection, carrier, address, _held: held })
}

// ---- Being there.

/// Registers, and takes introductions, until the connection ends: why; or until the node is reached in a better way.
async fn converse(context: &Rc<Context>, node: &Rc<Node>, reached: &Reached) -> Result<Reached, String> {
    let Reached { connection, carrier, address, .. } = reached;
    let (mut send, receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
    context.meeting.paths.peers().set_node(node.number, *carrier, Some(*address));
    let reading = read(context, node, *carrier, receive);
    let writing = stay(context, node, *carrier, &mut send);
    let improving = async {
        match carrier {
            Carrier::Udp => std::future::pending().await,
            Carrier::Tunnel => reach_by_udp_again(context, node).await,
        }
    };
    tokio::select! {
        ended = reading => Err(ended),
        ended = writing => Err(ended),
        better = improving => Ok(better),
    }
}

/// Registers in every room, again and again.
async fn stay(context: &Rc<Context>, node: &Node, carrier: Carrier, send: &mut SendStream) -> String {
    let mut registered: BTreeMap<Room, Option<SessionId>> = BTreeMap::new();
    loop {
        let rooms = node.rooms.borrow().clone();
        let mut frames = Vec::new();
        for room in registered.keys().filter(|room| !rooms.contains_key(room)) {
            frames.extend(Message::Leave(Leave { room: *room }).to_frame());
            let paths = &context.meeting.paths;
            let mut peers = paths.peers();
            peers.left((node.number, carrier), Some(*room), &mut paths.table(), Instant::now());
        }
        for room in rooms.keys() {
            let register = Register {
                room: *room,
                instance: context.trust.own.instance,
                addresses: context.meeting.addresses.borrow().clone(),
                probe_key: context.meeting.paths.peers().key(),
            };
            frames.extend(Message::Register(register).to_frame());
        }
        registered = rooms;
        if let Err(error) = send.write_all(&frames).await {
            return error.to_string();
        }
        timeout(node.keep.get(), node.changed.notified()).await.ok();
    }
}

/// Takes what the node says, until it says nothing more.
async fn read(context: &Rc<Context>, node: &Node, carrier: Carrier, mut receive: RecvStream) -> String {
    loop {
        match read_message(&mut receive).await {
            Ok(message) => handle(context, node, carrier, message),
            Err(error) => return error,
        }
        // Each introduction takes a tenth of a millisecond of key agreement: media goes before the next.
        tokio::task::yield_now().await;
    }
}

/// One message of either side.
pub(super) async fn read_body(receive: &mut RecvStream) -> Result<Vec<u8>, String> {
    let mut prefix = [0; meeting::LENGTH_BYTES];
    receive.read_exact(&mut prefix).await.map_err(|error| error.to_string())?;
    let mut body = vec![0; meeting::frame_length(prefix).map_err(|error| error.to_string())?];
    receive.read_exact(&mut body).await.map_err(|error| error.to_string())?;
    Ok(body)
}

async fn read_message(receive: &mut RecvStream) -> Result<Message, String> {
    let body = read_body(receive).await?;
    Message::decode(&body).map_err(|error| error.to_string())
}

fn handle(context: &Rc<Context>, node: &Node, carrier: Carrier, message: Message) {
    let meeting = &context.meeting;
    match message {
        Message::Registered(registered) => {
            node.keep.set(Duration::from_millis(registered.keep_ms.into()).clamp(KEEP / 10, KEEP));
            let by = match carrier {
                Carrier::Udp => "",
                Carrier::Tunnel => " by TLS over TCP, for UDP does not get through; that takes longer",
            };
            let line = match registered.reflexive {
                Some(address) => format!("reached{by}; seen there as {address}"),
                None => format!("reached{by}"),
            };
            let changed = node.state.replace(line.clone()) != line;
            if changed {
                let line = format!("the meeting point {}: {line}", node.point.address);
                context.hub.borrow().shared.journal.note(&line);
            }
        }
        Message::Introduced(introduced) => introduce(context, node, carrier, &introduced),
        Message::Gone(gone) => {
            let mut peers = meeting.paths.peers();
            let mut table = meeting.paths.table();
            peers.gone((node.number, carrier), &gone, &mut table, Instant::now());
        }
        Message::Refused(refused) => {
            let line = format!("the meeting point {} refuses: {}", node.point.address, refused.text);
            context.hub.borrow().shared.journal.refused(&line);
            *node.state.borrow_mut() = line;
        }
        // A node does not say these; and what a newer one says is not for us.
        _ => context.hub.borrow().shared.counters.unknown_messages.add(1),
    }
}

fn introduce(context: &Rc<Context>, node: &Node, carrier: Carrier, introduced: &Introduced) {
    let own = &context.trust.own;
    if (introduced.device, introduced.instance) == (own.device, own.instance)
        || !node.rooms.borrow().contains_key(&introduced.room)
    {
        return;
    }
    let paths = &context.meeting.paths;
    // Who is connected already gets its further ways beneath the connection that there is.
    let connected = context.hub.borrow_mut().adopt(introduced.device, introduced.instance);
    let number = {
        let mut peers = paths.peers();
        let mut table = paths.table();
        peers.introduce((node.number, carrier), introduced, connected, &mut table, Instant::now())
    };
    if number.is_none() {
        context.hub.borrow().shared.counters.refused.add(1);
    }
}

// ---- The ways to peers.

/// Drives the ways to peers, and tells the hub what comes of it, forever.
pub(crate) async fn keep_ways(context: Rc<Context>) {
    let paths = Arc::clone(&context.meeting.paths);
    let changed = Arc::clone(&paths.peers().changed);
    loop {
        let due = paths.peers().poll_timeout();
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = changed.notified() => {}
        }
        {
            let mut peers = paths.peers();
            peers.handle_timeout(&mut paths.table(), Instant::now());
        }
        context.socket.flush();
        tell_moves(&context);
    }
}

fn tell_moves(context: &Rc<Context>) {
    let meeting = &context.meeting;
    loop {
        // The locks are not held while the hub works.
        let Some((moved, device, instance, rooms)) = ({
            let mut peers = meeting.paths.peers();
            peers.poll_moved().and_then(|moved| {
                let known = peers.get(moved.number)?;
                Some((moved, known.device, known.instance, known.rooms().collect::<Vec<_>>()))
            })
        }) else {
            return;
        };
        let mut hub = context.hub.borrow_mut();
        hub.way_changed(&moved);
        if moved.before.is_none() && moved.now.is_some() {
            let hint = Discovered {
                device: Some(device),
                instance: Some(instance),
                address: address_table::address(moved.number),
                source: Source::Introduced,
                session: meeting.session_of(&rooms),
            };
            if hub.candidates.discovered(hint, Instant::now()) {
                hub.dialler.notify_one();
            }
        }
    }
}

/// Notices when this machine's addresses change: tells the nodes, and tries all ways and places anew.
pub(crate) async fn watch_addresses(context: Rc<Context>, bound: SocketAddr) {
    let mut is_first = true;
    loop {
        let found = own_addresses(bound);
        let meeting = &context.meeting;
        let before = meeting.addresses.replace(found.clone());
        if before != found {
            if !is_first {
                network_changed(&context, &found);
            }
            for node in meeting.nodes.borrow().iter() {
                node.changed.notify_one();
            }
            context.hub.borrow().placed(&found);
        }
        is_first = false;
        tokio::time::sleep(LOOK).await;
    }
}

fn network_changed(context: &Context, addresses: &[SocketAddr]) {
    let (paths, mut hub) = (&context.meeting.paths, context.hub.borrow_mut());
    if addresses.is_empty() {
        hub.shared.journal.note("this machine has no network any more");
        return;
    }
    let list: Vec<_> = addresses.iter().map(|one| one.ip().to_string()).collect();
    let line = format!("this machine's addresses have changed: {}", list.join(", "));
    hub.shared.journal.note(&line);
    let now = Instant::now();
    paths.peers().restart(&mut paths.table(), now);
    hub.candidates.network_changed(now);
    hub.dialler.notify_one();
}
