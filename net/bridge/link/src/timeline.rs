//! Tempo and beats on Link's time.

use audiocloud_units::{HostTime, Nanos};

/// Tempos that Link knows, in beats a minute; a beat is a quarter note.
pub const TEMPO_BPM: std::ops::RangeInclusive<f64> = 20.0..=999.0;
const MICROS_PER_MINUTE: f64 = 60e6;
const MICROBEATS: f64 = 1e6;
/// The same in microseconds of a beat, with room for rounding.
const BEAT_US: std::ops::RangeInclusive<i64> = 60_060..=3_000_000;
/// Beats and times beyond this are nobody's: a thousand million beats, thirty years.
const ORIGIN_MAX: i64 = 1_000_000_000_000_000;

/// A moment of a Link session, in microseconds since its founder began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkTime(i64);

impl LinkTime {
    /// That many microseconds.
    #[must_use]
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Link's time over this machine's: the one is the other and a constant, for Link knows no rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset(i64);

impl Offset {
    /// Link's time less this machine's, in microseconds.
    #[must_use]
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// That time begins now.
    #[must_use]
    pub fn from_zero_at(now: HostTime) -> Self {
        Self(micros(now).saturating_neg())
    }

    /// What Link's clock shows at an instant of this machine, rounded down.
    #[must_use]
    pub fn link_at(self, host: HostTime) -> LinkTime {
        LinkTime(micros(host).saturating_add(self.0))
    }

    /// The inverse.
    #[must_use]
    pub fn host_at(self, link: LinkTime) -> HostTime {
        HostTime::new(0) + Nanos::from_micros(link.0.saturating_sub(self.0))
    }
}

/// A host time in Link's unit, rounded down.
#[must_use]
pub fn micros(host: HostTime) -> i64 {
    host.get().div_euclid(1_000)
}

/// One straight piece, valid before and after its origin: what a session has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// Microseconds of a beat.
    pub beat_us: i64,
    /// The beat at the origin, in millionths. Of two timelines of a session the one with more counts.
    pub beat_origin: i64,
    /// When that beat is.
    pub time_origin: LinkTime,
}

impl Timeline {
    /// This beat at that time, at a tempo that is brought within Link's range.
    #[must_use]
    pub fn new(bpm: f64, beat: f64, at: LinkTime) -> Self {
        Self { beat_us: beat_us(bpm), beat_origin: rounded(beat * MICROBEATS), time_origin: at }
    }

    /// Whether it can be: a tempo that Link knows, and an origin that somebody may have come to.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        BEAT_US.contains(&self.beat_us)
            && (-ORIGIN_MAX..=ORIGIN_MAX).contains(&self.beat_origin)
            && (-ORIGIN_MAX..=ORIGIN_MAX).contains(&self.time_origin.0)
    }

    /// Beats a minute: the number with the fewest decimals that makes these microseconds of a beat.
    #[must_use]
    pub fn bpm(&self) -> f64 {
        let exact = MICROS_PER_MINUTE / self.beat_us as f64;
        [1.0, 10.0, 100.0, 1_000.0]
            .map(|parts| (exact * parts).round() / parts)
            .into_iter()
            .find(|bpm| *bpm > 0.0 && rounded(MICROS_PER_MINUTE / bpm) == self.beat_us)
            .unwrap_or(exact)
    }

    /// The beat at a time.
    #[must_use]
    pub fn beat_at(&self, time: LinkTime) -> f64 {
        let passed = time.0.saturating_sub(self.time_origin.0);
        self.beat_origin as f64 / MICROBEATS + passed as f64 / self.beat_us as f64
    }

    /// When a beat is.
    #[must_use]
    pub fn time_of(&self, beat: f64) -> LinkTime {
        let passed = (beat - self.beat_origin as f64 / MICROBEATS) * self.beat_us as f64;
        LinkTime(self.time_origin.0.saturating_add(rounded(passed)))
    }
}

/// Microseconds of a beat at a tempo.
#[must_use]
pub fn beat_us(bpm: f64) -> i64 {
    rounded(MICROS_PER_MINUTE / bpm).clamp(*BEAT_US.start(), *BEAT_US.end())
}

/// Whether transports run. Of two of a session the one with the later time counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartStop {
    /// Since that time, or from then on.
    pub is_playing: bool,
    /// The session's beat then, in millionths.
    pub beat: i64,
    /// When; 0: nobody has started or stopped anything.
    pub time: LinkTime,
}

impl StartStop {
    /// Started or stopped at a time, as a timeline counts beats.
    #[must_use]
    pub fn new(is_playing: bool, time: LinkTime, timeline: &Timeline) -> Self {
        Self { is_playing, beat: rounded(timeline.beat_at(time) * MICROBEATS), time }
    }

    /// Whether somebody may have done that: not years from now.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        (-ORIGIN_MAX..=ORIGIN_MAX).contains(&self.beat) && (-ORIGIN_MAX..=ORIGIN_MAX).contains(&self.time.0)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn rounded(value: f64) -> i64 {
    value.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_of_times_and_times_of_beats() {
        // As a peer announced it when its tempo went from 120 to 137.5.
        let timeline =
            Timeline { beat_us: 436_364, beat_origin: 12_028_282, time_origin: LinkTime::new(6_013_594) };
        let check = |time: i64, beat: f64| {
            let found = timeline.beat_at(LinkTime::new(time));
            assert!((found - beat).abs() < 1e-6, "{found}, not {beat}");
            assert_eq!(timeline.time_of(found), LinkTime::new(time));
        };
        check(6_013_594, 12.028_282);
        // It said that it started at beat 16.619399 at 8.016993 s: its own tempo has no microseconds.
        check(8_016_993, 16.619_401);
        check(0, -1.752_859);
    }

    #[test]
    fn a_tempo_is_read_as_it_was_meant() {
        for bpm in [20.0, 60.0, 90.0, 120.0, 137.5, 140.0, 174.0, 999.0, 120.25] {
            let timeline = Timeline::new(bpm, 0.0, LinkTime::default());
            assert!((timeline.bpm() - bpm).abs() < 1e-9, "{bpm} became {}", timeline.bpm());
        }
        // What has no short number stays what it is.
        let odd = Timeline { beat_us: 60_101, ..Timeline::new(120.0, 0.0, LinkTime::default()) };
        assert!((odd.bpm() - 60e6 / 60_101.0).abs() < 0.05);
    }

    #[test]
    fn what_cannot_be_is_seen() {
        let good = Timeline::new(120.0, 4.0, LinkTime::new(5));
        assert!(good.is_sane());
        for bad in [
            Timeline { beat_us: 0, ..good },
            Timeline { beat_us: -500_000, ..good },
            Timeline { beat_us: 3_000_001, ..good },
            Timeline { beat_origin: i64::MAX, ..good },
            Timeline { time_origin: LinkTime::new(i64::MIN), ..good },
        ] {
            assert!(!bad.is_sane(), "{bad:?}");
        }
        assert_eq!(Timeline::new(0.0, f64::NAN, LinkTime::default()).beat_us, 3_000_000);
        assert!(!StartStop { time: LinkTime::new(i64::MAX), ..StartStop::default() }.is_sane());
    }

    #[test]
    fn an_offset_goes_there_and_back() {
        let began = HostTime::new(5_000_000_999);
        let offset = Offset::from_zero_at(began);
        assert_eq!(offset.link_at(began), LinkTime::new(0));
        assert_eq!(offset.link_at(began + Nanos::from_millis(3)), LinkTime::new(3_000));
        assert_eq!(offset.host_at(LinkTime::new(3_000)), HostTime::new(5_003_000_000));
    }
}
