//! The plug-in's side, as plug-ins see it.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use audiocloud_rt::{block_ring, chain_event, event};
use audiocloud_units::{Nanos, SampleRate};
use audiocloud_wire::id::{ChainId, DeviceId, ParseIdError, SessionId};
use tokio::sync::mpsc;

use super::order::{Order, tell};
use super::status::{RemoteShared, RemoteStatus};
use crate::command::Command;
use crate::status::lock;

/// The longest document of a chain, in bytes, states of foreign plug-ins included.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// The longest edit that can be proposed, in bytes.
pub const EDIT_BYTES_MAX: usize = 48 << 10;
/// Proposals that wait to be taken. More are refused: whoever should take them does not.
const PROPOSALS_MAX: usize = 64;
/// Likewise, of what nodes say of states: each may be as long as a document.
const STATES_MAX: usize = 4;

/// Which node a chain is to run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeChoice {
    /// The one with the greatest head-room; of alike ones the one with the shortest round trip.
    #[default]
    Automatic,
    /// This one, and no other.
    Device(DeviceId),
}

/// How blocks travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transfer {
    /// In time, by datagrams.
    #[default]
    Live,
    /// All of them, however long it takes.
    Exact,
}

/// A chain that is to run elsewhere.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// What its user calls it: rights to control it are given by this name.
    pub name: String,
    /// The session whose nodes may run it; none: nodes of this user, and of who is named or accepted, alone.
    pub session: Option<SessionId>,
    /// Where it is to run.
    pub node: NodeChoice,
    /// Of all channels.
    pub sample_rate: SampleRate,
    /// Channels to be processed: the first of each block.
    pub inputs: u16,
    /// Channels that only control effects, after them; 0: none.
    pub side_chain: u16,
    /// Channels that come back.
    pub outputs: u16,
    /// The most frames that the host processes at once.
    pub block_frames_max: u32,
    /// How long after it was missed a slice is still of use to the node.
    pub patience: Nanos,
    /// How blocks travel.
    pub transfer: Transfer,
    /// What is to run: the values in force, too.
    pub document: Vec<u8>,
}

/// The runtime's ends of a plug-in's rings.
#[derive(Debug)]
pub struct PlugEnds {
    /// The host's blocks, main channels first, then the side-chain's, counted by frames since their epoch began.
    pub blocks: block_ring::Consumer,
    /// What happens at their frames; each is pushed before the block that it falls into.
    pub events: chain_event::Consumer,
    /// What comes back: blocks whose `start` is the frame of the input that they answer.
    pub back: block_ring::Producer,
    /// Notes that come back.
    pub back_events: event::Producer,
}

/// A chain, wherever it is seen from: whose it is, and which of theirs. As text `<64 hex digits>/<16 hex digits>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ChainKey {
    /// The device whose plug-in owns it.
    pub device: DeviceId,
    /// Random, for as long as the plug-in is active.
    pub chain: ChainId,
}

impl fmt::Display for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.device, self.chain)
    }
}

impl FromStr for ChainKey {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digits = 2 * (DeviceId::BYTES + 8);
        let (device, chain) = text.split_once('/').ok_or(ParseIdError { digits })?;
        Ok(Self { device: device.parse()?, chain: chain.parse()? })
    }
}

/// An edit that somebody else proposes. Who proposes it had the right to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Who, for people.
    pub from: String,
    /// What, in the form of the chain's edits.
    pub edit: Vec<u8>,
}

/// Rung when something comes back, when there is room again in a ring that an exact chain filled, and when the chain's state
/// changes. For callbacks that may wait: those of offline and exact renders, and no others.
#[derive(Clone, Debug, Default)]
pub struct Arrived(Arc<Bell>);

#[derive(Debug, Default)]
struct Bell {
    rung: AtomicU64,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Arrived {
    /// How often it was rung. To be asked for before one looks whether there is anything to wait for.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.rung.load(Ordering::SeqCst)
    }

    /// Waits until it was rung more often than `seen` times, or `limit` has passed. How often it was rung.
    ///
    /// *Realtime-safe: no* (waits).
    #[must_use]
    pub fn wait(&self, seen: u64, limit: Duration) -> u64 {
        let deadline = Instant::now() + limit;
        let bell = &*self.0;
        let mut held = lock(&bell.lock);
        bell.waiting.fetch_add(1, Ordering::SeqCst);
        let count = loop {
            let count = self.count();
            let left = deadline.saturating_duration_since(Instant::now());
            if count != seen || left.is_zero() {
                break count;
            }
            held = match bell.changed.wait_timeout(held, left) {
                Ok((held, _)) => held,
                Err(poisoned) => poisoned.into_inner().0,
            };
        };
        bell.waiting.fetch_sub(1, Ordering::SeqCst);
        drop(held);
        count
    }

