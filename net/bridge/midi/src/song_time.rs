//! How long into the song a place is: what time code counts.
//!
//! A beat map has beats. A place's time is the sum of what its beats last: along the map as far back as it goes on without
//! a jump, and before that at the tempo of where it began. So a session that began at its first beat has the times of a tape
//! that ran along, whatever the tempo did, and all who have the same map have the same times.

use audiocloud_clock::beat_map::{BeatMap, Segment};
use audiocloud_units::{Beats, Nanos, SessionTime};

const NANOS_PER_MINUTE: f64 = 60e9;
/// Segments that differ by less join without a jump.
const NEAR: f64 = 0.02;

/// A while in which the song's time goes as the session's does, or stands still.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) begins: SessionTime,
    /// The song's time then.
    pub(crate) song: Nanos,
    pub(crate) ends: Option<SessionTime>,
    pub(crate) playing: bool,
}

impl Run {
    pub(crate) fn at(&self, time: SessionTime) -> Nanos {
        if self.playing { self.song + (time - self.begins) } else { self.song }
    }
}

/// The run around a time; nothing without beats, or before the first.
pub(crate) fn run(map: &BeatMap, time: SessionTime) -> Option<Run> {
    let mut before: Option<(&Segment, Nanos)> = None;
    let mut segments = map.segments().iter().take_while(|segment| segment.start <= time).peekable();
    while let Some(segment) = segments.next() {
        let joins = |(other, begun): (&Segment, Nanos)| {
            let beat = other.at(segment.start).beat;
            ((beat.get() - segment.beat.get()).abs() < NEAR)
                .then(|| within(other, begun, segment.start).at(segment.start))
        };
        let begun = before.and_then(joins).unwrap_or_else(|| lasting(segment.beat, segment.bpm));
        if segments.peek().is_none() {
            let run = within(segment, begun, time);
            let following = map.segment(time).and_then(|(_, following)| following);
            let ends = match (run.ends, following.map(|following| following.start)) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            return Some(Run { ends, ..run });
        }
        before = Some((segment, begun));
    }
    None
}

/// The run of a segment around a time; `begun` is the song's time at its start.
fn within(segment: &Segment, begun: Nanos, time: SessionTime) -> Run {
    let stretch = segment.stretch(time);
    let song = if stretch.begins == segment.start {
        begun
    } else if let Some(came) = segment.reaches(stretch.beat) {
        // The loop's beginning was played through on the way to its end.
        begun + (came - segment.start)
    } else {
        begun + (lasting(stretch.beat, segment.bpm) - lasting(segment.beat, segment.bpm))
    };
    Run { begins: stretch.begins, song, ends: stretch.ends, playing: segment.playing }
}

fn lasting(beat: Beats, bpm: f64) -> Nanos {
    Nanos::new(rounded(beat.get() / bpm * NANOS_PER_MINUTE))
}

#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn rounded(nanos: f64) -> i64 {
    nanos.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> SessionTime {
        SessionTime::new(millis * 1_000_000)
    }

    fn song_ms(segments: &[Segment], millis: i64) -> Option<i64> {
        let mut map = BeatMap::new();
        for segment in segments {
            map.insert(*segment, at(0)).unwrap();
        }
        let run = run(&map, at(millis))?;
        assert!(run.begins <= at(millis) && run.ends.is_none_or(|ends| at(millis) < ends), "{run:?}");
        Some(run.at(at(millis)).get() / 1_000_000)
    }

    #[test]
    fn time_goes_on_through_changes_of_tempo_and_stops() {
        let steady = Segment::steady(at(1_000), Beats::new(4.0), 120.0);
        let faster = Segment::steady(at(3_000), Beats::new(8.0), 240.0);
        let stopped = Segment { playing: false, ..Segment::steady(at(4_000), Beats::new(12.0), 240.0) };
        let again = Segment::steady(at(9_000), Beats::new(12.0), 60.0);
        let map = [steady, faster, stopped, again];
        let expected = [
            (500, None),
            (1_000, Some(2_000)),
            (3_500, Some(4_500)),
            (8_000, Some(5_000)),
            (9_250, Some(5_250)),
        ];
        for (millis, song) in expected {
            assert_eq!(song_ms(&map, millis), song, "at {millis} ms");
        }
    }

    #[test]
    fn a_jump_begins_anew() {
        let map = [
            Segment::steady(at(0), Beats::new(0.0), 120.0),
            Segment::steady(at(5_000), Beats::new(40.0), 60.0),
        ];
        assert_eq!(
            [4_000, 5_000, 6_000].map(|millis| song_ms(&map, millis)),
            [4_000, 40_000, 41_000].map(Some)
        );
    }

    #[test]
    fn a_loop_takes_it_back() {
        let looped = Some((Beats::new(4.0), Beats::new(8.0)));
        let before = Segment { looped, ..Segment::steady(at(0), Beats::new(2.0), 60.0) };
        let inside = Segment { looped, ..Segment::steady(at(0), Beats::new(6.0), 60.0) };
        let times =
            |segment: Segment| [0, 1_000, 6_000, 7_500].map(|millis| song_ms(&[segment], millis).unwrap());
        assert_eq!(times(before), [2_000, 3_000, 4_000, 5_500]);
        assert_eq!(times(inside), [6_000, 7_000, 4_000, 5_500]);
    }
}
