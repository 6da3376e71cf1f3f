use audiocloud_units::{Ppm, SessionTime};
use proptest::prelude::*;

use super::*;
use crate::estimate::{ClockEstimate, rounded};
use crate::filter::{Filter, MinimumDelay};

const SECOND: i64 = 1_000_000_000;
/// The session's time at the beginning of each test.
const BEGUN: i64 = 1_700_000_000 * SECOND;

/// A machine: an exchange on a crystal.
struct Machine {
    exchange: Exchange,
    ppm: f64,
    offset: i64,
    filter: MinimumDelay,
    estimate: Option<ClockEstimate>,
    measured: [usize; 2],
}

impl Machine {
    fn new(config: Config, ppm: f64, offset: i64) -> Self {
        let exchange = Exchange::new(config, u64::from(config.identity[7]), HostTime::new(offset));
        let filter = MinimumDelay::local();
        Self { exchange, ppm, offset, filter, estimate: None, measured: [0; 2] }
    }

    fn host(&self, at: i64) -> HostTime {
        HostTime::new(at + self.offset + rounded(at as f64 * self.ppm * 1e-6))
    }

    /// When its clock will show that.
    fn at(&self, host: HostTime) -> i64 {
        rounded((host.get() - self.offset) as f64 / (1.0 + self.ppm * 1e-6))
    }

    /// Its session's time begins at [`BEGUN`] and runs with this machine's clock.
    fn leads(mut self) -> Self {
        let (host, session) = (self.host(0), SessionTime::new(BEGUN));
        self.exchange.set_line(Some(SessionLine { host, session, fraction: 0.0, rate: Ppm::new(0.0) }));
        self
    }

    /// By how much its estimate is off from a leader whose clock is exact.
    fn error_ns(&self, at: i64) -> i64 {
        self.estimate.unwrap().session_at(self.host(at)).get() - BEGUN - at
    }
}

/// Machines on one network, in virtual time.
struct Network {
    machines: Vec<Machine>,
    now: i64,
    delay: i64,
    /// SplitMix64's state, for jitter and loss.
    seed: u64,
    jitter: i64,
    loss: f64,
    /// When, to whom, what.
    under_way: Vec<(i64, usize, Message)>,
    announces: Vec<Message>,
}

impl Network {
    fn new(machines: Vec<Machine>, delay: i64) -> Self {
        let (under_way, announces) = (Vec::new(), Vec::new());
        Self { machines, now: 0, delay, seed: 1, jitter: 0, loss: 0.0, under_way, announces }
    }

    fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn play(&mut self, until: i64) {
        loop {
            self.act();
            let timers = self.machines.iter().map(|one| one.exchange.deadline().map(|due| one.at(due) + 1));
            let arrivals = self.under_way.iter().map(|(at, ..)| Some(*at));
            let next = timers.chain(arrivals).flatten().min().unwrap().max(self.now);
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
            if let Some(slot) = self.under_way.iter().position(|(at, ..)| *at <= next) {
                let (at, to, message) = self.under_way.remove(slot);
                let host = self.machines[to].host(at);
                self.machines[to].exchange.receive(&message, host);
            } else {
                for machine in &mut self.machines {
                    let host = machine.host(next);
                    machine.exchange.handle_timeout(host);
                }
            }
        }
    }

    fn act(&mut self) {
        for from in 0..self.machines.len() {
            while let Some(action) = self.machines[from].exchange.poll_action() {
                match action {
                    Action::Measured(measurement) => {
                        let machine = &mut self.machines[from];
                        machine.measured[usize::from(matches!(measurement, Measurement::Sync { .. }))] += 1;
                        machine.estimate = machine.filter.measure(measurement).or(machine.estimate);
                    }
                    Action::Send { message, stamp } => self.send(from, message, stamp),
                }
            }
        }
    }

    fn send(&mut self, from: usize, message: Message, stamp: Option<Unstamped>) {
        assert_eq!(stamp.is_some(), is_event(&message));
        // Eight a second, as each says itself.
        assert!(message.kind() != Some(Kind::Sync) || message[33] == 0xfd);
        if message.kind() == Some(Kind::Announce) {
            self.announces.push(message);
        }
        for to in (0..self.machines.len()).filter(|to| *to != from) {
            let delay = self.delay + rounded(self.random() * self.jitter as f64);
            if self.random() >= self.loss {
                self.under_way.push((self.now + delay, to, message));
            }
        }
        let host = self.machines[from].host(self.now);
        if let Some(unstamped) = stamp {
            self.machines[from].exchange.sent(unstamped, host);
        }
    }
}

