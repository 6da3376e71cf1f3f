//! One domain's time, as one process sees it: who the others are, whose time it is, how it comes here, and the beat on it.
//!
//! It is told what the others say ([`Timekeeper::hear`]), what messages about time have measured ([`Timekeeper::measure`]),
//! and that time goes by ([`Timekeeper::tick`]). It tells what to say ([`Timekeeper::say`]), whom to measure
//! ([`Timekeeper::source`]) and to answer ([`Timekeeper::serves`]), and what time it is ([`Timekeeper::line`]).
//!
//! Processes of one machine read one clock. One of them, the *keeper*, measures for all, stands for election for all, and
//! gives its line to the others, who use it as it is.

mod beats;
mod following;
mod hearing;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use audiocloud_units::{HostTime, Nanos, SessionLine, SessionTime};

pub use beats::{EDIT_SEGMENTS_MAX, Refusal};
pub use view::{Peer, Role, Standing, View};

use crate::beat_map::{BeatMap, Segment};
use crate::election::{Candidate, DeviceId, Election, Master, ProcessId, Quality, SILENT};
use crate::estimate::ClockEstimate;
use crate::filter::Measurement;
use following::Following;

/// For so long others are waited for before this process is master for want of any.
const WAIT: Nanos = Nanos::from_millis(500);
/// The state is said so often.
const SAY_EVERY: Nanos = Nanos::from_millis(450);
/// And when it is another one, not sooner after the last time.
const SAY_AFTER: Nanos = Nanos::from_millis(95);
/// Who said nothing for so long is not there.
const GONE: Nanos = Nanos::from_secs(6);
/// So far from the master the time is taken at most.
const STEPS_MAX: u8 = 4;
/// Instead of a number of steps: no time yet.
pub const NO_TIME: u8 = u8::MAX;
/// Processes listened to.
pub const PEERS_MAX: usize = 256;
/// A time that was joined may bring its beats for so long; then those that came along from the old one count.
const BEATS_COME: Nanos = Nanos::from_secs(2);
/// Round trips beyond are taken for this.
const ROUND_TRIP_MAX: Nanos = Nanos::from_secs(2);
/// What an edit needs beyond the longest way and half of it: a queue, a lost packet on a short way.
const HORIZON_MARGIN: Nanos = Nanos::from_millis(50);
/// Session times beyond say nothing.
pub(crate) const SESSION_TIME_MAX: i64 = 1 << 62;

/// Who this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name.
    pub me: ProcessId,
    /// The same for processes that read the same clock, and for no others.
    pub machine: [u8; 16],
    /// It outlives others of its machine, and keeps the time for them.
    pub is_node: bool,
    /// Random.
    pub seed: u64,
}

/// Whose clock somebody wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The greater counts.
    pub number: u64,
    /// None: whose is best.
    pub device: Option<DeviceId>,
}

/// What a process says of the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MasterSaid {
    /// Who it is.
    pub master: Master,
    /// Of which time.
    pub origin: u64,
    /// Counts on while it is there.
    pub pulse: u64,
    /// What its clock is.
    pub quality: Quality,
    /// The longest of its round trips.
    pub worst_round_trip: Nanos,
    /// From it to who says this; [`NO_TIME`].
    pub steps: u8,
    /// The error of who says this.
    pub bound: Nanos,
}

/// What a process says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    /// Whose clock it reads.
    pub machine: [u8; 16],
    /// It outlives plug-ins.
    pub is_node: bool,
    /// It may be master: by this clock, and with this longest round trip.
    pub candidate: Option<(Quality, Nanos)>,
    /// The latest choice that it knows of.
    pub choice: Choice,
    /// The master, as far as it knows.
    pub master: Option<MasterSaid>,
    /// Whom it has the time from.
    pub source: Option<ProcessId>,
    /// Of its beat map.
    pub beats: u64,
    /// To those of its machine, where it is the keeper.
    pub line: Option<SessionLine>,
}

