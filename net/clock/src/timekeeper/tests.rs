//! What several processes come to.

mod world;

use audiocloud_units::{Beats, Nanos, Ppm, SessionTime};

use super::*;
use crate::beat_map::Segment;
use world::{MILLISECOND, SECOND, WALL, World};

fn beat(world: &World, index: usize) -> Option<f64> {
    let time = world.session(index);
    world.processes[index].keeper.map().at(time).map(|position| position.beat.get())
}

#[test]
fn who_is_alone_has_a_time_after_half_a_second() {
    let mut world = World::new(1, 50);
    let one = world.start(1, 1, 40.0);
    world.play(0.4);
    assert_eq!(world.view(one).standing, Standing::Searching);
    world.play(0.3);
    assert_eq!(world.view(one).standing, Standing::Alone);
    assert!((world.session(one).get() - WALL - world.now).abs() < SECOND / 100);
    assert_eq!(world.view(one).bound, Some(Nanos::ZERO));
}

#[test]
fn several_machines_come_to_one_time_near_and_far() {
    for (way_us, within) in [(60, 20), (20_000, 150)] {
        let mut world = World::new(7, way_us);
        let all = [world.start(1, 1, 50.0), world.start(2, 2, -50.0), world.start(3, 3, 10.0)];
        world.play(60.0);
        let master = world.master(all[0]).unwrap();
        assert!(all.iter().all(|one| world.master(*one) == Some(master)));
        let (mut worst, mut outside) = (Nanos::ZERO, 0);
        world.watch(40.0, |world| {
            for one in all {
                let apart = world.apart(one, master);
                worst = worst.max(apart);
                outside += usize::from(apart > world.view(one).bound.unwrap());
            }
        });
        assert!(worst < Nanos::from_micros(within), "{way_us} µs away: {worst:?}");
        assert_eq!(outside, 0, "the bound holds");
        for one in all.into_iter().filter(|one| *one != master) {
            assert_eq!(world.view(one).standing, Standing::Locked);
        }
    }
}

#[test]
fn a_master_is_killed_and_nobody_hears_it() {
    for way_us in [60, 20_000] {
        let mut world = World::new(11, way_us);
        let all = [world.start(1, 1, 50.0), world.start(2, 2, -50.0), world.start(3, 3, 20.0)];
        world.play(100.0);
        let master = world.master(all[0]).unwrap();
        let left: Vec<usize> = all.into_iter().filter(|one| *one != master).collect();
        let steps: Vec<u64> = left.iter().map(|one| world.view(*one).steps).collect();
        let (killed, truth) = (world.now, world.session(master));
        world.stop(master);
        // The master's clock goes on as it did: what its time would be.
        let ppm = world.processes[master].ppm;
        let would_be = |world: &World| {
            let elapsed = (world.now - killed) as f64;
            truth + Nanos::new(crate::estimate::rounded(elapsed * (1.0 + ppm * 1e-6)))
        };
        let at_kill: Vec<_> = left.iter().map(|one| world.session(*one) - would_be(&world)).collect();
        let mut bounds: Vec<Vec<Nanos>> = vec![Vec::new(); left.len()];
        let mut before: Vec<_> = left.iter().map(|one| (world.now, world.session(*one))).collect();
        world.watch(60.0, |world| {
            for (place, one) in left.iter().enumerate() {
                let (then, shown) = before[place];
                let now = world.session(*one);
                // Against the same time without a jump, by the rate of the master's clock.
                let elapsed =
                    Nanos::new(crate::estimate::rounded((world.now - then) as f64 * (1.0 + ppm * 1e-6)));
                let step = (now - shown - elapsed).abs();
                assert!(step < Nanos::from_micros(12), "a step of {step:?} in 50 ms, {way_us} µs away");
                before[place] = (world.now, now);
                let view = world.view(*one);
                let off = (now - would_be(world)).abs();
                // The ways are equal, so it is never as far off as it might be.
                let bound = view.drift_bound.or(view.bound).unwrap();
                assert!(off <= bound, "{off:?} off, bound {bound:?}");
                bounds[place].push(bound);
            }
        });
        for (place, one) in left.iter().enumerate() {
            let drifted = (world.session(*one) - would_be(&world) - at_kill[place]).get() as f64;
            assert!(drifted.abs() < 60_000.0, "within 1 ppm of 60 s: {drifted} ns, {way_us} µs away");
            assert!(bounds[place].first() < bounds[place].last(), "the bound grows");
            assert_eq!(world.view(*one).steps, steps[place]);
        }
        let new = world.master(left[0]).unwrap();
        assert!(left.contains(&new) && left.iter().all(|one| world.master(*one) == Some(new)));
        assert!(world.apart(left[0], left[1]) < Nanos::from_micros(300));
    }
}

