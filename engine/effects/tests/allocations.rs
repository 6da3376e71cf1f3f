//! No effect touches the heap, takes a lock or calls the system while it plays; under RealtimeSanitizer (feature
//! `rtsan`) the process ends where one does.
#![allow(clippy::cast_possible_truncation, reason = "signals are computed in doubles and played in singles")]

mod bed;

use audiocloud_effects::KINDS;
use audiocloud_effects::effect::Transport;
use audiocloud_rt::{callback, trap};
use bed::{Dice, Player, RATES, moves, noise, settings};

#[global_allocator]
static TRAP: trap::Allocator = trap::Allocator;

const FRAMES: usize = 6000;

/// All in one function: the count is the process's.
#[test]
fn callbacks_leave_the_heap_alone() {
    // RealtimeSanitizer would end the process here, as its own tests in the graph's crate show.
    if !cfg!(feature = "rtsan") {
        let before = trap::violations();
        callback::enter(|_| drop(std::hint::black_box(Box::new(1))));
        assert_eq!(trap::violations() - before, 2, "the trap counts");
    }
    let before = trap::violations();
    for kind in KINDS {
        for (seed, rate) in (0..).zip(RATES) {
            for channels in [1, 2] {
                let mut player = Player::new(kind, rate, channels, &settings(kind, seed));
                player.transport = (seed % 2 == 0).then_some(Transport {
                    playing: true,
                    tempo_bpm: 97.0,
                    position_beats: -3.0,
                    signature: (7, 8),
                });
                let mut signal = noise(seed, channels, FRAMES, 1.0);
                signal[0][FRAMES / 2] = f32::NAN;
                let side = noise(seed, if kind.side_chain { 2 } else { 0 }, FRAMES, 1.0);
                let moves = moves(kind, seed, 200, FRAMES);
                let mut dice = Dice(seed);
                callback::enter(|_| {
                    player.play_moving(&mut signal, &side, &moves, &mut || 1 + dice.below(64));
                    player.effect.set_oversampling(false);
                    player.play_in(&mut signal, &side, &mut || 64);
                    player.effect.set_oversampling(true);
                    player.reset();
                    player.play_in(&mut signal, &side, &mut || 64);
                });
                assert_eq!(trap::violations() - before, 0, "{}", kind.id);
            }
        }
    }
}
