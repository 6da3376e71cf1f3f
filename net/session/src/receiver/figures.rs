//! What became of a stream's packets, in numbers.

use audiocloud_units::Nanos;

use super::loss::Wish;

/// What became of the packets of one stream since it was first asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Audio packets that came, each once, however they came.
    pub packets: u64,
    /// Bytes of all packets for this stream, those that were of no use included.
    pub bytes: u64,
    /// Audio packets that were not there when a later one came.
    pub gaps: u64,
    /// Of these, those that have not come by any way.
    pub absent: u64,
    /// Audio packets that did not come by any way while they could still be played.
    pub lost: u64,
    /// Audio packets, resent ones included, that came after they were due.
    pub late: u64,
    /// Missing audio packets that came because we asked for them.
    pub recovered_resend: u64,
    /// Missing audio packets computed from repair packets, plain repetition included.
    pub recovered_repair: u64,
    /// Missing audio packets made of what Opus carries of them in the next one.
    pub recovered_fec: u64,
    /// Missing audio packets that the codec made up.
    pub concealed_codec: u64,
    /// Audio packets that the path delivered twice.
    pub duplicates: u64,
    /// Audio packets sent again that were not needed: the original, or another copy, was there.
    pub needless: u64,
    /// Audio packets that came after a later one by themselves.
    pub reordered: u64,
    /// Requests for packets sent.
    pub requests_sent: u64,
    /// Reports sent.
    pub reports_sent: u64,
    /// Packets that cannot be read, or contradict the stream's announcement.
    pub undecodable: u64,
    /// Packets of a configuration that is not the announced one.
    pub unknown_config: u64,
    /// Repair packets.
    pub repair_packets: u64,
    /// Event packets.
    pub event_packets: u64,
    /// Events missing by their numbers.
    pub events_lost: u64,
    /// Events that came after they had been given up.
    pub events_late: u64,
}

/// How a stream comes at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    /// Interarrival jitter, RFC 3550, 6.4.1.
    pub jitter: Nanos,
    /// From a request to its answer; before there was any, the connection's round trip.
    pub response: Nanos,
    /// From the sender to here: half of the round trip, and what packets wait on their way beyond the fastest ones.
    pub one_way: Nanos,
    /// From a packet's arrival until it is due; 0 where nothing plays.
    pub hold: Nanos,
    /// From a packet's arrival until it is heard; 0 where nothing plays.
    pub heard: Nanos,
    /// How long a gap is waited for to fill by itself.
    pub disorder: Nanos,
    /// All packets for this stream, in bits per second.
    pub rate_bps: u64,
    /// Of the originals, the share that the path loses.
    pub loss: f64,
    /// What is asked for against loss.
    pub wish: Wish,
}