    /// Costs a system call only when somebody waits.
    pub(crate) fn ring(&self) {
        self.0.rung.fetch_add(1, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            // Whoever is about to wait has the lock until they do.
            drop(lock(&self.0.lock));
            self.0.changed.notify_all();
        }
    }
}

/// A chain of ours that runs elsewhere, or would. Dropping it ends that. *Realtime-safe: no.*
pub struct Remote {
    pub(crate) shared: Arc<RemoteShared>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("chain", &self.shared.key).finish_non_exhaustive()
    }
}

impl Remote {
    /// Which chain.
    #[must_use]
    pub fn key(&self) -> ChainKey {
        self.shared.key
    }

    /// Runs something else from now on, where it runs. The document holds the values in force: automation from before it
    /// counts no more. Called often, the latest one is sent some twenty times a second.
    ///
    /// # Errors
    /// It is longer than [`DOCUMENT_BYTES_MAX`]; then the chain goes on as it was.
    pub fn set_document(&self, document: Vec<u8>) -> Result<(), String> {
        check_document(&document)?;
        *lock(&self.shared.document) = Arc::new(document);
        self.tell(Order::Document { chain: self.shared.key.chain });
        Ok(())
    }

    /// Calls it something else.
    pub fn rename(&self, name: &str) {
        name.clone_into(&mut lock(&self.shared.name));
        self.tell(Order::Changed);
    }

    /// Whether others who hold the right to control it may edit it; they may, until this says otherwise. Devices of this user
    /// always may.
    pub fn set_open(&self, open: bool) {
        self.shared.open.store(open, Ordering::Relaxed);
        self.tell(Order::Changed);
    }

    /// Goes to another node, if this is another choice and leads to one.
    pub fn set_node(&self, node: NodeChoice) {
        self.tell(Order::Node { chain: self.shared.key.chain, node });
    }

    /// Edits that others proposed since the last call, in their order; to be asked for a few times a second.
    #[must_use]
    pub fn proposals(&self) -> Vec<Proposal> {
        lock(&self.shared.proposals).drain(..).collect()
    }

    /// What nodes told since the last call that its owner is to keep, in their order and in their host's form; to be asked for
    /// a few times a second.
    #[must_use]
    pub fn states(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.states).drain(..).collect()
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> RemoteStatus {
        self.shared.status()
    }

    /// For a callback that may wait.
    #[must_use]
    pub fn arrived(&self) -> Arrived {
        self.shared.arrived.clone()
    }

    fn tell(&self, order: Order) {
        tell(&self.commands, order);
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.tell(Order::Close { chain: self.shared.key.chain });
    }
}

/// Whether a document can be carried.
pub(crate) fn check_document(document: &[u8]) -> Result<(), String> {
    if document.len() <= DOCUMENT_BYTES_MAX {
        return Ok(());
    }
    Err(format!(
        "the chain takes {} bytes with the states of its plug-ins, {DOCUMENT_BYTES_MAX} can be sent; remove a plug-in, or \
         choose a smaller preset in it",
        document.len()
    ))
}

impl RemoteShared {
    /// Hands a proposal to the owner.
    pub(crate) fn propose(&self, proposal: Proposal) -> Result<(), String> {
        if proposal.edit.len() > EDIT_BYTES_MAX {
            return Err(format!(
                "the edit takes {} bytes, {EDIT_BYTES_MAX} are allowed",
                proposal.edit.len()
            ));
        }
        let mut proposals = lock(&self.proposals);
        if proposals.len() >= PROPOSALS_MAX {
            return Err("too many edits wait for its owner; try again in a moment".to_owned());
        }
        proposals.push_back(proposal);
        Ok(())
    }

    /// Hands the owner what is to be kept.
    pub(crate) fn keep(&self, states: Vec<u8>) -> Result<(), String> {
        let mut waiting = lock(&self.states);
        if waiting.len() >= STATES_MAX {
            return Err("the plug-in does not take them; reload it".to_owned());
        }
        waiting.push(states);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_is_heard_by_who_waits_and_by_who_comes_later() {
        let bell = Arrived::default();
        assert_eq!(bell.wait(bell.count(), Duration::ZERO), 0, "nobody rang");
        let other = bell.clone();
        let rung = std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..1000 {
                    other.ring();
                    std::thread::yield_now();
                }
            });
            let mut seen = 0;
            while seen < 1000 {
                let now = bell.wait(seen, Duration::from_secs(10));
                assert!(now > seen, "it was waited for in vain");
                seen = now;
            }
            seen
        });
        assert_eq!(rung, 1000);
        assert_eq!(bell.wait(999, Duration::from_secs(10)), 1000, "at once");
    }

    #[test]
    fn a_chain_is_named_by_text() {
        let key = ChainKey { device: DeviceId([0xa5; 32]), chain: ChainId(0x0123_4567_89ab_cdef) };
        assert!(key.to_string().ends_with("/0123456789abcdef"));
        assert_eq!(key.to_string().parse(), Ok(key));
        assert!("a5/01".parse::<ChainKey>().is_err());
    }
}
