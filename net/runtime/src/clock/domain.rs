//! One domain's time, as all threads of the process share it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use audiocloud_clock::beat_map::{BeatMap, Segment};
use audiocloud_clock::election::Quality;
use audiocloud_clock::estimate::ClockEstimate;
use audiocloud_clock::timeline::Timeline;
use audiocloud_rt::snapshot;
use audiocloud_units::{HostTime, Nanos, Ppm, SessionLine, SessionTime};
use audiocloud_wire::id::{DeviceId, InstanceId, SessionId};

use super::status::{ClockStatus, MasterStatus, State};
use super::{DOMAINS_MAX, EditRefused, HostClock};
use crate::Config;
use crate::control::TimeOrder;
use crate::status::lock;

/// See the module.
pub(crate) struct Domain {
    session: Option<SessionId>,
    host_clock: HostClock,
    line: snapshot::Reader<Option<SessionLine>>,
    revision: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    map: Arc<BeatMap>,
    serial: u64,
    asymmetry: Nanos,
    quality: Quality,
    me: (DeviceId, InstanceId, String),
}

impl std::fmt::Debug for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Domain").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Domain {
    pub(crate) fn new(
        session: Option<SessionId>,
        host_clock: HostClock,
        me: (DeviceId, InstanceId, String),
    ) -> Self {
        let host = host_clock.now();
        let line = SessionLine { host, session: wall_time(), fraction: 0.0, rate: Ppm::new(0.0) };
        let (_, reader) = snapshot::snapshot(Some(line));
        let inner =
            Inner { map: Arc::default(), serial: 0, asymmetry: Nanos::ZERO, quality: Quality::default(), me };
        Self { session, host_clock, line: reader, revision: 0.into(), inner: Mutex::new(inner) }
    }

    pub(crate) fn session(&self) -> Option<SessionId> {
        self.session
    }

    pub(crate) fn line(&self) -> snapshot::Reader<Option<SessionLine>> {
        self.line.clone()
    }

    pub(crate) fn timeline(&self) -> Timeline {
        Timeline { line: self.line.read(), map: Arc::clone(&lock(&self.inner).map) }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(crate) fn now(&self) -> HostTime {
        self.host_clock.now()
    }

    pub(crate) fn horizon(&self) -> Nanos {
        Nanos::from_millis(50)
    }

    pub(crate) fn edit(&self, segments: &[Segment]) -> Result<(), EditRefused> {
        let refused = |text: String| EditRefused(text);
        let line = self.line.read().ok_or_else(|| refused("there is no shared time yet".to_owned()))?;
        let now = line.session_at(self.now());
        let mut inner = lock(&self.inner);
        let mut map = BeatMap::clone(&inner.map);
        inner.serial += 1;
        for segment in segments {
            let segment = Segment { epoch: 1, serial: inner.serial, ..*segment };
            map.insert(segment, now).map_err(|bad| refused(bad.to_string()))?;
        }
        inner.map = Arc::new(map);
        self.revision.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    pub(crate) fn choose(&self, _master: Option<DeviceId>) -> Result<(), EditRefused> {
        Ok(())
    }

    pub(crate) fn set_asymmetry(&self, longer_from_master: Nanos) {
        lock(&self.inner).asymmetry = longer_from_master;
    }

    pub(crate) fn offer(&self, quality: Quality, _estimate: Option<ClockEstimate>) {
        lock(&self.inner).quality = quality;
    }

    pub(crate) fn status(&self) -> ClockStatus {
        let inner = lock(&self.inner);
        let (device, instance, name) = inner.me.clone();
        let now = self.now();
        ClockStatus {
            domain: self.session,
            state: State::Alone,
            master: Some(MasterStatus { device, instance, name, is_this_machine: true }),
            epoch: 1,
            offset: self.line.read().map(|line| Nanos::new(line.session_at(now).get() - now.get())),
            bound: Some(Nanos::ZERO),
            quality: inner.quality,
            asymmetry: inner.asymmetry,
            segments: inner.map.segments().len(),
            ..ClockStatus::default()
        }
    }
}

/// Nanoseconds since 1970 (UTC): what a session's time begins at, so that its numbers look sane. Nothing depends on it.
fn wall_time() -> SessionTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    SessionTime::new(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX / 2))
}

/// All domains of a process.
pub(crate) struct Clocks {
    host_clock: HostClock,
    me: (DeviceId, InstanceId, String),
    domains: Mutex<Vec<Arc<Domain>>>,
}

impl Clocks {
    pub(crate) fn new(config: &Config, device: DeviceId, instance: InstanceId) -> Self {
        let me = (device, instance, config.name.clone());
        Self { host_clock: config.host_clock, me, domains: Mutex::default() }
    }

    /// The one of a session, or of none.
    pub(crate) fn domain(&self, session: Option<SessionId>) -> Arc<Domain> {
        let mut domains = lock(&self.domains);
        if let Some(known) = domains.iter().find(|domain| domain.session == session) {
            return Arc::clone(known);
        }
        let domain = Arc::new(Domain::new(session, self.host_clock, self.me.clone()));
        if domains.len() < DOMAINS_MAX {
            domains.push(Arc::clone(&domain));
        }
        domain
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
        let known = lock(&self.domains).iter().find(|domain| domain.session == order.session).cloned();
        let domain = known
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
