//! Whatever a user, an automation or a broken neighbour does, what leaves is a number.

use audiocloud_effects::KINDS;

use crate::bed::{Dice, Player, RATES, moves, noise, settings};

#[test]
fn any_automation_gives_numbers() {
    for kind in KINDS {
        for (seed, rate) in (0..).zip(RATES) {
            let mut player = Player::new(kind, rate, 2, &settings(kind, seed));
            let mut signal = noise(seed, 2, 8000, 1.0);
            let side = noise(seed + 1, 2, 8000, 1.0);
            let side = if kind.side_chain { &side[..] } else { &[] };
            let mut dice = Dice(seed);
            player.play_moving(&mut signal, side, &moves(kind, seed, 300, 8000), &mut || 1 + dice.below(64));
            assert!(signal.iter().flatten().all(|sample| sample.is_finite()), "{} {seed}", kind.id);
        }
    }
}

#[test]
fn a_side_chain_that_is_missing_narrow_or_no_number_does_no_harm() {
    for kind in KINDS.iter().filter(|kind| kind.side_chain) {
        let broken = vec![vec![f32::NAN; 4000]];
        for side in [Vec::new(), noise(1, 1, 4000, 1.0), broken] {
            let mut player = Player::with(kind, 48_000, 2, &[("Key", 1.0)]);
            let played = player.play_keyed(&noise(2, 2, 4000, 1.0), &side);
            assert!(played.iter().flatten().all(|sample| sample.is_finite()), "{}", kind.id);
        }
    }
}

/// Rates that nobody promised anything for: no harm, at least.
#[test]
fn odd_rates_give_numbers() {
    for kind in KINDS {
        for rate in [1, 8000, 22_050, 352_800, 768_000] {
            let mut player = Player::new(kind, rate, 2, &settings(kind, 2));
            let played = player.play(&noise(4, 2, 2000, 1.0));
            assert!(played.iter().flatten().all(|sample| sample.is_finite()), "{} at {rate} Hz", kind.id);
        }
    }
}
