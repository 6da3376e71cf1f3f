//! Packets that may be asked for again.

use std::collections::VecDeque;

use audiocloud_units::{HostTime, Nanos};
use bytes::Bytes;

/// How long a packet can be asked for: longer than any playout waits on a path where asking helps.
const AGE_MAX: Nanos = Nanos::from_millis(300);
/// Of 64 channels of 32 bits at 96 kHz, 300 ms take 6,600 packets.
const PACKETS_MAX: usize = 16 << 10;
/// Requests come twice, and cross with answers: what was just answered is not answered again.
const PAUSE_MIN: Nanos = Nanos::new(500_000);
/// The longest pause that a slow asker brings about.
const PAUSE_MAX: Nanos = Nanos::from_millis(20);

#[derive(Clone, Debug)]
struct Sent {
    at: HostTime,
    packet: Bytes,
    resent_at: Option<HostTime>,
    answers: u8,
}

/// What is done about one sequence number that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Send it, so many times.
    Send(Bytes, u8),
    /// It was sent again a moment ago, so it is on its way.
    OnItsWay,
    /// It is not kept any more, or never was.
    Gone,
}

/// The originals of one lane's epoch, by sequence number.
#[derive(Debug)]
pub(crate) struct History {
    /// Of the first one in `sent`; those after it follow without a gap.
    first: u32,
    sent: VecDeque<Sent>,
    /// Between two requests for one packet, as last seen.
    asked_again_after: Nanos,
    age_max: Nanos,
}

impl Default for History {
    fn default() -> Self {
        Self::keeping(AGE_MAX)
    }
}

impl History {
    /// Keeps each for so long.
    pub(crate) fn keeping(age_max: Nanos) -> Self {
        Self { first: 0, sent: VecDeque::new(), asked_again_after: Nanos::ZERO, age_max }
    }

    /// Forgets all; `first` is the sequence number of the packet that is pushed next.
    pub(crate) fn restart(&mut self, first: u32) {
        self.first = first;
        self.sent.clear();
        self.asked_again_after = Nanos::ZERO;
    }

    /// The packet after the last.
    pub(crate) fn push(&mut self, now: HostTime, packet: Bytes) {
        while let Some(oldest) = self.sent.front()
            && ((now - oldest.at).get() > self.age_max.get() || self.sent.len() >= PACKETS_MAX)
        {
            self.sent.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        self.sent.push_back(Sent { at: now, packet, resent_at: None, answers: 0 });
    }

    /// Somebody misses `sequence`. One that is missed a second time is sent twice, for the path loses much.
    pub(crate) fn ask(&mut self, now: HostTime, sequence: u32) -> Answer {
        let place = usize::try_from(sequence.wrapping_sub(self.first)).unwrap_or(usize::MAX);
        let pause = Nanos::new(self.asked_again_after.get() / 10 * 7);
        let pause = pause.get().clamp(PAUSE_MIN.get(), PAUSE_MAX.get());
        let Some(sent) = self.sent.get_mut(place) else { return Answer::Gone };
        if let Some(resent_at) = sent.resent_at {
            let interval = now - resent_at;
            if interval.get() >= PAUSE_MIN.get() {
                self.asked_again_after = interval;
            }
            if interval.get() < pause {
                return Answer::OnItsWay;
            }
        }
        sent.resent_at = Some(now);
        sent.answers = sent.answers.saturating_add(1);
        Answer::Send(sent.packet.clone(), if sent.answers > 1 { 2 } else { 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(us: i64) -> HostTime {
        HostTime::new(us * 1_000)
    }

    fn packet(value: u8) -> Bytes {
        Bytes::copy_from_slice(&[value; 4])
    }

    #[test]
    fn packets_are_found_by_number_across_the_wrap() {
        let mut history = History::default();
        history.restart(u32::MAX - 1);
        for value in 0..5_u8 {
            history.push(us(0), packet(value));
        }
        let mut check = |sequence, expected| assert_eq!(history.ask(us(0), sequence), expected, "{sequence}");
        check(u32::MAX - 2, Answer::Gone);
        check(u32::MAX - 1, Answer::Send(packet(0), 1));
        check(0, Answer::Send(packet(2), 1));
        check(2, Answer::Send(packet(4), 1));
        check(3, Answer::Gone);
    }

    #[test]
    fn what_is_on_its_way_is_not_sent_again() {
        let mut history = History::default();
        history.push(us(0), packet(1));
        let mut check = |at_us, expected| assert_eq!(history.ask(us(at_us), 0), expected, "{at_us}");
        check(1_000, Answer::Send(packet(1), 1));
        check(1_010, Answer::OnItsWay);
        check(1_499, Answer::OnItsWay);
        check(2_000, Answer::Send(packet(1), 2));
        check(2_400, Answer::OnItsWay);
        check(3_000, Answer::Send(packet(1), 2));
    }

    #[test]
    fn the_pause_follows_the_asker() {
        let mut history = History::default();
        for value in 0..2 {
            history.push(us(0), packet(value));
        }
        assert_eq!(history.ask(us(0), 0), Answer::Send(packet(0), 1));
        assert_eq!(history.ask(us(10_000), 0), Answer::Send(packet(0), 2), "asked again after 10 ms");
        assert_eq!(history.ask(us(10_000), 1), Answer::Send(packet(1), 1));
        assert_eq!(history.ask(us(16_900), 1), Answer::OnItsWay, "0.7 of that have not passed");
    }

    #[test]
    fn old_packets_are_let_go() {
        let mut history = History::default();
        for block in 0..200 {
            history.push(us(block * 2_667), packet(0));
        }
        let now = us(199 * 2_667);
        assert_eq!(history.ask(now, 199 - 113), Answer::Gone, "301 ms");
        assert_eq!(history.ask(now, 199 - 112), Answer::Send(packet(0), 1), "299 ms");
    }
}
