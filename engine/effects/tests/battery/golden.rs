//! What each effect makes of a signal, as a number: the same on every machine and in every build, optimised or not. A
//! change here is a change of sound in people's projects: then, and only if it is meant, the number is changed too.

use audiocloud_effects::KINDS;
use audiocloud_rt::callback;

use crate::bed::{Dice, Player, moves, noise, settings};

const GOLDEN: &[(&str, u64)] = &[
    ("eq", 0x0a77_c775_8ed7_711f),
    ("compressor", 0xa0ef_12a1_d7f4_519d),
    ("gate", 0xafa6_bbd5_ce5b_1faf),
    ("limiter", 0xfc9b_140f_b46f_a6ab),
    ("chorus", 0x2108_f384_6141_2ecf),
    ("delay", 0x6063_f267_dcec_3690),
    ("reverb", 0x3437_cb69_207d_50aa),
    ("distortion", 0x2302_a87a_0ece_4c65),
];

/// FNV-1a, by Glenn Fowler, Landon Curt Noll and Kiem-Phong Vo, over the bits of the samples.
fn hash(hash: u64, samples: &[f32]) -> u64 {
    let bytes = samples.iter().flat_map(|sample| sample.to_bits().to_le_bytes());
    bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn every_build_makes_the_same_bits() {
    let mut found = Vec::new();
    for kind in KINDS {
        let mut sum = 0xcbf2_9ce4_8422_2325;
        for (seed, rate) in [(0, 48_000), (1, 44_100), (2, 96_000)] {
            let mut player = Player::new(kind, rate, 2, &settings(kind, seed));
            let mut signal = noise(seed, 2, 6000, 0.8);
            let side = noise(9, if kind.side_chain { 2 } else { 0 }, 6000, 0.8);
            let moves = moves(kind, seed, 20, 6000);
            let mut dice = Dice(seed);
            callback::enter(|_| player.play_moving(&mut signal, &side, &moves, &mut || 1 + dice.below(64)));
            sum = signal.iter().fold(sum, |sum, line| hash(sum, line));
        }
        found.push((kind.id, sum));
    }
    let hex = |(id, sum): &(&str, u64)| format!("{id} {sum:#x}");
    assert_eq!(found.iter().map(hex).collect::<Vec<_>>(), GOLDEN.iter().map(hex).collect::<Vec<_>>());
}