#[test]
fn two_who_are_left_and_meet_again_agree_without_a_jump() {
    let mut world = World::new(3, 2_000);
    let all = [world.start(1, 1, 30.0), world.start(2, 2, -20.0), world.start(3, 3, 5.0)];
    world.play(60.0);
    let master = world.master(0).unwrap();
    let lost = all.into_iter().find(|one| *one != master).unwrap();
    let epoch = world.view(master).master.unwrap().epoch;
    let others: Vec<usize> = all.into_iter().filter(|one| *one != lost).collect();
    others.iter().for_each(|other| world.cut(lost, *other));
    world.play(30.0);
    assert_eq!(world.view(lost).standing, Standing::Alone);
    world.cut.clear();
    let steps = world.view(lost).steps;
    world.play(30.0);
    assert_eq!(world.master(lost), Some(master), "who was gone has not become master by it");
    assert_eq!(world.view(master).master.unwrap().epoch, epoch);
    assert_eq!(world.view(lost).steps, steps);
    assert!(world.apart(lost, master) < Nanos::from_micros(100), "{:?}", world.apart(lost, master));
}

#[test]
fn two_halves_meet_and_the_beats_come_along() {
    let mut world = World::new(5, 200);
    let all = [1, 2, 3, 4].map(|id| world.start(id, id, f64::from(id) * 10.0));
    for one in [0, 1] {
        for other in [2, 3] {
            world.cut(one, other);
        }
    }
    world.play(20.0);
    let (left, right) = (world.master(0).unwrap(), world.master(2).unwrap());
    assert!(left < 2 && right >= 2 && world.apart(left, right) > Nanos::from_millis(100));
    // One of them has a beat.
    let start = world.session(right) + Nanos::from_millis(100);
    world.edit(right, &[Segment::steady(start, Beats::new(8.0), 120.0)]);
    world.play(5.0);
    let expected = beat(&world, right).unwrap();
    world.cut.clear();
    world.play(30.0);
    let master = world.master(0).unwrap();
    assert!(all.iter().all(|one| world.master(*one) == Some(master)));
    for one in all {
        assert!(world.apart(one, master) < Nanos::from_micros(50), "{:?}", world.apart(one, master));
        // Whosever time it is, the beat went on as who made it had it.
        let beat = beat(&world, one).unwrap();
        assert!((beat - expected - 60.0).abs() < 0.01, "{one}: {beat} after {expected}");
    }
}

#[test]
fn who_comes_later_takes_the_time_and_the_beats_that_there_are() {
    let mut world = World::new(9, 30_000);
    let (one, two) = (world.start(8, 8, 0.0), world.start(9, 9, 40.0));
    world.play(20.0);
    let master = world.master(one).unwrap();
    let start = world.session(one);
    let pieces: Vec<Segment> = (0..200)
        .map(|piece| {
            Segment::steady(start + Nanos::from_millis(100 * piece), Beats::new(piece as f64), 600.0)
        })
        .collect();
    world.edit(two, &pieces);
    world.play(2.0);
    // Its id is the smallest, and it has been alone for a while.
    world.cut.extend([(one, 2), (two, 2)]);
    let late = world.start(1, 1, -30.0);
    world.play(5.0);
    assert_eq!(world.view(late).standing, Standing::Alone);
    world.cut.clear();
    world.play(10.0);
    for index in [one, two, late] {
        assert_eq!(world.master(index), Some(master));
        assert_eq!(world.processes[index].keeper.map(), world.processes[two].keeper.map());
        assert_eq!(world.view(index).segments, 200);
    }
    assert!(world.apart(late, master) < Nanos::from_millis(1));
}