fn identity(number: u8) -> [u8; 8] {
    [2, 0, 0, 0xff, 0xfe, 0, 0, number]
}

fn pair(delay: i64) -> Network {
    let leader = Machine::new(Config::direct(identity(1), Role::Master), 0.0, 5 * SECOND).leads();
    let follower = Machine::new(Config::direct(identity(2), Role::Slave), 37.0, 90_000 * SECOND);
    Network::new(vec![leader, follower], delay)
}

#[test]
fn two_peers_agree_to_the_nanosecond_where_the_network_does() {
    let mut network = pair(80_000);
    network.play(SECOND);
    assert!(matches!(network.machines[1].exchange.state(), State::Following(_)), "within a second");
    network.play(40 * SECOND);
    let follower = &network.machines[1];
    let [requests, syncs] = follower.measured;
    // Eight a second each, requests at random intervals of that mean.
    assert!((305..=318).contains(&syncs), "{syncs}");
    assert!((250..=390).contains(&requests), "{requests}");
    assert!(follower.error_ns(network.now).abs() < 50, "{} ns", follower.error_ns(network.now));
    let bound = follower.estimate.unwrap().bound_at(follower.host(network.now));
    assert!((Nanos::from_micros(80)..Nanos::from_micros(82)).contains(&bound), "{bound:?}");
    assert_eq!(network.machines[0].exchange.state(), State::Leading);
    assert_eq!(network.machines[0].measured, [0; 2]);
    assert_eq!(follower.exchange.counters().malformed, 0);
}

#[test]
fn what_is_lost_and_late_is_borne() {
    let mut network = pair(300_000);
    (network.jitter, network.loss, network.seed) = (200_000, 0.05, 7);
    network.play(60 * SECOND);
    let follower = &network.machines[1];
    assert!(follower.measured.iter().all(|count| *count > 300), "{:?}", follower.measured);
    assert!(follower.error_ns(network.now).abs() < 15_000, "{} ns", follower.error_ns(network.now));
}

#[test]
fn over_a_long_way_requests_wait_for_their_answers() {
    let mut network = pair(200_000_000);
    network.play(60 * SECOND);
    let follower = &network.machines[1];
    assert!(follower.measured[0] > 100, "{:?}", follower.measured);
    assert!(follower.error_ns(network.now).abs() < 100, "{} ns", follower.error_ns(network.now));
    assert_eq!(follower.exchange.counters().unanswered, 0);
}

#[test]
fn a_master_without_time_keeps_silent_and_one_that_falls_silent_is_lost() {
    let mut network = pair(80_000);
    network.machines[0].exchange.set_line(None);
    network.play(5 * SECOND);
    assert_eq!(network.machines[1].exchange.state(), State::Listening);
    assert_eq!(network.machines[1].exchange.counters().received, 0);

    let mut network = pair(80_000);
    network.play(3 * SECOND);
    network.machines[0].exchange.set_line(None);
    network.play(4 * SECOND);
    assert!(matches!(network.machines[1].exchange.state(), State::Following(_)));
    network.play(8 * SECOND);
    assert_eq!(network.machines[1].exchange.state(), State::Listening);
    network.machines[0] = Machine::new(Config::direct(identity(1), Role::Master), 0.0, 5 * SECOND).leads();
    network.play(10 * SECOND);
    assert!(matches!(network.machines[1].exchange.state(), State::Following(_)));
}

