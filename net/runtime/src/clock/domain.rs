//! One domain's time, as all threads of the process share it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use audiocloud_clock::beat_map::Segment;
use audiocloud_clock::election::{ProcessId, Quality};
use audiocloud_clock::estimate::ClockEstimate;
use audiocloud_clock::timekeeper::{Settings, Timekeeper};
use audiocloud_clock::timeline::Timeline;
use audiocloud_rt::snapshot;
use audiocloud_units::{HostTime, Nanos, SessionLine, SessionTime};
use audiocloud_wire::id::{DeviceId, InstanceId, MachineId, SessionId};
use tokio::sync::Notify;

use super::status::ClockStatus;
use super::{DOMAINS_MAX, EditRefused, HostClock, machine};
use crate::Config;
use crate::control::TimeOrder;
use crate::standing::now_ms;
use crate::status::lock;

/// Edits that may wait for the network thread.
const EDITS_MAX: usize = 4_096;

/// See the module. The network thread and those who ask hold it for microseconds.
pub(crate) struct Domain {
    session: Option<SessionId>,
    host_clock: HostClock,
    line: snapshot::Reader<Option<SessionLine>>,
    revision: AtomicU64,
    /// Rung when there is something to say.
    news: Arc<Notify>,
    /// There is no room for it: the network thread knows nothing of it.
    is_beyond: bool,
    inner: Mutex<Inner>,
}

/// What is shared under the lock.
pub(crate) struct Inner {
    pub(crate) keeper: Timekeeper,
    /// Edits of this process that the others have not been told yet.
    edits: Vec<Segment>,
    /// What processes call themselves.
    names: BTreeMap<ProcessId, String>,
    writer: snapshot::Writer<Option<SessionLine>>,
    written: Option<SessionLine>,
    /// The number of the map that was counted last.
    map: u64,
    /// Whose time it was said to be last.
    told: Option<ProcessId>,
}

impl std::fmt::Debug for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Domain").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Domain {
    fn new(session: Option<SessionId>, clocks: &Clocks, is_beyond: bool) -> Self {
        let (writer, line) = snapshot::snapshot(None);
        let settings = Settings {
            me: process(clocks.device, clocks.instance),
            machine: clocks.machine.0,
            is_node: clocks.is_node,
            seed: seed(session, clocks.instance),
        };
        let names = BTreeMap::from([(settings.me, clocks.name.clone())]);
        let inner = Inner {
            keeper: Timekeeper::new(settings, clocks.host_clock.now()),
            edits: Vec::new(),
            names,
            writer,
            written: None,
            map: 0,
            told: None,
        };
        Self {
            session,
            host_clock: clocks.host_clock,
            line,
            revision: 0.into(),
            news: Arc::clone(&clocks.news),
            is_beyond,
            inner: Mutex::new(inner),
        }
    }

    /// Does something with the time, and shows all others what has changed by it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = lock(&self.inner);
        let result = act(&mut inner);
        let line = inner.keeper.line();
        if line != inner.written {
            inner.written = line;
            inner.writer.write(line);
        }
        let map = inner.keeper.map_number();
        if map != inner.map {
            inner.map = map;
            self.revision.fetch_add(1, Ordering::AcqRel);
        }
        result
    }

    pub(crate) fn session(&self) -> Option<SessionId> {
        self.session
    }

    pub(crate) fn line(&self) -> snapshot::Reader<Option<SessionLine>> {
        self.line.clone()
    }

    pub(crate) fn shown(&self) -> Option<SessionLine> {
        self.line.read()
    }

    pub(crate) fn timeline(&self) -> Timeline {
        let map = Arc::clone(lock(&self.inner).keeper.map());
        Timeline { line: self.line.read(), map }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(crate) fn now(&self) -> HostTime {
        self.host_clock.now()
    }

    pub(crate) fn horizon(&self) -> Nanos {
        lock(&self.inner).keeper.horizon()
    }

    pub(crate) fn edit(&self, segments: &[Segment]) -> Result<(), EditRefused> {
        self.with(|inner| {
            if inner.edits.len() + segments.len() > EDITS_MAX {
                return Err(EditRefused("more edits than can be told to the others; make fewer".to_owned()));
            }
            let numbered = inner.keeper.edit(segments, self.now());
            let numbered = numbered.map_err(|refusal| EditRefused(refusal.0))?;
            inner.edits.extend(numbered);
            Ok(())
        })?;
        self.news.notify_one();
        Ok(())
    }

    pub(crate) fn choose(&self, master: Option<DeviceId>) -> Result<(), EditRefused> {
        let choose = |inner: &mut Inner| inner.keeper.choose(master.map(|device| device.0), now_ms());
        self.with(choose).map_err(|refusal| EditRefused(refusal.0))
    }

    pub(crate) fn set_asymmetry(&self, longer_from_master: Nanos) {
        self.with(|inner| inner.keeper.set_asymmetry(longer_from_master));
    }

    pub(crate) fn offer(&self, quality: Quality, estimate: Option<ClockEstimate>) {
        self.with(|inner| inner.keeper.offer(quality, estimate));
    }

    pub(crate) fn status(&self) -> ClockStatus {
        let inner = lock(&self.inner);
        let view = inner.keeper.view(self.now());
        let mut status = ClockStatus::new(self.session, view, &inner.names);
        if self.is_beyond {
            let text = format!(
                "this process shares {DOMAINS_MAX} times already; leave a session, or use another process"
            );
            status.trouble = Some(text);
        }
        status
    }
}

