use super::*;
use crate::wire::State;
use crate::world::World;

fn sessions(world: &World) -> Vec<LinkSession> {
    let there = world.members.iter().filter(|member| member.is_there);
    there.map(|member| member.node.shared().session).collect()
}

/// The beats of two members at one instant, in microseconds apart.
fn apart_us(world: &World, one: usize, other: usize) -> f64 {
    let beat_us = world.members[one].node.shared().timeline.beat_us as f64;
    (world.beat(one) - world.beat(other)).abs() * beat_us
}

#[test]
fn the_oldest_session_is_joined_in_whatever_order_they_meet() {
    for seed in 0..12 {
        let mut world = World::new(seed);
        world.loss_percent = seed % 4 * 5;
        let oldest = world.join(30, 100.0);
        world.run(2_000);
        for (ppm, bpm) in [(-40, 120.0), (10, 140.0), (0, 80.0)] {
            world.join(ppm, bpm);
            let wait = world.random(900);
            world.run(wait);
        }
        // A ping that is lost costs 50 ms, and each session is measured by itself.
        world.run(3_000 + 300 * world.loss_percent);
        let id = world.members[oldest].node.shared().session;
        assert_eq!(sessions(&world), [id; 4], "seed {seed}");
        for other in 1..4 {
            assert!(
                apart_us(&world, oldest, other) < 400.0,
                "seed {seed}: {}",
                apart_us(&world, oldest, other)
            );
            assert_eq!(world.members[other].node.peers(), 3, "seed {seed}");
        }
        let bpm: Vec<f64> = world.members.iter().map(|member| member.node.shared().timeline.bpm()).collect();
        assert_eq!(bpm, [100.0; 4], "seed {seed}");
    }
}

#[test]
fn of_one_age_the_lesser_number_counts_and_both_know_it() {
    for seed in 0..20 {
        let mut world = World::new(100 + seed);
        world.join(0, 100.0);
        world.run(300);
        world.join(0, 120.0);
        world.run(2_000);
        let ids = world.members.iter().map(|member| LinkSession(member.node.id.0));
        let least = ids.min().unwrap();
        assert_eq!(sessions(&world), [least; 2], "seed {seed}");
    }
}

#[test]
fn a_tempo_and_a_start_reach_all_and_the_beat_goes_on() {
    let mut world = World::new(7);
    let first = world.join(20, 120.0);
    let second = world.join(-20, 90.0);
    world.run(3_000);
    let now = world.host(second);
    let shared = *world.members[second].node.shared();
    let at = shared.offset.link_at(now);
    let before = world.beat(second);
    let node = &mut world.members[second].node;
    node.set_timeline(Timeline::new(137.5, before, at), now);
    node.set_start_stop(StartStop::new(true, at, &shared.timeline), now);
    world.run(100);
    for member in [first, second] {
        let shared = world.members[member].node.shared();
        assert_eq!((shared.timeline.bpm(), shared.start_stop.is_playing), (137.5, true));
        let expected = before + 0.1 / 60.0 * 137.5;
        assert!((world.beat(member) - expected).abs() < 0.001, "{} {expected}", world.beat(member));
    }
    // What is older counts no more.
    let now = world.host(first);
    let node = &mut world.members[first].node;
    node.set_timeline(Timeline::new(60.0, before - 1.0, at), now);
    node.set_start_stop(StartStop::new(false, LinkTime::new(at.get() - 1), &shared.timeline), now);
    assert_eq!(node.shared().timeline.bpm(), 137.5);
    assert!(node.shared().start_stop.is_playing);
}

#[test]
fn clocks_that_drift_stay_together_for_minutes() {
    let mut world = World::new(11);
    let founder = world.join(50, 120.0);
    world.run(1_000);
    let other = world.join(-50, 120.0);
    world.run(3_000);
    let mut worst = 0.0_f64;
    for _ in 0..240 {
        world.run(1_000);
        worst = worst.max(apart_us(&world, founder, other));
    }
    // 100 ppm for four seconds, and what is measured wrong.
    assert!((50.0..600.0).contains(&worst), "{worst} µs");
}

#[test]
fn who_leaves_is_gone_at_once_and_who_falls_silent_after_five_seconds() {
    let mut world = World::new(3);
    let founder = world.join(0, 120.0);
    world.run(1_000);
    let [polite, dead] = [world.join(0, 120.0), world.join(0, 120.0)];
    world.run(2_000);
    assert_eq!(world.members[founder].node.peers(), 2);
    world.leave(polite);
    world.run(10);
    assert_eq!(world.members[founder].node.peers(), 1);
    world.members[dead].is_there = false;
    world.run(4_500);
    assert_eq!(world.members[founder].node.peers(), 1);
    world.run(600);
    assert_eq!(world.members[founder].node.peers(), 0);
}

