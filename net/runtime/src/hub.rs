//! The state of the network thread: connections, publications, subscriptions, and what each change means for the others.
//!
//! Everything here happens on one thread; nothing waits.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use audiocloud_rt::host_time;
use audiocloud_rt::wake::Waker;
use audiocloud_units::HostTime;
use audiocloud_wire::id::{ConfigId, DeviceId, InputId, InstanceId, SessionId, StreamId, UserId};
use audiocloud_wire::message::{
    Hello, Input, Inputs, Message, StreamAnnouncement, Subscribe, SubscribeRefusal, Unsubscribe,
};
use tokio::sync::{Notify, mpsc};

use crate::address_table;
use crate::allowance::Allowance;
use crate::candidates::{Candidate, Candidates, Place};
use crate::command::Command;
use crate::congestion::{self, Outlet};
use crate::input::InputShared;
use crate::meeting::peers::Moved;
use crate::peer::{Peer, dials};
use crate::publisher::Publisher;
use crate::sessions::Stranger;
use crate::sessions::live::{Event, Gossip, Live, Own};
use crate::standing::Standing;
use crate::status::{Link, LossCause, Shared};
use crate::subscriber::{Incoming, Route, Subscriber, SubscriptionId};

mod media;
mod members;
mod patch_bay;
mod remote;
mod routes;
mod strangers;
mod time;

use remote::Remoting;
use time::{PacketAllowance, Times};

/// The most peers connected at once.
pub(crate) const CONNECTIONS_MAX: usize = 256;
/// Messages that may wait for a peer that does not read.
pub(crate) const OUTGOING_MAX: usize = 1024;
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
    /// What the peer is to us: asked at every door.
    pub(crate) standing: Standing,
    /// What is left of what it may say in this second.
    pub(crate) allowance: Allowance,
    /// And of packets of the clock exchange.
    clock_allowance: PacketAllowance,
    /// All that it announces.
    announced: Vec<StreamAnnouncement>,
    /// What of that it may publish.
    pub(crate) streams: BTreeMap<StreamId, StreamAnnouncement>,
    /// Of the others, why not.
    refused_streams: Vec<String>,
    /// Streams of it that we may not hear, and why.
    denied: BTreeMap<StreamId, String>,
    /// What plays there.
    inputs: Vec<Input>,
    /// What we last told it of ours.
    inputs_told: Inputs,
}

impl Connected {
    /// Whether so many messages find room, with as many again for others.
    fn has_room(&self, messages: usize) -> bool {
        self.outgoing.capacity() >= messages + OUTGOING_MAX / 2
    }

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
    pub(crate) live: Live,
    /// Sessions of this user.
    pub(crate) own: BTreeMap<SessionId, Own>,
    accepted: BTreeSet<UserId>,
    /// Publications that this user may not put into their session.
    withheld: BTreeSet<StreamId>,
    inputs: BTreeMap<InputId, Arc<InputShared>>,
    times: Times,
    remote: Remoting,
    /// Wakes the thread that all this happens on.
    waker: Waker,
    strangers: Vec<(Stranger, Instant)>,
    /// What is left of what may be asked in this second about who comes in.
    knocks: Allowance,
    /// Devices that broke the rules, and when.
    cut: BTreeMap<DeviceId, Instant>,
    configs: HashMap<StreamId, ConfigId>,
    refused: BTreeMap<DeviceId, String>,
    /// Devices whose connection ended because one of us is out, and why.
    put_out: BTreeMap<DeviceId, String>,
    revision: u64,
    next_link: u64,
    /// How often a quality was wished for.
    wishes: u64,
    /// When the alarm rings that wakes [`Hub::wake`], and for which link.
    alarm: Option<(HostTime, u64)>,
    /// Rung when it has to ring earlier.
    pub(crate) alarm_moved: Arc<Notify>,
}

