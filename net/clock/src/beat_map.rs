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
pub(crate) const NANOS_PER_MINUTE: f64 = 60e9;

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
    /// The clock's epoch that it was made in: an edit of a later one counts more.
    pub epoch: u64,
    /// Number of the edit that it is part of, later ones being greater and no two the same: of one epoch's the greater counts.
    pub serial: u64,
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
            serial: 0,
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

    /// Whether it can be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), BadSegment> {
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

    /// Which edit's it is, the later being greater.
    fn rank(&self) -> (u64, u64) {
        (self.epoch, self.serial)
    }

    /// All of it as numbers: for an order among those of one edit, and to tell maps apart.
    fn bits(&self) -> [u64; 14] {
        let Self { epoch, serial, start, beat, bpm, ramp, meter, bar_beat, bar, looped, playing } = *self;
        let ramp = ramp.map(|Ramp { to_bpm, over }| [to_bpm, over.get()].map(f64::to_bits));
        let looped = looped.map(|(from, to)| [from.get(), to.get()].map(f64::to_bits));
        let flags = u64::from(playing) | u64::from(ramp.is_some()) << 1 | u64::from(looped.is_some()) << 2;
        let [to_bpm, over] = ramp.unwrap_or_default();
        let [from, to] = looped.unwrap_or_default();
        let [beat, bpm, bar_beat] = [beat.get(), bpm, bar_beat.get()].map(f64::to_bits);
        let [start, bar] = [start.get(), bar].map(i64::cast_unsigned);
        let (meter_beats, meter_unit) = (meter.beats.into(), meter.unit.into());
        [
            epoch,
            serial,
            start,
            flags,
            beat,
            bpm,
            to_bpm,
            over,
            bar_beat,
            bar,
            from,
            to,
            meter_beats,
            meter_unit,
        ]
    }

    /// Quarter notes that go by in so many minutes from its start, loops not counted, and the tempo after them.
    ///
    /// The tempo is a straight line over beats, v(b) = v₀ + k·b, so that dt = db / v(b) and b = (v₀/k)·(e^(k·t) − 1).
    pub(crate) fn travelled(&self, minutes: f64) -> (f64, f64) {
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
    pub(crate) fn lasting(&self, beats: f64) -> f64 {
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

    /// Where the music is at a time, were this the last segment.
    #[must_use]
    pub fn at(&self, time: SessionTime) -> Position {
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

    /// As [`BeatMap::next`], as if no other segment followed.
    fn next(&self, time: SessionTime, grid: Beats) -> Option<SessionTime> {
        if !self.playing || grid.get().is_nan() || grid.get() <= 0.0 {
            return None;
        }
        let minutes = (time.max(self.start) - self.start).get() as f64 / NANOS_PER_MINUTE;
        let (travelled, _) = self.travelled(minutes);
        let to_go = self.ahead_of(self.wrapped(self.beat.get() + travelled), grid.get())?;
        let minutes = self.lasting(travelled + to_go);
        Some(self.start + Nanos::new(crate::estimate::rounded(minutes * NANOS_PER_MINUTE)))
    }

    /// Quarter notes from a position to the next line of the grid, as the loop goes; nothing in a loop without a line.
    fn ahead_of(&self, here: f64, grid: f64) -> Option<f64> {
        let line = |from: f64| {
            let lines = ((from - self.bar_beat.get()) / grid - 1e-9).ceil();
            self.bar_beat.get() + lines * grid
        };
        let next = line(here);
        match self.looped.map(|(from, to)| (from.get(), to.get())) {
            // The loop's end is its beginning.
            Some((from, to)) if here < to && next > to - 1e-9 => {
                let again = line(from);
                (again < to - 1e-9).then(|| to - here + (again - from).max(0.0))
            }
            _ => Some((next - here).max(0.0)),
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

/// Puts a segment among others, unless one of them is in its place. Whether it did.
fn put(segments: &mut Vec<Segment>, segment: Segment) -> bool {
    let rank = segment.rank();
    let is_over = |other: &Segment| {
        other.start <= segment.start && other.rank() > rank
            || other.start == segment.start && other.rank() == rank && other.bits() >= segment.bits()
    };
    if segments.iter().any(is_over) {
        return false;
    }
    segments.retain(|other| {
        other.start < segment.start
            || other.rank() > rank
            || (other.start > segment.start && other.rank() == rank)
    });
    let place = segments.partition_point(|other| other.start <= segment.start);
    segments.insert(place, segment);
    true
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
    /// By start.
    segments: Vec<Segment>,
}

impl BeatMap {
    /// No beats yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A number that two maps have in common when they are the same, and else hardly ever: 0 of an empty one.
    #[must_use]
    pub fn digest(&self) -> u64 {
        // FNV-1a over words.
        let hashed =
            |hash: u64, word: u64| (hash ^ word ^ 0xcbf2_9ce4_8422_2325).wrapping_mul(0x0100_0000_01b3);
        self.segments.iter().flat_map(Segment::bits).fold(0, |hash, word| hashed(hash, word).rotate_left(29))
    }

    /// All that is known, in order: what a late joiner is given.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Adds a change. It stands in place of whatever begins with it or later and is of an earlier edit: what was planned then
    /// is no longer. In whatever order the same changes come, the same map comes of it.
    ///
    /// # Errors
    /// The segment cannot be; the map stays as it was.
    pub fn insert(&mut self, segment: Segment, now: SessionTime) -> Result<(), BadSegment> {
        self.merge(&[segment], now).map(drop)
    }

    /// Adds changes likewise, all or none. Those that were news.
    ///
    /// # Errors
    /// As [`BeatMap::insert`].
    pub fn merge(&mut self, changes: &[Segment], now: SessionTime) -> Result<Vec<Segment>, BadSegment> {
        let mut segments = self.segments.clone();
        let mut news = Vec::new();
        for segment in changes {
            segment.check()?;
            if put(&mut segments, *segment) {
                news.push(*segment);
            }
            // Of the past one is enough, but those who look back a little are served as well.
            while segments.len() > SEGMENTS_MAX && segments.get(1).is_some_and(|next| next.start <= now) {
                segments.remove(0);
            }
            if segments.len() > SEGMENTS_MAX {
                return Err(BadSegment::TooMany);
            }
        }
        // What was forgotten at once is no news: others would be told of it for ever.
        news.retain(|new| segments.contains(new));
        self.segments = segments;
        Ok(news)
    }

    /// The segment that counts at a time, and the one after it: the first one before it has begun, too.
    #[must_use]
    pub fn segment(&self, time: SessionTime) -> Option<(&Segment, Option<&Segment>)> {
        let after = self.segments.partition_point(|segment| segment.start <= time);
        let index = after.saturating_sub(1);
        Some((self.segments.get(index)?, self.segments.get(index + 1)))
    }

    /// Where the music is at a time; nothing without a beat.
    #[must_use]
    pub fn at(&self, time: SessionTime) -> Option<Position> {
        self.segment(time).map(|(segment, _)| segment.at(time))
    }

    /// When the next multiple of `grid` quarter notes, counted from a bar's first, comes at or after `time`, through loops
    /// and segments to come; nothing where none does. *Realtime-safe: yes.*
    #[must_use]
    pub fn next(&self, time: SessionTime, grid: Beats) -> Option<SessionTime> {
        let first = self.segments.partition_point(|segment| segment.start <= time).saturating_sub(1);
        (first..self.segments.len()).find_map(|index| {
            let at = self.segments.get(index)?.next(time, grid)?;
            self.segments.get(index + 1).is_none_or(|following| at < following.start).then_some(at)
        })
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
        assert_eq!(behind.next(at(1_500), beats(1.0)), Some(at(2_000)));
    }

    #[test]
    fn the_next_beat_is_the_one_that_a_loop_comes_to() {
        let next = |looped: (f64, f64), millis: i64| {
            let looped = Some((beats(looped.0), beats(looped.1)));
            map_of_one(Segment { looped, ..Segment::steady(at(0), beats(0.0), 60.0) })
                .next(at(millis), beats(1.0))
        };
        // The end is the beginning, which is a line, or is not; what is behind the end never comes.
        assert_eq!(next((4.0, 8.0), 7_200), Some(at(8_000)));
        assert_eq!(next((4.5, 8.0), 7_200), Some(at(8_500)));
        assert_eq!(next((4.0, 7.5), 7_200), Some(at(7_500)));
        assert_eq!(next((4.25, 7.5), 7_200), Some(at(8_250)));
        // The thirtieth time round, at 5.745.
        assert_eq!(next((4.25, 7.5), 99_995), Some(at(100_250)));
        assert_eq!(next((4.25, 4.75), 9_000), None, "a loop between two beats");
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
        assert_eq!(map.next(at(5_000), beats(1.0)), Some(at(6_000)), "where it goes on");
        let position = map.at(at(8_000)).unwrap();
        assert_eq!(position.bar, 3);
        near(position.in_bar.get(), 1.0);
        assert_eq!(map.next(at(3_600), beats(1.0)), Some(at(6_000)), "it stops before");
        let stopped = map_of_one(stop);
        assert_eq!(stopped.next(at(5_000), beats(1.0)), None);
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
    fn a_later_edit_stands_in_place_of_what_was_planned_and_its_own_pieces_of_each_other() {
        let edit = |serial, start, bpm| Segment { serial, ..Segment::steady(at(start), beats(0.0), bpm) };
        let all = [edit(1, 0, 100.0), edit(1, 8_000, 110.0), edit(2, 4_000, 120.0), edit(2, 6_000, 130.0)];
        let expected = map(&[all[0], all[2], all[3]]);
        assert_eq!(expected.segments().len(), 3);
        for [a, b, c, d] in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
            let other = map(&[all[a], all[b], all[c], all[d]]);
            assert_eq!(other, expected);
            assert_eq!(other.digest(), expected.digest());
        }
        assert_ne!(map(&all[..3]).digest(), expected.digest());
        assert_eq!(BeatMap::new().digest(), 0);
        // Of two that claim one number and one start all choose the same.
        let [one, two] = [edit(3, 0, 90.0), edit(3, 0, 91.0)];
        assert_eq!(map(&[one, two]), map(&[two, one]));
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
