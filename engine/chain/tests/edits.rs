//! Edits while it plays: crossfaded, aligned, late by what was promised, and nothing forgotten that stays.

mod bed;

use std::sync::Arc;

use audiocloud_chain::blob::Blob;
use audiocloud_chain::document::{Chain, Item};
use audiocloud_chain::edit::{Edit, Place};
use audiocloud_chain::error::ChainError;
use audiocloud_chain::rack::{RackAudio, RackControl, RackSetup, rack};
use audiocloud_rt::callback;
use audiocloud_rt::chain_event::ChainBody;
use bed::{Host, Shelf, add, add_at, add_parallel, bits, racked, racked_alone, set, setup, step};

/// Longer than a few crossfades of 512 frames, one after the other.
const SETTLED: usize = 4_096;

/// A steady 1 on both channels, so that whatever changes is seen.
fn steady(frames: usize) -> Host {
    Host::with(vec![vec![vec![1.0; frames]; 2]], 2)
}

fn settle(host: &mut Host, control: &mut RackControl, audio: &mut RackAudio) {
    let to = host.at + SETTLED;
    host.play(audio, to, 100, &[]);
    control.collect();
    assert!(!control.is_settling());
}

#[test]
fn edits_are_crossfaded() {
    let mut chain = Chain::default();
    let first = add(&mut chain, "clap:gain");
    let (mut control, mut audio) = racked(&chain);
    let mut host = steady(7 * SETTLED);
    let mut expected = vec![1.0];
    settle(&mut host, &mut control, &mut audio);
    let mut edit = |control: &mut RackControl, edit: Edit, then: f32| {
        let added = control.apply(&edit).unwrap();
        settle(&mut host, control, &mut audio);
        expected.push(then);
        added
    };
    edit(&mut control, Edit::Bypass(first, true), 1.0);
    let second = edit(&mut control, Edit::Add { at: Place::END, kind: "clap:gain".to_owned() }, 1.0).unwrap();
    // A parallel beside nothing: twice the level, then one branch less.
    let parallel = edit(&mut control, Edit::AddParallel { at: Place::at(1), branches: 2 }, 2.0).unwrap();
    edit(&mut control, Edit::RemoveBranch(parallel, 1), 1.0);
    edit(&mut control, Edit::Set { effect: parallel, parameter: 0, value: -96.0 }, 0.0);
    edit(&mut control, Edit::Remove(parallel), 1.0);
    assert_eq!(control.chain().effects().iter().map(|slot| slot.id).collect::<Vec<_>>(), [first, second]);
    for channel in &host.output {
        assert!(step(channel) < 0.01, "{}", step(channel));
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(channel[(index + 1) * SETTLED - 1], *expected, "after edit {index}");
        }
    }
}

#[test]
fn what_stays_goes_on_and_what_is_new_begins() {
    let mut chain = Chain::default();
    let sum = add(&mut chain, "clap:sum");
    let (mut control, mut audio) = racked(&chain);
    let mut host = steady(4 * SETTLED);
    settle(&mut host, &mut control, &mut audio);
    assert_eq!(host.output[0][SETTLED - 1], 4_096.0);
    // It moves into a branch, gets a neighbour, and still knows.
    let parallel = control.apply(&Edit::AddParallel { at: Place::at(0), branches: 1 }).unwrap().unwrap();
    control.apply(&Edit::Move { id: sum, to: Place::within(parallel, 0, 0) }).unwrap();
    control.apply(&Edit::Add { at: Place::END, kind: "clap:gain".to_owned() }).unwrap();
    settle(&mut host, &mut control, &mut audio);
    // But for the moment in which it was in neither place: it went from behind the parallel into it.
    let total = host.output[0][2 * SETTLED - 1];
    assert!(total > 7_500.0 && total < 8_192.0, "{total}");
    // Another kind under the same number is another effect.
    let mut other = control.chain().clone();
    if let Some(Item::Parallel(parallel)) = other.items.first_mut() {
        parallel.branches[0].items =
            vec![Item::Effect(audiocloud_chain::document::Slot::new(sum, "clap:gain"))];
    }
    control.set_chain(&other).unwrap();
    settle(&mut host, &mut control, &mut audio);
    assert_eq!(host.output[0][3 * SETTLED - 1], 1.0);
    control.apply(&Edit::Replace(chain)).unwrap();
    settle(&mut host, &mut control, &mut audio);
    // Anew, since the edit.
    assert_eq!(host.output[0][4 * SETTLED - 1], 4_096.0);
}

