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
        /// Audio packets made, for each subscriber in another process its own; repetitions and repairs left out.
        packets,
        /// Event packets made, for each of them its own.
        event_packets,
        /// Events taken from the callback's ring.
        events,
        /// Bytes handed to QUIC, over all subscribers.
        bytes,
        /// Audio packets sent again.
        repeats,
        /// Repair packets made.
        repairs,
        /// Events sent again because they were not acknowledged.
        events_repeated,
        /// Packets that were asked for and sent again.
        requests_answered,
        /// Packets that were asked for and are not kept any more.
        requests_too_old,
        /// Packets that were asked for by somebody who asks for more than is sent.
        requests_refused,
        /// How often something was given up because a path carries no more.
        steps_down,
        /// Packets that could not be written.
        dropped_unencodable,
        /// Datagrams beyond the rate that a subscriber's path takes.
        dropped_beyond_cap,
        /// Datagrams that found no room in a subscriber's send queue.
        dropped_queue_full,
        /// Datagrams that QUIC would not take for another cause.
        dropped_unsendable,
        /// Blocks that do not have the rate or the channels that were published.
        dropped_mismatched,
        /// Blocks or events that a subscriber in this process had no room for.
        dropped_local_full,
        /// The longest time from a callback's entry to its block's being handed to QUIC, in nanoseconds.
        pump_delay_max_ns,
        /// The same lately, smoothed over some 16 blocks, in nanoseconds.
        pump_delay_ns,
        /// Frames of the latest block.
        block_frames,
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
        /// Audio packets that the path delivered twice.
        duplicates,
        /// Audio packets sent again that were not needed: the original, or another copy, was there.
        needless,
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
        /// Audio packets that were not there when a later one came.
        gaps,
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
        /// Missing audio packets that the codec made up, the sound before them going on.
        concealed_codec,
        /// Requests for packets sent.
        requests_sent,
        /// Reports sent.
        reports_sent,
        /// How unevenly packets come, in microseconds: RFC 3550, clause 6.4.1; as it is now.
        jitter_us,
        /// How long a packet waits before it is due, in microseconds; as it is now.
        hold_us,
        /// From a packet's arrival until it is heard, in microseconds; as it is now.
        heard_us,
        /// What comes for this stream, repairs included, in bits per second; as it is now.
        rate_bps,
    }
}

/// What was sent to one subscriber of one publication in another process, since it subscribed. A plain value: the
/// network thread keeps it, and shows it from time to time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LaneFigures {
    /// Audio packets, repetitions and repairs left out.
    pub packets: u64,
    /// Bytes handed to QUIC, all kinds together.
    pub bytes: u64,
    /// Audio packets sent again: asked for, or unasked.
    pub repeats: u64,
    /// Repair packets.
    pub repairs: u64,
    /// Events sent again because they were not acknowledged.
    pub events_repeated: u64,
    /// Packets that were asked for and sent again.
    pub requests_answered: u64,
    /// Packets that were asked for and are gone from the history.
    pub requests_too_old: u64,
    /// Datagrams beyond the rate that the path takes.
    pub dropped_beyond_cap: u64,
    /// Datagrams that found no room in the send queue.
    pub dropped_queue_full: u64,
    /// Datagrams that QUIC would not take for another cause.
    pub dropped_unsendable: u64,
    /// Steps down from what was asked for, because the rate cap allows no more: 0 none.
    pub level: u64,
    /// What goes to this subscriber, all kinds together, in bits per second; as it is now.
    pub rate_bps: u64,
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
        /// Datagrams to peers that no way was open to.
        no_way_datagrams,
        /// Datagrams that a tunnel had no room for: TCP was slower than the sound.
        tunnel_drops,
        /// Datagrams that this node forwarded for others.
        forwarded_datagrams,
        /// Those that it did not: of strangers, or beyond what one may send.
        unforwarded_datagrams,
        /// Clients of this node, and tunnels to it, that were turned away: too many, too fast, or out of form.
        clients_refused,
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
        /// Media packets of a stream that nobody here asked for, or of a peer that was not let in yet.
        unknown_stream,
        /// Messages that cannot be read.
        undecodable_messages,
        /// Messages of a kind that this version does not know.
        unknown_messages,
        /// Messages about sessions that the peer, or we, are not in.
        session_messages_ignored,
        /// Messages about sessions that found no room; what was in them comes again.
        session_messages_dropped,
        /// Records, revocations and changes that were not believed, or whose author may not.
        session_items_refused,
        /// Streams of members that may not publish them.
        streams_refused,
        /// What was said of the time or the beats of a session by who is not in it.
        time_refused,
        /// Packets of the clock exchange that nobody had asked for, or too many.
        clock_packets_refused,
        /// Peers cut off because they break the rules.
        cut_off,
    }
}
