//! The runtime as plug-ins see it: taken, shared, given back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use audiocloud_membership::shared::Edit;
use audiocloud_rt::due::Due;
use audiocloud_rt::wake::Waker;
use audiocloud_rt::{block_ring, event, snapshot};
use audiocloud_units::SampleRate;
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{DeviceId, InputId, InstanceId, SessionId, StreamId, StreamKey, UserId};
use audiocloud_wire::message::Purpose;
use audiocloud_wire::quality::Quality;
use tokio::sync::mpsc;

use crate::claim::{Claim, ClaimError, Claims};
use crate::clock::Clock;
use crate::command::Command;
use crate::counters::{PublicationCounters, RuntimeFigures};
use crate::input::{Input, InputConfig, InputShared, InputStatus, PatchRefusal};
use crate::meeting::client::MeetingStatus;
use crate::sessions::{SessionStatus, Stranger};
use crate::status::{
    PeerStatus, PublicationShared, PublicationStatus, Report, Shared, StreamEntry, SubscriptionShared,
    SubscriptionStatus, lock,
};
use crate::subscriber::SubscriptionId;
use crate::thread::NetworkThread;
use crate::{Config, Error};

/// An edit waits as long as the store does, and a little longer.
const EDIT_TIMEOUT: Duration = Duration::from_secs(3);

/// The one of this process.
static PROCESS: Slot = Slot(Mutex::new(Occupancy { leases: 0, running: None }));

/// A place for one runtime, and how many use it.
struct Slot(Mutex<Occupancy>);

struct Occupancy {
    leases: usize,
    running: Option<Running>,
}

struct Running {
    thread: NetworkThread,
    claims: Claims,
}

/// Where [`Handle`]s come from.
#[derive(Clone, Copy, Debug)]
pub struct Runtime;

impl Runtime {
    /// The runtime of this process; the first call starts it, with the configuration of the environment.
    ///
    /// Blocks while an earlier one ends, 300 ms at most. *Realtime-safe: no.*
    ///
    /// # Errors
    /// What [`Error`] names: configuration, identity, port.
    pub fn acquire() -> Result<Handle, Error> {
        Lease::take(SlotRef::Process, || Ok(Config::from_environment_or_defaults()?))
    }

    /// A runtime of its own with this configuration, shared with nobody: for tests and tools.
    ///
    /// # Errors
    /// What [`Error`] names: identity, port.
    pub fn acquire_with(config: Config) -> Result<Handle, Error> {
        let slot = Slot(Mutex::new(Occupancy { leases: 0, running: None }));
        Lease::take(SlotRef::Own(Arc::new(slot)), || Ok((config, None)))
    }
}

#[derive(Clone)]
enum SlotRef {
    Process,
    Own(Arc<Slot>),
}

impl SlotRef {
    fn slot(&self) -> &Slot {
        match self {
            Self::Process => &PROCESS,
            Self::Own(slot) => slot,
        }
    }
}

/// One use of a slot.
struct Lease(SlotRef);

impl Lease {
    fn take(
        slot: SlotRef,
        config: impl FnOnce() -> Result<(Config, Option<crate::config::Error>), Error>,
    ) -> Result<Handle, Error> {
        let mut occupancy = lock(&slot.slot().0);
        if occupancy.running.is_none() {
            let (config, mistake) = config()?;
            let claims = Claims::new(&config.runtime_dir);
            let thread = NetworkThread::start(config)?;
            if let Some(mistake) = mistake {
                thread.shared.journal.note(&format!("the configuration is not used: {mistake}"));
            }
            occupancy.running = Some(Running { thread, claims });
        }
        occupancy.leases += 1;
        let Some(running) = &occupancy.running else { unreachable!("it was put there above") };
        let handle = Handle {
            shared: Arc::clone(&running.thread.shared),
            commands: running.thread.commands.clone(),
            waker: running.thread.waker.clone(),
            claims: running.claims.clone(),
            _lease: Self(slot.clone()),
        };
        drop(occupancy);
        Ok(handle)
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        lock(&self.0.slot().0).leases += 1;
        Self(self.0.clone())
    }
}

