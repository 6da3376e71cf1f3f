//! Any beat map that others may make, as MIDI and as orders for a DAW: in order, no more than the time has room for; and any
//! words of a surface, which say a number or nothing.
#![no_main]

use std::sync::Arc;

use audiocloud_clock::beat_map::{BeatMap, Meter, Ramp, Segment};
use audiocloud_clock::timeline::Timeline;
use audiocloud_midi_clock::{FrameRate, Sender, Settings};
use audiocloud_osc::ardour::{self, Rate, Said};
use audiocloud_osc::conductor::{Conductor, Order};
use audiocloud_units::{Beats, HostTime, Nanos, Ppm, SessionLine, SessionTime};
use libfuzzer_sys::fuzz_target;

/// One segment's bytes.
const SEGMENT: usize = 80;
/// A loop of a hundredth of a beat at 1,000 bpm is gone through 1,667 times a second, each with stop, place, continue, clock
/// and a full frame; clocks of 400 a second that catch up, and 120 quarter frames besides.
const EVENTS_A_SECOND: usize = 16_000;

fn number(bytes: &[u8], at: usize) -> f64 {
    f64::from_bits(word(bytes, at))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    u64::from_le_bytes(eight.unwrap_or_default())
}

/// As a peer may make it: all that `BeatMap::insert` lets in.
fn segment(bytes: &[u8]) -> Segment {
    let flags = word(bytes, 0);
    let start = i64::try_from(word(bytes, 8) % 4_000_000_000).unwrap_or(0);
    let two = |at: usize| (number(bytes, at), number(bytes, at + 8));
    let (ramp, looped) = (two(40), two(56));
    Segment {
        serial: flags >> 32 & 0xff,
        ramp: (flags & 1 != 0).then(|| Ramp { to_bpm: ramp.0, over: Beats::new(ramp.1) }),
        looped: (flags & 2 != 0).then(|| (Beats::new(looped.0), Beats::new(looped.1))),
        playing: flags & 4 != 0,
        meter: Meter { beats: (flags >> 8 & 0xff) as u8, unit: (flags >> 16 & 0xff) as u8 },
        bar_beat: Beats::new(number(bytes, 72)),
        ..Segment::steady(SessionTime::new(start), Beats::new(number(bytes, 16)), number(bytes, 24))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    if *choice == 0 {
        words(rest);
        return;
    }
    let mut map = BeatMap::new();
    for bytes in rest.chunks_exact(SEGMENT).take(8) {
        // One that cannot be is refused.
        map.insert(segment(bytes), SessionTime::new(0)).ok();
    }
    let line = SessionLine {
        host: HostTime::new(0),
        session: SessionTime::new(0),
        fraction: 0.0,
        rate: Ppm::new(f64::from(*choice) - 128.0),
    };
    let timeline = Timeline { line: Some(line), map: Arc::new(map) };
    let timecode = FrameRate::ALL.get(usize::from(choice % 5)).copied();
    let mut sender = Sender::new(Settings { timecode, ..Settings::default() });
    let mut conductor = Conductor::new(Nanos::from_millis(i64::from(choice % 16)));
    let mut last = HostTime::new(i64::MIN);
    let mut plays = false;
    for step in 0..50_i64 {
        let now = HostTime::new(step * 100_000_000);
        let mut events = Vec::new();
        sender.advance(&timeline, now, &mut events);
        assert!(events.len() <= EVENTS_A_SECOND / 10, "{} events in 100 ms", events.len());
        for event in &events {
            assert!(event.at >= last || last - event.at < Nanos::from_micros(1), "back in time");
            assert!(event.at <= now + Nanos::from_micros(1), "not asked for yet");
            assert!(!event.message.bytes().is_empty());
            last = last.max(event.at);
        }
        let orders = conductor.poll(&timeline, now, step % 3 != 0);
        assert!(orders.len() <= 4, "{orders:?}");
        for order in orders {
            match order {
                Order::Tempo(number) | Order::Locate(number) => assert!(number.is_finite() && number >= 0.0),
                Order::Play => assert!(!std::mem::replace(&mut plays, true)),
                Order::Stop => assert!(std::mem::replace(&mut plays, false)),
            }
        }
        assert!(conductor.next(&timeline, now) >= now);
    }
});

fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut rate = Rate::default();
    rate.sample(10.0);
    match ardour::read(text) {
        Some(Said::Tempo(number)) => assert!(number.is_finite()),
        Some(Said::Time(number)) => {
            assert!(number.is_finite());
            rate.stands(number);
            assert!(rate.sample(1.0) > 0);
        }
        Some(Said::Rolls(_)) | None => {}
    }
}
