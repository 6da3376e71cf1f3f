//! Events that are yet to happen, by the frame at which they do.

use std::collections::VecDeque;

use crate::event::Body;

/// Something that will happen to a slot, or to whom the host says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pending<T> {
    /// Frames since reset.
    pub(crate) due: u64,
    /// When the host or a node gave it.
    pub(crate) given: u64,
    pub(crate) to: T,
    pub(crate) body: Body,
}

impl<T> Pending<T> {
    fn place(&self) -> (u64, u64) {
        (self.due, self.given)
    }
}

/// A queue of fixed capacity, sorted by time. What happens at one frame is sorted by when it was given, for that does
/// not depend on the host's blocks, and then keeps the order in which it came.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    pending: VecDeque<Pending<T>>,
    capacity: usize,
}

impl<T: Copy + PartialEq> Inbox<T> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { pending: VecDeque::with_capacity(capacity), capacity }
    }

    /// False where it is full.
    pub(crate) fn push(&mut self, pending: Pending<T>) -> bool {
        if self.pending.len() == self.capacity {
            return false;
        }
        // Nearly always the last.
        let at = match self.pending.back() {
            Some(last) if last.place() > pending.place() => {
                self.pending.partition_point(|other| other.place() <= pending.place())
            }
            _ => self.pending.len(),
        };
        self.pending.insert(at, pending);
        true
    }

    /// When the next thing happens.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.pending.front().map(|pending| pending.due)
    }

    /// What is due at this frame, or was before it.
    pub(crate) fn pop_due(&mut self, position: u64) -> Option<Pending<T>> {
        if self.next_due()? <= position { self.pending.pop_front() } else { None }
    }

    /// When the last thing that is yet to happen to somebody does.
    pub(crate) fn last_due(&self, to: T) -> Option<u64> {
        self.pending.iter().rev().find(|pending| pending.to == to).map(|pending| pending.due)
    }

    /// Forgets what is for those who are gone.
    pub(crate) fn retain(&mut self, is_there: impl Fn(T) -> bool) {
        self.pending.retain(|pending| is_there(pending.to));
    }

    pub(crate) fn clear(&mut self) {
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_out_by_time_and_then_by_order() {
        let mut inbox = Inbox::with_capacity(4);
        let pending = |due, to| Pending { due, given: due, to, body: Body::Bypass(true) };
        for (due, to) in [(9, 0), (3, 1), (9, 2), (3, 3)] {
            assert!(inbox.push(pending(due, to)));
        }
        assert!(!inbox.push(pending(1, 4)));
        assert_eq!((inbox.last_due(0), inbox.last_due(3), inbox.last_due(4)), (Some(9), Some(3), None));
        assert_eq!(inbox.pop_due(2), None);
        let mut out = Vec::new();
        while let Some(next) = inbox.pop_due(9) {
            out.push((next.due, next.to));
        }
        assert_eq!(out, [(3, 1), (3, 3), (9, 0), (9, 2)]);
        assert!(inbox.push(pending(1, 0)) && inbox.push(pending(2, 1)));
        inbox.retain(|slot| slot == 1);
        assert_eq!((inbox.next_due(), inbox.last_due(0)), (Some(2), None));
    }

    #[test]
    fn what_was_given_earlier_comes_first() {
        let mut inbox = Inbox::with_capacity(4);
        for (due, given, to) in [(9, 9, 0), (9, 5, 1), (8, 8, 2), (9, 5, 3)] {
            assert!(inbox.push(Pending { due, given, to, body: Body::Bypass(true) }));
        }
        let out: Vec<u32> = std::iter::from_fn(|| inbox.pop_due(9)).map(|next| next.to).collect();
        assert_eq!(out, [2, 1, 3, 0]);
    }
}
