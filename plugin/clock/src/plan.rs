//! Segments as they are planned: one carried on to a later time, and where lines of bars lie on it.

use audiocloud_engine::units::{Beats, SessionTime};
use audiocloud_net::clock::beat_map::{BeatMap, Ramp, Segment};
use nice_plug::prelude::Enum;

/// When what is asked for happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
pub enum Quantum {
    /// As soon as everybody can know of it.
    #[default]
    #[id = "at-once"]
    #[name = "At once"]
    AtOnce,
    #[id = "beat"]
    #[name = "Next beat"]
    Beat,
    #[id = "bar"]
    #[name = "Next bar"]
    Bar,
    #[id = "two-bars"]
    #[name = "Next 2 bars"]
    TwoBars,
    #[id = "four-bars"]
    #[name = "Next 4 bars"]
    FourBars,
}

impl Quantum {
    /// Bars of one; none: it is a beat, or nothing at all.
    fn bars(self) -> Option<u32> {
        match self {
            Self::AtOnce | Self::Beat => None,
            Self::Bar => Some(1),
            Self::TwoBars => Some(2),
            Self::FourBars => Some(4),
        }
    }
}

/// A map of this segment alone; none where it cannot be.
pub(crate) fn map_of(segment: Segment) -> Option<BeatMap> {
    let mut map = BeatMap::new();
    map.insert(segment, segment.start).ok().map(|()| map)
}

/// The segment of a map that counts at a time.
pub(crate) fn segment_at(map: &BeatMap, time: SessionTime) -> Option<Segment> {
    map.segment(time).map(|(segment, _)| *segment)
}

/// What begins at a time and goes on as the map does there, planned changes left out.
pub(crate) fn carried(map: &BeatMap, time: SessionTime) -> Option<Segment> {
    let segment = segment_at(map, time)?;
    let here = segment.at(time);
    let ramp = segment.ramp.and_then(|ramp| {
        let slope = (ramp.to_bpm - segment.bpm) / ramp.over.get();
        let left = (ramp.to_bpm - here.bpm) / slope;
        (left > 1e-6).then_some(Ramp { over: Beats::new(left), ..ramp })
    });
    Some(Segment { start: time.max(segment.start), beat: here.beat, bpm: here.bpm, ramp, ..segment })
}

/// When a segment comes to a multiple of the quantum at or after a time; none while it stands still.
pub(crate) fn line_of(segment: &Segment, quantum: Quantum, time: SessionTime) -> Option<SessionTime> {
    let bar = segment.meter.bar();
    let grid = match (quantum, quantum.bars()) {
        (Quantum::AtOnce, _) => return Some(time),
        (_, None) => Beats::new(4.0 / f64::from(segment.meter.unit.max(1))),
        (_, Some(bars)) => Beats::new(bar.get() * f64::from(bars)),
    };
    // Counted from the very first bar, so that four bars are the same four for everybody.
    let first = segment.bar_beat.get() - bar.get() * segment.bar as f64;
    map_of(Segment { bar_beat: Beats::new(first), bar: 0, ..*segment })?.next(time, grid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> SessionTime {
        SessionTime::new(millis * 1_000_000)
    }

    fn beats(beats: f64) -> Beats {
        Beats::new(beats)
    }

    #[test]
    fn what_is_carried_on_goes_where_it_would_have_gone() {
        let ramp = Some(Ramp { to_bpm: 150.0, over: beats(32.0) });
        let looped = Some((beats(4.0), beats(20.0)));
        let whole = map_of(Segment { ramp, looped, ..Segment::steady(at(0), beats(0.0), 90.0) }).unwrap();
        for millis in [0, 3_000, 12_000, 40_000] {
            let rest = map_of(carried(&whole, at(millis)).unwrap()).unwrap();
            for later in [0, 10, 1_000, 9_000, 30_000] {
                let time = at(millis + later);
                let (one, other) = (whole.at(time).unwrap(), rest.at(time).unwrap());
                let off = (one.beat.get() - other.beat.get()).abs();
                // The very end of a loop is its beginning.
                let off = off.min((off - 16.0).abs());
                assert!(off < 1e-5 && (one.bpm - other.bpm).abs() < 1e-5, "{one:?} {other:?}");
            }
        }
        assert_eq!(carried(&BeatMap::new(), at(0)), None);
    }

    #[test]
    fn lines_are_counted_from_the_first_bar() {
        let third_bar = Segment { bar_beat: beats(8.0), bar: 2, ..Segment::steady(at(0), beats(9.5), 60.0) };
        let line = |quantum| line_of(&third_bar, quantum, at(100)).map(|time| time.get() / 1_000_000);
        assert_eq!(line(Quantum::AtOnce), Some(100));
        assert_eq!(line(Quantum::Beat), Some(500));
        assert_eq!(line(Quantum::Bar), Some(2_500));
        assert_eq!(line(Quantum::TwoBars), Some(6_500), "the fifth bar");
        assert_eq!(line(Quantum::FourBars), Some(6_500));
        assert_eq!(line_of(&third_bar, Quantum::FourBars, at(6_600)).unwrap(), at(22_500));
        let stopped = Segment { playing: false, ..third_bar };
        assert_eq!(line_of(&stopped, Quantum::Bar, at(0)), None);
    }
}
