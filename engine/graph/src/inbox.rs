//! Events that are yet to happen, by the frame at which they do.

use std::collections::VecDeque;

use crate::event::Body;

/// Something that will happen to a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pending {
    /// Frames since reset.
    pub(crate) due: u64,
    pub(crate) slot: u32,
    pub(crate) body: Body,
}

/// A queue of fixed capacity, sorted by time; what happens at one frame keeps the order in which it came.
#[derive(Debug)]
pub(crate) struct Inbox {
    pending: VecDeque<Pending>,
    capacity: usize,
}

impl Inbox {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { pending: VecDeque::with_capacity(capacity), capacity }
    }

    /// False where it is full.
    pub(crate) fn push(&mut self, pending: Pending) -> bool {
        if self.pending.len() == self.capacity {
            return false;
        }
        // Nearly always the last.
        let at = match self.pending.back() {
            Some(last) if last.due > pending.due => {
                self.pending.partition_point(|other| other.due <= pending.due)
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
    pub(crate) fn pop_due(&mut self, position: u64) -> Option<Pending> {
        if self.next_due()? <= position { self.pending.pop_front() } else { None }
    }

    /// When the last thing that is yet to happen to a slot does.
    pub(crate) fn last_due(&self, slot: u32) -> Option<u64> {
        self.pending.iter().rev().find(|pending| pending.slot == slot).map(|pending| pending.due)
    }

    /// Forgets what is for slots that are gone.
    pub(crate) fn retain(&mut self, is_there: impl Fn(u32) -> bool) {
        self.pending.retain(|pending| is_there(pending.slot));
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
        let pending = |due, slot| Pending { due, slot, body: Body::Bypass(true) };
        for (due, slot) in [(9, 0), (3, 1), (9, 2), (3, 3)] {
            assert!(inbox.push(pending(due, slot)));
        }
        assert!(!inbox.push(pending(1, 4)));
        assert_eq!((inbox.last_due(0), inbox.last_due(3), inbox.last_due(4)), (Some(9), Some(3), None));
        assert_eq!(inbox.pop_due(2), None);
        let mut out = Vec::new();
        while let Some(next) = inbox.pop_due(9) {
            out.push((next.due, next.slot));
        }
        assert_eq!(out, [(3, 1), (3, 3), (9, 0), (9, 2)]);
        assert!(inbox.push(pending(1, 0)) && inbox.push(pending(2, 1)));
        inbox.retain(|slot| slot == 1);
        assert_eq!((inbox.next_due(), inbox.last_due(0)), (Some(2), None));
    }
}
