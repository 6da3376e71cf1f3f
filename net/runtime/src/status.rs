//! What the runtime tells about itself: to plug-ins, to the status command, to tests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use audiocloud_rt::host_time;
use audiocloud_units::{HostTime, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{DeviceId, InstanceId, SessionId, StreamId, StreamKey, UserId};
use audiocloud_wire::message::Purpose;
use serde_json::{Value, json};

use crate::clock::{Clocks, PtpStatus};
use crate::counters::{
    PublicationCounters, PublicationFigures, RuntimeCounters, RuntimeFigures, SubscriptionCounters,
    SubscriptionFigures,
};
use crate::health::{ListenerStatus, PathFigures};
use crate::input::{InputStatus, PatchRefusal};
use crate::journal::Journal;
use crate::meeting::client::MeetingStatus;
use crate::remote::status::{RemoteShared, ServedShared};
use crate::remote::{ChainStatus, NodeStatus};
use crate::sessions::{SessionStatus, Stranger};
use crate::socket::Paths;

/// Extra figures for the status command, such as those of the playout. Called on the network thread, so it must not
/// wait; and it must not hold a [`crate::Handle`], or the runtime never ends.
pub type Report = Box<dyn Fn() -> Value + Send + Sync>;

/// Where a subscription stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// The publisher has not been found since then.
    Searching { since: HostTime },
    /// The publisher has been found and is being dialled.
    Connecting,
    /// The publisher, or we, will not have this connection.
    Refused { reason: String },
    /// The publisher is connected but does not publish the stream.
    NotPublished,
    /// The publisher offers the stream in a form that this version does not know.
    Unplayable { reason: String },
    /// Packets flow, or would if there were any.
    Live,
    /// It was live, and is no longer since then; it is being looked for.
    Lost { since: HostTime, cause: LossCause },
}

/// Why a live subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossCause {
    /// The publisher said goodbye.
    PeerClosed,
    /// Nothing came from the publisher for two seconds: it crashed, or the network is gone.
    Timeout,
    /// The publisher no longer publishes the stream.
    Unpublished,
    /// The connection broke for another cause; the journal has it.
    ConnectionBroken,
}

impl LossCause {
    /// For programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer-closed",
            Self::Timeout => "timeout",
            Self::Unpublished => "unpublished",
            Self::ConnectionBroken => "connection-broken",
        }
    }
}

impl Link {
    /// For programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Searching { .. } => "searching",
            Self::Connecting => "connecting",
            Self::Refused { .. } => "refused",
            Self::NotPublished => "not-published",
            Self::Unplayable { .. } => "unplayable",
            Self::Live => "live",
            Self::Lost { .. } => "lost",
        }
    }
}

/// A stream that can be reached now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    pub key: StreamKey,
    pub name: String,
    pub publisher_name: String,
    pub sample_rate: SampleRate,
    pub channels: u16,
    /// None: one that this version does not know.
    pub codec: Option<Codec>,
    /// The session whose members it is for.
    pub session: Option<SessionId>,
    /// What it is for: talk-back is never part of what plays a person or a session.
    pub purpose: Purpose,
    /// Published in this process.
    pub local: bool,
}

/// Whether a peer is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerState {
    Connected,
    Connecting,
    /// Known, not connected now.
    Away,
    Refused,
}

impl PeerState {
    /// For programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Connecting => "connecting",
            Self::Away => "away",
            Self::Refused => "refused",
        }
    }
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub device: Option<DeviceId>,
    pub user: Option<UserId>,
    pub instance: Option<InstanceId>,
    pub name: String,
    /// Where its packets come from: of a relay, when they come by one.
    pub address: SocketAddr,
    /// How they come, in words; empty when it is not connected.
    pub way: String,
    pub state: PeerState,
    /// Why, where the state needs it.
    pub reason: String,
    pub path: PathFigures,
    /// Packets that QUIC found lost on the way to the peer.
    pub lost_packets: u64,
    /// How many streams it publishes.
    pub streams: usize,
}

