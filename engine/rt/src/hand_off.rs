//! Objects that another thread makes and frees, and the audio thread works with.
//!
//! A [`loan`] is worked in and sent home. A [`hand_off`] stays with the audio thread until the next one replaces it: it
//! travels in an envelope on loan, and the one it replaces comes home in the same envelope. Whoever lends counts what
//! is not home yet, so that the way home of everything under way is free, and nothing is ever freed in the callback.

use crate::box_ring::{Consumer, Producer, box_ring};

/// Gifts that may be under way at once; a giver that is faster than the callbacks has to wait.
const CAPACITY: usize = 8;

/// The end of a loan off the audio thread.
pub struct Lender<T> {
    out: Producer<T>,
    home: Consumer<T>,
    under_way: usize,
    capacity: usize,
}

/// The audio thread's end of a loan.
pub struct Borrower<T> {
    waiting: Consumer<T>,
    home: Producer<T>,
}

/// A pair between which at most `capacity` objects are under way at once. *Realtime-safe: no* (allocates); nor is
/// dropping the last end, which frees what is still between them.
#[must_use]
pub fn loan<T>(capacity: usize) -> (Lender<T>, Borrower<T>) {
    let (out, waiting) = box_ring(capacity);
    let (sent, home) = box_ring(capacity);
    (Lender { out, home, under_way: 0, capacity }, Borrower { waiting, home: sent })
}

impl<T> Lender<T> {
    /// Lends `object` to the audio thread, which finds it from its next callback on.
    ///
    /// # Errors
    /// Gives it back when `capacity` objects are under way already.
    ///
    /// *Realtime-safe: yes*, one thread.
    pub fn lend(&mut self, object: Box<T>) -> Result<(), Box<T>> {
        if self.under_way == self.capacity {
            return Err(object);
        }
        self.out.push(object)?;
        self.under_way += 1;
        Ok(())
    }

    /// The next object that has come home, to be looked at and freed here.
    ///
    /// *Realtime-safe: yes*, one thread; freeing it is not.
    pub fn returned(&mut self) -> Option<Box<T>> {
        let object = self.home.pop()?;
        self.under_way = self.under_way.saturating_sub(1);
        Some(object)
    }

    /// Objects that were lent and have not come out of [`Lender::returned`] yet.
    ///
    /// *Realtime-safe: yes*, one thread.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way
    }
}

impl<T> Borrower<T> {
    /// The object lent longest ago. Its way home is free until [`Borrower::send_home`].
    ///
    /// *Realtime-safe: yes*, audio thread.
    #[must_use = "a borrowed object that is dropped is freed on the audio thread"]
    pub fn take(&mut self) -> Option<Box<T>> {
        self.waiting.pop()
    }

    /// Whether [`Borrower::take`] has something to take.
    ///
    /// *Realtime-safe: yes*, audio thread.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends home what was taken; in any order, and another object may go in its place. More of them than were taken
    /// may find no room: they are leaked rather than freed here.
    ///
    /// *Realtime-safe: yes*, audio thread.
    pub fn send_home(&mut self, object: Box<T>) {
        if let Err(stray) = self.home.push(object) {
            debug_assert!(false, "more objects are sent home than were taken");
            std::mem::forget(stray);
        }
    }
}

impl<T> std::fmt::Debug for Lender<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (under_way, capacity) = (self.under_way, self.capacity);
        write!(formatter, "Lender({under_way} of {capacity} under way)")
    }
}

impl<T> std::fmt::Debug for Borrower<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Borrower").field("is_waiting", &self.is_waiting()).finish_non_exhaustive()
    }
}

/// On its way out an envelope holds what to work with from now on, on its way home what was worked with before.
type Envelope<T> = Option<Box<T>>;

/// The end of a hand-off off the audio thread.
#[derive(Debug)]
pub struct Giver<T> {
    envelopes: Lender<Envelope<T>>,
}

/// The audio thread's end of a hand-off.
#[derive(Debug)]
pub struct Taker<T> {
    envelopes: Borrower<Envelope<T>>,
    current: Option<Box<T>>,
}

/// A pair, the taker starting with `current`. *Realtime-safe: no* (allocates).
#[must_use]
pub fn hand_off<T>(current: Option<Box<T>>) -> (Giver<T>, Taker<T>) {
    let (lender, borrower) = loan(CAPACITY);
    (Giver { envelopes: lender }, Taker { envelopes: borrower, current })
}

impl<T> Giver<T> {
    /// Has the audio thread work with `gift` from its next callback on, or with nothing.
    ///
    /// # Errors
    /// Gives it back when too many are under way already, which means that no callback has run for a while.
    ///
    /// *Realtime-safe: no.*
    pub fn give(&mut self, gift: Option<Box<T>>) -> Result<(), Option<Box<T>>> {
        self.free_returned();
        self.envelopes.lend(Box::new(gift)).map_err(|envelope| *envelope)
    }

