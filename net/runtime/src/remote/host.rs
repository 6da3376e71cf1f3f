//! The node's side, as whoever plays chains sees it.

use std::fmt;
use std::sync::Arc;

use audiocloud_rt::wake::{WakeReceiver, Waker};
use audiocloud_rt::{block_ring, chain_event, event};
use audiocloud_units::SampleRate;
use audiocloud_wire::id::{DeviceId, SessionId, UserId};
use serde::Serialize;
use tokio::sync::mpsc;

use super::api::{ChainKey, Transfer};
use super::order::{Order, tell};
use super::status::{HostShared, ServedShared, ServedStatus};
use crate::command::Command;
use crate::status::living;

/// Plays chains for peers.
///
/// The runtime asks for rights; a host asks whether there is room.
pub trait Host: Send + Sync {
    /// Begins to play a chain. Called on a thread of this chain's own, so it may take its time; audio waits meanwhile at
    /// its owner.
    ///
    /// # Errors
    /// Why it is not played, cause and remedy: its owner reads it.
    fn open(&self, request: OpenRequest) -> Result<Box<dyn ServedChain>, String>;

    /// How much room there is. Called on the network thread a few times a second, so it must not wait.
    fn capacity(&self) -> Capacity;
}

/// A chain that is being played. Dropping it ends that. All of it happens on the thread of the chain that opened it.
pub trait ServedChain: Send {
    /// Plays something else from now on. The document holds the values in force.
    fn set_document(&mut self, document: &[u8]);

    /// How it stands, in a form that the owner's plug-in reads; of at most 32 KiB. Asked for about once a second.
    fn report(&mut self) -> Vec<u8>;

    /// What its owner is to keep of it from now on, such as states of plug-ins, where there is something new; of at most
    /// [`DOCUMENT_BYTES_MAX`](super::DOCUMENT_BYTES_MAX). Asked for with the report, unless what it said before is still on its way.
    fn states(&mut self) -> Option<Vec<u8>> {
        None
    }
}

/// Whose chain it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Their device.
    pub device: DeviceId,
    /// Its user.
    pub user: UserId,
    /// What the device calls itself.
    pub name: String,
}

/// A chain that a peer wants to be played. They have the right to ask.
#[derive(Debug)]
pub struct OpenRequest {
    /// Whose it is.
    pub who: Who,
    /// Which it is, for those who propose edits.
    pub key: ChainKey,
    /// What its user calls it.
    pub name: String,
    /// The session that it belongs to.
    pub session: Option<SessionId>,
    /// Of all channels.
    pub sample_rate: SampleRate,
    /// Channels to be processed: the first of each block.
    pub inputs: u16,
    /// Channels that only control effects, after them.
    pub side_chain: u16,
    /// Channels that go back.
    pub outputs: u16,
    /// The most frames that its owner's host processes at once. Blocks here are at most as long, and mostly shorter.
    pub block_frames_max: u32,
    /// In time, or all of it.
    pub transfer: Transfer,
    /// What to play.
    pub document: Vec<u8>,
    /// Where its sound comes from and goes to.
    pub ends: NodeEnds,
}

/// The worker's ends of a chain's rings.
#[derive(Debug)]
pub struct NodeEnds {
    /// What is to be played: without gaps within an epoch, from whatever frame it begins at.
    pub blocks: block_ring::Consumer,
    /// What happens at their frames; each is there before the block that it falls into.
    pub events: chain_event::Consumer,
    /// What was played: blocks whose `start` is the frame of the input that they answer.
    pub back: block_ring::Producer,
    /// Notes that go back; each is to be pushed before the block that it falls into.
    pub back_events: event::Producer,
    /// To be rung after blocks were pushed, or taken where the transfer is exact.
    pub waker: Waker,
    /// Woken when blocks come, and when there is room to go back.
    pub due: WakeReceiver,
}

/// How much room a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// Chains that it plays.
    pub chains: u16,
    /// The most that it would.
    pub chains_max: u16,
    /// What is left of its deadlines, in thousandths: 1000 when it has nothing to do, 0 when it can take no more.
    pub head_room_permille: u16,
    /// Threads that play.
    pub workers: u16,
    /// Whether they are scheduled in real time.
    pub realtime: bool,
    /// Whether it is about to end: it opens nothing any more, and chains better go elsewhere.
    pub draining: bool,
    /// What else its owner's plug-in is to know, such as the plug-ins there; of at most 32 KiB.
    pub details: Vec<u8>,
}

/// A host that is offered to peers. Dropping it closes its chains, and waits until they are.
pub struct Serving {
    pub(crate) serial: u64,
    pub(crate) shared: Arc<HostShared>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl Serving {
    /// Opens nothing from now on, and tells everybody, so that chains go to other nodes where there are any.
    pub fn drain(&self) {
        tell(&self.commands, Order::Drain { serial: self.serial });
    }

    /// The chains that are played.
    #[must_use]
    pub fn chains(&self) -> Vec<ServedStatus> {
        living(&self.shared.chains).iter().map(|chain| ServedShared::status(chain)).collect()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if !tell(&self.commands, Order::StopServing { serial: self.serial }) {
            self.shared.stop();
        }
        self.shared.wait_until_closed();
    }
}
