//! What the graph gives up when it no longer meets its deadline, and when it takes it back.
//!
//! Shedding has a declared order: meters first, then oversampling, then the dearest node, one after another. It answers
//! to *sustained* overload alone: a spike, however long, is one callback, and one callback sheds nothing. Restoring goes
//! the other way round, after a calm that grows with each relapse.

use super::{Average, narrow, ratio};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

/// An overload is sustained once the average has been above the threshold for so long ...
const SUSTAINED_NS: u64 = 20 * MS;
/// ... and this many callbacks since then were above it themselves.
const SUSTAINED_CALLBACKS: u32 = 3;
/// How long nodes are timed singly before a victim is chosen.
const PROBE_NS: u64 = 100 * MS;
/// A node that costs less of the period than this is not worth bypassing.
const WORTHWHILE: f64 = 0.05;
/// How long to wait before looking again where there was no victim.
const HELPLESS_NS: u64 = 2 * SECOND;
/// What costs too much to be restored is tried after this many times the calm, for it may have become cheap.
const TRIAL_FACTOR: u64 = 5;
/// What is shed again so soon after being restored has relapsed: the next time it waits twice as long ...
const RELAPSE_NS: u64 = 10 * SECOND;
/// ... up to this.
const RESTORE_AFTER_MAX_NS: u64 = 60 * SECOND;
/// What stays restored for so long has its relapses forgotten.
const FORGIVEN_NS: u64 = 60 * SECOND;
/// Measures that can be in force or remembered at once.
const MEASURES_MAX: usize = 64;

/// When to shed and when to restore. Loads are ratios: 1.0 is the whole period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Average load above which the graph is overloaded.
    pub shed_above: f64,
    /// Average load below which it is calm; not above `shed_above`.
    pub restore_below: f64,
    /// Time constant of the average. After each measure its effect is awaited for three of these.
    pub tau_ns: u64,
    /// How long it must be calm before a measure is taken back.
    pub restore_after_ns: u64,
}

impl Default for Config {
    /// 0.85 and 0.6, averaged over 100 ms; 2 s of calm.
    fn default() -> Self {
        Self { shed_above: 0.85, restore_below: 0.6, tau_ns: 100 * MS, restore_after_ns: 2 * SECOND }
    }
}

/// Something that can be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// All meters stop.
    Meters,
    /// Every node runs at the plain sample rate.
    Oversampling,
    /// The node in this slot is bypassed.
    Node(u32),
}

/// What the graph is to do before its next callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Go on as before.
    Nothing,
    /// Zero every [`NodeCost::spent_ns`], and time each node from now on until the next decision, whichever it is.
    ProbeNodes,
    /// The overload has passed, or there still is no victim: stop timing.
    StopProbing,
    /// Give this up.
    Shed(Measure),
    /// Take this back.
    Restore(Measure),
    /// Take everything back that is given up.
    RestoreAll,
    /// Still overloaded with nothing left to shed. Said once until the graph is calm again.
    Helpless,
}

/// One slot of the graph, as timed singly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCost {
    /// Time spent in it since [`Decision::ProbeNodes`].
    pub spent_ns: u64,
    /// Whether there is a node in this slot that may be bypassed. Those already shed need not be left out.
    pub sheddable: bool,
}

/// What the present graph could give up. Exchanging the graph may change it from one callback to the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidates<'a> {
    /// Whether there are meters.
    pub meters: bool,
    /// Whether any node oversamples.
    pub oversampling: bool,
    /// By slot. Looked at only when nodes have been probed.
    pub nodes: &'a [NodeCost],
}

/// A measure that is in force, or was so lately that a relapse would be one.
#[derive(Clone, Copy, Debug)]
struct Entry {
    measure: Measure,
    /// The load that it spares.
    cost: f64,
    restore_after_ns: u64,
    /// None while in force.
    restored_at_ns: Option<u64>,
}

/// The present overload: callbacks since the average rose above the threshold.
#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    spent_ns: u64,
    period_ns: u64,
    /// Callbacks whose own load was above the threshold.
    over: u32,
}

/// Watches the whole graph's load and decides, at most once per callback.
#[derive(Debug)]
pub struct Monitor {
    config: Config,
    average: Average,
    /// The sum of all periods so far.
    now_ns: u64,
    streak: Streak,
    calm_ns: u64,
    /// While this lasts nothing is shed.
    hold_ns: u64,
    /// The load before the latest measure, until its effect can be told.
    settling: Option<f64>,
    /// How long nodes have been timed singly.
    probed_ns: Option<u64>,
    helpless: bool,
    /// In the order in which they were shed.
    entries: Vec<Entry>,
}

