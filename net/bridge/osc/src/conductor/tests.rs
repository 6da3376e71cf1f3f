use std::sync::Arc;

use audiocloud_clock::beat_map::{BeatMap, Ramp};
use audiocloud_units::{Ppm, SessionLine};

use super::*;

/// A session whose time is this machine's, so that milliseconds are both's.
fn timeline(segments: &[Segment]) -> Timeline {
    let mut map = BeatMap::new();
    for segment in segments {
        map.insert(*segment, SessionTime::new(0)).unwrap();
    }
    let line = SessionLine {
        host: HostTime::new(0),
        session: SessionTime::new(0),
        fraction: 0.0,
        rate: Ppm::new(0.0),
    };
    Timeline { line: Some(line), map: Arc::new(map) }
}

fn at(millis: i64) -> SessionTime {
    SessionTime::new(millis * 1_000_000)
}

fn host(millis: i64) -> HostTime {
    HostTime::new(millis * 1_000_000)
}

fn stopped(millis: i64, beat: f64, bpm: f64) -> Segment {
    Segment { playing: false, ..playing(millis, beat, bpm) }
}

fn playing(millis: i64, beat: f64, bpm: f64) -> Segment {
    Segment::steady(at(millis), Beats::new(beat), bpm)
}

/// A DAW as it is thought of: one tempo for its song, and time of its own once it plays.
struct Daw {
    bpm: f64,
    seconds: f64,
    playing: bool,
    orders: Vec<(i64, Order)>,
}

impl Daw {
    fn new() -> Self {
        Self { bpm: 120.0, seconds: 0.0, playing: false, orders: Vec::new() }
    }

    fn takes(&mut self, millis: i64, order: Order) {
        self.orders.push((millis, order));
        match order {
            Order::Tempo(bpm) => self.bpm = bpm,
            Order::Locate(seconds) => self.seconds = seconds,
            Order::Play => {
                assert!(!self.playing, "play is a toggle for some");
                self.playing = true;
            }
            Order::Stop => {
                assert!(self.playing, "stop twice goes back for some");
                self.playing = false;
            }
        }
    }

    fn beat(&self) -> f64 {
        self.seconds * self.bpm / 60.0
    }
}

/// Plays it in steps of a millisecond; the greatest error in milliseconds of what plays, by what `counts` takes in.
fn follow(
    timeline: &Timeline,
    until_ms: i64,
    tempo_while_playing: bool,
    counts: impl Fn(i64) -> bool,
) -> (Daw, f64) {
    let (mut conductor, mut daw) = (Conductor::new(Nanos::ZERO), Daw::new());
    let mut worst = 0.0_f64;
    for millis in 0..until_ms {
        for order in conductor.poll(timeline, host(millis), tempo_while_playing || !daw.playing) {
            daw.takes(millis, order);
        }
        let position = timeline.at(host(millis)).unwrap();
        assert_eq!(daw.playing, conductor.is_playing());
        if counts(millis) {
            assert_eq!(daw.playing, position.playing, "at {millis} ms");
            if daw.playing {
                worst = worst.max((daw.beat() - position.beat.get()).abs() * 60_000.0 / position.bpm);
            }
        }
        daw.seconds += if daw.playing { 0.001 } else { 0.0 };
    }
    (daw, worst)
}

#[test]
fn it_is_made_ready_played_and_stopped() {
    let timeline = timeline(&[stopped(0, 0.0, 120.0), playing(2_000, 8.0, 90.0), stopped(5_000, 12.5, 90.0)]);
    let (daw, worst) = follow(&timeline, 6_000, false, |_| true);
    assert!(worst < 1e-6, "{worst} ms");
    // What comes is known at once.
    let expected = [
        (0, Order::Tempo(90.0)),
        (0, Order::Locate(8.0 * 60.0 / 90.0)),
        (2_000, Order::Play),
        (5_000, Order::Stop),
        (5_000, Order::Locate(12.5 * 60.0 / 90.0)),
    ];
    assert_eq!(daw.orders, expected);
}

#[test]
fn what_takes_time_is_told_so_much_earlier() {
    let timeline = timeline(&[stopped(0, 0.0, 120.0), playing(1_000, 0.0, 120.0)]);
    let mut conductor = Conductor::new(Nanos::from_millis(30));
    assert_eq!(conductor.poll(&timeline, host(0), true), [Order::Tempo(120.0), Order::Locate(0.0)]);
    assert_eq!(conductor.next(&timeline, host(960)), host(970));
    assert_eq!(conductor.poll(&timeline, host(969), true), []);
    assert_eq!(conductor.poll(&timeline, host(970), true), [Order::Play]);
}

