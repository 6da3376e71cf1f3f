//! What the host's transport does, from what callbacks saw of it: where it is at any time soon, and what its user touched.
//!
//! A host tells position and tempo at the first frame of each block, and nothing of what it will do. So a ramp is known by
//! the tempi of the last blocks, and is taken to go on as it goes, for a little while.

use std::collections::VecDeque;

use audiocloud_engine::units::{Beats, Nanos, SampleRate, SessionLine, SessionTime};
use audiocloud_instance::transport::Transport;
use audiocloud_net::clock::beat_map::{Meter, Ramp, Segment, TEMPO_BPM};

use crate::observation::Observation;
use crate::plan;

/// A ramp's slope is that of so many quarter notes' or seconds' blocks, whichever is less.
const WINDOW_S: f64 = 0.06;
const POINTS_MAX: usize = 64;
/// A tempo that moves by less than so much a quarter note stands still.
const STILL_BPM: f64 = 0.02;
/// Pieces of one ramp are as steep as each other, within this factor.
const ALIKE: f64 = 2.0;
/// A ramp is taken to go on for so many quarter notes: it is looked at again long before.
const RAMP_BEATS: f64 = 8.0;
/// Off by more than this from where it should be, the host's user has moved it, s.
const MOVED_S: f64 = 0.02;
/// Another tempo by more than this, at once, was set by hand.
const SET_BPM: f64 = 0.1;
/// Of so many callbacks none was seen: nothing can be said of what lies between.
const GAP_S: f64 = 0.5;

/// What a host's user did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    Started,
    Stopped,
    Moved,
    Tempo,
}

/// The last callback, on session time.
#[derive(Clone, Copy, Debug)]
struct Seen {
    observation: Observation,
    at: SessionTime,
    /// Seconds of the host for each of the session's.
    speed: f64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct HostModel {
    sample_rate: f64,
    last: Option<Seen>,
    /// Quarter notes gone by, and the tempo there: of the last blocks, while it plays.
    tempi: VecDeque<(f64, f64)>,
    /// Of the last two and more: quarter notes a minute for each quarter note.
    slope: f64,
    /// What the last tempo's block was beyond what was expected of it.
    is_ramp: bool,
}

impl HostModel {
    pub(crate) fn new(sample_rate: SampleRate) -> Self {
        let sample_rate = f64::from(sample_rate.hz());
        Self { sample_rate, last: None, tempi: VecDeque::new(), slope: 0.0, is_ramp: false }
    }

    /// What the host said last.
    pub(crate) fn transport(&self) -> Option<Transport> {
        self.last.map(|last| last.observation.transport)
    }

    /// When that was.
    pub(crate) fn seen_at(&self) -> Option<SessionTime> {
        self.last.map(|last| last.at)
    }

    /// Takes in a callback; what its user did since the one before.
    pub(crate) fn see(&mut self, observation: Observation, line: &SessionLine) -> Option<Touch> {
        let at = line.session_at(observation.heard);
        let seen = Seen { observation, at, speed: observation.speed / line.rate.to_factor() };
        let before = self.last.replace(seen);
        let now = observation.transport;
        let Some(before) = before else {
            self.restart();
            return now.is_playing.then_some(Touch::Started);
        };
        let then = before.observation.transport;
        if now.is_playing != then.is_playing {
            self.restart();
            return Some(if now.is_playing { Touch::Started } else { Touch::Stopped });
        }
        let (Some(bpm), Some(beat), Some(was_bpm), Some(was_beat)) = (now.bpm, now.beat, then.bpm, then.beat)
        else {
            self.restart();
            return None;
        };
        if !now.is_playing {
            if beat != was_beat {
                return Some(Touch::Moved);
            }
            return ((bpm - was_bpm).abs() > SET_BPM).then_some(Touch::Tempo);
        }
        let frames = observation.position.saturating_sub(before.observation.position);
        let elapsed_s = frames as f64 / self.sample_rate;
        if elapsed_s > GAP_S {
            self.restart();
            return None;
        }
        // The mean of both tempi is exact for a ramp over time, and nearly so for one over beats.
        let travelled = (bpm + was_bpm) / 2.0 * elapsed_s / 60.0;
        let off = looped_off(beat - was_beat - travelled, now.looped);
        let is_moved = off.abs() * 60.0 / bpm > MOVED_S + elapsed_s * (bpm - was_bpm).abs() / bpm;
        let was_ramp = self.is_ramp;
        self.add(travelled, bpm);
        if is_moved {
            return Some(Touch::Moved);
        }
        let is_set = !self.is_ramp && !was_ramp && (bpm - was_bpm).abs() > SET_BPM;
        is_set.then_some(Touch::Tempo)
    }

