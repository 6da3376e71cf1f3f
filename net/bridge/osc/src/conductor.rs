//! What a DAW is told, and when.
//!
//! It has one tempo for the whole song, keeps time by itself once it plays, and can be placed anywhere. So beat b lies at
//! b · 60 / tempo seconds of its song; it is placed before it has to play, and played at the moment; while the tempos agree
//! its beats stay the map's. A ramp is told in steps, and it is placed anew at the ramp's end; a jump of the map places it
//! at once.

use audiocloud_clock::beat_map::{Position, Segment};
use audiocloud_clock::timeline::Timeline;
use audiocloud_units::{Beats, HostTime, Nanos, SessionTime};

/// Tempos that differ by less are one: what 32-bit floats keep.
const TEMPO_NEAR_BPM: f64 = 0.001;
/// In a ramp the tempo is told so often.
const RAMP_EVERY: Nanos = Nanos::from_millis(50);
/// It may be so far from the map, in time, before it is placed anew: less is heard less than the jump.
const ASTRAY: Nanos = Nanos::from_millis(20);
/// A place is right if it is so near, in quarter notes.
const PLACE_NEAR: f64 = 0.001;
/// The map has jumped if a beat is so far from where the beats before it lead.
const JUMP: f64 = 0.1;
const NANOS_PER_MINUTE: f64 = 60e9;

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// The tempo, in quarter notes a minute.
    Tempo(f64),
    /// Where to stand, or to go on playing, in seconds of its song.
    Locate(f64),
    /// Play from where it stands.
    Play,
    /// Stop.
    Stop,
}

/// Tells one DAW.
#[derive(Debug, Default)]
pub struct Conductor {
    /// How much earlier it is told than it is to be done.
    lead: Nanos,
    bpm: Option<f64>,
    tempo_told: Option<HostTime>,
    playing: bool,
    /// Where it stands, in quarter notes, or where it was placed as it went on to play, and when.
    place: Option<(SessionTime, f64)>,
    /// The map's position that was looked at last.
    seen: Option<(SessionTime, Position)>,
}

/// The map, at the time that is told of.
struct Moment<'a> {
    time: SessionTime,
    position: Position,
    segment: &'a Segment,
    following: Option<&'a Segment>,
}

impl Conductor {
    /// One that was told nothing yet and stands still; `lead`: how long it takes to do what it is told.
    #[must_use]
    pub fn new(lead: Nanos) -> Self {
        Self { lead, ..Self::default() }
    }

    /// It plays, or stands still, without having been told.
    pub fn found(&mut self, playing: bool) {
        (self.playing, self.place) = (playing, None);
    }

    /// The tempo that it was told last.
    #[must_use]
    pub fn bpm(&self) -> Option<f64> {
        self.bpm
    }

    /// Whether it was told to play.
    #[must_use]
    pub fn is_playing(&self) -> bool {
        self.playing
    }

    /// What to tell it now, in order. `takes_tempo`: whether it takes a tempo as it is.
    pub fn poll(&mut self, timeline: &Timeline, now: HostTime, takes_tempo: bool) -> Vec<Order> {
        let mut orders = Vec::new();
        let moment = timeline.line.and_then(|line| {
            let time = line.session_at(now + self.lead);
            let (segment, following) = timeline.map.segment(time)?;
            Some(Moment { time, position: timeline.map.at(time)?, segment, following })
        });
        let Some(moment) = moment else {
            self.stop(&mut orders);
            return orders;
        };
        // A song has no place before its beginning: it is waited for.
        let plays = moment.position.playing
            && moment.time >= moment.segment.start
            && moment.position.beat.get() > -PLACE_NEAR;
        if plays {
            self.go_on(&moment, now, takes_tempo, &mut orders);
        } else {
            self.wait(&moment, now, takes_tempo, &mut orders);
        }
        self.seen = Some((moment.time, moment.position));
        orders
    }

    /// When to be asked again, at the latest in 50 ms: when the map next begins something new.
    #[must_use]
    pub fn next(&self, timeline: &Timeline, now: HostTime) -> HostTime {
        let latest = now + RAMP_EVERY;
        let begins = timeline.line.and_then(|line| {
            let time = line.session_at(now + self.lead);
            let (segment, following) = timeline.map.segment(time)?;
            let stretch = segment.stretch(time).ends;
            let song = segment.reaches(Beats::new(0.0));
            let starts = [Some(segment.start), following.map(|following| following.start), stretch, song];
            let first = starts.into_iter().flatten().filter(|start| *start > time).min()?;
            Some(line.host_at(first) - self.lead)
        });
        begins.map_or(latest, |begins| begins.clamp(now, latest))
    }

