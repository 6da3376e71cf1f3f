//! The runtime's part in sessions: a thread of its own, for what is done here may wait for the disk or take
//! milliseconds of cryptography, and media waits for neither.
//!
//! The network thread tells it what peers say ([`Event`]); it answers with what is to be done ([`Order`]). It alone holds
//! rosters and shared state, reads the store and writes it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use audiocloud_membership::invitation::{Meeting, Place};
use audiocloud_membership::shared::Edit;
use audiocloud_membership::ticket::Grant;
use audiocloud_wire::id::{DeviceId, SessionId, UserId};
use audiocloud_wire::message::{
    Membership, Message, SessionChanges, SessionHave, SessionPlaces, SessionRoster,
};
use tokio::sync::{mpsc as tokio_mpsc, oneshot};

use super::log::LogEntry;
use crate::identity::Identity;
use crate::peer::Peer;
use crate::standing::Grants;
use crate::status::Shared;
use crate::{Config, Error};

mod joined;
mod presence;
mod worker;

/// Bytes of messages that may wait for the thread. More are dropped, and counted: they come again.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// What the network thread tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// Somebody wants to connect, and shows these.
    Knock { user: UserId, memberships: Vec<Membership>, answer: oneshot::Sender<Admission> },
    /// A peer is connected.
    Up { link: u64, peer: Peer },
    /// It is no longer.
    Down { link: u64 },
    /// It says something.
    Said { link: u64, bytes: usize, gossip: Gossip },
    /// This user lets somebody in.
    Accept { user: UserId, name: String },
    /// This user edits what a session shares.
    Edit { session: SessionId, edit: Edit, answer: mpsc::Sender<Result<(), String>> },
    /// Members would not let us in.
    TurnedAway { sessions: Vec<SessionId>, why: String },
    /// Something happened that the log is to have.
    Log(LogEntry),
    /// Where this runtime can be dialled.
    OwnPlaces(Vec<Place>),
    /// The end.
    Stop,
}

/// A message about a session.
#[derive(Debug)]
pub(crate) enum Gossip {
    Roster(SessionRoster),
    Places(Box<SessionPlaces>),
    Have(SessionHave),
    Changes(SessionChanges),
}

/// Whether somebody is let in as a member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission {
    pub(crate) grants: Grants,
    /// Why not, for people: of the sessions that were shown.
    pub(crate) refusals: Vec<(SessionId, String)>,
}

/// What the network thread is to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// These are this user's sessions.
    Sessions(Vec<Own>),
    /// These are the users whom this user accepted.
    Accepted(Vec<UserId>),
    /// A peer's grants are others now; if it has lost some, why.
    Grants { link: u64, grants: Grants, lost: Option<String> },
    /// Say this.
    Send { link: u64, message: Message },
    /// A member may be there.
    Dial { session: SessionId, place: Place, peer: Option<(DeviceId, audiocloud_wire::id::InstanceId)> },
    /// It breaks the rules.
    Cut { link: u64, why: &'static str },
}

/// One of this user's sessions, as the network thread needs it.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) session: SessionId,
    pub(crate) record: Vec<u8>,
    /// What this user may; or why nothing.
    pub(crate) grant: Result<Arc<Grant>, String>,
    pub(crate) meeting: Vec<Meeting>,
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    events: mpsc::Sender<Event>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Live {
    /// After its end there is nobody to be told.
    pub(crate) fn tell(&self, event: Event) {
        self.events.send(event).ok();
    }

    /// Passes on what a peer said. Whether there was room.
    pub(crate) fn said(&self, link: u64, bytes: usize, gossip: Gossip) -> bool {
        let room = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) < WAITING_BYTES_MAX;
        if room {
            self.tell(Event::Said { link, bytes, gossip });
        } else {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        room
    }

    /// Whether somebody who shows these is a member.
    pub(crate) async fn knock(&self, user: UserId, memberships: Vec<Membership>) -> Admission {
        let (answer, answered) = oneshot::channel();
        self.tell(Event::Knock { user, memberships, answer });
        // Without an answer the thread has ended, and nobody is let in any more.
        answered.await.unwrap_or_default()
    }
}

/// The thread at work.
pub(crate) struct LiveThread {
    pub(crate) live: Live,
    stopping: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl LiveThread {
    /// Starts it, and gives what it orders.
    pub(crate) fn start(
        config: &Config,
        identity: &Identity,
        shared: &Arc<Shared>,
    ) -> Result<(Self, tokio_mpsc::UnboundedReceiver<Order>), Error> {
        let (events, inbox) = mpsc::channel();
        let (orders, ordered) = tokio_mpsc::unbounded_channel();
        let (waiting_bytes, stopping) = (Arc::default(), Arc::default());
        let signals = (Arc::clone(&waiting_bytes), Arc::clone(&stopping));
        let worker = worker::Worker::new(config, identity, Arc::clone(shared), signals, orders);
        let thread = std::thread::Builder::new()
            .name("audiocloud-sessions".to_owned())
            .spawn(move || worker.run(&inbox))
            .map_err(|source| Error::System { action: "start the thread of the sessions", source })?;
        Ok((Self { live: Live { events, waiting_bytes }, stopping, thread: Some(thread) }, ordered))
    }

    /// Has it end.
    pub(crate) fn end(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.live.tell(Event::Stop);
    }

    /// Ends it and waits until it has: at most as long as a write to the disk takes.
    pub(crate) fn join(&mut self) {
        self.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(target: "audiocloud::sessions", "the thread of the sessions has panicked; this is a mistake of ours");
        }
    }
}
