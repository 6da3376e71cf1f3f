//! Chains that are played here for others.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use audiocloud_rt::wake::{Waker, wake_pair};
use audiocloud_rt::{block_ring, chain_event, event};
use audiocloud_session::remote::document::Assembler;
use audiocloud_units::{Nanos, SampleRate};
use audiocloud_wire::id::{RemoteId, SessionId};
use audiocloud_wire::message::{RemoteCapacity, RemoteOpen};

use super::api::{ChainKey, Transfer};
use super::chain_thread::Job;
use super::end::{End, Form};
use super::host::{Capacity, Host, NodeEnds, Who};
use super::status::{HostShared, RemoteFigures, ServedShared, ServedStatus};
use crate::allowance::Allowance;
use crate::status::lock;

/// How long a document may take to come.
pub(crate) const ASSEMBLING_MAX: Duration = Duration::from_secs(20);
/// Chains that one peer may have here.
pub(crate) const PER_PEER_MAX: usize = 64;
/// And all of them.
pub(crate) const SERVED_MAX: usize = 256;
/// Bytes of documents of one peer that may wait for the rest.
pub(crate) const ASSEMBLING_BYTES_MAX: usize = 8 << 20;
/// The most frames that a host may process at once.
const BLOCK_FRAMES_MAX: u32 = 16_384;
/// The highest rate.
const SAMPLE_RATE_MAX_HZ: u32 = 384_000;
/// Head-room is told anew when it has changed by so much, in thousandths.
const TOLD_PERMILLE: u16 = 20;
const EVENTS: usize = 4096;

/// What one peer may still ask for.
pub(crate) struct Asking {
    pub(crate) openings: Allowance,
    pub(crate) documents: Allowance,
}

impl Asking {
    pub(crate) fn new(now: Instant) -> Self {
        Self { openings: Allowance::of_openings(now), documents: Allowance::of_documents(now) }
    }
}

/// The host of this runtime.
pub(crate) struct Hosting {
    pub(crate) serial: u64,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) shared: Arc<HostShared>,
    pub(crate) draining: bool,
    pub(crate) capacity: RemoteCapacity,
    /// What each peer was told last.
    pub(crate) told: BTreeMap<u64, RemoteCapacity>,
}

impl Hosting {
    pub(crate) fn new(serial: u64, host: Arc<dyn Host>, shared: Arc<HostShared>) -> Self {
        let capacity = said(&Capacity::default(), false);
        let told = BTreeMap::new();
        let mut hosting = Self { serial, host, shared, draining: false, capacity, told };
        hosting.look();
        hosting
    }

    /// Asks the host how much room there is.
    pub(crate) fn look(&mut self) {
        let capacity = self.host.capacity();
        self.draining |= capacity.draining;
        self.capacity = said(&capacity, self.draining);
    }

    /// Whether a peer is to be told.
    pub(crate) fn is_news(&self, link: u64) -> bool {
        self.told.get(&link).is_none_or(|told| {
            let moved = told.head_room_permille.abs_diff(self.capacity.head_room_permille);
            let alike =
                RemoteCapacity { head_room_permille: told.head_room_permille, ..self.capacity.clone() };
            *told != alike || moved >= TOLD_PERMILLE
        })
    }
}

/// As it goes over the wire. Details that are too long are left out.
fn said(capacity: &Capacity, draining: bool) -> RemoteCapacity {
    RemoteCapacity {
        chains: capacity.chains,
        chains_max: capacity.chains_max,
        head_room_permille: capacity.head_room_permille.min(1000),
        workers: capacity.workers,
        realtime: capacity.realtime,
        draining,
        details: capacity.details.as_slice().try_into().unwrap_or_default(),
    }
}

/// As it comes.
pub(crate) fn heard(capacity: RemoteCapacity) -> Capacity {
    Capacity {
        chains: capacity.chains,
        chains_max: capacity.chains_max,
        head_room_permille: capacity.head_room_permille.min(1000),
        workers: capacity.workers,
        realtime: capacity.realtime,
        draining: capacity.draining,
        details: capacity.details.into_vec(),
    }
}

/// Where a served chain stands.
pub(crate) enum Phase {
    /// Its document is on its way since then.
    Assembling(Instant, Box<NodeEnds>),
    /// Its host builds it.
    Building,
    /// It plays.
    Live,
}

