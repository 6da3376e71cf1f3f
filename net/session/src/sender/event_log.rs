//! The events of a stream that may still be missing somewhere, and what each lane has told of them.

use std::collections::VecDeque;

use audiocloud_units::{HostTime, Nanos};
use audiocloud_wire::id::{ConfigId, StreamId};
use audiocloud_wire::packet::event::{Body, Encoder, Header};

/// Events older than this are not repeated: whoever missed them was told of the loss by their numbers.
const AGE_MAX: Nanos = Nanos::from_millis(500);
/// The most events kept; more than that in half a second are sent once.
const EVENTS_MAX: usize = 4096;
/// The most events in one packet.
const EVENTS_PER_PACKET: usize = 64;
/// From one repetition to the next: at first, and at most.
const INTERVAL_MIN: Nanos = Nanos::from_millis(3);
const INTERVAL_MAX: Nanos = Nanos::from_millis(20);

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u32,
    at: HostTime,
    frame: u64,
    body: Body<'static>,
}

/// The events of the last half second, by number.
#[derive(Debug)]
pub(super) struct EventLog {
    stream: StreamId,
    config: ConfigId,
    epoch: Option<u32>,
    next: u32,
    entries: VecDeque<Entry>,
}

impl EventLog {
    pub(super) fn new(stream: StreamId, config: ConfigId) -> Self {
        Self { stream, config, epoch: None, next: 0, entries: VecDeque::new() }
    }

    pub(super) fn epoch(&self) -> Option<u32> {
        self.epoch
    }

    /// Numbers begin anew. What was said in the epoch before is of no use any more.
    pub(super) fn restart(&mut self, epoch: u32) {
        self.epoch = Some(epoch);
        self.next = 0;
        self.entries.clear();
    }

    pub(super) fn push(&mut self, now: HostTime, frame: u64, body: Body<'static>) {
        self.forget(now);
        self.entries.push_back(Entry { number: self.next, at: now, frame, body });
        self.skip(1);
    }

    /// Numbers of events that there is nothing to say of.
    pub(super) fn skip(&mut self, count: u32) {
        self.next = self.next.wrapping_add(count);
    }

    pub(super) fn forget(&mut self, now: HostTime) {
        while let Some(oldest) = self.entries.front()
            && ((now - oldest.at).get() > AGE_MAX.get() || self.entries.len() >= EVENTS_MAX)
        {
            self.entries.pop_front();
        }
    }

    /// Events kept from number `from` on.
    fn kept_from(&self, from: u32) -> usize {
        let is_earlier = |entry: &Entry| precedes(entry.number, from);
        self.entries.len() - self.entries.partition_point(is_earlier)
    }

    /// Writes a packet of events with consecutive numbers, the first one kept from `from` on; without any, which number
    /// is next.
    fn write(&self, from: u32, out: &mut [u8]) -> Option<Written> {
        let epoch = self.epoch?;
        let start = self.entries.len() - self.kept_from(from);
        let first = self.entries.get(start);
        let header = Header {
            stream: self.stream,
            epoch,
            config: self.config,
            first_number: first.map_or(self.next, |entry| entry.number),
            base_frame: first.map_or(0, |entry| entry.frame),
        };
        let mut encoder = Encoder::new(&header, &[], out).ok()?;
        let mut next = header.first_number;
        for entry in self.entries.range(start..).take(EVENTS_PER_PACKET) {
            if entry.number != next || encoder.try_push(entry.frame, &entry.body).is_err() {
                break;
            }
            next = next.wrapping_add(1);
        }
        let events = u32::from(encoder.count());
        // An event that no packet can say, such as one that is not a number, is passed over; its number tells.
        let next = if events == 0 && first.is_some() { next.wrapping_add(1) } else { next };
        Some(Written { bytes: encoder.finish(), events, next })
    }
}

/// A packet of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) bytes: usize,
    pub(super) events: u32,
    /// The number after its last event.
    next: u32,
}

/// Whether number `a` comes before `b`; numbers wrap.
fn precedes(a: u32, b: u32) -> bool {
    a != b && b.wrapping_sub(a) <= u32::MAX / 2
}

fn later(a: u32, b: u32) -> u32 {
    if precedes(a, b) { b } else { a }
}

/// How far one lane is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    epoch: Option<u32>,
    /// Every event below has come.
    acknowledged: u32,
    /// The next that was never sent.
    unsent: u32,
    /// Where the next repetition begins.
    cursor: u32,
    due: HostTime,
    interval: Nanos,
}

