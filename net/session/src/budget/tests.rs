use audiocloud_units::{Nanos, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::quality::Quality;
use proptest::prelude::*;

use super::*;

fn ms(tenths: i64) -> Nanos {
    Nanos::from_micros(tenths * 100)
}

/// 48 kHz, stereo, 128 frames at both ends, the same sample clock.
fn studio() -> Ends {
    Ends {
        sample_rate: SampleRate::new(48_000).unwrap(),
        channels: 2,
        sender_block: 128,
        receiver_block: Nanos::new(2_666_666),
        resampler: Nanos::ZERO,
    }
}

fn budget(total: Nanos) -> Budget {
    Budget { total, best: Quality { codec: Some(Codec::PcmS24), ..Quality::default() }, opus: true }
}

fn path(round_trip: Nanos, jitter: Nanos, loss: f64) -> Path {
    Path { round_trip, jitter, loss, rate_cap_bps: None }
}

#[test]
fn a_clean_path_gets_two_blocks_and_the_way() {
    let plan = plan(&budget(ms(100)), &path(ms(10), Nanos::ZERO, 0.0), &studio());
    assert_eq!(plan.verdict, Verdict::Met);
    assert_eq!(plan.quality.codec, Some(Codec::PcmS24));
    assert_eq!((plan.recovery, plan.hold_floor), (Recovery::None, Nanos::ZERO));
    // 2.666 + 0.5 + 2.666 ms.
    assert_eq!(plan.waterfall.total(), Nanos::new(2_666_666 + 500_000 + 2_666_666));
    assert_eq!(plan.hold_ceiling, ms(100) - plan.waterfall.total());
    // 375 packets a second, each of 768 bytes of samples, 34 of our header and 32 of QUIC's.
    assert_eq!(plan.rate_bps, 375 * (768 + 34 + 32) * 8);
}

#[test]
fn loss_is_asked_for_again_where_there_is_time_and_repaired_where_there_is_none() {
    let check = |total: Nanos, round_trip: Nanos, expected: fn(Recovery) -> bool| {
        let plan = plan(&budget(total), &path(round_trip, ms(5), 0.01), &studio());
        assert_eq!(plan.verdict, Verdict::Met, "{plan:?}");
        assert!(expected(plan.recovery), "{plan:?}");
        assert!(plan.left_lost <= LOSS_FORGIVEN && plan.waterfall.total() <= total);
    };
    check(ms(200), ms(20), |recovery| matches!(recovery, Recovery::Requests { .. }));
    check(ms(400), ms(400), |recovery| matches!(recovery, Recovery::Repair { .. }));
    // Without time for more than one, a repair after each packet; with more time, fewer.
    let every = |total| match plan(&budget(total), &path(ms(400), Nanos::ZERO, 0.01), &studio()).recovery {
        Recovery::Repair { every, .. } => every,
        other => panic!("{other:?}"),
    };
    assert!(every(ms(285)) < every(ms(400)), "{} {}", every(ms(285)), every(ms(400)));
}

#[test]
fn a_budget_that_cannot_be_kept_is_answered_with_what_it_takes() {
    let plan = plan(&budget(ms(300)), &path(ms(440), ms(36), 0.0), &studio());
    let sentence = plan.verdict.to_string();
    assert_eq!(sentence, "needs at least 30.9 ms: 22.0 ms of it is the way there");
    assert_eq!(plan.hold_floor, plan.hold_ceiling);
    let enough = super::plan(&budget(plan.waterfall.total()), &path(ms(440), ms(36), 0.0), &studio());
    assert_eq!(enough.verdict, Verdict::Met, "what is asked for suffices");
    assert_eq!(enough.waterfall, plan.waterfall);
}

#[test]
fn a_narrow_path_takes_less_than_was_wanted_and_says_when_it_takes_nothing() {
    let on = |rate_cap_bps| {
        let path = Path { rate_cap_bps: Some(rate_cap_bps), ..path(ms(100), ms(10), 0.0) };
        plan(&budget(ms(500)), &path, &studio())
    };
    assert_eq!(on(3_000_000).quality.codec, Some(Codec::PcmS24));
    assert_eq!(on(2_000_000).quality.codec, Some(Codec::PcmS16));
    let opus = on(500_000);
    assert_eq!((opus.quality.codec, opus.quality.bitrate_bps), (Some(Codec::Opus), 256_000));
    assert!(opus.waterfall.codec > ms(25), "{opus:?}");
    let nothing = on(50_000);
    assert!(matches!(nothing.verdict, Verdict::TooNarrow { least_bps } if least_bps > 50_000), "{nothing:?}");
    assert!(nothing.verdict.to_string().starts_with("needs at least "));
    let without = Budget { opus: false, ..budget(ms(500)) };
    let path = Path { rate_cap_bps: Some(500_000), ..path(ms(100), ms(10), 0.0) };
    assert!(matches!(plan(&without, &path, &studio()).verdict, Verdict::TooNarrow { .. }));
}

#[test]
fn a_path_that_loses_half_is_beyond_repair() {
    let plan = plan(&budget(ms(5_000)), &path(ms(10), Nanos::ZERO, 0.5), &studio());
    assert!(matches!(plan.verdict, Verdict::TooLossy { left_lost } if left_lost < 0.5), "{plan:?}");
    assert!(plan.verdict.to_string().contains("stays lost"), "{}", plan.verdict);
}

#[test]
fn a_codec_waits_until_its_frame_is_full() {
    let delay = |block, frame_us| {
        let ends = Ends { sender_block: block, ..studio() };
        let best = Quality { codec: Some(Codec::Opus), bitrate_bps: 256_000, frame_us };
        let forms = form::ladder(&Budget { best, ..budget(ms(1_000)) }, &ends);
        let form = forms.iter().find(|form| form.quality == best).unwrap();
        form.delay.to_frames_nearest(ends.sample_rate).get() - 120
    };
    // By simulation: the longest that a frame's first sample waits, from its block's end to the frame's.
    for (block, frames, frame_us) in
        [(128, 120, 2_500), (128, 240, 5_000), (480, 240, 5_000), (64, 960, 20_000), (96, 480, 10_000)]
    {
        let longest = (0..block).map(|frame: i64| {
            let first = frame * frames;
            let full = (first + frames + block - 1) / block * block;
            full - first - block
        });
        let block = u32::try_from(block).unwrap();
        assert_eq!(delay(block, frame_us), longest.max().unwrap(), "{block} {frames}");
    }
}

/// A window repaired by a code that finds as many unknowns as it has equations; drawn, not computed.
#[test]
fn what_repair_leaves_lost_is_what_chance_leaves() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut lost = |share: f64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        f64::from(u32::try_from(seed >> 32).unwrap()) < share * f64::from(u32::MAX)
    };
    for (every, repairs, share) in [(1, 1, 0.2), (1, 3, 0.2), (2, 2, 0.1), (4, 1, 0.1)] {
        let recovery = Recovery::Repair { every, window: every * repairs, repairs };
        let rounds = 200_000;
        let mut left = 0;
        for _ in 0..rounds {
            let packets = (0..every * repairs).filter(|_| lost(share)).count();
            let equations = (0..repairs).filter(|_| !lost(share)).count();
            // Of those lost, each is as likely to be the one that we look at.
            left += if packets > equations { packets } else { 0 };
        }
        let measured =
            f64::from(u32::try_from(left).unwrap()) / f64::from(rounds) / f64::from(every * repairs);
        let computed = recovery.left_lost(share);
        assert!((measured / computed - 1.0).abs() < 0.05, "{recovery:?} at {share}: {measured} {computed}");
    }
}

