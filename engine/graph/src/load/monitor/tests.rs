use super::*;
use Decision::{Helpless, ProbeNodes, Restore, RestoreAll, Shed, StopProbing};
use Measure::{Meters, Node, Oversampling};

/// A machine that plays a graph in virtual time. Costs are loads.
struct World {
    monitor: Monitor,
    random: u64,
    meters: f64,
    oversampling: f64,
    /// What each node costs, and whether it may be bypassed.
    nodes: Vec<(f64, bool)>,
    costs: Vec<NodeCost>,
    probing: bool,
    now_ns: u64,
    in_force: Vec<Measure>,
    log: Vec<(u64, Decision)>,
}

impl World {
    fn new(seed: u64, meters: f64, oversampling: f64, nodes: &[(f64, bool)]) -> Self {
        Self {
            monitor: Monitor::new(Config::default()),
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            meters,
            oversampling,
            nodes: nodes.to_vec(),
            costs: vec![NodeCost::default(); nodes.len()],
            probing: false,
            now_ns: 0,
            in_force: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Xorshift (G. Marsaglia, 2003), below `end`.
    fn random(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % end
    }

    fn cost(&self, measure: Measure) -> f64 {
        match measure {
            Meters => self.meters,
            Oversampling => self.oversampling,
            Node(slot) => self.nodes[slot as usize].0,
        }
    }

    fn load(&self) -> f64 {
        let all = self.meters + self.oversampling + self.nodes.iter().map(|node| node.0).sum::<f64>();
        all - self.in_force.iter().map(|measure| self.cost(*measure)).sum::<f64>()
    }

    /// `part` of a time.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and below 2^53")]
    fn of(part: f64, time_ns: f64) -> u64 {
        (part * time_ns) as u64
    }

    /// Plays blocks of any size, each up to 10 % slower or faster than usual.
    fn run(&mut self, seconds: u64) {
        let end_ns = self.now_ns + seconds * SECOND;
        while self.now_ns < end_ns {
            self.callback(0);
        }
    }

    fn callback(&mut self, hiccup_ns: u64) {
        let period_ns = (16 + self.random(1024)) * SECOND / 48_000;
        let pace = period_ns as f64 * (0.9 + self.random(2001) as f64 / 10_000.0);
        self.now_ns += period_ns;
        for (slot, (cost, sheddable)) in self.nodes.iter().enumerate() {
            // As if the way around a bypassed node cost as much: it must not be chosen again.
            let node = &mut self.costs[slot];
            node.spent_ns += if self.probing { Self::of(*cost, pace) } else { 0 };
            node.sheddable = *sheddable;
        }
        let candidates = Candidates {
            meters: self.meters > 0.0,
            oversampling: self.oversampling > 0.0,
            nodes: &self.costs,
        };
        let total_ns = Self::of(self.load(), pace) + hiccup_ns;
        let decision = self.monitor.observe(total_ns, period_ns, &candidates);
        self.obey(decision);
    }

    /// Does as it is told, and asserts what holds of every decision.
    fn obey(&mut self, decision: Decision) {
        if decision == Decision::Nothing {
            return;
        }
        self.probing = decision == ProbeNodes;
        match decision {
            ProbeNodes => self.costs.fill(NodeCost::default()),
            Shed(measure) => {
                let latest = self.log.iter().rfind(|entry| matches!(entry.1, Shed(_)));
                assert!(
                    latest.is_none_or(|latest| self.now_ns - latest.0 >= 300 * MS),
                    "{measure:?} in haste"
                );
                let first =
                    |other, cost: f64| measure == other || cost == 0.0 || self.in_force.contains(&other);
                assert!(first(Meters, self.meters) || !matches!(measure, Oversampling | Node(_)));
                assert!(first(Oversampling, self.oversampling) || !matches!(measure, Node(_)));
                assert!(!self.in_force.contains(&measure), "{measure:?} twice");
                self.in_force.push(measure);
            }
            Restore(measure) => assert_eq!(self.in_force.pop(), Some(measure)),
            RestoreAll => self.in_force.clear(),
            _ => {}
        }
        assert!(self.in_force.iter().all(|measure| self.monitor.is_shed(*measure)));
        self.log.push((self.now_ns, decision));
    }

    /// What was decided since the last look, without the times.
    fn decisions(&mut self) -> Vec<Decision> {
        self.log.drain(..).map(|entry| entry.1).collect()
    }
}

#[test]
fn sheds_in_the_declared_order_and_restores_in_reverse() {
    for seed in 1..20 {
        let mut world =
            World::new(seed, 0.05, 0.15, &[(0.1, true), (0.25, false), (0.55, true), (0.25, true)]);
        world.run(5);
        assert!(world.log.last().is_some_and(|last| last.0 < SECOND), "seed {seed}: {:?}", world.log);
        let expected = [Shed(Meters), Shed(Oversampling), ProbeNodes, Shed(Node(2))];
        assert_eq!(world.decisions(), expected, "seed {seed}");
        // Calm, but with the node it would not be: that waits for more than the ordinary 2 s.
        world.nodes[1].0 = 0.0;
        world.run(5);
        assert_eq!(world.decisions(), [], "seed {seed}");
        // There is room for it, and it turns out to be cheap: one after another.
        world.nodes = vec![(0.0, true), (0.0, false), (0.2, true), (0.0, true)];
        world.run(8);
        let expected = [Restore(Node(2)), Restore(Oversampling), Restore(Meters)];
        assert_eq!(world.decisions(), expected, "seed {seed}");
    }
}

#[test]
fn a_spike_sheds_nothing() {
    for (load, hiccup_ns) in [(0.7, 5 * MS), (0.5, 20 * MS), (0.1, 300 * MS), (0.1, 100 * SECOND)] {
        let mut world = World::new(7, 0.0, 0.0, &[(load, true)]);
        for _ in 0..50 {
            world.run(3);
            world.callback(hiccup_ns);
        }
        assert_eq!(world.log, [], "{hiccup_ns} ns on {load}");
    }
}

/// From 0.6 towards 2.0 with 100 ms: above 0.85 after 100 ms · ln(1.4 / 1.15) = 19.67 ms, which is the block that ends
/// at 19.75 ms; with it and the 79 after it, of 0.25 ms each, the overload has lasted for 20 ms.
#[test]
fn a_burst_must_last() {
    fn check(burst_ms: u64, shed_us: Option<u64>) {
        let mut monitor = Monitor::new(Config::default());
        let candidates = Candidates { meters: true, ..Candidates::default() };
        let period_ns = 250_000;
        for _ in 0..8000 {
            assert_eq!(monitor.observe(150_000, period_ns, &candidates), Decision::Nothing);
        }
        let total_ns = |block: u64| if block * period_ns < burst_ms * MS { 500_000 } else { 150_000 };
        let found = (0..400)
            .find(|block| monitor.observe(total_ns(*block), period_ns, &candidates) != Decision::Nothing);
        assert_eq!(found.map(|block| (block + 1) * 250), shed_us, "{burst_ms} ms");
    }
    check(22, None);
    check(100, Some(39_500));
}

#[test]
fn what_is_not_there_is_skipped_and_what_is_cheap_is_kept() {
    let mut world = World::new(3, 0.0, 0.0, &[(0.04, true); 30]);
    world.run(60);
    assert_eq!(world.log.iter().filter(|entry| entry.1 == Helpless).count(), 1);
    assert!((20..=30).contains(&world.log.iter().filter(|entry| entry.1 == ProbeNodes).count()));
    assert!(world.in_force.is_empty());
    // One of them grows: it is found without being asked for.
    world.nodes[17].0 = 0.5;
    world.run(3);
    assert_eq!(world.in_force, [Node(17)]);
}

/// Twenty times the deadline: a victim at a time, however long it takes, then one word about it.
#[test]
fn a_hopeless_overload_is_met_step_by_step() {
    let mut world = World::new(5, 0.1, 0.1, &[(1.0, true); 10]);
    world.nodes.push((10.0, false));
    world.costs.push(NodeCost::default());
    world.run(60);
    assert_eq!(world.in_force.len(), 12);
    let found = world.decisions();
    let helpless: Vec<_> = (0..found.len()).filter(|index| found[*index] == Helpless).collect();
    assert_eq!(helpless.len(), 1);
    assert!(found[helpless[0]..].iter().all(|decision| !matches!(decision, Shed(_))));
    // Another one after a calm is another word.
    world.nodes.fill((0.0, false));
    world.run(1);
    world.nodes.fill((1.0, false));
    world.run(3);
    assert!(world.decisions().contains(&Helpless));
}

/// What is too dear to be restored comes back for trials alone, ever rarer, at 5 × 2, 4, 8, 16, 32, 60, 60 s.
#[test]
fn relapses_grow_rare() {
    for oversampling in [0.0, 0.7] {
        let mut world = World::new(11, 0.0, oversampling, &[(0.7 - oversampling, true), (0.4, false)]);
        world.run(1200);
        let shed = world.log.iter().filter(|entry| matches!(entry.1, Shed(_))).map(|entry| entry.0 / MS);
        let shed: Vec<_> = shed.collect();
        let gaps: Vec<_> = shed.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps.len(), 7, "{gaps:?}");
        for (found, expected) in gaps.iter().zip([10, 20, 40, 80, 160, 300, 300]) {
            assert!((expected * 1000..expected * 1000 + 1000).contains(found), "{gaps:?}");
        }
    }
}

/// How long a node waits for its restoring, by how long it stayed restored the time before.
#[test]
fn a_relapse_doubles_the_wait_and_a_minute_without_forgives_it() {
    let mut world = World::new(23, 0.0, 0.0, &[(0.5, true), (0.0, false)]);
    for (stayed_s, wait_s) in [(0, 2), (1, 4), (30, 4), (8, 8), (50, 8), (70, 2), (8, 4)] {
        world.run(stayed_s);
        world.nodes[1].0 = 0.7;
        world.run(1);
        assert_eq!(world.in_force, [Node(0)]);
        world.nodes[1].0 = 0.1;
        let calm_ns = world.now_ns;
        while !world.in_force.is_empty() {
            world.callback(0);
        }
        let waited_ms = (world.now_ns - calm_ns) / MS;
        assert!((wait_s * 1000..wait_s * 1000 + 100).contains(&waited_ms), "{waited_ms} ms, not {wait_s} s");
    }
}

#[test]
fn an_offline_render_has_everything_at_once() {
    // Timing the nodes stops, too.
    let mut world = World::new(13, 0.0, 0.0, &[(2.0, true)]);
    assert_eq!(world.monitor.restore_all(), Decision::Nothing);
    while !world.probing {
        world.callback(0);
    }
    assert_eq!(world.monitor.restore_all(), RestoreAll);
    world = World::new(13, 0.1, 0.1, &[(2.0, true)]);
    world.run(3);
    assert_eq!(world.in_force, [Meters, Oversampling, Node(0)]);
    let decision = world.monitor.restore_all();
    assert_eq!(decision, RestoreAll);
    world.obey(decision);
    assert_eq!(world.monitor.restore_all(), Decision::Nothing);
    assert!(!world.monitor.is_overloaded() && !world.monitor.is_shed(Node(0)));
}

#[test]
fn a_slot_that_is_forgotten_may_be_shed_again() {
    let mut world = World::new(17, 0.0, 0.0, &[(1.0, true), (0.1, true)]);
    world.run(3);
    assert_eq!(world.decisions(), [ProbeNodes, Shed(Node(0))]);
    world.monitor.forget(0);
    world.in_force.clear();
    assert!(!world.monitor.is_shed(Node(0)));
    world.run(3);
    assert_eq!(world.decisions(), [ProbeNodes, Shed(Node(0))]);
}

#[test]
fn probing_ends_with_the_overload() {
    let mut world = World::new(19, 0.0, 0.0, &[(1.5, true)]);
    while !world.probing {
        world.callback(0);
    }
    world.nodes[0].0 = 0.2;
    world.run(2);
    assert_eq!(world.decisions(), [ProbeNodes, StopProbing]);
}

/// Any graph, whose load changes at any time: it is relieved unless there is no victim left, and whole again when calm.
#[test]
fn any_world_is_relieved_and_restored() {
    for seed in 1..50 {
        let mut world = World::new(seed, 0.0, 0.0, &[(0.0, false); 12]);
        for _ in 0..4 {
            (world.meters, world.oversampling) =
                (world.random(20) as f64 / 100.0, world.random(50) as f64 / 100.0);
            for slot in 0..world.nodes.len() {
                world.nodes[slot] = (world.random(60) as f64 / 100.0, world.random(3) > 0);
            }
            world.run(20);
            let left = world.nodes.iter().zip(0..).any(|(&(cost, sheddable), slot)| {
                sheddable && cost > 0.06 && !world.in_force.contains(&Node(slot))
            });
            assert!(world.load() < 0.87 || !left, "seed {seed}: {} with {:?}", world.load(), world.in_force);
        }
        world.nodes.fill((0.0, true));
        (world.meters, world.oversampling) = (0.1, 0.1);
        world.run(900);
        assert_eq!(world.in_force, [], "seed {seed}");
        assert_eq!(world.monitor.entries.capacity(), MEASURES_MAX, "seed {seed}");
    }
}
