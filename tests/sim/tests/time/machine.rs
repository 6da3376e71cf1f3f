//! Machines that share a time: a timekeeper and its exchanges on a clock that drifts and wanders, in virtual time.

use std::collections::BTreeMap;

use audiocloud_clock::election::{DeviceId, ProcessId};
use audiocloud_clock::ptp::{Action, Config, Exchange, Role};
use audiocloud_clock::timekeeper::{Settings, State, Timekeeper, View};
use audiocloud_sim::link::{self, Fate};
use audiocloud_sim::network::{Network, Node};
use audiocloud_sim::time::Queue;
use audiocloud_units::{HostTime, Nanos, SessionTime};

/// The network thread's.
const TICK: Nanos = Nanos::from_millis(50);
/// Timeouts are noticed so late at most.
const STEP: Nanos = Nanos::from_millis(1);
/// 2026-11-21, in nanoseconds since 1970.
const WALL: SessionTime = SessionTime::new(1_795_219_200_000_000_000);

/// One machine.
pub(crate) struct Machine {
    pub(crate) keeper: Timekeeper,
    exchanges: BTreeMap<usize, (Role, Exchange)>,
    /// Its clock is faster than true time by so many millionths, and its rate wanders by so many more, once in two minutes.
    ppm: f64,
    wander_ppm: f64,
    is_running: bool,
}

impl Machine {
    /// What its clock shows.
    pub(crate) fn host(&self, at: Nanos) -> HostTime {
        let seconds = at.get() as f64 * 1e-9;
        let turn = std::f64::consts::TAU / 120.0;
        let wandered = self.wander_ppm * (1.0 - (seconds * turn).cos()) / turn;
        HostTime::new(0) + at + Nanos::new(rounded((self.ppm * seconds + wandered) * 1e3))
    }

    /// The session's time as it shows it; none yet.
    pub(crate) fn session(&self, at: Nanos) -> Option<SessionTime> {
        self.keeper.line().map(|line| line.session_at(self.host(at)))
    }
}

/// All of them, each with each.
pub(crate) struct World {
    pub(crate) now: Nanos,
    pub(crate) machines: Vec<Machine>,
    network: Network,
    /// What is said on connections, which lose nothing: when it is there, from whom, to whom.
    said: Queue<(usize, usize, State)>,
    /// One way, as connections see it.
    way: Nanos,
    cut: Vec<(usize, usize)>,
}

pub(crate) fn rounded(value: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
    let rounded = value.round() as i64;
    rounded
}

fn node(index: usize) -> Node {
    Node(u32::try_from(index).unwrap())
}

impl World {
    /// Machines whose clocks are so wrong, on links that are like this, there and back.
    pub(crate) fn new(seed: u64, clocks_ppm: &[f64], there: &link::Config, back: &link::Config) -> Self {
        let mut network = Network::new(seed);
        for from in 0..clocks_ppm.len() {
            for to in 0..clocks_ppm.len() {
                let way = if from < to { there } else { back };
                network.connect(node(from), node(to), way.clone());
            }
        }
        let machine = |(index, ppm): (usize, &f64)| {
            let name = u8::try_from(index).unwrap() + 1;
            let me = ProcessId { device: [name; 32], instance: [name; 16] };
            let settings = Settings { me, machine: [name; 16], is_node: false, seed: seed + u64::from(name) };
            let mut machine = Machine {
                keeper: Timekeeper::new(settings, HostTime::new(0)),
                exchanges: BTreeMap::new(),
                ppm: *ppm,
                wander_ppm: 0.5,
                is_running: true,
            };
            machine.keeper = Timekeeper::new(settings, machine.host(Nanos::ZERO));
            machine
        };
        Self {
            now: Nanos::ZERO,
            machines: clocks_ppm.iter().enumerate().map(machine).collect(),
            network,
            said: Queue::new(),
            way: Nanos::new((there.delay.get() + back.delay.get()) / 2),
            cut: Vec::new(),
        }
    }

    pub(crate) fn device(&self, index: usize) -> DeviceId {
        self.machines[index].keeper.me().device
    }

    /// Everybody goes by this one's clock.
    pub(crate) fn choose(&mut self, index: usize) {
        let (device, wall_ms) = (self.device(index), self.wall_ms());
        self.machines[index].keeper.choose(Some(device), wall_ms).unwrap();
    }

    pub(crate) fn view(&self, index: usize) -> View {
        let machine = &self.machines[index];
        machine.keeper.view(machine.host(self.now))
    }

    /// Whose time one of them goes by.
    pub(crate) fn master(&self, index: usize) -> Option<usize> {
        let master = self.machines[index].keeper.master()?;
        self.machines.iter().position(|machine| machine.keeper.me() == master)
    }

    /// Without a word.
    pub(crate) fn kill(&mut self, index: usize) {
        self.machines[index].is_running = false;
        (0..self.machines.len()).for_each(|other| self.part(index, other));
    }

