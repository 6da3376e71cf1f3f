//! One way from one node to another, and everything that happens to packets on it.

use std::ops::Range;

use audiocloud_units::Nanos;

use crate::bottleneck::{Bottleneck, RateLimit};
use crate::loss::{Loss, Losses};
use crate::random::Random;
use crate::spread::Spread;

/// What a link does. The default delivers everything at once.
///
/// A packet meets, in this order: an outage, the bottleneck, loss, delay (of the route, jitter, a spike), duplication.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The way's own delay, until a route change.
    pub delay: Nanos,
    /// Added to each packet's delay.
    pub jitter: Spread,
    /// Times at which the link stands still, if any.
    pub spikes: Option<Spikes>,
    /// Whether jitter may change the order.
    pub order: Order,
    /// Packets that vanish.
    pub loss: Loss,
    /// Packets that arrive twice.
    pub duplication: Option<Duplication>,
    /// The bottleneck, if there is one.
    pub rate_limit: Option<RateLimit>,
    /// When whatever is sent is lost. In any order.
    pub outages: Vec<Range<Nanos>>,
    /// In order of time.
    pub route_changes: Vec<RouteChange>,
}

/// Whether a packet may arrive before one that was sent earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// First in, first out: jitter makes packets wait for those before them. A route change can still change the order,
    /// for each route has a queue of its own.
    #[default]
    Kept,
    /// Each packet arrives when its own delay is over.
    Free,
}

/// Delay spikes: the link stands still, then delivers at once what was sent meanwhile. Seen on radio and on long ways:
/// R. Ramjee, J. Kurose, D. Towsley and H. Schulzrinne, *Adaptive Playout Mechanisms for Packetized Audio Applications in
/// Wide-Area Networks*, IEEE Infocom 1994.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spikes {
    /// How often on average, at random, counted while there is none.
    pub per_second: f64,
    /// How long each lasts: the delay that it adds to the first packet.
    pub length: Nanos,
}

/// Packets that arrive twice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Duplication {
    /// Of each packet, from 0 to 1.
    pub probability: f64,
    /// How long after the first the second one arrives.
    pub after: Spread,
}

/// From a time on, another delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// When the first packet takes the new route.
    pub at: Nanos,
    /// The new route's own delay.
    pub delay: Nanos,
}

/// Outages of one length, the first one a period after the beginning, up to `until`.
#[must_use]
pub fn periodic_outages(period: Nanos, length: Nanos, until: Nanos) -> Vec<Range<Nanos>> {
    let starts = std::iter::successors(Some(period), |start| Some(*start + period));
    starts.take_while(|start| *start < until).map(|start| start..start + length).collect()
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives, and perhaps once more.
    Arrives {
        /// When.
        at: Nanos,
        /// When its duplicate does.
        again_at: Option<Nanos>,
    },
    /// It does not.
    Lost(Reason),
}

/// Why a packet was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// By chance: [`Config::loss`].
    Chance,
    /// It was sent in an outage.
    Outage,
    /// The bottleneck's queue was full.
    QueueFull,
}

/// What happened to all packets. `sent + duplicated` is `arriving + lost()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets that have arrived or will, duplicates included.
    pub arriving: u64,
    /// Their bytes.
    pub arriving_bytes: u64,
    /// Packets lost by chance.
    pub lost_by_chance: u64,
    /// Packets lost in outages.
    pub lost_in_outages: u64,
    /// Packets that found the queue full.
    pub lost_queue_full: u64,
    /// Packets that arrive twice.
    pub duplicated: u64,
    /// Packets, duplicates not counted, that arrive before one that was sent earlier.
    pub overtaking: u64,
    /// Packets delayed by a spike.
    pub spiked: u64,
    /// Most bytes in the bottleneck's queue.
    pub queue_bytes_max: usize,
    /// Longest time in the bottleneck.
    pub queue_delay_max: Nanos,
    /// Longest time on the way, bottleneck included.
    pub delay_max: Nanos,
}

impl Counters {
    /// Packets lost, whatever the reason.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost_by_chance + self.lost_in_outages + self.lost_queue_full
    }
}

/// A link at work.
#[derive(Clone, Debug)]
pub struct Link {
    config: Config,
    losses: Losses,
    bottleneck: Option<Bottleneck>,
    jitter: Random,
    duplication: Random,
    spikes: Random,
    /// The spike that is next, or now.
    spike: Range<Nanos>,
    /// Route changes that have happened.
    changes: usize,
    /// The latest arrival on the present route, and on all of them.
    route_latest: Nanos,
    latest: Nanos,
    counters: Counters,
}

