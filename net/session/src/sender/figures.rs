//! What was done for a lane.

/// Counted since the lane began, but for the last two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Audio packets, repetitions and repairs left out.
    pub packets: u64,
    /// Event packets, of repetitions alone too.
    pub event_packets: u64,
    /// Bytes, all kinds of packet together.
    pub bytes: u64,
    /// Audio packets sent again.
    pub repeats: u64,
    /// Repair packets.
    pub repairs: u64,
    /// Events sent again because they were not acknowledged.
    pub events_repeated: u64,
    /// Packets that were asked for and sent again.
    pub requests_answered: u64,
    /// Packets that were asked for and are not kept any more.
    pub requests_too_old: u64,
    /// Packets that were asked for by somebody who asks for more than is sent.
    pub requests_refused: u64,
    /// Packets that could not be written: none, unless we are mistaken.
    pub unencodable: u64,
    /// How often something was given up for want of rate.
    pub steps_down: u64,
    /// How often something was taken back.
    pub steps_up: u64,
    /// Steps below what the subscriber asked for, as it is now.
    pub level: u64,
    /// What goes to it, in bits per second, QUIC's own bytes included; as it is now.
    pub rate_bps: u64,
}

impl Figures {
    /// Both together; of the level the worse.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            event_packets: self.event_packets + other.event_packets,
            bytes: self.bytes + other.bytes,
            repeats: self.repeats + other.repeats,
            repairs: self.repairs + other.repairs,
            events_repeated: self.events_repeated + other.events_repeated,
            requests_answered: self.requests_answered + other.requests_answered,
            requests_too_old: self.requests_too_old + other.requests_too_old,
            requests_refused: self.requests_refused + other.requests_refused,
            unencodable: self.unencodable + other.unencodable,
            steps_down: self.steps_down + other.steps_down,
            steps_up: self.steps_up + other.steps_up,
            level: self.level.max(other.level),
            rate_bps: self.rate_bps + other.rate_bps,
        }
    }
}
