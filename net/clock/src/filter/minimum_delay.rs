//! Of many messages the quickest ones tell the truth, and a crystal's time is a straight line.
//!
//! The idea is old: D. L. Mills, *Improved Algorithms for Synchronizing Computer Network Clocks*, IEEE/ACM Transactions on
//! Networking 3 (1995), takes the sample of least delay; here each way has its own, and a line through several of them is
//! the clock, as in V. Paxson, *On Calibrating Measurements of Packet Transit Times*, ACM SIGMETRICS 1998.

use std::collections::VecDeque;

use audiocloud_units::{Nanos, Ppm};

use super::{Filter, Measurement, Seen, Zero};
use crate::estimate::ClockEstimate;

/// How often an estimate is made.
const EVERY_SECONDS: f64 = 1.0;
/// Before there is a line.
const POINTS_MIN: usize = 3;
/// Two crystals are no further apart than that.
const RATE_MAX_PPM: f64 = 300.0;
/// Messages kept of each way: 128 seconds at 32 a second.
const KEPT_MAX: usize = 4_096;
/// Buckets that are looked back over for the time.
const BUCKETS: u32 = 8;
/// And for the rate to go on with when nobody tells the time any more: a longer line leans less, but lags a crystal's wander.
const RATE_BUCKETS: u32 = 16;
/// What the quickest messages differ by anyhow, ns: those that are slower by as much count half.
const QUICKEST_DIFFER: f64 = 5_000.0;

/// Estimates over ways of any length, once a second.
#[derive(Clone, Debug)]
pub struct MinimumDelay {
    /// Each has one quickest message each way.
    bucket_seconds: f64,
    zero: Zero,
    /// How much the master is ahead: at least, by each sync; at most, by each delay request.
    at_least: VecDeque<(f64, f64)>,
    at_most: VecDeque<(f64, f64)>,
    next: f64,
    /// When the last estimate was made.
    newest: Option<f64>,
    ppm: f64,
    asymmetry: f64,
    round_trip: Option<f64>,
    settled: bool,
}

/// One bucket's: when, how much the master is ahead, and half the round trip.
#[derive(Clone, Copy, Debug)]
struct Point {
    seconds: f64,
    ahead: f64,
    half: f64,
}

impl MinimumDelay {
    /// For the local network at eight exchanges a second: sixteen seconds of a crystal's wander are still a line.
    #[must_use]
    pub fn local() -> Self {
        Self::new(2.0)
    }

    /// For long ways, where quick messages are rarer: looks back over 64 seconds.
    #[must_use]
    pub fn wide() -> Self {
        Self::new(8.0)
    }

    fn new(bucket_seconds: f64) -> Self {
        Self {
            bucket_seconds,
            zero: Zero::default(),
            at_least: VecDeque::new(),
            at_most: VecDeque::new(),
            next: 0.0,
            newest: None,
            ppm: 0.0,
            asymmetry: 0.0,
            round_trip: None,
            settled: false,
        }
    }

    /// The rate is known from before, from another way to the same time.
    #[must_use]
    pub fn at_rate(self, rate: Ppm) -> Self {
        Self { ppm: rate.get().clamp(-RATE_MAX_PPM, RATE_MAX_PPM), ..self }
    }

