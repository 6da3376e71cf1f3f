//! Where a segment's position goes on without a jump: all of it, or from one pass of its loop to the next.

use audiocloud_units::{Beats, Nanos, SessionTime};

use crate::beat_map::{NANOS_PER_MINUTE, Segment};
use crate::estimate::rounded;

/// A stretch of a segment. The position goes evenly through it, in ramps too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// The segment's start, or when the loop's beginning was come to again.
    pub begins: SessionTime,
    /// The position then.
    pub beat: Beats,
    /// When the loop's end is come to, unless another segment comes first; nothing outside of loops.
    pub ends: Option<SessionTime>,
}

impl Segment {
    /// When its position first comes to `beat`; nothing if it is beyond it, or stands still.
    #[must_use]
    pub fn reaches(&self, beat: Beats) -> Option<SessionTime> {
        (self.playing && beat >= self.beat).then(|| self.after(beat.get() - self.beat.get()))
    }

    /// The stretch around a time.
    #[must_use]
    pub fn stretch(&self, time: SessionTime) -> Stretch {
        let whole = Stretch { begins: self.start, beat: self.beat, ends: None };
        let Some((from, to)) = self.looped.filter(|(_, to)| self.playing && self.beat < *to) else {
            return whole;
        };
        let first = to.get() - self.beat.get();
        let length = to.get() - from.get();
        let ends = self.after(first);
        if time < ends {
            return Stretch { ends: Some(ends), ..whole };
        }
        let (travelled, _) = self.travelled((time - self.start).get() as f64 / NANOS_PER_MINUTE);
        let mut passes = ((travelled - first) / length).floor().max(0.0);
        // The end itself belongs to the next pass, also where rounding says otherwise.
        if self.after(first + (passes + 1.0) * length) <= time {
            passes += 1.0;
        }
        Stretch {
            begins: self.after(first + passes * length),
            beat: from,
            ends: Some(self.after(first + (passes + 1.0) * length)),
        }
    }

    /// When so many quarter notes have gone by, loops not counted.
    fn after(&self, beats: f64) -> SessionTime {
        self.start + Nanos::new(rounded(self.lasting(beats) * NANOS_PER_MINUTE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beat_map::Ramp;

    fn at(millis: i64) -> SessionTime {
        SessionTime::new(millis * 1_000_000)
    }

    fn stretch(segment: &Segment, millis: i64) -> (i64, f64, Option<i64>) {
        let Stretch { begins, beat, ends } = segment.stretch(at(millis));
        let millis = |time: SessionTime| rounded(time.get() as f64 / 1e6);
        (millis(begins), beat.get(), ends.map(millis))
    }

    #[test]
    fn a_loop_is_cut_into_its_passes() {
        let looped = Some((Beats::new(4.0), Beats::new(8.0)));
        let segment = Segment { looped, ..Segment::steady(at(1_000), Beats::new(2.0), 60.0) };
        assert_eq!(stretch(&segment, 1_000), (1_000, 2.0, Some(7_000)));
        assert_eq!(stretch(&segment, 6_999), (1_000, 2.0, Some(7_000)));
        assert_eq!(stretch(&segment, 7_000), (7_000, 4.0, Some(11_000)));
        assert_eq!(stretch(&segment, 10_999), (7_000, 4.0, Some(11_000)));
        assert_eq!(stretch(&segment, 4_011_000), (4_011_000, 4.0, Some(4_015_000)));
    }

    #[test]
    fn what_does_not_loop_is_one() {
        let looped = Some((Beats::new(4.0), Beats::new(8.0)));
        let steady = Segment::steady(at(0), Beats::new(9.0), 60.0);
        assert_eq!(stretch(&steady, 5_000), (0, 9.0, None));
        assert_eq!(stretch(&Segment { looped, ..steady }, 5_000), (0, 9.0, None), "it began behind the loop");
        let stopped = Segment { looped, playing: false, ..Segment::steady(at(0), Beats::new(2.0), 60.0) };
        assert_eq!(stretch(&stopped, 50_000), (0, 2.0, None));
    }

    #[test]
    fn passes_of_a_ramp_become_shorter() {
        let ramp = Some(Ramp { to_bpm: 120.0, over: Beats::new(16.0) });
        let looped = Some((Beats::new(0.0), Beats::new(4.0)));
        let segment = Segment { ramp, looped, ..Segment::steady(at(0), Beats::new(0.0), 60.0) };
        let lasts = |at: i64| {
            let (begins, _, ends) = stretch(&segment, at);
            ends.unwrap() - begins
        };
        // 16·ln(75/60), then 16·ln(90/75) seconds; at last 4 quarters of half a second.
        assert_eq!([lasts(0), lasts(3_600), lasts(60_000)], [3_570, 2_917, 2_000]);
    }

    #[test]
    fn a_beat_is_reached_once() {
        let segment = Segment::steady(at(1_000), Beats::new(2.0), 120.0);
        assert_eq!(segment.reaches(Beats::new(4.0)), Some(at(2_000)));
        assert_eq!(segment.reaches(Beats::new(1.0)), None);
        assert_eq!(Segment { playing: false, ..segment }.reaches(Beats::new(4.0)), None);
    }
}