impl Drop for Lease {
    /// The last one ends the runtime while it holds the slot, so that the next one to come waits for a clean start.
    fn drop(&mut self) {
        let mut occupancy = lock(&self.0.slot().0);
        occupancy.leases -= 1;
        if occupancy.leases == 0
            && let Some(mut running) = occupancy.running.take()
        {
            running.thread.stop();
        }
    }
}

/// A use of the runtime. When the last one is dropped, all its threads are joined, within 300 ms.
///
/// Publications and subscriptions do not keep the runtime: whoever has one keeps a handle as well.
/// *Realtime-safe: no*, neither its methods nor dropping it; but the [`Waker`] is.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    waker: Waker,
    claims: Claims,
    /// Held, for its end is the runtime's.
    _lease: Lease,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("device", &self.shared.device).finish_non_exhaustive()
    }
}

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishConfig {
    /// What its user calls it.
    pub name: String,
    pub sample_rate: SampleRate,
    /// From 1 to 64.
    pub channels: u16,
    /// The preferred one: the best.
    pub codec: Codec,
    /// Those that a subscriber may ask for; `codec` is among them, said or not.
    pub codecs: Vec<Codec>,
    /// Of Opus: the most bits per second for each pair of channels; 0: as subscribers wish.
    pub bitrate_max_bps: u32,
    /// The most frames that the host processes at once; 0: unknown.
    pub max_block: u32,
    /// The session whose members may hear it; none: this user's devices, and who is named or accepted, alone.
    pub session: Option<SessionId>,
    /// Talk-back is listed, and never part of what plays a person or a whole session.
    pub purpose: Purpose,
}

/// What is played, and how.
#[derive(Clone, Debug)]
pub struct SubscribeConfig {
    /// Which stream.
    pub key: StreamKey,
    /// As what it is asked for. Of several subscriptions of one process to one stream the latest wish holds.
    pub quality: Quality,
    /// Where the playout tells when frames are due. Without it nothing is known of how much time there is to ask for what
    /// is missing, and it is asked for as if there were 50 ms.
    pub due: Option<snapshot::Reader<Option<Due>>>,
}

impl SubscribeConfig {
    /// As its sender prefers, for a playout that tells nothing.
    #[must_use]
    pub fn new(key: StreamKey) -> Self {
        Self { key, quality: Quality::default(), due: None }
    }
}

impl Handle {
    /// This device.
    pub fn device(&self) -> DeviceId {
        self.shared.device
    }

    /// This user.
    pub fn user(&self) -> UserId {
        self.shared.user
    }

    /// This run.
    pub fn instance(&self) -> InstanceId {
        self.shared.instance
    }

    /// The UDP port.
    pub fn port(&self) -> u16 {
        self.shared.port.load(Ordering::Relaxed)
    }

    /// How it stands with the meeting points that this runtime visits.
    pub fn meeting(&self) -> Vec<MeetingStatus> {
        lock(&self.shared.meeting).clone()
    }

    /// The TCP port where packets to be relayed are taken by TLS, if they are.
    pub fn tunnel_port(&self) -> Option<u16> {
        self.shared.tunnel_port
    }

    #[cfg(test)]
    pub(crate) fn paths(&self) -> &crate::socket::Paths {
        &self.shared.paths
    }

    /// To be rung, once per block, by the callback that publishes.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Claims a stream id on this machine.
    ///
    /// # Errors
    /// [`ClaimError::Taken`]: take [`StreamId`] of [`Handle::random_stream`] instead, and say so.
    pub fn claim(&self, stream: StreamId) -> Result<Claim, ClaimError> {
        self.claims.try_claim(stream)
    }

    /// A fresh stream id.
    pub fn random_stream(&self) -> StreamId {
        random_stream()
    }

