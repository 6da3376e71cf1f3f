//! Figures that the network thread counts and anyone may read.

use std::sync::atomic::{AtomicU64, Ordering};

/// One figure. Only the network thread adds; readers see it a moment later.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A struct of counters and its snapshot in plain numbers.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident, $(#[$figures_doc:meta])* $figures:ident { $($(#[$field_doc:meta])* $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            $(pub(crate) $field: Counter,)+
        }

        $(#[$figures_doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct $figures {
            $($(#[$field_doc])* pub $field: u64,)+
        }

        impl $name {
            pub(crate) fn figures(&self) -> $figures {
                $figures { $($field: self.$field.get(),)+ }
            }
        }
    };
}

counters! {
    /// Of one publication.
    PublicationCounters,
    /// What became of one publication's blocks and events, since it began.
    PublicationFigures {
        /// Blocks taken from the callback's ring.
        blocks,
        /// Audio packets made; each goes to every subscriber.
        packets,
        /// Event packets made.
        event_packets,
        /// Events taken from the callback's ring.
        events,
        /// Bytes handed to QUIC, over all subscribers.
        bytes,
        /// Datagrams that left no room in a subscriber's send queue: the oldest waiting ones were dropped.
        dropped_queue_full,
        /// Datagrams that QUIC would not take for another cause.
        dropped_unsendable,
        /// Blocks that do not have the rate or the channels that were published.
        dropped_mismatched,
        /// Blocks or events that a subscriber in this process had no room for.
        dropped_local_full,
        /// The longest time from a callback's entry to its block's being handed to QUIC, in nanoseconds.
        pump_delay_max_ns,
    }
}

counters! {
    /// Of one subscription.
    SubscriptionCounters,
    /// What became of one subscription's packets, since it began.
    SubscriptionFigures {
        /// Blocks put into the ring: a packet each, or a sender's block each when it is in this process.
        packets,
        /// Bytes of packets.
        bytes,
        /// Audio packets missing by their sequence numbers, those that came late taken off again.
        sequence_gaps,
        /// Audio packets after a later one.
        reordered,
        /// Audio packets seen before.
        duplicates,
        /// Blocks that the ring had no room for.
        ring_full,
        /// Packets that cannot be read, or contradict the stream's announcement.
        undecodable,
        /// Packets of a configuration that is not the announced one.
        unknown_config,
        /// Event packets.
        event_packets,
        /// Events put into the ring.
        events,
        /// Events missing by their numbers.
        events_lost,
        /// Events that came after they had been given up.
        events_late,
        /// Events that the ring had no room for; told as lost when there is room.
        event_ring_full,
        /// How often the stream was found again after it had been lost.
        reconnects,
    }
}

counters! {
    /// Of the whole runtime.
    RuntimeCounters,
    /// Of the whole runtime, since it started.
    RuntimeFigures {
        /// Datagrams on the port that were not for us.
        garbage_datagrams,
        /// Datagrams that led nowhere.
        unroutable_datagrams,
        /// Connections tried.
        dialled,
        /// Connections offered by others.
        accepted,
        /// Peers turned away, or that turned us away.
        refused,
        /// Connections that failed before the hello was done.
        failed_handshakes,
        /// Media packets that cannot be read.
        undecodable_packets,
        /// Media packets of a stream that nobody here asked for.
        unknown_stream,
        /// Messages that cannot be read.
        undecodable_messages,
        /// Messages of a kind that this version does not know.
        unknown_messages,
    }
}