    fn restart(&mut self) {
        self.tempi.clear();
        (self.slope, self.is_ramp) = (0.0, false);
        if let Some(bpm) = self.transport().and_then(|transport| transport.bpm) {
            self.tempi.push_back((0.0, bpm));
        }
    }

    fn add(&mut self, travelled: f64, bpm: f64) {
        let gone = self.tempi.back().map_or(0.0, |(gone, _)| gone + travelled);
        self.tempi.push_back((gone, bpm));
        let window = WINDOW_S * bpm / 60.0;
        while self.tempi.len() > POINTS_MAX
            || (self.tempi.len() > 3 && self.tempi.front().is_some_and(|(first, _)| gone - first > window))
        {
            self.tempi.pop_front();
        }
        (self.slope, self.is_ramp) = self.measure();
    }

    /// The slope over the latest blocks that are on one straight line, and whether there are enough of them to say so.
    fn measure(&self) -> (f64, bool) {
        let points = || self.tempi.iter().rev();
        let slopes = points()
            .zip(points().skip(1))
            .map(|((to, last), (from, first))| if to > from { (last - first) / (to - from) } else { 0.0 });
        let mut latest = None;
        let alike = slopes.take_while(|slope| is_alike(*slope, *latest.get_or_insert(*slope))).count();
        let (Some((to, last)), Some((from, first))) = (self.tempi.back(), points().nth(alike)) else {
            return (0.0, false);
        };
        if alike < 2 || to <= from {
            return (0.0, false);
        }
        let slope = (last - first) / (to - from);
        if slope.abs() < STILL_BPM { (0.0, false) } else { (slope, true) }
    }

    /// Where the host will be from a time on, if nobody touches it: on session time, in the session's tempo. None where it
    /// does not tell enough.
    pub(crate) fn segment_at(&self, time: SessionTime) -> Option<Segment> {
        let seen = self.last?;
        let transport = seen.observation.transport;
        let (bpm, (beats, unit)) = (transport.bpm?, transport.meter.unwrap_or((4, 4)));
        let meter = Meter { beats, unit };
        let beat = transport.beat?;
        let (bar_beat, bar) = transport.bar.unwrap_or_else(|| from_beginning(beat, meter));
        let segment = Segment {
            ramp: if transport.is_playing { ramp(bpm, self.slope, seen.speed) } else { None },
            meter,
            bar_beat: Beats::new(bar_beat),
            bar,
            looped: transport.looped.map(|(from, to)| (Beats::new(from), Beats::new(to))),
            playing: transport.is_playing,
            ..Segment::steady(seen.at, Beats::new(beat), bpm * seen.speed)
        };
        plan::carried(&plan::map_of(segment)?, time)
    }

