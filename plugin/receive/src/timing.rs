//! Whose time a stream is played by, where it is played by a session's: beside the callbacks, and what those are told.

use audiocloud_engine::rt::snapshot;
use audiocloud_engine::stream::receiver::LinkOffset;
use audiocloud_engine::units::{Frames, Nanos, SessionLine};
use audiocloud_instance::params::{DELAY_MAX_MS, LINK_OFFSET_MAX_MS};
use audiocloud_instance::time::Setup;
use audiocloud_net::runtime::Handle;
use audiocloud_net::runtime::clock::Clock;
use audiocloud_net::wire::id::SessionId;

use crate::bars::{self, Bars};
use crate::params::{Playout, ReceiveParams};

/// What a playout is made for: how long it may have to keep frames, and whether it needs a session's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By nobody's.
    Free,
    Aligned,
    Interval,
}

impl Kind {
    /// As the parameters ask; a budget goes before them.
    pub(crate) fn of(params: &ReceiveParams) -> Self {
        match params.playout.value() {
            _ if params.budget.value() > 0.0 => Self::Free,
            Playout::Lowest | Playout::Fixed => Self::Free,
            Playout::Aligned => Self::Aligned,
            Playout::Interval => Self::Interval,
        }
    }

    /// The longest that frames may have to be kept.
    pub(crate) fn delay_max(self, setup: &Setup) -> Frames {
        match self {
            Self::Free => setup.delay(DELAY_MAX_MS),
            Self::Aligned => setup.delay(LINK_OFFSET_MAX_MS),
            Self::Interval => bars::LONGEST.to_frames_ceil(setup.sample_rate),
        }
    }
}

/// One stream's.
#[derive(Debug)]
pub(crate) struct Timing {
    kind: Kind,
    domain: Option<SessionId>,
    clock: Option<Clock>,
    told: snapshot::Writer<Option<LinkOffset>>,
    bars: Option<Bars>,
}

/// The callbacks' end.
#[derive(Debug)]
pub(crate) struct Told {
    line: Option<snapshot::Reader<Option<SessionLine>>>,
    bars: snapshot::Reader<Option<LinkOffset>>,
}

impl Told {
    /// The session's time. *Realtime-safe: yes.*
    pub(crate) fn line(&self) -> Option<SessionLine> {
        self.line.as_ref()?.read()
    }

    /// By how much the stream is late where it is to be late by bars. *Realtime-safe: yes.*
    pub(crate) fn bars(&self) -> Option<LinkOffset> {
        self.bars.read()
    }
}

impl Timing {
    /// For a stream of the domain, and what its callbacks are told.
    pub(crate) fn new(handle: &Handle, kind: Kind, domain: Option<SessionId>) -> (Self, Told) {
        let clock = (kind != Kind::Free).then(|| handle.clock(domain));
        let (told, bars) = snapshot::snapshot(None);
        let line = clock.as_ref().map(Clock::line);
        (Self { kind, domain, clock, told, bars: None }, Told { line, bars })
    }

    /// Whether it would be the same for these.
    pub(crate) fn is(&self, kind: Kind, domain: Option<SessionId>) -> bool {
        self.kind == kind && (kind == Kind::Free || self.domain == domain)
    }

    /// Whose time it is.
    pub(crate) fn domain(&self) -> Option<SessionId> {
        self.domain
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Brings up to date by how much the stream is late, where that is so many bars.
    pub(crate) fn look(&mut self, bars: usize, needs: Option<Nanos>) {
        let Some(clock) = self.clock.as_ref().filter(|_| self.kind == Kind::Interval) else { return };
        let timeline = clock.timeline();
        let found = timeline.line.map(|line| {
            let now = line.session_at(clock.now());
            bars::find(&timeline.map, now, bars, needs.unwrap_or(Nanos::ZERO))
        });
        if found != self.bars {
            self.bars = found;
            self.told.write(match found {
                Some(Bars::Kept { link_offset, .. }) => Some(link_offset),
                _ => None,
            });
        }
    }

    /// How it stands with the bars, where it is to be late by some.
    pub(crate) fn bars(&self) -> Option<Bars> {
        self.bars
    }
}
