//! How long the callback took, by group of nodes, against the time it had.

use audiocloud_rt::callback::Callback;
use audiocloud_rt::{host_time, log};
use audiocloud_units::HostTime;

use crate::load::monitor::{Candidates, Config, Decision, Monitor};
use crate::load::{Report, Statistics};

/// Groups that are counted one by one; all further ones count as the last of these.
pub(crate) const GROUPS_MAX: usize = 16;
/// The time constant of the averages.
const TAU_NS: u64 = 100_000_000;
/// How far back percentile and peak look.
const WINDOW_NS: u64 = 10_000_000_000;
/// The figures are summed up anew this often, and written into the log once in four times.
const REPORT_NS: u64 = 250_000_000;

/// See the module. Reads the clock twice per callback, and once wherever the group changes.
#[derive(Debug)]
pub(crate) struct Deadlines {
    monitor: Monitor,
    total: Statistics,
    groups: Box<[Statistics]>,
    /// Groups that have had nodes.
    seen: [bool; GROUPS_MAX],
    /// Time spent in each group in this callback.
    spent_ns: [u64; GROUPS_MAX],
    group: usize,
    since: HostTime,
    began: HostTime,
    is_probing: bool,
    is_oversampling: bool,
    report: Report,
    reported_ns: u64,
    reports: u32,
    is_log_due: bool,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            monitor: Monitor::new(Config::default()),
            total: Statistics::new(TAU_NS, WINDOW_NS),
            groups: vec![Statistics::new(TAU_NS, WINDOW_NS); GROUPS_MAX].into_boxed_slice(),
            seen: [false; GROUPS_MAX],
            spent_ns: [0; GROUPS_MAX],
            group: 0,
            since: HostTime::new(0),
            began: HostTime::new(0),
            is_probing: false,
            is_oversampling: true,
            report: Report::default(),
            reported_ns: 0,
            reports: 0,
            is_log_due: false,
        }
    }
}

impl Deadlines {
    /// A callback begins, in this group.
    pub(crate) fn begin(&mut self, group: u16) {
        self.began = host_time::now();
        self.since = self.began;
        self.spent_ns = [0; GROUPS_MAX];
        self.group = usize::from(group).min(GROUPS_MAX - 1);
    }

    /// What follows belongs to another group.
    pub(crate) fn stamp(&mut self, group: u16) {
        let now = host_time::now();
        self.spent_ns[self.group] += nanos(self.since, now);
        self.since = now;
        self.group = usize::from(group).min(GROUPS_MAX - 1);
    }

    /// The callback is over: what follows.
    pub(crate) fn end(&mut self, period_ns: u64, candidates: &Candidates<'_>) -> Decision {
        let now = host_time::now();
        self.spent_ns[self.group] += nanos(self.since, now);
        let spent_ns = nanos(self.began, now);
        self.total.observe(spent_ns, period_ns);
        for ((group, seen), spent_ns) in self.groups.iter_mut().zip(&mut self.seen).zip(self.spent_ns) {
            *seen |= spent_ns > 0;
            if *seen {
                group.observe(spent_ns, period_ns);
            }
        }
        self.reported_ns += period_ns;
        if self.reported_ns >= REPORT_NS {
            self.reported_ns = 0;
            self.report = self.total.report();
            self.reports = (self.reports + 1) % 4;
            self.is_log_due = self.reports == 0;
        }
        let decision = self.monitor.observe(spent_ns, period_ns, candidates);
        self.hear(decision)
    }

    /// An offline render has all the time in the world: everything that was given up comes back.
    pub(crate) fn offline(&mut self) -> Decision {
        let decision = self.monitor.restore_all();
        self.hear(decision)
    }

    fn hear(&mut self, decision: Decision) -> Decision {
        if decision != Decision::Nothing {
            self.is_probing = decision == Decision::ProbeNodes;
        }
        decision
    }

    /// Whether nodes are to be timed one by one.
    pub(crate) fn is_probing(&self) -> bool {
        self.is_probing
    }

    pub(crate) fn is_overloaded(&self) -> bool {
        self.monitor.is_overloaded()
    }

    pub(crate) fn is_oversampling(&self) -> bool {
        self.is_oversampling
    }

    pub(crate) fn set_oversampling(&mut self, on: bool) {
        self.is_oversampling = on;
    }

    /// The slot's node is gone.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.monitor.forget(slot);
    }

    pub(crate) fn report(&self) -> Report {
        self.report
    }

    pub(crate) fn load_in_65536ths(&self) -> u64 {
        in_65536ths(self.monitor.load())
    }

    /// Once a second, a line for each group that has nodes.
    pub(crate) fn write(&mut self, callback: &Callback<'_>, log: &mut log::Producer) {
        if !std::mem::take(&mut self.is_log_due) {
            return;
        }
        for (group, statistics) in self.groups.iter().enumerate() {
            let report = statistics.report();
            // Where there have been none for as long as it looks back, they are gone.
            if report.peak > 0.0 {
                let b = in_65536ths(report.ewma) << 32 | in_65536ths(report.p999);
                let at = callback.entered_at();
                log.push_routine(log::Entry { at, what: log::What::Load, a: group as u64, b });
            }
        }
    }
}

fn nanos(from: HostTime, to: HostTime) -> u64 {
    u64::try_from((to - from).get()).unwrap_or(0)
}

fn in_65536ths(load: f32) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what 32 bits hold; what is not a number becomes 0"
    )]
    let scaled = (f64::from(load) * 65_536.0).clamp(0.0, f64::from(u32::MAX)) as u64;
    scaled
}
