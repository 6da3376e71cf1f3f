//! MIDI clock of a beat map.
//!
//! Clocks go on while the song stands still, so that who listens knows the tempo. A song that begins, or jumps (a loop's
//! end, another place), is told by stop, song position and continue, shortly before the clock of the sixteenth note from
//! which it is meant: the standard lets nobody begin between two of them. Where the map moves by less than a clock or two,
//! clocks are left out or caught up, and the listener's count stays the map's.

use std::collections::VecDeque;

use audiocloud_clock::beat_map::{BeatMap, Position};
use audiocloud_units::{Beats, Nanos, SessionTime};

use crate::message::{Message, SIXTEENTHS_MAX};

/// Clocks of a quarter note.
pub const CLOCKS_A_QUARTER: u8 = 24;
/// Clocks of a sixteenth note: what song positions count.
const CLOCKS_A_SIXTEENTH: i64 = 6;
/// So long before the first clock it is told that a song begins: the standard asks for a millisecond at least.
pub const NOTICE: Nanos = Nanos::from_millis(2);
/// A count that is wrong by no more than so many clocks is put right by clocks; else the song is set anew.
const CATCH_UP_MAX: i64 = 2;
const GO_BACK_MAX: i64 = -CATCH_UP_MAX;
/// A beat that is so little of a clock behind a segment's start is that start's.
const NEAR: f64 = 0.05;
const NANOS_PER_MINUTE: f64 = 60e9;

/// What is looked at in one step.
#[derive(Clone, Copy)]
struct Slot {
    /// What is asked for now.
    goal: SessionTime,
    /// Where the segment ends.
    ends: Option<SessionTime>,
}

impl Slot {
    fn end(self) -> SessionTime {
        self.ends.map_or(self.goal, |ends| ends.min(self.goal))
    }
}

/// What one session's clock has said so far.
#[derive(Debug, Default)]
pub struct Clock {
    /// Up to here everything is in the queue.
    reached: Option<SessionTime>,
    /// The number of the clock that comes next, from the song's beginning, while it runs.
    next: Option<i64>,
    /// When the last clock was, or will be.
    last: Option<SessionTime>,
    /// The song position that was told last.
    told: Option<u16>,
    /// Messages that are not due yet.
    queue: VecDeque<(SessionTime, Message)>,
    is_out_of_range: bool,
}

impl Clock {
    /// Whether the song has run beyond what song positions can name, or not yet come to its beginning: clocks alone are sent.
    #[must_use]
    pub fn is_out_of_range(&self) -> bool {
        self.is_out_of_range
    }

    /// All that is to be sent until a time, in order, once. Times that lie more than a second apart count as a jump.
    pub fn advance(&mut self, map: &BeatMap, until: SessionTime, mut send: impl FnMut(SessionTime, Message)) {
        let goal = until + NOTICE;
        let far = |reached: SessionTime| (goal - reached).abs() > Nanos::from_secs(1);
        let mut reached = self.reached.filter(|reached| !far(*reached)).unwrap_or(until);
        while reached < goal {
            let Some((segment, following)) = map.segment(reached) else { break };
            let begun = reached >= segment.start;
            let ends = if begun { following.map(|following| following.start) } else { Some(segment.start) };
            let slot = Slot { goal, ends };
            reached = if begun && segment.playing {
                self.play(map, reached, slot)
            } else {
                self.rest(map.at(reached), segment.bpm, reached, slot)
            };
        }
        self.reached = Some(reached.max(goal));
        if map.segments().is_empty() {
            self.stop(until);
        }
        while let Some((at, message)) = self.queue.pop_front_if(|(at, _)| *at <= until) {
            send(at, message);
        }
    }

    /// The song goes away: says stop if it runs, and forgets what was to come.
    pub fn end(&mut self, at: SessionTime, mut send: impl FnMut(SessionTime, Message)) {
        self.queue.clear();
        if self.next.is_some() {
            send(at, Message::Stop);
        }
        *self = Self::default();
    }

