//! The audio half of a plug-in neither allocates, locks nor waits, whatever happens to the other half: automation, a reset,
//! blocks that come too late, a crash.
//!
//! Run by `cargo xtask test` under RealtimeSanitizer too, which ends the process at a system call other than the wake.

mod bed;

use audiocloud_graph::event::Body;
use audiocloud_host::plugin::Setup;
use audiocloud_misbehaving as parameter;
use audiocloud_rt::event::{self, NoteAddress};
use audiocloud_rt::{callback, trap};
use bed::{GAIN, Rig, library, noise, setup, wait};

#[global_allocator]
static TRAP: trap::Allocator = trap::Allocator;

const FRAMES: usize = 96_000;

#[test]
fn the_callback_owns_nothing_that_it_must_free() {
    let (_folder, library) = library();
    let input = noise(1, FRAMES);
    let setup = Setup { side_chain: 2, ..setup(128) };
    let mut rig = Rig::new(&library, GAIN, &setup, vec![vec![input.clone(); 2]; 2]);
    rig.host.events.reserve(10_000);
    rig.host.offline = false;
    let before = trap::violations();
    let note = NoteAddress { note_id: 1, port: 0, channel: 0, key: 60 };
    let mut played = 0;
    while rig.host.at < FRAMES / 2 {
        let curve = audiocloud_dsp::ramp::Curve::Linear;
        let value = if played % 2 == 0 { 0.5 } else { 1.5 };
        let events = [
            rig.event(17, Body::Parameter { id: parameter::GAIN, value, ramp_frames: Some(100), curve }),
            rig.event(40, Body::Voice(event::Body::NoteOn { note, velocity: 1.0 })),
            rig.event(99, Body::Voice(event::Body::NoteOff { note, velocity: 1.0 })),
        ];
        rig.play(rig.host.at + 128, &events);
        if played % 50 == 49 {
            callback::enter(|callback| rig.renderer.reset(callback));
        }
        if played % 50 < 40 {
            // A pace that it can keep; the others come too fast, and some of them are missed.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        played += 1;
    }
    rig.controller.set_parameter(&mut rig.graph, rig.key, parameter::TROUBLE, parameter::CRASH).unwrap();
    rig.play_in(rig.host.at + 1280, 128);
    wait("its death", || !rig.handle.status().running);
    rig.play_in(FRAMES, 128);
    assert_eq!(trap::violations() - before, 0);
    let status = rig.handle.status();
    assert!(status.turn.count > 100 && status.late_blocks > 0, "{status:?}");
    assert!(rig.host.events.len() > 20, "notes passed");
}