impl Monitor {
    /// Nothing observed, nothing shed.
    ///
    /// *Realtime-safe: no* (allocates).
    #[must_use]
    pub fn new(config: Config) -> Self {
        let config = Config { restore_below: config.restore_below.min(config.shed_above), ..config };
        Self::begin(config, Vec::with_capacity(MEASURES_MAX))
    }

    /// `entries` is empty, but has its memory.
    fn begin(config: Config, entries: Vec<Entry>) -> Self {
        Self {
            config,
            average: Average::new(config.tau_ns),
            now_ns: 0,
            streak: Streak::default(),
            calm_ns: 0,
            hold_ns: 0,
            settling: None,
            probed_ns: None,
            helpless: false,
            entries,
        }
    }

    /// Takes in one callback that lasts `period_ns`, in which the graph took `total_ns`, and decides. A callback
    /// without frames has no deadline and is not counted. For an offline render see [`restore_all`](Self::restore_all).
    ///
    /// *Realtime-safe: yes*. Where a victim is chosen it looks at every slot, elsewhere at none.
    pub fn observe(&mut self, total_ns: u64, period_ns: u64, candidates: &Candidates<'_>) -> Decision {
        if period_ns == 0 {
            return Decision::Nothing;
        }
        self.follow(total_ns, period_ns);
        let sustained = self.streak.period_ns >= SUSTAINED_NS && self.streak.over >= SUSTAINED_CALLBACKS;
        if sustained {
            self.shed_next(candidates)
        } else if self.probed_ns.is_some_and(|probed_ns| probed_ns >= PROBE_NS) && !self.is_overloaded() {
            self.probed_ns = None;
            Decision::StopProbing
        } else {
            self.restore_next()
        }
    }

    /// To be called before each block of an offline render, which has no deadline and must sound as it was meant to
    /// from its first frame on (and when the user turns shedding off). Such blocks are not observed. All that was
    /// learnt is forgotten: what follows may be hours later, on another load.
    ///
    /// *Realtime-safe: yes*.
    pub fn restore_all(&mut self) -> Decision {
        let in_force = self.entries.iter().any(|entry| entry.restored_at_ns.is_none());
        let probing = self.probed_ns.is_some();
        self.entries.clear();
        *self = Self::begin(self.config, std::mem::take(&mut self.entries));
        if in_force || probing { Decision::RestoreAll } else { Decision::Nothing }
    }

    /// The node of this slot has left the graph; whatever is put there next is not bypassed.
    ///
    /// *Realtime-safe: yes*.
    pub fn forget(&mut self, slot: u32) {
        self.entries.retain(|entry| entry.measure != Measure::Node(slot));
    }