#[test]
fn processes_of_one_machine_show_the_same_time_to_the_nanosecond() {
    let mut world = World::new(13, 100);
    let far = world.start(1, 1, 0.0);
    let first = world.start(7, 2, 35.0);
    world.play(10.0);
    let second = world.start(3, 2, 35.0);
    world.play(20.0);
    assert_eq!(world.view(second).standing, Standing::Shared);
    assert_eq!(world.processes[second].keeper.source(), None, "one of them measures");
    let mut equal = 0;
    world.watch(10.0, |world| equal += usize::from(world.apart(first, second) == Nanos::ZERO));
    // A new line takes a moment to get there.
    assert!(equal > 150, "{equal} of 200");
    // A node outlives them, and keeps the time; nobody notices.
    let node = world.start_as(9, 2, 35.0, true);
    let before = world.session(first) - world.session(far);
    world.play(20.0);
    assert_eq!(world.view(first).standing, Standing::Shared);
    assert_ne!(world.view(node).standing, Standing::Shared);
    // It goes, and another one measures in its place.
    world.stop(node);
    world.play(5.0);
    let keepers = [first, second].map(|one| world.view(one).standing != Standing::Shared);
    assert_eq!(keepers.iter().filter(|keeps| **keeps).count(), 1);
    let after = world.session(first) - world.session(far);
    assert!((after - before).abs() < Nanos::from_micros(30), "{before:?} {after:?}");
    assert_eq!(world.apart(first, second), Nanos::ZERO);
}

#[test]
fn time_is_passed_on_where_not_everybody_reaches_the_master() {
    let mut world = World::new(17, 500);
    let [one, two, three] = [1, 2, 3].map(|id| world.start(id, id, f64::from(id) * 15.0));
    world.cut(one, three);
    world.processes[one].keeper.choose(Some([1; 32]), u64::try_from(WALL / MILLISECOND).unwrap()).unwrap();
    world.play(60.0);
    assert!([one, two, three].iter().all(|index| world.master(*index) == Some(one)));
    assert_eq!(world.processes[three].keeper.source(), Some(world.id(two)));
    assert!(world.apart(one, three) < Nanos::from_micros(60), "{:?}", world.apart(one, three));
    assert!(world.view(three).bound.unwrap() > world.view(two).bound.unwrap());
    // When it is gone, nobody tells anybody for long that it is there.
    world.stop(one);
    world.play(10.0);
    assert!(world.master(two).is_some() && world.master(two) == world.master(three));
}

#[test]
fn who_is_chosen_is_master_at_once_and_nothing_jumps() {
    let mut world = World::new(19, 1_000);
    let all = [1, 2, 3].map(|id| world.start(id, id, f64::from(id) * -20.0));
    world.play(40.0);
    let chosen = (world.master(0).unwrap() + 1) % 3;
    let device = world.id(chosen).device;
    let wall_ms = u64::try_from((WALL + world.now) / MILLISECOND).unwrap();
    let steps = all.map(|one| world.view(one).steps);
    world.processes[(chosen + 1) % 3].keeper.choose(Some(device), wall_ms).unwrap();
    world.play(3.0);
    assert!(all.iter().all(|one| world.master(*one) == Some(chosen)));
    world.play(30.0);
    assert_eq!(all.map(|one| world.view(one).steps), steps);
    assert!(all.iter().all(|one| world.apart(*one, chosen) < Nanos::from_micros(50)));
    // Without a choice it stays where it is: nobody is much better.
    world.processes[0].keeper.choose(None, wall_ms + 50_000).unwrap();
    world.play(20.0);
    assert!(all.iter().all(|one| world.master(*one) == Some(chosen)));
}

