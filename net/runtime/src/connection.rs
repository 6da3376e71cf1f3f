//! The life of a connection: dialled or accepted, hello, then messages and datagrams until it ends.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audiocloud_wire::id::{DeviceId, SessionId};
use audiocloud_wire::message::{
    self, Bytes, Hello, HelloRefused, MEMBERSHIPS_MAX, Membership, Message, RefusalReason, Text, frame_length,
};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::address_table::{self, canonical};
use crate::candidates::{Candidate, Place};
use crate::discovery::Discovery;
use crate::hello::{self, Refusal, Trust};
use crate::hub::{CONNECTIONS_MAX, CloseCode, Hub, OUTGOING_MAX};
use crate::identity::Identity;
use crate::meeting::{Meeting, Server};
use crate::peer::Peer;
use crate::remote::carry;
use crate::rounds::{Ticks, tick_in_passing};
use crate::sessions::live::{Event, Own};
use crate::socket::PathSocket;
use crate::standing::{Standing, Trusted};
use crate::{tls, transport};

/// From the first datagram to the end of the hello.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections that may be in their handshake at once.
const UNAUTHENTICATED_MAX: usize = 32;
/// How long the reason of a refusal has to get out.
const REFUSAL_LINGER: Duration = Duration::from_millis(200);

/// What every connection needs.
pub(crate) struct Context {
    pub(crate) hub: RefCell<Hub>,
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) identity: Identity,
    pub(crate) trust: Trust,
    pub(crate) discovery: RefCell<Option<Discovery>>,
    pub(crate) handshakes: std::cell::Cell<usize>,
    pub(crate) ticks: Ticks,
    pub(crate) socket: Arc<PathSocket>,
    pub(crate) meeting: Meeting,
    /// Where this is a rendezvous node.
    pub(crate) server: Option<Rc<Server>>,
}

/// Why there is no connection.
#[derive(Debug)]
enum Failure {
    /// Nobody answers, or not in a way that makes sense.
    Broken(String),
    /// We will not have them.
    Ours(Refusal, Option<DeviceId>),
    /// They will not have us.
    Theirs(HelloRefused, Option<DeviceId>),
    /// Another device answered than the one that was meant.
    OtherDevice(DeviceId),
}

fn broken(error: impl ToString) -> Failure {
    Failure::Broken(error.to_string())
}

// ---- Dialling.

/// Dials whatever is due, whenever it is due, forever.
pub(crate) async fn dial_candidates(context: Rc<Context>) {
    let news = Arc::clone(&context.hub.borrow().dialler);
    loop {
        let due = context.hub.borrow_mut().take_due(Instant::now());
        for candidate in due {
            tokio::task::spawn_local(dial(Rc::clone(&context), candidate));
        }
        let next = context.hub.borrow().next_due();
        let wait = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = news.notified() => {}
        }
    }
}

async fn dial(context: Rc<Context>, candidate: Candidate) {
    context.hub.borrow_mut().candidates_changed();
    let result = match resolve(&candidate.place, candidate.failures()).await {
        Ok(address) => dial_address(&context, &candidate, address).await,
        Err(error) => Err(broken(error)),
    };
    let mut hub = context.hub.borrow_mut();
    let place = &candidate.place;
    let (now, random) = (Instant::now(), hub.random());
    match result {
        Ok(peer) => hub.candidates.connected(place, peer.instance),
        Err(Failure::Broken(error)) => {
            tracing::debug!(target: "audiocloud::net", %place, error, "no connection");
            hub.shared.counters.failed_handshakes.add(1);
            hub.candidates.failed(place, now, random);
        }
        Err(Failure::OtherDevice(seen)) => {
            let expected = candidate.device.map_or_else(String::new, |device| device.to_string());
            let line =
                format!("refused {place}: device {seen} answers there, device {expected} was expected");
            hub.candidates.refused(place, &line, now);
            hub.note_refusal(candidate.device, &line);
        }
        Err(Failure::Ours(refusal, device)) => match refusal.reason {
            RefusalReason::Oneself => hub.candidates.forget(place),
            RefusalReason::Duplicate => hub.candidates.failed(place, now, random),
            _ => {
                let line = format!("refused {place}: {}", refusal.text);
                hub.candidates.refused(place, &line, now);
                if !refusal.known_stranger {
                    hub.note_refusal(device, &line);
                }
            }
        },
        Err(Failure::Theirs(refusal, device)) => match refusal.reason {
            RefusalReason::Oneself => hub.candidates.forget(place),
            RefusalReason::Duplicate => hub.candidates.failed(place, now, random),
            _ => {
                let line = format!("{place} refuses us ({}): {}", refusal.reason, refusal.text);
                hub.candidates.refused(place, &line, now);
                let address = match place {
                    Place::Address(address) => Some(*address),
                    Place::Named(_) => None,
                };
                if !candidate.sessions.is_empty() {
                    let (sessions, why) = (candidate.sessions.clone(), refusal.text.to_string());
                    hub.live.tell(Event::TurnedAway { sessions, why });
                }
                let is_stranger =
                    refusal.reason == RefusalReason::NotTrusted && candidate.sessions.is_empty();
                let known = match (device, address) {
                    (Some(device), Some(address)) if is_stranger => {
                        hub.knocked(None, device, "", address, "they have not accepted this user yet")
                    }
                    _ => false,
                };
                if !known {
                    hub.note_refusal(device, &line);
                }
            }
        },
    }
    hub.dialler.notify_one();
    hub.candidates_changed();
}