    /// The next clock of a song that plays, if it comes in time; how far that got.
    fn play(&mut self, map: &BeatMap, reached: SessionTime, slot: Slot) -> SessionTime {
        let Some(here) = map.at(reached) else { return slot.end() };
        let count = here.beat.get() * f64::from(CLOCKS_A_QUARTER);
        // A segment that begins a hair behind a clock begins with it.
        let starts = map.segment(reached).is_some_and(|(segment, _)| segment.start == reached);
        let is_near = starts && (0.0..NEAR).contains(&(count - count.round()));
        let grid = Beats::new(1.0 / f64::from(CLOCKS_A_QUARTER));
        let at = if is_near { Some(reached) } else { map.next(reached, grid) };
        // Far from the song's beginning a beat's time is known less well than that it is not over yet.
        let Some(at) = at.map(|at| at.max(reached)).filter(|at| *at < slot.end()) else { return slot.end() };
        let position = map.at(at).unwrap_or(here);
        self.tick(at, number(&position));
        // Far enough that this one does not come again, near enough that the next one does.
        let quarter = Nanos::new((period(position.bpm).get() / 4).max(1_000));
        slot.ends.map_or(at + quarter, |ends| ends.min(at + quarter))
    }

    /// A clock while nothing plays, if it comes in time; how far that got.
    fn rest(
        &mut self,
        position: Option<Position>,
        bpm: f64,
        reached: SessionTime,
        slot: Slot,
    ) -> SessionTime {
        self.stop(reached);
        let Some(position) = position else { return slot.end() };
        let place = sixteenth(ceil_sixteenth(position.beat));
        self.is_out_of_range = place.is_none();
        if place.is_some() && place != self.told {
            self.told = place;
            self.queue.extend(place.map(|place| (reached, Message::SongPosition(place))));
        }
        let period = period(bpm);
        let at = self.last.map_or(reached, |last| (last + period).max(reached));
        // One right before the song begins would seem a jump of the tempo.
        let half = Nanos::new(period.get() / 2);
        if at >= slot.goal || slot.ends.is_some_and(|ends| at > ends - half) {
            return slot.end();
        }
        self.queue.push_back((at, Message::Clock));
        self.last = Some(at);
        at + Nanos::new(1)
    }

    fn stop(&mut self, at: SessionTime) {
        if self.next.take().is_some() {
            self.queue.push_back((at, Message::Stop));
        }
    }

    /// The map's clock of this number.
    fn tick(&mut self, at: SessionTime, number: i64) {
        let behind = self.next.map(|next| number.saturating_sub(next));
        let clocks = match behind {
            Some(behind @ 0..=CATCH_UP_MAX) => behind + 1,
            // It was sent already: the map has gone back by a clock or so.
            Some(GO_BACK_MAX..=-1) => return,
            other => {
                if other.is_some() {
                    self.stop(self.before(at));
                }
                let may_begin = number >= 0 && number % CLOCKS_A_SIXTEENTH == 0;
                let place = sixteenth(number.div_euclid(CLOCKS_A_SIXTEENTH));
                self.is_out_of_range = place.is_none();
                match place.filter(|_| may_begin) {
                    Some(place) => self.begin(at, place),
                    None => {
                        self.queue.push_back((at, Message::Clock));
                        self.last = Some(at);
                        return;
                    }
                }
                1
            }
        };
        for _ in 0..clocks {
            self.queue.push_back((at, Message::Clock));
        }
        self.last = Some(at);
        self.next = Some(number.saturating_add(1));
    }

    /// Tells where the song begins, with the clock that comes at a time.
    fn begin(&mut self, at: SessionTime, sixteenth: u16) {
        // A clock between this and that one would be taken for it.
        let is_between =
            |(when, message): &mut (SessionTime, Message)| *message == Message::Clock && *when > at - NOTICE;
        while self.queue.pop_back_if(is_between).is_some() {}
        let notice = self.before(at);
        self.told = Some(sixteenth);
        if sixteenth == 0 {
            self.queue.push_back((notice, Message::Start));
        } else {
            self.queue.push_back((notice, Message::SongPosition(sixteenth)));
            self.queue.push_back((notice, Message::Continue));
        }
    }

    /// When to tell what concerns the clock at a time: earlier, but not before what is to be told already.
    fn before(&self, at: SessionTime) -> SessionTime {
        let queued = self.queue.back().map(|(when, _)| *when);
        queued.map_or(at - NOTICE, |queued| queued.max(at - NOTICE))
    }
}

fn period(bpm: f64) -> Nanos {
    Nanos::new(nanos(NANOS_PER_MINUTE / (bpm.max(1.0) * f64::from(CLOCKS_A_QUARTER))))
}

fn number(position: &Position) -> i64 {
    nanos(position.beat.get() * f64::from(CLOCKS_A_QUARTER))
}

/// The first sixteenth note at or after a position.
fn ceil_sixteenth(beat: Beats) -> i64 {
    nanos((beat.get() * 4.0 - 1e-6).ceil())
}

fn sixteenth(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number <= SIXTEENTHS_MAX)
}

#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn nanos(value: f64) -> i64 {
    value.round() as i64
}

#[cfg(test)]
mod tests;
