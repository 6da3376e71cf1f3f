//! Several processes, each with a clock of its own, on a network in virtual time.

use std::collections::BTreeMap;

use audiocloud_units::{HostTime, Nanos, SessionTime};

use super::super::{ProcessId, Settings, State, Timekeeper, View};
use crate::beat_map::Segment;
use crate::filter::Measurement;

/// The same for equal seeds: SplitMix64, from 0 to 1.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

pub(super) struct Process {
    pub(super) keeper: Timekeeper,
    /// Its clock is faster than true time, and ahead of it.
    pub(super) ppm: f64,
    pub(super) ahead: i64,
    pub(super) may_lead: bool,
    pub(super) is_running: bool,
}

/// Nanoseconds of true time.
pub(super) struct World {
    pub(super) now: i64,
    pub(super) random: Random,
    pub(super) processes: Vec<Process>,
    /// One way, in nanoseconds, between any two but those who cannot reach each other.
    pub(super) way: i64,
    pub(super) jitter: f64,
    pub(super) cut: Vec<(usize, usize)>,
    /// What is under way: when it is there, from whom, to whom.
    pub(super) states: BTreeMap<(i64, usize, usize), State>,
    pub(super) beats: Vec<(i64, usize, usize, u64, Vec<Segment>)>,
}

pub(super) const MILLISECOND: i64 = 1_000_000;
pub(super) const SECOND: i64 = 1_000_000_000;
pub(super) const WALL: i64 = 1_700_000_000 * SECOND;

impl World {
    pub(super) fn new(seed: u64, way_us: i64) -> Self {
        Self {
            now: 0,
            random: Random(seed),
            processes: Vec::new(),
            way: way_us * 1_000,
            jitter: 20_000.0,
            cut: Vec::new(),
            states: BTreeMap::new(),
            beats: Vec::new(),
        }
    }

    /// A process on machine `machine`, whose clock is so many millionths fast. Processes of one machine agree on them.
    pub(super) fn start(&mut self, id: u8, machine: u8, ppm: f64) -> usize {
        self.start_as(id, machine, ppm, false)
    }

    pub(super) fn start_as(&mut self, id: u8, machine: u8, ppm: f64, is_node: bool) -> usize {
        let settings = Settings {
            me: ProcessId { device: [machine; 32], instance: [id; 16] },
            machine: [machine; 16],
            is_node,
            seed: u64::from(id),
        };
        let ahead = i64::from(machine) * 1_000 * SECOND;
        let process = Process {
            keeper: Timekeeper::new(settings, HostTime::new(0)),
            ppm,
            ahead,
            may_lead: true,
            is_running: true,
        };
        self.processes.push(process);
        let index = self.processes.len() - 1;
        let now = self.host(index, self.now);
        self.processes[index].keeper = Timekeeper::new(settings, now);
        index
    }

    pub(super) fn host(&self, index: usize, at: i64) -> HostTime {
        let Process { ppm, ahead, .. } = self.processes[index];
        HostTime::new(at + ahead + crate::estimate::rounded(at as f64 * ppm * 1e-6))
    }

    pub(super) fn id(&self, index: usize) -> ProcessId {
        self.processes[index].keeper.settings.me
    }

    pub(super) fn index(&self, id: ProcessId) -> Option<usize> {
        (0..self.processes.len()).find(|index| self.id(*index) == id && self.processes[*index].is_running)
    }

    pub(super) fn reach(&self, one: usize, other: usize) -> bool {
        let running = |index: usize| self.processes[index].is_running;
        let is_cut = self.cut.contains(&(one, other)) || self.cut.contains(&(other, one));
        one != other && running(one) && running(other) && !is_cut
    }

    pub(super) fn delay(&mut self) -> i64 {
        self.way - crate::estimate::rounded(self.jitter * (1.0 - self.random.next()).ln())
    }

    pub(super) fn cut(&mut self, one: usize, other: usize) {
        self.cut.push((one, other));
        for (here, there) in [(one, other), (other, one)] {
            let id = self.id(there);
            self.processes[here].keeper.gone(&id);
        }
    }

    pub(super) fn stop(&mut self, index: usize) {
        self.processes[index].is_running = false;
        let id = self.id(index);
        for process in &mut self.processes {
            process.keeper.gone(&id);
        }
    }

    pub(super) fn session(&self, index: usize) -> SessionTime {
        self.try_session(index).unwrap_or_else(|| panic!("{index} has no time"))
    }

    pub(super) fn try_session(&self, index: usize) -> Option<SessionTime> {
        let line = self.processes[index].keeper.line()?;
        Some(line.session_at(self.host(index, self.now)))
    }