impl Hub {
    pub(crate) fn new(
        shared: Arc<Shared>,
        hello: Hello,
        candidates: Candidates,
        live: Live,
        (commands, waker): (mpsc::UnboundedSender<Command>, Waker),
    ) -> Self {
        Self {
            live,
            own: BTreeMap::new(),
            accepted: BTreeSet::new(),
            withheld: BTreeSet::new(),
            inputs: BTreeMap::new(),
            times: Times::new(shared.clocks.host_clock()),
            remote: Remoting::new(commands),
            waker,
            strangers: Vec::new(),
            cut: BTreeMap::new(),
            shared,
            hello,
            candidates,
            dialler: Arc::default(),
            links: BTreeMap::new(),
            publishers: HashMap::new(),
            subscribers: HashMap::new(),
            configs: HashMap::new(),
            refused: BTreeMap::new(),
            put_out: BTreeMap::new(),
            knocks: Allowance::of_strangers(Instant::now()),
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
            Command::AddInput { input } => self.add_input(input),
            Command::InputsChanged => self.tell_inputs(),
            Command::RemoveInput { input } => self.remove_input(input),
            Command::Patch { device, input, stream, on } => self.patch(device, input, stream, on),
            Command::Edit { session, edit, answer } => self.live.tell(Event::Edit { session, edit, answer }),
            Command::Accept { user } => self.accept(user),
            Command::Remote(order) => self.handle_remote_order(order),
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
        let Self { candidates, links, own, .. } = self;
        candidates.take_due(now, |candidate| {
            Self::is_connected(links, candidate) || Self::is_out_of(own, candidate)
        })
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.candidates.next_due(|candidate| {
            Self::is_connected(&self.links, candidate) || Self::is_out_of(&self.own, candidate)
        })
    }

    /// Whether this user is out of every session for which one would dial there.
    fn is_out_of(own: &BTreeMap<SessionId, Own>, candidate: &Candidate) -> bool {
        let is_in = |session: &SessionId| own.get(session).is_some_and(|own| own.grant.is_ok());
        candidate.is_member_alone() && !candidate.sessions.iter().any(is_in)
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
        (peer, standing): (Peer, Standing),
        connection: quinn::Connection,
        address: SocketAddr,
        dialled_by_us: bool,
        outgoing: mpsc::Sender<Message>,
    ) -> u64 {
        let earlier = self.links.iter().find(|(_, link)| link.peer.is_same_process(&peer));
        let earlier = earlier.map(|(&id, _)| id).and_then(|id| self.drop_link(id));
        // It is the same process, so what it publishes is known already.
        let (announced, inputs) = earlier.map_or_else(Default::default, |earlier| {
            earlier.connection.close(CloseCode::Duplicate.code(), b"another connection is kept");
            (earlier.announced, earlier.inputs)
        });
        self.next_link += 1;
        let id = self.next_link;
        self.shared.journal.note(&format!("connected to {peer} at {address}, {}", standing.words()));
        self.refused.remove(&peer.device);
        self.put_out.remove(&peer.device);
        self.no_stranger(peer.device);
        self.live.tell(Event::Up { link: id, peer: peer.clone() });
        let link = Connected {
            peer,
            outlet: Rc::new(RefCell::new(Outlet::new(connection.clone()))),
            connection,
            address,
            dialled_by_us,
            since: host_time::now(),
            outgoing,
            incoming: Incoming::default(),
            standing,
            allowance: Allowance::new(Instant::now()),
            clock_allowance: PacketAllowance::new(host_time::now()),
            announced,
            streams: BTreeMap::new(),
            refused_streams: Vec::new(),
            denied: BTreeMap::new(),
            inputs,
            inputs_told: Inputs::default(),
        };
        link.send(Message::Directory(self.directory(&link.standing)));
        self.links.insert(id, link);
        self.filter_streams(id);
        self.tell_inputs();
        self.remote_link_changed(id);
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
        let line = format!("disconnected from {} at {}: {error}", link.peer, link.address);
        self.shared.journal.note(&line);
        let put_out = |close: &quinn::ApplicationClose| close.error_code == CloseCode::Refused.code();
        if matches!(error, quinn::ConnectionError::ApplicationClosed(close) if put_out(close)) {
            self.note_put_out(link.peer.device, &line);
        }
        self.candidates.disconnected(link.peer.instance, for_good, Instant::now(), self.random());
        self.dialler.notify_one();
        self.settle_chains();
        self.settle(cause);
    }

    /// Puts every way that leads to a connected peer beneath its connection. The number of its virtual address, unless they
    /// are there already.
    pub(crate) fn adopt(&mut self, device: DeviceId, instance: InstanceId) -> Option<u64> {
        let mut links = self.links.values_mut();
        let link = links.find(|link| (link.peer.device, link.peer.instance) == (device, instance))?;
        let address = link.connection.remote_address();
        let paths = &self.shared.paths;
        let mut peers = paths.peers();
        let mut table = paths.table();
        let number = table.adopt(address)?;
        link.address = address;
        if let Some(known) = peers.find(device, instance) {
            peers.move_to(known, number, &mut table);
        }
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
        let mut moved = Vec::new();
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
                moved.push((link.peer.device, link.peer.instance));
            }
        }
        // An introduced peer keeps its other ways.
        for (device, instance) in moved {
            let is_known = self.shared.paths.peers().find(device, instance).is_some();
            if is_known {
                self.adopt(device, instance);
            }
        }
    }

    /// Without settling what depends on it.
    fn drop_link(&mut self, id: u64) -> Option<Connected> {
        let link = self.links.remove(&id)?;
        self.live.tell(Event::Down { link: id });
        self.shared.paths.table().unpin(link.address);
        for publisher in self.publishers.values_mut() {
            publisher.remove_remote(id);
        }
        self.remote_link_gone(id);
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

    /// Likewise, of one that was connected.
    fn note_put_out(&mut self, device: DeviceId, line: &str) {
        if self.put_out.len() >= REFUSED_MAX && !self.put_out.contains_key(&device) {
            self.put_out.pop_first();
        }
        self.put_out.insert(device, line.to_owned());
        self.note_refusal(Some(device), line);
    }

    /// Closes everything, with a word. The words still have to get out.
    pub(crate) fn say_goodbye(&mut self, goodbye: &Message) {
        for link in self.links.values() {
            link.send(goodbye.clone());
        }
    }

    /// Takes a message of so many bytes.
    pub(crate) fn handle_message(&mut self, id: u64, message: Message, bytes: usize) {
        let Some(link) = self.links.get_mut(&id) else { return };
        // Documents of chains have an allowance of their own.
        let taken = match message {
            Message::RemoteDocument(_) | Message::RemoteStates(_) => self.remote.allow_document(id, bytes),
            _ => link.allowance.take(bytes, Instant::now()),
        };
        if let Err(why) = taken {
            return self.cut_off(id, why);
        }
        match message {
            Message::Directory(directory) => self.take_directory(id, directory),
            Message::Subscribe(Subscribe { stream, quality }) => self.subscribed(id, stream, quality),
            Message::Unsubscribe(Unsubscribe { stream }) => {
                if let Some(publisher) = self.publishers.get_mut(&stream) {
                    publisher.remove_remote(id);
                }
            }
            Message::SubscribeRefused(refused) => {
                if refused.reason != SubscribeRefusal::NotAllowed {
                    link.streams.remove(&refused.stream);
                } else if link.streams.contains_key(&refused.stream) {
                    link.denied.insert(refused.stream, refused.text.into());
                }
                self.settle(LossCause::Unpublished);
            }
            Message::SessionRoster(roster) => self.gossip(id, bytes, Gossip::Roster(roster)),
            Message::SessionPlaces(places) => self.gossip(id, bytes, Gossip::Places(places)),
            Message::SessionHave(have) => self.gossip(id, bytes, Gossip::Have(have)),
            Message::SessionChanges(changes) => self.gossip(id, bytes, Gossip::Changes(changes)),
            Message::Inputs(inputs) => self.take_inputs(id, inputs),
            Message::Patch(patch) => self.patch_wished(id, patch),
            Message::PatchRefused(refused) => {
                let device = link.peer.device;
                self.patch_refused(device, refused);
            }
            Message::TimeState(state) => self.take_time_state(id, &state),
            Message::Beats(beats) => self.take_beats(id, &beats),
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
            other => {
                if self.take_remote_message(id, other).is_some() {
                    self.shared.counters.unknown_messages.add(1);
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
