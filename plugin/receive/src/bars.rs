//! By how much a stream is late when it is late by whole bars: for playing along with it, whatever the distance.
//!
//! What is heard in a bar was recorded in the bar so many before it, from its first beat on. As long as the tempo stays, that
//! is one offset for ever. Where it changes, the offset changes at a bar line, and nowhere else: a bar that was longer than
//! the one it is heard in is cut short, one that was shorter is followed by its next.

use audiocloud_engine::stream::receiver::LinkOffset;
use audiocloud_engine::units::{Nanos, SessionTime};
use audiocloud_net::clock::beat_map::BeatMap;

/// Longer than this nothing is kept: sixteen bars of four beats at 120 a minute.
pub(crate) const LONGEST: Nanos = Nanos::from_secs(33);
/// What a stream has to have in hand, or a multiple of the bars is taken.
const ROOM: Nanos = Nanos::from_millis(5);
/// Behind a bar line the next one is looked for.
const BEHIND: Nanos = Nanos::from_millis(1);

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bars {
    /// Late by so many, which is so much.
    Kept { bars: usize, link_offset: LinkOffset },
    /// There are no bars.
    NoBeat,
    /// So many last longer than can be kept.
    TooLong { bars: usize },
}

/// So many bars of the map at `now`, or a multiple of them where `needs` asks for more.
pub(crate) fn find(map: &BeatMap, now: SessionTime, bars: usize, needs: Nanos) -> Bars {
    let Some(length) = length(map, now) else { return Bars::NoBeat };
    let least = (needs + ROOM).get();
    let span = length.get().saturating_mul(i64::try_from(bars).unwrap_or(i64::MAX)).max(1);
    let times = usize::try_from((least + span - 1) / span).unwrap_or(1).max(1);
    let bars = bars * times;
    let lines = Lines::around(map, now, bars, length);
    let link_offset = LinkOffset::Set {
        now: lines.offset(0, bars),
        then: lines.next().map(|at| (at, lines.offset(1, bars))),
    };
    let longest = lines.offset(0, bars).max(lines.offset(1, bars));
    if longest > LONGEST { Bars::TooLong { bars } } else { Bars::Kept { bars, link_offset } }
}

/// How long a bar lasts at the tempo that there is.
fn length(map: &BeatMap, at: SessionTime) -> Option<Nanos> {
    let position = map.at(at)?;
    #[allow(clippy::cast_possible_truncation, reason = "a cast saturates, and tempi are bounded")]
    let nanos = (position.meter.bar().get() * 60e9 / position.bpm).round() as i64;
    Some(Nanos::new(nanos))
}

/// Bar lines in order, and which is the last before now.
struct Lines {
    at: Vec<SessionTime>,
    here: usize,
    /// Before the first, and behind the last, all bars last as long as the first.
    length: Nanos,
}

impl Lines {
    fn around(map: &BeatMap, now: SessionTime, bars: usize, length: Nanos) -> Self {
        let began = map.segments().first().map_or(now, |segment| segment.start);
        let wanted = i64::try_from(bars + 2).unwrap_or(i64::MAX);
        let (mut back, mut at) = (length.get().saturating_mul(wanted), Vec::new());
        // Bars were longer perhaps: look back further then.
        for _ in 0..4 {
            let from = (now - Nanos::new(back)).max(began);
            at = lines(map, from, now, bars);
            if at.iter().filter(|line| **line <= now).count() > bars + 1 || from == began {
                break;
            }
            back = back.saturating_mul(2);
        }
        let here = at.partition_point(|line| *line <= now);
        // Within a ramp the one at hand has another length at each moment.
        let length = if let [first, second, ..] = at[..] { second - first } else { length };
        Self { at, here, length }
    }

    /// The line so many after the last one before now.
    fn line(&self, number: i64) -> Option<SessionTime> {
        let index = i64::try_from(self.here).ok()? - 1 + number;
        let last = i64::try_from(self.at.len()).ok()? - 1;
        let inside = index.clamp(0, last);
        let line = *self.at.get(usize::try_from(inside).ok()?)?;
        Some(line + Nanos::new(self.length.get().saturating_mul(index - inside)))
    }

    /// The next one, where one comes.
    fn next(&self) -> Option<SessionTime> {
        self.at.get(self.here).copied()
    }

    /// By how much the bar so many after this one is late when it is late by `bars`.
    fn offset(&self, number: i64, bars: usize) -> Nanos {
        let bars = i64::try_from(bars).unwrap_or(i64::MAX);
        match (self.line(number), self.line(number - bars)) {
            (Some(later), Some(earlier)) => later - earlier,
            _ => Nanos::new(self.length.get().saturating_mul(bars)),
        }
    }
}

