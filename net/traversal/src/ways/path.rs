//! One way: whether it is open, how long it takes, when to ask again.

use std::time::{Duration, Instant};

use super::{ANSWERS_MIN, HOLD, HOLD_MAX, Way};

/// Between probes on the way that media takes.
const FLOWING: Duration = Duration::from_millis(20);
/// On the others meanwhile: the next to be taken must be known to be open.
const WAITING: Duration = Duration::from_millis(100);
/// On all that are open, while no media flows.
const IDLE: Duration = Duration::from_millis(200);
/// On one that is to be opened: both ends begin at about the same time, and hurry for so long; then less and less.
const OPENING: [(Duration, Duration); 2] = [
    (Duration::from_secs(1), Duration::from_millis(50)),
    (Duration::from_secs(4), Duration::from_millis(200)),
];
const CLOSED: Duration = Duration::from_secs(1);
/// A probe of the peer makes us probe too, so much later than the last at the earliest.
const ANSWERING: Duration = Duration::from_millis(20);
/// After this time open, earlier failures are forgotten.
const TRUSTED: Duration = Duration::from_secs(60);
/// A way that nobody named, and that stays closed for so long, is none.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// A way is only faster if its round trip takes this much less, and a quarter less.
const FASTER_BY: Duration = Duration::from_millis(2);

/// What a path is used for, which says how often it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Packets of media go by it.
    Media,
    /// They go by another.
    Spare,
    /// There are none.
    Idle,
}

#[derive(Debug)]
pub(super) struct Path {
    pub(super) way: Way,
    /// The peer or its node named it.
    pub(super) listed: bool,
    /// The peer has proven that it sends from there.
    pub(super) admitted: bool,
    open: Option<Open>,
    times: Option<Times>,
    /// How often it closed lately.
    closed: u32,
    tried_since: Instant,
    probed: Option<Instant>,
    next_probe: Instant,
    pace: Duration,
    /// From when on answers at this pace can be expected.
    paced_since: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    since: Instant,
    answered: Instant,
    /// In a row, without a doubt between them.
    answers: u32,
    undoubted_since: Instant,
}

/// Round trips, after RFC 6298.
#[derive(Clone, Copy, Debug)]
struct Times {
    smoothed: Duration,
    variation: Duration,
}

