//! Slices that were given up. Their sound is of no use any more; their events are, for a second.

use std::collections::VecDeque;

use audiocloud_rt::chain_event::ChainBody;
use audiocloud_units::{HostTime, Nanos};

use super::window::{ASKS_MAX, Pace};
use crate::receiver::events::ends_notes;

/// How long events are waited for.
const WAIT: Nanos = Nanos::from_secs(1);
/// Between two requests at least: there is no hurry any more.
const AGAIN_MIN: Nanos = Nanos::from_millis(20);
/// The most that are remembered.
const SLICES_MAX: usize = 128;
/// The most things that are remembered to have changed since.
const TOUCHED_MAX: usize = 256;

/// One that was given up.
#[derive(Clone, Copy, Debug)]
struct Slice {
    sequence: u32,
    until: HostTime,
    ask_at: HostTime,
    asks: u8,
    /// It has, or may have, events.
    is_wanted: bool,
}

/// What an event changes: of two events for the same, the later counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Parameter(u32, u32),
    Bypass(u32),
    Transport,
}

impl Target {
    fn of(body: &ChainBody) -> Option<Self> {
        match *body {
            ChainBody::Parameter { effect, parameter, .. } => Some(Self::Parameter(effect, parameter)),
            ChainBody::Bypass { effect, .. } => Some(Self::Bypass(effect)),
            ChainBody::Transport { .. } => Some(Self::Transport),
            ChainBody::Voice(_) => None,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    slices: VecDeque<Slice>,
    /// What has changed since the first of them was given up, with the number of the latest event that did it.
    touched: Vec<(Target, u32)>,
    is_crowded: bool,
    /// Events that are missing.
    events: u32,
}

impl Overdue {
    /// Forgets all; how many events were still missing.
    pub(super) fn clear(&mut self) -> u32 {
        self.slices.clear();
        self.forget_touched();
        std::mem::take(&mut self.events)
    }

    fn forget_touched(&mut self) {
        self.touched.clear();
        self.is_crowded = false;
    }

    fn is_waiting(&self) -> bool {
        self.slices.iter().any(|slice| slice.is_wanted)
    }

    /// A slice is given up.
    pub(super) fn push(&mut self, sequence: u32, is_wanted: bool, now: HostTime) {
        if self.slices.len() >= SLICES_MAX {
            self.slices.pop_front();
        }
        let until = now + WAIT;
        self.slices.push_back(Slice { sequence, until, ask_at: now, asks: 0, is_wanted });
    }

    /// So many events were in what was given up.
    pub(super) fn expect(&mut self, events: u32) {
        self.events = self.events.saturating_add(events);
    }

    /// One that was given up comes after all. Whether it was one.
    pub(super) fn take(&mut self, sequence: u32) -> bool {
        let place = self.slices.iter().position(|slice| slice.sequence == sequence);
        place.is_some_and(|place| self.slices.remove(place).is_some())
    }

    /// An event is handed over: an older one for the same comes too late from now on.
    pub(super) fn touch(&mut self, number: u32, body: &ChainBody) {
        if self.slices.is_empty() {
            return;
        }
        let Some(target) = Target::of(body) else { return };
        let is_full = self.touched.len() >= TOUCHED_MAX;
        match self.touched.iter_mut().find(|(one, _)| *one == target) {
            Some((_, latest)) => *latest = number,
            None if is_full => self.is_crowded = true,
            None => self.touched.push((target, number)),
        }
    }

    /// An event out of its time: whether it still counts.
    pub(super) fn admit(&mut self, number: u32, body: &ChainBody) -> bool {
        self.events = self.events.saturating_sub(1);
        let target = match body {
            ChainBody::Voice(voice) => return ends_notes(voice),
            _ => Target::of(body),
        };
        let counts = match self.touched.iter().find(|(one, _)| Some(*one) == target) {
            Some((_, latest)) => number.wrapping_sub(*latest) <= u32::MAX / 2,
            None => !self.is_crowded,
        };
        if counts {
            self.touch(number, body);
        }
        counts
    }

    /// Forgets what was waited for long enough. How many events are lost for good by that.
    pub(super) fn expire(&mut self, now: HostTime) -> u32 {
        while self.slices.front().is_some_and(|slice| slice.until <= now) {
            self.slices.pop_front();
        }
        if self.is_waiting() {
            return 0;
        }
        if self.slices.is_empty() {
            self.forget_touched();
        }
        std::mem::take(&mut self.events)
    }

    /// Asks for those whose turn it is.
    pub(super) fn ask(&mut self, now: HostTime, pace: Pace, mut ask: impl FnMut(u32)) {
        for slice in &mut self.slices {
            if slice.is_wanted && slice.asks < ASKS_MAX && slice.ask_at <= now {
                slice.asks += 1;
                slice.ask_at = now + pace.again.max(AGAIN_MIN);
                ask(slice.sequence);
            }
        }
    }

    /// When there is something to do next.
    pub(super) fn next_wake(&self) -> Option<HostTime> {
        let ask = |slice: &Slice| (slice.is_wanted && slice.asks < ASKS_MAX).then_some(slice.ask_at);
        let asks = self.slices.iter().filter_map(ask);
        asks.chain(self.slices.front().map(|slice| slice.until)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_rt::event::{Body, NoteAddress};

    const PACE: Pace = Pace { rtt: Nanos::from_millis(2), again: Nanos::from_micros(2500) };

    fn ms(millis: i64) -> HostTime {
        HostTime::new(millis * 1_000_000)
    }

    fn parameter(effect: u32) -> ChainBody {
        ChainBody::Parameter { effect, parameter: 1, value: 0.5, ramp_frames: None }
    }

    #[test]
    fn of_two_values_the_later_counts() {
        let mut overdue = Overdue::default();
        overdue.touch(9, &parameter(7));
        overdue.push(5, true, ms(0));
        overdue.push(6, true, ms(0));
        overdue.expect(5);
        overdue.touch(20, &parameter(1));
        assert!(overdue.take(6) && !overdue.take(6) && !overdue.take(4));
        assert!(!overdue.admit(19, &parameter(1)), "there was a later one");
        assert!(overdue.admit(21, &parameter(1)), "this is later");
        assert!(overdue.admit(18, &parameter(2)));
        assert!(overdue.take(5));
        assert!(!overdue.admit(15, &parameter(2)), "one of the slice after it came before");
        assert!(overdue.admit(16, &ChainBody::Bypass { effect: 1, on: true }));
        assert_eq!(overdue.expire(ms(1)), 0, "all of them came");
    }

    #[test]
    fn the_ends_of_notes_count_however_late() {
        let note = NoteAddress { note_id: -1, port: 0, channel: 0, key: 60 };
        let mut overdue = Overdue::default();
        overdue.push(5, true, ms(0));
        assert!(overdue.admit(1, &ChainBody::Voice(Body::NoteOff { note, velocity: 0.0 })));
        assert!(!overdue.admit(0, &ChainBody::Voice(Body::NoteOn { note, velocity: 1.0 })));
    }

    #[test]
    fn waiting_has_an_end() {
        let mut overdue = Overdue::default();
        for sequence in 0..300 {
            overdue.push(sequence, sequence % 2 == 0, ms(0));
        }
        overdue.expect(3);
        assert!(!overdue.take(171) && overdue.take(172), "128 are remembered");
        let mut asked = 0;
        let mut now = ms(0);
        while let Some(wake) = overdue.next_wake() {
            assert!(wake >= now);
            now = wake;
            let lost = overdue.expire(now);
            assert_eq!(lost, if now < ms(1000) { 0 } else { 3 });
            overdue.ask(now, PACE, |sequence| asked += u32::from(sequence % 2 == 0));
        }
        assert_eq!(now, ms(1000));
        assert_eq!(asked, 63 * 20);
    }

    #[test]
    fn what_changes_is_remembered_up_to_a_bound() {
        let mut overdue = Overdue::default();
        overdue.push(1, true, ms(0));
        (0..1000).for_each(|effect| overdue.touch(effect, &parameter(effect)));
        assert!(overdue.touched.len() <= TOUCHED_MAX);
        assert!(!overdue.admit(2000, &parameter(999)), "nobody knows");
        assert!(overdue.admit(2001, &parameter(9)));
    }
}
