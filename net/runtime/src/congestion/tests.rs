//! The rate control in a bottleneck, in virtual time: alone, beside a CUBIC flow, under random loss, with reordering.
//!
//! The bottleneck is a queue of bytes that drops at its tail, drained at a constant rate; each packet then takes half
//! of the base round trip, and its acknowledgement the other half. TCP is CUBIC as RFC 9438 has it, one loss event a
//! round trip, with slow start; media is what a callback makes, through the shaper; both are acknowledged as their
//! protocols do it.

mod model;

use std::time::Duration;

use model::{Path, Tcp, World};

const MEDIA_BPS: f64 = 26e6;

fn link(rate_bps: f64, buffer_ms: f64) -> Path {
    Path { rate_bps, buffer_seconds: buffer_ms / 1e3, round_trip: 0.04, loss: 0.0, jitter: 0.0 }
}

#[test]
fn a_free_path_has_no_cap_whatever_it_loses_and_however_it_reorders() {
    for (seed, loss, jitter) in
        [(1, 0.0, 0.0), (2, 0.02, 0.0), (3, 0.05, 0.0), (4, 0.02, 0.01), (5, 0.0, 0.01)]
    {
        for demand in [1.2e6, MEDIA_BPS] {
            let path = Path { loss, jitter, ..link(1e9, 100.0) };
            let mut world = World::new(path, demand, seed);
            world.run(Duration::from_secs(30));
            assert_eq!(world.media.refused, 0, "seed {seed}, {demand} bit/s: a packet was held back");
            assert_eq!(world.caps_seen, 0, "seed {seed}, {demand} bit/s: a cap");
        }
    }
}

#[test]
fn alone_it_keeps_the_queue_short_and_the_link_busy() {
    for (seed, rate_bps) in [(11, 20e6), (12, 5e6), (13, 1e6)] {
        let mut world = World::new(link(rate_bps, 100.0), MEDIA_BPS, seed);
        world.run(Duration::from_secs(5));
        world.reset();
        world.run(Duration::from_secs(25));
        let share = world.media_bps() / rate_bps;
        let queue_ms = 1e3 * world.queue_mean();
        assert!(share > 0.75, "seed {seed}: {share:.2} of the link");
        assert!(queue_ms < 25.0, "seed {seed}: a queue of {queue_ms:.1} ms");
    }
}

/// One begins 10 to 15 s before the other; 10 s later the bits of each are counted.
fn beside_cubic(path: Path, demand_bps: f64, seed: u64) -> (f64, f64) {
    let tcp_first = seed.is_multiple_of(2);
    let mut world = World::new(path, if tcp_first { 0.0 } else { demand_bps }, seed);
    world.tcp = tcp_first.then(|| Tcp::new(0.0));
    let alone = 10.0 + 5.0 * world.random();
    world.run(Duration::from_secs_f64(alone));
    world.media.demand_bps = demand_bps;
    world.tcp = world.tcp.take().or_else(|| Some(Tcp::new(alone)));
    world.run(Duration::from_secs(10));
    world.reset();
    world.run(Duration::from_secs(60));
    (world.media_bps() / path.rate_bps, world.tcp_bps() / path.rate_bps)
}

#[test]
fn beside_a_cubic_flow_both_have_their_share() {
    for seed in 20..26 {
        let loss = if seed > 23 { 1e-4 } else { 0.0 };
        let (media, tcp) = beside_cubic(Path { loss, ..link(20e6, 100.0) }, MEDIA_BPS, seed);
        assert!(media >= 0.3 && tcp >= 0.3, "seed {seed}: media {media:.2}, TCP {tcp:.2}");
    }
}

#[test]
fn near_and_far_with_small_buffers_and_large_ones_likewise() {
    for (seed, round_trip, buffer_ms) in
        [(50, 0.01, 50.0), (51, 0.01, 200.0), (52, 0.08, 50.0), (53, 0.08, 200.0)]
    {
        let (media, tcp) = beside_cubic(Path { round_trip, ..link(20e6, buffer_ms) }, MEDIA_BPS, seed);
        assert!(media >= 0.3 && tcp >= 0.3, "seed {seed}: media {media:.2}, TCP {tcp:.2}");
    }
}