#[test]
fn who_comes_late_begins_in_the_middle() {
    let timeline = timeline(&[playing(0, 0.0, 120.0)]);
    let mut conductor = Conductor::new(Nanos::ZERO);
    let orders = conductor.poll(&timeline, host(3_000), true);
    assert_eq!(orders, [Order::Tempo(120.0), Order::Locate(3.0), Order::Play]);
    // And one that is found playing is placed, not started.
    let mut conductor = Conductor::new(Nanos::ZERO);
    conductor.found(true);
    let orders = conductor.poll(&timeline, host(3_000), true);
    assert_eq!(orders, [Order::Tempo(120.0), Order::Locate(3.0)]);
}

#[test]
fn loops_and_jumps_place_it_anew() {
    let looped = Some((Beats::new(4.0), Beats::new(8.0)));
    let timeline = timeline(&[Segment { looped, ..playing(0, 2.0, 120.0) }, playing(8_000, 64.0, 120.0)]);
    let (daw, worst) = follow(&timeline, 9_000, true, |_| true);
    assert!(worst < 1.0, "{worst} ms");
    let places: Vec<_> = daw.orders.iter().filter(|(_, order)| matches!(order, Order::Locate(_))).collect();
    // Four passes end in 8 s.
    let expected = [(0, 1.0), (3_000, 2.0), (5_000, 2.0), (7_000, 2.0), (8_000, 32.0)];
    let expected = expected.map(|(millis, seconds)| (millis, Order::Locate(seconds)));
    assert!(places.into_iter().zip(&expected).all(|(one, other)| one.0 == other.0), "{:?}", daw.orders);
    assert_eq!(daw.orders.len(), 7, "{:?}", daw.orders);
}

#[test]
fn a_ramp_is_told_in_steps_and_ends_in_place() {
    let ramp = Some(Ramp { to_bpm: 150.0, over: Beats::new(32.0) });
    let timeline = timeline(&[Segment { ramp, ..playing(0, 0.0, 90.0) }]);
    // 32·ln(150/90) = 16.35 s.
    let (daw, worst) = follow(&timeline, 20_000, true, |millis| millis > 16_500);
    assert!(worst < 1.0, "{worst} ms after the ramp");
    let count = |wanted: fn(&Order) -> bool| daw.orders.iter().filter(|(_, order)| wanted(order)).count();
    let tempos = count(|order| matches!(order, Order::Tempo(_)));
    assert!((300..=330).contains(&tempos), "{tempos} tempos");
    assert_eq!(count(|order| matches!(order, Order::Locate(_))), 2, "{:?}", daw.orders);
    assert!((daw.bpm - 150.0).abs() < 0.001);
}

#[test]
fn what_takes_no_tempo_while_it_plays_gets_it_when_it_stops() {
    let timeline = timeline(&[
        playing(0, 0.0, 120.0),
        playing(2_000, 4.0, 100.0),
        playing(4_000, 40.0, 100.0),
        stopped(5_000, 4.0, 100.0),
    ]);
    let (daw, _) = follow(&timeline, 6_000, false, |_| false);
    let expected = [
        (0, Order::Tempo(120.0)),
        (0, Order::Locate(0.0)),
        (0, Order::Play),
        // A jump is followed, by its own tempo.
        (4_000, Order::Locate(20.0)),
        (5_000, Order::Stop),
        (5_001, Order::Tempo(100.0)),
        (5_001, Order::Locate(2.4)),
    ];
    let without_place_at_stop = daw.orders.iter().filter(|order| **order != (5_000, Order::Locate(2.0)));
    assert!(without_place_at_stop.eq(&expected), "{:?}", daw.orders);
}

#[test]
fn small_corrections_wait_until_they_are_worth_a_jump() {
    // The leader is 8 ms further each second.
    let steps: Vec<_> = (0..5).map(|n| playing(n * 1_000, n as f64 * 2.016, 120.0)).collect();
    let (daw, worst) = follow(&timeline(&steps), 5_000, true, |_| true);
    assert!(worst < 21.0, "{worst} ms");
    let places = daw.orders.iter().filter(|(_, order)| matches!(order, Order::Locate(_))).count();
    assert_eq!(places, 2, "{:?}", daw.orders);
}

#[test]
fn a_count_in_is_waited_for_and_no_beat_is_no_play() {
    let counted = timeline(&[playing(0, -4.0, 120.0)]);
    let (daw, worst) = follow(&counted, 4_000, true, |millis| millis >= 2_001);
    assert!(worst < 1.0, "{worst}");
    assert_eq!(daw.orders.last().map(|(_, order)| *order), Some(Order::Play));
    let begun = daw.orders.last().unwrap().0;
    assert!((1_999..=2_000).contains(&begun), "{begun}");

    let mut conductor = Conductor::new(Nanos::ZERO);
    conductor.poll(&counted, host(3_000), true);
    assert_eq!(conductor.poll(&Timeline::default(), host(3_001), true), [Order::Stop]);
    assert_eq!(conductor.poll(&Timeline::default(), host(3_002), true), []);
}
