//! Where chains stand, on either side.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

use audiocloud_units::SampleRate;
use audiocloud_wire::id::{DeviceId, InstanceId, SessionId};
use serde::Serialize;
use serde_json::{Value, json};

use super::api::{Arrived, ChainKey, Proposal, Transfer};
use super::host::Capacity;
use crate::health::{Loss, Owner, PathFigures, happened};
use crate::status::lock;

/// The longest document that others are shown, in bytes; of a longer one they see that it is there.
pub(crate) const SHOWN_BYTES_MAX: usize = 128 << 10;
/// How long whoever ends a host waits for its chains.
const CLOSING: Duration = Duration::from_secs(2);

/// Where a chain of ours stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteState {
    /// No node is there that could run it.
    #[default]
    Searching,
    /// A node was asked, and has not answered yet.
    Opening,
    /// It runs.
    Live,
    /// It ran, and nothing comes back now: the same node is listened to, and others are looked for.
    Silent,
    /// Every node that is there refuses it; they are asked again.
    Refused,
}

impl RemoteState {
    /// For programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::Opening => "opening",
            Self::Live => "live",
            Self::Silent => "silent",
            Self::Refused => "refused",
        }
    }
}

/// What became of a chain's blocks, since it was opened first; on either side of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RemoteFigures {
    /// How often a node opened it.
    pub opened: u64,
    /// How often its node fell silent or went.
    pub lost_nodes: u64,
    /// Blocks taken from the ring.
    pub blocks: u64,
    /// Of those, blocks that came while no node had the chain.
    pub blocks_unopened: u64,
    /// Blocks that do not have the rate or the channels that were opened.
    pub mismatched: u64,
    /// Slices sent, each once.
    pub sent: u64,
    /// Slices sent again because they were asked for.
    pub resent: u64,
    /// Slices sent twice unasked: the path loses some, or nothing followed them.
    pub doubled: u64,
    /// Slices asked for that were not kept any more.
    pub too_old: u64,
    /// Slices asked for by who asks for more than is sent.
    pub requests_refused: u64,
    /// Events of an epoch that is over, or with values that are no numbers.
    pub events_refused: u64,
    /// Slices that came, each once.
    pub received: u64,
    /// Slices that had to be asked for, or came by a repeat alone.
    pub missed: u64,
    /// Of these, slices that came in time.
    pub recovered: u64,
    /// Slices that did not come in time, and were done without.
    pub lost: u64,
    /// Of these, slices that came after that.
    pub late: u64,
    /// Frames of silence in place of what did not come.
    pub filled_frames: u64,
    /// Events that never came.
    pub events_lost: u64,
    /// Slices that came twice.
    pub duplicates: u64,
    /// Slices that contradict what was opened, or are of an epoch that is over.
    pub refused: u64,
    /// Slices asked for, each request of each.
    pub requests: u64,
    /// Blocks or events that a ring had no room for.
    pub ring_full: u64,
    /// Datagrams beyond what the path takes.
    pub beyond_cap: u64,
    /// Datagrams that found no room in the connection's queue.
    pub queue_full: u64,
    /// Datagrams that QUIC would not take for another cause.
    pub unsendable: u64,
    /// From the block's leaving the ring until what answers it is back in one, lately, in microseconds.
    pub round_us: u64,
}

impl RemoteFigures {
    /// What was lost, and whose business it is. What was lost and recovered is not lost.
    #[must_use]
    pub fn losses(&self) -> Vec<Loss> {
        happened([
            (Owner::Network, self.lost.saturating_sub(self.late), "slices never came"),
            (Owner::Network, self.late, "slices came too late"),
            (Owner::Network, self.events_lost, "events never came"),
            (Owner::Network, self.beyond_cap, "slices were more than the path takes"),
            (Owner::ReceiverComputer, self.ring_full, "blocks found no room: they were not taken"),
            (Owner::OurLimit, self.queue_full, "slices found no room in a queue"),
            (Owner::OurLimit, self.unsendable, "slices could not be sent"),
            (Owner::OurLimit, self.too_old, "slices were asked for when they were no longer kept"),
            (Owner::SenderComputer, self.mismatched, "blocks were of another form than was opened"),
        ])
    }
}

/// A chain of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteStatus {
    /// Which.
    pub chain: ChainKey,
    /// For programs.
    pub state: RemoteState,
    /// For people: what it waits for, and what to do about it.
    pub words: String,
    /// The node that runs it, or did last: its device, and what that calls itself.
    pub node: Option<(DeviceId, String)>,
    /// The way to the node; all 0 without one.
    pub path: PathFigures,
    pub figures: RemoteFigures,
    /// Whose business is what was lost.
    pub losses: Vec<Loss>,
    /// What the node's host says of it; empty before it said anything.
    pub node_report: Vec<u8>,
}

/// A chain that is played here for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedStatus {
    /// Which.
    pub chain: ChainKey,
    /// What its user calls it.
    pub name: String,
    /// What its owner's device calls itself.
    pub owner: String,
    pub session: Option<SessionId>,
    pub sample_rate: SampleRate,
    pub transfer: Transfer,
    pub figures: RemoteFigures,
    /// Whose business is what was lost.
    pub losses: Vec<Loss>,
}

/// A node that can be reached now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    pub device: DeviceId,
    pub instance: InstanceId,
    /// What the device calls itself.
    pub name: String,
    /// Sessions that we share with it; chains of these may run there. None of them: it is trusted without one.
    pub sessions: Vec<SessionId>,
    /// Whether it is ours, or somebody's who is named or accepted.
    pub trusted: bool,
    pub path: PathFigures,
    pub capacity: Capacity,
}

