//! Link's session and the map, looked at side by side.

use audiocloud_clock::beat_map::{BeatMap, Meter, Position, Ramp, Segment};
use audiocloud_units::{Beats, HostTime, Nanos, SessionLine, SessionTime};

use crate::node::Shared;
use crate::timeline::{LinkTime, Timeline, beat_us};

/// In a ramp any tempo is right that the map has had or will have within this.
const RAMP_LOOK: Nanos = Nanos::from_millis(250);
/// Link counts beats in millionths: so much more is more.
const MORE: f64 = 2e-6;

/// A map that is not empty, the time that it is on, and what Link's peers have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'a> {
    pub(super) line: SessionLine,
    pub(super) map: &'a BeatMap,
    pub(super) shared: Shared,
}

impl Look<'_> {
    pub(super) fn host_at(&self, at: SessionTime) -> HostTime {
        self.line.host_at(at)
    }

    pub(super) fn link_at(&self, at: SessionTime) -> LinkTime {
        self.shared.offset.link_at(self.host_at(at))
    }

    /// Link's beat then.
    pub(super) fn link_beat(&self, at: SessionTime) -> f64 {
        self.shared.timeline.beat_at(self.link_at(at))
    }

    /// Where the map is then; nowhere, at 120, if it is empty after all.
    pub(super) fn position(&self, at: SessionTime) -> Position {
        self.map.at(at).unwrap_or(Position {
            beat: Beats::new(0.0),
            bpm: 120.0,
            bar: 0,
            in_bar: Beats::new(0.0),
            meter: Meter::COMMON,
            playing: false,
        })
    }

    /// Whether the tempo is on its way to another.
    pub(super) fn is_ramp(&self, at: SessionTime) -> bool {
        self.map.segment(at).is_some_and(|(segment, _)| {
            segment.playing && ramp_end(segment).is_some_and(|end| segment.start <= at && at < end)
        })
    }

    /// Whether Link has the map's tempo of that time; in a ramp, of about that time.
    pub(super) fn has_tempo(&self, at: SessionTime) -> bool {
        let map = |at| beat_us(self.position(at).bpm);
        let link = self.shared.timeline.beat_us;
        if self.is_ramp(at) {
            let (one, other) = (map(at - RAMP_LOOK), map(at + RAMP_LOOK));
            (one.min(other) - 1..=one.max(other) + 1).contains(&link)
        } else {
            (map(at) - link).abs() <= 1
        }
    }

    /// By how much Link's bar is ahead of the map's then, at the map's tempo; half a bar at most.
    pub(super) fn off(&self, at: SessionTime) -> Nanos {
        let position = self.position(at);
        let bar = position.meter.bar().get();
        minutes(nearest(self.link_beat(at) - position.in_bar.get(), bar) / position.bpm)
    }

    /// Whether both are at one then: transport, tempo and, while they play, phase.
    pub(super) fn agrees(&self, at: SessionTime, tolerance: Nanos) -> bool {
        let playing = self.position(at).playing;
        playing == self.shared.start_stop.is_playing
            && self.has_tempo(at)
            && (!playing || self.off(at).abs() <= tolerance)
    }

    /// The first time within `plan` from now at which something that is planned makes them so; not on the way of a ramp,
    /// where Link can be at one with the map by chance.
    pub(super) fn agreement(&self, now: SessionTime, plan: Nanos, tolerance: Nanos) -> Option<SessionTime> {
        let ends = self.map.segments().iter().filter_map(ramp_end);
        let starts = self.map.segments().iter().map(|segment| segment.start);
        let mut planned: Vec<SessionTime> =
            starts.chain(ends).filter(|at| *at > now && *at <= now + plan).collect();
        planned.sort_unstable();
        planned.into_iter().find(|at| !self.is_ramp(*at) && self.agrees(*at, tolerance))
    }

    /// When the map is what Link is to be compared with: now, or, while it stands still, at the moment at which it goes on,
    /// if that is planned within `plan`.
    pub(super) fn counts_at(&self, now: SessionTime, plan: Nanos) -> SessionTime {
        if self.position(now).playing {
            return now;
        }
        let starts =
            self.map.segments().iter().filter(|segment| segment.playing).map(|segment| segment.start);
        starts.into_iter().find(|start| *start > now && *start <= now + plan).unwrap_or(now)
    }

    /// A timeline of this tempo that begins now and has the map's phase at `at`: the nearest to Link's present one.
    pub(super) fn set(&self, at: SessionTime, now: SessionTime, bpm: f64) -> Timeline {
        let position = self.position(at);
        let bar = position.meter.bar().get();
        let to_go = (at - now).get() as f64 / 60e9 * bpm;
        let present = self.link_beat(now);
        let behind =
            if position.playing { nearest(position.in_bar.get() - to_go - present, bar) } else { 0.0 };
        let mut beat = present + behind;
        // Only what begins at a greater beat counts.
        let least = self.shared.timeline.beat_origin as f64 / 1e6 + MORE;
        if beat < least {
            beat += ((least - beat) / bar).ceil() * bar;
        }
        Timeline::new(bpm, beat, self.link_at(now))
    }

    /// A segment that goes on where the map is, at this tempo.
    pub(super) fn steady(&self, start: SessionTime, bpm: f64) -> Segment {
        let position = self.position(start);
        Segment {
            meter: position.meter,
            bar_beat: Beats::new(position.beat.get() - position.in_bar.get()),
            bar: position.bar,
            looped: self.map.segment(start).and_then(|(segment, _)| segment.looped),
            playing: position.playing,
            ..Segment::steady(start, position.beat, bpm)
        }
    }
}

/// What is left of a number of beats when whole bars are taken away or added: half a bar at most, of either sign.
pub(super) fn nearest(beats: f64, bar: f64) -> f64 {
    (beats + bar / 2.0).rem_euclid(bar) - bar / 2.0
}

/// As a span; *saturates*.
#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
pub(super) fn minutes(minutes: f64) -> Nanos {
    Nanos::new((minutes * 60e9).round() as i64)
}

/// When a segment's ramp is over: it lasts over · ln(v₁ / v₀) / (v₁ − v₀) minutes.
fn ramp_end(segment: &Segment) -> Option<SessionTime> {
    let Ramp { to_bpm, over } = segment.ramp.filter(|ramp| ramp.to_bpm != segment.bpm)?;
    Some(segment.start + minutes(over.get() * (to_bpm / segment.bpm).ln() / (to_bpm - segment.bpm)))
}
