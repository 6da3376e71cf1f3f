use super::*;
use crate::seed::Seed;

const EVERY: Nanos = Nanos::from_millis(1);

/// Sends so many packets of 1,000 bytes, one each millisecond; the delays of those that arrive.
fn send(config: Config, packets: i64, seed: u64) -> (Vec<Nanos>, Counters) {
    let seed = Seed::new(seed);
    let mut link = Link::new(config, &Random::new(seed.get()));
    let mut delays = Vec::new();
    for packet in 0..packets {
        let now = Nanos::new(packet * EVERY.get());
        if let Fate::Arrives { at, .. } = link.send(now, 1_000) {
            delays.push(at - now);
        }
    }
    let counters = *link.counters();
    assert_eq!(counters.sent + counters.duplicated, counters.arriving + counters.lost());
    (delays, counters)
}

fn millis(delays: &[Nanos]) -> Vec<f64> {
    delays.iter().map(|delay| delay.as_millis_f64()).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// The part of the values that is at most this.
fn part_below(values: &[f64], limit: f64) -> f64 {
    values.iter().filter(|value| **value <= limit).count() as f64 / values.len() as f64
}

#[test]
fn by_default_everything_arrives_at_once() {
    let (delays, counters) = send(Config::default(), 100, 1);
    assert!(delays.iter().all(|delay| *delay == Nanos::ZERO));
    assert_eq!((counters.arriving, counters.arriving_bytes, counters.overtaking), (100, 100_000, 0));
}

#[test]
fn uniform_jitter_is_uniform() {
    let jitter = Spread::Uniform { max: Nanos::from_millis(10) };
    let config = Config { delay: Nanos::from_millis(20), jitter, order: Order::Free, ..Config::default() };
    let (delays, counters) = send(config, 200_000, 2);
    let delays = millis(&delays);
    assert!((mean(&delays) - 25.0).abs() < 0.03, "{}", mean(&delays));
    assert!((deviation(&delays) - 10.0 / 12.0_f64.sqrt()).abs() < 0.03);
    for tenth in 0..=10 {
        let limit = f64::from(tenth);
        assert!((part_below(&delays, 20.0 + limit) - limit / 10.0).abs() < 0.005, "{tenth}");
    }
    // A packet overtakes nobody if each of the nine before it, k ms earlier, was delayed by at most k ms more than itself.
    let nobody = (0..1_000).map(|step| {
        let delay = (f64::from(step) + 0.5) / 100.0;
        (1..10).map(|earlier| (delay + f64::from(earlier)).min(10.0) / 10.0).product::<f64>()
    });
    let expected = 1.0 - nobody.sum::<f64>() / 1_000.0;
    let found = counters.overtaking as f64 / counters.sent as f64;
    assert!((found - expected).abs() < 0.005, "{found} for {expected}");
}

#[test]
fn normal_jitter_is_normal_and_cut() {
    let (mean_ms, deviation_ms) = (4, 1);
    let jitter = Spread::Normal {
        mean: Nanos::from_millis(mean_ms),
        deviation: Nanos::from_millis(deviation_ms),
        max: Nanos::from_millis(6),
    };
    let (delays, _) = send(Config { jitter, order: Order::Free, ..Config::default() }, 200_000, 3);
    let delays = millis(&delays);
    assert!(delays.iter().all(|delay| (0.0..=6.0).contains(delay)));
    // The normal distribution up to two deviations above its mean, as tables give it.
    let whole = 0.977_25;
    for (limit, below) in [(2.0, 0.022_75), (3.0, 0.158_66), (4.0, 0.5), (5.0, 0.841_34), (6.0, whole)] {
        let expected = below / whole;
        let found = part_below(&delays, limit);
        assert!((found - expected).abs() < 0.005, "{limit} ms: {found} for {expected}");
    }
}

#[test]
fn order_is_kept_where_it_is_to_be() {
    let jitter = Spread::Uniform { max: Nanos::from_millis(10) };
    let config = Config { jitter, ..Config::default() };
    let (delays, counters) = send(config, 10_000, 4);
    let arrivals: Vec<Nanos> =
        (0..).zip(&delays).map(|(packet, delay)| Nanos::new(packet * EVERY.get()) + *delay).collect();
    assert!(arrivals.is_sorted());
    assert_eq!(counters.overtaking, 0);
    // Those who wait for others wait longer than by themselves, never longer than the longest.
    assert!(mean(&millis(&delays)) > 6.0 && counters.delay_max <= Nanos::from_millis(10));
}

#[test]
fn spikes_deliver_all_at_their_end() {
    let spikes = Some(Spikes { per_second: 0.5, length: Nanos::from_millis(80) });
    let (delays, counters) = send(Config { spikes, ..Config::default() }, 1_000_000, 5);
    // The share of time: 80 ms after every 2 s on average.
    let share = counters.spiked as f64 / counters.sent as f64;
    assert!((share - 0.08 / 2.08).abs() < 0.005, "{share}");
    let longest = counters.delay_max.as_millis_f64();
    assert!((79.0..=80.0).contains(&longest), "{longest}");
    // Within a spike each packet waits a millisecond less than the one before it.
    let falls = delays.windows(2).filter(|pair| pair[1] > Nanos::ZERO && pair[1] < pair[0]);
    assert!(falls.clone().all(|pair| pair[0] - pair[1] == EVERY));
    assert!(falls.count() > 30_000);
}

#[test]
fn losses_are_those_of_the_model() {
    for loss in [Loss::Bernoulli { probability: 0.01 }, Loss::bursts(0.03, 6.0)] {
        let (_, counters) = send(Config { loss, ..Config::default() }, 1_000_000, 6);
        let found = counters.lost_by_chance as f64 / 1e6;
        assert!((found / loss.rate() - 1.0).abs() < 0.03, "{loss:?}: {found}");
    }
}

#[test]
fn some_arrive_twice() {
    let duplication = Some(Duplication { probability: 0.05, after: Spread::None });
    let (_, counters) = send(Config { duplication, ..Config::default() }, 100_000, 7);
    let found = counters.duplicated as f64 / 1e5;
    assert!((found - 0.05).abs() < 0.003, "{found}");
    assert_eq!(counters.arriving, 100_000 + counters.duplicated);
}

#[test]
fn a_rate_limit_lets_through_its_rate() {
    let queue = Nanos::from_millis(100);
    let check = |bits_per_second: u64| {
        let limit = RateLimit::with_queue_of(bits_per_second, queue);
        let config = Config { rate_limit: Some(limit), ..Config::default() };
        // 1,028 bytes each millisecond: 8.224 Mbit/s for a minute.
        let (_, counters) = send(config, 60_000, 8);
        let seconds = 60.0 + counters.queue_delay_max.as_secs_f64();
        let rate = 8.0 * 1_028.0 * counters.arriving as f64 / seconds;
        (rate, counters)
    };
    let (rate, counters) = check(4_000_000);
    assert!((rate / 4e6 - 1.0).abs() < 0.001, "{rate}");
    assert!(counters.lost_queue_full > 30_000);
    assert!(counters.queue_delay_max <= queue + EVERY, "{counters:?}");
    assert!(counters.queue_delay_max >= Nanos::from_millis(97), "{counters:?}");
    assert!(counters.queue_bytes_max <= 50_000);
    let (_, counters) = check(8_300_000);
    assert_eq!((counters.lost(), counters.queue_bytes_max), (0, 1_028));
}

#[test]
fn outages_lose_all_and_nothing_else() {
    let outages = periodic_outages(Nanos::from_secs(5), Nanos::from_millis(20), Nanos::from_secs(60));
    assert_eq!(outages.len(), 11);
    let (_, counters) = send(Config { outages, ..Config::default() }, 60_000, 9);
    assert_eq!((counters.lost_in_outages, counters.lost()), (11 * 20, 11 * 20));
}

#[test]
fn a_shorter_route_is_overtaking() {
    let route_changes = vec![
        RouteChange { at: Nanos::from_millis(100), delay: Nanos::from_millis(30) },
        RouteChange { at: Nanos::from_millis(200), delay: Nanos::from_millis(5) },
    ];
    let config = Config { delay: Nanos::from_millis(10), route_changes, ..Config::default() };
    let (delays, counters) = send(config, 300, 10);
    for (packet, expected) in [(99, 10), (100, 30), (199, 30), (200, 5), (299, 5)] {
        assert_eq!(delays[packet], Nanos::from_millis(expected), "{packet}");
    }
    // Sent until 24 ms after the change: before the last one of the long route arrives.
    assert_eq!(counters.overtaking, 24);
}

#[test]
fn a_change_of_one_thing_leaves_the_others() {
    let jitter = Spread::Uniform { max: Nanos::from_millis(3) };
    let lossless = Config { jitter, order: Order::Free, ..Config::default() };
    let lossy = Config { loss: Loss::Bernoulli { probability: 0.5 }, ..lossless.clone() };
    let arrivals = |config: Config, seed: u64| {
        let mut link = Link::new(config, &Random::new(seed));
        (0..1_000).map(|packet| link.send(Nanos::new(packet * EVERY.get()), 100)).collect::<Vec<_>>()
    };
    let (all, some) = (arrivals(lossless.clone(), 11), arrivals(lossy, 11));
    assert!(some.iter().zip(&all).all(|(some, all)| some == all || *some == Fate::Lost(Reason::Chance)));
    assert_eq!(arrivals(lossless.clone(), 11), all);
    assert_ne!(arrivals(lossless, 12), all);
}