impl Inner {
    /// Who is connected, and what they call themselves; nobody else is there.
    pub(crate) fn set_connected(&mut self, connected: &BTreeMap<ProcessId, String>) {
        self.keeper.keep_only(|id| connected.contains_key(id));
        for (id, name) in connected {
            if self.names.get(id) != Some(name) {
                self.names.insert(*id, name.clone());
            }
        }
        // A name is kept for as long as its process may be master.
        let master = self.keeper.master();
        let me = self.keeper.me();
        self.names.retain(|id, _| connected.contains_key(id) || *id == me || Some(*id) == master);
    }

    /// Whose time it is, where that is news, for the journal.
    pub(crate) fn new_master(&mut self) -> Option<String> {
        let master = self.keeper.master().filter(|master| self.told != Some(*master))?;
        self.told = Some(master);
        let is_me = master == self.keeper.me();
        let name = self.names.get(&master).map_or("somebody who is not connected", String::as_str);
        Some(if is_me { "this process's".to_owned() } else { format!("that of {name:?}") })
    }

    /// Edits that were made here since this was asked last.
    pub(crate) fn take_edits(&mut self) -> Vec<Segment> {
        std::mem::take(&mut self.edits)
    }
}

/// Nanoseconds since 1970 (UTC): what a session's time begins at, so that its numbers look sane. Nothing depends on it.
pub(crate) fn wall_time() -> SessionTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    SessionTime::new(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX / 4))
}

pub(crate) fn process(device: DeviceId, instance: InstanceId) -> ProcessId {
    ProcessId { device: device.0, instance: instance.0 }
}

/// The instance is random, and new in each run.
fn seed(session: Option<SessionId>, instance: InstanceId) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("audiocloud origin of a time v1");
    hasher.update(&instance.0);
    hasher.update(&session.map_or([0; 32], |session| session.0));
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// All domains of a process.
pub(crate) struct Clocks {
    host_clock: HostClock,
    device: DeviceId,
    instance: InstanceId,
    name: String,
    is_node: bool,
    machine: MachineId,
    /// Rung when a domain has something to say.
    pub(crate) news: Arc<Notify>,
    domains: Mutex<Vec<Arc<Domain>>>,
}

