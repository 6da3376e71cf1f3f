//! Events happen at their frame, wherever the effect is.

mod bed;

use audiocloud_chain::document::Chain;
use audiocloud_chain::edit::{Edit, Place};
use audiocloud_chain::rack::{RackAudio, RackCall, RackControl, rack};
use audiocloud_graph::event::Body;
use audiocloud_rt::callback;
use audiocloud_rt::chain_event::ChainBody;
use audiocloud_rt::event::{self, NoteAddress};
use bed::{BLOCKS, Host, Seen, Shelf, add, add_at, add_parallel, racked, ramp, rolling, set, setup, told};

fn steady(frames: usize) -> Host {
    Host::with(vec![vec![vec![1.0; frames]; 2]], 2)
}

#[test]
fn a_value_is_set_at_its_frame_even_behind_latency() {
    let mut chain = Chain::default();
    add(&mut chain, "clap:late:333");
    let gain = add(&mut chain, "clap:gain");
    for block in BLOCKS {
        let (_control, mut audio) = racked(&chain);
        let mut host = steady(2_000);
        host.play(&mut audio, 2_000, block, &[(777, set(gain, 0, 2.0)), (778, set(gain, 0, 3.0))]);
        // The frame that came in at 777 comes out at 777 + 333.
        let output = &host.output[1][333..];
        assert!(output[..777].iter().all(|sample| *sample == 1.0), "{block}");
        assert_eq!(output[777], 2.0);
        assert!(output[778..].iter().all(|sample| *sample == 3.0));
    }
}

#[test]
fn a_ramp_is_the_expected_line_to_the_sample() {
    let mut chain = Chain::default();
    let gain = add(&mut chain, "clap:gain");
    for block in BLOCKS {
        let (_control, mut audio) = racked(&chain);
        let mut host = steady(3_000);
        host.play(&mut audio, 3_000, block, &[(101, ramp(gain, 0, 3.0, 1_024))]);
        for (frame, sample) in host.output[0].iter().enumerate() {
            // 2/1024 is exact, and so is every sum.
            let expected = 1.0 + frame.saturating_sub(101).min(1_024) as f32 / 512.0;
            assert_eq!(*sample, expected, "frame {frame} in blocks of {block}");
        }
    }
}

#[test]
fn a_branch_level_goes_in_decibels_to_the_factor() {
    let mut chain = Chain::default();
    let parallel = add_parallel(&mut chain, 2);
    add_at(&mut chain, Place::within(parallel, 0, 0), "clap:late:50");
    let (_control, mut audio) = racked(&chain);
    let mut host = steady(1_000);
    let events = [(100, ramp(parallel, 1, -20.0, 0)), (200, ramp(parallel, 0, -96.0, 0))];
    host.play(&mut audio, 1_000, 37, &events);
    let output = &host.output[0][50..];
    assert_eq!((output[99], output[199]), (2.0, 1.1));
    assert!((output[200] - 0.1).abs() < 1e-7 && output[100] == 1.1);
}

fn probed(chain: &Chain) -> (RackControl, RackAudio, Seen) {
    let shelf = Shelf::default();
    let seen = Seen::clone(&shelf.seen);
    seen.lock().unwrap().reserve(1_000);
    let (control, audio) = rack(chain, &setup(), Box::new(shelf)).unwrap();
    (control, audio, seen)
}

fn note_on(key: i16) -> event::Body {
    let note = NoteAddress { note_id: -1, port: 0, channel: 0, key };
    event::Body::NoteOn { note, velocity: 0.5 }
}

