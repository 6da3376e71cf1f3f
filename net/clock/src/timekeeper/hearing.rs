//! What others say of time, and what is said to them.

use audiocloud_units::{HostTime, Nanos, SessionLine};

use super::{
    Choice, GONE, MasterSaid, NO_TIME, Other, PEERS_MAX, Pulse, SESSION_TIME_MAX, State, Timekeeper,
};
use crate::election::ProcessId;

/// How far ahead of this machine's wall clock a choice may be numbered.
const CHOICE_AHEAD_MS: u64 = 24 * 3_600 * 1_000;
/// A peer with other beats is sent all of ours so often at most.
const MAP_EVERY: Nanos = Nanos::from_secs(2);
/// No two clocks are further apart in rate, slewing included.
const RATE_MAX_PPM: f64 = 1_000.0;
/// Bounds of errors beyond are taken for this.
const BOUND_MAX: Nanos = Nanos::from_secs(3_600);

/// Whether a clock of this world may show such a time.
fn can_be(line: &SessionLine) -> bool {
    let SessionLine { host, session, fraction, rate } = line;
    let is_near = |nanos: i64| nanos.saturating_abs() <= SESSION_TIME_MAX;
    is_near(host.get()) && is_near(session.get()) && fraction.abs() <= 1.0 && rate.get().abs() <= RATE_MAX_PPM
}

impl Timekeeper {
    /// A process says how it stands. It may lead, or not; its messages take so long there and back; `wall_ms` are
    /// milliseconds since 1970. Whether it is to be sent all our beats, for it has others.
    pub fn hear(
        &mut self,
        from: ProcessId,
        mut state: State,
        (round_trip, may_lead): (Nanos, bool),
        now: HostTime,
        wall_ms: u64,
    ) -> bool {
        if from == self.settings.me {
            return false;
        }
        if self.others.len() >= PEERS_MAX && !self.others.contains_key(&from) {
            self.refuse(format!("more than {PEERS_MAX} processes say that they share this time"));
            return false;
        }
        state.line = state.line.filter(|line| self.is_here(&from, &state.machine) && can_be(line));
        if let Some(said) = &mut state.master {
            said.bound = said.bound.max(Nanos::ZERO).min(BOUND_MAX);
        }
        let known = self.others.get(&from).copied();
        let is_first = known.is_none();
        let mapped = known.and_then(|known| known.mapped);
        self.others.insert(from, Other { state, heard: now, round_trip, may_lead, mapped });
        // Who has just come hears of us at once.
        self.changed |= is_first;
        if may_lead {
            self.hear_choice(state.choice, wall_ms);
            self.hear_candidate(from, &state, now);
            self.hear_master(from, state.master, now);
        } else if state.candidate.is_some() {
            self.election.forget(&from);
            self.refuse("somebody stands for master who may not lead".to_owned());
        }
        self.needs_beats(&from, now)
    }

    fn hear_choice(&mut self, choice: Choice, wall_ms: u64) {
        if choice.number <= self.choice.number {
            return;
        }
        if choice.number > wall_ms.saturating_add(CHOICE_AHEAD_MS) {
            return self.refuse("a choice of the master that was made more than a day from now".to_owned());
        }
        self.choice = choice;
        self.changed = true;
    }

    fn hear_candidate(&mut self, from: ProcessId, state: &State, now: HostTime) {
        match state.candidate {
            Some((quality, worst_round_trip)) => {
                let candidate = self.candidate(from, quality, worst_round_trip);
                self.election.hear(candidate, now);
            }
            // It lives as long as its pulse does, where it is master.
            None if self.election.master().is_none_or(|master| master.id != from) => {
                self.election.forget(&from)
            }
            None => {}
        }
    }

    fn hear_master(&mut self, from: ProcessId, said: Option<MasterSaid>, now: HostTime) {
        let Some(said) = said else { return };
        let is_out = self.others.get(&said.master.id).is_some_and(|other| !other.may_lead);
        if is_out {
            return self.refuse("somebody is said to be master who may not lead".to_owned());
        }
        if self.election.hear_master(said.master) {
            self.changed = true;
            self.pulse = None;
            self.source = None;
            if said.master.id == self.settings.me {
                // Elected by another: the time that is shown here is the one that goes on.
                self.following.go_on(now);
                self.origin = self.line_origin.unwrap_or(said.origin);
            } else {
                self.origin = said.origin;
            }
        }
        let Some(master) = self.election.master() else { return };
        if (master.id, master.epoch) != (said.master.id, said.master.epoch) || master.id == self.settings.me {
            return;
        }
        if from == master.id {
            self.election.set_alone(said.master.alone);
            if self.origin != said.origin {
                // The master's time has become another one.
                self.origin = said.origin;
                self.source = None;
            }
        }
        if self.pulse.is_none_or(|pulse| said.pulse > pulse.count) {
            // Whoever passes a pulse on passes on with it whose time it is.
            if self.origin != said.origin {
                self.origin = said.origin;
                self.source = None;
            }
            let (quality, worst_round_trip) = (said.quality, said.worst_round_trip);
            self.pulse = Some(Pulse { count: said.pulse, heard: now, quality, worst_round_trip });
            let candidate = self.candidate(master.id, quality, worst_round_trip);
            self.election.hear(candidate, now);
        }
    }

