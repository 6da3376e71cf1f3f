//! Virtual time: what happens next.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use audiocloud_units::Nanos;

/// Events to come, earliest first; those of one time in the order in which they were scheduled.
#[derive(Debug)]
pub struct Queue<E> {
    now: Nanos,
    scheduled: u64,
    heap: BinaryHeap<Reverse<Entry<E>>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: Nanos,
    number: u64,
    event: E,
}

impl<E> Entry<E> {
    fn key(&self) -> (Nanos, u64) {
        (self.at, self.number)
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { now: Nanos::ZERO, scheduled: 0, heap: BinaryHeap::new() }
    }
}

impl<E> Queue<E> {
    /// An empty queue at time zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The time of the event that was taken last.
    #[must_use]
    pub const fn now(&self) -> Nanos {
        self.now
    }

    /// Adds an event. One that would have been in the past happens now: time never goes back.
    pub fn schedule(&mut self, at: Nanos, event: E) {
        let entry = Entry { at: at.max(self.now), number: self.scheduled, event };
        self.scheduled += 1;
        self.heap.push(Reverse(entry));
    }

    /// When the next event happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the next event, if it happens no later than `until`, and goes to its time.
    pub fn pop_until(&mut self, until: Nanos) -> Option<(Nanos, E)> {
        self.next_at().filter(|at| *at <= until)?;
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.at;
        Some((entry.at, entry.event))
    }

    /// How many events are to come.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is to come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_then_by_insertion() {
        let mut queue = Queue::new();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b'), (9, 'e')] {
            queue.schedule(Nanos::new(at), event);
        }
        let mut taken = Vec::new();
        while let Some((at, event)) = queue.pop_until(Nanos::new(5)) {
            taken.push((at.get(), event));
        }
        assert_eq!(taken, [(1, 'a'), (1, 'b'), (5, 'c'), (5, 'd')]);
        assert_eq!((queue.len(), queue.now(), queue.next_at()), (1, Nanos::new(5), Some(Nanos::new(9))));
    }

    #[test]
    fn the_past_is_now() {
        let mut queue = Queue::new();
        queue.schedule(Nanos::new(10), 'a');
        assert_eq!(queue.pop_until(Nanos::new(10)), Some((Nanos::new(10), 'a')));
        queue.schedule(Nanos::new(3), 'b');
        assert_eq!(queue.pop_until(Nanos::new(10)), Some((Nanos::new(10), 'b')));
        assert!(queue.is_empty());
    }
}