    /// Announces a stream, and sends what comes out of the rings to whoever asks for it, until the publication is
    /// dropped.
    pub fn publish(
        &self,
        claim: Claim,
        config: PublishConfig,
        blocks: block_ring::Consumer,
        events: event::Consumer,
        report: Report,
    ) -> Publication {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(PublicationShared {
            stream: claim.stream(),
            name: Mutex::new(config.name),
            sample_rate: config.sample_rate,
            channels: config.channels,
            codec: config.codec,
            codecs: offered(config.codec, config.codecs),
            bitrate_max_bps: config.bitrate_max_bps,
            session: config.session,
            purpose: config.purpose,
            trouble: Mutex::default(),
            subscribers: 0.into(),
            listeners: Mutex::default(),
            counters: PublicationCounters::default(),
            report,
        });
        lock(&self.shared.publications).push(Arc::downgrade(&shared));
        let command = Command::Publish {
            shared: Arc::clone(&shared),
            serial,
            block_frames_max: config.max_block,
            blocks,
            events,
        };
        send(&self.commands, command);
        Publication { shared, serial, claim: Some(claim), commands: self.commands.clone() }
    }

    /// Finds a stream, whenever and wherever it is published, and puts what comes of it into the rings, until the
    /// subscription is dropped.
    pub fn subscribe(
        &self,
        config: SubscribeConfig,
        blocks: block_ring::Producer,
        events: event::Producer,
        report: Report,
    ) -> Subscription {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = SubscriptionId(NEXT.fetch_add(1, Ordering::Relaxed));
        let SubscribeConfig { key, quality, due } = config;
        let shared = Arc::new(SubscriptionShared::new(key, report));
        lock(&self.shared.subscriptions).push(Arc::downgrade(&shared));
        let command = Command::Subscribe { id, shared: Arc::clone(&shared), quality, due, blocks, events };
        send(&self.commands, command);
        Subscription { shared, id, commands: self.commands.clone() }
    }

    /// Shows a report among the `instances` of the status command for as long as what is returned lives: that of a
    /// plug-in which need not publish or play anything.
    pub fn show(&self, report: Report) -> Shown {
        let report = Arc::new(report);
        lock(&self.shared.instances).push(Arc::downgrade(&report));
        Shown { _report: report }
    }

    // ---- Sessions.

    /// The sessions of this user, by name. Empty, too, while it is not known: see [`Handle::sessions_known`].
    pub fn sessions(&self) -> Vec<SessionStatus> {
        lock(&self.shared.sessions).clone().unwrap_or_default()
    }

    /// Whether what is kept of sessions has been read.
    pub fn sessions_known(&self) -> bool {
        lock(&self.shared.sessions).is_some()
    }

    /// Those who want to connect and are not trusted: to be shown by name and fingerprint, and accepted or not.
    pub fn strangers(&self) -> Vec<Stranger> {
        lock(&self.shared.strangers).clone()
    }

    /// Lets somebody in, from now on, and on all devices that share this configuration.
    pub fn accept(&self, user: UserId) {
        send(&self.commands, Command::Accept { user });
    }

    /// Edits what a session shares. Waits until it is kept; the members hear of it meanwhile.
    ///
    /// # Errors
    /// Why it cannot be done, cause and remedy.
    pub fn edit(&self, session: SessionId, edit: Edit) -> Result<(), String> {
        let (answer, answered) = std::sync::mpsc::channel();
        send(&self.commands, Command::Edit { session, edit, answer });
        let late =
            |_| "the edit was not made in time: the disk or another process is slow; try again".to_owned();
        answered.recv_timeout(EDIT_TIMEOUT).map_err(late)?
    }

    // ---- Time.

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn commands(&self) -> &mpsc::UnboundedSender<Command> {
        &self.commands
    }

    /// The shared time and beat of a session; none: of this user's own machines, and of peers named or accepted. Asked for
    /// again, it is the same one.
    pub fn clock(&self, domain: Option<SessionId>) -> Clock {
        Clock::new(self.shared.clocks.domain(domain))
    }

    // ---- The patch bay.

    /// Shows something that plays streams in the patch bay, until what is returned is dropped.
    pub fn input(&self, config: InputConfig) -> Input {
        let shared = Arc::new(InputShared::new(InputId(random_stream().get()), config));
        send(&self.commands, Command::AddInput { input: Arc::clone(&shared) });
        Input { shared, commands: self.commands.clone() }
    }

    /// All inputs that can be seen now, ours and those of peers.
    pub fn inputs(&self) -> Vec<InputStatus> {
        lock(&self.shared.inputs).clone()
    }

