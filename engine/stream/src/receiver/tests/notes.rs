use super::world::{Bench, bench, music};
use super::{Header128, State};
use audiocloud_rt::block_ring::Epoch;
use audiocloud_rt::callback;
use audiocloud_rt::event::{Body, Event, NoteAddress};
use audiocloud_units::MediaTime;

fn note(key: i16) -> NoteAddress {
    NoteAddress { note_id: -1, port: 0, channel: 0, key }
}

fn on(key: i16) -> Body {
    Body::NoteOn { note: note(key), velocity: 0.8 }
}

fn off(key: i16) -> Body {
    Body::NoteOff { note: note(key), velocity: 0.0 }
}

fn send(bench: &mut Bench, epoch: u32, time: u64, body: Body) {
    bench.events.push(Event { epoch: Epoch(epoch), time: MediaTime::new(time), body }).unwrap();
}

/// Blocks of the stream with a callback for each.
fn roll(bench: &mut Bench, epoch: u32, blocks: std::ops::Range<u64>) {
    for block in blocks {
        bench.push(&Header128 { start: block * 128, epoch, ..Header128::default() }.header(), music);
        bench.callback(128);
    }
}

#[test]
fn a_phrase_keeps_its_offsets() {
    let mut bench = bench(2, 128, 480);
    let phrase: Vec<_> = (0_i16..40)
        .flat_map(|index| {
            let start = u64::try_from(index).unwrap() * 317;
            [(start, on(40 + index)), (start + 300, off(40 + index))]
        })
        .collect();
    let mut rest = phrase.iter().peekable();
    for block in 0..140 {
        while let Some((time, body)) = rest.next_if(|(time, _)| *time < (block + 1) * 128) {
            send(&mut bench, 1, *time, *body);
        }
        roll(&mut bench, 1, block..block + 1);
    }
    let expected: Vec<_> =
        phrase.iter().map(|(time, body)| (usize::try_from(time + 480).unwrap(), *body)).collect();
    assert_eq!(bench.heard, expected);
    let status = bench.status();
    assert_eq!((status.events_played, status.events_late, status.notes_released), (80, 0, 0));
}

#[test]
fn no_note_hangs_when_the_stream_is_cut() {
    let mut bench = bench(2, 128, 480);
    send(&mut bench, 1, 1_000, on(60));
    roll(&mut bench, 1, 0..40);
    let end = 40 * 128 + 480;
    for _ in 0..60 {
        bench.callback(128);
    }
    assert_eq!(bench.heard.len(), 2, "{:?}", bench.heard);
    let (at, body) = bench.heard[1];
    assert_eq!(body, off(60));
    // 50 ms after the last frame, to the callback.
    assert!((end + 2_400..=end + 2_400 + 256).contains(&at), "{at} after {end}");
    assert_eq!((bench.status().notes_released, bench.status().state), (1, State::Starved));
}

#[test]
fn no_note_hangs_over_a_new_epoch_or_a_stop() {
    let mut bench = bench(2, 128, 480);
    send(&mut bench, 1, 0, on(60));
    // Never due in its epoch.
    send(&mut bench, 1, 5_000, on(61));
    roll(&mut bench, 1, 0..20);
    roll(&mut bench, 2, 0..20);
    assert_eq!(bench.heard, [(480, on(60)), (20 * 128, off(60))]);
    send(&mut bench, 2, 20 * 128, on(62));
    roll(&mut bench, 2, 20..30);
    let mut stopped = Vec::new();
    callback::enter_at(bench.now(), |callback| {
        bench.playout.stop(callback, |offset, body| stopped.push((offset, body)));
    });
    assert_eq!(stopped, [(0, off(62))]);
    assert_eq!((bench.status().state, bench.status().notes_released), (State::Empty, 2));
}

#[test]
fn a_loss_lets_go_and_goes_on() {
    let mut bench = bench(2, 128, 480);
    send(&mut bench, 1, 0, on(60));
    send(&mut bench, 1, 200, Body::Lost { count: 4 });
    send(&mut bench, 1, 200, on(61));
    roll(&mut bench, 1, 0..20);
    assert_eq!(bench.heard, [(480, on(60)), (680, off(60)), (680, on(61))]);
    assert_eq!((bench.status().events_lost, bench.status().notes_released), (4, 1));
}

#[test]
fn late_endings_are_played_and_late_beginnings_are_not() {
    let mut bench = bench(2, 128, 480);
    send(&mut bench, 1, 0, on(60));
    roll(&mut bench, 1, 0..20);
    send(&mut bench, 1, 300, on(61));
    send(&mut bench, 1, 300, off(60));
    roll(&mut bench, 1, 20..21);
    assert_eq!(bench.heard, [(480, on(60)), (20 * 128, off(60))]);
    assert_eq!(bench.status().events_late, 1);
}

#[test]
fn events_wait_for_their_epoch_but_not_for_ever() {
    let mut bench = bench(2, 128, 480);
    send(&mut bench, 7, 0, on(60));
    send(&mut bench, 8, 0, on(61));
    for _ in 0..500 {
        bench.callback(128);
    }
    assert_eq!((bench.heard.len(), bench.status().events_lost), (0, 2));
    send(&mut bench, 1, 0, on(62));
    bench.callback(128);
    roll(&mut bench, 1, 0..20);
    assert_eq!(bench.heard.len(), 1);
}

#[test]
fn a_flood_is_bounded_and_nothing_hangs() {
    let mut bench = bench(2, 128, 480);
    for key in 0..3_000_i16 {
        send(&mut bench, 1, u64::from(key.unsigned_abs()), on(key));
    }
    roll(&mut bench, 1, 0..200);
    for _ in 0..60 {
        bench.callback(128);
    }
    let begun = bench.heard.iter().filter(|(_, body)| matches!(body, Body::NoteOn { .. })).count();
    let ended = bench.heard.iter().filter(|(_, body)| matches!(body, Body::NoteOff { .. })).count();
    assert!(begun >= 256 && begun == ended, "{begun} {ended}");
}