/// Somebody else of the domain.
#[derive(Clone, Copy, Debug)]
struct Other {
    state: State,
    heard: HostTime,
    round_trip: Nanos,
    may_lead: bool,
    /// When it was sent the whole beat map.
    mapped: Option<HostTime>,
}

/// The master's signs of life.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    count: u64,
    heard: HostTime,
    quality: Quality,
    worst_round_trip: Nanos,
}

/// See the module.
#[derive(Debug)]
pub struct Timekeeper {
    settings: Settings,
    /// Or why this user may not, in words.
    may_lead: Result<(), String>,
    since: HostTime,
    quality: Quality,
    /// This machine's own time is known better than its crystal tells.
    offered: Option<ClockEstimate>,
    /// By how much session time differs from that.
    offered_by: Option<Nanos>,
    election: Election,
    /// Of the master's time.
    origin: u64,
    pulse: Option<Pulse>,
    choice: Choice,
    others: BTreeMap<ProcessId, Other>,
    is_keeper: bool,
    source: Option<ProcessId>,
    following: Following,
    /// Of the time that is shown.
    line_origin: Option<u64>,
    map: Arc<BeatMap>,
    /// Its digest.
    beats: u64,
    map_number: u64,
    /// Beats of a time that is no more, moved over; and when that was.
    orphans: Option<(Vec<Segment>, HostTime)>,
    serial: u64,
    said: Option<HostTime>,
    changed: bool,
    refused: u64,
    last_refusal: Option<String>,
    origins_drawn: u64,
}

impl Timekeeper {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(settings: Settings, now: HostTime) -> Self {
        Self {
            settings,
            may_lead: Ok(()),
            since: now,
            quality: Quality::default(),
            offered: None,
            offered_by: None,
            election: Election::new(),
            origin: 0,
            pulse: None,
            choice: Choice::default(),
            others: BTreeMap::new(),
            is_keeper: true,
            source: None,
            following: Following::default(),
            line_origin: None,
            map: Arc::default(),
            beats: 0,
            map_number: 0,
            orphans: None,
            serial: 0,
            said: None,
            changed: false,
            refused: 0,
            last_refusal: None,
            origins_drawn: 0,
        }
    }

    // ---- What is known.

    /// The session's time over this machine's, as it is shown.
    #[must_use]
    pub fn line(&self) -> Option<SessionLine> {
        self.following.line()
    }

    /// The beats on it.
    #[must_use]
    pub fn map(&self) -> &Arc<BeatMap> {
        &self.map
    }

    /// Another number whenever the map is another.
    #[must_use]
    pub fn map_number(&self) -> u64 {
        self.map_number
    }

    /// This process.
    #[must_use]
    pub fn me(&self) -> ProcessId {
        self.settings.me
    }

    /// Whose time it is.
    #[must_use]
    pub fn master(&self) -> Option<ProcessId> {
        self.election.master().map(|master| master.id)
    }

    /// Whom to measure, if anybody.
    #[must_use]
    pub fn source(&self) -> Option<ProcessId> {
        self.source
    }

    /// Whether this process has the time from us, and is to be given it.
    #[must_use]
    pub fn serves(&self, other: &ProcessId) -> bool {
        self.others.get(other).is_some_and(|other| other.state.source == Some(self.settings.me))
    }

    /// An edit that begins so far ahead reaches everybody first.
    #[must_use]
    pub fn horizon(&self) -> Nanos {
        let ways = self.others.values().map(|other| other.round_trip);
        let theirs = self.election.candidates().map(|candidate| candidate.worst_round_trip);
        let longest = ways.chain(theirs).max().unwrap_or(Nanos::ZERO).min(ROUND_TRIP_MAX);
        HORIZON_MARGIN + Nanos::new(longest.get() / 2 * 3)
    }

    fn is_master(&self) -> bool {
        self.election.master().is_some_and(|master| master.id == self.settings.me)
    }