#[test]
fn who_may_not_lead_is_not_believed() {
    let mut world = World::new(23, 300);
    let [one, two] = [1, 2].map(|id| world.start(id, id, 0.0));
    world.processes[one].may_lead = false;
    // It thinks that it may: a program that breaks the rules.
    world.processes[one].keeper.choose(Some([1; 32]), u64::try_from(WALL / MILLISECOND).unwrap()).unwrap();
    world.play(10.0);
    assert_eq!(world.master(two), Some(two));
    let start = world.session(one);
    world.edit(one, &[Segment::steady(start, Beats::new(0.0), 90.0)]);
    world.play(5.0);
    let view = world.view(two);
    assert_eq!((view.segments, view.master.unwrap().id), (0, world.id(two)));
    assert!(view.refused > 10 && view.last_refusal.is_some());
    // And one that keeps them makes no edit, and takes the other's time.
    let mut world = World::new(23, 300);
    let [one, two] = [1, 2].map(|id| world.start(id, id, 0.0));
    world.processes[one].may_lead = false;
    world.processes[one].keeper.set_may_lead(Err("this user may not lead; ask who invited them".to_owned()));
    world.play(10.0);
    assert_eq!((world.master(one), world.view(two).refused), (Some(two), 0));
    let now = world.host(one, world.now);
    let start = world.session(one);
    let refused = world.processes[one].keeper.edit(&[Segment::steady(start, Beats::new(0.0), 90.0)], now);
    assert!(refused.unwrap_err().0.contains("may not lead"));
    assert!(world.processes[one].keeper.choose(None, 0).is_err());
}

#[test]
fn what_is_forged_is_bounded() {
    let mut world = World::new(29, 300);
    let [one, two] = [1, 2].map(|id| world.start(id, id, 0.0));
    world.play(5.0);
    let (now, id) = (world.host(two, world.now), world.id(one));
    let honest = world.processes[one].keeper.say(&world.id(two), world.host(one, world.now));
    let said = honest.master.unwrap();
    let hear = |world: &mut World, state: State| {
        world.processes[two].keeper.hear(id, state, (Nanos::from_millis(1), true), now, 1_700_000_000_000);
        world.view(two)
    };
    let before = world.view(two);
    let far = Choice { number: u64::MAX, device: Some([1; 32]) };
    let view = hear(&mut world, State { choice: far, ..honest });
    assert!(view.last_refusal.unwrap().contains("more than a day"));
    let last = Master { epoch: u64::MAX, ..said.master };
    let view = hear(&mut world, State { master: Some(MasterSaid { master: last, ..said }), ..honest });
    assert_eq!(view.master, before.master);
    // Beats of an edit that nothing could come after.
    let origin = world.processes[two].keeper.beats_origin().unwrap();
    let steady = Segment::steady(world.session(two), Beats::new(0.0), 120.0);
    for forged in [
        Segment { serial: u64::MAX, ..steady },
        Segment { epoch: u64::MAX, ..steady },
        Segment { start: SessionTime::new(i64::MIN), ..steady },
        Segment { bpm: 0.0, ..steady },
    ] {
        assert_eq!(world.processes[two].keeper.hear_beats(&[forged], origin, true, now), []);
    }
    assert_eq!(world.processes[two].keeper.hear_beats(&[steady], origin ^ 1, true, now), []);
    assert_eq!(world.processes[two].keeper.hear_beats(&[steady], origin, true, now).len(), 1);
    // Times that no clock shows do not reach the filter.
    if let Some(source) = world.processes[two].keeper.source() {
        let wild = Measurement::Sync { sent: SessionTime::new(i64::MAX), received: now };
        assert!(!world.processes[two].keeper.measure(&source, wild, now));
    }
}

#[test]
fn edits_at_two_places_at_once_become_one_map() {
    let mut world = World::new(31, 40_000);
    let all = [1, 2, 3].map(|id| world.start(id, id, 0.0));
    world.play(20.0);
    for round in 0..10_i64 {
        let start = world.session(0) + Nanos::from_millis(500);
        for (place, one) in all.into_iter().enumerate() {
            let bpm = 60.0 + (round * 3) as f64 + place as f64;
            let later = start + Nanos::from_millis(i64::try_from(place).unwrap() * round);
            world.edit(one, &[Segment::steady(later, Beats::new(0.0), bpm)]);
        }
        world.play(0.3);
    }
    world.play(3.0);
    let maps = all.map(|one| world.processes[one].keeper.map().clone());
    assert!(maps[0].segments().len() >= 10 && maps[0] == maps[1] && maps[1] == maps[2]);
    // A later edit counts before what was planned.
    let start = world.session(0);
    let planned = [10, 20].map(|s| Segment::steady(start + Nanos::from_secs(s), Beats::new(0.0), 90.0));
    world.edit(0, &planned);
    world.play(1.0);
    let stop =
        Segment { playing: false, ..Segment::steady(start + Nanos::from_secs(5), Beats::new(3.0), 90.0) };
    world.edit(2, &[stop]);
    world.play(1.0);
    for one in all {
        let last = world.processes[one].keeper.map().segments().last().copied().unwrap();
        assert!(!last.playing && last.start == stop.start);
    }
}