    /// Asks that an input plays a stream, or no longer. Whether it does shows in [`Handle::inputs`]; that it will not, in
    /// [`Handle::patch_refusals`].
    pub fn patch(&self, device: DeviceId, input: InputId, stream: StreamKey, on: bool) {
        send(&self.commands, Command::Patch { device, input, stream, on });
    }

    /// Patches that were asked for here and are not followed, oldest first.
    pub fn patch_refusals(&self) -> Vec<PatchRefusal> {
        lock(&self.shared.patch_refusals).clone()
    }

    // ---- What there is.

    /// All streams that can be reached now, those of this process included.
    pub fn streams(&self) -> Vec<StreamEntry> {
        lock(&self.shared.streams).clone()
    }

    /// All peers that are known.
    pub fn peers(&self) -> Vec<PeerStatus> {
        lock(&self.shared.peers).clone()
    }

    /// What happened lately, for people.
    pub fn events_log(&self) -> Vec<String> {
        self.shared.journal.lines()
    }

    /// Who was refused lately, and why, for people.
    pub fn refusals(&self) -> Vec<String> {
        self.shared.journal.refusals()
    }

    /// Figures of the whole runtime.
    pub fn figures(&self) -> RuntimeFigures {
        self.shared.figures()
    }

    /// The answer to the status command.
    pub fn status_json(&self) -> serde_json::Value {
        self.shared.to_json()
    }
}

/// The preferred codec first, and each once.
fn offered(preferred: Codec, mut codecs: Vec<Codec>) -> Vec<Codec> {
    codecs.push(preferred);
    codecs.sort_unstable_by_key(|codec| (*codec != preferred, *codec));
    codecs.dedup();
    codecs
}

/// A report that is shown. Dropping it ends that.
pub struct Shown {
    /// Held, for its life is the report's.
    _report: Arc<Report>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

/// A stream id that nobody has.
pub fn random_stream() -> StreamId {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 8];
    if ring::rand::SystemRandom::new().fill(&mut bytes).is_err() {
        // The clock is unlikely to give two alike, and a claim would notice.
        bytes = audiocloud_rt::host_time::now().get().to_be_bytes();
    }
    StreamId::from_bytes(bytes)
}

/// After the runtime's end there is nobody to be told.
fn send(commands: &mpsc::UnboundedSender<Command>, command: Command) {
    commands.send(command).ok();
}

/// A stream of ours. Dropping it ends it, and gives its id back.
pub struct Publication {
    shared: Arc<PublicationShared>,
    serial: u64,
    claim: Option<Claim>,
    commands: mpsc::UnboundedSender<Command>,
}

impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publication").field("stream", &self.shared.stream).finish_non_exhaustive()
    }
}

impl Publication {
    /// Which stream.
    pub fn stream(&self) -> StreamId {
        self.shared.stream
    }

    /// Calls it something else.
    pub fn rename(&self, name: &str) {
        name.clone_into(&mut lock(&self.shared.name));
        send(&self.commands, Command::Renamed);
    }

    /// Ends it but keeps its id, to publish it again in another configuration.
    pub fn into_claim(mut self) -> Claim {
        let Some(claim) = self.claim.take() else {
            unreachable!("only this method takes it, and consumes the rest")
        };
        claim
    }

    /// Where it stands.
    pub fn status(&self) -> PublicationStatus {
        self.shared.status()
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        send(&self.commands, Command::Unpublish { stream: self.shared.stream, serial: self.serial });
    }
}

/// A stream that is played here. Dropping it ends that.
pub struct Subscription {
    shared: Arc<SubscriptionShared>,
    id: SubscriptionId,
    commands: mpsc::UnboundedSender<Command>,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("key", &self.shared.key).finish_non_exhaustive()
    }
}

impl Subscription {
    /// Which stream.
    pub fn key(&self) -> StreamKey {
        self.shared.key
    }

    /// Asks for another quality, from now on.
    pub fn set_quality(&self, quality: Quality) {
        send(&self.commands, Command::SetQuality { id: self.id, quality });
    }

    /// Where it stands.
    pub fn status(&self) -> SubscriptionStatus {
        self.shared.status()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        send(&self.commands, Command::Unsubscribe { id: self.id });
    }
}
