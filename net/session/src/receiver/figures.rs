//! What became of a stream's packets, in numbers.

use audiocloud_units::Nanos;

use super::loss::Wish;

/// A struct of counts, and how they add up.
macro_rules! figures {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)+
        }

        impl $name {
            /// Both together.
            #[must_use]
            pub const fn and(&self, other: &Self) -> Self {
                Self { $($field: self.$field.saturating_add(other.$field),)+ }
            }

            /// What has come to the counts of `earlier`.
            #[must_use]
            pub const fn since(&self, earlier: &Self) -> Self {
                Self { $($field: self.$field.saturating_sub(earlier.$field),)+ }
            }
        }
    };
}

figures! {
    /// What became of the packets of one stream since it was first asked for.
    Figures {
        /// Audio packets that came, each once, however they came.
        packets,
        /// Bytes of all packets for this stream, those that were of no use included.
        bytes,
        /// Audio packets that were not there when a later one came.
        gaps,
        /// Of these, those that have not come by any way.
        absent,
        /// Audio packets that did not come by any way while they could still be played.
        lost,
        /// Audio packets, resent ones included, that came after they were due.
        late,
        /// Missing audio packets that came because we asked for them.
        recovered_resend,
        /// Missing audio packets computed from repair packets, plain repetition included.
        recovered_repair,
        /// Missing audio packets made of what Opus carries of them in the next one.
        recovered_fec,
        /// Missing audio packets that the codec made up.
        concealed_codec,
        /// Audio packets that the path delivered twice.
        duplicates,
        /// Audio packets sent again that were not needed: the original, or another copy, was there.
        needless,
        /// Audio packets that came after a later one by themselves.
        reordered,
        /// Requests for packets sent.
        requests_sent,
        /// Reports sent.
        reports_sent,
        /// Packets that cannot be read, or contradict the stream's announcement.
        undecodable,
        /// Packets of a configuration that is not the announced one.
        unknown_config,
        /// Repair packets.
        repair_packets,
        /// Event packets.
        event_packets,
        /// Events missing by their numbers.
        events_lost,
        /// Events that came after they had been given up.
        events_late,
    }
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
