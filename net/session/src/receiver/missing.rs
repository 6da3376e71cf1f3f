//! The packets of a stream that are missing: when they are asked for, and when they are given up.

use std::collections::VecDeque;

use audiocloud_units::{HostTime, MediaTime, Nanos};
use audiocloud_wire::id::StreamId;
use audiocloud_wire::packet::request::ResendRequest;

/// The most that are kept: more are missing only where nothing comes at all.
const MISSING_MAX: usize = 1024;
/// How long one that was given up is remembered, to tell a late packet from a lost one.
const REMEMBERED: Nanos = Nanos::from_millis(500);
/// Requests for one packet.
const ASKS_MAX: u8 = 20;

/// What brings a packet back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Resend,
    Repair,
}

/// Where a missing packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It may come in time.
    Open,
    /// It was sent again, or made from a repair. Its original may still come, and has not been lost then.
    BroughtBack(Way),
    /// Its time is over: it was brought back before, or it was not.
    Over { brought_back: Option<Way> },
}

/// A packet that is missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    pub(super) sequence: u32,
    /// Its first frame, as its neighbours have it.
    pub(super) start: MediaTime,
    pub(super) noticed: HostTime,
    pub(super) state: State,
    /// No later packet has come yet: it may not even have been sent.
    pub(super) is_presumed: bool,
    ask_at: HostTime,
    asked_at: Option<HostTime>,
    asks: u8,
}

impl Missing {
    /// Whether it is known to be missing, and its time is not over.
    pub(super) fn is_awaited(&self) -> bool {
        self.state == State::Open && !self.is_presumed
    }

    /// What brought it back, if anything did.
    pub(super) fn brought_back(&self) -> Option<Way> {
        match self.state {
            State::Open => None,
            State::BroughtBack(way) => Some(way),
            State::Over { brought_back } => brought_back,
        }
    }

    /// From a request to its answer, where there was only one request.
    pub(super) fn response(&self, now: HostTime) -> Option<Nanos> {
        (self.asks == 1).then(|| self.asked_at.map(|asked| now - asked)).flatten()
    }
}

/// The pace of requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// From a request to its answer, usually: later than that before the deadline there is no use in asking.
    pub(super) response: Nanos,
    /// From a request to the next for the same packet.
    pub(super) again: Nanos,
    /// How long packets that overtake each other usually take.
    pub(super) disorder: Nanos,
    /// How long before it is due a packet is asked for at the latest, where it might have come by itself.
    pub(super) reserve: Nanos,
}

/// All missing packets of one epoch, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct AllMissing {
    list: VecDeque<Missing>,
}

/// What packets came to whose time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expired {
    /// So many did not come by any way.
    pub(super) lost: u32,
    /// So many were brought back, and their originals did not come.
    pub(super) brought_back: u32,
}

impl AllMissing {
    /// A later packet proves this one missing. Whether that is news.
    pub(super) fn prove(&mut self, sequence: u32, start: MediaTime, now: HostTime) -> bool {
        if let Some(known) = self.find(sequence) {
            return std::mem::replace(&mut known.is_presumed, false);
        }
        self.add(sequence, start, now, false);
        true
    }

    /// The packet should have come by now.
    pub(super) fn presume(&mut self, sequence: u32, start: MediaTime, now: HostTime) {
        if self.find(sequence).is_none() {
            self.add(sequence, start, now, true);
        }
    }

    /// The packet came by another way before anybody missed it.
    pub(super) fn anticipate(&mut self, sequence: u32, start: MediaTime, now: HostTime, way: Way) {
        self.presume(sequence, start, now);
        if let Some(known) = self.find(sequence) {
            known.state = State::BroughtBack(way);
        }
    }

    fn add(&mut self, sequence: u32, start: MediaTime, now: HostTime, is_presumed: bool) {
        let state = State::Open;
        let ask_at = now;
        let missing =
            Missing { sequence, start, noticed: now, state, is_presumed, ask_at, asked_at: None, asks: 0 };
        let place = self.place(sequence);
        self.list.insert(place, missing);
    }