/// One publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationStatus {
    /// Those in this process included.
    pub subscribers: usize,
    pub figures: PublicationFigures,
    /// Subscribers in other processes.
    pub listeners: Vec<ListenerStatus>,
    /// Why the members of its session do not hear it, cause and remedy; none: they may.
    pub trouble: Option<String>,
}

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionStatus {
    pub link: Link,
    /// What the publisher calls itself and the stream, as last known.
    pub publisher_name: String,
    pub stream_name: String,
    pub sample_rate: Option<SampleRate>,
    pub channels: u16,
    /// Frames of the publisher's block at most; 0: unknown.
    pub block_frames_max: u32,
    /// Where the packets come from; none in the same process.
    pub address: Option<SocketAddr>,
    /// To the publisher; all 0 when unknown.
    pub path: PathFigures,
    pub figures: SubscriptionFigures,
}

/// What a publication shares with its owner.
pub(crate) struct PublicationShared {
    pub(crate) stream: StreamId,
    pub(crate) name: Mutex<String>,
    pub(crate) sample_rate: SampleRate,
    pub(crate) channels: u16,
    pub(crate) codec: Codec,
    /// What subscribers may ask for, the preferred one first.
    pub(crate) codecs: Vec<Codec>,
    pub(crate) bitrate_max_bps: u32,
    pub(crate) session: Option<SessionId>,
    pub(crate) purpose: Purpose,
    /// Why members do not hear it.
    pub(crate) trouble: Mutex<Option<String>>,
    pub(crate) subscribers: AtomicUsize,
    /// Brought up to date a few times a second.
    pub(crate) listeners: Mutex<Vec<ListenerStatus>>,
    pub(crate) counters: PublicationCounters,
    pub(crate) report: Report,
}

/// What a subscription shares with its owner.
pub(crate) struct SubscriptionShared {
    pub(crate) key: StreamKey,
    pub(crate) state: Mutex<SubscriptionState>,
    pub(crate) counters: SubscriptionCounters,
    pub(crate) report: Report,
}

/// The part of a subscription's status that is not counted.
#[derive(Clone, Debug)]
pub(crate) struct SubscriptionState {
    pub(crate) link: Link,
    pub(crate) publisher_name: String,
    pub(crate) stream_name: String,
    pub(crate) sample_rate: Option<SampleRate>,
    pub(crate) channels: u16,
    pub(crate) block_frames_max: u32,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) path: PathFigures,
}

impl SubscriptionShared {
    pub(crate) fn new(key: StreamKey, report: Report) -> Self {
        let state = SubscriptionState {
            link: Link::Searching { since: host_time::now() },
            publisher_name: String::new(),
            stream_name: String::new(),
            sample_rate: None,
            channels: 0,
            block_frames_max: 0,
            address: None,
            path: PathFigures::default(),
        };
        Self { key, state: Mutex::new(state), counters: SubscriptionCounters::default(), report }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, SubscriptionState> {
        lock(&self.state)
    }

    pub(crate) fn status(&self) -> SubscriptionStatus {
        let state = self.state().clone();
        SubscriptionStatus {
            link: state.link,
            publisher_name: state.publisher_name,
            stream_name: state.stream_name,
            sample_rate: state.sample_rate,
            channels: state.channels,
            block_frames_max: state.block_frames_max,
            address: state.address,
            path: state.path,
            figures: self.counters.figures(),
        }
    }

    fn to_json(&self) -> Value {
        let status = self.status();
        let (reason, since_ms) = match &status.link {
            Link::Refused { reason } | Link::Unplayable { reason } => (Some(reason.clone()), None),
            Link::Lost { since, cause } => (Some(cause.code().to_owned()), Some(age_ms(*since))),
            Link::Searching { since } => (None, Some(age_ms(*since))),
            _ => (None, None),
        };
        json!({
            "publisher": self.key.publisher.to_string(),
            "stream": self.key.stream.to_string(),
            "link": status.link.code(),
            "reason": reason,
            "since_ms": since_ms,
            "publisher_name": status.publisher_name,
            "name": status.stream_name,
            "sample_rate": status.sample_rate.map(SampleRate::hz),
            "channels": status.channels,
            "block_frames_max": status.block_frames_max,
            "address": status.address.map(|address| address.to_string()),
            "path": status.path,
            "counters": status.figures,
            "losses": status.figures.losses(),
            "report": (self.report)(),
        })
    }
}

impl PublicationShared {
    pub(crate) fn status(&self) -> PublicationStatus {
        PublicationStatus {
            subscribers: self.subscribers.load(Ordering::Relaxed),
            figures: self.counters.figures(),
            listeners: lock(&self.listeners).clone(),
            trouble: lock(&self.trouble).clone(),
        }
    }