#[test]
fn notes_reach_foreign_effects_with_their_audio_and_leave_again() {
    let mut chain = Chain::default();
    add(&mut chain, "clap:late:100");
    add(&mut chain, "clap:probe");
    add(&mut chain, "clap:late:70");
    for block in BLOCKS {
        let (_control, mut audio, seen) = probed(&chain);
        let mut host = Host::new(1_000);
        let notes: Vec<(usize, ChainBody)> =
            [(0, 60), (63, 61), (500, 62)].map(|(at, key)| (at, ChainBody::Voice(note_on(key)))).to_vec();
        host.play(&mut audio, 1_000, block, &notes);
        let heard: Vec<(u64, Body)> =
            seen.lock().unwrap().iter().filter(|(_, body)| matches!(body, Body::Voice(_))).copied().collect();
        let expected = [(100, 60), (163, 61), (600, 62)];
        assert_eq!(heard, expected.map(|(at, key)| (at, Body::Voice(note_on(key)))));
        let left = [(170, 60), (233, 61), (670, 62)];
        assert_eq!(host.events, left.map(|(at, key)| (at, Body::Voice(note_on(key)))), "{block}");
    }
}

#[test]
fn the_song_is_where_it_is_said_to_be_from_that_very_frame_on() {
    let mut chain = Chain::default();
    add(&mut chain, "clap:probe");
    let mut last = Vec::new();
    for block in BLOCKS {
        let (_control, mut audio, seen) = probed(&chain);
        let mut host = Host::new(2_000);
        let events = [
            (100, told(rolling(8.0))),
            (101, told(rolling(4.0))),
            (101, told(rolling(2.0))),
            (1_500, told(rolling(-1.0))),
        ];
        host.play(&mut audio, 2_000, block, &events);
        let seen: Vec<(u64, f64, bool)> = seen
            .lock()
            .unwrap()
            .iter()
            .filter_map(|(at, body)| match body {
                Body::Transport(transport) => Some((*at, transport.position_beats, transport.playing)),
                _ => None,
            })
            .collect();
        for (at, beats, playing) in &seen {
            // 24 000 frames make a beat.
            let since = |from: u64, begin: f64| begin + (at - from) as f64 / 24_000.0;
            let expected = match at {
                0..101 => 0.0,
                101..1_500 => since(101, 2.0),
                _ => since(1_500, -1.0),
            };
            assert!((beats - expected).abs() < 1e-12 && *playing == (*at > 101), "{at}: {beats}, {expected}");
        }
        assert_eq!(seen.len(), 32);
        if !last.is_empty() {
            assert_eq!(seen, last, "in blocks of {block}");
        }
        last = seen;
    }
}

#[test]
fn a_reset_forgets_where_the_song_was() {
    let mut chain = Chain::default();
    add(&mut chain, "clap:probe");
    let (_control, mut audio, seen) = probed(&chain);
    let mut host = Host::new(200);
    host.play(&mut audio, 100, 100, &[(0, told(rolling(8.0)))]);
    callback::enter(|callback| audio.reset_at(callback, 6_400));
    host.play(&mut audio, 200, 100, &[]);
    let seen = seen.lock().unwrap();
    let Some((6_464, Body::Transport(transport))) = seen.last() else { panic!("{seen:?}") };
    assert_eq!((transport.playing, transport.position_beats), (false, 0.0));
}

#[test]
fn what_is_for_nobody_or_makes_no_sense_is_counted_and_harms_nothing() {
    let mut chain = Chain::default();
    let gain = add(&mut chain, "clap:gain");
    let parallel = add_parallel(&mut chain, 1);
    let (mut control, mut audio) = racked(&chain);
    let mut host = steady(1_000);
    let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let mut events: Vec<(usize, ChainBody)> =
        vec![(5, set(99, 0, 2.0)), (6, ChainBody::Bypass { effect: 99, on: true })];
    events.extend(bad.map(|value| (7, set(gain, 0, value))));
    events.extend(bad.map(|value| (7, set(parallel, 0, value))));
    // There are no such parameters: the effect itself passes over them.
    events.extend([(8, set(gain, 7, 0.0)), (8, set(parallel, 8, -96.0))]);
    host.play(&mut audio, 1_000, 100, &events);
    assert!(host.output[0].iter().all(|sample| *sample == 1.0));
    assert_eq!(control.report().events_refused, 8);
}

#[test]
fn more_events_than_there_is_room_for_are_counted() {
    let mut chain = Chain::default();
    let gain = add(&mut chain, "clap:gain");
    let (mut control, mut audio) = racked(&chain);
    let mut host = steady(200);
    let events = vec![(3, set(gain, 0, 2.0)); 5_000];
    host.call(&mut audio, 200, &events);
    assert_eq!((control.report().events_refused, host.output[0][199]), (904, 2.0));
}

