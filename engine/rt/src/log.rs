//! What the callback has to tell, in fixed-size entries; words are made of them off the audio thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use audiocloud_units::HostTime;

/// What happened. `a` and `b` of the [`Entry`] carry what each one names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[non_exhaustive]
pub enum What {
    /// A block did not fit into the ring. `a`: frames, `b`: dropped blocks so far.
    RingFull,
    /// A new epoch began. `a`: its number, `b`: the one before.
    EpochChanged,
    /// Playing began. `a`: the first frame's media time, `b`: its epoch.
    Playing,
    /// Frames were missing and playing fell silent. `a`: media time of the first one.
    Starved,
    /// The read position was anchored anew. `a`: the new position, `b`: the old one.
    Resynced,
    /// The read position was moved to make the delay longer or shorter. `a`: the new position, `b`: the old one.
    Slipped,
    /// The clocks were found to differ, and the stream is resampled from here on. `a`: by how much, in thousandths of a
    /// part per million, `b`: 1 if the sender's is the slower one.
    Resampling,
    /// The user's playout delay took effect. `a`: new, `b`: old, in frames.
    DelayChanged,
    /// The stream has another rate than the device. `a`: theirs, `b`: ours, in Hz.
    RateMismatch,
    /// Notes that were left sounding were let go. `a`: how many.
    NotesReleased,
    /// A panic was caught at the border of the callback.
    Panicked,
    /// An edit of the graph waits for overload to pass. `a`: milliseconds waited, `b`: load in 1/65536 of the period.
    EditWaits,
    /// An edit of the graph was taken over. `a`: its number, `b`: nanoseconds that it cost.
    EditTaken,
    /// A node does with less, for the load is too high. `a`: node, `b`: without what: 0 meters, 1 oversampling,
    /// 2 itself (bypassed).
    Shed,
    /// A node has back what it did without. `a`: node, `b`: what, as in [`What::Shed`].
    Restored,
    /// A node made a sample that is not finite, and was reset. `a`: node, `b`: how many times so far.
    NotFinite,
    /// The load of a group of nodes. `a`: group, `b`: two figures in 1/65536 of the period, in the upper 32 bits the
    /// moving average, in the lower the 99.9th percentile.
    Load,
    /// A node had no room for events. `a`: node, `b`: how many were refused so far.
    EventsRefused,
}

/// One thing that happened in the callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When the callback began in which it happened.
    pub at: HostTime,
    /// What happened.
    pub what: What,
    /// See [`What`].
    pub a: u64,
    /// See [`What`].
    pub b: u64,
}

/// The callback's end.
#[derive(Debug)]
pub struct Producer {
    ring: rtrb::Producer<Entry>,
    dropped: Arc<AtomicU64>,
}

/// The end that is read off the audio thread.
#[derive(Debug)]
pub struct Consumer {
    ring: rtrb::Consumer<Entry>,
    dropped: Arc<AtomicU64>,
}

/// A log that holds `capacity` entries until they are read. *Realtime-safe: no* (allocates).
#[must_use]
pub fn log_ring(capacity: usize) -> (Producer, Consumer) {
    let (producer, consumer) = rtrb::RingBuffer::new(capacity);
    let dropped = Arc::<AtomicU64>::default();
    (Producer { ring: producer, dropped: dropped.clone() }, Consumer { ring: consumer, dropped })
}

impl Producer {
    /// Notes an entry; a full log is counted.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn push(&mut self, entry: Entry) {
        if self.ring.push(entry).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes what will be noted again anyway: only while half of the log is free, so that it crowds nothing out that
    /// is told once.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn push_routine(&mut self, entry: Entry) {
        if self.ring.slots() > self.ring.buffer().capacity() / 2 {
            self.push(entry);
        }
    }
}

impl Consumer {
    /// The oldest entry not yet read.
    ///
    /// *Realtime-safe: yes*, one thread.
    pub fn pop(&mut self) -> Option<Entry> {
        self.ring.pop().ok()
    }

    /// Entries that found the log full.
    ///
    /// *Realtime-safe: yes*, any thread.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_counted() {
        let (mut producer, mut consumer) = log_ring(2);
        let entry = |a| Entry { at: HostTime::new(7), what: What::Starved, a, b: 0 };
        for a in 0..5 {
            producer.push(entry(a));
        }
        assert_eq!(consumer.dropped(), 3);
        assert_eq!([consumer.pop(), consumer.pop(), consumer.pop()], [Some(entry(0)), Some(entry(1)), None]);
    }

    #[test]
    fn routine_leaves_half_of_it_free() {
        let (mut producer, mut consumer) = log_ring(4);
        let entry = |a| Entry { at: HostTime::new(7), what: What::Load, a, b: 0 };
        (0..9).for_each(|a| producer.push_routine(entry(a)));
        producer.push(entry(100));
        producer.push(entry(101));
        assert_eq!(consumer.dropped(), 0);
        let told: Vec<u64> = std::iter::from_fn(|| consumer.pop()).map(|entry| entry.a).collect();
        assert_eq!(told, [0, 1, 100, 101]);
    }
}