    /// So long ago the host was heard of.
    pub(crate) fn age(&self, now: SessionTime) -> Option<Nanos> {
        self.last.map(|last| now - last.at)
    }
}

fn from_beginning(beat: f64, meter: Meter) -> (f64, i64) {
    let length = meter.bar().get();
    let whole = (beat / length + 1e-9).floor();
    #[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
    let number = whole as i64;
    (whole * length, number)
}

/// What is left of a distance when going round a loop is none.
fn looped_off(off: f64, looped: Option<(f64, f64)>) -> f64 {
    let Some((from, to)) = looped else { return off };
    let length = to - from;
    if (off + length).abs() < off.abs() { off + length } else { off }
}

fn is_alike(one: f64, other: f64) -> bool {
    let is_still = |slope: f64| slope.abs() < STILL_BPM;
    if is_still(one) || is_still(other) {
        return is_still(one) && is_still(other);
    }
    one.signum() == other.signum() && one.abs() < ALIKE * other.abs() && other.abs() < ALIKE * one.abs()
}

/// The slope as a ramp, as far as tempi go.
fn ramp(bpm: f64, slope: f64, speed: f64) -> Option<Ramp> {
    if slope == 0.0 {
        return None;
    }
    let limit = if slope > 0.0 { *TEMPO_BPM.end() * 0.99 } else { *TEMPO_BPM.start() * 1.01 };
    let over = RAMP_BEATS.min((limit - bpm) / slope);
    (over > 0.01).then(|| Ramp { to_bpm: (bpm + slope * over) * speed, over: Beats::new(over) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::units::{HostTime, Ppm};

    const RATE: SampleRate = SampleRate::new(48_000).unwrap();

    fn line() -> SessionLine {
        SessionLine {
            host: HostTime::new(0),
            session: SessionTime::new(0),
            fraction: 0.0,
            rate: Ppm::new(0.0),
        }
    }

    fn at(seconds: f64) -> SessionTime {
        #[allow(clippy::cast_possible_truncation, reason = "a few seconds")]
        SessionTime::new((seconds * 1e9).round() as i64)
    }

    fn seen(block: u32, frames: u32, transport: Transport) -> Observation {
        let position = u64::from(block) * u64::from(frames);
        let heard = HostTime::new(i64::try_from(position * 1_000_000_000 / 48_000).unwrap());
        Observation { heard, position, speed: 1.0, transport }
    }

    fn playing(beat: f64, bpm: f64) -> Transport {
        Transport {
            is_playing: true,
            bpm: Some(bpm),
            beat: Some(beat),
            meter: Some((4, 4)),
            ..Transport::default()
        }
    }

    /// Position and tempo after some seconds of a ramp over beats that begins at beat 0.
    fn ramped(bpm: f64, slope: f64, seconds: f64) -> (f64, f64) {
        let beats = bpm / slope * (slope * seconds / 60.0).exp_m1();
        (beats, bpm + slope * beats)
    }

    #[test]
    fn a_ramp_is_known_after_three_blocks_and_goes_on() {
        for frames in [64, 128, 1_024] {
            let mut model = HostModel::new(RATE);
            let ramp_at = |seconds: f64| ramped(90.0, 1.875, seconds);
            let mut touches = Vec::new();
            for block in 0..40 {
                let (beat, bpm) = ramp_at(f64::from(block * frames) / 48e3);
                touches.extend(model.see(seen(block, frames, playing(beat, bpm)), &line()));
                if block < 3 {
                    continue;
                }
                let ahead = f64::from(block * frames) / 48e3 + 0.2;
                let (beat, bpm) = ramp_at(ahead);
                let found = model.segment_at(at(ahead)).unwrap();
                let off_us = (found.beat.get() - beat) * 60e6 / bpm;
                assert!(off_us.abs() < 20.0, "{off_us} µs in block {block} of {frames}");
                assert!((found.bpm - bpm).abs() < 0.02 && found.ramp.is_some());
            }
            assert_eq!(touches, [Touch::Started], "in blocks of {frames}");
        }
    }

    #[test]
    fn a_ramp_over_time_is_followed_too() {
        let mut model = HostModel::new(RATE);
        let (accelerates, bpm) = (4.0, 100.0);
        let at_s = |seconds: f64| {
            let now = bpm + accelerates * seconds;
            ((bpm + now) / 2.0 * seconds / 60.0, now)
        };
        for block in 0..400 {
            let (beat, bpm) = at_s(f64::from(block * 128) / 48e3);
            let touch = model.see(seen(block, 128, playing(beat, bpm)), &line());
            assert!(block == 0 || touch.is_none(), "{touch:?} in block {block}");
        }
        let ahead = 400.0 * 128.0 / 48e3 + 0.2;
        let (beat, bpm) = at_s(ahead);
        let off_us = (model.segment_at(at(ahead)).unwrap().beat.get() - beat) * 60e6 / bpm;
        assert!(off_us.abs() < 60.0, "{off_us}");
    }

    #[test]
    fn what_the_user_does_is_told_from_what_the_host_does() {
        let mut model = HostModel::new(RATE);
        let block_beats = 4_800.0 / 48e3 * 2.0;
        let mut block = 0;
        let mut see = |transport: Transport| {
            block += 1;
            model.see(seen(block, 4_800, transport), &line())
        };
        let stopped = Transport { is_playing: false, ..playing(1.0, 120.0) };
        assert_eq!(see(stopped), None);
        assert_eq!(see(Transport { beat: Some(0.0), ..stopped }), Some(Touch::Moved));
        assert_eq!(see(Transport { beat: Some(0.0), bpm: Some(90.0), ..stopped }), Some(Touch::Tempo));
        assert_eq!(see(playing(0.0, 120.0)), Some(Touch::Started));
        assert_eq!(see(playing(block_beats, 120.0)), None);
        assert_eq!(see(playing(5.0, 120.0)), Some(Touch::Moved));
        // A step of tempo at a block's first frame, then on at it.
        let on = |from: f64, blocks: f64, bpm: f64| playing(from + blocks * bpm / 600.0, bpm);
        assert_eq!(see(on(5.0, 1.0, 120.0)), None);
        assert_eq!(see(on(5.2, 1.0, 120.0)), None);
        let stepped = playing(5.4 + 0.2, 140.0);
        assert_eq!(see(stepped), Some(Touch::Tempo));
        assert_eq!(see(on(5.6, 1.0, 140.0)), None);
        let looped = Some((4.0, 6.0));
        let round = |beat| Transport { looped, ..playing(beat, 140.0) };
        assert_eq!(see(round(5.6 + 280.0 / 600.0 - 2.0)), None, "round the loop");
        assert_eq!(see(Transport { is_playing: false, ..round(4.2) }), Some(Touch::Stopped));
    }

    #[test]
    fn a_step_of_tempo_is_no_ramp() {
        let mut model = HostModel::new(RATE);
        let mut beat = 0.0;
        for block in 0..100 {
            let bpm = if block < 50 { 100.0 } else { 101.0 };
            model.see(seen(block, 128, playing(beat, bpm)), &line());
            assert_eq!(model.segment_at(at(9.0)).unwrap().ramp, None, "in block {block}");
            beat += bpm * 128.0 / 48e3 / 60.0;
        }
    }

    #[test]
    fn the_devices_clock_and_the_sessions_are_not_one() {
        let mut model = HostModel::new(RATE);
        let fast = SessionLine { rate: Ppm::new(50.0), ..line() };
        let observation = Observation { speed: 1.000_08, ..seen(0, 128, playing(0.0, 120.0)) };
        model.see(observation, &fast);
        let found = model.segment_at(at(0.0)).unwrap();
        assert!((found.bpm - 120.0 * 1.000_03).abs() < 1e-6, "{}", found.bpm);
    }

    #[test]
    fn a_host_that_tells_nothing_has_no_segment() {
        let mut model = HostModel::new(RATE);
        assert_eq!(model.segment_at(at(0.0)), None);
        model.see(seen(0, 128, Transport { beat: None, ..playing(0.0, 120.0) }), &line());
        assert_eq!(model.segment_at(at(0.0)), None);
    }
}
