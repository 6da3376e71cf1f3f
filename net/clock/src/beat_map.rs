//! Where bars and beats lie on session time.
//!
//! A list of segments, each valid from its start until the next one's. An edit is a segment that starts in the future, so
//! that it has reached everybody when it counts. Whoever joins late gets the whole list: equal lists give equal beats.

use audiocloud_units::{Beats, Nanos, SessionTime};
use thiserror::Error;

/// Segments that are kept; the past beyond that is forgotten.
pub const SEGMENTS_MAX: usize = 1_024;
/// Tempo in quarter notes a minute: slower or faster is a mistake.
pub const TEMPO_BPM: std::ops::RangeInclusive<f64> = 1.0..=1_000.0;
/// Beats beyond this lose their sub-sample accuracy.
const BEATS_MAX: f64 = 1e9;
const NANOS_PER_MINUTE: f64 = 60e9;

/// A time signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Beats of a bar, in units of `unit`.
    pub beats: u8,
    /// 1, 2, 4, 8, 16 or 32: what part of a whole note one is.
    pub unit: u8,
}

impl Meter {
    /// Four quarters.
    pub const COMMON: Self = Self { beats: 4, unit: 4 };

    /// Quarter notes of a bar.
    #[must_use]
    pub fn bar(self) -> Beats {
        Beats::new(f64::from(self.beats) * 4.0 / f64::from(self.unit.max(1)))
    }
}

/// The tempo goes from the segment's to another over so many quarter notes, evenly by the beat, and stays there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// Quarter notes a minute at its end.
    pub to_bpm: f64,
    /// Its length.
    pub over: Beats,
}

/// From its start on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// The clock's epoch that it was made in; of two with one start the later one counts.
    pub epoch: u64,
    /// When it begins.
    pub start: SessionTime,
    /// The position then, in quarter notes.
    pub beat: Beats,
    /// Quarter notes a minute then.
    pub bpm: f64,
    /// Where the tempo goes.
    pub ramp: Option<Ramp>,
    /// How bars are counted; a bar begins at `bar_beat`, which is number `bar`, from 0.
    pub meter: Meter,
    /// Where that bar begins.
    pub bar_beat: Beats,
    /// Its number.
    pub bar: i64,
    /// From and to, in quarter notes: a position that comes to its end goes on at its beginning.
    pub looped: Option<(Beats, Beats)>,
    /// Whether beats go by.
    pub playing: bool,
}

/// A segment that cannot be.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum BadSegment {
    /// Too slow, too fast, or no number.
    #[error("a tempo of {0} is not between 1 and 1000 quarter notes a minute")]
    Tempo(f64),
    /// No number, or beyond what keeps its accuracy.
    #[error("{0} is no position in quarter notes")]
    Position(f64),
    /// Nothing, or a unit that is no part of a whole note.
    #[error("{0} over {1} is no time signature")]
    Meter(u8, u8),
    /// Its end is not after its beginning.
    #[error("a loop from {0} to {1} has no length")]
    Loop(f64, f64),
    /// Too many lie ahead already.
    #[error("more than {SEGMENTS_MAX} changes lie ahead")]
    TooMany,
}

impl Segment {
    /// Playing at one tempo from a beat on, in 4/4.
    #[must_use]
    pub fn steady(start: SessionTime, beat: Beats, bpm: f64) -> Self {
        Self {
            epoch: 0,
            start,
            beat,
            bpm,
            ramp: None,
            meter: Meter::COMMON,
            bar_beat: Beats::new(0.0),
            bar: 0,
            looped: None,
            playing: true,
        }
    }

    fn check(&self) -> Result<(), BadSegment> {
        let tempo = |bpm: f64| TEMPO_BPM.contains(&bpm).then_some(()).ok_or(BadSegment::Tempo(bpm));
        let position = |beats: Beats| {
            (beats.get().abs() <= BEATS_MAX).then_some(()).ok_or(BadSegment::Position(beats.get()))
        };
        tempo(self.bpm)?;
        position(self.beat)?;
        position(self.bar_beat)?;
        if let Some(Ramp { to_bpm, over }) = self.ramp {
            tempo(to_bpm)?;
            position(over)?;
            if over.get() <= 0.0 {
                return Err(BadSegment::Position(over.get()));
            }
        }
        let Meter { beats, unit } = self.meter;
        if beats == 0 || !matches!(unit, 1 | 2 | 4 | 8 | 16 | 32) {
            return Err(BadSegment::Meter(beats, unit));
        }
        if let Some((from, to)) = self.looped {
            position(from)?;
            position(to)?;
            // A loop shorter than a hundredth of a beat is none.
            if to.get() - from.get() < 0.01 {
                return Err(BadSegment::Loop(from.get(), to.get()));
            }
        }
        Ok(())
    }