/// A chain that can be seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainStatus {
    /// Which.
    pub chain: ChainKey,
    /// What its user calls it.
    pub name: String,
    /// What its owner's device calls itself.
    pub owner: String,
    pub session: Option<SessionId>,
    /// The node that runs it.
    pub node: Option<DeviceId>,
    /// Whether we may edit it.
    pub open: bool,
    /// What runs; empty until it is known, and where it is too long to be shown.
    pub document: Arc<Vec<u8>>,
    /// Of this process.
    pub local: bool,
}

impl RemoteStatus {
    /// The node that has it, if one has.
    pub(crate) fn node_now(&self) -> Option<DeviceId> {
        let runs = matches!(self.state, RemoteState::Live | RemoteState::Silent);
        self.node.as_ref().filter(|_| runs).map(|(device, _)| *device)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "chain": self.chain.to_string(),
            "state": self.state.code(),
            "words": self.words,
            "node": self.node.as_ref().map(|(device, _)| device.to_string()),
            "node_name": self.node.as_ref().map(|(_, name)| name),
            "path": self.path,
            "counters": self.figures,
            "losses": self.losses,
            "node_report": opaque(&self.node_report),
        })
    }
}

impl ServedStatus {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "chain": self.chain.to_string(),
            "name": self.name,
            "owner": self.owner,
            "session": self.session.map(|session| session.to_string()),
            "sample_rate": self.sample_rate.hz(),
            "exact": self.transfer == Transfer::Exact,
            "counters": self.figures,
            "losses": self.losses,
        })
    }
}

impl NodeStatus {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "device": self.device.to_string(),
            "instance": self.instance.to_string(),
            "name": self.name,
            "sessions": self.sessions.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "trusted": self.trusted,
            "path": self.path,
            "chains": self.capacity.chains,
            "chains_max": self.capacity.chains_max,
            "head_room_permille": self.capacity.head_room_permille,
            "workers": self.capacity.workers,
            "realtime": self.capacity.realtime,
            "draining": self.capacity.draining,
            "details": opaque(&self.capacity.details),
        })
    }
}

impl ChainStatus {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "chain": self.chain.to_string(),
            "name": self.name,
            "owner": self.owner,
            "session": self.session.map(|session| session.to_string()),
            "node": self.node.map(|node| node.to_string()),
            "open": self.open,
            "document": opaque(self.document.get(..).filter(|all| all.len() <= SHOWN_BYTES_MAX).unwrap_or_default()),
            "local": self.local,
        })
    }
}

/// What is not ours to read: JSON where it is that.
fn opaque(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or(Value::Null)
}

/// What a chain shares with its owner.
pub(crate) struct RemoteShared {
    pub(crate) key: ChainKey,
    pub(crate) name: Mutex<String>,
    pub(crate) session: Option<SessionId>,
    pub(crate) document: Mutex<Arc<Vec<u8>>>,
    pub(crate) proposals: Mutex<VecDeque<Proposal>>,
    /// What nodes told to be kept.
    pub(crate) states: Mutex<Vec<Vec<u8>>>,
    pub(crate) arrived: Arrived,
    /// Whether others may edit it.
    pub(crate) open: AtomicBool,
    /// For tests that forge slices: what only the two ends know.
    #[cfg(test)]
    pub(crate) opening: std::sync::atomic::AtomicU64,
    pub(crate) state: Mutex<RemoteStatus>,
}

impl RemoteShared {
    pub(crate) fn new(key: ChainKey, name: String, session: Option<SessionId>, document: Vec<u8>) -> Self {
        let state = RemoteStatus {
            chain: key,
            state: RemoteState::Searching,
            words: "looking for a node".to_owned(),
            node: None,
            path: PathFigures::default(),
            figures: RemoteFigures::default(),
            losses: Vec::new(),
            node_report: Vec::new(),
        };
        Self {
            key,
            name: Mutex::new(name),
            session,
            document: Mutex::new(Arc::new(document)),
            proposals: Mutex::default(),
            states: Mutex::default(),
            arrived: Arrived::default(),
            open: AtomicBool::new(true),
            #[cfg(test)]
            opening: 0.into(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn status(&self) -> RemoteStatus {
        let mut status = lock(&self.state).clone();
        status.losses = status.figures.losses();
        status
    }
}

/// What a served chain shows.
pub(crate) struct ServedShared {
    pub(crate) status: Mutex<ServedStatus>,
}

impl ServedShared {
    pub(crate) fn status(&self) -> ServedStatus {
        let mut status = lock(&self.status).clone();
        status.losses = status.figures.losses();
        status
    }
}

/// What a host shares with who serves it.
#[derive(Default)]
pub(crate) struct HostShared {
    pub(crate) chains: Mutex<Vec<Weak<ServedShared>>>,
    life: Mutex<HostLife>,
    changed: Condvar,
}

#[derive(Default)]
struct HostLife {
    /// No thread begins any more.
    stopped: bool,
    /// Threads of chains that have not ended yet.
    threads: usize,
}

impl HostShared {
    pub(crate) fn thread_begins(&self) {
        lock(&self.life).threads += 1;
    }

    pub(crate) fn thread_ends(&self) {
        lock(&self.life).threads -= 1;
        self.changed.notify_all();
    }

    pub(crate) fn stop(&self) {
        lock(&self.life).stopped = true;
        self.changed.notify_all();
    }

    /// However many chains there are and however long they take: no longer than some seconds.
    pub(crate) fn wait_until_closed(&self) {
        let deadline = Instant::now() + CLOSING;
        let mut life = lock(&self.life);
        while !life.stopped || life.threads > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let threads = life.threads;
                tracing::warn!(target: "audiocloud::net", threads, "chains are still being closed");
                return;
            }
            life = match self.changed.wait_timeout(life, left) {
                Ok((life, _)) => life,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}