impl Link {
    /// A link whose chance is `random`'s.
    #[must_use]
    pub fn new(config: Config, random: &Random) -> Self {
        let mut link = Self {
            losses: Losses::new(config.loss, random.for_purpose(0)),
            bottleneck: config.rate_limit.map(Bottleneck::new),
            jitter: random.for_purpose(1),
            duplication: random.for_purpose(2),
            spikes: random.for_purpose(3),
            spike: Nanos::ZERO..Nanos::ZERO,
            changes: 0,
            route_latest: Nanos::ZERO,
            latest: Nanos::ZERO,
            counters: Counters::default(),
            config,
        };
        link.pass_spikes(Nanos::ZERO);
        link
    }

    /// Sends a packet of so many bytes. `now` never goes back.
    pub fn send(&mut self, now: Nanos, bytes: usize) -> Fate {
        let size = bytes as u64;
        self.counters.sent += 1;
        self.counters.sent_bytes += size;
        let fate = self.fate(now, bytes);
        let counters = &mut self.counters;
        match fate {
            Fate::Lost(Reason::Chance) => counters.lost_by_chance += 1,
            Fate::Lost(Reason::Outage) => counters.lost_in_outages += 1,
            Fate::Lost(Reason::QueueFull) => counters.lost_queue_full += 1,
            Fate::Arrives { at, again_at } => {
                let copies = 1 + u64::from(again_at.is_some());
                counters.arriving += copies;
                counters.arriving_bytes += copies * size;
                counters.duplicated += copies - 1;
                counters.delay_max = counters.delay_max.max(at - now);
                counters.overtaking += u64::from(at < self.latest);
                self.latest = self.latest.max(at);
            }
        }
        fate
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn fate(&mut self, now: Nanos, bytes: usize) -> Fate {
        // Drawn for every packet, so that none of these depends on what the others do.
        let is_lost = self.losses.next_is_lost();
        let jitter = self.config.jitter.draw(&mut self.jitter);
        let again_after = self.config.duplication.and_then(|duplication| {
            let is_doubled = self.duplication.chance(duplication.probability);
            let after = duplication.after.draw(&mut self.duplication);
            is_doubled.then_some(after)
        });

        if self.config.outages.iter().any(|outage| outage.contains(&now)) {
            return Fate::Lost(Reason::Outage);
        }
        let Some(left_at) = self.leave_bottleneck(now, bytes) else {
            return Fate::Lost(Reason::QueueFull);
        };
        if is_lost {
            return Fate::Lost(Reason::Chance);
        }
        let due = left_at + self.route_delay(now) + jitter + self.spike_delay(left_at);
        let at = match self.config.order {
            Order::Kept => due.max(self.route_latest),
            Order::Free => due,
        };
        self.route_latest = self.route_latest.max(at);
        Fate::Arrives { at, again_at: again_after.map(|after| at + after) }
    }

    fn leave_bottleneck(&mut self, now: Nanos, bytes: usize) -> Option<Nanos> {
        let Some(bottleneck) = &mut self.bottleneck else { return Some(now) };
        let left_at = bottleneck.try_enter(now, bytes)?;
        let counters = &mut self.counters;
        counters.queue_bytes_max = counters.queue_bytes_max.max(bottleneck.waiting_bytes());
        counters.queue_delay_max = counters.queue_delay_max.max(left_at - now);
        Some(left_at)
    }

    fn route_delay(&mut self, now: Nanos) -> Nanos {
        while self.config.route_changes.get(self.changes).is_some_and(|change| change.at <= now) {
            self.changes += 1;
            self.route_latest = Nanos::ZERO;
        }
        let change = self.changes.checked_sub(1).and_then(|last| self.config.route_changes.get(last));
        change.map_or(self.config.delay, |change| change.delay)
    }

    fn spike_delay(&mut self, now: Nanos) -> Nanos {
        self.pass_spikes(now);
        if !self.spike.contains(&now) {
            return Nanos::ZERO;
        }
        self.counters.spiked += 1;
        self.spike.end - now
    }

    /// Goes to the first spike that is not over.
    fn pass_spikes(&mut self, now: Nanos) {
        let Some(Spikes { per_second, length }) = self.config.spikes else { return };
        while self.spike.end <= now {
            let start = self.spike.end + self.spikes.wait(per_second);
            // A spike of no length must not be looked for for ever.
            self.spike = start..start + length.max(Nanos::new(1));
        }
    }
}

#[cfg(test)]
mod tests;
