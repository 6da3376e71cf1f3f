//! How far a session's clock is ahead of ours, from a chain of round trips.
//!
//! Each pong answers a ping and sets off the next. Of every round trip there are two estimates: the answerer's clock
//! in the middle of ours, and ours in the middle of theirs. What was quick says more than what waited in a queue: the median
//! of the quicker half counts.

use audiocloud_units::HostTime;

use crate::timeline::{LinkTime, Offset, micros};
use crate::wire::{Ping, Pong};

/// Round trips of one measurement.
pub const ROUND_TRIPS: usize = 50;
/// With fewer nothing is known yet.
const ROUND_TRIPS_MIN: usize = 8;

/// One that goes on.
#[derive(Clone, Debug)]
pub struct Measurement {
    ping: Ping,
    /// Round trip and offset, both in microseconds.
    estimates: Vec<(i64, i64)>,
    trips: usize,
}

/// What a pong was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// To be sent next.
    Ping(Ping),
    /// The answerer's clock over ours.
    Done(Offset),
    /// It answers no ping that is under way.
    Stray,
}

impl Measurement {
    /// Its first ping is to be sent now.
    #[must_use]
    pub fn begin(now: HostTime) -> Self {
        let ping = Ping { host: micros(now), previous: None };
        Self { ping, estimates: Vec::with_capacity(2 * ROUND_TRIPS), trips: 0 }
    }

    /// What is under way.
    #[must_use]
    pub fn ping(&self) -> Ping {
        self.ping
    }

    /// Another ping, instead of one that was lost: a chain of its own.
    pub fn again(&mut self, now: HostTime) -> Ping {
        self.ping = Ping { host: micros(now), previous: None };
        self.ping
    }

    /// A pong that has just come.
    pub fn receive(&mut self, pong: &Pong, now: HostTime) -> Progress {
        let now_us = micros(now);
        if pong.ping != self.ping || now_us < self.ping.host {
            return Progress::Stray;
        }
        let Ping { host, previous } = self.ping;
        let theirs = pong.link.get();
        let trip = now_us.saturating_sub(host);
        self.estimates.push((trip, theirs.saturating_sub(middle(host, now_us))));
        if let Some(previous) = previous.map(LinkTime::get) {
            let trip = theirs.saturating_sub(previous);
            if trip >= 0 {
                self.estimates.push((trip, middle(previous, theirs).saturating_sub(host)));
            }
        }
        self.trips += 1;
        if self.trips == ROUND_TRIPS {
            return Progress::Done(self.result());
        }
        self.ping = Ping { host: now_us, previous: Some(pong.link) };
        Progress::Ping(self.ping)
    }

    /// What is known when whoever answered does so no more.
    pub fn so_far(&mut self) -> Option<Offset> {
        (self.trips >= ROUND_TRIPS_MIN).then(|| self.result())
    }

    fn result(&mut self) -> Offset {
        self.estimates.sort_unstable();
        let quicker = self.estimates.len().div_ceil(2);
        let mut offsets: Vec<i64> = self.estimates.iter().take(quicker).map(|(_, offset)| *offset).collect();
        offsets.sort_unstable();
        Offset::new(offsets.get(offsets.len() / 2).copied().unwrap_or_default())
    }
}

fn middle(a: i64, b: i64) -> i64 {
    // Of what a peer says, so no sum that may overflow.
    (a >> 1).saturating_add(b >> 1).saturating_add(a & b & 1)
}

#[cfg(test)]
mod tests {
    use audiocloud_units::Nanos;

    use super::*;
    use crate::wire::LinkSession;

    /// Round trips with these delays there and back, in microseconds, against a clock that is so much ahead.
    fn measured(ahead: i64, mut delays: impl FnMut(usize) -> (i64, i64)) -> i64 {
        let mut now = HostTime::new(77_000_000_000);
        let mut measurement = Measurement::begin(now);
        for trip in 0.. {
            let (there, back) = delays(trip);
            let link = LinkTime::new(micros(now) + there + ahead);
            now = now + Nanos::from_micros(there + back);
            let pong = Pong { session: LinkSession([1; 8]), link, ping: measurement.ping() };
            match measurement.receive(&pong, now) {
                Progress::Ping(ping) => assert_eq!(ping.previous, Some(link)),
                Progress::Done(offset) => return offset.get(),
                Progress::Stray => panic!("trip {trip} was stray"),
            }
        }
        unreachable!()
    }

    #[test]
    fn equal_ways_give_the_offset_itself() {
        assert!((measured(123_456_789, |_| (180, 180)) - 123_456_789).abs() <= 1);
        assert!((measured(-123_456_789, |_| (181, 179)) + 123_456_789).abs() <= 1);
    }

    #[test]
    fn queues_are_not_believed() {
        // Two of three pongs wait for up to 20 ms; the median of all would be wrong by 1.7 ms.
        let slow = |trip: usize| {
            let trip = i64::try_from(trip).unwrap();
            if trip % 3 == 0 { 0 } else { 1_000 + (trip * 7_919) % 19_000 }
        };
        let error = measured(5_000_000, |trip| (150, 150 + slow(trip))) - 5_000_000;
        assert!(error.abs() < 20, "{error} µs");
    }

    #[test]
    fn what_answers_nothing_is_stray() {
        let now = HostTime::new(9_000_000);
        let mut measurement = Measurement::begin(now);
        let first = measurement.ping();
        let pong = |ping| Pong { session: LinkSession([1; 8]), link: LinkTime::new(5), ping };
        let second = measurement.again(now + Nanos::from_millis(50));
        let later = now + Nanos::from_millis(51);
        assert_eq!(measurement.receive(&pong(first), later), Progress::Stray);
        assert!(matches!(measurement.receive(&pong(second), later), Progress::Ping(_)));
        assert_eq!(measurement.receive(&pong(second), later), Progress::Stray, "a copy");
    }

    #[test]
    fn the_ends_of_the_range_do_not_overflow() {
        for link in [i64::MIN, i64::MAX] {
            let mut measurement = Measurement::begin(HostTime::new(i64::MAX));
            for _ in 0..ROUND_TRIPS {
                let ping = measurement.ping();
                let pong = Pong { session: LinkSession([1; 8]), link: LinkTime::new(link), ping };
                measurement.receive(&pong, HostTime::new(i64::MAX));
            }
        }
    }
}