    fn wait(&mut self, moment: &Moment<'_>, now: HostTime, takes_tempo: bool, orders: &mut Vec<Order>) {
        self.stop(orders);
        // What comes next may come soon: it is made ready for that.
        let coming = if moment.segment.playing { Some(moment.segment) } else { moment.following };
        let coming = coming.filter(|segment| segment.playing);
        let (bpm, beat) =
            coming.map_or((moment.position.bpm, moment.position.beat), |segment| (segment.bpm, segment.beat));
        self.tempo(bpm, moment.time, now, takes_tempo, orders);
        self.stand(beat.get().max(0.0), moment.time, orders);
    }

    fn go_on(&mut self, moment: &Moment<'_>, now: HostTime, takes_tempo: bool, orders: &mut Vec<Order>) {
        let (time, position) = (moment.time, &moment.position);
        let jumped = self.has_jumped(moment);
        let told = self.tempo(position.bpm, time, now, takes_tempo, orders);
        let beat = position.beat.get().max(0.0);
        if !self.playing {
            // What it stands at is where the segment began: late by what passed since then.
            let at = self.place.map(|(_, at)| at);
            let near = ASTRAY.get() as f64 / NANOS_PER_MINUTE * position.bpm;
            if at.is_none_or(|at| (at - beat).abs() > near) {
                self.stand(beat, time, orders);
            }
            self.playing = true;
            self.place = Some((time, self.place.map_or(beat, |(_, at)| at)));
            orders.push(Order::Play);
            return;
        }
        let agree = self.bpm.is_some_and(|bpm| (bpm - position.bpm).abs() < TEMPO_NEAR_BPM);
        let astray = self.theirs(time).is_none_or(|theirs| {
            (theirs - beat).abs() * NANOS_PER_MINUTE / position.bpm > ASTRAY.get() as f64
        });
        let ramps = moment.segment.ramp.is_some() && told;
        if jumped || (astray && agree && !ramps) {
            self.place = None;
            self.stand(beat, time, orders);
        }
    }

    /// Where it is, by its own tempo.
    fn theirs(&self, time: SessionTime) -> Option<f64> {
        let (since, beat) = self.place?;
        Some(beat + (time - since).get() as f64 / NANOS_PER_MINUTE * self.bpm?)
    }

    fn has_jumped(&self, moment: &Moment<'_>) -> bool {
        self.seen.is_some_and(|(time, seen)| {
            let bpm = f64::midpoint(seen.bpm, moment.position.bpm);
            let went = (moment.time - time).get() as f64 / NANOS_PER_MINUTE * bpm;
            seen.playing && (moment.position.beat.get() - seen.beat.get() - went).abs() > JUMP
        })
    }

    fn stop(&mut self, orders: &mut Vec<Order>) {
        if self.playing {
            orders.push(Order::Stop);
            (self.playing, self.place) = (false, None);
        }
    }

    /// Tells the tempo if it is another; whether it did.
    fn tempo(
        &mut self,
        bpm: f64,
        time: SessionTime,
        now: HostTime,
        takes_tempo: bool,
        orders: &mut Vec<Order>,
    ) -> bool {
        let is_new = self.bpm.is_none_or(|told| (told - bpm).abs() >= TEMPO_NEAR_BPM);
        let is_early = self.playing && self.tempo_told.is_some_and(|told| now - told < RAMP_EVERY);
        if !takes_tempo || !is_new || is_early {
            return false;
        }
        // It keeps its place in seconds, and at another tempo these are other beats.
        let theirs = self.theirs(time).filter(|_| self.playing);
        self.place = theirs.zip(self.bpm).map(|(beat, told)| (time, beat / told * bpm));
        (self.bpm, self.tempo_told) = (Some(bpm), Some(now));
        orders.push(Order::Tempo(bpm));
        true
    }

    fn stand(&mut self, beat: f64, time: SessionTime, orders: &mut Vec<Order>) {
        if self.place.is_some_and(|(_, at)| (at - beat).abs() < PLACE_NEAR) {
            return;
        }
        if let Some(bpm) = self.bpm {
            self.place = Some((time, beat));
            orders.push(Order::Locate(beat * 60.0 / bpm));
        }
    }
}

#[cfg(test)]
mod tests;
