//! The state of the network thread: connections, publications, subscriptions, and what each change means for the others.
//!
//! Everything here happens on one thread; nothing waits.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use audiocloud_rt::host_time;
use audiocloud_units::{HostTime, SampleRate};
use audiocloud_wire::id::{ConfigId, DeviceId, InstanceId, StreamId, StreamKey};
use audiocloud_wire::message::{
    Directory, Hello, Message, StreamAnnouncement, Subscribe, SubscribeRefusal, SubscribeRefused, Text,
    Unsubscribe,
};
use tokio::sync::{Notify, mpsc};

use crate::address_table;
use crate::candidates::{Candidate, Candidates, Place};
use crate::command::Command;
use crate::congestion::{self, Outlet};
use crate::directory;
use crate::health::PathFigures;
use crate::meeting::peers::Moved;
use crate::peer::{Peer, dials};
use crate::publisher::Publisher;
use crate::status::{Link, LossCause, Shared, lock};
use crate::subscriber::{Incoming, Route, Subscriber, SubscriptionId};

mod media;

/// The most peers connected at once.
pub(crate) const CONNECTIONS_MAX: usize = 256;
/// Messages that may wait for a peer that does not read.
pub(crate) const OUTGOING_MAX: usize = 256;
/// The most refused devices remembered.
const REFUSED_MAX: usize = 64;

/// Why a connection of ours is closed, for the other side's QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseCode {
    Goodbye,
    Refused,
    Duplicate,
    ProtocolError,
    Busy,
}

impl CloseCode {
    pub(crate) fn code(self) -> quinn::VarInt {
        quinn::VarInt::from_u32(match self {
            Self::Goodbye => 0,
            Self::Refused => 1,
            Self::Duplicate => 2,
            Self::ProtocolError => 3,
            Self::Busy => 4,
        })
    }
}

/// A connection whose hello is done.
pub(crate) struct Connected {
    pub(crate) peer: Peer,
    pub(crate) connection: quinn::Connection,
    /// The way out for datagrams.
    pub(crate) outlet: Rc<RefCell<Outlet>>,
    pub(crate) address: SocketAddr,
    dialled_by_us: bool,
    since: HostTime,
    outgoing: mpsc::Sender<Message>,
    incoming: Incoming,
    pub(crate) streams: BTreeMap<StreamId, StreamAnnouncement>,
}

impl Connected {
    /// Queues a message. A peer that lets hundreds wait is as good as gone.
    fn send(&self, message: Message) {
        if self.outgoing.try_send(message).is_err() {
            self.connection.close(CloseCode::ProtocolError.code(), b"messages are not read");
        }
    }
}

/// See the module.
pub(crate) struct Hub {
    pub(crate) shared: Arc<Shared>,
    pub(crate) hello: Hello,
    pub(crate) candidates: Candidates,
    /// Rung when candidates change.
    pub(crate) dialler: Arc<Notify>,
    pub(crate) links: BTreeMap<u64, Connected>,
    pub(crate) publishers: HashMap<StreamId, Publisher>,
    pub(crate) subscribers: HashMap<SubscriptionId, Subscriber>,
    configs: HashMap<StreamId, ConfigId>,
    refused: BTreeMap<DeviceId, String>,
    revision: u64,
    next_link: u64,
    /// How often a quality was wished for.
    wishes: u64,
    /// When the alarm rings that wakes [`Hub::wake`].
    alarm: Option<HostTime>,
    /// Rung when it has to ring earlier.
    pub(crate) alarm_moved: Arc<Notify>,
}

impl Hub {
    pub(crate) fn new(shared: Arc<Shared>, hello: Hello, candidates: Candidates) -> Self {
        Self {
            shared,
            hello,
            candidates,
            dialler: Arc::default(),
            links: BTreeMap::new(),
            publishers: HashMap::new(),
            subscribers: HashMap::new(),
            configs: HashMap::new(),
            refused: BTreeMap::new(),
            revision: 0,
            next_link: 0,
            wishes: 0,
            alarm: None,
            alarm_moved: Arc::default(),
        }
    }

    // ---- What plug-ins ask for.