#[test]
fn the_cheapest_recovery_is_the_plans() {
    let interval = Nanos::new(2_666_666);
    assert_eq!(cheapest(Nanos::ZERO, ms(10), interval, 1, 0.0), Recovery::None);
    let much = cheapest(ms(100), ms(10), interval, 1, 0.01);
    assert!(matches!(much, Recovery::Requests { .. }), "{much:?}");
    let little = cheapest(interval, ms(400), interval, 1, 0.01);
    assert_eq!(little, Recovery::Repair { every: 1, window: 2, repairs: 2 });
    let none = cheapest(Nanos::ZERO, ms(400), interval, 1, 0.01);
    assert_eq!(none, Recovery::Repair { every: 1, window: 1, repairs: 1 }, "better than nothing");
}

proptest! {
    #[test]
    fn a_plan_keeps_what_it_promises(
        total in 1_i64..2_000, round_trip in 0_i64..3_000, jitter in 0_i64..300, loss in 0.0..0.3_f64,
        cap in 20_000_u64..20_000_000, block in 1_u32..4_096, channels in 1_u8..=64,
    ) {
        let ends = Ends { sender_block: block, channels, ..studio() };
        let path = Path { rate_cap_bps: Some(cap), ..path(ms(round_trip), ms(jitter), loss) };
        let asked = budget(ms(total));
        let made = plan(&asked, &path, &ends);
        prop_assert!(made.hold_floor >= path.jitter && made.hold_ceiling >= made.hold_floor);
        prop_assert_eq!(made.waterfall.jitter, made.hold_floor);
        match made.verdict {
            Verdict::Met => {
                prop_assert!(made.waterfall.total() <= asked.total);
                prop_assert!(made.rate_bps <= cap && made.left_lost <= LOSS_FORGIVEN);
                prop_assert_eq!(made.waterfall.total() + (made.hold_ceiling - made.hold_floor), asked.total);
            }
            Verdict::TooShort { least, way } => {
                prop_assert!(least > asked.total && way <= least);
                prop_assert_eq!(plan(&budget(least), &path, &ends).verdict, Verdict::Met);
            }
            Verdict::TooNarrow { least_bps } => prop_assert!(least_bps > cap),
            Verdict::TooLossy { left_lost } => prop_assert!(left_lost > LOSS_FORGIVEN),
        }
    }
}
