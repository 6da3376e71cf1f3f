//! MIDI Time Code: frame rates, labels of frames, and the quarter frames of a song that plays.
//!
//! Eight quarter frames carry one label, that of the frame at which the first of them was sent; so a label takes two frames,
//! and begins with frames of even number. A place that is jumped to, or stood at, is told by a full frame first.

use audiocloud_clock::beat_map::BeatMap;
use audiocloud_units::{Nanos, SessionTime};

use crate::message::Message;
use crate::song_time::{self, Run};

/// Quarter frames of one label.
const PIECES: i64 = 8;
/// Runs that differ by less go on as one.
const NEAR: Nanos = Nanos::from_micros(500);
/// Labels go round each day; songs of more than a few have none.
const SONG_MAX: Nanos = Nanos::from_secs(10 * 86_400);
/// No run is looked at for less: a loop's pass takes longer, and rounding may make it nothing.
const LEAST: Nanos = Nanos::from_micros(100);
const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Frames a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrameRate {
    /// 24, of film.
    Film24,
    /// 25, of European television.
    #[default]
    Film25,
    /// 30000/1001, of American television: two labels are dropped each minute but the tenth.
    Drop2997,
    /// 30.
    Whole30,
}

/// A frame's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timecode {
    /// 0 to 23.
    pub hours: u8,
    /// 0 to 59.
    pub minutes: u8,
    /// 0 to 59.
    pub seconds: u8,
    /// From 0 to below the rate.
    pub frames: u8,
    /// How frames are counted.
    pub rate: FrameRate,
}

impl FrameRate {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Film24, Self::Film25, Self::Drop2997, Self::Whole30];

    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Film24 => "24 frames",
            Self::Film25 => "25 frames",
            Self::Drop2997 => "29.97 frames, drop",
            Self::Whole30 => "30 frames",
        }
    }

    /// As two bits of a label.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Film24 => 0,
            Self::Film25 => 1,
            Self::Drop2997 => 2,
            Self::Whole30 => 3,
        }
    }

    /// Frames that are counted as a second.
    fn nominal(self) -> i64 {
        match self {
            Self::Film24 => 24,
            Self::Film25 => 25,
            Self::Drop2997 | Self::Whole30 => 30,
        }
    }

    /// Frames in so many seconds.
    fn ratio(self) -> (i128, i128) {
        match self {
            Self::Drop2997 => (30_000, 1_001),
            other => (other.nominal().into(), 1),
        }
    }

    /// The first quarter frame at or after a time of the song.
    fn quarter_from(self, song: Nanos) -> i64 {
        let (frames, seconds) = self.ratio();
        let quarters = i128::from(song.get()) * frames * 4;
        let each = seconds * NANOS_PER_SECOND;
        i64::try_from(-(-quarters).div_euclid(each)).unwrap_or(i64::MAX)
    }

    /// When a quarter frame begins, in the song: the first nanosecond of it.
    fn quarter_at(self, quarter: i64) -> Nanos {
        let (frames, seconds) = self.ratio();
        let nanos = i128::from(quarter) * seconds * NANOS_PER_SECOND;
        Nanos::new(i64::try_from(-(-nanos).div_euclid(frames * 4)).unwrap_or(i64::MAX))
    }

    /// The label of a frame by its number, as a day has them.
    #[must_use]
    pub fn label(self, frame: i64) -> Timecode {
        let nominal = self.nominal();
        let number = match self {
            // Ten minutes have 17,982 frames: 1,800 of the first minute, 1,798 of each other one.
            Self::Drop2997 => {
                let frame = frame.rem_euclid(24 * 6 * 17_982);
                let (tens, rest) = (frame / 17_982, frame % 17_982);
                let dropped = if rest < 1_800 { 0 } else { 2 + (rest - 1_800) / 1_798 * 2 };
                tens * 18_000 + rest + dropped
            }
            _ => frame.rem_euclid(nominal * 86_400),
        };
        let part = |value: i64| u8::try_from(value).unwrap_or(0);
        Timecode {
            hours: part(number / (nominal * 3_600)),
            minutes: part(number / (nominal * 60) % 60),
            seconds: part(number / nominal % 60),
            frames: part(number % nominal),
            rate: self,
        }
    }
}