/// All bar lines from a time on until the first one after `now`.
fn lines(map: &BeatMap, from: SessionTime, now: SessionTime, bars: usize) -> Vec<SessionTime> {
    let (mut found, mut at) = (Vec::new(), from);
    // Eight times as many would be bars an eighth as long as they are now.
    while found.len() < 8 * (bars + 2)
        && let Some(position) = map.at(at)
        && let Some(line) = map.next(at, position.meter.bar())
    {
        found.push(line);
        if line > now {
            break;
        }
        at = line + BEHIND;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::units::Beats;
    use audiocloud_net::clock::beat_map::{Meter, Ramp, Segment};

    fn at(millis: i64) -> SessionTime {
        SessionTime::new(1_000_000_000_000 + millis * 1_000_000)
    }

    fn ms(millis: i64) -> Nanos {
        Nanos::from_millis(millis)
    }

    fn map(segments: &[Segment]) -> BeatMap {
        let mut map = BeatMap::new();
        for segment in segments {
            map.insert(*segment, at(0)).unwrap();
        }
        map
    }

    /// To the microsecond.
    fn kept(map: &BeatMap, now: i64, bars: usize) -> (i64, Option<(i64, i64)>) {
        let Bars::Kept { link_offset: LinkOffset::Set { now: offset, then }, .. } =
            find(map, at(now), bars, ms(30))
        else {
            panic!("bars are kept at {now} ms")
        };
        let micros = |span: Nanos| (span.get() + 500) / 1_000;
        (micros(offset), then.map(|(line, then)| (micros(line - at(0)), micros(then))))
    }

    #[test]
    fn at_one_tempo_it_is_one_offset() {
        // Bars of two seconds.
        let steady = map(&[Segment::steady(at(0), Beats::new(0.0), 120.0)]);
        for now in [500, 1_999, 2_000, 61_234] {
            let next = (now / 2_000 + 1) * 2_000_000;
            assert_eq!(kept(&steady, now, 1), (2_000_000, Some((next, 2_000_000))), "{now}");
            assert_eq!(kept(&steady, now, 4), (8_000_000, Some((next, 8_000_000))), "{now}");
        }
        let waltz =
            Segment { meter: Meter { beats: 3, unit: 4 }, ..Segment::steady(at(0), Beats::new(0.0), 90.0) };
        assert_eq!(kept(&map(&[waltz]), 10_500, 2), (4_000_000, Some((12_000_000, 4_000_000))));
    }

    #[test]
    fn another_tempo_counts_from_the_bar_lines_on() {
        // From bar 8 on bars last a second.
        let faster = [
            Segment::steady(at(0), Beats::new(0.0), 120.0),
            Segment::steady(at(16_000), Beats::new(32.0), 240.0),
        ];
        let map = map(&faster);
        assert_eq!(kept(&map, 15_900, 2), (4_000_000, Some((16_000_000, 4_000_000))));
        // Bar 9 is heard a bar after the change: bar 7 was recorded two seconds before it.
        assert_eq!(kept(&map, 16_100, 2), (4_000_000, Some((17_000_000, 3_000_000))));
        assert_eq!(kept(&map, 17_100, 2), (3_000_000, Some((18_000_000, 2_000_000))));
        assert_eq!(kept(&map, 18_100, 2), (2_000_000, Some((19_000_000, 2_000_000))));
    }

    #[test]
    fn a_ramp_moves_it_from_bar_to_bar_and_never_within() {
        let ramp = Some(Ramp { to_bpm: 150.0, over: Beats::new(32.0) });
        let map = map(&[Segment { ramp, ..Segment::steady(at(0), Beats::new(0.0), 90.0) }]);
        let mut now = 0;
        for _ in 0..12 {
            let (offset, then) = kept(&map, now + 10, 2);
            let (line, next) = then.unwrap();
            assert_eq!(kept(&map, line / 1_000 - 1, 2).0, offset, "{now}");
            assert!(next <= offset, "{now}");
            now = line / 1_000;
        }
        assert_eq!(kept(&map, now + 10, 2).0, 3_200_000);
    }

    #[test]
    fn what_is_not_there_in_time_takes_more_bars_and_what_lasts_too_long_is_said() {
        let quick =
            Segment { meter: Meter { beats: 1, unit: 16 }, ..Segment::steady(at(0), Beats::new(0.0), 240.0) };
        let found = find(&map(&[quick]), at(9_000), 1, ms(150));
        assert!(matches!(found, Bars::Kept { bars: 3, .. }), "{found:?}");
        let slow = map(&[Segment::steady(at(0), Beats::new(0.0), 60.0)]);
        assert_eq!(find(&slow, at(9_000), 16, ms(30)), Bars::TooLong { bars: 16 });
        assert_eq!(find(&BeatMap::new(), at(0), 1, ms(30)), Bars::NoBeat);
    }

    #[test]
    fn a_loop_and_a_stop_change_nothing_of_how_long_bars_are() {
        let steady = Segment::steady(at(0), Beats::new(0.0), 120.0);
        let looped = Segment { looped: Some((Beats::new(4.0), Beats::new(12.0))), ..steady };
        assert_eq!(kept(&map(&[looped]), 21_000, 2), (4_000_000, Some((22_000_000, 4_000_000))));
        let stopped = Segment { playing: false, ..Segment::steady(at(9_000), Beats::new(18.0), 120.0) };
        let (offset, then) = kept(&map(&[steady, stopped]), 30_000, 2);
        assert_eq!((offset, then), (4_000_000, None));
    }
}