    /// Two cannot reach each other any more.
    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        self.cut.push((one, other));
        self.part(one, other);
    }

    pub(crate) fn join(&mut self) {
        self.cut.clear();
    }

    fn part(&mut self, one: usize, other: usize) {
        let [mine, theirs] = [one, other].map(|index| self.machines[index].keeper.me());
        self.machines[one].keeper.gone(&theirs);
        self.machines[other].keeper.gone(&mine);
    }

    fn reach(&self, one: usize, other: usize) -> bool {
        let is_cut = self.cut.contains(&(one, other)) || self.cut.contains(&(other, one));
        one != other && self.machines[one].is_running && self.machines[other].is_running && !is_cut
    }

    fn wall_ms(&self) -> u64 {
        u64::try_from((WALL + self.now).get() / 1_000_000).unwrap()
    }

    /// Goes on for so long, and looks ten times a second.
    pub(crate) fn play(&mut self, length: Nanos, mut look: impl FnMut(&Self)) {
        let end = self.now + length;
        while self.now < end {
            self.now += STEP;
            self.hear();
            self.receive();
            if self.now.get() % TICK.get() == 0 {
                (0..self.machines.len()).for_each(|index| self.tick(index));
            }
            (0..self.machines.len()).for_each(|index| self.time_out(index));
            if self.now.get() % (2 * TICK.get()) == 0 {
                look(self);
            }
        }
    }

    fn hear(&mut self) {
        while let Some((_, (from, to, state))) = self.said.pop_until(self.now) {
            if self.reach(from, to) {
                let (id, wall_ms) = (self.machines[from].keeper.me(), self.wall_ms());
                let now = self.machines[to].host(self.now);
                let known = (Nanos::new(2 * self.way.get()), true);
                self.machines[to].keeper.hear(id, state, known, now, wall_ms);
            }
        }
    }

    fn receive(&mut self) {
        while let Some(arrival) = self.network.poll(self.now) {
            let [from, to] = [arrival.from, arrival.to].map(|node| usize::try_from(node.0).unwrap());
            if !self.reach(from, to) {
                continue;
            }
            let at = self.machines[to].host(arrival.at);
            if let Some((_, exchange)) = self.machines[to].exchanges.get_mut(&from) {
                exchange.receive(&arrival.bytes, at);
                self.act(to, from);
            }
        }
    }

    fn tick(&mut self, index: usize) {
        if !self.machines[index].is_running {
            return;
        }
        let machine = &mut self.machines[index];
        let now = machine.host(self.now);
        let says = machine.keeper.tick(now, WALL + self.now);
        let others: Vec<usize> = (0..self.machines.len()).filter(|other| self.reach(index, *other)).collect();
        for other in others {
            let id = self.machines[other].keeper.me();
            let machine = &mut self.machines[index];
            if says {
                self.said.schedule(self.now + self.way, (index, other, machine.keeper.say(&id, now)));
            }
            let role = match () {
                () if machine.keeper.source() == Some(id) => Some(Role::Slave),
                () if machine.keeper.serves(&id) => Some(Role::Master),
                () => None,
            };
            machine.exchanges.retain(|with, (had, _)| *with != other || Some(*had) == role);
            if let Some(role) = role {
                let name = machine.keeper.me().instance[0];
                let config = Config::direct([name; 8], role);
                machine
                    .exchanges
                    .entry(other)
                    .or_insert_with(|| (role, Exchange::new(config, u64::from(name), now)));
            }
        }
    }

    fn time_out(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        let (now, line) = (machine.host(self.now), machine.keeper.line());
        let due: Vec<usize> = machine
            .exchanges
            .iter()
            .filter(|(_, (_, exchange))| exchange.deadline().is_some_and(|deadline| deadline <= now))
            .map(|(with, _)| *with)
            .collect();
        for with in due {
            if let Some((_, exchange)) = self.machines[index].exchanges.get_mut(&with) {
                exchange.set_line(line);
                exchange.handle_timeout(now);
            }
            self.act(index, with);
        }
    }

    fn act(&mut self, index: usize, with: usize) {
        let reaches = self.reach(index, with);
        let them = self.machines[with].keeper.me();
        let machine = &mut self.machines[index];
        let now = machine.host(self.now);
        let Some((_, exchange)) = machine.exchanges.get_mut(&with) else { return };
        while let Some(action) = exchange.poll_action() {
            match action {
                Action::Send { message, stamp } => {
                    if reaches {
                        let _fate: Fate =
                            self.network.send(node(index), node(with), message.to_vec(), self.now);
                    }
                    if let Some(stamp) = stamp {
                        exchange.sent(stamp, now);
                    }
                }
                Action::Measured(measurement) => {
                    machine.keeper.measure(&them, measurement, now);
                }
            }
        }
    }
}
