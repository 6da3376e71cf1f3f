use audiocloud_clock::beat_map::{Ramp, Segment};
use proptest::prelude::*;

use super::*;

fn at(millis: i64) -> SessionTime {
    SessionTime::new(millis * 1_000_000)
}

fn map(segments: &[Segment]) -> BeatMap {
    let mut map = BeatMap::new();
    for segment in segments {
        map.insert(*segment, at(0)).unwrap();
    }
    map
}

/// What is sent in so many milliseconds, asked for in steps of `step_ms`.
fn sent(map: &BeatMap, until_ms: i64, step_ms: i64) -> Vec<(SessionTime, Message)> {
    let mut clock = Clock::default();
    let mut all = Vec::new();
    for now in 0..=until_ms / step_ms {
        clock.advance(map, at(now * step_ms), |at, message| all.push((at, message)));
    }
    all
}

/// Who listens, as the standard tells them to: a count that the next clock after start or continue makes the song's.
#[derive(Default)]
struct Listener {
    position: i64,
    begins: bool,
    runs: bool,
}

impl Listener {
    /// The clock of the song that has just come, if it runs.
    fn hear(&mut self, message: Message) -> Option<i64> {
        match message {
            Message::Start => (self.position, self.begins) = (0, true),
            Message::Continue => self.begins = true,
            Message::Stop => (self.runs, self.begins) = (false, false),
            Message::SongPosition(sixteenths) => {
                assert!(!self.runs, "a song position while it runs");
                self.position = i64::from(sixteenths) * 6;
            }
            Message::Clock if self.begins => (self.runs, self.begins) = (true, false),
            Message::Clock if self.runs => self.position += 1,
            _ => {}
        }
        (self.runs && message == Message::Clock).then_some(self.position)
    }
}

/// Plays it to a listener and looks for the greatest error of the clocks it counts, in quarter notes; how many there were.
fn followed(map: &BeatMap, sent: &[(SessionTime, Message)]) -> (f64, usize) {
    let mut listener = Listener::default();
    let (mut worst, mut count) = (0.0_f64, 0);
    for (index, (at, message)) in sent.iter().enumerate() {
        let Some(clock) = listener.hear(*message) else { continue };
        count += 1;
        let position = map.at(*at).unwrap();
        assert!(position.playing, "a clock of a song that stands still, at {at:?}");
        // Of several that catch up, the last one has.
        if sent.get(index + 1) != Some(&(*at, Message::Clock)) {
            worst = worst.max((position.beat.get() - clock as f64 / 24.0).abs());
        }
    }
    (worst, count)
}

fn in_order(sent: &[(SessionTime, Message)]) {
    assert!(sent.is_sorted_by_key(|(at, _)| *at), "{sent:?}");
}

#[test]
fn a_song_begins_with_start_and_its_clocks_are_its_beats() {
    let map = map(&[Segment::steady(at(1_000), Beats::new(0.0), 120.0)]);
    let sent = sent(&map, 3_000, 7);
    in_order(&sent);
    let start = sent.iter().position(|(_, message)| *message == Message::Start).unwrap();
    assert_eq!(sent[start], (at(998), Message::Start));
    assert_eq!(sent[start + 1], (at(1_000), Message::Clock));
    assert_eq!(sent.iter().filter(|(_, message)| *message == Message::Start).count(), 1);
    let (worst, clocks) = followed(&map, &sent);
    assert_eq!((clocks, worst < 1e-7), (24 * 4, true), "{worst}");
    // Before that, clocks of the same tempo: 48 a second but for the one that would be too near.
    let before = sent[..start].iter().filter(|(_, message)| *message == Message::Clock).count();
    assert!((46..=48).contains(&before), "{before}");
}

