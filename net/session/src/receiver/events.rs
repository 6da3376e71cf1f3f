//! Events in the order of their numbers, each once.

use std::collections::VecDeque;

use audiocloud_rt::block_ring::Epoch;
use audiocloud_rt::event::{Body, Event};
use audiocloud_units::{HostTime, MediaTime, Nanos};
use audiocloud_wire::packet::event::EventPacket;

use crate::convert;

/// How long a missing number holds up those after it.
const HELD_UP: Nanos = Nanos::from_millis(30);
/// How long before its frame is due an event is given up, so that those after it are not late for it.
const HEADROOM: Nanos = Nanos::from_micros(500);
/// The most events that wait, and the most numbers that are remembered as given up.
const HELD_MAX: usize = 1024;

/// One that waits for those before it; none for one that this version does not know.
#[derive(Clone, Copy, Debug)]
struct Held {
    number: u32,
    frame: u64,
    event: Option<Event>,
    /// When it came.
    since: HostTime,
}

/// What became of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Given up.
    pub(super) lost: u32,
    /// Came after they had been given up; notes that end are passed on nevertheless.
    pub(super) late: u32,
    /// Something came that the sender should know of.
    pub(super) is_news: bool,
}

/// The events of one epoch.
#[derive(Debug, Default)]
pub(super) struct Events {
    epoch: u32,
    /// The number that is next; none before anything was heard.
    next: Option<u32>,
    /// The number after the last one that is known to exist.
    end: u32,
    /// Since when.
    end_since: HostTime,
    held: VecDeque<Held>,
    given_up: VecDeque<u32>,
}

impl Events {
    /// Numbers begin at 0 in each epoch; whoever comes into a running one begins with the first that is heard of.
    pub(super) fn new(epoch: u32, is_first: bool) -> Self {
        Self { epoch, next: (!is_first).then_some(0), ..Self::default() }
    }

    /// Every event below it has come, or was given up.
    pub(super) fn next_number(&self) -> u32 {
        self.next.unwrap_or(0)
    }

    /// Takes in a packet of this epoch.
    pub(super) fn handle(
        &mut self,
        packet: &EventPacket<'_>,
        now: HostTime,
        mut emit: impl FnMut(Event),
    ) -> Outcome {
        let mut outcome = Outcome { is_news: packet.count() > 0, ..Outcome::default() };
        let first = packet.header.first_number;
        if self.next.is_none() {
            (self.next, self.end) = (Some(first), first);
        }
        for event in packet.events() {
            let body = convert::body_from_wire(&event.body);
            let time = MediaTime::new(event.frame);
            let converted = body.map(|body| Event { epoch: Epoch(self.epoch), time, body });
            let held = Held { number: event.number, frame: event.frame, event: converted, since: now };
            self.take(held, &mut outcome, &mut emit);
        }
        let end = packet.next_number();
        if ahead(end, self.end).is_some_and(|new| new > 0) {
            (self.end, self.end_since) = (end, now);
        }
        outcome
    }

    fn take(&mut self, held: Held, outcome: &mut Outcome, emit: &mut impl FnMut(Event)) {
        let next = self.next_number();
        match ahead(held.number, next) {
            Some(0) => {
                held.event.into_iter().for_each(&mut *emit);
                self.next = Some(next.wrapping_add(1));
                self.release(emit);
            }
            Some(away) => {
                if self.held.len() >= HELD_MAX {
                    self.give_up(outcome, emit);
                    return self.take(held, outcome, emit);
                }
                let place = self.held.partition_point(|one| one.number.wrapping_sub(next) < away);
                if self.held.get(place).is_none_or(|one| one.number != held.number) {
                    self.held.insert(place, held);
                }
            }
            None => {
                let given_up = self.given_up.iter().position(|one| *one == held.number);
                let Some(place) = given_up else { return };
                self.given_up.remove(place);
                outcome.late += 1;
                held.event.into_iter().filter(|event| ends_notes(&event.body)).for_each(emit);
            }
        }
    }

    /// Passes on what waited for no more than what has come.
    fn release(&mut self, emit: &mut impl FnMut(Event)) {
        while let Some(held) = self.held.front() {
            if held.number != self.next_number() {
                return;
            }
            self.next = Some(held.number.wrapping_add(1));
            held.event.into_iter().for_each(&mut *emit);
            self.held.pop_front();
        }
    }

