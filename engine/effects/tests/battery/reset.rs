//! A reset makes it as new, to the bit, whatever it has heard.

use audiocloud_effects::KINDS;

use crate::bed::{Player, difference, noise, settings};

const FRAMES: usize = 2000;

/// Plays `poison`, is reset, and must then do as a new one does.
fn check(what: &str, poison: f32) {
    for kind in KINDS {
        for seed in 0..5 {
            let values = settings(kind, seed);
            let input = noise(seed + 7, 2, FRAMES, 0.9);
            let expected = Player::new(kind, 48_000, 2, &values).play(&input);

            let mut player = Player::new(kind, 48_000, 2, &settings(kind, seed + 50));
            let mut heard = noise(seed, 2, FRAMES + 13, 1.0);
            heard[0][700] = poison;
            heard[1][701] = -poison;
            player.play(&heard);
            for (parameter, value) in kind.parameters.iter().zip(&values) {
                player.set(parameter.name, *value);
            }
            player.reset();
            let found = player.play(&input);
            assert_eq!(difference(&expected, &found), None, "{} {seed} after {what}", kind.id);
            assert!(found.iter().flatten().all(|sample| sample.is_finite()), "{} {seed}", kind.id);
        }
    }
}

#[test]
fn after_noise() {
    check("noise", 1.0);
}

#[test]
fn after_what_is_not_a_number() {
    check("NaN", f32::NAN);
}

#[test]
fn after_infinity() {
    check("infinity", f32::INFINITY);
}

#[test]
fn after_the_greatest_number() {
    check("the greatest number", f32::MAX);
}

/// The dynamics effects hold audio for a time at most: they come back without a reset.
#[test]
fn what_only_turns_gains_recovers_by_itself() {
    for kind in KINDS.iter().filter(|kind| matches!(kind.id, "compressor" | "gate" | "limiter")) {
        for poison in [f32::NAN, f32::INFINITY] {
            let mut player = Player::new(kind, 48_000, 2, &kind.defaults());
            let mut heard = noise(1, 2, 48_000, 0.5);
            heard[0][1000] = poison;
            let played = player.play(&heard);
            let after = 1000 + 1 + player.latency();
            assert!(
                played.iter().all(|line| line[after..].iter().all(|sample| sample.is_finite())),
                "{}",
                kind.id
            );
        }
    }
}