    /// Frees what has come home. *Realtime-safe: no.*
    pub fn free_returned(&mut self) {
        while let Some(envelope) = self.envelopes.returned() {
            drop(envelope);
        }
    }
}

impl<T> Taker<T> {
    /// Takes over the latest gift; `leave` sees each old object before it goes home. True if anything changed.
    ///
    /// *Realtime-safe: yes*, if `leave` is.
    pub fn exchange(&mut self, mut leave: impl FnMut(&mut T)) -> bool {
        let mut changed = false;
        // Counted, for a giver could go on giving meanwhile.
        for _ in 0..CAPACITY {
            let Some(mut envelope) = self.envelopes.take() else { break };
            std::mem::swap(&mut self.current, &mut envelope);
            if let Some(old) = envelope.as_deref_mut() {
                leave(old);
            }
            self.envelopes.send_home(envelope);
            changed = true;
        }
        changed
    }

    /// What to work with. *Realtime-safe: yes.*
    pub fn current(&mut self) -> Option<&mut T> {
        self.current.as_deref_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_is_lent_is_worked_in_and_comes_home() {
        let (mut lender, mut borrower) = loan(2);
        assert!(!borrower.is_waiting() && borrower.take().is_none());
        assert_eq!(lender.lend(Box::new(1)), Ok(()));
        assert_eq!(lender.lend(Box::new(2)), Ok(()));
        assert!(borrower.is_waiting());
        let (mut one, two) = (borrower.take().unwrap(), borrower.take().unwrap());
        assert!(!borrower.is_waiting() && lender.returned().is_none());
        *one += 10;
        borrower.send_home(two);
        borrower.send_home(one);
        assert_eq!((lender.returned(), lender.under_way()), (Some(Box::new(2)), 1));
        assert_eq!((lender.returned(), lender.under_way()), (Some(Box::new(11)), 0));
        assert_eq!(lender.returned(), None);
    }

    #[test]
    fn the_way_home_of_all_that_is_lent_is_free() {
        for capacity in 0..4 {
            let (mut lender, mut borrower) = loan(capacity);
            for number in 0..capacity {
                assert_eq!(lender.lend(Box::new(number)), Ok(()));
            }
            // Taken, held, or home but not looked at: all are under way.
            assert_eq!(lender.lend(Box::new(99)), Err(Box::new(99)));
            let held: Vec<_> = std::iter::from_fn(|| borrower.take()).collect();
            assert_eq!(lender.lend(Box::new(99)), Err(Box::new(99)));
            held.into_iter().for_each(|object| borrower.send_home(object));
            assert_eq!(lender.lend(Box::new(99)), Err(Box::new(99)));
            assert_eq!(lender.under_way(), capacity);
            assert_eq!(lender.returned().is_some(), capacity > 0);
            assert_eq!(lender.lend(Box::new(99)).is_ok(), capacity > 0);
        }
    }

    #[test]
    fn the_old_one_comes_home() {
        let old = Arc::new(1);
        let (mut giver, mut taker) = hand_off(Some(Box::new(Arc::clone(&old))));
        assert!(!taker.exchange(|_| unreachable!()));
        giver.give(Some(Box::new(Arc::new(2)))).unwrap();
        let mut left = Vec::new();
        assert!(taker.exchange(|one| left.push(**one)));
        assert_eq!((left, taker.current().map(|one| **one)), (vec![1], Some(2)));
        assert_eq!(Arc::strong_count(&old), 2, "not freed by the audio thread");
        giver.free_returned();
        assert_eq!(Arc::strong_count(&old), 1);
        giver.give(None).unwrap();
        assert!(taker.exchange(|_| ()));
        assert!(taker.current().is_none());
    }

    #[test]
    fn with_no_callback_the_giver_has_to_wait() {
        let (mut giver, mut taker) = hand_off(Some(Box::new(0)));
        for next in 1..=CAPACITY {
            assert_eq!(giver.give(Some(Box::new(next))), Ok(()));
        }
        assert_eq!(giver.give(Some(Box::new(99))), Err(Some(Box::new(99))));
        let mut left = Vec::new();
        assert!(taker.exchange(|old| left.push(*old)));
        assert_eq!((left, taker.current().copied()), ((0..CAPACITY).collect(), Some(CAPACITY)));
        assert_eq!(giver.give(Some(Box::new(99))), Ok(()));
        assert!(taker.exchange(|_| ()));
        assert_eq!(taker.current().copied(), Some(99));
    }
}
