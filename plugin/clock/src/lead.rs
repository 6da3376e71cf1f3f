//! A host's transport as everybody's: when it has to be told, and when to let others lead.
//!
//! What is told always lies ahead, by the time it takes to reach everybody. So it is compared there: where the host will be
//! against where everybody believes it to be. What cannot be known before it happens, as that a ramp begins, everybody is
//! off by until then; so such small changes lie ahead by no more than they must.

use std::collections::VecDeque;

use audiocloud_engine::units::{Beats, Nanos, SessionTime};
use audiocloud_net::clock::beat_map::{BeatMap, Position, Segment};

use crate::host_model::{HostModel, Touch};
use crate::plan::{self, Quantum};

/// Everybody's position may differ from the host's by so much; a greater difference is mended, a small one not too often.
const OFF: Nanos = Nanos::from_micros(100);
const OFF_MUCH: Nanos = Nanos::from_micros(300);
const MENDED_EVERY: Nanos = Nanos::from_millis(250);
/// Nothing is told more often than that.
const TOLD_EVERY: Nanos = Nanos::from_millis(20);
/// Also so far beyond where it is told, so that a tempo that is off is seen before the position is.
const BEYOND: Nanos = Nanos::from_millis(150);
/// What is to happen at a line is told when the line is so close.
pub(crate) const CLOSE: Nanos = Nanos::from_millis(40);
/// Somebody else's change that comes to the same as the host's is none.
const AGREES: Nanos = Nanos::from_millis(5);
/// Of what was told, so much is known again.
const KNOWN: usize = 16;

/// When what is told now is to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    /// It reaches everybody first, if all goes well.
    pub(crate) soon: SessionTime,
    /// It reaches everybody first, even where it has to be sent twice.
    pub(crate) sure: SessionTime,
}

/// How a leader stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The host has not told where it is.
    #[default]
    Untold,
    /// Everybody goes by this host.
    Leading,
    /// Somebody else touched the beat last; this host takes over when its user touches its transport.
    GivenWay,
}

/// What is believed and told.
#[derive(Debug, Default)]
pub(crate) struct Lead {
    standing: Standing,
    /// What everybody goes by, once it has begun.
    believed: Option<BeatMap>,
    told: VecDeque<Segment>,
    told_at: Option<SessionTime>,
    /// Where the host stood when it stopped, if everybody else stopped elsewhere, at a line.
    rested_at: Option<f64>,
}

impl Lead {
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// The map changed: by somebody else, perhaps, and then they lead.
    pub(crate) fn map_changed(&mut self, map: &BeatMap, host: &HostModel, Ahead { sure, .. }: Ahead) {
        let Some(last) = map.segments().last() else { return };
        if self.told.iter().any(|told| is_same(told, last)) {
            return;
        }
        let theirs = plan::carried(map, sure.max(last.start)).and_then(plan::map_of);
        let agrees = host
            .segment_at(sure.max(last.start))
            .zip(theirs.as_ref())
            .is_some_and(|(next, theirs)| difference(theirs, &next).is_some_and(|off| off < AGREES));
        self.believed = theirs;
        if !agrees {
            self.standing = Standing::GivenWay;
        }
    }

    /// The user touched the host's transport: it leads from now on.
    pub(crate) fn touched(&mut self, touch: Touch) {
        self.standing = Standing::Leading;
        if touch != Touch::Stopped {
            self.rested_at = None;
        }
    }

    /// The user said so: this host leads from now on, and where it stands it is told once more.
    pub(crate) fn taken_over(&mut self) {
        (self.standing, self.believed) = (Standing::Leading, None);
    }

    /// What is to be told now.
    pub(crate) fn next(
        &mut self,
        host: &HostModel,
        map: &BeatMap,
        Ahead { soon, sure }: Ahead,
        quantum: Quantum,
    ) -> Option<Segment> {
        let next = host.segment_at(sure)?;
        match self.standing {
            // Where there is no beat at all, this is it.
            Standing::Untold if map.segments().is_empty() => self.standing = Standing::Leading,
            Standing::Untold => self.standing = Standing::GivenWay,
            Standing::Leading | Standing::GivenWay => {}
        }
        if self.standing == Standing::GivenWay || self.told_at.is_some_and(|told| soon - told < TOLD_EVERY) {
            return None;
        }
        if self.believed.is_none() {
            self.believed = plan::carried(map, sure).and_then(plan::map_of);
        }
        let Some(believed) = &self.believed else { return Some(next) };
        let begun = believed.segments().first()?;
        match (begun.playing, next.playing) {
            // Playing on is looked at as soon as everybody plays.
            (true, true) if begun.start > soon => None,
            (true, true) => host.segment_at(soon).filter(|next| self.is_off(next, soon)),
            _ if begun.start > sure => None,
            (false, true) => start(host, &next, quantum, sure),
            (true, false) => self.stop(&next, quantum, sure),
            (false, false) => self.rest(&next).then_some(next),
        }
    }

