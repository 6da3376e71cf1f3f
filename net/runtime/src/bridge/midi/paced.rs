//! Ports that send a message when they are given it: they are given it when it is due.

use std::collections::VecDeque;

use audiocloud_midi_clock::Event;
use audiocloud_units::{HostTime, Nanos};

use super::{Port, PortStatus};

/// Messages that wait at most: time code and clock of a second.
const QUEUE_MAX: usize = 4_096;
const LATE: Nanos = Nanos::from_millis(1);

/// What sends at once.
pub(super) trait Direct: Send {
    /// Its system and name.
    fn words(&self) -> String;
    /// Whether it was sent.
    fn send(&mut self, bytes: &[u8]) -> bool;
}

/// One, with what waits for its time.
pub(super) struct Paced<Output> {
    output: Output,
    queue: VecDeque<Event>,
    lost: u64,
}

impl<Output: Direct> Paced<Output> {
    pub(super) fn new(output: Output) -> Self {
        Self { output, queue: VecDeque::with_capacity(QUEUE_MAX), lost: 0 }
    }
}

impl<Output: Direct> Port for Paced<Output> {
    fn ahead(&self) -> Nanos {
        Nanos::ZERO
    }

    fn give(&mut self, events: &[Event], _now: HostTime) {
        for event in events {
            if self.queue.len() < QUEUE_MAX {
                self.queue.push_back(*event);
            } else {
                self.lost += 1;
            }
        }
    }

    fn send_due(&mut self, now: HostTime) -> Option<HostTime> {
        while let Some(event) = self.queue.pop_front_if(|event| event.at <= now) {
            let sent = self.output.send(&event.message.bytes());
            self.lost += u64::from(!sent || now - event.at > LATE);
        }
        self.queue.front().map(|event| event.at)
    }

    fn status(&mut self) -> PortStatus {
        PortStatus { words: self.output.words(), listeners: 0, lost: self.lost, is_gone: false }
    }
}

#[cfg(test)]
mod tests {
    use audiocloud_midi_clock::Message;

    use super::*;

    #[derive(Default)]
    struct Tape(Vec<u8>, bool);

    impl Direct for Tape {
        fn words(&self) -> String {
            "tape".into()
        }

        fn send(&mut self, bytes: &[u8]) -> bool {
            self.0.extend_from_slice(bytes);
            !self.1
        }
    }

    fn at(micros: i64) -> HostTime {
        HostTime::new(micros * 1_000)
    }

    #[test]
    fn what_is_due_goes_and_what_is_not_waits() {
        let mut port = Paced::new(Tape::default());
        let event = |micros, message| Event { at: at(micros), message };
        port.give(&[event(10, Message::Start), event(20, Message::Clock), event(30, Message::Stop)], at(0));
        assert_eq!(port.send_due(at(9)), Some(at(10)));
        assert_eq!(port.send_due(at(25)), Some(at(30)));
        assert_eq!(port.output.0, [0xfa, 0xf8]);
        assert_eq!(port.status().lost, 0);
        assert_eq!(port.send_due(at(1_031)), None);
        assert_eq!((port.status().lost, port.output.0.len()), (1, 3), "a message that late is counted");
        port.output.1 = true;
        port.give(&[event(2_000, Message::Clock)], at(0));
        port.send_due(at(2_000));
        assert_eq!(port.status().lost, 2);
    }
}