#[test]
fn documents_change_structure_and_events_change_values() {
    let mut chain = Chain::default();
    let gain = add(&mut chain, "clap:gain");
    let (mut control, mut audio) = racked(&chain);
    let mut host = steady(6 * SETTLED);
    host.call(&mut audio, SETTLED, &[(0, set(gain, 0, 0.5))]);
    chain.apply(&Edit::Set { effect: gain, parameter: 0, value: 0.125 }).unwrap();
    chain.apply(&Edit::Bypass(gain, true)).unwrap();
    control.set_chain(&chain).unwrap();
    settle(&mut host, &mut control, &mut audio);
    assert_eq!((host.output[0][2 * SETTLED - 1], control.chain()), (0.5, &chain));
    // What is new has the document's; and so has everything when the edit itself is applied.
    let mut other = Chain::default();
    add(&mut other, "clap:late:0");
    let new = add(&mut other, "clap:gain");
    other.apply(&Edit::Set { effect: new, parameter: 0, value: 0.25 }).unwrap();
    control.set_chain(&other).unwrap();
    settle(&mut host, &mut control, &mut audio);
    assert_eq!(host.output[0][3 * SETTLED - 1], 0.25);
    // Also one that the document has already.
    let to = host.at + 64;
    host.call(&mut audio, to, &[(host.at, set(new, 0, 0.5))]);
    control.apply(&Edit::Set { effect: new, parameter: 0, value: 0.25 }).unwrap();
    settle(&mut host, &mut control, &mut audio);
    assert_eq!(host.output[0][4 * SETTLED], 0.25);
    control.apply(&Edit::Set { effect: new, parameter: 0, value: 0.75 }).unwrap();
    settle(&mut host, &mut control, &mut audio);
    assert_eq!(host.output[0][5 * SETTLED], 0.75);
}