impl Clocks {
    pub(crate) fn new(config: &Config, device: DeviceId, instance: InstanceId) -> Self {
        Self {
            host_clock: config.host_clock,
            device,
            instance,
            name: config.name.clone(),
            is_node: config.is_node,
            machine: machine::id(config.host_clock, device, instance),
            news: Arc::default(),
            domains: Mutex::default(),
        }
    }

    /// The one of a session, or of none.
    pub(crate) fn domain(&self, session: Option<SessionId>) -> Arc<Domain> {
        let mut domains = lock(&self.domains);
        if let Some(known) = domains.iter().find(|domain| domain.session == session) {
            return Arc::clone(known);
        }
        let is_beyond = domains.len() >= DOMAINS_MAX;
        let domain = Arc::new(Domain::new(session, self, is_beyond));
        if !is_beyond {
            domains.push(Arc::clone(&domain));
        }
        drop(domains);
        self.news.notify_one();
        domain
    }

    /// Those that are used, or are of these sessions.
    pub(crate) fn of_sessions<'a>(&self, sessions: impl Iterator<Item = &'a SessionId>) -> Vec<Arc<Domain>> {
        let sessions: Vec<SessionId> = sessions.copied().collect();
        for session in &sessions {
            if lock(&self.domains).len() < DOMAINS_MAX {
                self.domain(Some(*session));
            }
        }
        let mut domains = lock(&self.domains);
        // Without a session, or where it was left, for as long as somebody has it.
        domains.retain(|domain| {
            let is_joined = domain.session.is_some_and(|session| sessions.contains(&session));
            is_joined || Arc::strong_count(domain) > 1
        });
        domains.clone()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Domain>> {
        lock(&self.domains).clone()
    }

    /// Who this process is.
    pub(crate) fn me(&self) -> ProcessId {
        process(self.device, self.instance)
    }

    /// The one of a session, or of none, if there is one.
    pub(crate) fn known(&self, session: Option<SessionId>) -> Option<Arc<Domain>> {
        lock(&self.domains).iter().find(|domain| domain.session == session).cloned()
    }

    /// The one that packets with this tag are of.
    pub(crate) fn tagged(&self, tag: u64) -> Option<Arc<Domain>> {
        lock(&self.domains).iter().find(|domain| tag_of(domain.session) == tag).cloned()
    }

    pub(crate) fn host_clock(&self) -> HostClock {
        self.host_clock
    }

    /// The time that this machine gives to a network: a session's, if it is in one, else that of its user's own machines.
    pub(crate) fn leading_line(&self) -> Option<SessionLine> {
        let domains = lock(&self.domains);
        let first = domains.iter().find(|domain| domain.session.is_some()).or(domains.first())?;
        first.line.read()
    }

    /// See [`super::Clock::offer`]: to all of them, for it is this machine's.
    pub(crate) fn offer(&self, quality: Quality, estimate: Option<ClockEstimate>) {
        let domains = lock(&self.domains).clone();
        for domain in domains {
            domain.offer(quality, estimate);
        }
    }

    /// What the command line asked for; why not, in words.
    pub(crate) fn order(&self, order: &TimeOrder) -> Result<(), String> {
        let domain = self
            .known(order.session)
            .ok_or("this process shares no time with that session; open a plug-in in it, or run a node")?;
        if let Some(asymmetry_ns) = order.asymmetry_ns {
            domain.set_asymmetry(Nanos::new(asymmetry_ns));
        }
        match order.choose {
            Some(choice) => domain.choose(choice.master).map_err(|refused| refused.to_string()),
            None => Ok(()),
        }
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        let domains = lock(&self.domains).clone();
        domains.iter().map(|domain| domain.status().to_json()).collect()
    }
}

/// What packets name a domain by.
pub(crate) fn tag_of(session: Option<SessionId>) -> u64 {
    let Some(SessionId([a, b, c, d, e, f, g, h, ..])) = session else { return 0 };
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