    fn to_json(&self) -> Value {
        let status = self.status();
        let listeners: Vec<_> = status.listeners.iter().map(ListenerStatus::to_json).collect();
        json!({
            "stream": self.stream.to_string(),
            "name": *lock(&self.name),
            "sample_rate": self.sample_rate.hz(),
            "channels": self.channels,
            "codec": self.codec.name(),
            "session": self.session.map(|session| session.to_string()),
            "purpose": self.purpose.code(),
            "trouble": status.trouble,
            "codecs": self.codecs.iter().map(|codec| codec.name()).collect::<Vec<_>>(),
            "subscribers": status.subscribers,
            "listeners": listeners,
            "counters": status.figures,
            "losses": status.figures.losses(),
            "report": (self.report)(),
        })
    }
}

/// What the network thread shows to all others.
pub(crate) struct Shared {
    pub(crate) device: DeviceId,
    pub(crate) user: UserId,
    pub(crate) instance: InstanceId,
    pub(crate) name: String,
    pub(crate) port: AtomicU16,
    /// The TCP port where a relay's packets are taken by TLS.
    pub(crate) tunnel_port: Option<u16>,
    /// How it stands with the meeting points.
    pub(crate) meeting: Mutex<Vec<MeetingStatus>>,
    pub(crate) journal: Journal,
    pub(crate) counters: RuntimeCounters,
    pub(crate) paths: Arc<Paths>,
    pub(crate) streams: Mutex<Vec<StreamEntry>>,
    pub(crate) peers: Mutex<Vec<PeerStatus>>,
    /// None until the store has been read once.
    pub(crate) sessions: Mutex<Option<Vec<SessionStatus>>>,
    pub(crate) strangers: Mutex<Vec<Stranger>>,
    pub(crate) inputs: Mutex<Vec<InputStatus>>,
    pub(crate) patch_refusals: Mutex<Vec<PatchRefusal>>,
    /// Domains of shared time.
    pub(crate) clocks: Clocks,
    /// PTP on a network interface, where it runs.
    pub(crate) ptp: Mutex<Option<PtpStatus>>,
    /// Chains of ours that run elsewhere.
    pub(crate) remotes: Mutex<Vec<Weak<RemoteShared>>>,
    /// Chains that run here for others.
    pub(crate) served: Mutex<Vec<Weak<ServedShared>>>,
    /// Nodes that can be reached.
    pub(crate) nodes: Mutex<Vec<NodeStatus>>,
    /// Chains of peers that can be seen.
    pub(crate) chains: Mutex<Vec<ChainStatus>>,
    /// Reports of plug-ins, whether they publish, play, or neither.
    pub(crate) instances: Mutex<Vec<Weak<Report>>>,
    pub(crate) publications: Mutex<Vec<Weak<PublicationShared>>>,
    pub(crate) subscriptions: Mutex<Vec<Weak<SubscriptionShared>>>,
}

impl Shared {
    pub(crate) fn figures(&self) -> RuntimeFigures {
        self.counters.garbage_datagrams.set(self.paths.garbage.load(Ordering::Relaxed));
        self.counters.unroutable_datagrams.set(self.paths.unroutable.load(Ordering::Relaxed));
        self.counters.no_way_datagrams.set(self.paths.no_way.load(Ordering::Relaxed));
        self.counters.tunnel_drops.set(self.paths.tunnel_dropped.load(Ordering::Relaxed));
        self.counters.forwarded_datagrams.set(self.paths.forwarded.load(Ordering::Relaxed));
        self.counters.unforwarded_datagrams.set(self.paths.not_forwarded.load(Ordering::Relaxed));
        self.counters.clients_refused.set(self.paths.clients_refused.load(Ordering::Relaxed));
        self.counters.figures()
    }