#[test]
fn branches_keep_their_levels_when_one_before_them_goes() {
    let mut chain = Chain::default();
    let parallel = add_parallel(&mut chain, 3);
    for (branch, level_db) in [(0, -96.0), (1, 0.0), (2, -20.0)] {
        chain.apply(&Edit::Set { effect: parallel, parameter: branch, value: level_db }).unwrap();
    }
    let (mut control, mut audio) = racked(&chain);
    let mut host = steady(3 * SETTLED);
    settle(&mut host, &mut control, &mut audio);
    chain.apply(&Edit::RemoveBranch(parallel, 0)).unwrap();
    control.set_chain(&chain).unwrap();
    settle(&mut host, &mut control, &mut audio);
    // A new branch is not as loud as one that was there once.
    chain.apply(&Edit::RemoveBranch(parallel, 0)).unwrap();
    chain.apply(&Edit::AddBranch(parallel)).unwrap();
    control.set_chain(&chain).unwrap();
    chain.apply(&Edit::AddBranch(parallel)).unwrap();
    control.set_chain(&chain).unwrap();
    settle(&mut host, &mut control, &mut audio);
    let heard = [1, 2, 3].map(|time| host.output[0][time * SETTLED - 1]);
    for (heard, expected) in heard.iter().zip([1.1, 1.1, 2.1]) {
        assert!((heard - expected).abs() < 1e-6, "{heard}, not {expected}");
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut chain = Chain { latency_frames: Some(100), ..Chain::default() };
    add(&mut chain, "clap:late:100");
    let (mut control, mut audio) = racked(&chain);
    let one_more = Edit::Add { at: Place::END, kind: "clap:late:1".to_owned() };
    assert_eq!(control.apply(&one_more), Err(ChainError::Latency { needed_frames: 101, frames: 100 }));
    assert_eq!(control.apply(&Edit::Remove(9)), Err(ChainError::NoItem { id: 9 }));
    let twice = Chain { items: [&chain.items[..], &chain.items[..]].concat(), ..chain.clone() };
    assert_eq!(control.set_chain(&twice), Err(ChainError::SameId { id: 0 }));
    assert_eq!((control.chain(), control.latency_frames(), control.is_settling()), (&chain, 100, false));
    let mut host = Host::new(1_000);
    host.play(&mut audio, 1_000, 64, &[]);
    assert_eq!(host.output[0][100..], host.inputs[0][0][..900]);
    let late = Chain { latency_frames: Some(99), ..chain };
    assert!(matches!(rack(&late, &setup(), Box::new(Shelf::default())), Err(ChainError::Latency { .. })));
    for (inputs, outputs, side_chain) in [(0, 2, 0), (2, 0, 0), (6, 6, 0), (2, 2, 3)] {
        let setup = RackSetup { inputs, outputs, side_chain, ..setup() };
        let refused = racked_alone(&Chain::default(), &setup).map(drop);
        assert_eq!(refused, Err(ChainError::Widths { inputs, outputs, side_chain }));
    }
}

#[test]
fn the_latency_that_was_promised_stays_through_every_edit() {
    const PROMISED: usize = 500;
    let chain = Chain { latency_frames: Some(500), ..Chain::default() };
    let (mut control, mut audio) = racked(&chain);
    let mut host = Host::new(8 * SETTLED);
    // 100 Hz, on which a click would be seen.
    for (frame, sample) in host.inputs[0][1].iter_mut().enumerate() {
        *sample = 0.5 * (frame as f32 * std::f32::consts::TAU / 480.0).sin();
    }
    // Whether sound passes through effects that stay, but at another time: then those are heard twice at once for the
    // length of the crossfade.
    let mut edits = vec![
        (Edit::Add { at: Place::END, kind: "clap:late:77".to_owned() }, false),
        (Edit::Add { at: Place::at(0), kind: "clap:late:400".to_owned() }, true),
        (Edit::Bypass(0, true), false),
        (Edit::Move { id: 1, to: Place::END }, true),
        (Edit::Remove(0), true),
        (Edit::Add { at: Place::END, kind: "clap:late:100".to_owned() }, false),
        (Edit::Remove(1), true),
    ]
    .into_iter();
    let mut may_differ = false;
    loop {
        let from = host.at.max(PROMISED);
        settle(&mut host, &mut control, &mut audio);
        assert_eq!((control.latency_frames(), audio.latency_frames()), (500, 500));
        for (output, input) in host.output.iter().zip(&host.inputs[0]) {
            let differs = |at: &usize| (output[*at] - input[at - PROMISED]).abs() > 1e-6;
            let last = (from..host.at).rfind(differs);
            assert!(last.is_none_or(|last| may_differ && last < host.at - 1_000), "{last:?} of {}", host.at);
        }
        match edits.next() {
            Some((edit, differs)) => {
                control.apply(&edit).unwrap();
                may_differ = differs;
            }
            None => break,
        }
    }
    assert_eq!(control.report().needed_frames, 100);
    assert!(host.output[0][..PROMISED].iter().all(|sample| *sample == 0.0));
    assert!(step(&host.output[1]) < 0.02, "{}", step(&host.output[1]));
}

#[test]
fn bypass_is_null_and_keeps_the_latency() {
    for kind in audiocloud_effects::KINDS {
        let mut chain = Chain::default();
        let effect = add(&mut chain, kind.id);
        chain.apply(&Edit::Bypass(effect, true)).unwrap();
        let (control, mut audio) = racked_alone(&chain, &setup()).unwrap();
        let latency = control.latency_frames() as usize;
        let mut host = Host::new(3_000);
        host.play(&mut audio, 3_000, 93, &[]);
        for (output, input) in host.output.iter().zip(&host.inputs[0]) {
            assert!(output[latency..] == input[..3_000 - latency], "{}", kind.id);
        }
    }
}

#[test]
fn bypassing_while_it_plays_comes_to_the_same() {
    let mut chain = Chain::default();
    let late = add(&mut chain, "clap:late:200");
    let sum = add(&mut chain, "clap:gain");
    chain.apply(&Edit::Set { effect: sum, parameter: 0, value: -1.0 }).unwrap();
    let (mut control, mut audio) = racked(&chain);
    let mut host = steady(4 * SETTLED);
    let bypass = |effect, on| ChainBody::Bypass { effect, on };
    let events = [
        (1_000, bypass(late, true)),
        (1_001, bypass(sum, true)),
        (2_222, bypass(sum, false)),
        (2_223, bypass(late, false)),
    ];
    host.play(&mut audio, 4 * SETTLED, 99, &events);
    control.collect();
    assert_eq!(audio.latency_frames(), 200);
    let output = &host.output[0];
    assert_eq!((output[999], output[2_200], output[4 * SETTLED - 1]), (-1.0, 1.0, -1.0));
    assert!(step(&output[201..]) < 0.01);
}

#[test]
fn branches_are_aligned_to_the_sample() {
    let mut chain = Chain::default();
    let parallel = add_parallel(&mut chain, 3);
    for (branch, kind) in [(0, "clap:late:777"), (0, "clap:late:100"), (1, "clap:late:5"), (1, "clap:gain")] {
        add_at(&mut chain, Place::within(parallel, branch, 9), kind);
    }
    let gain = chain.next_id - 1;
    chain.apply(&Edit::Set { effect: gain, parameter: 0, value: -2.0 }).unwrap();
    let (control, mut audio) = racked(&chain);
    assert_eq!(control.latency_frames(), 877);
    let mut host = Host::new(4_000);
    host.play(&mut audio, 4_000, 100, &[]);
    // 1 − 2 + 1.
    assert!(host.output[0].iter().all(|sample| *sample == 0.0));
    let (_control, mut audio) = racked(&{
        chain.apply(&Edit::Set { effect: parallel, parameter: 1, value: -96.0 }).unwrap();
        chain
    });
    let mut host = Host::new(4_000);
    host.play(&mut audio, 4_000, 100, &[]);
    let doubled = host.inputs[0][0].iter().map(|sample| 2.0 * sample);
    assert!(host.output[0][877..].iter().copied().eq(doubled.take(4_000 - 877)));
}

#[test]
fn edits_wait_for_a_host_that_does_not_call() {
    let (mut control, mut audio) = racked(&Chain::default());
    for _ in 0..40 {
        control.apply(&Edit::Add { at: Place::END, kind: "clap:gain".to_owned() }).unwrap();
    }
    for effect in 0..40 {
        control.apply(&Edit::Set { effect, parameter: 0, value: -1.0 }).unwrap();
    }
    control.apply(&Edit::Remove(39)).unwrap();
    assert!(control.is_settling());
    let mut host = steady(10 * SETTLED);
    while control.is_settling() {
        let to = host.at + 64;
        host.play(&mut audio, to, 64, &[]);
        control.collect();
    }
    assert_eq!(host.output[0][host.at - 1], -1.0);
    // All of them are known to events now.
    let before = control.report().events_refused;
    let events: Vec<_> = (0..39).map(|effect| (host.at, set(effect, 0, 1.0))).collect();
    host.call(&mut audio, 10 * SETTLED, &events);
    assert_eq!((host.output[0][10 * SETTLED - 1], control.report().events_refused), (1.0, before));
}

#[test]
fn a_reset_takes_what_waits_without_a_crossfade() {
    let mut chain = Chain::default();
    let gain = add(&mut chain, "clap:gain");
    let (mut control, mut audio) = racked(&chain);
    let mut host = steady(300);
    host.play(&mut audio, 100, 100, &[(99, bed::ramp(gain, 0, 0.5, 10_000))]);
    control.apply(&Edit::Add { at: Place::END, kind: "clap:gain".to_owned() }).unwrap();
    control.apply(&Edit::Set { effect: 1, parameter: 0, value: -1.0 }).unwrap();
    callback::enter(|callback| audio.reset(callback));
    host.play(&mut audio, 300, 100, &[]);
    // The ramp is where it was going.
    assert!(host.output[0][100..].iter().all(|sample| *sample == -0.5));
}

#[test]
fn what_cannot_be_had_passes_and_is_named() {
    let mut chain = Chain::default();
    let plate = add(&mut chain, "clap:org.example.plate");
    let gain = add(&mut chain, "clap:gain");
    let mut newer = chain.clone();
    if let Some(Item::Effect(slot)) = newer.items.last_mut() {
        slot.kind = "effect-of-the-future".to_owned();
    }
    let (mut control, mut audio) = racked_alone(&newer, &setup()).unwrap();
    let mut host = Host::new(1_000);
    host.play(&mut audio, 1_000, 64, &[]);
    assert!(bits(&host.output) == bits(&host.inputs[0]));
    let report = control.report();
    let words: Vec<String> = report.effects.iter().filter_map(|effect| effect.words.clone()).collect();
    assert!(report.effects.iter().all(|effect| effect.is_missing));
    assert!(words[0].contains("“org.example.plate” is not on this machine"), "{words:?}");
    assert!(words[1].contains("no effect of this version"), "{words:?}");
    // Where there are others, those are there.
    let (mut control, _audio) = racked(&chain);
    let report = control.report();
    let missing: Vec<(u32, bool)> =
        report.effects.iter().map(|effect| (effect.id, effect.is_missing)).collect();
    assert_eq!(missing, [(plate, true), (gain, false)]);
    assert_eq!(report.effects[1].words.as_deref(), Some("toy 1"));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<audiocloud_chain::rack::RackReport>(&json).unwrap(), report);
}