    pub(crate) fn handle_command(&mut self, command: Command) {
        match command {
            Command::Publish { shared, serial, block_frames_max, blocks, events } => {
                let stream = shared.stream;
                let config = self.configs.get(&stream).map_or(ConfigId(1), |last| last.next());
                self.configs.insert(stream, config);
                let publisher = Publisher::new(shared, serial, config, block_frames_max, blocks, events);
                self.publishers.insert(stream, publisher);
                self.publications_changed();
            }
            Command::Unpublish { stream, serial } => {
                if self.publishers.get(&stream).is_some_and(|publisher| publisher.serial == serial) {
                    self.publishers.remove(&stream);
                    self.publications_changed();
                }
            }
            Command::Renamed => self.announce(),
            Command::Subscribe { id, shared, quality, due, blocks, events } => {
                self.wishes += 1;
                let subscriber = Subscriber::new(shared, (self.wishes, quality), due, blocks, events);
                self.subscribers.insert(id, subscriber);
                self.settle(LossCause::Unpublished);
            }
            Command::SetQuality { id, quality } => {
                if let Some(subscriber) = self.subscribers.get_mut(&id) {
                    self.wishes += 1;
                    subscriber.quality = (self.wishes, quality);
                    self.settle(LossCause::Unpublished);
                }
            }
            Command::Unsubscribe { id } => {
                self.detach(id);
                self.subscribers.remove(&id);
            }
            Command::AddInput { .. }
            | Command::InputsChanged
            | Command::RemoveInput { .. }
            | Command::Patch { .. }
            | Command::Accept { .. } => {}
        }
    }

    fn publications_changed(&mut self) {
        self.announce();
        self.settle(LossCause::Unpublished);
    }

    // ---- Peers.

    pub(crate) fn connections(&self) -> usize {
        self.links.len()
    }

    /// Whether there is no need to dial there.
    pub(crate) fn is_connected(links: &BTreeMap<u64, Connected>, candidate: &Candidate) -> bool {
        links.values().any(|link| {
            candidate.instance == Some(link.peer.instance) || candidate.place == Place::Address(link.address)
        })
    }

    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Candidate> {
        let Self { candidates, links, .. } = self;
        candidates.take_due(now, |candidate| Self::is_connected(links, candidate))
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.candidates.next_due(|candidate| Self::is_connected(&self.links, candidate))
    }

    /// Of two connections to one process, whether the one there is already is kept. Both sides come to the same answer.
    pub(crate) fn keeps_existing(&self, peer: &Peer, dialled_by_us: bool) -> bool {
        let existing = self.links.values().find(|link| link.peer.is_same_process(peer));
        existing.is_some_and(|existing| {
            let ours_is_kept = dials(self.hello.instance, peer.instance);
            existing.dialled_by_us == dialled_by_us || existing.dialled_by_us == ours_is_kept
        })
    }

    /// Takes in a peer whose hello was checked, in place of any earlier connection to it.
    pub(crate) fn add_link(
        &mut self,
        peer: Peer,
        connection: quinn::Connection,
        address: SocketAddr,
        dialled_by_us: bool,
        outgoing: mpsc::Sender<Message>,
    ) -> u64 {
        let earlier = self.links.iter().find(|(_, link)| link.peer.is_same_process(&peer));
        let earlier = earlier.map(|(&id, _)| id).and_then(|id| self.drop_link(id));
        // It is the same process, so what it publishes is known already.
        let streams = earlier.map_or_else(BTreeMap::new, |earlier| {
            earlier.connection.close(CloseCode::Duplicate.code(), b"another connection is kept");
            earlier.streams
        });
        self.next_link += 1;
        let id = self.next_link;
        self.shared.journal.note(&format!("connected to {peer} at {address}"));
        self.refused.remove(&peer.device);
        let link = Connected {
            peer,
            outlet: Rc::new(RefCell::new(Outlet::new(connection.clone()))),
            connection,
            address,
            dialled_by_us,
            since: host_time::now(),
            outgoing,
            incoming: Incoming::default(),
            streams,
        };
        link.send(Message::Directory(self.directory()));
        self.links.insert(id, link);
        self.settle(LossCause::ConnectionBroken);
        id
    }

