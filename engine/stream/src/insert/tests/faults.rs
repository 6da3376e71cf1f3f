//! A far end that is late, dies, comes back, or lies.

use super::*;

/// The steepest kink: the third difference, which for the tone that is played stays below −80 dB.
fn kink(heard: &[f32]) -> f64 {
    let at = |index: usize| f64::from(heard[index]);
    (3..heard.len())
        .map(|index| (at(index) - 3.0 * at(index - 1) + 3.0 * at(index - 2) - at(index - 3)).abs())
        .fold(0.0, f64::max)
}

fn world(late: Late) -> World {
    let mut world = World { local: Some(32), wanted: Wanted { here: false, late }, ..World::new() };
    world.callbacks(40, 64);
    world
}

#[test]
fn a_far_end_that_dies_leaves_the_policy_without_a_seam_and_comes_back() {
    for late in [Late::Hold, Late::Dry, Late::Local] {
        for callbacks in [40, 43, 46] {
            let mut world = world(late);
            world.callbacks(callbacks - 40, 64);
            let died = world.heard.len();
            world.far = None;
            world.callbacks(420, 64);
            // All that came before is heard, and the policy from D frames after the last answer on.
            let end = died + DELAY as usize + 64;
            let rest = &world.heard[end + 240..];
            match late {
                Late::Local => world.check_exact(end + 240..world.heard.len()),
                Late::Hold => {
                    assert!(rest[3_000..].iter().all(|sample| *sample == 0.0), "silence after 60 ms")
                }
                Late::Dry => {
                    for (sample, frame) in rest.iter().zip(end as u64 + 240..) {
                        assert_eq!(*sample, tone(0, frame - u64::from(DELAY)));
                    }
                }
            }
            let (ends, far) = rings();
            world.giver.give(Some(Box::new(ends))).unwrap();
            world.far = Some(far);
            world.callbacks(60, 64);
            let length = world.heard.len();
            world.check_exact(length - 1_000..length);
            let status = world.status();
            assert!(status.answering && status.source == Source::Far, "{late:?} {status:?}");
            assert!(status.late_callbacks > 0 && status.unanswered_callbacks > 0);
            assert_eq!((status.came_late_frames, status.strange_frames), (0, 0));
            let kink = 20.0 * kink(&world.heard[DELAY as usize + 300..]).log10();
            assert!(kink < -60.0, "{late:?}, {callbacks}: {kink:.1} dB");
        }
    }
}

/// As on a machine that stands still now and then: answers are late again before the last ones were faded in.
#[test]
fn a_far_end_that_stutters_is_heard_without_a_seam() {
    for late in [Late::Hold, Late::Dry, Late::Local] {
        for seed in 1..=12_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut below = |limit: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % limit
            };
            let mut world = world(late);
            for _ in 0..40 {
                world.held_back = 40;
                world.callbacks(8 + usize::try_from(below(20)).unwrap(), 64);
                world.held_back = 1;
                world.callbacks(1 + usize::try_from(below(40)).unwrap(), 64);
            }
            let status = world.status();
            assert!(status.late_callbacks > 40 && status.switches > 0 || late == Late::Hold, "{status:?}");
            let kink = 20.0 * kink(&world.heard[DELAY as usize + 300..]).log10();
            assert!(kink < -70.0, "{late:?}, seed {seed}: {kink:.1} dB");
        }
    }
}

#[test]
fn one_late_block_is_counted_and_whose_fault_it_is() {
    let mut world = world(Late::Hold);
    // Seven callbacks are within D of 512 and a block of 64; nine are not.
    world.held_back = 9;
    world.callbacks(2, 64);
    assert_eq!(world.status().late_callbacks, 0, "the answers to earlier blocks are there");
    world.callbacks(6, 64);
    world.held_back = 1;
    world.callbacks(20, 64);
    let status = world.status();
    assert!((1..4).contains(&status.late_callbacks) && status.late_by_host == 0, "{status:?}");
    assert!(status.came_late_frames > 0 && status.late_frames >= 64);
    assert!(status.margin_frames < 0, "{status:?}");

    // A host that stands still and then catches up leaves the far end no time.
    let mut world = World { held_back: 5, ..World::new() };
    world.callbacks(40, 64);
    world.time = world.time + Nanos::from_millis(20);
    let mut far = world.far.take();
    far.as_mut().unwrap().run(0);
    for _ in 0..14 {
        let now = world.time;
        world.bare_callback(64, &mut || false);
        world.time = now + Nanos::from_micros(10);
    }
    world.far = far;
    let status = world.status();
    assert!(status.late_callbacks > 3 && status.late_by_host == status.late_callbacks, "{status:?}");
    assert!(status.stall_max >= Nanos::from_millis(20));
}

#[test]
fn a_new_epoch_knows_nothing_of_the_old_one() {
    let mut world = world(Late::Dry);
    callback::enter(|_| world.insert.restart(Epoch(2)));
    world.heard.clear();
    world.callbacks(60, 64);
    world.check_exact(0..world.heard.len());
    assert_eq!((world.status().epoch, world.status().late_callbacks), (Epoch(2), 0));
}

#[test]
fn what_answers_nothing_is_refused_and_counted() {
    let mut world = world(Late::Dry);
    let far = world.far.as_mut().unwrap();
    let header = |epoch, start, frames| Header {
        epoch: Epoch(epoch),
        sample_rate: RATE,
        start: MediaTime::new(start),
        frames,
        first_channel: 0,
        channels: 2,
        stream_channels: 2,
        host_time: HostTime::new(0),
        session_time: None,
        flags: Flags::NONE,
        recovery: Nanos::ZERO,
    };
    for (epoch, start, frames) in [(1, 1_000_000, 64), (1, u64::MAX, 64), (1, 0, 4_000), (7, 2_400, 64)] {
        far.answer(&header(epoch, start, frames), |_, _| 1.0);
    }
    // With fewer channels than there are outputs.
    let narrow = Header { channels: 0, ..header(1, 2_400, 64) };
    far.back.try_push(&narrow, |_, _, _| unreachable!()).unwrap();
    let before = world.heard.len();
    world.callbacks(30, 64);
    world.check_exact(before..world.heard.len());
    assert_eq!(world.status().strange_frames, 64 + 64 + 4_000 + 64);
}

#[test]
fn a_chain_whose_own_latency_changes_has_no_seam() {
    for shift in [-96_i64, 96] {
        let mut world = world(Late::Hold);
        // From here on the answers begin earlier or later than the last ones ended.
        let mut far = world.far.take().unwrap();
        for _ in 0..40 {
            far.take();
            while far.waiting.len() > 3 {
                let (header, _) = far.waiting.pop_front().unwrap();
                let start = header.start.get().checked_add_signed(shift).unwrap();
                far.answer(&Header { start: MediaTime::new(start), ..header }, |channel, frame| {
                    processed(tone(channel, start + frame as u64))
                });
            }
            world.bare_callback(64, &mut || false);
        }
        let kink = 20.0 * kink(&world.heard[DELAY as usize + 300..]).log10();
        assert!(kink < -60.0, "{shift}: {kink:.1} dB");
        world.check_exact(world.heard.len() - 1_000..world.heard.len());
    }
}