#[test]
fn foreign_effects_are_made_once_and_told_of_their_states() {
    for takes_states in [true, false] {
        let shelf = Shelf { takes_states, ..Shelf::default() };
        let (made, left) = (Arc::clone(&shelf.made), Arc::clone(&shelf.left));
        let mut chain = Chain::default();
        let effect = add(&mut chain, "clap:sum");
        let (mut control, _audio) = rack(&chain, &setup(), Box::new(shelf)).unwrap();
        control.apply(&Edit::Add { at: Place::at(0), kind: "clap:gain".to_owned() }).unwrap();
        control.apply(&Edit::SetState(effect, Some(Blob::new(b"one")))).unwrap();
        control.apply(&Edit::Rename(effect, "Total".to_owned())).unwrap();
        control.reload(effect).unwrap();
        let anew: &[u32] = if takes_states { &[0, 1, 0] } else { &[0, 1, 0, 0] };
        assert_eq!(*made.lock().unwrap(), anew);
        assert!(left.lock().unwrap().is_empty());
        control.apply(&Edit::Remove(effect)).unwrap();
        assert_eq!(*left.lock().unwrap(), [effect]);
    }
}

#[test]
fn what_a_refused_edit_made_or_asked_for_is_undone() {
    let shelf = Shelf { takes_states: true, ..Shelf::default() };
    let (made, left, stated) = (Arc::clone(&shelf.made), Arc::clone(&shelf.left), Arc::clone(&shelf.stated));
    let mut chain = Chain { latency_frames: Some(100), ..Chain::default() };
    let effect = add(&mut chain, "clap:late:100");
    let (mut control, _audio) = rack(&chain, &setup(), Box::new(shelf)).unwrap();
    let new = add(&mut chain, "clap:late:1");
    chain.apply(&Edit::SetState(effect, Some(Blob::new(b"one")))).unwrap();
    assert!(matches!(control.set_chain(&chain), Err(ChainError::Latency { .. })));
    assert_eq!((&*made.lock().unwrap(), &*left.lock().unwrap()), (&vec![effect, new], &vec![new]));
    assert!(stated.lock().unwrap().is_empty());
    chain.apply(&Edit::Remove(new)).unwrap();
    control.set_chain(&chain).unwrap();
    assert_eq!(*stated.lock().unwrap(), [effect]);
}