    /// A connection ended.
    pub(crate) fn remove_link(&mut self, id: u64, error: &quinn::ConnectionError) {
        let Some(link) = self.drop_link(id) else { return };
        let (cause, for_good) = match error {
            quinn::ConnectionError::ApplicationClosed(close) => {
                (LossCause::PeerClosed, close.error_code == CloseCode::Goodbye.code())
            }
            quinn::ConnectionError::TimedOut => (LossCause::Timeout, false),
            _ => (LossCause::ConnectionBroken, false),
        };
        self.shared.journal.note(&format!("disconnected from {} at {}: {error}", link.peer, link.address));
        self.candidates.disconnected(link.peer.instance, for_good, Instant::now(), self.random());
        self.dialler.notify_one();
        self.settle(cause);
    }

    /// Puts every way that leads to a connected peer beneath its connection. The number of its virtual address, unless they
    /// are there already.
    pub(crate) fn adopt(&mut self, device: DeviceId, instance: InstanceId) -> Option<u64> {
        let mut links = self.links.values_mut();
        let link = links.find(|link| (link.peer.device, link.peer.instance) == (device, instance))?;
        let address = link.connection.remote_address();
        let number = self.shared.paths.table().adopt(address)?;
        link.address = address;
        Some(number)
    }

    /// An introduced peer's packets go another way.
    pub(crate) fn way_changed(&mut self, moved: &Moved) {
        let address = address_table::address(moved.number);
        let Some(link) = self.links.values().find(|link| link.address == address) else { return };
        // What was measured was the other way's.
        congestion::path_changed(&link.connection);
        let line = match moved.now {
            Some(way) => format!("{} is reached {way} now", link.peer),
            None => format!("no way leads to {} now", link.peer),
        };
        self.shared.journal.note(&line);
        self.show();
    }

    /// Follows peers whose address has changed, as QUIC has noticed and proved (RFC 9000, clause 9).
    pub(crate) fn follow_migrations(&mut self) {
        for link in self.links.values_mut() {
            let mut table = self.shared.paths.table();
            let address = table.real_of(link.connection.remote_address());
            if let Some(address) = address.filter(|address| *address != link.address) {
                table.pin(address);
                table.unpin(link.address);
                drop(table);
                let line = format!("{} has moved from {} to {address}", link.peer, link.address);
                self.shared.journal.note(&line);
                link.address = address;
                congestion::path_changed(&link.connection);
            }
        }
    }

    /// Without settling what depends on it.
    fn drop_link(&mut self, id: u64) -> Option<Connected> {
        let link = self.links.remove(&id)?;
        self.shared.paths.table().unpin(link.address);
        for publisher in self.publishers.values_mut() {
            publisher.remove_remote(id);
        }
        Some(link)
    }

    /// Remembers, for the status, that a device is not to be had.
    pub(crate) fn note_refusal(&mut self, device: Option<DeviceId>, line: &str) {
        self.shared.counters.refused.add(1);
        self.shared.journal.refused(line);
        if let Some(device) = device {
            if self.refused.len() >= REFUSED_MAX && !self.refused.contains_key(&device) {
                self.refused.pop_first();
            }
            self.refused.insert(device, line.to_owned());
        }
        self.settle(LossCause::ConnectionBroken);
    }

    /// Closes everything, with a word. The words still have to get out.
    pub(crate) fn say_goodbye(&mut self, goodbye: &Message) {
        for link in self.links.values() {
            link.send(goodbye.clone());
        }
    }

