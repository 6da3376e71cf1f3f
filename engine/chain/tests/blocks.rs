//! A document plays the same bits wherever it runs: in blocks of any length, in every rack of it, and after a reset.

mod bed;

use audiocloud_chain::document::Chain;
use audiocloud_chain::edit::{Edit, Place};
use audiocloud_chain::rack::{RackAudio, RackControl};
use audiocloud_effects::effect::Tail;
use audiocloud_rt::callback;
use audiocloud_rt::chain_event::ChainBody;
use bed::author::{Author, Random};
use bed::{BLOCKS, Host, add, add_at, add_parallel, bits, racked, ramp, rolling, set, told};

const FRAMES: usize = 6_000;

/// Every effect that there is, half of them in a row and half in branches beside a delay and a dry path.
fn everything() -> Chain {
    let mut chain = Chain::default();
    let kinds = audiocloud_effects::KINDS;
    let (row, side) = kinds.split_at(kinds.len() / 2);
    for kind in row {
        add(&mut chain, kind.id);
    }
    let parallel = add_parallel(&mut chain, 4);
    for (branch, kind) in (0..).zip(side) {
        add_at(&mut chain, Place::within(parallel, branch % 2, 0), kind.id);
    }
    add_at(&mut chain, Place::within(parallel, 2, 0), "clap:late:77");
    for branch in 0..4_u16 {
        let (parameter, value) = (u32::from(branch), -3.0 * f32::from(branch + 1));
        chain.apply(&Edit::Set { effect: parallel, parameter, value }).unwrap();
    }
    add(&mut chain, "clap:gain");
    chain
}

/// Something happens to every parameter, off the grid, with and without ramps; effects are bypassed and come back; and the
/// host's song moves.
fn score(chain: &Chain) -> Vec<(usize, ChainBody)> {
    let mut score = vec![(0, told(rolling(-1.0))), (1_111, told(rolling(3.5))), (3_333, told(rolling(0.25)))];
    let mut at = 10;
    let mut then = |body| {
        score.push((at % FRAMES, body));
        at += 37;
    };
    for slot in chain.effects() {
        let Some(kind) = slot.effect_kind() else { continue };
        for (index, parameter) in kind.parameters.iter().enumerate() {
            let value = parameter.plain(if index % 2 == 0 { 0.3 } else { 0.6 });
            then(match index % 3 {
                0 => set(slot.id, parameter.id, value),
                1 => ramp(slot.id, parameter.id, value, 500),
                _ => ramp(slot.id, parameter.id, value, 0),
            });
        }
        then(ChainBody::Bypass { effect: slot.id, on: true });
        then(ChainBody::Bypass { effect: slot.id, on: false });
    }
    let (gain, parallel) = (chain.next_id - 1, audiocloud_effects::KINDS.len() / 2);
    then(ramp(gain, 0, 0.25, 1_001));
    then(set(u32::try_from(parallel).unwrap(), 3, -30.0));
    score.sort_by_key(|(at, _)| *at);
    score
}

fn heard(chain: &Chain, block: usize) -> Vec<Vec<u32>> {
    let (_control, mut audio) = racked(chain);
    let mut host = Host::new(FRAMES);
    host.play(&mut audio, FRAMES, block, &score(chain));
    bits(&host.output)
}

#[test]
fn blocks_of_any_length_make_no_difference() {
    let chain = everything();
    let first = heard(&chain, BLOCKS[0]);
    assert!(first[0].iter().any(|sample| *sample << 1 != 0) && first[0] != first[1]);
    for block in BLOCKS {
        assert!(heard(&chain, block) == first, "another sound in blocks of {block}");
    }
}

#[test]
fn a_document_that_travelled_plays_the_same() {
    let chain = everything();
    let travelled = Chain::from_json(&chain.to_json()).unwrap();
    assert!(heard(&travelled, 128) == heard(&chain, 333));
}

fn reset(audio: &mut RackAudio, position: u64) {
    callback::enter(|callback| audio.reset_at(callback, position));
}

/// What both hear from frame `from` of their hosts on is the same.
fn alike(one: (&mut RackAudio, usize), other: (&mut RackAudio, usize), score: &[(usize, ChainBody)]) {
    let play = |(audio, block): (&mut RackAudio, usize)| {
        let mut host = Host::new(FRAMES);
        host.play(audio, FRAMES, block, score);
        bits(&host.output)
    };
    let (one, other) = (play(one), play(other));
    for (one, other) in one.iter().zip(&other) {
        let first = one.iter().zip(other).position(|(one, other)| one != other);
        assert_eq!(first, None, "the first frame that differs");
    }
}