    /// Quarter notes that go by in so many minutes from its start, loops not counted, and the tempo after them.
    ///
    /// The tempo is a straight line over beats, v(b) = v₀ + k·b, so that dt = db / v(b) and b = (v₀/k)·(e^(k·t) − 1).
    fn travelled(&self, minutes: f64) -> (f64, f64) {
        let Some(Ramp { to_bpm, over }) = self.ramp.filter(|ramp| ramp.to_bpm != self.bpm) else {
            return (self.bpm * minutes, self.bpm);
        };
        let slope = (to_bpm - self.bpm) / over.get();
        let lasts = (to_bpm / self.bpm).ln() / slope;
        if minutes < lasts {
            let beats = self.bpm / slope * (slope * minutes).exp_m1();
            (beats, self.bpm + slope * beats)
        } else {
            (over.get() + to_bpm * (minutes - lasts), to_bpm)
        }
    }

    /// The inverse: minutes until so many quarter notes have gone by.
    fn lasting(&self, beats: f64) -> f64 {
        let Some(Ramp { to_bpm, over }) = self.ramp.filter(|ramp| ramp.to_bpm != self.bpm) else {
            return beats / self.bpm;
        };
        let slope = (to_bpm - self.bpm) / over.get();
        if beats < over.get() {
            (slope * beats / self.bpm).ln_1p() / slope
        } else {
            (to_bpm / self.bpm).ln() / slope + (beats - over.get()) / to_bpm
        }
    }

    fn at(&self, time: SessionTime) -> Position {
        let minutes = (time - self.start).get().max(0) as f64 / NANOS_PER_MINUTE;
        let (beats, bpm) = if self.playing { self.travelled(minutes) } else { (0.0, self.bpm) };
        let beat = Beats::new(self.wrapped(self.beat.get() + beats));
        let bars = (beat.get() - self.bar_beat.get()) / self.meter.bar().get();
        // A beat that is a bar's first but for rounding is that bar's first.
        let whole = (bars + 1e-9).floor();
        let in_bar = Beats::new(((bars - whole) * self.meter.bar().get()).max(0.0));
        Position {
            beat,
            bpm,
            bar: self.bar.saturating_add(whole_number(whole)),
            in_bar,
            meter: self.meter,
            playing: self.playing,
        }
    }

    /// A position that ran past the loop's end goes on at its beginning; one that is behind it already stays out.
    fn wrapped(&self, beat: f64) -> f64 {
        match self.looped {
            Some((from, to)) if self.beat.get() < to.get() && beat >= to.get() => {
                let (from, length) = (from.get(), to.get() - from.get());
                from + (beat - from).rem_euclid(length)
            }
            _ => beat,
        }
    }
}

/// Where the music is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// In quarter notes.
    pub beat: Beats,
    /// Quarter notes a minute.
    pub bpm: f64,
    /// Bars, from 0.
    pub bar: i64,
    /// Quarter notes since the bar began.
    pub in_bar: Beats,
    /// How bars are counted.
    pub meter: Meter,
    /// Whether beats go by.
    pub playing: bool,
}

/// A session's beats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BeatMap {
    /// By start, then epoch.
    segments: Vec<Segment>,
}

impl BeatMap {
    /// No beats yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All that is known, in order: what a late joiner is given.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Adds a change. One of the same start counts if its epoch is no earlier; what starts later and is of an earlier epoch is
    /// of a master that is no more, and goes.
    ///
    /// # Errors
    /// The segment cannot be; the map stays as it was.
    pub fn insert(&mut self, segment: Segment, now: SessionTime) -> Result<(), BadSegment> {
        segment.check()?;
        if self.segments.iter().any(|other| other.epoch > segment.epoch && other.start <= segment.start) {
            return Ok(());
        }
        let mut segments = self.segments.clone();
        segments.retain(|other| {
            other.start < segment.start
                || other.epoch > segment.epoch
                || (other.start > segment.start && other.epoch == segment.epoch)
        });
        let place = segments.partition_point(|other| other.start <= segment.start);
        segments.insert(place, segment);
        // Of the past one is enough, but those who look back a little are served as well.
        while segments.len() > SEGMENTS_MAX && segments.get(1).is_some_and(|next| next.start <= now) {
            segments.remove(0);
        }
        if segments.len() > SEGMENTS_MAX {
            return Err(BadSegment::TooMany);
        }
        self.segments = segments;
        Ok(())
    }

    /// The segment that counts at a time: the first one before it has begun, too.
    fn segment(&self, time: SessionTime) -> Option<(&Segment, Option<&Segment>)> {
        let after = self.segments.partition_point(|segment| segment.start <= time);
        let index = after.saturating_sub(1);
        Some((self.segments.get(index)?, self.segments.get(index + 1)))
    }

