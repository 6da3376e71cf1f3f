//! Two peers and a node in virtual time, behind simulated translators: which way is found, how soon, and what moving
//! between ways costs. Every test runs with several seeds, and says which one failed.

use std::time::Duration;

use audiocloud_traversal::ways::{Carrier, Change, Way};
use nat::Kind;
use world::World;

mod nat;
mod random;
mod world;

const SEEDS: std::ops::Range<u64> = 0..12;
const SECOND: Duration = Duration::from_secs(1);

fn is_direct(way: Option<Way>) -> bool {
    matches!(way, Some(Way::Direct(_)))
}

fn by(carrier: Carrier) -> impl Fn(Option<Way>) -> bool {
    move |way| matches!(way, Some(Way::Relay { carrier: by, .. }) if by == carrier)
}

/// Each peer takes such a way within the time, and stays with it.
fn finds(world: &mut World, fit: impl Fn(Option<Way>) -> bool, within: Duration, case: &str) {
    world.run(6 * SECOND);
    for peer in &world.peers {
        let (at, way, _) = peer.taken.last().copied().unwrap_or_else(|| panic!("{case}: no way at all"));
        assert!(fit(way), "{case}: {:?}", peer.taken);
        assert!(at <= within, "{case}: only after {at:?}");
        println!("{case}: after {at:?}");
    }
}

/// The longest run of packets that did not arrive, of those sent in the time, and how many these are.
fn missing(world: &World, from: Duration, to: Duration) -> (Duration, usize) {
    let mut worst = (Duration::ZERO, 0);
    for peer in &world.peers {
        let sent: Vec<_> = peer.media.iter().filter(|(at, _)| (from..to).contains(at)).collect();
        assert!(sent.len() > 300, "{} packets were sent", sent.len());
        let runs = sent.split(|(_, arrived)| *arrived);
        let longest =
            runs.filter_map(|run| Some(run.last()?.0 - run.first()?.0 + Duration::from_micros(2667)));
        let lost = sent.iter().filter(|(_, arrived)| !arrived).count();
        worst = (worst.0.max(longest.max().unwrap_or_default()), worst.1.max(lost));
    }
    worst
}

#[test]
fn port_preserving_on_both_sides_is_punched_through() {
    for seed in SEEDS {
        let mut world = World::new(seed, [Kind::PortPreserving; 2]);
        finds(&mut world, is_direct, SECOND, &format!("seed {seed}"));
    }
}

#[test]
fn with_loss_it_takes_a_little_longer() {
    for seed in SEEDS {
        let mut world = World::new(seed, [Kind::PortPreserving; 2]);
        world.lost_permille = 100;
        finds(&mut world, is_direct, 3 * SECOND, &format!("seed {seed}"));
    }
}

#[test]
fn endpoint_independent_and_symmetric_meet_directly() {
    for seed in SEEDS {
        // The symmetric one's port is learned from its probes.
        let mut world = World::new(seed, [Kind::EndpointIndependent, Kind::Symmetric]);
        finds(&mut world, is_direct, SECOND, &format!("seed {seed}"));
    }
}

#[test]
fn symmetric_on_both_sides_needs_the_relay() {
    for seed in SEEDS {
        let mut world = World::new(seed, [Kind::Symmetric; 2]);
        finds(&mut world, by(Carrier::Udp), SECOND, &format!("seed {seed}"));
    }
}

#[test]
fn where_udp_is_dropped_there_is_tcp() {
    for (seed, both) in SEEDS.zip([true, false].into_iter().cycle()) {
        let mut world = World::new(seed, [Kind::PortPreserving; 2]);
        world.peers[0].nat.drops_udp = true;
        world.peers[1].nat.drops_udp = both;
        world.run(6 * SECOND);
        let (at, way, _) = *world.peers[0].taken.last().unwrap();
        assert!(by(Carrier::Tunnel)(way) && at <= 3 * SECOND, "seed {seed}: {way:?} after {at:?}");
        let (at, way, _) = *world.peers[1].taken.last().unwrap();
        let expected = if both { Carrier::Tunnel } else { Carrier::Udp };
        assert!(by(expected)(way) && at <= 3 * SECOND, "seed {seed}: {way:?} after {at:?}");
    }
}

#[test]
fn moving_to_a_direct_way_that_opens_loses_nothing() {
    for seed in SEEDS {
        let mut world = World::new(seed, [Kind::PortPreserving; 2]);
        world.direct_blocked = true;
        world.run(2 * SECOND);
        world.media();
        world.run(8 * SECOND);
        assert!(world.peers.iter().all(|peer| by(Carrier::Udp)(peer.taken.last().unwrap().1)));
        world.direct_blocked = false;
        world.run(4 * SECOND);
        for peer in &world.peers {
            let (at, way, why) = *peer.taken.last().unwrap();
            assert!(is_direct(way) && why == Change::Better, "seed {seed}: {:?}", peer.taken);
            assert!(at - 10 * SECOND <= Duration::from_millis(1500), "seed {seed}: after {at:?}");
        }
        let (_, lost) = missing(&world, 2 * SECOND, world.time() - SECOND);
        assert_eq!(lost, 0, "seed {seed}");
    }
}