#[test]
fn a_founder_that_went_comes_back_to_what_the_others_kept() {
    let mut world = World::new(5);
    let founder = world.join(0, 100.0);
    world.run(1_000);
    let member = world.join(0, 120.0);
    world.run(2_000);
    world.leave(founder);
    world.run(6_000);
    let kept = world.members[member].node.shared().session;
    let again = world.join(15, 60.0);
    world.run(2_000);
    assert_eq!(world.members[again].node.shared().session, kept);
    assert_eq!(world.members[again].node.shared().timeline.bpm(), 100.0);
    assert!(apart_us(&world, member, again) < 300.0);
}

#[test]
fn what_is_new_is_said_at_once_but_not_more_often_than_each_50_ms() {
    let mut node = Node::new(NodeId([1; 8]), 120.0, HostTime::new(0));
    node.add_gateway(Gateway(0), "10.0.0.1:9".parse().unwrap(), HostTime::new(0));
    let mut said = Vec::new();
    for millis in 0..1_000 {
        let now = HostTime::new(0) + Nanos::from_millis(millis);
        if (400..600).contains(&millis) {
            node.set_timeline(Timeline::new(120.0, millis as f64, LinkTime::new(millis * 1_000)), now);
        }
        node.poll(now);
        while let Some(action) = node.next_action() {
            assert!(matches!(action, Action::Announce(..)));
            said.push(millis);
        }
        assert!(node.wake_at(now) > now);
    }
    assert_eq!(said, [0, 250, 400, 450, 500, 550, 600, 850]);
}

#[test]
fn an_endpoint_of_somebody_else_is_never_pinged() {
    let (now, gateway) = (HostTime::new(0), Gateway(0));
    let mut node = Node::new(NodeId([9; 8]), 120.0, now);
    node.add_gateway(gateway, "10.0.0.1:9".parse().unwrap(), now);
    let state = |session: u8, endpoint: &str| State {
        timeline: Timeline::new(120.0, 0.0, LinkTime::default()),
        session: LinkSession([session; 8]),
        start_stop: StartStop::default(),
        endpoint: Some(endpoint.parse().unwrap()),
    };
    let pinged = |node: &mut Node| {
        node.poll(now);
        std::iter::from_fn(|| node.next_action()).find_map(|action| match action {
            Action::Measure(_, to, _) => Some(to.to_string()),
            _ => None,
        })
    };
    let mut say = |session: u8, endpoint| {
        let state = state(session, endpoint);
        let node_id = NodeId([session; 8]);
        let alive = Presence::Alive { is_response: false, ttl_s: 5, node: node_id, state };
        node.receive(gateway, "10.0.0.2:77".parse().unwrap(), &alive.encode(), now);
        (pinged(&mut node), node.refusals().endpoints)
    };
    assert_eq!(say(1, "192.0.2.1:53"), (None, 1));
    assert_eq!(say(2, "10.0.0.2:53"), (Some("10.0.0.2:53".to_owned()), 1));
}

#[test]
fn strangers_without_end_are_bounded() {
    let (now, gateway) = (HostTime::new(0), Gateway(0));
    let mut node = Node::new(NodeId([9; 8]), 120.0, now);
    node.add_gateway(gateway, "10.0.0.1:9".parse().unwrap(), now);
    for number in 0..1_000_u64 {
        let state = State {
            timeline: Timeline::new(120.0, 0.0, LinkTime::default()),
            session: LinkSession(number.to_be_bytes()),
            start_stop: StartStop::default(),
            endpoint: None,
        };
        let node_id = NodeId(number.to_be_bytes());
        let alive = Presence::Alive { is_response: false, ttl_s: 255, node: node_id, state }.encode();
        node.receive(gateway, "10.0.0.2:77".parse().unwrap(), &alive, now);
    }
    let kept = u64::try_from(peers::PEERS_MAX).unwrap();
    assert_eq!(node.refusals().peers, 1_000 - kept);
    let responses = std::iter::from_fn(|| node.next_action()).count();
    assert_eq!(responses, peers::PEERS_MAX);
    let ping = Measuring::Ping(Ping { host: 0, previous: None }).encode();
    for _ in 0..6_000 {
        node.receive_measuring(gateway, "10.0.0.2:77".parse().unwrap(), &ping, now);
    }
    assert_eq!(node.refusals().pings, 1_000);
}
