//! This runtime as a rendezvous node: what its clients say goes to the state machine, and what that wants said goes out.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audiocloud_traversal::meeting::Message;
use audiocloud_traversal::server::{Action, ClientId, Figures, Rendezvous};
use audiocloud_traversal::ways::Carrier;
use audiocloud_wire::id::DeviceId;
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::client::read_body;
use super::tunnel;
use crate::hub::CloseCode;
use crate::socket::Paths;

/// Messages that may wait for a client that does not read.
const OUTGOING_MAX: usize = 512;
/// How long a client may take to say its first word, and how long our last one has to get out.
const STREAM_TIMEOUT: Duration = Duration::from_secs(3);
const LINGER: Duration = Duration::from_millis(200);
/// How often it is looked whether a client has another address: its packets to be forwarded come from there.
const LOOK: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(crate) struct Server {
    paths: Arc<Paths>,
    rendezvous: RefCell<Rendezvous>,
    clients: RefCell<HashMap<ClientId, Client>>,
    next: Cell<u64>,
    /// Of the refusals, those that are counted.
    refused: Cell<u64>,
    /// Rung when there is something to be done earlier than was known.
    changed: Notify,
}

#[derive(Debug)]
struct Client {
    connection: Connection,
    outgoing: mpsc::Sender<Message>,
}

/// A client is registered as long as this lives.
struct Guest<'a> {
    server: &'a Server,
    id: ClientId,
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.server.clients.borrow_mut().remove(&self.id);
        self.server.rendezvous.borrow_mut().disconnected(self.id, Instant::now());
        self.server.settle();
    }
}

impl Server {
    pub(crate) fn new(paths: Arc<Paths>, rendezvous: Rendezvous) -> Self {
        Self {
            paths,
            rendezvous: RefCell::new(rendezvous),
            clients: RefCell::default(),
            next: Cell::new(0),
            refused: Cell::new(0),
            changed: Notify::new(),
        }
    }

    /// Serves who wants to meet somebody, until the connection ends.
    pub(crate) async fn serve(self: Rc<Self>, connection: Connection, device: DeviceId) {
        let Some(from) = self.address_of(&connection) else { return };
        let carrier = if tunnel::number_of(from).is_some() { Carrier::Tunnel } else { Carrier::Udp };
        let id = ClientId(self.next.replace(self.next.get() + 1));
        let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
        self.clients.borrow_mut().insert(id, Client { connection: connection.clone(), outgoing });
        self.rendezvous.borrow_mut().connected(id, device, from, carrier, Instant::now());
        let guest = Guest { server: &self, id };
        self.settle();
        let Ok(Ok((send, receive))) = timeout(STREAM_TIMEOUT, connection.accept_bi()).await else { return };
        let ended = tokio::select! {
            ended = self.read(&guest, receive) => ended,
            ended = write(send, queue) => {
                // Its last words: why.
                timeout(LINGER, connection.closed()).await.ok();
                ended
            }
            () = self.follow(&guest, &connection, from) => String::new(),
        };
        tracing::debug!(target: "audiocloud::meeting", %from, ended, "a client has gone");
    }

    fn address_of(&self, connection: &Connection) -> Option<SocketAddr> {
        self.paths.table().real_of(connection.remote_address())
    }

    async fn read(&self, guest: &Guest<'_>, mut receive: RecvStream) -> String {
        loop {
            match read_body(&mut receive).await {
                Ok(body) => {
                    self.rendezvous.borrow_mut().handle_message(guest.id, &body, Instant::now());
                    self.settle();
                }
                Err(error) => return error,
            }
            // However much one says, the others have their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Tells when the client's packets come from another address.
    async fn follow(&self, guest: &Guest<'_>, connection: &Connection, mut from: SocketAddr) {
        // Its address must not be forgotten for those of strangers.
        self.paths.table().pin(from);
        let pinned = Pinned { paths: &self.paths, address: Cell::new(from) };
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(now_from) = self.address_of(connection) else { continue };
            if now_from != from {
                from = now_from;
                self.paths.table().pin(from);
                self.paths.table().unpin(pinned.address.replace(from));
                self.rendezvous.borrow_mut().moved(guest.id, from, Instant::now());
                self.settle();
            }
        }
    }

    /// Does what the state machine wants done.
    fn settle(&self) {
        loop {
            // Nothing is borrowed while it is done.
            let Some(action) = self.rendezvous.borrow_mut().poll_action() else { break };
            match action {
                Action::Send { client, message } => self.send(client, message),
                // Its sender ends when the last message is out.
                Action::Close(client) => {
                    self.clients.borrow_mut().remove(&client);
                }
                Action::Relay(update) => {
                    if let Some(relay) = &mut *self.paths.relay() {
                        relay.apply(update);
                    }
                }
            }
        }
        let Figures { full, too_fast, malformed, .. } = self.rendezvous.borrow().figures();
        let refused = full + too_fast + malformed;
        self.paths.count_refused_clients(refused - self.refused.replace(refused));
        self.changed.notify_one();
    }

    fn send(&self, client: ClientId, message: Message) {
        let clients = self.clients.borrow();
        let Some(client) = clients.get(&client) else { return };
        if client.outgoing.try_send(message).is_err() {
            client.connection.close(CloseCode::Busy.code(), b"messages are not read");
        }
    }
}

struct Pinned<'a> {
    paths: &'a Paths,
    address: Cell<SocketAddr>,
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        self.paths.table().unpin(self.address.get());
    }
}

async fn write(mut send: SendStream, mut queue: mpsc::Receiver<Message>) -> String {
    while let Some(message) = queue.recv().await {
        if let Err(error) = send.write_all(&message.to_frame()).await {
            return error.to_string();
        }
    }
    send.finish().ok();
    "it was sent away".to_owned()
}

/// Does what time brings, forever.
pub(crate) async fn keep(server: Rc<Server>) {
    loop {
        let due = server.rendezvous.borrow_mut().poll_timeout();
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => server.rendezvous.borrow_mut().handle_timeout(Instant::now()),
            () = server.changed.notified() => continue,
        }
        server.settle();
    }
}