    /// Another process that reads this clock: of one device, as the connection proves.
    fn is_here(&self, id: &ProcessId, machine: &[u8; 16]) -> bool {
        id.device == self.settings.me.device && *machine == self.settings.machine
    }

    fn elsewhere(&self) -> impl Iterator<Item = (&ProcessId, &Other)> {
        self.others.iter().filter(|(id, other)| !self.is_here(id, &other.state.machine))
    }

    fn worst_round_trip(&self) -> Nanos {
        self.elsewhere().map(|(_, other)| other.round_trip).max().unwrap_or(Nanos::ZERO)
    }

    // ---- What is wished.

    /// Whether this user may lead; if not, why not.
    pub fn set_may_lead(&mut self, may_lead: Result<(), String>) {
        if self.may_lead != may_lead {
            self.may_lead = may_lead;
            self.changed = true;
        }
    }

    /// See `Clock::offer`.
    pub fn offer(&mut self, quality: Quality, estimate: Option<ClockEstimate>) {
        let quality = if estimate.is_some() { quality } else { Quality::Crystal };
        if estimate.is_none() {
            self.offered_by = None;
        }
        self.changed |= self.quality != quality;
        (self.quality, self.offered) = (quality, estimate);
    }

    /// The way from the master takes so much longer than the way to it.
    pub fn set_asymmetry(&mut self, longer_from_master: Nanos) {
        self.following.set_asymmetry(longer_from_master);
    }

    /// Chooses whose clock it is; `wall_ms` are milliseconds since 1970.
    ///
    /// # Errors
    /// Why this user may not.
    pub fn choose(&mut self, device: Option<DeviceId>, wall_ms: u64) -> Result<(), Refusal> {
        self.may_lead.clone().map_err(Refusal)?;
        self.choice = Choice { number: wall_ms.max(self.choice.number.saturating_add(1)), device };
        self.changed = true;
        Ok(())
    }

    // ---- Measuring.

    /// Messages with `from` have measured this. Whether the line is another one now.
    pub fn measure(&mut self, from: &ProcessId, measurement: Measurement, now: HostTime) -> bool {
        if self.source != Some(*from) || !self.is_keeper {
            return false;
        }
        let (Measurement::Sync { sent: session, .. } | Measurement::DelayRequest { received: session, .. }) =
            measurement;
        if session.get().saturating_abs() > SESSION_TIME_MAX {
            self.refuse("a time that no clock shows".to_owned());
            return false;
        }
        let before = self.line();
        if !self.following.measure(measurement, now) {
            return false;
        }
        self.entered(before, now);
        self.changed = true;
        true
    }

    /// The line leads somewhere else: to the master's time, if it did not before.
    fn entered(&mut self, before: Option<SessionLine>, now: HostTime) {
        if self.line_origin == Some(self.origin) {
            return;
        }
        self.line_origin = Some(self.origin);
        let moved_by = before.zip(self.line()).map(|(old, new)| new.session_at(now) - old.session_at(now));
        self.move_beats(moved_by, now);
    }

    // ---- Time goes by.

    /// To be called twenty times a second; `wall` is the time of day, nanoseconds since 1970. Whether there is something
    /// to say to the others.
    pub fn tick(&mut self, now: HostTime, wall: SessionTime) -> bool {
        self.others.retain(|_, other| now - other.heard <= GONE);
        self.decide_keeper();
        self.stand(now);
        if self.is_keeper && (self.election.master().is_some() || now - self.since >= WAIT) {
            self.take_over(now, wall);
            // Or it was elected by others before it had a time.
            let elected = self.election.tick(now);
            let elected =
                elected.or(self.election.master().filter(|_| self.is_master() && self.line().is_none()));
            if let Some(master) = elected {
                self.enter(master, now, wall);
            }
        }
        self.choose_source(now);
        self.follow(now);
        self.settle_orphans(now);
        let after = if self.changed { SAY_AFTER } else { SAY_EVERY };
        let says = self.said.is_none_or(|said| now - said >= after);
        if says {
            self.changed = false;
            self.said = Some(now);
            self.beat_pulse(now);
        }
        says
    }