/// A name may have several addresses, of which not all lead there: each attempt takes the next one.
async fn resolve(place: &Place, attempt: u32) -> std::io::Result<SocketAddr> {
    match place {
        Place::Address(address) => Ok(*address),
        Place::Named(name) => {
            let found: Vec<_> = tokio::net::lookup_host(name.as_str()).await?.collect();
            let attempt = usize::try_from(attempt).unwrap_or(0);
            let next = attempt.checked_rem(found.len()).and_then(|index| found.get(index).copied());
            next.ok_or_else(|| std::io::Error::other("the name has no address"))
        }
    }
}

async fn dial_address(
    context: &Rc<Context>,
    candidate: &Candidate,
    address: SocketAddr,
) -> Result<Peer, Failure> {
    let address = canonical(address);
    let (paths, counters) = {
        let hub = context.hub.borrow();
        hub.shared.counters.dialled.add(1);
        (Arc::clone(&hub.shared.paths), Arc::clone(&hub.shared))
    };
    // When one opens, it is dialled at once.
    if !paths.is_open(address) {
        return Err(broken("no way to it is open"));
    }
    // Only where nobody gave a key: a key that was given may be a user's, and is compared in the hello.
    let expected = candidate.device.filter(|_| candidate.key.is_none());
    let (config, mismatch) = tls::client_config(&context.identity, expected).map_err(broken)?;
    let virtual_address = paths.table().pin(address);
    let result = timeout(HANDSHAKE_TIMEOUT, async {
        let connecting =
            context.endpoint.connect_with(config, virtual_address, tls::SERVER_NAME).map_err(broken)?;
        let connection = connecting.await.map_err(|error| match mismatch.seen() {
            Some(seen) => Failure::OtherDevice(seen),
            None => broken(error),
        })?;
        let device = tls::peer_device(&connection);
        let exchanged = tokio::select! {
            exchanged = exchange_as_dialler(context, &connection, device, candidate, address) => exchanged,
            never = discard_datagrams(context, &connection) => match never {},
        };
        if let Err(failure) = &exchanged {
            close_after(&connection, failure);
        }
        exchanged.map(|(admitted, send, receive)| (connection, admitted, send, receive))
    })
    .await
    .unwrap_or_else(|_| Err(broken("no answer within the handshake's time")));
    match result {
        Ok((connection, (peer, standing), send, receive)) => {
            run(context, (peer.clone(), standing), connection, address, true, send, receive);
            Ok(peer)
        }
        Err(failure) => {
            counters.paths.table().unpin(address);
            Err(failure)
        }
    }
}

async fn exchange_as_dialler(
    context: &Rc<Context>,
    connection: &Connection,
    device: Option<DeviceId>,
    candidate: &Candidate,
    address: SocketAddr,
) -> Result<(Admitted, SendStream, RecvStream), Failure> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(broken)?;
    let hello = own_hello(context, &candidate.sessions);
    write_message(&mut send, &Message::Hello(Box::new(hello))).await.map_err(broken)?;
    let hello = match read_message(&mut receive).await.map_err(broken)?.0 {
        Message::Hello(hello) => hello,
        Message::HelloRefused(refused) => return Err(Failure::Theirs(refused, device)),
        _ => return Err(Failure::Ours(not_a_hello(), device)),
    };
    let admitted = judge(context, &hello, device, candidate.key, true, address).await;
    Ok((admitted.map_err(|refusal| Failure::Ours(refusal, device))?, send, receive))
}