impl Delivery {
    /// Of a lane that begins now, and misses nothing of what was.
    pub(super) fn new(log: &EventLog) -> Self {
        Self {
            epoch: log.epoch,
            acknowledged: log.next,
            unsent: log.next,
            cursor: log.next,
            due: HostTime::new(0),
            interval: INTERVAL_MIN,
        }
    }

    /// Whether everything has come that can be told of.
    pub(super) fn is_complete(&self, log: &EventLog) -> bool {
        self.epoch == log.epoch && self.acknowledged == log.next
    }

    /// Every event below `next` has come, says a report.
    pub(super) fn acknowledge(&mut self, log: &EventLog, epoch: u32, next: u32) {
        if self.epoch != Some(epoch) || log.epoch != Some(epoch) || precedes(log.next, next) {
            return;
        }
        self.acknowledged = later(self.acknowledged, next);
        self.cursor = later(self.cursor, next);
    }

    /// Which number is next: for whoever has heard of none yet.
    pub(super) fn write_number(log: &EventLog, out: &mut [u8]) -> Option<Written> {
        log.write(log.next, out)
    }

    /// The next packet of events that were never sent; as many unacknowledged ones as go along come first in it. None
    /// when all were sent. Beside it, how many of its events are repetitions.
    pub(super) fn write_unsent(
        &mut self,
        log: &EventLog,
        now: HostTime,
        out: &mut [u8],
    ) -> Option<(Written, u32)> {
        if self.epoch != log.epoch {
            *self = Self { epoch: log.epoch, acknowledged: 0, unsent: 0, cursor: 0, ..*self };
        }
        if log.kept_from(self.unsent) == 0 {
            self.unsent = log.next;
            return None;
        }
        (self.due, self.interval) = (now + INTERVAL_MIN, INTERVAL_MIN);
        if precedes(self.acknowledged, self.unsent) && log.kept_from(self.acknowledged) <= EVENTS_PER_PACKET {
            let written = log.write(self.acknowledged, out)?;
            if precedes(self.unsent, written.next) {
                let fresh = written.next.wrapping_sub(self.unsent).min(written.events);
                self.unsent = written.next;
                return Some((written, written.events - fresh));
            }
        }
        let written = log.write(self.unsent, out)?;
        self.unsent = written.next;
        Some((written, 0))
    }