    /// Whether the average load is above the threshold, as it also is for a moment after a long spike. An edit that
    /// can wait does so, but not for ever: it may be the one that takes the load away.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.average.load > self.config.shed_above
    }

    /// Whether this is given up at present.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn is_shed(&self, measure: Measure) -> bool {
        self.entries.iter().any(|entry| entry.measure == measure && entry.restored_at_ns.is_none())
    }

    /// The average load.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn load(&self) -> f32 {
        narrow(self.average.load)
    }

    /// Carries average, streak, calm and the pending waits on by one callback.
    fn follow(&mut self, total_ns: u64, period_ns: u64) {
        let load = ratio(total_ns, period_ns);
        self.average.observe(load, period_ns);
        self.now_ns = self.now_ns.saturating_add(period_ns);
        self.hold_ns = self.hold_ns.saturating_sub(period_ns);
        if let Some(probed_ns) = &mut self.probed_ns {
            *probed_ns = probed_ns.saturating_add(period_ns);
        }
        if self.hold_ns == 0 {
            self.settle();
        }
        // While the last measure is awaited the average still tells of the time before it.
        if self.hold_ns == 0 && self.is_overloaded() {
            self.streak.spent_ns = self.streak.spent_ns.saturating_add(total_ns);
            self.streak.period_ns = self.streak.period_ns.saturating_add(period_ns);
            self.streak.over = self.streak.over.saturating_add(u32::from(load > self.config.shed_above));
        } else {
            self.streak = Streak::default();
        }
        if self.average.load < self.config.restore_below {
            self.calm_ns = self.calm_ns.saturating_add(period_ns);
            self.helpless = false;
        } else {
            self.calm_ns = 0;
        }
    }

    /// Meters and oversampling cannot be timed apart from their nodes: what they cost is by how much the load fell.
    fn settle(&mut self) {
        if let (Some(before), Some(latest)) = (self.settling.take(), self.entries.last_mut()) {
            latest.cost = (before - self.average.load).max(0.0);
        }
    }

    fn shed_next(&mut self, candidates: &Candidates<'_>) -> Decision {
        let next = if candidates.meters && !self.is_shed(Measure::Meters) {
            Measure::Meters
        } else if candidates.oversampling && !self.is_shed(Measure::Oversampling) {
            Measure::Oversampling
        } else {
            return self.shed_node(candidates.nodes);
        };
        self.settling = Some(ratio(self.streak.spent_ns, self.streak.period_ns));
        self.shed(next, 0.0)
    }

    fn shed_node(&mut self, nodes: &[NodeCost]) -> Decision {
        let Some(probed_ns) = self.probed_ns else {
            self.probed_ns = Some(0);
            return Decision::ProbeNodes;
        };
        if probed_ns < PROBE_NS {
            return Decision::Nothing;
        }
        if let Some((slot, cost)) = self.dearest(nodes, probed_ns) {
            return self.shed(Measure::Node(slot), cost);
        }
        self.probed_ns = None;
        self.hold_ns = HELPLESS_NS;
        if std::mem::replace(&mut self.helpless, true) { Decision::StopProbing } else { Decision::Helpless }
    }

    /// The slot that is most worth bypassing, and its load.
    fn dearest(&self, nodes: &[NodeCost], probed_ns: u64) -> Option<(u32, f64)> {
        // The table has two places that are not for nodes.
        let in_force = self.entries.iter().filter(|entry| entry.restored_at_ns.is_none()).count();
        let full = in_force >= MEASURES_MAX - 2;
        let mut dearest: Option<(u32, f64)> = None;
        for (slot, node) in (0_u32..).zip(nodes) {
            let cost = ratio(node.spent_ns, probed_ns);
            let dearer = cost >= WORTHWHILE && dearest.is_none_or(|(_, most)| cost > most);
            if node.sheddable && dearer && !full && !self.is_shed(Measure::Node(slot)) {
                dearest = Some((slot, cost));
            }
        }
        dearest
    }

    fn shed(&mut self, measure: Measure, cost: f64) -> Decision {
        let now_ns = self.now_ns;
        let since_ns = |entry: &Entry| entry.restored_at_ns.map_or(0, |restored_ns| now_ns - restored_ns);
        self.entries.retain(|entry| since_ns(entry) < FORGIVEN_NS);
        let before = self.entries.iter().find(|entry| entry.measure == measure);
        let restore_after_ns = match before {
            None => self.config.restore_after_ns,
            Some(entry) if since_ns(entry) >= RELAPSE_NS => entry.restore_after_ns,
            Some(entry) => entry.restore_after_ns.saturating_mul(2).min(RESTORE_AFTER_MAX_NS),
        };
        self.entries.retain(|entry| entry.measure != measure);
        if self.entries.len() >= MEASURES_MAX
            && let Some(restored) = self.entries.iter().position(|entry| entry.restored_at_ns.is_some())
        {
            self.entries.remove(restored);
        }
        self.entries.push(Entry { measure, cost, restore_after_ns, restored_at_ns: None });
        self.hold_ns = self.config.tau_ns.saturating_mul(3);
        self.streak = Streak::default();
        self.probed_ns = None;
        Decision::Shed(measure)
    }

    /// Takes the latest measure back when it has been calm for long enough.
    fn restore_next(&mut self) -> Decision {
        let Some(latest) = self.entries.iter_mut().rfind(|entry| entry.restored_at_ns.is_none()) else {
            return Decision::Nothing;
        };
        let fits = self.average.load + latest.cost < self.config.shed_above;
        let factor = if fits { 1 } else { TRIAL_FACTOR };
        if self.calm_ns < latest.restore_after_ns.saturating_mul(factor) {
            return Decision::Nothing;
        }
        latest.restored_at_ns = Some(self.now_ns);
        self.calm_ns = 0;
        Decision::Restore(latest.measure)
    }
}

#[cfg(test)]
mod tests;