#[test]
fn after_a_reset_it_is_as_new() {
    let chain = everything();
    let (_control, mut used) = racked(&chain);
    // Notes, sound and a song that moves, but no values.
    let song = [(100, told(rolling(7.0)))];
    Host::new(1_000).play(&mut used, 1_000, 99, &song);
    reset(&mut used, 0);
    let (_other_control, mut new) = racked(&chain);
    alike((&mut used, 64), (&mut new, 100), &score(&chain));
}

/// A node takes over in mid-stream: it begins at the next multiple of 64, where the other one is reset.
#[test]
fn a_rack_that_begins_later_is_like_one_that_is_reset_there() {
    let chain = everything();
    let ((_control, mut one), (_other_control, mut other)) = (racked(&chain), racked(&chain));
    Host::new(1_000).play(&mut one, 1_000, 77, &[]);
    reset(&mut one, 64 * 1_000);
    reset(&mut other, 64 * 1_000);
    alike((&mut one, 128), (&mut other, 47), &score(&chain));
}

/// Ways in which somebody may have come to the same document.
#[test]
fn the_way_to_a_document_is_not_heard_after_a_reset() {
    let chain = everything();
    let (mut control, mut audio) = racked(&Chain::default());
    let mut host = Host::new(FRAMES);
    let mut play = |control: &mut RackControl, audio: &mut RackAudio| {
        let to = host.at + 300;
        host.play(audio, to, 60, &[]);
        control.collect();
    };
    // Backwards, so that everything is in other slots of the graph, and with detours.
    let mut steps = chain.clone();
    while let Some(item) = steps.items.first().map(audiocloud_chain::document::Item::id) {
        steps.apply(&Edit::Remove(item)).unwrap();
        control.set_chain(&steps).unwrap();
        play(&mut control, &mut audio);
    }
    control.set_chain(&chain).unwrap();
    play(&mut control, &mut audio);
    control.apply(&Edit::Remove(chain.items[0].id())).unwrap();
    play(&mut control, &mut audio);
    // This one is on its way at the reset.
    control.set_chain(&chain).unwrap();
    reset(&mut audio, 0);
    let (_new_control, mut new) = racked(&chain);
    alike((&mut audio, 50), (&mut new, 60), &score(&chain));
}

#[test]
fn after_a_reset_only_the_document_is_heard_whatever_was_done_to_come_to_it() {
    for seed in 1..=6 {
        let mut author = Author { random: Random(seed) };
        let (mut control, mut audio) = racked(&Chain::default());
        let mut host = Host::new(4_000);
        for _ in 0..40 {
            // What does not suit is refused, and leaves everything as it was.
            let edit = author.edit(control.chain());
            control.apply(&edit).ok();
            let to = host.at + 90;
            host.play(&mut audio, to, 64, &[]);
        }
        // Where many edits come at once the last ones wait for the first; the rest the reset takes.
        let mut resets = 0;
        while control.is_settling() {
            reset(&mut audio, 0);
            control.collect();
            resets += 1;
            assert!(resets < 20, "it does not settle");
        }
        let chain = control.chain().clone();
        reset(&mut audio, 0);
        let (_new_control, mut new) = racked(&chain);
        let play = |audio: &mut RackAudio, block| {
            let mut host = Host::new(2_000);
            host.play(audio, 2_000, block, &[]);
            bits(&host.output)
        };
        assert!(play(&mut audio, 64) == play(&mut new, 81), "seed {seed}: {chain:?}");
    }
}

#[test]
fn mono_and_stereo_go_into_each_other() {
    let mut chain = Chain::default();
    add(&mut chain, "clap:gain");
    let play = |inputs: usize, outputs: u16| {
        let mut setup = bed::setup();
        (setup.inputs, setup.outputs) = (u16::try_from(inputs).unwrap(), outputs);
        let (_control, mut audio) =
            audiocloud_chain::rack::rack(&chain, &setup, Box::new(bed::Shelf::default())).unwrap();
        let input = [vec![0.5; 200], vec![0.25; 200]][..inputs].to_vec();
        let mut host = Host::with(vec![input], usize::from(outputs));
        host.play(&mut audio, 200, 64, &[]);
        host.output.iter().map(|channel| channel[150]).collect::<Vec<f32>>()
    };
    assert_eq!(play(1, 1), [0.5]);
    assert_eq!(play(1, 2), [0.5, 0.5]);
    assert_eq!(play(2, 1), [0.375]);
    assert_eq!(play(2, 2), [0.5, 0.25]);
}

#[test]
fn an_empty_chain_is_a_wire() {
    let (control, mut audio) = racked(&Chain::default());
    let mut host = Host::new(1_000);
    host.play(&mut audio, 1_000, 100, &[]);
    assert!(bits(&host.output) == bits(&host.inputs[0]));
    assert_eq!((control.latency_frames(), control.tail()), (0, Tail::Frames(0)));
}