    /// The next packet of repetitions, when one is due.
    pub(super) fn write_repeats(&mut self, log: &EventLog, now: HostTime, out: &mut [u8]) -> Option<Written> {
        if self.epoch != log.epoch || (now - self.due).get() < 0 || log.kept_from(self.acknowledged) == 0 {
            return None;
        }
        let from = later(self.acknowledged, self.cursor);
        let from = if log.kept_from(from) == 0 { self.acknowledged } else { from };
        let written = log.write(from, out)?;
        self.cursor = written.next;
        // With more than a packet holds, each of them takes its turn at the interval that one would have.
        let packets = log.kept_from(self.acknowledged).div_ceil(EVENTS_PER_PACKET);
        let packets = i64::try_from(packets).unwrap_or(1).max(1);
        self.due = now + Nanos::new((self.interval.get() / packets).max(INTERVAL_MIN.get() / 3));
        let grown = self.interval.get() + self.interval.get() / (2 * packets);
        self.interval = Nanos::new(grown.min(INTERVAL_MAX.get()));
        Some(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_wire::packet::PACKET_BYTES_MAX;
    use audiocloud_wire::packet::event::{EventPacket, NoteAddress};

    fn ms(ms: i64) -> HostTime {
        HostTime::new(ms * 1_000_000)
    }

    fn note(velocity: f64) -> Body<'static> {
        let note = NoteAddress { note_id: -1, port: 0, channel: 0, key: 60 };
        Body::NoteOn { note, velocity }
    }

    fn log() -> EventLog {
        let mut log = EventLog::new(StreamId(1), ConfigId(1));
        log.restart(7);
        log
    }

    fn numbers(written: Written, bytes: &[u8]) -> Vec<u32> {
        let packet = EventPacket::decode(&bytes[..written.bytes]).unwrap();
        packet.events().map(|event| event.number).collect()
    }

    struct Lane(Delivery, [u8; PACKET_BYTES_MAX]);

    impl Lane {
        fn new(log: &EventLog) -> Self {
            Self(Delivery::new(log), [0; PACKET_BYTES_MAX])
        }

        fn unsent(&mut self, log: &EventLog, now: i64) -> Vec<u32> {
            let written = self.0.write_unsent(log, ms(now), &mut self.1);
            written.map_or_else(Vec::new, |(written, _)| numbers(written, &self.1))
        }

        fn repeats(&mut self, log: &EventLog, now: i64) -> Vec<u32> {
            let written = self.0.write_repeats(log, ms(now), &mut self.1);
            written.map_or_else(Vec::new, |written| numbers(written, &self.1))
        }
    }

    #[test]
    fn events_are_repeated_until_they_are_acknowledged() {
        let mut log = log();
        let mut lane = Lane::new(&log);
        log.push(ms(0), 10, note(0.5));
        assert_eq!(lane.unsent(&log, 0), [0]);
        assert_eq!(lane.unsent(&log, 0), [0; 0]);
        assert_eq!(lane.repeats(&log, 2), [0; 0], "not yet");
        assert_eq!(lane.repeats(&log, 3), [0]);
        log.push(ms(4), 11, note(0.5));
        assert_eq!(lane.unsent(&log, 4), [0, 1], "new ones take along what may be missing");
        lane.0.acknowledge(&log, 6, 2);
        lane.0.acknowledge(&log, 7, 9);
        assert!(!lane.0.is_complete(&log), "another epoch's, and what was never sent");
        lane.0.acknowledge(&log, 7, 1);
        assert_eq!(lane.repeats(&log, 7), [1]);
        lane.0.acknowledge(&log, 7, 2);
        assert_eq!(lane.repeats(&log, 100), [0; 0]);
        assert!(lane.0.is_complete(&log));
        lane.0.acknowledge(&log, 7, 1);
        assert!(lane.0.is_complete(&log), "a report that was overtaken takes nothing back");
    }

    #[test]
    fn repetitions_grow_rarer_and_end() {
        let mut log = log();
        let mut lane = Lane::new(&log);
        log.push(ms(0), 10, note(0.5));
        assert_eq!(lane.unsent(&log, 0), [0]);
        let mut times = Vec::new();
        for now in 1..1_000 {
            log.forget(ms(now));
            if !lane.repeats(&log, now).is_empty() {
                times.push(now);
            }
        }
        assert_eq!(times[..6], [3, 6, 11, 18, 29, 45]);
        assert!((475..=500).contains(times.last().unwrap()), "{times:?}");
        assert!((25..32).contains(&times.len()), "{}", times.len());
    }

    #[test]
    fn many_events_take_turns() {
        let mut log = log();
        let mut lane = Lane::new(&log);
        for frame in 0..150 {
            log.push(ms(0), frame, note(0.5));
        }
        let mut sent = Vec::new();
        loop {
            let packet = lane.unsent(&log, 0);
            if packet.is_empty() {
                break;
            }
            assert!(packet.len() <= EVENTS_PER_PACKET);
            sent.extend(packet);
        }
        assert!(sent.iter().copied().eq(0..150), "each once, in order");
        let mut repeated = Vec::new();
        for now in 1..30 {
            repeated.extend(lane.repeats(&log, now));
        }
        assert!((0..150).all(|number| repeated.contains(&number)));
    }

    #[test]
    fn numbers_without_events_are_gone_round() {
        let mut log = log();
        let mut lane = Lane::new(&log);
        log.push(ms(0), 5, note(0.5));
        log.skip(3);
        log.push(ms(0), 6, note(f64::NAN));
        log.push(ms(0), 7, note(0.25));
        log.push(ms(0), 3, note(0.25));
        assert_eq!(lane.unsent(&log, 0), [0], "consecutive numbers alone");
        assert_eq!(lane.unsent(&log, 0), [0; 0], "what cannot be said");
        assert_eq!(lane.unsent(&log, 0), [5], "a frame before the base needs a packet of its own");
        assert_eq!(lane.unsent(&log, 0), [6]);
        assert_eq!(lane.0.unsent, log.next);
    }

    #[test]
    fn a_new_epoch_counts_from_nothing() {
        let mut log = log();
        log.push(ms(0), 5, note(0.5));
        let mut lane = Lane::new(&log);
        assert_eq!(lane.unsent(&log, 0), [0; 0], "whoever comes later missed nothing");
        log.restart(8);
        log.push(ms(1), 0, note(0.5));
        assert_eq!(lane.unsent(&log, 1), [0]);
        lane.0.acknowledge(&log, 8, 1);
        assert!(lane.0.is_complete(&log));
    }
}