#[test]
fn a_share_that_is_given_up_is_not_lost() {
    // PCM of 24 and of 16 bits, Opus.
    for seed in 26..30 {
        let mut world = World::new(link(20e6, 100.0), MEDIA_BPS, seed);
        world.media.rungs = vec![1.0, 0.68, 0.14, 0.07, 0.04];
        world.run(Duration::from_secs(5));
        world.tcp = Some(Tcp::new(5.0));
        world.run(Duration::from_secs(10));
        world.reset();
        world.run(Duration::from_secs(60));
        let (cap, tcp) = (world.cap_bps() / 20e6, world.tcp_bps() / 20e6);
        assert!(cap >= 0.3 && tcp >= 0.3, "seed {seed}: a cap of {cap:.2}, TCP {tcp:.2}");
    }
}

#[test]
fn streams_that_find_a_cubic_flow_there_have_their_share_all_the_same() {
    // Ten streams of PCM of 24 bits; what each may send instead is 16 bits, or Opus.
    for seed in 60..72 {
        let mut world = World::new(link(20e6, 100.0), 0.0, seed);
        world.media.rungs = vec![1.0, 0.68, 0.14, 0.07, 0.04];
        world.media.streams = vec![(0, 0.0); 10];
        world.tcp = Some(Tcp::new(0.0));
        let alone = 10.0 + 5.0 * world.random();
        world.run(Duration::from_secs_f64(alone));
        world.media.demand_bps = MEDIA_BPS;
        world.run(Duration::from_secs(5));
        world.reset();
        world.run(Duration::from_secs(35));
        let (media, tcp) = (world.media_bps() / 20e6, world.tcp_bps() / 20e6);
        assert!(media >= 0.3 && tcp >= 0.3, "seed {seed}: media {media:.2}, TCP {tcp:.2}");
    }
}

#[test]
fn a_stream_far_below_its_share_stays_whole() {
    for seed in 40..44 {
        let mut world = World::new(link(20e6, 100.0), 2.5e6, seed);
        world.run(Duration::from_secs(5));
        world.tcp = Some(Tcp::new(5.0));
        world.run(Duration::from_secs(5));
        world.reset();
        world.run(Duration::from_secs(60));
        let share = world.media_bps() / 2.5e6;
        assert!(share > 0.95, "seed {seed}: {share:.2} of a small stream came");
    }
}

#[test]
fn when_the_other_flow_ends_all_is_ours_within_seconds() {
    let mut world = World::new(link(30e6, 100.0), MEDIA_BPS, 31);
    world.tcp = Some(Tcp::new(0.0));
    world.run(Duration::from_secs(30));
    world.tcp = None;
    world.run(Duration::from_secs(6));
    world.reset();
    world.run(Duration::from_secs(4));
    assert!(world.media_bps() > 0.95 * MEDIA_BPS, "{:.1} Mbit/s", world.media_bps() / 1e6);
}

#[test]
fn a_link_that_narrows_is_followed_both_ways() {
    let mut world = World::new(link(50e6, 100.0), MEDIA_BPS, 32);
    world.run(Duration::from_secs(5));
    world.path.rate_bps = 8e6;
    world.run(Duration::from_secs(3));
    world.reset();
    world.run(Duration::from_secs(5));
    let queue_ms = 1e3 * world.queue_mean();
    assert!(queue_ms < 30.0, "a queue of {queue_ms:.1} ms");
    world.path.rate_bps = 50e6;
    world.run(Duration::from_secs(12));
    world.reset();
    world.run(Duration::from_secs(3));
    assert!(world.media_bps() > 0.95 * MEDIA_BPS, "{:.1} Mbit/s", world.media_bps() / 1e6);
}

#[test]
fn a_policer_without_a_queue_is_felt_and_mere_loss_is_not() {
    let mut policed = World::new(link(10e6, 5.0), MEDIA_BPS, 33);
    policed.run(Duration::from_secs(10));
    policed.reset();
    policed.run(Duration::from_secs(10));
    let lost = policed.media.lost / policed.media.sent.max(1.0);
    assert!(lost < 0.15, "{lost:.2} is lost in the policer");
    let mut lossy = World::new(Path { loss: 0.15, ..link(1e9, 100.0) }, MEDIA_BPS, 34);
    lossy.run(Duration::from_secs(10));
    lossy.reset();
    lossy.run(Duration::from_secs(10));
    assert_eq!(lossy.media.refused, 0, "15 % of random loss is the path's own");
}

#[test]
fn a_path_that_becomes_longer_costs_a_moment() {
    let mut world = World::new(link(1e9, 100.0), MEDIA_BPS, 35);
    world.run(Duration::from_secs(5));
    world.path.round_trip = 0.12;
    world.run(Duration::from_secs(5));
    world.reset();
    world.run(Duration::from_secs(60));
    assert_eq!(world.media.refused, 0);
}