    /// Whether it has other beats, of the same time, and was not sent ours a moment ago.
    fn needs_beats(&mut self, from: &ProcessId, now: HostTime) -> bool {
        let (digest, origin) = (self.beats, self.line_origin);
        let Some(other) = self.others.get_mut(from) else { return false };
        let is_same_time =
            other.state.master.is_some_and(|said| said.steps != NO_TIME && Some(said.origin) == origin);
        let needs = digest != 0
            && is_same_time
            && other.state.beats != digest
            && other.mapped.is_none_or(|mapped| now - mapped >= MAP_EVERY);
        if needs {
            other.mapped = Some(now);
        }
        needs
    }

    /// Of all processes only these are connected.
    pub fn keep_only(&mut self, is_connected: impl Fn(&ProcessId) -> bool) {
        let gone: Vec<ProcessId> = self.others.keys().filter(|id| !is_connected(id)).copied().collect();
        gone.iter().for_each(|id| self.gone(id));
    }

    /// A process is no longer connected.
    pub fn gone(&mut self, id: &ProcessId) {
        self.changed |= self.others.remove(id).is_some();
        if self.source == Some(*id) {
            self.source = None;
        }
        // Whether the master is gone, its pulse will tell: others may still hear it.
        if self.election.master().is_none_or(|master| master.id != *id) {
            self.election.forget(id);
        }
    }

    /// What to say to this process now.
    #[must_use]
    pub fn say(&self, to: &ProcessId, now: HostTime) -> State {
        let machine = self.settings.machine;
        let is_here = self.others.get(to).is_some_and(|other| self.is_here(to, &other.state.machine));
        let stands = self.is_keeper && self.may_lead.is_ok();
        State {
            machine,
            is_node: self.settings.is_node,
            candidate: stands.then(|| (self.quality, self.worst_round_trip())),
            choice: self.choice,
            master: self.master_said(now),
            source: self.source,
            beats: self.beats,
            line: self.line().filter(|_| self.is_keeper && is_here),
        }
    }

    fn master_said(&self, now: HostTime) -> Option<MasterSaid> {
        let (master, pulse) = self.election.master().zip(self.pulse)?;
        let steps = self.steps();
        let bound = self.following.bound_at(now).filter(|_| steps != NO_TIME).unwrap_or(BOUND_MAX);
        Some(MasterSaid {
            master,
            origin: self.origin,
            pulse: pulse.count,
            quality: pulse.quality,
            worst_round_trip: pulse.worst_round_trip,
            steps,
            bound: bound.min(BOUND_MAX),
        })
    }

    /// Between the master and this process.
    pub(super) fn steps(&self) -> u8 {
        if self.line().is_none() || self.line_origin != Some(self.origin) {
            return NO_TIME;
        }
        if self.is_master() {
            return 0;
        }
        let steps_of = |other: &Other| other.state.master.map_or(NO_TIME, |said| said.steps);
        if !self.is_keeper {
            let keeper = self
                .others
                .iter()
                .find(|(id, other)| other.state.line.is_some() && self.is_here(id, &other.state.machine));
            return keeper.map_or(NO_TIME, |(_, other)| steps_of(other));
        }
        let source = self.source.and_then(|source| self.others.get(&source));
        // In holdover the time is still the master's, but nobody is to take it from here.
        source.map_or(super::STEPS_MAX, |other| steps_of(other).saturating_add(1))
    }

    pub(super) fn refuse(&mut self, why: String) {
        self.refused += 1;
        self.last_refusal = Some(why);
    }

    /// How long nobody has heard of the master; none: it is this process.
    pub(super) fn silence(&self, now: HostTime) -> Option<Nanos> {
        if self.is_master() {
            return None;
        }
        Some(self.pulse.map_or(GONE, |pulse| now - pulse.heard))
    }
}
