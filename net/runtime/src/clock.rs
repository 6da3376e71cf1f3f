//! The time that is shared: a session's, or that of this user's own machines.
//!
//! [`crate::Handle::clock`] gives a [`Clock`] for one *domain*. Its line, session time over this machine's clock, is read
//! wherever an instant's session time has to be known, in callbacks too; its beat map says where the bars lie. Who has a
//! `Clock` need not know whose time it is, nor how it came here.

mod domain;
mod host_clock;
mod machine;
mod messages;
mod ptp_udp;
mod status;

use std::sync::Arc;

use audiocloud_clock::beat_map::Segment;
use audiocloud_clock::election::Quality;
use audiocloud_clock::estimate::ClockEstimate;
pub use audiocloud_clock::timekeeper::{Role, Standing};
use audiocloud_clock::timeline::Timeline;
use audiocloud_rt::snapshot;
use audiocloud_units::{HostTime, Nanos, SessionLine};
use audiocloud_wire::id::{DeviceId, SessionId};

pub(crate) use domain::{Clocks, Domain, Inner, process, tag_of, wall_time};
pub use host_clock::HostClock;
pub(crate) use messages::{beats_of, segments_of, state_of, state_said};
pub use ptp_udp::{PtpConfig, PtpError, PtpPort, PtpStatus};
pub use status::{ClockPeer, ClockStatus, MasterStatus};

use crate::bridge::SharedBeat;

/// Domains that one runtime has time for.
pub const DOMAINS_MAX: usize = 8;

/// Why an edit of the beat map, or a choice of the master, was not taken: cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EditRefused(pub(crate) String);

/// One domain's time and beat. Clones are the same one; it stays as long as any of them, or the session, does.
#[derive(Clone, Debug)]
pub struct Clock {
    domain: Arc<Domain>,
}

impl Clock {
    pub(crate) fn new(domain: Arc<Domain>) -> Self {
        Self { domain }
    }

    /// Which session's; none: that of this user's own machines, and of peers named or accepted.
    #[must_use]
    pub fn domain(&self) -> Option<SessionId> {
        self.domain.session()
    }

    /// Session time over [`Clock::now`]'s clock, as it stands whenever it is read; none until it is known.
    /// *Realtime-safe: reading it is*, this call is not.
    #[must_use]
    pub fn line(&self) -> snapshot::Reader<Option<SessionLine>> {
        self.domain.line()
    }

    /// Time and beats as they stand. *Realtime-safe: no.*
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.domain.timeline()
    }

    /// Another number whenever the beat map is another. *Realtime-safe: yes.*
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.domain.revision()
    }

    /// The clock that lines are over: this machine's monotonic one, as `audiocloud_rt::host_time` reads it, but for tests.
    /// *Realtime-safe: yes.*
    #[must_use]
    pub fn now(&self) -> HostTime {
        self.domain.now()
    }

    /// An edit that begins so far ahead of now reaches everybody first: the longest way there is, and something for what
    /// has to be sent twice.
    #[must_use]
    pub fn horizon(&self) -> Nanos {
        self.domain.horizon()
    }

    /// Makes these the map's next segments, for everybody: from the first one's start on they stand in place of all that was
    /// planned before. Their epoch and number are filled in.
    ///
    /// # Errors
    /// Who may not lead here, what cannot be, or that there is no time yet, in words. Then nothing is changed.
    pub fn edit(&self, segments: &[Segment]) -> Result<(), EditRefused> {
        self.domain.edit(segments)
    }

    /// Chooses whose clock it is, for everybody; none: whose is best. Whichever choice is the latest counts.
    ///
    /// # Errors
    /// As [`Clock::edit`].
    pub fn choose(&self, master: Option<DeviceId>) -> Result<(), EditRefused> {
        self.domain.choose(master)
    }

    /// The way from the master takes so much longer than the way to it, as somebody knows who has measured it: what no
    /// exchange of messages can find out.
    pub fn set_asymmetry(&self, longer_from_master: Nanos) {
        self.domain.set_asymmetry(longer_from_master);
    }

    /// This machine has its time from something better than its crystal: what is known of that, over [`Clock::now`]'s clock.
    /// None: no longer.
    pub fn offer(&self, quality: Quality, estimate: Option<ClockEstimate>) {
        self.domain.offer(quality, estimate);
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> ClockStatus {
        self.domain.status()
    }
}

impl SharedBeat for Clock {
    fn timeline(&self) -> Timeline {
        self.timeline()
    }

    fn revision(&self) -> u64 {
        self.revision()
    }

    fn now(&self) -> HostTime {
        self.now()
    }

    fn horizon(&self) -> Nanos {
        self.horizon()
    }

    fn edit(&self, segments: &[Segment]) -> Result<(), String> {
        self.edit(segments).map_err(|refused| refused.to_string())
    }
}
