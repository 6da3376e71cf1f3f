//! Notes come out at the sample offsets at which they went in, and none hangs when the stream is cut.

use std::time::Duration;

use audiocloud_e2e::{LIVE, PLAYOUT_MS, Stage, assert_whole};
use audiocloud_rig::{
    audio::phrase,
    notes::{Address, Body, NoteEvent, hanging},
    process::Block,
    session::{Pair, PairOptions},
};

fn address(key: i16, note_id: i32) -> Address {
    Address { key, channel: key % 4, port: 0, note_id }
}

/// Two hundred notes at odd frames, chords and repeats among them, with expression on some.
fn melody() -> Vec<NoteEvent> {
    let mut events = Vec::new();
    for index in 0..200_u16 {
        let frame = 2000 + u64::from(index) * 617;
        let note = address(i16::try_from(40 + index * 7 % 48).expect("a key"), i32::from(index));
        let velocity = f64::from(1 + index % 127) / 128.0;
        events.push(NoteEvent { frame, body: Body::NoteOn { note, velocity } });
        if index % 5 == 0 {
            let body = Body::NoteExpression { note, expression: 2, value: 0.25 };
            events.push(NoteEvent { frame: frame + 100, body });
        }
        events.push(NoteEvent { frame: frame + 550, body: Body::NoteOff { note, velocity: 0.5 } });
    }
    events
}

fn write(stage: &Stage, events: &[NoteEvent]) -> std::path::PathBuf {
    let path = stage.path("notes.json");
    std::fs::write(&path, serde_json::to_vec(events).expect("json")).expect("written");
    path
}

#[test]
fn a_phrase_keeps_its_sample_offsets() {
    let stage = Stage::new();
    let sent = melody();
    let source = phrase(48_000, 2, 3.0).with_lead(0.05);
    for (sending, receiving) in
        [(Block::Fixed(128), Block::Fixed(128)), (Block::Random(1, 512, 5), Block::Fixed(480))]
    {
        let mut options = PairOptions::new(2, 48_000, sending);
        options.receive.block = receiving;
        options.playout_ms = Some(PLAYOUT_MS);
        options.send.notes = Some(write(&stage, &sent));
        let outcome = stage.stream(&source, &mut options);
        assert_whole(&outcome);
        let offset = outcome.comparison.offset_frames;
        let heard: Vec<NoteEvent> = outcome
            .receive
            .notes
            .iter()
            .map(|event| NoteEvent { frame: event.frame.saturating_add_signed(-offset), body: event.body })
            .collect();
        assert_eq!(heard, sent, "notes moved, changed or were lost");
        assert!(hanging(&heard).is_empty());
        let passed: Vec<Body> = outcome.send.notes.iter().map(|event| event.body).collect();
        assert_eq!(
            passed,
            sent.iter().map(|event| event.body).collect::<Vec<_>>(),
            "Send passes notes through"
        );
    }
}

#[test]
fn no_note_hangs_when_the_stream_is_cut() {
    let stage = Stage::new();
    let held = [50, 54, 57, 62].map(|key| NoteEvent {
        frame: 1000,
        body: Body::NoteOn { note: address(key, i32::from(key)), velocity: 0.75 },
    });
    let mut options = PairOptions::new(2, 48_000, Block::Fixed(128));
    options.send.notes = Some(write(&stage, &held));
    options.playout_ms = Some(PLAYOUT_MS);
    let mut pair = Pair::start(&stage.tools, &stage.world, &options).expect("a pair");
    pair.wait_live(LIVE).expect("live");
    pair.play(Duration::from_secs(5)).expect("played");
    // Heard before the cut: otherwise nothing is proved.
    pair.world
        .wait_status(&stage.tools, LIVE, "four notes played", |status| {
            let played = audiocloud_rig::session::subscriptions(status)
                .into_iter()
                .find_map(|entry| audiocloud_rig::session::figure(entry, "events_played"));
            (played >= Some(4)).then_some(())
        })
        .expect("notes");
    pair.send.kill().expect("killed");
    pair.receive.command("run-on 1").expect("told");
    pair.receive.wait("ran-on", Duration::from_secs(10)).expect("ran on");
    let run = pair.receive.finish().expect("a run");
    let started = run.notes.iter().filter(|event| matches!(event.body, Body::NoteOn { .. })).count();
    assert_eq!(started, 4, "{:?}", run.notes);
    assert_eq!(hanging(&run.notes), vec![], "{:?}", run.notes);
}