/// A chain that is played here, or is about to be.
pub(crate) struct Served {
    pub(crate) link: u64,
    pub(crate) remote: RemoteId,
    pub(crate) who: Who,
    pub(crate) key: ChainKey,
    pub(crate) name: String,
    pub(crate) session: Option<SessionId>,
    pub(crate) open: RemoteOpen,
    pub(crate) sample_rate: SampleRate,
    pub(crate) phase: Phase,
    pub(crate) assembly: Assembler,
    /// Of the document that plays.
    pub(crate) revision: u64,
    /// What its owner is to keep, until there is room for it on the link; and how often there was something.
    pub(crate) states: VecDeque<Vec<u8>>,
    pub(crate) states_revision: u64,
    /// To the chain's thread, which ends without it.
    pub(crate) jobs: Option<Sender<Job>>,
    pub(crate) end: Rc<RefCell<End>>,
    pub(crate) shared: Arc<ServedShared>,
}

impl Served {
    /// With rings for what it says it needs.
    ///
    /// # Errors
    /// What it says makes no sense, or the system has no more file descriptors.
    pub(crate) fn new(link: u64, who: Who, open: RemoteOpen, waker: Waker) -> Result<Self, String> {
        let sample_rate = SampleRate::new(open.sample_rate_hz)
            .filter(|rate| rate.hz() <= SAMPLE_RATE_MAX_HZ)
            .ok_or_else(|| format!("no chain is played at {} Hz", open.sample_rate_hz))?;
        if !(1..=BLOCK_FRAMES_MAX).contains(&open.block_frames_max) {
            return Err(format!("no chain is played in blocks of {} frames", open.block_frames_max));
        }
        let (to_play, to_go_back) =
            (u16::from(open.inputs) + u16::from(open.side_chain), open.outputs.into());
        let (blocks_in, blocks) = ring(to_play, sample_rate, open.block_frames_max);
        let (back, back_out) = ring(to_go_back, sample_rate, open.block_frames_max);
        let (events_in, events) = chain_event::chain_event_ring(EVENTS);
        let (back_events, back_events_out) = event::event_ring(EVENTS);
        let (due_waker, due) =
            wake_pair().map_err(|error| format!("the node has no room for another chain: {error}"))?;
        let form = Form {
            to_node: false,
            sample_rate,
            channels_out: to_go_back,
            channels_in: to_play,
            block_frames_max: open.block_frames_max,
            transfer: transfer(&open),
            patience: Nanos::new(i64::from(open.patience_us) * 1000),
        };
        let end = End::of_node(form, (back_out, back_events_out), (blocks_in, events_in), due_waker);
        let ends = NodeEnds { blocks, events, back, back_events, waker, due };
        let key = ChainKey { device: who.device, chain: open.chain };
        let (name, session) = (open.name.to_string(), open.session);
        let status = ServedStatus {
            chain: key,
            name: name.clone(),
            owner: who.name.clone(),
            session,
            sample_rate,
            transfer: transfer(&open),
            figures: RemoteFigures::default(),
            losses: Vec::new(),
        };
        Ok(Self {
            link,
            remote: open.remote,
            who,
            key,
            name,
            session,
            sample_rate,
            open,
            phase: Phase::Assembling(Instant::now(), Box::new(ends)),
            assembly: Assembler::default(),
            revision: 0,
            states: VecDeque::new(),
            states_revision: 0,
            jobs: None,
            end: Rc::new(RefCell::new(end)),
            shared: Arc::new(ServedShared { status: status.into() }),
        })
    }

    pub(crate) fn show(&self) {
        lock(&self.shared.status).figures = self.end.borrow_mut().figures();
    }
}

pub(crate) fn transfer(open: &RemoteOpen) -> Transfer {
    if open.exact { Transfer::Exact } else { Transfer::Live }
}

/// For a quarter of a second, or four of the host's blocks: however finely the network cuts them.
fn ring(
    channels: u16,
    sample_rate: SampleRate,
    block_frames_max: u32,
) -> (block_ring::Producer, block_ring::Consumer) {
    let frames = (sample_rate.hz() / 4).max(4 * block_frames_max);
    let frames = usize::try_from(frames).unwrap_or(usize::MAX);
    block_ring::block_ring(frames / 16, frames * usize::from(channels))
}
