//! The slices between the first that is missing and the newest that came.

use audiocloud_units::{HostTime, Nanos};
use audiocloud_wire::packet::slice::SLICE_BYTES_MAX;

/// The most slices that are looked at together: of stereo in blocks of 64 frames at 48 kHz, 680 ms.
pub(super) const SPAN: u32 = 512;
/// Requests for one slice.
pub(super) const ASKS_MAX: u8 = 20;

/// Where a slice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has not come.
    Missing,
    /// It waits for one before it.
    Held,
    /// It was handed over, or given up.
    Done,
}

/// The place of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) state: State,
    /// Since when it is missed.
    pub(super) since: HostTime,
    /// When it is given up.
    pub(super) expires: HostTime,
    ask_at: HostTime,
    pub(super) asks: u8,
    length: u16,
}

impl Place {
    const EMPTY: Self = Self {
        state: State::Done,
        since: HostTime::new(0),
        expires: HostTime::new(0),
        ask_at: HostTime::new(0),
        asks: 0,
        length: 0,
    };

    /// One that is missed from now on. It pays to wait so long for it to come by itself.
    pub(super) fn missing(since: HostTime, expires: HostTime, wait: Nanos, pace: Pace) -> Self {
        let latest = expires - pace.rtt - pace.again;
        let ask_at = (since + wait).min(latest).max(since);
        Self { state: State::Missing, since, expires, ask_at, asks: 0, length: 0 }
    }

    /// When to ask for it, if the answer can come before it is given up.
    pub(super) fn next_ask(&self, pace: Pace) -> Option<HostTime> {
        let is_of_use = self.state == State::Missing && self.ask_at + pace.rtt <= self.expires;
        (is_of_use && self.asks < ASKS_MAX).then_some(self.ask_at)
    }

    /// It is asked for now.
    pub(super) fn asked(&mut self, now: HostTime, pace: Pace) {
        self.ask_at = now + pace.again;
        self.asks += 1;
    }
}

/// The pace of requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// From a request to its answer.
    pub(super) rtt: Nanos,
    /// From a request to the next for the same slice.
    pub(super) again: Nanos,
}

/// Sequence numbers from the first that is not done with to the newest, and the slices that wait among them.
#[derive(Debug)]
pub(super) struct Window {
    next: u32,
    /// The number after the newest.
    end: u32,
    missing: u32,
    places: Box<[Place]>,
    /// A slice's length for each place. What is never touched is never made.
    bytes: Box<[u8]>,
}

impl Window {
    pub(super) fn new() -> Self {
        let span = usize::try_from(SPAN).unwrap_or(0);
        Self {
            next: 0,
            end: 0,
            missing: 0,
            places: vec![Place::EMPTY; span].into(),
            bytes: vec![0; span * SLICE_BYTES_MAX].into(),
        }
    }

    /// Empty, with this number next.
    pub(super) fn restart(&mut self, next: u32) {
        (self.next, self.end, self.missing) = (next, next, 0);
    }

    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// How many places it spans.
    pub(super) fn span(&self) -> u32 {
        self.end.wrapping_sub(self.next)
    }

    /// How many of them are missing.
    pub(super) fn missing(&self) -> u32 {
        self.missing
    }

    /// How far a number is ahead of the next; none when it is behind.
    pub(super) fn ahead(&self, sequence: u32) -> Option<u32> {
        let ahead = sequence.wrapping_sub(self.next);
        (ahead <= u32::MAX / 2).then_some(ahead)
    }

    /// All numbers in it.
    pub(super) fn sequences(&self) -> impl Iterator<Item = u32> + use<> {
        let next = self.next;
        (0..self.span()).map(move |ahead| next.wrapping_add(ahead))
    }

    fn index(sequence: u32) -> usize {
        usize::try_from(sequence % SPAN).unwrap_or(0)
    }

    pub(super) fn place(&self, sequence: u32) -> &Place {
        &self.places[Self::index(sequence)]
    }

    pub(super) fn place_mut(&mut self, sequence: u32) -> &mut Place {
        &mut self.places[Self::index(sequence)]
    }