    /// Where the music is at a time; nothing without a beat.
    #[must_use]
    pub fn at(&self, time: SessionTime) -> Option<Position> {
        self.segment(time).map(|(segment, _)| segment.at(time))
    }

    /// When the next multiple of `grid` quarter notes, counted from a bar's first, comes at or after `time`; nothing while
    /// it stands still, nor where another segment comes first.
    #[must_use]
    pub fn next(&self, time: SessionTime, grid: Beats) -> Option<SessionTime> {
        let (segment, following) = self.segment(time)?;
        if !segment.playing || grid.get() <= 0.0 {
            return None;
        }
        let from = time.max(segment.start);
        let minutes = (from - segment.start).get() as f64 / NANOS_PER_MINUTE;
        let (travelled, _) = segment.travelled(minutes);
        let here = segment.at(from).beat.get();
        let steps = ((here - segment.bar_beat.get()) / grid.get() - 1e-9).ceil();
        let to_go = (segment.bar_beat.get() + steps * grid.get() - here).max(0.0);
        let minutes = segment.lasting(travelled + to_go);
        let at = segment.start + Nanos::new(crate::estimate::rounded(minutes * NANOS_PER_MINUTE));
        following.is_none_or(|following| at < following.start).then_some(at)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn whole_number(value: f64) -> i64 {
    value as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: i64) -> SessionTime {
        SessionTime::new(millis * 1_000_000)
    }

    fn beats(beats: f64) -> Beats {
        Beats::new(beats)
    }

    fn map(segments: &[Segment]) -> BeatMap {
        let mut map = BeatMap::new();
        for segment in segments {
            map.insert(*segment, at(0)).unwrap();
        }
        map
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
    }

    #[test]
    fn a_steady_tempo_counts_bars() {
        let map = map(&[Segment::steady(at(1_000), beats(0.0), 120.0)]);
        let position = map.at(at(1_000 + 4_750)).unwrap();
        near(position.beat.get(), 9.5);
        assert_eq!((position.bar, position.playing), (2, true));
        near(position.in_bar.get(), 1.5);
        assert_eq!(map.at(at(9_000)).unwrap().bar, 4);
        assert_eq!(map.next(at(1_001), beats(1.0)), Some(at(1_500)));
        assert_eq!(map.next(at(1_500), beats(1.0)), Some(at(1_500)));
        assert_eq!(map.next(at(1_501), Meter::COMMON.bar()), Some(at(3_000)));
    }

    #[test]
    fn a_ramp_is_a_straight_line_over_beats() {
        let ramp = Some(Ramp { to_bpm: 150.0, over: beats(32.0) });
        let segment = Segment { ramp, ..Segment::steady(at(0), beats(0.0), 90.0) };
        // The integral of 60 / (90 + 60 b / 32) over 32 beats: 32 ln(150 / 90) seconds.
        let end = 32.0 * (150.0_f64 / 90.0).ln();
        near(segment.lasting(32.0) * 60.0, end);
        let position = segment.at(SessionTime::new(crate::estimate::rounded(end * 1e9)));
        assert!((position.beat.get() - 32.0).abs() < 1e-6 && (position.bpm - 150.0).abs() < 1e-6);
        let half =
            segment.at(SessionTime::new(crate::estimate::rounded(segment.lasting(16.0) * NANOS_PER_MINUTE)));
        assert!((half.bpm - 120.0).abs() < 1e-6, "{half:?}");
        let after = segment.at(SessionTime::new(crate::estimate::rounded((end + 60.0) * 1e9)));
        assert!((after.beat.get() - 182.0).abs() < 1e-6);
    }

    #[test]
    fn a_loop_is_gone_through_again_and_again() {
        let looped = Some((beats(4.0), beats(8.0)));
        let map = map(&[Segment { looped, ..Segment::steady(at(0), beats(2.0), 60.0) }]);
        let beat = |seconds: i64| map.at(at(seconds * 1_000)).unwrap().beat.get();
        assert_eq!([0, 5, 6, 9, 10, 13].map(beat), [2.0, 7.0, 4.0, 7.0, 4.0, 7.0]);
        // Who starts behind it is not caught.
        let behind = map_of_one(Segment { looped, ..Segment::steady(at(0), beats(9.0), 60.0) });
        near(behind.at(at(4_000)).unwrap().beat.get(), 13.0);
    }

    fn map_of_one(segment: Segment) -> BeatMap {
        map(&[segment])
    }

    #[test]
    fn a_stop_stands_still_and_another_meter_counts_from_its_bar() {
        let stop = Segment { playing: false, ..Segment::steady(at(4_000), beats(8.0), 120.0) };
        let waltz = Segment {
            meter: Meter { beats: 6, unit: 8 },
            bar_beat: beats(8.0),
            bar: 2,
            ..Segment::steady(at(6_000), beats(8.0), 120.0)
        };
        let map = map(&[Segment::steady(at(0), beats(0.0), 120.0), stop, waltz]);
        near(map.at(at(5_999)).unwrap().beat.get(), 8.0);
        assert_eq!(map.next(at(5_000), beats(1.0)), None);
        let position = map.at(at(8_000)).unwrap();
        assert_eq!(position.bar, 3);
        near(position.in_bar.get(), 1.0);
        assert_eq!(map.next(at(3_600), beats(1.0)), None, "it stops before");
    }

    #[test]
    fn a_later_epoch_ends_what_an_earlier_one_planned() {
        let mut map = map(&[
            Segment::steady(at(0), beats(0.0), 100.0),
            Segment::steady(at(10_000), beats(20.0), 140.0),
        ]);
        let newer = Segment { epoch: 1, ..Segment::steady(at(5_000), beats(8.0), 90.0) };
        map.insert(newer, at(0)).unwrap();
        assert_eq!(map.segments().len(), 2);
        // A straggler of the old one changes nothing.
        map.insert(Segment::steady(at(12_000), beats(20.0), 140.0), at(0)).unwrap();
        assert_eq!(map.segments().len(), 2);
        near(map.at(at(20_000)).unwrap().bpm, 90.0);
    }

    #[test]
    fn what_cannot_be_is_refused_and_the_map_stays() {
        let good = Segment::steady(at(0), beats(0.0), 120.0);
        let mut map = map(&[good]);
        let mut refused = |segment| map.insert(segment, at(0)).unwrap_err();
        assert_eq!(refused(Segment { bpm: 0.0, ..good }), BadSegment::Tempo(0.0));
        assert!(matches!(refused(Segment { bpm: f64::NAN, ..good }), BadSegment::Tempo(_)));
        assert_eq!(refused(Segment { beat: beats(1e12), ..good }), BadSegment::Position(1e12));
        assert_eq!(refused(Segment { meter: Meter { beats: 4, unit: 3 }, ..good }), BadSegment::Meter(4, 3));
        let looped = Some((beats(4.0), beats(4.0)));
        assert_eq!(refused(Segment { looped, ..good }), BadSegment::Loop(4.0, 4.0));
        let ramp = Some(Ramp { to_bpm: 120.5, over: beats(0.0) });
        assert_eq!(refused(Segment { ramp, ..good }), BadSegment::Position(0.0));
        assert_eq!(map.segments(), [good]);
    }

    #[test]
    fn the_past_is_forgotten_and_the_future_has_an_end() {
        let mut map = BeatMap::new();
        let nth = |n: i64| Segment::steady(at(n), beats(0.0), 120.0);
        for n in 0..1_024 {
            map.insert(nth(n), at(0)).unwrap();
        }
        assert_eq!(map.insert(nth(2_000), at(0)), Err(BadSegment::TooMany));
        map.insert(nth(2_000), at(500)).unwrap();
        assert_eq!((map.segments().len(), map.segments()[0].start), (SEGMENTS_MAX, at(1)));
    }

    proptest! {
        #[test]
        fn when_a_beat_comes_it_is_that_beat(
            bpm in 20.0..400.0_f64,
            to_bpm in 20.0..400.0_f64,
            over in 0.5..64.0_f64,
            from in 0_i64..60_000,
        ) {
            let ramp = Some(Ramp { to_bpm, over: Beats::new(over) });
            let map = map_of_one(Segment { ramp, ..Segment::steady(at(0), beats(0.0), bpm) });
            let next = map.next(at(from), beats(1.0)).unwrap();
            let beat = map.at(next).unwrap().beat.get();
            prop_assert!((beat - beat.round()).abs() < 1e-6, "{beat}");
            prop_assert!(next >= at(from) && beat >= map.at(at(from)).unwrap().beat.get() - 1e-6);
        }

        #[test]
        fn the_order_of_arrival_does_not_matter(order in Just([0_usize, 1, 2, 3]).prop_shuffle()) {
            let all = [
                Segment::steady(at(0), beats(0.0), 100.0),
                Segment::steady(at(3_000), beats(5.0), 140.0),
                Segment { epoch: 1, ..Segment::steady(at(2_000), beats(3.0), 90.0) },
                Segment { epoch: 1, ..Segment::steady(at(9_000), beats(9.0), 60.0) },
            ];
            let shuffled = map(&order.map(|index| all[index]));
            let expected = map(&[all[0], all[2], all[3]]);
            prop_assert_eq!(shuffled, expected);
        }
    }
}