    /// One process of this machine keeps the time: who has it, nodes first, then who did so before, then the smallest.
    fn decide_keeper(&mut self) {
        let rank = |id: &ProcessId, state: &State| {
            let has_time = state.master.is_some_and(|said| said.steps != NO_TIME);
            (!has_time, !state.is_node, state.line.is_none(), id.instance)
        };
        let me = (
            self.line().is_none(),
            !self.settings.is_node,
            !self.is_keeper || self.line().is_none(),
            self.settings.me.instance,
        );
        let here = self.others.iter().filter(|(id, other)| self.is_here(id, &other.state.machine));
        let keeps = here.map(|(id, other)| rank(id, &other.state)).min().is_none_or(|best| me < best);
        if keeps != self.is_keeper {
            self.is_keeper = keeps;
            self.source = None;
            self.changed = true;
        }
    }

    /// The keeper is a candidate where its user may lead; and who is chosen is another matter each time.
    fn stand(&mut self, now: HostTime) {
        let me = self.settings.me;
        if self.is_keeper && self.may_lead.is_ok() {
            let candidate = self.candidate(me, self.quality, self.worst_round_trip());
            self.election.hear(candidate, now);
        } else {
            self.election.forget(&me);
            if self.is_master() && self.may_lead.is_err() {
                self.election.depose();
            }
        }
    }

    fn candidate(&self, id: ProcessId, quality: Quality, worst_round_trip: Nanos) -> Candidate {
        let chosen = if self.choice.device == Some(id.device) { self.choice.number } else { 0 };
        Candidate { id, chosen, quality, worst_round_trip: worst_round_trip.min(ROUND_TRIP_MAX) }
    }

    /// What need not be voted on: company comes to who was master alone, or leaves; or the master was another process of
    /// this machine.
    fn take_over(&mut self, now: HostTime, wall: SessionTime) {
        let Some(master) = self.election.master() else { return };
        let me = self.settings.me;
        let has_company = self.elsewhere().next().is_some();
        if master.id == me && has_company == master.alone {
            if has_company {
                self.election.elect(me);
            } else {
                self.election.set_alone(true);
            }
            self.changed = true;
        }
        let was_here =
            self.others.get(&master.id).is_some_and(|other| self.is_here(&master.id, &other.state.machine));
        if was_here && self.may_lead.is_ok() {
            let master = self.election.elect(me);
            self.enter(master, now, wall);
        }
    }

    /// There is another master.
    fn enter(&mut self, master: Master, now: HostTime, wall: SessionTime) {
        self.changed = true;
        self.pulse = None;
        if master.id != self.settings.me {
            // Who was elected may be master of an earlier epoch, and would never hear of this one: without a pulse nothing is
            // said. The time that it shows is the one that goes on.
            let Some(elected) = self.others.get(&master.id) else { return };
            self.origin = elected.state.master.map_or(self.origin, |said| said.origin);
            self.pulse = elected.state.candidate.map(|(quality, worst_round_trip)| Pulse {
                count: 0,
                heard: now,
                quality,
                worst_round_trip,
            });
            return;
        }
        self.source = None;
        if self.line().is_none() {
            self.following.begin(wall, now);
            self.origin = self.draw_origin();
            self.line_origin = Some(self.origin);
        } else {
            self.following.go_on(now);
            // The time that is shown goes on, whosever it was.
            self.origin = self.line_origin.unwrap_or(self.origin);
        }
    }