// ---- Being dialled.

/// Accepts connections, forever.
pub(crate) async fn accept_peers(context: Rc<Context>) {
    while let Some(incoming) = context.endpoint.accept().await {
        context.hub.borrow().shared.counters.accepted.add(1);
        if context.handshakes.get() >= UNAUTHENTICATED_MAX {
            incoming.refuse();
            continue;
        }
        // Who has forged their address never gets the answer, and takes nobody's place (RFC 9000, 8.1.2).
        if context.handshakes.get() >= UNAUTHENTICATED_MAX / 2 && !incoming.remote_address_validated() {
            // It fails only for who is validated already.
            incoming.retry().ok();
            continue;
        }
        context.handshakes.set(context.handshakes.get() + 1);
        let context = Rc::clone(&context);
        tokio::task::spawn_local(async move {
            let accepted = timeout(HANDSHAKE_TIMEOUT, accept(&context, incoming)).await;
            context.handshakes.set(context.handshakes.get() - 1);
            if !matches!(accepted, Ok(Ok(()))) {
                context.hub.borrow().shared.counters.failed_handshakes.add(1);
            }
        });
    }
}

async fn accept(context: &Rc<Context>, incoming: quinn::Incoming) -> Result<(), Failure> {
    let virtual_address = incoming.remote_address();
    let connection = incoming.accept().map_err(broken)?.await.map_err(broken)?;
    let paths = Arc::clone(&context.hub.borrow().shared.paths);
    let address = paths
        .table()
        .real_of(virtual_address)
        .ok_or_else(|| broken("its address was forgotten meanwhile"))?;
    let device = tls::peer_device(&connection);
    if let (Some(server), Some(device), true) = (&context.server, device, tls::is_meeting(&connection)) {
        tokio::task::spawn_local(Rc::clone(server).serve(connection, device));
        return Ok(());
    }
    let exchanged = tokio::select! {
        exchanged = exchange_as_dialled(context, &connection, device, address) => exchanged?,
        never = discard_datagrams(context, &connection) => match never {},
    };
    if let Some((admitted, send, receive)) = exchanged {
        paths.table().pin(address);
        run(context, admitted, connection, address, false, send, receive);
    }
    Ok(())
}

/// The peer, if it is let in; if not, it has been told why.
async fn exchange_as_dialled(
    context: &Rc<Context>,
    connection: &Connection,
    device: Option<DeviceId>,
    address: SocketAddr,
) -> Result<Option<(Admitted, SendStream, RecvStream)>, Failure> {
    let (mut send, mut receive) = connection.accept_bi().await.map_err(broken)?;
    let (judged, shown) = match read_message(&mut receive).await.map_err(broken)?.0 {
        Message::Hello(hello) => {
            let shown: Vec<SessionId> = hello.memberships.iter().map(|shown| shown.session).collect();
            (judge(context, &hello, device, None, false, address).await, shown)
        }
        _ => (Err(not_a_hello()), Vec::new()),
    };
    match judged {
        Ok((peer, standing)) => {
            // Of sessions that the peer has not proved to be in, it learns nothing.
            let common: Vec<_> =
                shown.into_iter().filter(|session| standing.grants.contains_key(session)).collect();
            let hello = Message::Hello(Box::new(own_hello(context, &common)));
            write_message(&mut send, &hello).await.map_err(broken)?;
            Ok(Some(((peer, standing), send, receive)))
        }
        Err(refusal) => {
            let quiet = matches!(refusal.reason, RefusalReason::Duplicate | RefusalReason::Oneself);
            let noisy = !quiet && !refusal.known_stranger;
            if noisy {
                let line = format!("refused {address}: {}", refusal.text);
                context.hub.borrow_mut().note_refusal(device, &line);
            }
            let message = HelloRefused { reason: refusal.reason, text: Text::new(&refusal.text) };
            write_message(&mut send, &Message::HelloRefused(message)).await.map_err(broken)?;
            // Let the reason arrive before the connection goes; the other side closes it when it has read it.
            if timeout(REFUSAL_LINGER, connection.closed()).await.is_err() {
                close_after(connection, &Failure::Ours(refusal, device));
            }
            Ok(None)
        }
    }
}

/// Takes what a peer sends that is not let in yet: it would wait here, megabytes of it, for as long as a hello may take.
async fn discard_datagrams(context: &Context, connection: &Connection) -> Infallible {
    while connection.read_datagram().await.is_ok() {
        context.hub.borrow().shared.counters.unknown_stream.add(1);
        // However much it sends, media has its turn after each.
        tokio::task::yield_now().await;
    }
    // Who waits for the hello is told of the connection's end there.
    std::future::pending().await
}