    /// What [`Lead::next`] gave has been told.
    pub(crate) fn told(&mut self, segment: Segment, ahead: Ahead) {
        self.rested_at = if segment.playing { None } else { self.rested_at };
        self.believed = plan::map_of(segment);
        self.told_at = Some(ahead.soon);
        self.told.push_back(segment);
        if self.told.len() > KNOWN {
            self.told.pop_front();
        }
    }

    fn stop(&mut self, next: &Segment, quantum: Quantum, ahead: SessionTime) -> Option<Segment> {
        if quantum == Quantum::AtOnce {
            return Some(*next);
        }
        let believed = self.believed.as_ref()?;
        let line = plan::line_of(&plan::segment_at(believed, ahead)?, quantum, ahead)?;
        if line - ahead > CLOSE {
            return None;
        }
        self.rested_at = Some(next.beat.get());
        let there = believed.at(line)?;
        Some(Segment { playing: false, ramp: None, ..plan::carried(believed, line)? }).map(|stopped| {
            // Rounded to where the line is.
            let bar = there.beat.get() - there.in_bar.get();
            Segment { bar_beat: Beats::new(bar), bar: there.bar, ..stopped }
        })
    }

    /// Whether a host that stands still stands elsewhere than everybody believes, or means to go on otherwise.
    fn rest(&self, next: &Segment) -> bool {
        let Some(believed) = self.believed.as_ref().and_then(|map| map.segments().first()) else {
            return true;
        };
        let is_elsewhere = (believed.beat.get() - next.beat.get()).abs() > 1e-6
            && self.rested_at.is_none_or(|rested| (rested - next.beat.get()).abs() > 1e-6);
        let is_other = (believed.bpm / next.bpm - 1.0).abs() > 1e-4
            || believed.meter != next.meter
            || believed.looped != next.looped;
        is_elsewhere || is_other
    }

    fn is_off(&self, next: &Segment, soon: SessionTime) -> bool {
        let Some(believed) = &self.believed else { return true };
        let since = self.told_at.map_or(MENDED_EVERY, |told| soon - told);
        match difference(believed, next) {
            None => true,
            Some(off) => off > OFF_MUCH || (off > OFF && since >= MENDED_EVERY),
        }
    }
}

/// A start on a line of the host's bars.
fn start(host: &HostModel, next: &Segment, quantum: Quantum, ahead: SessionTime) -> Option<Segment> {
    let line = plan::line_of(next, quantum, ahead)?;
    (line - ahead <= CLOSE).then(|| host.segment_at(line)).flatten()
}

/// But for what is filled in on the way to others.
fn is_same(one: &Segment, other: &Segment) -> bool {
    Segment { epoch: other.epoch, serial: other.serial, ..*one } == *other
}

/// By how much two that play are apart in time, there and soon after; none where they count otherwise.
fn difference(believed: &BeatMap, next: &Segment) -> Option<Nanos> {
    let segment = plan::segment_at(believed, next.start)?;
    if segment.meter != next.meter || segment.looped != next.looped || segment.playing != next.playing {
        return None;
    }
    let map = plan::map_of(*next)?;
    let apart = |time: SessionTime| {
        let (theirs, ours) = (believed.at(time)?, map.at(time)?);
        let bar = ours.meter.bar().get();
        // Bars are counted alike, but for a number that is off by one where a position is rounded over a line.
        let position = |position: &Position| position.bar as f64 * bar + position.in_bar.get();
        let mut beats = ours.beat.get() - theirs.beat.get();
        let counted = position(&ours) - position(&theirs);
        if let Some((from, to)) = next.looped {
            let length = to.get() - from.get();
            beats -= length * (beats / length).round();
        } else if (counted - beats).abs() > 1e-3 {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let nanos = (beats.abs() * 60e9 / ours.bpm) as i64;
        Some(Nanos::new(nanos))
    };
    Some(apart(next.start)?.max(apart(next.start + BEYOND)?))
}