    fn draw_origin(&mut self) -> u64 {
        self.origins_drawn += 1;
        // SplitMix64 of the seed.
        let mut mixed =
            self.settings.seed.wrapping_add(self.origins_drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The master itself shows that it is there; with others its candidacy lasts as long as it does so.
    fn beat_pulse(&mut self, now: HostTime) {
        if !self.is_master() {
            return;
        }
        let count = self.pulse.map_or(1, |pulse| pulse.count.saturating_add(1));
        let worst_round_trip = self.worst_round_trip();
        self.pulse = Some(Pulse { count, heard: now, quality: self.quality, worst_round_trip });
    }

    /// From whom the time comes: the master, or who is fewest steps from it, then the nearest.
    fn choose_source(&mut self, now: HostTime) {
        let wanted = if self.is_keeper && !self.is_master() { self.best_source(now) } else { None };
        if wanted == self.source {
            return;
        }
        self.source = wanted;
        self.changed = true;
        if let Some(other) = wanted.and_then(|source| self.others.get(&source)) {
            let is_other_time = self.line_origin != Some(self.origin);
            self.following.start(other.round_trip, is_other_time, now);
        }
    }

    fn best_source(&self, now: HostTime) -> Option<ProcessId> {
        let master = self.election.master()?;
        let usable = |id: &ProcessId, other: &Other| {
            let said = other.state.master?;
            let fits = other.may_lead
                && now - other.heard <= SILENT
                && (said.master.id, said.master.epoch, said.origin) == (master.id, master.epoch, self.origin)
                && (said.steps < STEPS_MAX)
                && (said.steps == 0) == (*id == master.id)
                && other.state.source != Some(self.settings.me);
            // Who is the source stays so among equals.
            fits.then_some((said.steps, self.source != Some(*id), other.round_trip, *id))
        };
        let usable = self.elsewhere().filter_map(|(id, other)| usable(id, other));
        usable.min().map(|(.., id)| id)
    }

    /// The line follows what it follows.
    fn follow(&mut self, now: HostTime) {
        if !self.is_keeper {
            return self.take_line_of_keeper(now);
        }
        if self.is_master()
            && let Some(offered) = self.offered
        {
            return self.follow_offered(offered, now);
        }
        let source = self.source.and_then(|source| self.others.get(&source));
        if let Some(said) = source.and_then(|other| other.state.master) {
            self.following.set_source_bound(said.bound);
        }
        self.changed |= self.following.tick(now);
    }

    /// As the keeper has it.
    fn take_line_of_keeper(&mut self, now: HostTime) {
        let keeper = self
            .others
            .iter()
            .find(|(id, other)| other.state.line.is_some() && self.is_here(id, &other.state.machine));
        let Some((line, said)) = keeper.and_then(|(_, other)| other.state.line.zip(other.state.master))
        else {
            return;
        };
        if self.line() == Some(line) {
            return;
        }
        let before = self.line();
        self.origin = said.origin;
        self.following.take(line, said.bound, now);
        self.entered(before, now);
    }

    /// This machine's own time is a grandmaster's: the session goes by it. Who is alone shows its very time; with others,
    /// what was different stays so, for nobody's time is to jump.
    fn follow_offered(&mut self, offered: ClockEstimate, now: HostTime) {
        let Some(line) = self.line() else { return };
        if !self.following.is_due(now) {
            return;
        }
        let (by, is_new) = match self.offered_by {
            Some(by) => (by, false),
            None if self.elsewhere().next().is_none() => (Nanos::ZERO, true),
            None => (line.session_at(now) - offered.session_at(now), true),
        };
        self.offered_by = Some(by);
        let estimate = ClockEstimate { offset: offered.offset + by, ..offered };
        let moved = self.following.follow(estimate, now);
        if is_new && moved.is_some_and(|moved| moved != Nanos::ZERO) {
            // It is another time now.
            self.origin = self.draw_origin();
            self.line_origin = Some(self.origin);
            let segments: Vec<Segment> = self.map.segments().to_vec();
            let moved = moved.unwrap_or(Nanos::ZERO);
            self.set_map(beats::moved(&segments, moved, None));
        }
        self.changed = true;
    }
}

#[cfg(test)]
mod tests;