#[test]
fn nothing_adds_up_in_ten_minutes() {
    let map = map(&[Segment::steady(at(0), Beats::new(0.0), 123.4)]);
    let sent = sent(&map, 600_000, 500);
    let (worst, clocks) = followed(&map, &sent);
    // 600 s · 123.4 / 60 · 24 = 29,616 clocks and the first.
    assert!(clocks.abs_diff(29_616) <= 1, "{clocks}");
    // A nanosecond is 2e-9 quarter notes.
    assert!(worst < 5e-9, "{worst}");
}

#[test]
fn a_song_that_begins_elsewhere_is_told_by_its_position() {
    let stopped = Segment { playing: false, ..Segment::steady(at(0), Beats::new(8.1), 120.0) };
    let plays = Segment::steady(at(1_000), Beats::new(8.1), 120.0);
    let map = map(&[stopped, plays]);
    let sent = sent(&map, 2_000, 5);
    in_order(&sent);
    let songs: Vec<_> = sent.iter().filter(|(_, message)| *message != Message::Clock).collect();
    // At rest the next sixteenth is told, so that who listens can go there; then it is the one that is begun with,
    // 8.25, 75 ms after 8.1.
    assert_eq!(songs[0].1, Message::SongPosition(33));
    assert_eq!(songs[1..], [&(at(1_073), Message::SongPosition(33)), &(at(1_073), Message::Continue)]);
    assert!(followed(&map, &sent).0 < 1e-7);
}

#[test]
fn a_loop_a_jump_and_a_stop_are_followed() {
    let looped = Some((Beats::new(4.0), Beats::new(8.0)));
    let map = map(&[
        Segment { looped, ..Segment::steady(at(100), Beats::new(3.0), 120.0) },
        Segment::steady(at(9_000), Beats::new(64.0), 90.0),
        Segment { playing: false, ..Segment::steady(at(12_000), Beats::new(68.5), 90.0) },
    ]);
    let sent = sent(&map, 14_000, 11);
    in_order(&sent);
    let (worst, clocks) = followed(&map, &sent);
    assert!(worst < 1e-7, "{worst}");
    // 8.9 s at 48 clocks a second, 3 s at 36: but for those that wait for a sixteenth.
    assert!((427 + 108 - 6..=427 + 108 + 1).contains(&clocks), "{clocks}");
    let count = |wanted: fn(&Message) -> bool| sent.iter().filter(|(_, message)| wanted(message)).count();
    // The loop came round at 2.6, 4.6, 6.6 and 8.6 s; then the jump, then the stop.
    assert_eq!(count(|message| *message == Message::Stop), 6);
    assert_eq!(sent.iter().rfind(|(_, message)| *message == Message::Stop).unwrap().0, at(12_000));
    assert_eq!(*sent.iter().rfind(|(_, message)| matches!(message, Message::SongPosition(_))).unwrap(), {
        (at(12_000), Message::SongPosition(274))
    });
}

#[test]
fn a_ramp_and_small_corrections_need_no_jump() {
    let ramp = Some(Ramp { to_bpm: 150.0, over: Beats::new(32.0) });
    let ramped = Segment { ramp, ..Segment::steady(at(0), Beats::new(0.0), 90.0) };
    // The leader's host is 5 ms further than was said, then 8 ms less.
    let further = Beats::new(ramped.at(at(20_000)).beat.get() + 0.0125);
    let further = Segment::steady(at(20_000), further, 150.0);
    let less = Beats::new(further.at(at(25_000)).beat.get() - 0.02);
    let map = map(&[ramped, further, Segment::steady(at(25_000), less, 150.0)]);
    let sent = sent(&map, 40_000, 13);
    let jumps =
        sent.iter().filter(|(_, message)| matches!(message, Message::Stop | Message::SongPosition(_)));
    assert_eq!(jumps.count(), 0);
    let (worst, _) = followed(&map, &sent);
    // Where the map moved, a clock is as late as the map moved.
    assert!(worst < 0.0201, "{worst}");
}

