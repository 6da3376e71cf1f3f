//! What an active Remote FX holds beside its callbacks: the rack here, the way to a node, and the rings between.

use std::sync::Arc;
use std::time::Instant;

use audiocloud_engine::chain::document::Chain;
use audiocloud_engine::chain::foreign::NoForeign;
use audiocloud_engine::chain::rack::{RackAudio, RackControl, RackSetup, rack};
use audiocloud_engine::rt::block_ring::Epoch;
use audiocloud_engine::rt::chain_event::{self, ChainBody, ChainEvent};
use audiocloud_engine::rt::hand_off::Giver;
use audiocloud_engine::rt::{block_ring, event, snapshot};
use audiocloud_engine::stream::insert::Ends;
use audiocloud_engine::units::{MediaTime, Nanos};
use audiocloud_instance::session::Session;
use audiocloud_instance::time::{EVENTS, Setup};
use audiocloud_net::runtime::Handle;
use audiocloud_net::runtime::remote::{NodeChoice, PlugEnds, Remote, RemoteConfig, Transfer};
use audiocloud_net::wire::id::SessionId;

use crate::delay::{Delay, Wishes};
use crate::patience::Patience;
use crate::project::SlotTable;
use crate::shared::Heard;
use crate::status::Progress;
use crate::worker::Worker;

/// What is edited while a callback takes its time.
pub(crate) const EDITS: usize = 4_096;
/// Of the network's budget a lost slice may take a half until it is given up: the other half is for what comes after it.
const PATIENCE_MIN: Nanos = Nanos::from_millis(1);

/// While the plug-in is active.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) setup: Setup,
    pub(crate) side_chain: u16,
    pub(crate) wishes: Wishes,
    pub(crate) delay: Delay,
    pub(crate) rack: RackControl,
    pub(crate) ends: Giver<Ends>,
    pub(crate) slots: Giver<SlotTable>,
    /// Which slots the callbacks know.
    pub(crate) known_slots: Option<u64>,
    pub(crate) edits: chain_event::Producer,
    pub(crate) heard: snapshot::Reader<Heard>,
    pub(crate) patience: Arc<Patience>,
    pub(crate) way: Option<Way>,
}

/// The way to a node.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) remote: Remote,
    pub(crate) terms: Terms,
    /// Since when there is no node that could run it.
    pub(crate) searching_since: Option<Instant>,
}

/// What of it cannot be changed while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) session: Option<SessionId>,
    pub(crate) transfer: Transfer,
}

#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) running: Option<Running>,
    pub(crate) worker: Option<Worker>,
    /// Why nothing can be reached.
    pub(crate) error: Option<String>,
    /// Why the chain is not what the project says.
    pub(crate) chain_error: Option<String>,
    /// What was refused last.
    pub(crate) refused: Option<String>,
    pub(crate) progress: Progress,
    /// Last, so that it goes last: the runtime should hear that the others went.
    pub(crate) session: Session,
}

/// The rack of a chain; of an empty one where it cannot be played, and why.
pub(crate) fn local_rack(
    chain: &Chain,
    setup: &RackSetup,
) -> Result<(RackControl, RackAudio, Option<String>), String> {
    match rack(chain, setup, Box::new(NoForeign)) {
        Ok((control, audio)) => Ok((control, audio, None)),
        Err(error) => {
            let empty = Chain { latency_frames: chain.latency_frames, ..Chain::default() };
            let (control, audio) =
                rack(&empty, setup, Box::new(NoForeign)).map_err(|error| error.to_string())?;
            Ok((control, audio, Some(error.to_string())))
        }
    }
}

/// Both ends of the rings to the runtime, and the chain's way to a node.
pub(crate) fn connect(
    handle: &Handle,
    running: &Running,
    terms: Terms,
    name: String,
    node: NodeChoice,
    document: Vec<u8>,
) -> (Way, Box<Ends>) {
    let Running { setup, side_chain, wishes, .. } = running;
    let (blocks, samples) = Setup { channels: setup.channels + side_chain, ..*setup }.ring();
    let (to_node, from_host) = block_ring::block_ring(blocks, samples);
    let (blocks, samples) = setup.ring();
    let (to_host, from_node) = block_ring::block_ring(blocks, samples);
    let (events_in, events_out) = chain_event::chain_event_ring(EDITS);
    let (notes_in, notes_out) = event::event_ring(EVENTS);
    let ends = Ends {
        blocks: to_node,
        events: events_in,
        back: from_node,
        back_events: notes_out,
        waker: handle.waker(),
    };
    let plug = PlugEnds { blocks: from_host, events: events_out, back: to_host, back_events: notes_in };
    #[allow(clippy::cast_possible_truncation, reason = "half a second at most, and a cast saturates")]
    let half = Nanos::new((f64::from(wishes.network_ms) * 0.5e6) as i64);
    let config = RemoteConfig {
        name,
        session: terms.session,
        node,
        sample_rate: setup.sample_rate,
        inputs: setup.channels,
        side_chain: *side_chain,
        outputs: setup.channels,
        block_frames_max: setup.block_max,
        patience: half.max(PATIENCE_MIN),
        transfer: terms.transfer,
        document,
    };
    (Way { remote: handle.remote(config, plug), terms, searching_since: None }, Box::new(ends))
}

impl Running {
    /// Tells the callbacks what an edit changed. False where there was no room: no callback has run for a while.
    pub(crate) fn tell(&mut self, events: &[ChainBody]) -> bool {
        let at = |body| ChainEvent { epoch: Epoch(0), time: MediaTime::ZERO, body };
        events.iter().all(|body| self.edits.push(at(*body)).is_ok())
    }
}

impl Running {
    /// Frames as milliseconds.
    pub(crate) fn ms(&self, frames: u32) -> f64 {
        f64::from(frames) * 1e3 / f64::from(self.setup.sample_rate.hz())
    }
}
