use super::*;
use audiocloud_rt::callback;
use audiocloud_units::{Ppm, SessionTime};
use event::{Body, NoteAddress};

fn rate() -> SampleRate {
    SampleRate::new(48_000).unwrap()
}

struct Bench {
    tap: Tap,
    blocks: block_ring::Consumer,
    events: event::Consumer,
    wakes: wake::WakeReceiver,
}

fn bench(channels: u16, blocks: usize, samples: usize) -> Bench {
    let (block_producer, block_consumer) = block_ring::block_ring(blocks, samples);
    let (event_producer, event_consumer) = event::event_ring(4);
    let (waker, wakes) = wake::wake_pair().unwrap();
    let config = Config { sample_rate: rate(), channels };
    let tap = Tap::new(config, block_producer, event_producer, waker, Epoch(7));
    Bench { tap, blocks: block_consumer, events: event_consumer, wakes }
}

fn process(tap: &mut Tap, input: &[Vec<f32>]) {
    callback::enter(|callback| tap.process(callback, input, None));
}

fn ramp(start: u64, frames: usize) -> Vec<f32> {
    (0_u16..).take(frames).map(|frame| start as f32 + f32::from(frame) + 1.0).collect()
}

fn next(ring: &mut block_ring::Consumer) -> Option<(Header, Vec<f32>)> {
    ring.try_pop(|header, samples| {
        let (first, second) = samples.channel(0);
        (*header, [first, second].concat())
    })
}

#[test]
fn counts_frames_and_wakes_once() {
    let mut bench = bench(2, 16, 10_000);
    let mut start = 0;
    for frames in [64_usize, 1, 480, 17] {
        process(&mut bench.tap, &[ramp(start, frames), ramp(start, frames)]);
        assert!(bench.wakes.drain() && !bench.wakes.drain());
        let (header, samples) = next(&mut bench.blocks).unwrap();
        assert_eq!((header.start.get(), header.frame_count(), header.flags), (start, frames, Flags::NONE));
        assert_eq!((header.epoch, header.channels, header.stream_channels), (Epoch(7), 2, 2));
        assert_eq!(samples, ramp(start, frames));
        start += u64::try_from(frames).unwrap();
    }
    let status = bench.tap.status().read();
    assert_eq!((status.blocks, status.frames, status.position.get()), (4, start, start));
}

#[test]
fn a_full_ring_is_counted_and_said_in_the_next_block() {
    let mut bench = bench(1, 2, 1_000);
    for start in [0, 10, 20, 30] {
        process(&mut bench.tap, &[ramp(start, 10)]);
    }
    let status = bench.tap.status().read();
    assert_eq!((status.blocks, status.blocks_dropped, status.frames_dropped), (2, 2, 20));
    assert_eq!(next(&mut bench.blocks).unwrap().0.start.get(), 0);
    assert_eq!(next(&mut bench.blocks).unwrap().0.start.get(), 10);
    process(&mut bench.tap, &[ramp(40, 10)]);
    process(&mut bench.tap, &[ramp(50, 10)]);
    let header = next(&mut bench.blocks).unwrap().0;
    assert_eq!((header.start.get(), header.flags), (40, Flags::DISCONTINUITY));
    assert_eq!(next(&mut bench.blocks).unwrap().0.flags, Flags::NONE);
}

#[test]
fn long_blocks_go_in_pieces() {
    let mut bench = bench(1, 16, 100);
    let (host, session) = (HostTime::new(7_000), SessionTime::new(5_000_000_000));
    let line = SessionLine { host, session, fraction: 0.0, rate: Ppm::new(0.0) };
    callback::enter_at(host, |callback| bench.tap.process(callback, &[ramp(0, 96)], Some(line)));
    assert!(bench.wakes.drain());
    let (first, samples) = next(&mut bench.blocks).unwrap();
    assert_eq!((first.start.get(), first.frames, samples), (0, 50, ramp(0, 50)));
    let (second, samples) = next(&mut bench.blocks).unwrap();
    assert_eq!((second.start.get(), second.frames, samples), (50, 46, ramp(50, 46)));
    let stamp = |time| Some(SessionStamp { time, link_offset: None });
    assert_eq!(first.session_time, stamp(session));
    let elapsed = second.session_time.unwrap().time - session;
    assert!((elapsed - Frames::new(50).to_nanos_floor(rate())).abs() <= Nanos::new(1), "{elapsed:?}");
}

#[test]
fn a_pause_counts_frames() {
    let mut bench = bench(1, 16, 1_000);
    process(&mut bench.tap, &[ramp(0, 10)]);
    callback::enter(|callback| bench.tap.pause(callback, 30));
    assert!(!bench.tap.status().read().transmitting);
    process(&mut bench.tap, &[ramp(40, 10)]);
    assert_eq!(next(&mut bench.blocks).unwrap().0.flags, Flags::NONE);
    let header = next(&mut bench.blocks).unwrap().0;
    assert_eq!((header.start.get(), header.flags), (40, Flags::DISCONTINUITY));
    bench.tap.restart(Epoch(8));
    process(&mut bench.tap, &[ramp(0, 10)]);
    let header = next(&mut bench.blocks).unwrap().0;
    assert_eq!((header.epoch, header.start.get(), header.flags), (Epoch(8), 0, Flags::NONE));
}

#[test]
fn silence_is_flagged_by_its_bits() {
    let mut bench = bench(2, 16, 1_000);
    process(&mut bench.tap, &[vec![0.0; 10], vec![0.0; 10]]);
    process(&mut bench.tap, &[vec![0.0; 10], vec![-0.0; 10]]);
    process(&mut bench.tap, &[vec![0.5; 10]]);
    assert_eq!(next(&mut bench.blocks).unwrap().0.flags, Flags::SILENCE);
    assert_eq!(next(&mut bench.blocks).unwrap().0.flags, Flags::NONE);
    let (header, samples) = next(&mut bench.blocks).unwrap();
    assert_eq!((header.channels, samples), (2, vec![0.5; 10]));
    assert_eq!(bench.tap.status().read().peaks[..2], [0.5, 0.0]);
}

#[test]
fn lost_events_are_told() {
    let mut bench = bench(1, 16, 1_000);
    let note = |key| NoteAddress { note_id: -1, port: 0, channel: 0, key };
    let on = |key| Body::NoteOn { note: note(key), velocity: 1.0 };
    callback::enter(|callback| {
        for key in 0..6 {
            bench.tap.event(callback, 3, on(key));
        }
        bench.tap.process(callback, &[ramp(0, 10)], None);
    });
    let event = bench.events.pop().unwrap();
    assert_eq!((event.epoch, event.time.get(), event.body), (Epoch(7), 3, on(0)));
    while bench.events.pop().is_ok() {}
    callback::enter(|callback| bench.tap.event(callback, 1, on(9)));
    assert_eq!(bench.events.pop().unwrap().body, Body::Lost { count: 2 });
    let event = bench.events.pop().unwrap();
    assert_eq!((event.time.get(), event.body), (11, on(9)));
    process(&mut bench.tap, &[ramp(10, 10)]);
    let status = bench.tap.status().read();
    assert_eq!((status.events, status.events_dropped), (5, 2));
}