#[test]
fn a_machine_that_slept_finds_the_time_again() {
    let mut world = World::new(37, 200);
    let [one, two] = [1, 2].map(|id| world.start(id, id, 0.0));
    world.play(30.0);
    let sleeper = if world.master(0) == Some(one) { two } else { one };
    // Its clock stood still for seven seconds.
    world.processes[sleeper].ahead -= 7 * SECOND;
    world.play(20.0);
    assert!(world.apart(one, two) < Nanos::from_micros(50), "{:?}", world.apart(one, two));
    assert!(world.view(sleeper).steps > 0);
}

#[test]
fn a_grandmaster_s_time_is_taken_on_by_who_is_alone_and_followed_in_rate_with_others() {
    let mut world = World::new(41, 200);
    let node = world.start(1, 1, 0.0);
    world.play(2.0);
    let host = world.host(node, world.now);
    let grandmaster = ClockEstimate {
        at: host,
        offset: Nanos::from_secs(123_456),
        rate: Ppm::new(12.0),
        bound: Nanos::from_micros(2),
    };
    world.processes[node].keeper.offer(Quality::Network, Some(grandmaster));
    world.play(10.0);
    let now = world.host(node, world.now);
    assert!((world.session(node) - grandmaster.session_at(now)).abs() < Nanos::from_micros(1));
    // Others elect it for its quality, though another one was master; and then nothing jumps.
    let mut world = World::new(43, 200);
    let [other, node] = [1, 2].map(|id| world.start(id, id, 0.0));
    world.play(20.0);
    assert_eq!(world.master(node), Some(other));
    let steps = [other, node].map(|one| world.view(one).steps);
    let grandmaster = ClockEstimate { at: world.host(node, world.now), ..grandmaster };
    world.processes[node].keeper.offer(Quality::Network, Some(grandmaster));
    world.play(40.0);
    assert_eq!(world.master(other), Some(node));
    assert_eq!([other, node].map(|one| world.view(one).steps), steps);
    assert!((world.view(other).rate.get() - 12.0).abs() < 0.5, "{:?}", world.view(other).rate);
}

#[test]
fn who_is_elected_by_another_hears_of_it() {
    // Each was master of the first epoch when they met; whether the one elects the other before or after it has said so
    // itself depends on milliseconds.
    for step in 0..40_u16 {
        let mut world = World::new(23 + u64::from(step), 40_000);
        let chosen = world.start(2, 2, 30.0);
        let wall_ms = u64::try_from(WALL / MILLISECOND).unwrap();
        world.processes[chosen].keeper.choose(Some([2; 32]), wall_ms).unwrap();
        world.play(2.0 + f64::from(step) * 0.013);
        let other = world.start(1, 1, -30.0);
        world.cut(chosen, other);
        world.play(0.9 + f64::from(step) * 0.007);
        world.cut.clear();
        world.play(6.0);
        let masters = [chosen, other].map(|index| world.master(index));
        assert_eq!(masters, [Some(chosen); 2], "step {step}");
        assert_eq!(world.processes[other].keeper.source(), Some(world.id(chosen)), "step {step}");
    }
}

#[test]
fn who_is_elected_before_it_has_a_time_begins_one() {
    for step in 0..60_u16 {
        let mut world = World::new(31 + u64::from(step), 500);
        let one = world.start(2, 2, 40.0);
        world.play(f64::from(step) * 0.011);
        let two = world.start(1, 1, -40.0);
        world.play(10.0);
        for index in [one, two] {
            let standing = world.view(index).standing;
            assert!(matches!(standing, Standing::Master | Standing::Locked), "step {step}: {standing:?}");
        }
    }
}