#[test]
fn a_direct_way_that_closes_costs_less_than_a_tenth_of_a_second() {
    let mut worst = Duration::ZERO;
    for seed in SEEDS {
        let mut world = World::new(seed, [Kind::PortPreserving; 2]);
        world.run(2 * SECOND);
        world.media();
        let offset = Duration::from_millis(world.random.below(200));
        world.run(3 * SECOND + offset);
        assert!(world.peers.iter().all(|peer| is_direct(peer.taken.last().unwrap().1)));
        world.direct_blocked = true;
        world.run(5 * SECOND);
        assert!(world.peers.iter().all(|peer| by(Carrier::Udp)(peer.taken.last().unwrap().1)));
        let (gap, _) = missing(&world, 2 * SECOND, world.time() - SECOND);
        worst = worst.max(gap);
        // And back, later, without loss.
        let reopened = world.time();
        world.direct_blocked = false;
        world.run(4 * SECOND);
        assert!(world.peers.iter().all(|peer| is_direct(peer.taken.last().unwrap().1)), "seed {seed}");
        assert_eq!(missing(&world, reopened - SECOND, world.time() - SECOND).1, 0, "seed {seed}");
    }
    println!("the longest gap: {worst:?}");
    assert!(worst > Duration::from_millis(20), "it cannot be noticed sooner");
    assert!(worst <= Duration::from_millis(100), "{worst:?}");
}

#[test]
fn a_direct_way_that_comes_and_goes_is_trusted_ever_less() {
    let mut world = World::new(1, [Kind::PortPreserving; 2]);
    world.run(2 * SECOND);
    world.media();
    for _ in 0..60 {
        world.direct_blocked = !world.direct_blocked;
        world.run(2 * SECOND);
    }
    // Thirty times it closed; holding ever longer than it stays open makes it a handful of moves.
    for peer in &world.peers {
        assert!(peer.taken.len() <= 10, "{} moves", peer.taken.len());
    }
}

#[test]
fn loss_alone_moves_nothing_and_is_made_up_for() {
    for seed in SEEDS {
        let mut world = World::new(seed, [Kind::PortPreserving; 2]);
        world.run(2 * SECOND);
        world.lost_permille = 50;
        world.media();
        world.run(20 * SECOND);
        for peer in &world.peers {
            let late: Vec<_> = peer.taken.iter().filter(|(at, ..)| *at > 3 * SECOND).collect();
            assert!(late.is_empty(), "seed {seed}: {late:?}");
            // While in doubt packets go twice: that stays rare.
            let sent = peer.media.len();
            assert!(
                peer.doubles < u64::try_from(sent / 10).unwrap(),
                "seed {seed}: {} of {sent}",
                peer.doubles
            );
        }
    }
}

#[test]
fn a_network_that_changes_is_followed() {
    for seed in SEEDS {
        let mut world = World::new(seed, [Kind::PortPreserving; 2]);
        world.run(2 * SECOND);
        world.media();
        world.run(3 * SECOND);
        let changed = world.time();
        world.peers[0].nat.change([203, 0, 113, 99].into());
        let now = world.now;
        world.peers[0].ways.as_mut().unwrap().restart(now);
        world.run(6 * SECOND);
        let last = world.time() - SECOND;
        assert!(world.peers.iter().all(|peer| is_direct(peer.taken.last().unwrap().1)), "seed {seed}");
        // Until the node knows of the new address, nothing gets through.
        let (gap, _) = missing(&world, changed, last);
        assert!(gap <= Duration::from_millis(1500), "seed {seed}: {gap:?}");
        assert_eq!(missing(&world, last - 2 * SECOND, last).1, 0, "seed {seed}");
    }
}

#[test]
fn a_cable_that_was_pulled_is_found_again() {
    for (seed, seconds) in SEEDS.zip([1, 10, 60].into_iter().cycle()) {
        let mut world = World::new(seed, [Kind::PortPreserving; 2]);
        world.run(2 * SECOND);
        world.media();
        world.run(2 * SECOND);
        world.everything_blocked = true;
        world.run(seconds * SECOND);
        assert!(world.peers.iter().all(|peer| peer.taken.last().unwrap().1.is_none()), "seed {seed}");
        world.everything_blocked = false;
        let back = world.time();
        world.run(4 * SECOND);
        for peer in &world.peers {
            let found = peer.taken.iter().find(|(at, way, _)| *at > back && way.is_some()).unwrap();
            assert!(found.0 - back <= Duration::from_millis(1200), "seed {seed}: {:?}", found.0 - back);
        }
    }
}

#[test]
fn a_machine_that_stands_still_blames_no_way() {
    for seed in SEEDS {
        let mut world = World::new(seed, [Kind::PortPreserving; 2]);
        world.run(2 * SECOND);
        world.media();
        for stall_ms in [30, 100, 300, 1000] {
            world.run(SECOND);
            let moves = world.peers[0].taken.len();
            world.peers[0].stalled_until = world.now + Duration::from_millis(stall_ms);
            world.run(2 * SECOND);
            assert_eq!(
                world.peers[0].taken.len(),
                moves,
                "seed {seed}, {stall_ms} ms: {:?}",
                world.peers[0].taken
            );
        }
    }
}

#[test]
fn a_seed_tells_everything() {
    let run = || {
        let mut world = World::new(5, [Kind::PortPreserving, Kind::EndpointIndependent]);
        world.lost_permille = 30;
        world.run(2 * SECOND);
        world.media();
        world.run(SECOND);
        let [one, two] = world.peers;
        (one.taken, two.taken, one.media, two.media)
    };
    assert_eq!(run(), run());
}