    pub(crate) fn handle_message(&mut self, id: u64, message: Message) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match message {
            Message::Directory(directory) => {
                link.streams = directory.streams.into_iter().map(|stream| (stream.stream, stream)).collect();
                self.settle(LossCause::Unpublished);
            }
            Message::Subscribe(Subscribe { stream, quality }) => match self.publishers.get_mut(&stream) {
                Some(publisher) => publisher.add_remote(id, &link.outlet, quality),
                None => link.send(Message::SubscribeRefused(SubscribeRefused {
                    stream,
                    reason: SubscribeRefusal::NotPublished,
                    text: Text::new("no stream with this id is published here"),
                })),
            },
            Message::Unsubscribe(Unsubscribe { stream }) => {
                if let Some(publisher) = self.publishers.get_mut(&stream) {
                    publisher.remove_remote(id);
                }
            }
            Message::SubscribeRefused(refused) => {
                link.streams.remove(&refused.stream);
                self.settle(LossCause::Unpublished);
            }
            Message::Ping(ping) => {
                link.send(Message::Pong(audiocloud_wire::message::Pong { token: ping.token }))
            }
            Message::Pong(_) => {}
            Message::Goodbye(goodbye) => {
                tracing::debug!(target: "audiocloud::net", peer = %link.peer, text = %goodbye.text, "goodbye");
            }
            Message::Hello(_) | Message::HelloRefused(_) => {
                link.connection.close(CloseCode::ProtocolError.code(), b"a second hello");
            }
            _ => self.shared.counters.unknown_messages.add(1),
        }
    }

    // ---- The directory.

    fn directory(&self) -> Directory {
        let streams = self.publishers.values().map(Publisher::announcement).collect();
        directory::fitting(Directory { revision: self.revision, streams })
    }

    fn announce(&mut self) {
        self.revision += 1;
        let directory = self.directory();
        let unannounced = self.publishers.len() - directory.streams.len();
        if unannounced > 0 {
            self.shared.journal.note(&format!(
                "{unannounced} streams cannot be announced to peers: a directory holds no more; publish fewer, or give \
                 them shorter names"
            ));
        }
        for link in self.links.values() {
            link.send(Message::Directory(directory.clone()));
        }
        self.show();
    }

    // ---- Subscriptions.

    /// Says anew where subscriptions without a route stand.
    pub(crate) fn candidates_changed(&mut self) {
        self.settle(LossCause::ConnectionBroken);
    }

    /// Finds for every subscription where its blocks come from, and says where it stands. `cause` is why one that was
    /// live is so no longer.
    fn settle(&mut self, cause: LossCause) {
        let mut ids: Vec<_> = self.subscribers.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.settle_one(id, cause);
        }
        self.show();
    }

    fn settle_one(&mut self, id: SubscriptionId, cause: LossCause) {
        let Some(subscriber) = self.subscribers.get(&id) else { return };
        let (key, before) = (subscriber.shared.key, subscriber.route);
        let best = self.best_route(key);
        if before != best {
            self.detach(id);
        }
        self.attach(id, key, best);
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        subscriber.route = best;
        let ended = before != Route::None && best == Route::None;
        let link = if best == Route::None {
            let subscriber = &*subscriber;
            let state = subscriber.shared.state().link.clone();
            let (was_live, since) = (subscriber.was_live, subscriber.searching_since);
            match self.idle_link(key, state, ended.then_some(cause)) {
                // Whoever had the stream before has lost it, wherever else it has been looked for meanwhile.
                Link::Searching { .. } if was_live => {
                    Link::Lost { since: host_time::now(), cause: LossCause::ConnectionBroken }
                }
                Link::Searching { .. } => Link::Searching { since },
                link => link,
            }
        } else {
            if subscriber.was_live && before == Route::None {
                subscriber.shared.counters.reconnects.add(1);
            }
            subscriber.was_live = true;
            Link::Live
        };
        self.describe(id, key, best, link);
    }

    /// The newest run of the publisher that has the stream in a form we can play; this process first.
    fn best_route(&self, key: StreamKey) -> Route {
        if key.publisher == self.hello.device && self.publishers.contains_key(&key.stream) {
            return Route::Local;
        }
        let offering = self.links.iter().filter(|(_, link)| {
            let stream = link.streams.get(&key.stream);
            link.peer.device == key.publisher && stream.and_then(playable).is_some()
        });
        offering
            .max_by_key(|(id, link)| (link.peer.boot_epoch, **id))
            .map_or(Route::None, |(id, _)| Route::Link(*id))
    }

    fn attach(&mut self, id: SubscriptionId, key: StreamKey, route: Route) {
        match route {
            Route::None => {}
            Route::Local => {
                if let Some(publisher) = self.publishers.get_mut(&key.stream) {
                    publisher.add_local(id);
                }
            }
            Route::Link(link) => {
                let Some(link) = self.links.get_mut(&link) else { return };
                let Some(announcement) = link.streams.get(&key.stream) else { return };
                let Some(rate) = playable(announcement) else { return };
                if let Some(quality) = link.incoming.add(id, announcement, rate, &mut self.subscribers) {
                    link.send(Message::Subscribe(Subscribe { stream: key.stream, quality }));
                }
            }
        }
    }

    fn detach(&mut self, id: SubscriptionId) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let stream = subscriber.shared.key.stream;
        match std::mem::replace(&mut subscriber.route, Route::None) {
            Route::None => {}
            Route::Local => {
                if let Some(publisher) = self.publishers.get_mut(&stream) {
                    publisher.remove_local(id);
                }
            }
            Route::Link(link) => {
                if let Some(link) = self.links.get_mut(&link)
                    && link.incoming.remove(stream, id, &mut self.subscribers)
                {
                    link.send(Message::Unsubscribe(Unsubscribe { stream }));
                }
            }
        }
    }

    /// Where a subscription without a route stands. `ended`: why it has just lost the one it had.
    fn idle_link(&self, key: StreamKey, state: Link, ended: Option<LossCause>) -> Link {
        let now = host_time::now();
        if let Some(cause) = ended {
            return Link::Lost { since: now, cause };
        }
        let of_publisher = || self.links.values().filter(|link| link.peer.device == key.publisher);
        if let Some(link) = of_publisher().find(|link| link.streams.contains_key(&key.stream)) {
            let reason = format!("\"{}\" sends it in a form that needs a newer version here", link.peer.name);
            return Link::Unplayable { reason };
        }
        if let lost @ Link::Lost { since, .. } = state {
            // A process of the publisher that came back without the stream is news; one that never had it is not.
            return if of_publisher().any(|link| link.since > since) { Link::NotPublished } else { lost };
        }
        if of_publisher().next().is_some() {
            return Link::NotPublished;
        }
        if let Some(reason) = self.refused.get(&key.publisher) {
            return Link::Refused { reason: reason.clone() };
        }
        let mut candidates = self.candidates.iter().filter(|one| one.device == Some(key.publisher));
        if candidates.any(Candidate::is_dialling) { Link::Connecting } else { Link::Searching { since: now } }
    }

    fn describe(&self, id: SubscriptionId, key: StreamKey, route: Route, link: Link) {
        let Some(subscriber) = self.subscribers.get(&id) else { return };
        let mut state = subscriber.shared.state();
        state.link = link;
        match route {
            Route::None => {}
            Route::Local => {
                state.publisher_name.clone_from(&self.shared.name);
                state.address = None;
                if let Some(publisher) = self.publishers.get(&key.stream) {
                    state.stream_name.clone_from(&lock(&publisher.shared.name));
                    state.sample_rate = Some(publisher.shared.sample_rate);
                    state.channels = publisher.shared.channels;
                    state.block_frames_max = publisher.block_frames_max;
                }
            }
            Route::Link(link) => {
                let Some(link) = self.links.get(&link) else { return };
                state.publisher_name.clone_from(&link.peer.name);
                state.address = Some(self.shared.paths.shown(link.address).0);
                state.path = PathFigures::of(&link.connection);
                if let Some(stream) = link.streams.get(&key.stream) {
                    state.stream_name = stream.name.to_string();
                    state.sample_rate = SampleRate::new(stream.sample_rate_hz);
                    state.channels = stream.channels.into();
                    state.block_frames_max = stream.block_frames_max;
                }
            }
        }
    }

    /// Enough to spread retries; nothing depends on its quality.
    pub(crate) fn random(&self) -> u8 {
        let [low, ..] = (host_time::now().get() / 1000).to_le_bytes();
        low ^ self.hello.instance.0[0]
    }
}

/// The rate to play it at, if we can.
fn playable(stream: &StreamAnnouncement) -> Option<SampleRate> {
    let is_known = stream.codec.is_some() || !stream.codecs.is_empty();
    SampleRate::new(stream.sample_rate_hz).filter(|_| is_known)
}

impl Drop for Hub {
    fn drop(&mut self) {
        for publisher in self.publishers.values() {
            publisher.shared.subscribers.store(0, Ordering::Relaxed);
        }
        // Whoever still holds a subscription is not to believe in it.
        for subscriber in self.subscribers.values().filter(|one| one.route != Route::None) {
            let lost = Link::Lost { since: host_time::now(), cause: LossCause::ConnectionBroken };
            subscriber.shared.state().link = lost;
        }
    }
}
