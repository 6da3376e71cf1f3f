//! Keeps a node and a beat map together.
//!
//! The map is the authority: it may be that of many studios, and it knows of bars, ramps and loops. So what the map plays is
//! put before Link's peers, as the straight pieces that Link knows: another one whenever tempo or phase are off. And what a
//! peer of Link does on purpose, another tempo, another phase, start or stop, becomes an edit of the map.
//!
//! - **Echoes** are told from wishes by what the map says: what agrees with where it is, was a moment ago, or will be by what
//!   is planned already, is nobody's wish. So several bridges of one map in one Link session do not fight.
//! - **Phase** is that of the bar. While the map stands still, Link's beats go by all the same, and the phase is its own.
//! - **An edit takes its time** to reach everybody, while Link's new tempo counts at once. The map makes up for that
//!   in a short ramp, at whose end beat and tempo are Link's; no beat is left out or heard twice.
//! - **Starting** from Link, the map begins a bar where Link's next bar begins.
//! - **Who joins**: if one side plays and the other does not, what plays counts; else the map does. An empty map
//!   takes Link's tempo.

mod look;
#[cfg(test)]
mod tests;

use audiocloud_clock::beat_map::{Ramp, Segment, TEMPO_BPM as MAP_BPM};
use audiocloud_clock::timeline::Timeline as Beat;
use audiocloud_units::{Beats, HostTime, Nanos, SessionTime};

use self::look::{Look, minutes, nearest};
use crate::node::Node;
use crate::timeline::{LinkTime, StartStop, TEMPO_BPM, Timeline};
use crate::wire::LinkSession;

/// A wish may be told from an echo when it is off by more than that.
const WISH: Nanos = Nanos::from_millis(20);
/// Link is set right when its phase is off by more than that,
const OFF: Nanos = Nanos::from_micros(200);
/// at most once in so long,
const SET_EVERY: Nanos = Nanos::from_secs(1);
/// or at once if it is off by that.
const FAR_OFF: Nanos = Nanos::from_millis(3);
/// In a ramp each piece is so long: what is between its chord and the curve is then far below a millisecond.
const PIECE: Nanos = Nanos::from_millis(100);
/// Link is told so long before that the map starts or stops.
const LEAD: Nanos = Nanos::from_millis(250);
/// What the map was so long ago may still come back as an echo.
const ECHO: Nanos = Nanos::from_millis(250);
/// What is planned later than that is no reason to wait.
const PLAN: Nanos = Nanos::from_secs(16);
/// Edits are not more frequent than that: who turns a knob makes many.
const EDIT_EVERY: Nanos = Nanos::from_millis(100);
/// An edit beyond the horizon, so that it is not late by what it takes us to make it.
const MARGIN: Nanos = Nanos::from_millis(5);
/// The own map may show an edit so much later.
const SHOWN_AFTER: Nanos = Nanos::from_millis(300);
/// The ramp that makes up for what an edit was late is so long, or longer where there is more to make up for.
const CATCH_UP: f64 = 2.0;
/// What is more than this part of a beat is no lateness but a jump.
const JUMP: f64 = 0.25;
/// Who puts the map's tempo back again and again waits longer and longer.
const INSIST_EVERY: Nanos = Nanos::from_secs(1);
const INSIST_MAX: u32 = 4;

/// What happens to Link's tempo and transport, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// There is no session time, or nothing to play.
    #[default]
    Idle,
    /// Both are at one, or soon will be.
    Together,
    /// The map's tempo is none that Link knows.
    OutOfRange,
    /// What a peer of Link wished was refused.
    Refused,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    session: Option<LinkSession>,
    /// What Link had when it was looked at last, or was given by us.
    known: Option<(Timeline, StartStop)>,
    /// Both will be at one, then.
    hold: Option<Hold>,
    edited_at: Option<HostTime>,
    /// Until then what Link's peers hear of the map may be from before their last wish was fulfilled.
    wished_until: Option<HostTime>,
    set_at: Option<HostTime>,
    /// How often what was put back was changed again, and when it may be put back next.
    insisted: u32,
    insist_at: Option<HostTime>,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Hold {
    until: HostTime,
    /// The last segment of the map that this was found in; none: of one that does not show our edit yet.
    plan: Option<Segment>,
    /// Until then it need not show it.
    shown_by: HostTime,
}