#[test]
fn one_that_is_later_than_before_is_made_anew_where_there_is_room() {
    let shelf = Shelf::default();
    let (refused, left) = (Arc::clone(&shelf.refused), Arc::clone(&shelf.left));
    let later_frames = Arc::clone(&shelf.later_frames);
    let mut chain = Chain { latency_frames: Some(100), ..Chain::default() };
    let effect = add(&mut chain, "clap:late:60");
    let (mut control, mut audio) = rack(&chain, &setup(), Box::new(shelf)).unwrap();
    *later_frames.lock().unwrap() = 50;
    assert!(matches!(control.reload(effect), Err(ChainError::Latency { needed_frames: 110, frames: 100 })));
    assert_eq!((&refused.lock().unwrap()[..], left.lock().unwrap().len()), (&[effect][..], 0));
    let latencies =
        |report: audiocloud_chain::rack::RackReport| (report.needed_frames, report.latency_frames);
    assert_eq!(latencies(control.report()), (60, 100), "what plays stays");
    *later_frames.lock().unwrap() = 40;
    control.reload(effect).unwrap();
    let mut host = steady(SETTLED);
    settle(&mut host, &mut control, &mut audio);
    assert_eq!(latencies(control.report()), (100, 100));
    assert_eq!(refused.lock().unwrap().len(), 1);
}

#[test]
fn what_is_not_sound_is_muted_counted_and_named() {
    let mut chain = Chain::default();
    let bad = add(&mut chain, "clap:bad");
    chain.apply(&Edit::Rename(bad, "Broken".to_owned())).unwrap();
    let (mut control, mut audio) = racked(&chain);
    let mut host = Host::new(640);
    host.play(&mut audio, 640, 64, &[]);
    assert!(host.output.iter().flatten().all(|sample| *sample == 0.0));
    let report = control.report();
    assert_eq!((report.not_finite, report.effects[0].not_finite), (10, 8));
    assert!(report.words.iter().any(|words| words.starts_with("“Broken” made something")), "{report:?}");
    assert!(control.report().words.is_empty());
}

#[test]
fn the_load_of_each_effect_is_told() {
    let mut chain = Chain::default();
    for _ in 0..20 {
        add(&mut chain, "clap:gain");
    }
    let (mut control, mut audio) = racked(&chain);
    let mut host = Host::new(48_000 * 6 / 5);
    host.offline = false;
    host.play(&mut audio, 48_000 * 6 / 5, 1_024, &[]);
    let report = control.report();
    let known = report.effects.iter().filter(|effect| effect.load.is_some_and(|(average, _)| average > 0.0));
    assert_eq!(known.count(), 14);
    assert!(report.load.blocks > 40 && report.load.peak > 0.0, "{:?}", report.load);
}