    /// Whether there are enough points for a line: before, the rate is the one that it was given.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    fn keep(&mut self, seen: Seen) {
        let window = self.bucket_seconds * f64::from(RATE_BUCKETS);
        let Self { at_least, at_most, .. } = self;
        let way = if seen.is_sync { &mut *at_least } else { &mut *at_most };
        way.push_back((seen.seconds, seen.ahead));
        if way.len() > KEPT_MAX {
            way.pop_front();
        }
        for way in [at_least, at_most] {
            while way.front().is_some_and(|(seconds, _)| seen.seconds - seconds > window) {
                way.pop_front();
            }
        }
    }

    /// The point of the bucket that ends at `end`; what came earlier in it is brought there at the rate known so far.
    fn point(&self, end: f64) -> Option<Point> {
        let inside = |(seconds, _): &&(f64, f64)| *seconds > end - self.bucket_seconds && *seconds <= end;
        let moved = |(seconds, ahead): &(f64, f64)| ahead + self.ppm * 1e3 * (end - seconds);
        let least = self.at_least.iter().filter(inside).map(moved).reduce(f64::max)?;
        let most = self.at_most.iter().filter(inside).map(moved).reduce(f64::min)?;
        Some(Point { seconds: end, ahead: (least + most) / 2.0, half: (most - least) / 2.0 })
    }

    fn points(&self, now: f64, buckets: u32) -> Vec<Point> {
        let ends = (0..buckets).map(|bucket| now - f64::from(bucket) * self.bucket_seconds);
        ends.filter_map(|end| self.point(end)).collect()
    }

    /// The rate to go on with when nobody tells the time any more: over twice as long as the estimate's, and each point as
    /// heavy as its messages were quick. None before there is a line.
    #[must_use]
    pub fn steady_rate(&self) -> Option<Ppm> {
        let points = self.points(self.newest?, RATE_BUCKETS);
        if points.len() < POINTS_MIN {
            return None;
        }
        let quickest = points.iter().map(|point| point.half).reduce(f64::min)?;
        let weigh = |point: &Point| {
            let slower = (point.half - quickest) / QUICKEST_DIFFER;
            (1.0 / (1.0 + slower * slower), point.seconds, point.ahead)
        };
        let weighed: Vec<(f64, f64, f64)> = points.iter().map(weigh).collect();
        let sum = |of: &dyn Fn(f64, f64) -> f64| weighed.iter().map(|(w, x, y)| w * of(*x, *y)).sum::<f64>();
        let all = sum(&|_, _| 1.0);
        let (middle, level) = (sum(&|x, _| x) / all, sum(&|_, y| y) / all);
        let xx = sum(&|x, _| (x - middle) * (x - middle));
        let xy = sum(&|x, y| (x - middle) * (y - level));
        let is_line = xx > 0.0;
        is_line.then(|| Ppm::new((xy / xx * 1e-3).clamp(-RATE_MAX_PPM, RATE_MAX_PPM)))
    }

    fn estimate(&mut self, now: f64) -> Option<ClockEstimate> {
        self.newest = Some(now);
        let points = self.points(now, BUCKETS);
        let newest = points.first()?;
        let n = points.len() as f64;
        let half = points.iter().map(|point| point.half).reduce(f64::min)?;
        self.round_trip = Some(2.0 * half);
        let mean = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (middle, level) = (mean(|point| point.seconds), mean(|point| point.ahead));
        let (mut ahead, mut scatter) = (newest.ahead, newest.half - half);
        self.settled = points.len() >= POINTS_MIN;
        if self.settled {
            let (mut xx, mut xy) = (0.0, 0.0);
            for point in &points {
                let x = point.seconds - middle;
                (xx, xy) = (xx + x * x, xy + x * (point.ahead - level));
            }
            self.ppm = (xy / xx * 1e-3).clamp(-RATE_MAX_PPM, RATE_MAX_PPM);
            let line = |seconds: f64| level + self.ppm * 1e3 * (seconds - middle);
            ahead = line(now);
            scatter =
                points.iter().map(|point| (point.ahead - line(point.seconds)).abs()).fold(0.0, f64::max);
        }
        // Whatever the asymmetry is, it is no more than the round trip: half of it is the bound, and what was seen to vary.
        // Points with slower messages than the quickest may be further off by as much.
        let slower = mean(|point| point.half) - half;
        let bound = half.abs() + slower + 2.0 * scatter;
        self.zero.estimate(now, ahead + self.asymmetry / 2.0, self.ppm, bound)
    }
}

impl Filter for MinimumDelay {
    fn measure(&mut self, measurement: Measurement) -> Option<ClockEstimate> {
        let seen = self.zero.seen(measurement);
        self.keep(seen);
        if seen.seconds < self.next || self.at_least.is_empty() || self.at_most.is_empty() {
            return None;
        }
        self.next = seen.seconds + EVERY_SECONDS;
        self.estimate(seen.seconds)
    }