    /// How many are there, of the list's bound.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= MISSING_MAX
    }

    /// Takes the oldest, where there is no room for another.
    pub(super) fn pop_oldest(&mut self) -> Option<Missing> {
        self.list.pop_front()
    }

    /// Looks up a packet.
    pub(super) fn find(&mut self, sequence: u32) -> Option<&mut Missing> {
        let place = self.place(sequence);
        self.list.get_mut(place).filter(|one| one.sequence == sequence)
    }

    /// Takes a packet off the list: its original has come.
    pub(super) fn take(&mut self, sequence: u32) -> Option<Missing> {
        let place = self.place(sequence);
        if self.list.get(place)?.sequence == sequence { self.list.remove(place) } else { None }
    }

    /// Where the packet is, or would be.
    fn place(&self, sequence: u32) -> usize {
        self.list.partition_point(|one| one.sequence.wrapping_sub(sequence) > u32::MAX / 2)
    }

    /// Gives up what is past its time, and forgets what was given up long ago. `due` of a packet, by its first frame.
    pub(super) fn expire(&mut self, now: HostTime, due: impl Fn(&Missing) -> HostTime) -> Expired {
        let mut expired = Expired::default();
        for one in &mut self.list {
            let is_over = due(one) < now;
            match one.state {
                State::Open if is_over => {
                    one.state = State::Over { brought_back: None };
                    expired.lost += u32::from(!one.is_presumed);
                }
                State::BroughtBack(way) if is_over => {
                    one.state = State::Over { brought_back: Some(way) };
                    expired.brought_back += 1;
                }
                _ => {}
            }
        }
        // What nobody has proved missing was not sent.
        let was_not_sent = |one: &Missing| one.is_presumed && one.state == State::Over { brought_back: None };
        self.list.retain(|one| !was_not_sent(one));
        while self.list.front().is_some_and(|one| one.state != State::Open && now - one.noticed > REMEMBERED)
        {
            self.list.pop_front();
        }
        expired
    }

    /// Asks for all whose turn it is. How many requests that took.
    pub(super) fn ask(
        &mut self,
        (stream, epoch): (StreamId, u32),
        now: HostTime,
        pace: Pace,
        due: impl Fn(&Missing) -> HostTime,
        mut send: impl FnMut(&ResendRequest),
    ) -> u32 {
        let mut requests = 0;
        let mut request = ResendRequest { stream, epoch, first_sequence: 0, mask: 0 };
        for one in self.list.iter_mut().filter(|one| one.state == State::Open) {
            if one.next_ask(pace, due(one)).is_none_or(|at| at > now) {
                continue;
            }
            one.ask_at = now + pace.again;
            one.asked_at = Some(now);
            one.asks += 1;
            let bit = one.sequence.wrapping_sub(request.first_sequence);
            if request.mask != 0 && bit < u64::BITS {
                request.mask |= 1 << bit;
                continue;
            }
            if request.mask != 0 {
                send(&request);
                requests += 1;
            }
            (request.first_sequence, request.mask) = (one.sequence, 1);
        }
        if request.mask != 0 {
            send(&request);
            requests += 1;
        }
        requests
    }

    /// When there is something to do next.
    pub(super) fn next_wake(&self, pace: Pace, due: impl Fn(&Missing) -> HostTime) -> Option<HostTime> {
        let wake = |one: &Missing| {
            let due = due(one);
            let expires = due + Nanos::new(1);
            match one.state {
                State::Open => Some(one.next_ask(pace, due).map_or(expires, |at| at.min(expires))),
                // Nothing depends on when exactly that is noticed.
                State::BroughtBack(_) | State::Over { .. } => None,
            }
        };
        self.list.iter().filter_map(wake).min()
    }
}