    /// The newest is now `sequence`, which has come; all between are as `missing`. It is less than [`SPAN`] ahead.
    pub(super) fn extend(&mut self, sequence: u32, missing: Place) {
        debug_assert!(self.ahead(sequence).is_some_and(|ahead| ahead < SPAN && ahead >= self.span()));
        while self.end != sequence {
            *self.place_mut(self.end) = missing;
            self.missing += 1;
            self.end = self.end.wrapping_add(1);
        }
        *self.place_mut(sequence) = Place::EMPTY;
        self.end = self.end.wrapping_add(1);
    }

    /// One that was missing has come, or is given up.
    pub(super) fn finish(&mut self, sequence: u32) {
        let place = self.place_mut(sequence);
        if std::mem::replace(&mut place.state, State::Done) == State::Missing {
            self.missing = self.missing.saturating_sub(1);
        }
    }

    /// Keeps a slice that has come and waits.
    pub(super) fn hold(&mut self, sequence: u32, slice: &[u8]) {
        self.finish(sequence);
        let start = Self::index(sequence) * SLICE_BYTES_MAX;
        if let Some(room) = self.bytes.get_mut(start..start + slice.len()) {
            room.copy_from_slice(slice);
            let place = self.place_mut(sequence);
            place.state = State::Held;
            place.length = u16::try_from(slice.len()).unwrap_or(0);
        }
    }

    /// A slice that waits.
    pub(super) fn held(&self, sequence: u32) -> Option<&[u8]> {
        let place = self.place(sequence);
        let start = Self::index(sequence) * SLICE_BYTES_MAX;
        let slice = self.bytes.get(start..start + usize::from(place.length));
        slice.filter(|_| place.state == State::Held)
    }

    /// Leaves the next one behind.
    pub(super) fn advance(&mut self) {
        self.finish(self.next);
        self.next = self.next.wrapping_add(1);
    }

    /// Leaves behind what is done with.
    pub(super) fn advance_past_done(&mut self) {
        while self.next != self.end && self.place(self.next).state == State::Done {
            self.next = self.next.wrapping_add(1);
        }
    }

    /// How many are missing one after the other, from the next on.
    pub(super) fn run_of_missing(&self) -> u32 {
        let is_missing = |sequence: &u32| self.place(*sequence).state == State::Missing;
        u32::try_from(self.sequences().take_while(is_missing).count()).unwrap_or(SPAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { rtt: Nanos::from_millis(2), again: Nanos::from_micros(2500) };

    fn ms(millis: i64) -> HostTime {
        HostTime::new(millis * 1_000_000)
    }

    #[test]
    fn asking_is_over_when_no_answer_can_be_in_time() {
        let mut place = Place::missing(ms(0), ms(8), Nanos::ZERO, PACE);
        let mut asked = Vec::new();
        while let Some(at) = place.next_ask(PACE) {
            asked.push(at.get() / 1000);
            place.asked(at, PACE);
        }
        assert_eq!(asked, [0, 2500, 5000]);
        let patient = Place::missing(ms(0), ms(8), Nanos::from_millis(1), PACE);
        assert_eq!(patient.next_ask(PACE), Some(ms(1)), "it may come by itself");
        let patient = Place::missing(ms(0), ms(8), Nanos::from_millis(9), PACE);
        assert_eq!(patient.next_ask(PACE), Some(HostTime::new(3_500_000)), "but is asked for twice");
        assert_eq!(Place::missing(ms(0), ms(1), Nanos::ZERO, PACE).next_ask(PACE), None);
    }

    #[test]
    fn numbers_wrap() {
        let mut window = Window::new();
        window.restart(u32::MAX - 1);
        let missing = Place::missing(ms(0), ms(8), Nanos::ZERO, PACE);
        window.extend(1, missing);
        window.hold(1, &[7, 8, 9]);
        assert_eq!((window.missing(), window.run_of_missing(), window.span()), (3, 3, 4));
        assert_eq!(window.sequences().collect::<Vec<_>>(), [u32::MAX - 1, u32::MAX, 0, 1]);
        assert_eq!((window.ahead(1), window.ahead(u32::MAX - 2)), (Some(3), None));
        (0..3).for_each(|_| window.advance());
        assert_eq!((window.next(), window.missing(), window.held(1)), (1, 0, Some(&[7, 8, 9][..])));
        window.finish(1);
        window.advance_past_done();
        assert_eq!((window.next(), window.span()), (2, 0));
        assert_eq!(window.held(1), None);
    }
}
