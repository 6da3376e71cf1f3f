//! Silence in, silence out; and how long it takes after a sound.

use audiocloud_effects::effect::{Kind, Tail};
use audiocloud_effects::{KINDS, kind};
use audiocloud_rt::callback;

use crate::bed::{Player, activation, noise, settings, silence};

const RATE: u32 = 44_100;

#[test]
fn a_new_effect_plays_nothing_out_of_nothing() {
    for kind in KINDS {
        for seed in 0..8 {
            for channels in [1, 2] {
                let played =
                    Player::new(kind, RATE, channels, &settings(kind, seed)).play(&silence(channels, 20_000));
                assert!(played.iter().flatten().all(|sample| *sample == 0.0), "{} {seed}", kind.id);
            }
        }
    }
}

/// Frames until the output must be below −100 dBFS, if that can be waited for.
fn patience(kind: &Kind, values: &[f32]) -> Option<usize> {
    match (kind.tail)(&activation(RATE, 2), values) {
        Tail::Frames(frames) => usize::try_from(frames).ok().filter(|frames| *frames < 4 * RATE as usize),
        Tail::Infinite => None,
    }
}

#[test]
fn tails_end_when_they_said_and_have_no_subnormal_numbers() {
    for kind in KINDS {
        let mut waited = 0;
        for seed in 0..12 {
            let values = settings(kind, seed);
            let Some(tail) = patience(kind, &values) else { continue };
            // One of each is enough where it takes long.
            if waited > 2 * RATE as usize {
                break;
            }
            waited += tail;
            let mut player = Player::new(kind, RATE, 2, &values);
            let mut sound = noise(seed, 2, 16_000, 1.0);
            let after = player.latency() + tail;
            let mut rest = silence(2, after + RATE as usize);
            // As in a host's callback, where subnormal numbers are flushed to zero.
            callback::enter(|_| {
                player.play_in(&mut sound, &[], &mut || 64);
                player.play_in(&mut rest, &[], &mut || 64);
            });
            let subnormal = rest.iter().flatten().filter(|sample| sample.is_subnormal()).count();
            assert_eq!(subnormal, 0, "{} {seed}", kind.id);
            let loudest = rest
                .iter()
                .flat_map(|line| &line[after..])
                .fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
            assert!(loudest <= 1e-5, "{} {seed}: {loudest:e} after {tail} frames", kind.id);
        }
        assert!(waited > 0 || (kind.tail)(&activation(RATE, 2), &kind.defaults()) == Tail::Frames(0));
    }
}

/// Outside a callback they are there: so the test above can fail.
#[test]
fn what_rings_out_would_reach_subnormal_numbers() {
    let eq = kind("eq").unwrap();
    let mut player = Player::with(eq, RATE, 1, &[("Band 5 gain", 6.0)]);
    player.play(&noise(1, 1, 1000, 1.0));
    let rest = player.play(&silence(1, 4000));
    assert!(rest[0].iter().any(|sample| sample.is_subnormal()));
}