impl Follower {
    /// Of a node that has just begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Compares, and changes the node where it is the node's turn; gives the map's next segment where it is the map's, which
    /// begins at least `horizon` from now. To be called every 10 ms or so. After an edit the caller says with
    /// [`Follower::edited`] what became of it.
    pub fn step(&mut self, node: &mut Node, beat: &Beat, horizon: Nanos, now: HostTime) -> Option<Segment> {
        let Some(line) = beat.line else {
            self.standing = Standing::Idle;
            return None;
        };
        let shared = *node.shared();
        let link = (shared.timeline, shared.start_stop);
        let look = Look { line, map: &beat.map, shared };
        let has_joined = self.session.replace(shared.session) != Some(shared.session);
        let is_known = self.known == Some(link);
        if beat.map.segments().is_empty() {
            self.known = Some(link);
            self.standing = Standing::Idle;
            // One wish of each kind: the answer would be the same.
            let begins = node.peers() > 0 && (!is_known || has_joined);
            return begins.then(|| first(&look, line.session_at(now) + horizon + MARGIN));
        }
        let session_now = line.session_at(now);
        if has_joined {
            self.known = Some(link);
            (self.hold, self.insisted) = (None, 0);
            let map_plays =
                look.position(session_now).playing || look.agreement(session_now, PLAN, WISH).is_some();
            if node.peers() > 0 && shared.start_stop.is_playing && !map_plays {
                return Some(self.wish(&look, horizon, now));
            }
        } else if !is_known {
            // While Link's last wish is being fulfilled nobody follows the ramp that does so: what is on it is the next wish.
            let is_wished = self.wished_until.is_some_and(|until| now < until);
            let agrees = |at| look.agrees(at, WISH) && !(is_wished && look.is_ramp(at));
            if agrees(session_now) || agrees(session_now - ECHO) {
                self.known = Some(link);
            } else if let Some(until) = look.agreement(session_now, PLAN, WISH) {
                self.known = Some(link);
                self.hold = Some(Hold::new(look.host_at(until), beat, now));
            } else if self.edited_at.is_some_and(|last| now - last < EDIT_EVERY) {
                return None;
            } else {
                self.known = Some(link);
                return Some(self.wish(&look, horizon, now));
            }
        }
        if !self.holds(&look, beat, now) {
            self.set(node, &look, now);
        }
        None
    }

    /// What became of the edit: whether it was taken.
    pub fn edited(&mut self, is_taken: bool) {
        if is_taken {
            (self.standing, self.insisted) = (Standing::Together, 0);
        } else {
            (self.standing, self.hold) = (Standing::Refused, None);
            self.insisted = (self.insisted + 1).min(INSIST_MAX);
        }
    }

    /// Whether both are on their way to each other.
    fn holds(&mut self, look: &Look<'_>, beat: &Beat, now: HostTime) -> bool {
        let Some(hold) = self.hold.filter(|hold| now < hold.until) else {
            self.hold = None;
            return false;
        };
        if hold.plan == beat.map.segments().last().copied() {
            return true;
        }
        let until = look.agreement(look.line.session_at(now), PLAN, WISH);
        self.hold = match until {
            Some(until) => Some(Hold::new(look.host_at(until), beat, now)),
            None => Some(hold).filter(|hold| now < hold.shown_by),
        };
        self.hold.is_some()
    }

    /// What a peer of Link wants, as the map's next segment.
    fn wish(&mut self, look: &Look<'_>, horizon: Nanos, now: HostTime) -> Segment {
        let (segment, settled) = wished(look, look.line.session_at(now), horizon + MARGIN);
        self.edited_at = Some(now);
        let until = look.host_at(settled) + MARGIN;
        self.wished_until = Some(until + ECHO);
        self.hold = Some(Hold { until, plan: None, shown_by: now + SHOWN_AFTER });
        segment
    }

    /// Puts what the map plays before Link's peers, where they play something else.
    fn set(&mut self, node: &mut Node, look: &Look<'_>, now: HostTime) {
        let session_now = look.line.session_at(now);
        if self.insisted > 0 && self.insist_at.is_some_and(|at| now < at) {
            return;
        }
        let (timeline, start_stop) =
            (self.timeline(look, session_now, now), Self::start_stop(look, session_now));
        if self.insisted > 0 && (timeline.is_some() || start_stop.is_some()) {
            let doubled = (1..self.insisted).fold(INSIST_EVERY, |wait, _| wait + wait);
            self.insist_at = Some(now + doubled);
        }
        if let Some(timeline) = timeline {
            node.set_timeline(timeline, now);
            self.set_at = Some(now);
        }
        if let Some(start_stop) = start_stop {
            node.set_start_stop(start_stop, now);
        }
        let shared = node.shared();
        self.known = Some((shared.timeline, shared.start_stop));
    }