impl Missing {
    /// When to ask for it, if there is any use.
    fn next_ask(&self, pace: Pace, due: HostTime) -> Option<HostTime> {
        if self.asks >= ASKS_MAX {
            return None;
        }
        let last = due - pace.response;
        let at = if self.asks == 0 {
            // What has been overtaken comes by itself.
            (self.noticed + pace.disorder).min(due - pace.reserve).max(self.noticed)
        } else {
            self.ask_at
        };
        (at <= last).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: StreamId = StreamId(3);
    const DUE: HostTime = HostTime::new(10_000_000);

    fn at_us(micros: i64) -> HostTime {
        HostTime::new(micros * 1000)
    }

    fn pace(response_us: i64, disorder_us: i64) -> Pace {
        Pace {
            response: Nanos::from_micros(response_us),
            again: Nanos::from_micros((response_us * 5 / 4).max(1000)),
            disorder: Nanos::from_micros(disorder_us),
            reserve: Nanos::from_micros(response_us + (response_us * 5 / 4).max(1000)),
        }
    }

    /// When the requests are sent for one packet that is missing from 1 ms on and due at 10.
    fn asked(pace: Pace) -> Vec<i64> {
        let mut missing = AllMissing::default();
        assert!(missing.prove(7, MediaTime::new(0), at_us(1000)));
        let mut times = Vec::new();
        while let Some(now) = missing.next_wake(pace, |_| DUE) {
            missing.expire(now, |_| DUE);
            missing.ask(
                (STREAM, 1),
                now,
                pace,
                |_| DUE,
                |request| {
                    assert_eq!((request.first_sequence, request.mask), (7, 1));
                    times.push(now.get() / 1000);
                },
            );
        }
        times
    }

    #[test]
    fn requests_are_repeated_while_they_can_be_answered() {
        assert_eq!(asked(pace(3000, 0)), [1000, 4750]);
        assert_eq!(asked(pace(200, 0)), [1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000]);
        assert_eq!(asked(pace(8999, 0)), [1000]);
        assert_eq!(asked(pace(9001, 0)), [0; 0], "too late from the beginning");
        assert_eq!(asked(pace(3000, 2000)), [3000, 6750], "disorder is waited for");
        assert_eq!(asked(pace(3000, 9000)), [3250, 7000], "but not at the cost of asking twice");
    }

    #[test]
    fn requests_are_bundled() {
        let mut missing = AllMissing::default();
        for sequence in [u32::MAX - 1, u32::MAX, 0, 5, 61, 62, 200] {
            missing.prove(sequence, MediaTime::new(0), at_us(0));
        }
        let mut requests = Vec::new();
        let count = missing.ask(
            (STREAM, 9),
            at_us(0),
            pace(500, 0),
            |_| DUE,
            |request| {
                assert_eq!((request.stream, request.epoch), (STREAM, 9));
                requests.push(request.sequences().collect::<Vec<_>>());
            },
        );
        assert_eq!(count, 3);
        assert_eq!(requests, [vec![u32::MAX - 1, u32::MAX, 0, 5, 61], vec![62], vec![200]]);
    }

    #[test]
    fn what_is_past_its_time_is_lost_once() {
        let mut missing = AllMissing::default();
        missing.prove(1, MediaTime::new(0), at_us(0));
        missing.presume(2, MediaTime::new(0), at_us(0));
        assert_eq!(missing.expire(DUE, |_| DUE), Expired::default());
        assert_eq!(missing.expire(at_us(10_001), |_| DUE), Expired { lost: 1, brought_back: 0 });
        assert_eq!(missing.expire(at_us(10_002), |_| DUE), Expired::default());
        assert!(missing.find(2).is_none(), "what was only presumed is forgotten");
        assert_eq!(missing.find(1).unwrap().state, State::Over { brought_back: None });
        missing.anticipate(9, MediaTime::new(0), at_us(10_002), Way::Repair);
        assert_eq!(missing.expire(at_us(10_003), |_| DUE), Expired { lost: 0, brought_back: 1 });
        assert_eq!(missing.find(9).unwrap().brought_back(), Some(Way::Repair));
        missing.expire(at_us(600_000), |_| DUE);
        assert!(missing.take(1).is_none() && missing.take(9).is_none());
    }
}
