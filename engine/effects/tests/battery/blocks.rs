//! The same bits, however time is cut into blocks.

use audiocloud_effects::KINDS;
use audiocloud_effects::effect::{GRID, Transport};

use crate::bed::{Dice, Player, difference, moves, noise, settings};

const FRAMES: usize = 2000;

#[test]
fn no_bit_depends_on_the_block_size() {
    for kind in KINDS {
        for (seed, channels) in [(0, 2), (1, 1), (2, 2), (3, 2)] {
            let values = settings(kind, seed);
            let moves = moves(kind, seed + 100, 40, FRAMES);
            let input = noise(seed, channels, FRAMES, 0.9);
            let side = if kind.side_chain && seed % 2 == 0 { noise(9, 2, FRAMES, 0.9) } else { Vec::new() };
            let run = |lengths: &mut dyn FnMut() -> usize| {
                let mut player = Player::new(kind, 44_100, channels, &values);
                let transport =
                    Transport { playing: true, tempo_bpm: 133.0, position_beats: 1.5, signature: (3, 4) };
                // The same moment told in other places may differ in its last bit.
                player.transport = (seed == 0).then_some(transport);
                let mut output = input.clone();
                player.play_moving(&mut output, &side, &moves, lengths);
                output
            };
            let whole = run(&mut || GRID);
            let mut dice = Dice(seed);
            for length in [1, 17, 63] {
                let cut = run(&mut || length);
                assert_eq!(difference(&whole, &cut), None, "{} {seed}: blocks of {length}", kind.id);
            }
            let cut = run(&mut || 1 + dice.below(GRID));
            assert_eq!(difference(&whole, &cut), None, "{} {seed}: blocks of any length", kind.id);
        }
    }
}

#[test]
fn one_channel_is_the_left_of_two_alike() {
    for kind in KINDS {
        // Where the width is part of the effect, two channels differ on purpose.
        if matches!(kind.id, "chorus" | "delay" | "reverb") {
            continue;
        }
        for seed in 0..4 {
            let values = settings(kind, seed);
            let mono = noise(seed, 1, FRAMES, 0.9);
            let stereo = vec![mono[0].clone(), mono[0].clone()];
            let mono = Player::new(kind, 48_000, 1, &values).play(&mono);
            let stereo = Player::new(kind, 48_000, 2, &values).play(&stereo);
            assert_eq!(difference(&vec![mono[0].clone(); 2], &stereo), None, "{} {seed}", kind.id);
        }
    }
}