    /// Since when the next one is known to be missing, if it is.
    fn missing_since(&self) -> Option<HostTime> {
        let end = ahead(self.end, self.next_number()).filter(|count| *count > 0);
        self.held.front().map(|held| held.since).or(end.map(|_| self.end_since))
    }

    /// When the wait ends: after 30 ms, or shortly before one that waits is due.
    pub(super) fn next_wake(&self, due: impl Fn(MediaTime) -> Option<HostTime>) -> Option<HostTime> {
        let since = self.missing_since()?;
        let patience = since + HELD_UP;
        let first = self.held.front().and_then(|held| due(MediaTime::new(held.frame)));
        Some(first.map_or(patience, |due| patience.min(due - HEADROOM)))
    }

    /// Gives up what has been waited for long enough.
    pub(super) fn poll(
        &mut self,
        now: HostTime,
        due: impl Fn(MediaTime) -> Option<HostTime>,
        mut emit: impl FnMut(Event),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        while self.next_wake(&due).is_some_and(|at| at <= now) {
            self.give_up(&mut outcome, &mut emit);
            outcome.is_news = true;
        }
        outcome
    }

    /// Passes on all that waits, with what is missing told as lost: the epoch is over.
    pub(super) fn finish(&mut self, mut emit: impl FnMut(Event)) -> Outcome {
        let mut outcome = Outcome::default();
        while !self.held.is_empty() {
            self.give_up(&mut outcome, &mut emit);
        }
        outcome
    }

    /// Tells the events up to the next known one as lost, and goes on from there.
    fn give_up(&mut self, outcome: &mut Outcome, emit: &mut impl FnMut(Event)) {
        let next = self.next_number();
        let (until, frame) = match self.held.front() {
            Some(held) => (held.number, held.frame),
            None => (self.end, 0),
        };
        let Some(count) = ahead(until, next).filter(|count| *count > 0) else { return };
        for number in (0..count).rev().take(HELD_MAX).rev() {
            if self.given_up.len() >= HELD_MAX {
                self.given_up.pop_front();
            }
            self.given_up.push_back(next.wrapping_add(number));
        }
        outcome.lost = outcome.lost.saturating_add(count);
        emit(Event { epoch: Epoch(self.epoch), time: MediaTime::new(frame), body: Body::Lost { count } });
        self.next = Some(until);
        self.release(emit);
    }
}

/// By how much `number` is ahead of `base`; none when it is behind.
fn ahead(number: u32, base: u32) -> Option<u32> {
    let ahead = number.wrapping_sub(base);
    (ahead <= u32::MAX / 2).then_some(ahead)
}

/// Whether this ends notes, or lets go of what holds them: those are played however late, or notes hang.
pub(crate) fn ends_notes(body: &Body) -> bool {
    match *body {
        Body::NoteOff { .. } | Body::NoteChoke { .. } => true,
        Body::Midi1 { bytes: [status, data, value], .. } => {
            ends_notes_midi(status, data, value == 0, value < 64)
        }
        Body::Midi2 { words: [word, velocity, ..], .. } if word >> 28 == 4 => {
            let [_, status, data, _] = word.to_be_bytes();
            // A note-on of velocity 0 is a note-on in MIDI 2.0.
            ends_notes_midi(status, data, false, velocity < 1 << 31)
        }
        Body::Midi2 { words: [word, ..], .. } if word >> 28 == 2 => {
            let [_, status, data, value] = word.to_be_bytes();
            ends_notes_midi(status, data, value == 0, value < 64)
        }
        _ => false,
    }
}

