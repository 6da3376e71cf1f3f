//! What each effect makes of a signal, as a number: the same in every build, optimised or not, and with any instructions
//! of the architecture. A change here is a change of sound in people's projects: then, and only if it is meant, the number
//! is changed too.
#![cfg(target_arch = "x86_64")]

use audiocloud_effects::KINDS;
use audiocloud_rt::callback;

use crate::bed::{Dice, Player, moves, noise, settings};

const GOLDEN: &[(&str, u64)] = &[
    ("eq", 0xec39_12fb_3b3b_0bd7),
    ("compressor", 0x0cd4_6411_3b4e_776c),
    ("gate", 0xbaf5_97d9_1412_ac06),
    ("limiter", 0xfc9b_140f_b46f_a6ab),
    ("chorus", 0x31b6_fa9d_eb3c_6bdc),
    ("delay", 0xd1a7_5665_2349_3a33),
    ("reverb", 0x610f_22fa_ebca_a004),
    ("distortion", 0x7b47_3400_b9be_92e2),
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