    fn timeline(&mut self, look: &Look<'_>, session_now: SessionTime, now: HostTime) -> Option<Timeline> {
        // What stands still is looked at where it goes on, if that is soon.
        let at = look.counts_at(session_now, PLAN);
        let position = look.position(at);
        if !TEMPO_BPM.contains(&position.bpm) {
            self.standing = Standing::OutOfRange;
            return None;
        }
        if self.standing != Standing::Refused || self.insisted == 0 {
            self.standing = Standing::Together;
        }
        let since = self.set_at.map(|last| now - last);
        let later = look.position(at + PIECE);
        let in_ramp = later.playing && position.playing && look.is_ramp(at);
        if in_ramp {
            // The chord of the curve: beats, and the tempo in the middle.
            let is_due = since.is_none_or(|since| since >= PIECE) || look.off(at).abs() > FAR_OFF;
            return is_due.then(|| look.set(at, session_now, f64::midpoint(position.bpm, later.bpm)));
        }
        let off = if position.playing { look.off(at).abs() } else { Nanos::ZERO };
        let is_off = off > FAR_OFF || off > OFF && since.is_none_or(|since| since >= SET_EVERY);
        (is_off || !look.has_tempo(at)).then(|| look.set(at, session_now, position.bpm))
    }

    fn start_stop(look: &Look<'_>, session_now: SessionTime) -> Option<StartStop> {
        let there = session_now + LEAD;
        let is_playing = look.position(there).playing;
        let last = look.shared.start_stop;
        if is_playing == last.is_playing {
            return None;
        }
        let begins = look.map.segment(there).map_or(session_now, |(segment, _)| segment.start);
        let at = look.link_at(begins.max(session_now)).max(LinkTime::new(last.time.get().saturating_add(1)));
        Some(StartStop::new(is_playing, at, &look.shared.timeline))
    }
}

impl Hold {
    fn new(until: HostTime, beat: &Beat, now: HostTime) -> Self {
        Self { until, plan: beat.map.segments().last().copied(), shown_by: now }
    }
}

/// The first segment of an empty map: Link's tempo and bar, standing still unless Link's transports run.
fn first(look: &Look<'_>, start: SessionTime) -> Segment {
    let timeline = look.shared.timeline;
    let segment = Segment::steady(start, Beats::new(0.0), timeline.bpm());
    if !look.shared.start_stop.is_playing {
        return Segment { playing: false, ..segment };
    }
    Segment { beat: Beats::new(look.link_beat(start).rem_euclid(segment.meter.bar().get())), ..segment }
}

/// The segment that brings Link's tempo, phase and transport into the map, and when the map is where Link is.
fn wished(look: &Look<'_>, session_now: SessionTime, ahead: Nanos) -> (Segment, SessionTime) {
    let soonest = session_now + ahead;
    let start_stop = look.shared.start_stop;
    let plays = look.position(soonest).playing;
    let start = if start_stop.is_playing == plays {
        soonest
    } else {
        // Not sooner than Link says, nor much later.
        let named = look.line.session_at(look.shared.offset.host_at(start_stop.time));
        if named > session_now + PLAN { soonest } else { soonest.max(named) }
    };
    // A tempo on the way of a ramp is not one that somebody has chosen.
    let is_chosen = !look.has_tempo(start) || look.is_ramp(start) && plays == start_stop.is_playing;
    let bpm = if is_chosen { look.shared.timeline.bpm() } else { look.position(start).bpm };
    let steady = look.steady(start, bpm);
    match (plays, start_stop.is_playing) {
        (false, true) => {
            let bar = steady.meter.bar().get();
            let phase = look.link_beat(start).rem_euclid(bar);
            // Just after a bar's first is on it.
            let to_go = if phase < 1e-3 { 0.0 } else { bar - phase };
            let start = start + minutes(to_go / bpm);
            (Segment { start, beat: steady.bar_beat, playing: true, ..steady }, start)
        }
        (true, false) => (Segment { playing: false, ..steady }, start),
        (false, false) => (steady, start),
        (true, true) => caught_up(look, steady),
    }
}

/// A segment at Link's tempo that ends up at Link's phase: by a ramp where there is little to make up for, else at once.
fn caught_up(look: &Look<'_>, steady: Segment) -> (Segment, SessionTime) {
    let bar = steady.meter.bar().get();
    let in_bar = steady.beat.get() - steady.bar_beat.get();
    let behind = nearest(look.link_beat(steady.start) - in_bar, bar);
    let over = CATCH_UP.max(8.0 * behind.abs());
    // A ramp from v(1 + x) to v over `over` beats lasts over · ln(1 + x) / x beats of v: what it gains is to be `behind`.
    let gained = |x: f64| if x.abs() < 1e-9 { 0.0 } else { over * (1.0 - x.ln_1p() / x) };
    let mut x = 2.0 * behind / over;
    for _ in 0..20 {
        x += 2.0 * (behind - gained(x)) / over;
    }
    let from = steady.bpm * (1.0 + x);
    if behind.abs() > JUMP || !MAP_BPM.contains(&from) {
        (Segment { beat: Beats::new(steady.beat.get() + behind), ..steady }, steady.start)
    } else if behind.abs() < 1e-6 {
        (steady, steady.start)
    } else {
        let ramp = Some(Ramp { to_bpm: steady.bpm, over: Beats::new(over) });
        (Segment { bpm: from, ramp, ..steady }, steady.start + minutes((over - behind) / steady.bpm))
    }
}
