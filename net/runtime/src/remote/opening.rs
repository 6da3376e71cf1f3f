//! A chain of ours: where it runs, or is to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audiocloud_rt::host_time;
use audiocloud_session::remote::document::Assembler;
use audiocloud_units::{HostTime, Nanos};
use audiocloud_wire::id::RemoteId;

use super::api::{NodeChoice, RemoteConfig, Transfer};
use super::end::End;
use super::status::{RemoteShared, RemoteState};

/// How long a node may take to open a chain.
pub(crate) const OPENING_MAX: Duration = Duration::from_secs(8);
/// How long a node that is silent is listened to before it is asked to open the chain anew: longer than QUIC takes to find
/// that its process is dead, so that who asks knows that it is not.
pub(crate) const SILENT_MAX: Duration = Duration::from_millis(2500);
/// A node is silent after three blocks, a round trip, and this.
const SILENCE: Nanos = Nanos::from_millis(20);
/// How long a node that refused is left alone: at first, and at the most.
const AVOIDED: Duration = Duration::from_millis(500);
const AVOIDED_MAX: Duration = Duration::from_secs(16);

/// Where it stands with its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Idle,
    /// Asked at that time.
    Opening(Instant),
    Live,
    /// Nothing comes back since then.
    Silent(Instant),
}

/// A node that refused, or failed.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    until: Instant,
    times: u32,
    pub(crate) why: String,
}

/// See the module.
pub(crate) struct Chain {
    pub(crate) shared: Arc<RemoteShared>,
    /// Its document is the one in `shared`.
    pub(crate) config: RemoteConfig,
    pub(crate) choice: NodeChoice,
    pub(crate) end: Rc<RefCell<End>>,
    pub(crate) stage: Stage,
    /// The opening in force, and over which link.
    pub(crate) opening: Option<(u64, RemoteId)>,
    /// Counts documents.
    pub(crate) revision: u64,
    /// The one that the node has.
    pub(crate) told: u64,
    /// What the node says of its plug-ins' states.
    pub(crate) states: Assembler,
    /// By link.
    pub(crate) refusals: BTreeMap<u64, Refusal>,
    /// Of the way to its node.
    pub(crate) rtt: Nanos,
    silence: Nanos,
    /// When it was last looked at, and since when it has been without a long break: who was held up has not listened.
    looked: HostTime,
    listens: HostTime,
}

impl Chain {
    pub(crate) fn new(shared: Arc<RemoteShared>, config: RemoteConfig, end: End) -> Self {
        let rate = i64::from(config.sample_rate.hz().max(1));
        let block = Nanos::new(i64::from(config.block_frames_max) * 1_000_000_000 / rate);
        Self {
            choice: config.node,
            shared,
            config: RemoteConfig { document: Vec::new(), ..config },
            end: Rc::new(RefCell::new(end)),
            stage: Stage::Idle,
            opening: None,
            revision: 1,
            told: 0,
            states: Assembler::default(),
            refusals: BTreeMap::new(),
            rtt: Nanos::ZERO,
            silence: Nanos::new(3 * block.get()) + SILENCE,
            looked: host_time::now(),
            listens: host_time::now(),
        }
    }

    pub(crate) fn is_exact(&self) -> bool {
        self.config.transfer == Transfer::Exact
    }

    /// The link of the node that has it and works, or is about to.
    pub(crate) fn works_at(&self) -> Option<u64> {
        match self.stage {
            Stage::Opening(_) | Stage::Live => self.opening.map(|(link, _)| link),
            Stage::Idle | Stage::Silent(_) => None,
        }
    }

    /// Leaves its node. The opening that is over.
    pub(crate) fn leave(&mut self) -> Option<(u64, RemoteId)> {
        self.stage = Stage::Idle;
        self.states = Assembler::default();
        self.end.borrow_mut().end();
        self.opening.take()
    }

    /// A node refused it, or failed.
    pub(crate) fn avoid(&mut self, link: u64, why: &str, now: Instant) {
        let times = self.refusals.get(&link).map_or(1, |before| before.times.saturating_add(1));
        let wait = AVOIDED.saturating_mul(1 << (times - 1).min(8)).min(AVOIDED_MAX);
        self.refusals.insert(link, Refusal { until: now + wait, times, why: why.to_owned() });
    }

    pub(crate) fn avoids(&self, link: u64, now: Instant) -> bool {
        self.refusals.get(&link).is_some_and(|refusal| refusal.until > now)
    }

    /// Whether its node is silent although sound goes there. In an exact render it may take its time.
    pub(crate) fn notice_silence(&mut self, now: HostTime) -> bool {
        if now - self.looked > Nanos::new(self.silence.get() / 2) {
            self.listens = now;
        }
        self.looked = now;
        if self.stage != Stage::Live || self.is_exact() {
            return false;
        }
        let waited = self.end.borrow().waited(now);
        let silent = waited.is_some_and(|waited| waited.min(now - self.listens) > self.silence + self.rtt);
        if silent {
            self.stage = Stage::Silent(Instant::now());
            self.end.borrow_mut().lost_node();
        }
        silent
    }

    pub(crate) fn state(&self) -> RemoteState {
        match self.stage {
            Stage::Idle if self.refusals.is_empty() => RemoteState::Searching,
            Stage::Idle => RemoteState::Refused,
            Stage::Opening(_) => RemoteState::Opening,
            Stage::Live => RemoteState::Live,
            Stage::Silent(_) => RemoteState::Silent,
        }
    }
}