#[test]
fn events_out_of_order_or_beyond_the_block_happen_in_it() {
    let mut chain = Chain::default();
    let gain = add(&mut chain, "clap:gain");
    let (_control, mut audio) = racked(&chain);
    let mut host = steady(200);
    let song = told(rolling(0.0));
    let events = [(50, song), (10, set(gain, 0, 2.0)), (7_777, song), (9_999, set(gain, 0, 4.0))];
    callback::enter(|callback| {
        let call = RackCall { callback, offline: true, transport: None, events: &events };
        audio.process(&call, 100, &mut host);
    });
    let output = &host.output[0];
    assert_eq!((output[49], output[50], output[98], output[99]), (1.0, 2.0, 2.0, 4.0));
}

#[test]
fn every_parameter_of_every_effect_can_be_moved() {
    for kind in audiocloud_effects::KINDS {
        let mut chain = Chain::default();
        let effect = add(&mut chain, kind.id);
        let (mut control, mut audio) = racked(&chain);
        let mut host = Host::new(1_500);
        let mut events = Vec::new();
        for (index, parameter) in kind.parameters.iter().enumerate() {
            let (low, high) = parameter.bounds();
            events.push((7 * index % 700, ramp(effect, parameter.id, low, 300)));
            events.push((750 + 7 * index % 700, set(effect, parameter.id, high)));
        }
        events.sort_by_key(|(at, _)| *at);
        host.play(&mut audio, 1_500, 111, &events);
        assert!(host.output.iter().flatten().all(|sample| sample.is_finite()), "{}", kind.id);
        let report = control.report();
        assert_eq!((report.events_refused, report.not_finite), (0, 0), "{}", kind.id);
    }
}

#[test]
fn what_is_listened_to_is_as_late_as_what_is_heard() {
    const BURST: usize = 500;
    let setup = audiocloud_chain::rack::RackSetup { side_chain: 2, ..setup() };
    let mut listeners = 0;
    for kind in audiocloud_effects::KINDS.iter().filter(|kind| kind.side_chain) {
        let mut chain = Chain::default();
        add(&mut chain, "clap:late:200");
        let effect = add(&mut chain, kind.id);
        let key = kind.parameters.iter().find(|parameter| parameter.name == "Key").unwrap();
        let value = key.from_text("Side-chain").unwrap();
        chain.apply(&Edit::Set { effect, parameter: key.id, value }).unwrap();
        let play = |loud: f32, block: usize| {
            let (control, mut audio) = rack(&chain, &setup, Box::new(Shelf::default())).unwrap();
            let mut other = vec![vec![0.0; 2_000]; 2];
            other.iter_mut().for_each(|channel| channel[BURST..].fill(loud));
            let mut host = Host::with(vec![vec![vec![0.5; 2_000]; 2], other], 2);
            host.play(&mut audio, 2_000, block, &[]);
            (bed::bits(&host.output), control.latency_frames() as usize)
        };
        let ((quiet, latency), (loud, _)) = (play(0.0, 64), play(1.0, 64));
        let first = quiet[0].iter().zip(&loud[0]).position(|(quiet, loud)| quiet != loud);
        // An effect with latency of its own may see it come.
        assert!(first.is_some_and(|first| (BURST + 200..=BURST + latency).contains(&first)), "{first:?}");
        assert!(play(1.0, 77).0 == loud, "{}", kind.id);
        listeners += 1;
    }
    assert!(listeners > 0);
}

#[test]
fn edits_and_events_agree_on_what_a_parameter_is_called() {
    for kind in audiocloud_effects::KINDS {
        let mut chain = Chain::default();
        let effect = add(&mut chain, kind.id);
        for parameter in kind.parameters {
            let value = parameter.plain(0.25);
            chain.apply(&Edit::Set { effect, parameter: parameter.id, value }).unwrap();
            assert_eq!(chain.value(effect, parameter.id), Some(value), "{} {}", kind.id, parameter.name);
        }
    }
}