impl Path {
    pub(super) fn new(way: Way, listed: bool, now: Instant) -> Self {
        Self {
            way,
            listed,
            admitted: false,
            open: None,
            times: None,
            closed: 0,
            tried_since: now,
            probed: None,
            next_probe: now,
            pace: IDLE,
            paced_since: now,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// It is open, or was.
    pub(super) fn is_known_good(&self) -> bool {
        self.times.is_some()
    }

    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        !self.listed && self.open.is_none() && now >= self.tried_since + FORGOTTEN
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.times.map(|times| times.smoothed)
    }

    /// Ways are better the less this is.
    pub(super) fn rank(&self) -> (u8, Duration) {
        (self.way.rank(), self.round_trip().unwrap_or(Duration::MAX))
    }

    /// Of the same kind, and so much faster that moving pays.
    pub(super) fn is_faster_than(&self, other: &Self) -> bool {
        let (Some(ours), Some(theirs)) = (self.round_trip(), other.round_trip()) else { return false };
        self.way.rank() == other.way.rank() && ours + FASTER_BY.max(theirs / 4) < theirs
    }

    /// When its silence becomes suspicious: two probes were not answered. None while it is closed.
    pub(super) fn doubted_at(&self) -> Option<Instant> {
        let slack = Duration::from_millis(5) + 2 * self.variation();
        self.heard().map(|heard| heard + 2 * self.pace + slack)
    }

    /// When it counts as closed.
    fn closes_at(&self) -> Option<Instant> {
        let slack = Duration::from_millis(220) + 4 * self.variation();
        self.heard().map(|heard| heard + 4 * self.pace + slack)
    }

    fn heard(&self) -> Option<Instant> {
        self.open.map(|open| open.answered.max(self.paced_since))
    }

    fn variation(&self) -> Duration {
        self.times.map_or(Duration::ZERO, |times| times.variation)
    }

    pub(super) fn is_doubtful(&self, now: Instant) -> bool {
        self.doubted_at().is_some_and(|at| now >= at)
    }

    /// It has been open for as long as it takes to be trusted with packets that have another way.
    pub(super) fn has_held(&self, now: Instant) -> bool {
        self.open.is_some_and(|open| {
            let hold = match self.closed {
                0 => Duration::ZERO,
                times => HOLD.saturating_mul(1 << (times - 1).min(16)).min(HOLD_MAX),
            };
            open.answers >= ANSWERS_MIN && now >= open.undoubted_since + hold && !self.is_doubtful(now)
        })
    }

    /// When something happens of itself: it is asked, or it closes.
    pub(super) fn due_at(&self) -> Instant {
        self.closes_at().map_or(self.next_probe, |closes| closes.min(self.next_probe))
    }

    pub(super) fn probe_is_due(&self, now: Instant) -> bool {
        now >= self.next_probe
    }

    /// A probe is sent now.
    pub(super) fn probed(&mut self, used: Use, now: Instant) {
        let pace = self.pace_for(used, now);
        if pace < self.pace {
            self.paced_since = now + self.round_trip().unwrap_or_default();
        }
        self.pace = pace;
        self.probed = Some(now);
        self.next_probe = now + pace;
    }

    fn pace_for(&self, used: Use, now: Instant) -> Duration {
        match (self.open, used) {
            (Some(_), Use::Media) => FLOWING,
            (Some(open), _) if open.answers < ANSWERS_MIN => OPENING[0].1,
            (Some(_), Use::Spare) => WAITING,
            (Some(_), Use::Idle) => IDLE,
            (None, _) => {
                let age = now.saturating_duration_since(self.tried_since);
                OPENING.iter().find(|(until, _)| age < *until).map_or(CLOSED, |(_, pace)| *pace)
            }
        }
    }

    /// A probe was answered after `round_trip`.
    pub(super) fn answered(&mut self, round_trip: Duration, now: Instant) {
        let doubted = self.is_doubtful(now);
        self.times = Some(match self.times {
            None => Times { smoothed: round_trip, variation: round_trip / 2 },
            Some(Times { smoothed, variation }) => Times {
                smoothed: (7 * smoothed + round_trip) / 8,
                variation: (3 * variation + smoothed.abs_diff(round_trip)) / 4,
            },
        });
        let open =
            self.open.get_or_insert(Open { since: now, answered: now, answers: 0, undoubted_since: now });
        if doubted {
            open.answers = 0;
            open.undoubted_since = now;
        }
        open.answered = now;
        open.answers = open.answers.saturating_add(1);
        if now >= open.since + TRUSTED {
            self.closed = 0;
        }
    }

    /// A probe of the peer came this way: ours may get through as well.
    pub(super) fn heard_probe(&mut self, now: Instant) {
        if self.open.is_none() {
            let earliest = self.probed.map_or(now, |probed| now.max(probed + ANSWERING));
            self.next_probe = self.next_probe.min(earliest);
        }
    }

    /// The next probe goes out at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next_probe = self.next_probe.min(now);
    }

    /// As if it were new, where it is closed.
    pub(super) fn try_again(&mut self, now: Instant) {
        self.tried_since = now;
        self.hurry(now);
    }

    /// Nobody listened for so long.
    pub(super) fn excuse(&mut self, span: Duration, now: Instant) {
        if let Some(open) = &mut self.open {
            open.answered = now.min(open.answered + span);
            self.paced_since = now.min(self.paced_since + span);
        }
    }

    pub(super) fn close_if_silent(&mut self, now: Instant) {
        if self.closes_at().is_some_and(|at| now >= at) {
            self.open = None;
            self.closed = self.closed.saturating_add(1);
            self.try_again(now);
        }
    }
}