    pub(super) fn apart(&self, one: usize, other: usize) -> Nanos {
        (self.session(one) - self.session(other)).abs()
    }

    pub(super) fn view(&self, index: usize) -> View {
        self.processes[index].keeper.view(self.host(index, self.now))
    }

    pub(super) fn master(&self, index: usize) -> Option<usize> {
        self.view(index).master.and_then(|master| self.index(master.id))
    }

    pub(super) fn edit(&mut self, index: usize, segments: &[Segment]) {
        let now = self.host(index, self.now);
        let segments = self.processes[index].keeper.edit(segments, now).unwrap();
        self.spread(index, None, &segments);
    }

    pub(super) fn spread(&mut self, from: usize, except: Option<usize>, segments: &[Segment]) {
        let Some(origin) = self.processes[from].keeper.beats_origin() else { return };
        for to in 0..self.processes.len() {
            if self.reach(from, to) && Some(to) != except {
                let at = self.now + self.delay();
                self.beats.push((at, from, to, origin, segments.to_vec()));
            }
        }
    }

    pub(super) fn play(&mut self, seconds: f64) {
        self.watch(seconds, |_| ());
    }

    /// Goes on for so long, and looks twenty times a second.
    pub(super) fn watch(&mut self, seconds: f64, mut look: impl FnMut(&Self)) {
        let end = self.now + crate::estimate::rounded(seconds * 1e9);
        while self.now < end {
            self.now += 10 * MILLISECOND;
            self.deliver();
            if self.now % (50 * MILLISECOND) == 0 {
                self.tick();
                look(self);
            }
            // Eight times a second, more or less.
            if self.now % (130 * MILLISECOND) == 0 {
                self.exchange();
            }
        }
    }

    pub(super) fn tick(&mut self) {
        for index in 0..self.processes.len() {
            let now = self.host(index, self.now);
            let wall = SessionTime::new(WALL + self.now + i64::try_from(index).unwrap() * SECOND);
            let process = &mut self.processes[index];
            if !process.is_running || !process.keeper.tick(now, wall) {
                continue;
            }
            for to in 0..self.processes.len() {
                if self.reach(index, to) {
                    let state = self.processes[index].keeper.say(&self.id(to), now);
                    let at = self.now + self.delay();
                    self.states.insert((at, index, to), state);
                }
            }
        }
    }

    pub(super) fn deliver(&mut self) {
        let later = self.states.split_off(&(self.now, 0, 0));
        for ((_, from, to), state) in std::mem::replace(&mut self.states, later) {
            if !self.reach(from, to) {
                continue;
            }
            let (id, now) = (self.id(from), self.host(to, self.now));
            let (round_trip, may_lead) = (Nanos::new(2 * self.way), self.processes[from].may_lead);
            let wall_ms = u64::try_from((WALL + self.now) / MILLISECOND).unwrap();
            let differs = self.processes[to].keeper.hear(id, state, (round_trip, may_lead), now, wall_ms);
            if differs && let Some(origin) = self.processes[to].keeper.beats_origin() {
                let all = self.processes[to].keeper.map().segments().to_vec();
                let at = self.now + self.delay();
                self.beats.push((at, to, from, origin, all));
            }
        }
        let (due, later) = std::mem::take(&mut self.beats).into_iter().partition(|(at, ..)| *at < self.now);
        self.beats = later;
        for (_, from, to, origin, segments) in due {
            if self.reach(from, to) {
                let (now, may_lead) = (self.host(to, self.now), self.processes[from].may_lead);
                let news = self.processes[to].keeper.hear_beats(&segments, origin, may_lead, now);
                if !news.is_empty() {
                    self.spread(to, Some(from), &news);
                }
            }
        }
    }

    /// What an exchange of messages would measure: a sync and a delay request, each on its own way.
    pub(super) fn exchange(&mut self) {
        for index in 0..self.processes.len() {
            let source = self.processes[index].keeper.source().and_then(|source| self.index(source));
            let Some(source) = source.filter(|source| self.reach(*source, index)) else { continue };
            let Some(line) = self.processes[source].keeper.line() else { continue };
            let at = self.now + crate::estimate::rounded(self.random.next() * 1e7);
            let (there, back) = (at + self.delay(), at + self.delay());
            let id = self.id(source);
            let session = |at: i64| line.session_at(self.host(source, at));
            let sync = Measurement::Sync { sent: session(at), received: self.host(index, there) };
            let request = Measurement::DelayRequest { sent: self.host(index, at), received: session(back) };
            let now = self.host(index, there.max(back));
            for measurement in [sync, request] {
                self.processes[index].keeper.measure(&id, measurement, now);
            }
        }
    }
}