impl Timecode {
    /// Four bits of it, for the quarter frame of this number.
    fn piece(&self, piece: i64) -> u8 {
        let (value, high) = match piece / 2 {
            0 => (self.frames, 0),
            1 => (self.seconds, 0),
            2 => (self.minutes, 0),
            _ => (self.hours, self.rate.code() << 1),
        };
        if piece % 2 == 0 { value & 15 } else { value >> 4 | high }
    }
}

/// What one session's time code has said so far.
#[derive(Debug)]
pub struct Code {
    rate: FrameRate,
    /// Up to here everything was sent.
    reached: Option<SessionTime>,
    run: Option<Run>,
    /// The quarter frame that comes next, once a label has been begun.
    next: Option<i64>,
}

impl Code {
    /// Nothing was said.
    #[must_use]
    pub fn new(rate: FrameRate) -> Self {
        Self { rate, reached: None, run: None, next: None }
    }

    /// All that is to be sent until a time, in order, once. Times that lie more than a second apart count as a jump.
    pub fn advance(&mut self, map: &BeatMap, until: SessionTime, mut send: impl FnMut(SessionTime, Message)) {
        let far = |reached: SessionTime| (until - reached).abs() > Nanos::from_secs(1);
        let mut reached = self.reached.filter(|reached| !far(*reached)).unwrap_or(until);
        while reached < until {
            let Some(run) = song_time::run(map, reached) else {
                // Before the first beat.
                (self.run, self.next) = (None, None);
                reached = map.segments().first().map_or(until, |first| first.start.min(until));
                continue;
            };
            let ends = run.ends.map_or(until, |ends| ends.min(until)).max((reached + LEAST).min(until));
            if run.at(reached).abs() > SONG_MAX {
                (self.run, self.next) = (None, None);
                reached = ends;
                continue;
            }
            if !self.goes_on(&run, reached) {
                self.next = None;
                let frame = self.rate.quarter_from(run.at(reached)).div_euclid(4);
                if frame >= 0 {
                    send(reached, Message::FullFrame(self.rate.label(frame)));
                }
            }
            self.run = Some(run);
            if run.playing {
                self.play(&run, reached, ends, &mut send);
            }
            reached = ends;
        }
        self.reached = Some(reached.max(until));
    }

    /// Whether a run is what was expected: the same, or one that joins it.
    fn goes_on(&self, run: &Run, at: SessionTime) -> bool {
        self.run.is_some_and(|before| {
            let expected = if before.playing { before.at(at) } else { before.song };
            before.playing == run.playing && (expected - run.at(at)).abs() < NEAR
        })
    }

    fn play(
        &mut self,
        run: &Run,
        from: SessionTime,
        ends: SessionTime,
        send: &mut impl FnMut(SessionTime, Message),
    ) {
        let first = self.rate.quarter_from(run.at(from));
        let mut quarter = match self.next {
            // One that was sent already does not come again, where runs join with a hair between them.
            Some(next) if (first - next).abs() <= 1 => next,
            _ => first.max(0) + (-first.max(0)).rem_euclid(PIECES),
        };
        loop {
            let at = (run.begins + (self.rate.quarter_at(quarter) - run.song)).max(from);
            if at >= ends {
                return;
            }
            let piece = quarter % PIECES;
            let label = self.rate.label((quarter - piece) / 4);
            send(at, Message::QuarterFrame(u8::try_from(piece).unwrap_or(0), label.piece(piece)));
            quarter += 1;
            self.next = Some(quarter);
        }
    }
}

#[cfg(test)]
mod tests;
