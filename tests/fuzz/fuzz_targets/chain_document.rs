//! A chain's document and edits of it, from anybody: lines, the first of which is the document. What is read is bounded and
//! comes back as it was; what an edit leaves is a document again; and what is a document can be played, whatever it says.
#![no_main]

use audiocloud_chain::document::{Chain, DEPTH_MAX, EFFECTS_MAX, ID_END, LATENCY_FRAMES_MAX};
use audiocloud_chain::edit::Edit;
use audiocloud_chain::foreign::NoForeign;
use audiocloud_chain::rack::{RackCall, RackSetup, rack};
use audiocloud_chain::slots::{SLOTS, Slots};
use audiocloud_graph::renderer::Ports;
use audiocloud_rt::callback;
use audiocloud_rt::chain_event::ChainBody;
use audiocloud_units::SampleRate;
use libfuzzer_sys::fuzz_target;

/// Longer chains are looked at, but not played: an input is to take milliseconds.
const PLAYED_MAX: usize = 3;
const EDITS_MAX: usize = 40;
const FRAMES: usize = 200;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let document = lines.next().unwrap_or_default();
    if let Ok(slots) = serde_json::from_slice::<Slots>(document) {
        look_at_slots(&slots);
    }
    let Ok(mut chain) = Chain::from_json(document) else { return };
    look_at(&chain);
    for line in lines.take(EDITS_MAX) {
        let Ok(edit) = Edit::from_json(line) else { continue };
        assert_eq!(Edit::from_json(&edit.to_json()).as_ref(), Ok(&edit));
        let before = chain.clone();
        match chain.apply(&edit) {
            Ok(_) => {
                assert!(chain.next_id >= before.next_id && chain.latency_frames == before.latency_frames)
            }
            Err(_) => assert_eq!(chain, before),
        }
        look_at(&chain);
    }
    if chain.effects().len() <= PLAYED_MAX {
        let all = play(&chain, FRAMES);
        assert_eq!(all, play(&chain, 37));
    }
});

fn look_at(chain: &Chain) {
    assert_eq!(chain.check(), Ok(()));
    let bytes = chain.to_json();
    let again = Chain::from_json(&bytes);
    // Longer than it was read it may be, as numbers are written out; but never what cannot be read.
    assert_eq!(again.as_ref().map(Chain::to_json), Ok(bytes));
    assert!(chain.effects().len() <= EFFECTS_MAX && DEPTH_MAX < 5);
    assert!(chain.latency_frames.is_none_or(|frames| frames <= LATENCY_FRAMES_MAX));
    let mut ids = Vec::new();
    chain.each(&mut |item| ids.push(item.id()));
    assert!(ids.iter().all(|id| *id < chain.next_id && chain.next_id < ID_END));
    for slot in chain.effects() {
        for (parameter, value) in &slot.values {
            assert!(value.is_finite() && chain.value(slot.id, *parameter).is_some_and(f32::is_finite));
        }
    }
}

fn look_at_slots(slots: &Slots) {
    let chain = Chain::default();
    assert!(
        slots.iter().all(|(slot, target)| slot < SLOTS && target.low.is_finite() && target.high.is_finite())
    );
    for slot in 0..SLOTS {
        assert!(!slots.text(slot, 0.5, &chain).is_empty());
    }
}

/// What a rack makes of a steady tone, in blocks of this many frames.
fn play(chain: &Chain, block: usize) -> Vec<u32> {
    let Some(sample_rate) = SampleRate::new(48_000) else { return Vec::new() };
    let setup = RackSetup { sample_rate, inputs: 2, side_chain: 2, outputs: 2 };
    // Refused where it needs more latency than it says.
    let Ok((mut control, mut audio)) = rack(chain, &setup, Box::new(NoForeign)) else { return Vec::new() };
    assert!(chain.latency_frames.is_none_or(|frames| frames == audio.latency_frames()));
    let mut tape = Tape { heard: Vec::with_capacity(FRAMES) };
    let mut from = 0;
    while from < FRAMES {
        let frames = block.min(FRAMES - from);
        callback::enter(|callback| {
            let songs = [(0, ChainBody::Bypass { effect: 1, on: true })];
            let events = if from == 0 { &songs[..] } else { &[] };
            let call = RackCall { callback, offline: true, transport: None, events };
            audio.process(&call, frames, &mut tape);
        });
        from += frames;
    }
    let report = control.report();
    assert_eq!(report.position, FRAMES as u64);
    tape.heard
}

struct Tape {
    heard: Vec<u32>,
}

impl Ports for Tape {
    fn read(&mut self, _bus: usize, channel: usize, _from: usize, samples: &mut [f32]) {
        samples.fill(if channel == 0 { 0.5 } else { -0.25 });
    }

    fn write(&mut self, _bus: usize, channel: usize, _from: usize, samples: &[f32]) {
        assert!(samples.iter().all(|sample| sample.is_finite()));
        if channel == 0 {
            self.heard.extend(samples.iter().map(|sample| sample.to_bits()));
        }
    }
}