// ---- The hello.

fn not_a_hello() -> Refusal {
    Refusal::new(RefusalReason::Malformed, "the first message is not a hello")
}

/// Our hello, with the memberships that the peer is to know of.
fn own_hello(context: &Rc<Context>, sessions: &[SessionId]) -> Hello {
    let hub = context.hub.borrow();
    let own = sessions.iter().filter_map(|session| hub.own.get(session)).filter(|own| own.grant.is_ok());
    let membership = |own: &Own| {
        let record = Bytes::try_from(&own.record[..]).ok()?;
        Some(Membership { session: own.session, record })
    };
    let memberships = own.filter_map(membership).take(MEMBERSHIPS_MAX).collect();
    Hello { memberships, ..context.trust.own.clone() }
}

/// A peer that is let in, and as what.
type Admitted = (Peer, Standing);

async fn judge(
    context: &Rc<Context>,
    hello: &Hello,
    device: Option<DeviceId>,
    pinned: Option<[u8; 32]>,
    dialled_by_us: bool,
    address: SocketAddr,
) -> Result<Admitted, Refusal> {
    let peer = context.trust.check(hello, device, pinned)?;
    fits(&mut context.hub.borrow_mut(), &peer, dialled_by_us)?;
    let (trusted, live) = {
        let hub = context.hub.borrow();
        let accepted = hub.is_accepted(&peer.user).then_some(Trusted::Accepted);
        (context.trust.trusted(&peer).or(accepted), hub.live.clone())
    };
    // Who is trusted need not wait for what its sessions come to.
    if trusted.is_some() && hello.memberships.is_empty() {
        return Ok((peer, Standing { trusted, ..Standing::default() }));
    }
    if trusted.is_none() && !hello.memberships.is_empty() && !context.hub.borrow_mut().may_knock() {
        let text = "too many want to come in at once; wait a moment";
        return Err(Refusal::new(RefusalReason::TooMany, text));
    }
    let admission = live.knock(peer.user, hello.memberships.clone()).await;
    let standing = Standing { trusted, grants: admission.grants };
    let mut hub = context.hub.borrow_mut();
    if !standing.holds() {
        let mut refusal = hello::stranger(&peer, &admission.refusals);
        if admission.refusals.is_empty() {
            let why = "not accepted yet";
            refusal.known_stranger = hub.knocked(Some(peer.user), peer.device, &peer.name, address, why);
        } else {
            hub.turned_away(&peer, &admission.refusals);
        }
        return Err(refusal);
    }
    // Time has passed.
    fits(&mut hub, &peer, dialled_by_us)?;
    Ok((peer, standing))
}

/// Whether there is a place for this peer.
fn fits(hub: &mut Hub, peer: &Peer, dialled_by_us: bool) -> Result<(), Refusal> {
    if hub.keeps_existing(peer, dialled_by_us) {
        return Err(Refusal::new(RefusalReason::Duplicate, "already connected"));
    }
    if hub.connections() >= CONNECTIONS_MAX {
        return Err(Refusal::new(RefusalReason::TooMany, "as many peers as can be served are connected"));
    }
    if hub.is_cut_off(&peer.device) {
        let text = "this device broke the rules a moment ago; wait half a minute";
        return Err(Refusal::new(RefusalReason::TooMany, text));
    }
    Ok(())
}

fn close_after(connection: &Connection, failure: &Failure) {
    let (code, text) = match failure {
        Failure::Ours(Refusal { reason: RefusalReason::Duplicate, .. }, _) => {
            (CloseCode::Duplicate, "duplicate")
        }
        Failure::Ours(Refusal { reason: RefusalReason::TooMany, .. }, _) => {
            (CloseCode::Busy, "too many peers")
        }
        Failure::Ours(refusal, _) => (CloseCode::Refused, refusal.reason.code()),
        Failure::Theirs(..) => (CloseCode::Goodbye, "refused by you"),
        Failure::OtherDevice(_) => (CloseCode::Refused, "another device"),
        Failure::Broken(_) => (CloseCode::ProtocolError, "handshake"),
    };
    connection.close(code.code(), text.as_bytes());
}

// ---- The connection at work.