    fn set_asymmetry(&mut self, longer_from_master: Nanos) {
        self.asymmetry = longer_from_master.get() as f64;
    }

    fn round_trip(&self) -> Option<Nanos> {
        self.round_trip.map(|nanos| Nanos::new(crate::estimate::rounded(nanos)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Network, p99};
    use super::*;

    fn wide(seed: u64) -> Network {
        Network {
            there_us: 20_000.0,
            back_us: 20_000.0,
            jitter_us: 1_000.0,
            spikes: Some((0.02, 20_000.0)),
            loss: 0.01,
            ..Network::new(seed)
        }
    }

    #[test]
    fn forty_milliseconds_away_the_time_is_known_to_a_sixth_of_one() {
        for seed in 1..=8 {
            let (errors, outside) = wide(seed).play(&mut MinimumDelay::wide(), 140.0, 40.0);
            assert!(p99(&errors) < 150.0 && outside == 0, "seed {seed}: p99 {} µs", p99(&errors));
        }
    }

    #[test]
    fn on_a_local_network_the_time_is_known_to_microseconds() {
        for seed in 1..=8 {
            let (errors, outside) = Network::new(seed).play(&mut MinimumDelay::local(), 140.0, 40.0);
            assert!(p99(&errors) < 5.0 && outside == 0, "seed {seed}: p99 {} µs", p99(&errors));
        }
    }

    #[test]
    fn a_busy_machine_between_is_borne() {
        for seed in 1..=8 {
            let mut network =
                Network { spikes: Some((0.1, 3_000.0)), jitter_us: 60.0, loss: 0.05, ..Network::new(seed) };
            let (errors, outside) = network.play(&mut MinimumDelay::local(), 140.0, 40.0);
            assert!(p99(&errors) < 15.0 && outside == 0, "seed {seed}: p99 {} µs", p99(&errors));
        }
    }

    #[test]
    fn an_asymmetry_lies_within_the_bound_and_is_gone_when_it_is_known() {
        let lopsided = |seed| Network { there_us: 20_000.0, back_us: 26_000.0, ..wide(seed) };
        let (errors, outside) = lopsided(3).play(&mut MinimumDelay::wide(), 140.0, 40.0);
        assert!((2_800.0..3_200.0).contains(&errors[errors.len() / 2]) && outside == 0);
        let mut filter = MinimumDelay::wide();
        filter.set_asymmetry(Nanos::from_millis(20 - 26));
        let (errors, outside) = lopsided(3).play(&mut filter, 140.0, 40.0);
        assert!(p99(&errors) < 200.0 && outside == 0, "p99 {} µs", p99(&errors));
        assert!((filter.round_trip().unwrap() - Nanos::from_millis(46)).abs() < Nanos::from_millis(1));
    }

    #[test]
    fn the_rate_to_go_on_with_is_known_to_a_part_in_a_million_on_a_busy_machine() {
        for seed in 1..=16 {
            let mut network = Network {
                spikes: Some((0.1, 3_000.0)),
                jitter_us: 150.0,
                loss: 0.05,
                wander: (0.1, 120.0),
                ..Network::new(seed)
            };
            let mut filter = MinimumDelay::local();
            network.play(&mut filter, 60.0, 40.0);
            let (end, turn) = (1_060.0, std::f64::consts::TAU / 120.0);
            let rate = 40.0 + 0.1 * f64::sin(end * turn);
            let off = (filter.steady_rate().unwrap().get() - rate).abs();
            assert!(off < 0.8, "seed {seed}: {off} ppm, the estimate's {}", (filter.ppm - rate).abs());
        }
    }

    #[test]
    fn one_way_alone_says_nothing() {
        let mut filter = MinimumDelay::wide();
        for second in 0..100_i64 {
            let sync = Measurement::Sync {
                sent: audiocloud_units::SessionTime::new(second * 1_000_000_000),
                received: audiocloud_units::HostTime::new(second * 1_000_000_000 + 5_000),
            };
            assert_eq!(filter.measure(sync), None);
        }
    }
}