#[test]
fn on_a_network_the_best_leads_and_the_next_best_takes_over() {
    let auto = |number, priority| {
        let config = Config { priority, ..Config::network(identity(number), 24, Role::Auto) };
        Machine::new(config, f64::from(number) * 10.0, i64::from(number) * SECOND).leads()
    };
    let mut network = Network::new(vec![auto(1, 100), auto(2, 120), auto(3, 110)], 50_000);
    network.play(20 * SECOND);
    let state = |network: &Network, slot: usize| network.machines[slot].exchange.state();
    assert_eq!(state(&network, 0), State::Leading);
    let State::Following(grandmaster) = state(&network, 1) else { panic!("{:?}", state(&network, 1)) };
    assert_eq!((grandmaster.identity, grandmaster.priority, grandmaster.class), (identity(1), 100, 248));
    // Nobody knows how far our time is from TAI or UTC, and no announce says so.
    assert_eq!(grandmaster.ahead_of_utc, Nanos::ZERO);
    assert!(network.announces.iter().all(|announce| announce[7] & 0x0c == 0 && announce[33] == 0));
    network.machines[0].exchange.set_line(None);
    network.play(40 * SECOND);
    let State::Following(grandmaster) = state(&network, 1) else { panic!("{:?}", state(&network, 1)) };
    assert_eq!(grandmaster.identity, identity(3));
    // Who only listens never leads, however good it would be.
    let config = Config { priority: 1, ..Config::network(identity(4), 24, Role::Slave) };
    network.machines.push(Machine::new(config, 0.0, 0).leads());
    network.play(60 * SECOND);
    let State::Following(grandmaster) = state(&network, 3) else { panic!("{:?}", state(&network, 3)) };
    assert_eq!(grandmaster.identity, identity(3));
    // Other domains are none of its business.
    let other = Machine::new(Config::network(identity(5), 0, Role::Slave), 0.0, 0);
    network.machines.push(other);
    network.play(70 * SECOND);
    assert_eq!(state(&network, 4), State::Listening);
    assert!(network.machines[4].exchange.counters().foreign > 50);
}

#[test]
fn a_grandmaster_that_tells_tai_is_told_apart() {
    let mut follower = Exchange::new(Config::direct(identity(2), Role::Slave), 1, HostTime::new(0));
    let mut announce = vec![0x0b, 0x12, 0, 64, 0, 0, 0, 0x0c];
    announce.resize(20, 0);
    announce.extend_from_slice(&identity(1));
    announce.extend_from_slice(&[0, 1, 0, 0, 5, 0]);
    announce.resize(44, 0);
    announce.extend_from_slice(&[0, 37, 0, 128, 6, 0x21, 0x4e, 0x5d, 128]);
    announce.extend_from_slice(&identity(9));
    announce.extend_from_slice(&[0, 1, 0x20]);
    for second in 1..=3_u8 {
        announce[31] = second;
        follower.receive(&announce, HostTime::new(i64::from(second) * SECOND / 4));
        follower.handle_timeout(HostTime::new(i64::from(second) * SECOND / 4 + 1));
    }
    let State::Following(grandmaster) = follower.state() else { panic!("{:?}", follower.state()) };
    assert_eq!((grandmaster.source, grandmaster.identity), (identity(1), identity(9)));
    assert_eq!((grandmaster.class, grandmaster.ahead_of_utc), (6, Nanos::from_secs(37)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in: no panic, a bounded answer, and exchanges with others go on.
    #[test]
    fn what_strangers_send_does_no_harm(
        role in prop_oneof![Just(Role::Master), Just(Role::Slave), Just(Role::Auto)],
        messages in proptest::collection::vec(
            (0_u8..16, 0_u8..4, proptest::collection::vec(any::<u8>(), 0..100), 0..SECOND), 0..60),
    ) {
        let mut exchange = Machine::new(Config::network(identity(2), 0, role), 0.0, 0).leads().exchange;
        let mut now = 0;
        for (kind, from, mut bytes, after) in messages {
            if let Some(header) = bytes.get_mut(..34) {
                header[..6].copy_from_slice(&[kind, 2, 0, 64, 0, 0]);
                header[20..28].copy_from_slice(&identity(from));
                // Half of them with a correction that can be.
                if from % 2 == 0 { header[8..12].fill(0); }
            }
            now += after;
            exchange.receive(&bytes, HostTime::new(now));
            exchange.handle_timeout(HostTime::new(now));
            let mut actions = 0;
            while let Some(action) = exchange.poll_action() {
                actions += 1;
                if let Action::Send { stamp: Some(unstamped), .. } = action {
                    exchange.sent(unstamped, HostTime::new(now));
                }
            }
            prop_assert!(actions <= 8, "{actions}");
            prop_assert!(exchange.deadline().is_some_and(|due| due.get() >= now));
        }
    }
}