/// Note-off, note-on that means it, pedals let go (controllers 64 and 66), all sound off, all notes off.
fn ends_notes_midi(status: u8, data: u8, is_silent: bool, is_let_go: bool) -> bool {
    match status & 0xf0 {
        0x80 => true,
        0x90 => is_silent,
        0xb0 => matches!(data, 120 | 123) || matches!(data, 64 | 66) && is_let_go,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_wire::id::{ConfigId, StreamId};
    use audiocloud_wire::packet::{PACKET_BYTES_MAX, event as wire};

    struct Bench {
        events: Events,
        heard: Vec<i64>,
        outcome: Outcome,
    }

    impl Bench {
        fn new() -> Self {
            Self { events: Events::new(1, true), heard: Vec::new(), outcome: Outcome::default() }
        }

        /// Notes on, or off with odd numbers, each at a millisecond's frame of its own.
        fn receive(&mut self, now_ms: i64, first_number: u32, count: u32) {
            let header = wire::Header {
                stream: StreamId(1),
                epoch: 1,
                config: ConfigId(1),
                first_number,
                base_frame: 0,
            };
            let mut out = [0; PACKET_BYTES_MAX];
            let mut encoder = wire::Encoder::new(&header, &[], &mut out).unwrap();
            for number in first_number..first_number + count {
                let [low, ..] = number.to_le_bytes();
                let velocity = if number % 2 == 0 { 1 } else { 0 };
                let body = wire::Body::Midi1 { port: 0, bytes: [0x90, low, velocity] };
                encoder.try_push(u64::from(number) * 48, &body).unwrap();
            }
            let length = encoder.finish();
            let packet = EventPacket::decode(&out[..length]).unwrap();
            let now = HostTime::new(now_ms * 1_000_000);
            let heard = &mut self.heard;
            let outcome = self.events.handle(&packet, now, |event| heard.push(number(&event)));
            self.add(outcome);
        }

        fn poll(&mut self, now_ms: i64, due_ms: Option<i64>) {
            let heard = &mut self.heard;
            let due = |_| due_ms.map(|due| HostTime::new(due * 1_000_000));
            let now = HostTime::new(now_ms * 1_000_000);
            let outcome = self.events.poll(now, due, |event| heard.push(number(&event)));
            self.add(outcome);
        }

        fn add(&mut self, outcome: Outcome) {
            self.outcome.lost += outcome.lost;
            self.outcome.late += outcome.late;
        }

        fn check(&mut self, expected: &[i64], why: &str) {
            assert_eq!(std::mem::take(&mut self.heard), expected, "{why}");
        }
    }

    fn number(event: &Event) -> i64 {
        match event.body {
            Body::Midi1 { bytes: [_, low, _], .. } => low.into(),
            Body::Lost { count } => -i64::from(count),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_make_the_order() {
        let mut bench = Bench::new();
        bench.receive(0, 3, 2);
        bench.check(&[3, 4], "who comes late has missed nothing");
        bench.receive(1, 6, 2);
        bench.check(&[], "a missing one is waited for");
        bench.receive(2, 5, 2);
        bench.check(&[5, 6, 7], "and what came before it is heard after it, once");
        bench.receive(3, 3, 5);
        bench.check(&[], "what is repeated is heard once");
        assert_eq!((bench.outcome.lost, bench.outcome.late), (0, 0));
        assert_eq!(bench.events.next_wake(|_| None), None);
    }

    #[test]
    fn a_missing_one_is_given_up_in_time() {
        let mut bench = Bench::new();
        bench.receive(0, 0, 1);
        bench.receive(1, 3, 1);
        bench.poll(30, None);
        bench.check(&[0], "it is waited for");
        bench.poll(31, None);
        bench.check(&[-2, 3], "but not for ever");
        bench.receive(32, 6, 1);
        bench.poll(34, Some(35));
        bench.check(&[], "it is waited for");
        bench.poll(35, Some(35));
        bench.check(&[-2, 6], "but not when the next one is due");
        bench.receive(40, 9, 0);
        bench.poll(70, None);
        bench.check(&[-2], "the last ones are missed too");
        assert_eq!(bench.outcome.lost, 6);
    }

    #[test]
    fn the_end_of_a_note_is_heard_however_late() {
        let mut bench = Bench::new();
        bench.receive(0, 0, 1);
        bench.receive(0, 3, 1);
        bench.poll(50, None);
        bench.check(&[0, -2, 3], "1 and 2 are given up");
        bench.receive(400, 1, 2);
        bench.receive(401, 1, 2);
        bench.check(&[1], "the note's end is heard, once; the note's beginning is not");
        assert_eq!((bench.outcome.lost, bench.outcome.late), (2, 2));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut bench = Bench::new();
        bench.receive(0, 0, 1);
        for number in 0..2000 {
            bench.receive(0, 2 + 2 * number, 1);
        }
        assert!(bench.events.held.len() <= HELD_MAX && bench.outcome.lost > 900);
        bench.receive(0, 1 << 26, 1);
        bench.poll(1000, None);
        assert!(bench.events.given_up.len() <= HELD_MAX);
        assert_eq!(bench.events.next_number(), (1 << 26) + 1);
    }
}