#[test]
fn positions_beyond_what_can_be_told_are_not_told() {
    let count_in = map(&[Segment::steady(at(0), Beats::new(-4.0), 120.0)]);
    let mut clock = Clock::default();
    clock.advance(&count_in, at(0), |_, _| {});
    clock.advance(&count_in, at(900), |_, message| assert_eq!(message, Message::Clock));
    assert!(clock.is_out_of_range());
    let all = sent(&count_in, 4_000, 9);
    assert_eq!(all.iter().find(|(_, message)| *message == Message::Start).unwrap().0, at(1_998));
    let (_, clocks) = followed(&count_in, &all);
    assert!((95..=97).contains(&clocks), "{clocks}");

    let far = map(&[Segment::steady(at(0), Beats::new(5_000.0), 120.0)]);
    assert!(sent(&far, 2_000, 9).iter().all(|(_, message)| *message == Message::Clock));
}

#[test]
fn who_wakes_late_says_where_it_is() {
    let map = map(&[Segment::steady(at(0), Beats::new(0.0), 120.0)]);
    let mut clock = Clock::default();
    let mut all = Vec::new();
    for now in [0, 100, 200, 9_050, 9_100, 9_300] {
        clock.advance(&map, at(now), |at, message| all.push((at, message)));
    }
    in_order(&all);
    assert!(followed(&map, &all).0 < 1e-7);
    // Beat 18.1 is next to sixteenth 73.
    assert!(all.contains(&(at(9_123), Message::SongPosition(73))), "{all:?}");
    let mut last = Vec::new();
    clock.end(at(9_300), |at, message| last.push((at, message)));
    assert_eq!(last, [(at(9_300), Message::Stop)]);
}

#[test]
fn far_from_its_beginning_a_song_still_comes_to_an_end() {
    // A beat there is known to a ten-millionth: its time may seem to be over already.
    let ramp = Some(Ramp { to_bpm: 198.0, over: Beats::new(62.45) });
    let far = map(&[Segment { ramp, ..Segment::steady(at(0), Beats::new(999_999_999.0), 5.61) }]);
    let sent = sent(&far, 5_000, 100);
    in_order(&sent);
    // 5.61 bpm are 2.2 clocks a second.
    assert!((11..=14).contains(&sent.len()), "{}", sent.len());
}

fn segment() -> impl Strategy<Value = Segment> {
    let place = (0_i64..20_000, -8.0..200.0_f64, 5.0..900.0_f64, any::<bool>());
    let ramp = proptest::option::of((20.0..400.0_f64, 0.1..64.0_f64));
    let looped = proptest::option::of((0.0..64.0_f64, 0.02..16.0_f64));
    (place, ramp, looped).prop_map(|((start, beat, bpm, playing), ramp, looped)| Segment {
        ramp: ramp.map(|(to_bpm, over)| Ramp { to_bpm, over: Beats::new(over) }),
        looped: looped.map(|(from, length)| (Beats::new(from), Beats::new(from + length))),
        playing,
        ..Segment::steady(at(start), Beats::new(beat), bpm)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_map_is_sent_in_order_and_ends(
        segments in proptest::collection::vec(segment(), 1..6),
        step in 1_i64..300,
    ) {
        let map = map(&segments);
        let sent = sent(&map, 22_000, step);
        in_order(&sent);
        // The fastest has 400 clocks a second; a loop of a hundredth of a beat is jumped back in all the time.
        prop_assert!(sent.len() < 22 * 4_000, "{} messages", sent.len());
    }

    #[test]
    fn how_often_it_is_asked_changes_nothing(
        segments in proptest::collection::vec(segment(), 1..6),
        one in 1_i64..300,
        other in 1_i64..300,
    ) {
        let map = map(&segments);
        // Both end at the same time.
        let until = one * other * (20_000 / (one * other)).max(1);
        prop_assert_eq!(sent(&map, until, one), sent(&map, until, other));
    }
}