fn run(
    context: &Rc<Context>,
    (peer, standing): Admitted,
    connection: Connection,
    address: SocketAddr,
    dialled_by_us: bool,
    send: SendStream,
    receive: RecvStream,
) {
    // Where an introduced peer is may be different the next time.
    let is_real = address_table::number_of(address).is_none();
    if dialled_by_us
        && is_real
        && let Some(discovery) = &*context.discovery.borrow()
    {
        discovery.proven(peer.device, address);
    }
    transport::widen(&connection);
    let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
    let id = context.hub.borrow_mut().add_link(
        (peer, standing),
        connection.clone(),
        address,
        dialled_by_us,
        outgoing,
    );
    tokio::task::spawn_local(write_messages(send, queue));
    tokio::task::spawn_local(read_messages(Rc::clone(context), id, connection.clone(), receive));
    tokio::task::spawn_local(accept_streams(Rc::clone(context), id, connection.clone()));
    tokio::task::spawn_local(read_datagrams(Rc::clone(context), id, connection));
}

async fn write_messages(mut send: SendStream, mut queue: mpsc::Receiver<Message>) {
    while let Some(message) = queue.recv().await {
        if let Err(error) = write_message(&mut send, &message).await {
            tracing::debug!(target: "audiocloud::net", error, "a message was not sent");
            return;
        }
    }
    // The connection is on its way out, and says so itself.
    send.finish().ok();
}

async fn read_messages(context: Rc<Context>, id: u64, connection: Connection, mut receive: RecvStream) {
    loop {
        match read_message(&mut receive).await {
            Ok((message, bytes)) => {
                context.hub.borrow_mut().handle_message(id, message, bytes);
                // However much one peer says, media has its turn after each message.
                tokio::task::yield_now().await;
            }
            Err(ReadError::Message(error)) => {
                context.hub.borrow().shared.counters.undecodable_messages.add(1);
                tracing::warn!(target: "audiocloud::net", %error, "a peer's message cannot be read; closing");
                connection.close(CloseCode::ProtocolError.code(), error.code().as_bytes());
                return;
            }
            Err(ReadError::Stream(_)) => {
                // The usual case is that the connection has ended, for a cause that is not to be overwritten.
                if connection.close_reason().is_none() {
                    connection.close(CloseCode::ProtocolError.code(), b"the control stream ended");
                }
                return;
            }
        }
    }
}

/// Takes the streams of chains that are rendered exactly. Those of no such chain are refused.
async fn accept_streams(context: Rc<Context>, id: u64, connection: Connection) {
    while let Ok((send, mut receive)) = connection.accept_bi().await {
        let context = Rc::clone(&context);
        tokio::task::spawn_local(async move {
            let Some(remote) = carry::name(&mut receive).await else { return };
            let end = context.hub.borrow_mut().exact_stream(id, remote);
            match end {
                Some(end) => {
                    if let Some(why) = carry::carry(send, receive, remote, end).await {
                        tracing::debug!(target: "audiocloud::net", why, "an exact chain's stream broke off");
                    }
                }
                None => context.hub.borrow().shared.counters.unknown_stream.add(1),
            }
        });
    }
}

/// Ends when the connection does, and is the one to say so.
async fn read_datagrams(context: Rc<Context>, id: u64, connection: Connection) {
    loop {
        match connection.read_datagram().await {
            Ok(datagram) => {
                context.hub.borrow_mut().handle_datagram(id, &datagram);
                tick_in_passing(&context);
            }
            Err(error) => {
                context.hub.borrow_mut().remove_link(id, &error);
                return;
            }
        }
    }
}

// ---- Frames.

enum ReadError {
    Stream(String),
    Message(message::DecodeError),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream(error) => f.write_str(error),
            Self::Message(error) => error.fmt(f),
        }
    }
}

/// A message, and how many bytes it took.
async fn read_message(receive: &mut RecvStream) -> Result<(Message, usize), ReadError> {
    let stream = |error: quinn::ReadExactError| ReadError::Stream(error.to_string());
    let mut prefix = [0; message::LENGTH_BYTES];
    receive.read_exact(&mut prefix).await.map_err(stream)?;
    let mut body = vec![0; frame_length(prefix).map_err(ReadError::Message)?];
    receive.read_exact(&mut body).await.map_err(stream)?;
    Message::decode(&body).map(|message| (message, body.len())).map_err(ReadError::Message)
}

async fn write_message(send: &mut SendStream, message: &Message) -> Result<(), String> {
    let frame = message.to_frame().map_err(|error| error.to_string())?;
    send.write_all(&frame).await.map_err(|error| error.to_string())
}