    /// The answer to the status command.
    pub(crate) fn to_json(&self) -> Value {
        let instances: Vec<_> = living(&self.instances);
        let publications: Vec<_> = living(&self.publications);
        let subscriptions: Vec<_> = living(&self.subscriptions);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "device": self.device.to_string(),
            "user": self.user.to_string(),
            "instance": self.instance.to_string(),
            "name": self.name,
            "pid": std::process::id(),
            "port": self.port.load(Ordering::Relaxed),
            "peers": lock(&self.peers).iter().map(peer_json).collect::<Vec<_>>(),
            "streams": lock(&self.streams).iter().map(stream_json).collect::<Vec<_>>(),
            "sessions": lock(&self.sessions).iter().flatten().map(SessionStatus::to_json).collect::<Vec<_>>(),
            "strangers": lock(&self.strangers).iter().map(Stranger::to_json).collect::<Vec<_>>(),
            "inputs": lock(&self.inputs).iter().map(input_json).collect::<Vec<_>>(),
            "patch_refusals": lock(&self.patch_refusals).iter().map(refusal_json).collect::<Vec<_>>(),
            "clocks": self.clocks.to_json(),
            "ptp": lock(&self.ptp).as_ref().map(PtpStatus::to_json),
            "instances": instances.iter().map(|report| report()).collect::<Vec<_>>(),
            "publications": publications.iter().map(|one| one.to_json()).collect::<Vec<_>>(),
            "subscriptions": subscriptions.iter().map(|one| one.to_json()).collect::<Vec<_>>(),
            "remotes": living(&self.remotes).iter().map(|one| one.status().to_json()).collect::<Vec<_>>(),
            "served": living(&self.served).iter().map(|one| one.status().to_json()).collect::<Vec<_>>(),
            "nodes": lock(&self.nodes).iter().map(NodeStatus::to_json).collect::<Vec<_>>(),
            "chains": self.all_chains().iter().map(ChainStatus::to_json).collect::<Vec<_>>(),
            "meeting": *lock(&self.meeting),
            "refusals": self.journal.refusals(),
            "journal": self.journal.lines(),
            "counters": self.figures(),
        })
    }
}

/// Those that still have an owner; the others are forgotten.
pub(crate) fn living<T>(list: &Mutex<Vec<Weak<T>>>) -> Vec<Arc<T>> {
    let mut list = lock(list);
    list.retain(|one| one.strong_count() > 0);
    list.iter().filter_map(Weak::upgrade).collect()
}

/// A panic elsewhere leaves whole values behind, so a poisoned lock is as good as another.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn age_ms(since: HostTime) -> i64 {
    (host_time::now() - since).get() / 1_000_000
}

fn peer_json(peer: &PeerStatus) -> Value {
    json!({
        "device": peer.device.map(|id| id.to_string()),
        "user": peer.user.map(|id| id.to_string()),
        "instance": peer.instance.map(|id| id.to_string()),
        "name": peer.name,
        "address": peer.address.to_string(),
        "way": peer.way,
        "state": peer.state.code(),
        "reason": peer.reason,
        "path": peer.path,
        "lost_packets": peer.lost_packets,
        "streams": peer.streams,
    })
}

fn stream_json(stream: &StreamEntry) -> Value {
    json!({
        "publisher": stream.key.publisher.to_string(),
        "stream": stream.key.stream.to_string(),
        "name": stream.name,
        "publisher_name": stream.publisher_name,
        "sample_rate": stream.sample_rate.hz(),
        "channels": stream.channels,
        "codec": stream.codec.map(Codec::name),
        "session": stream.session.map(|session| session.to_string()),
        "purpose": stream.purpose.code(),
        "local": stream.local,
    })
}

fn refusal_json(refusal: &PatchRefusal) -> Value {
    json!({
        "device": refusal.device.to_string(),
        "input": refusal.input.to_string(),
        "publisher": refusal.stream.publisher.to_string(),
        "stream": refusal.stream.stream.to_string(),
        "text": refusal.text,
    })
}

fn input_json(input: &InputStatus) -> Value {
    let playing = input
        .playing
        .iter()
        .map(|key| json!({ "publisher": key.publisher.to_string(), "stream": key.stream.to_string() }));
    json!({
        "device": input.device.to_string(),
        "device_name": input.device_name,
        "id": input.input.to_string(),
        "name": input.name,
        "session": input.session.map(|session| session.to_string()),
        "open": input.open,
        "local": input.local,
        "playing": playing.collect::<Vec<_>>(),
    })
}
