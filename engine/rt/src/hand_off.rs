//! Exchanging what the audio thread works with, while it works.
//!
//! A new object is given by another thread, taken over at the start of a callback, and the old one comes home to be
//! freed off the audio thread. The way home is reserved before the exchange: with no room there, the new one waits.

use rtrb::{Consumer, Producer, RingBuffer};

/// Gifts that may be under way at once; a giver that is faster than the callbacks has to wait.
const CAPACITY: usize = 8;

/// The end off the audio thread.
#[derive(Debug)]
pub struct Giver<T> {
    gifts: Producer<Option<Box<T>>>,
    home: Consumer<Box<T>>,
}

/// The audio thread's end.
#[derive(Debug)]
pub struct Taker<T> {
    gifts: Consumer<Option<Box<T>>>,
    home: Producer<Box<T>>,
    current: Option<Box<T>>,
}

/// A pair, the taker starting with `current`. *Realtime-safe: no* (allocates).
#[must_use]
pub fn hand_off<T>(current: Option<Box<T>>) -> (Giver<T>, Taker<T>) {
    let (gifts_in, gifts_out) = RingBuffer::new(CAPACITY);
    let (home_in, home_out) = RingBuffer::new(CAPACITY);
    (Giver { gifts: gifts_in, home: home_out }, Taker { gifts: gifts_out, home: home_in, current })
}

impl<T> Giver<T> {
    /// Has the audio thread work with `gift` from its next callback on, or with nothing. Gives it back when too many
    /// are under way already, which means that no callback has run for a while. *Realtime-safe: no.*
    pub fn give(&mut self, gift: Option<Box<T>>) -> Result<(), Option<Box<T>>> {
        self.free_returned();
        self.gifts.push(gift).map_err(|rtrb::PushError::Full(gift)| gift)
    }

    /// Frees what has come home. *Realtime-safe: no.*
    pub fn free_returned(&mut self) {
        while self.home.pop().is_ok() {}
    }
}

impl<T> Taker<T> {
    /// Takes over the latest gift; `leave` sees each old object before it goes home. True if anything changed.
    ///
    /// *Realtime-safe: yes*, if `leave` is.
    pub fn exchange(&mut self, mut leave: impl FnMut(&mut T)) -> bool {
        let mut changed = false;
        while self.home.slots() > 0 {
            let Ok(gift) = self.gifts.pop() else { break };
            changed = true;
            if let Some(mut old) = std::mem::replace(&mut self.current, gift) {
                leave(&mut old);
                // There is room, and we are its only producer.
                let returned = self.home.push(old);
                debug_assert!(returned.is_ok());
            }
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
    fn with_no_way_home_the_new_one_waits() {
        let (mut giver, mut taker) = hand_off(Some(Box::new(0)));
        for next in 1..=CAPACITY {
            assert_eq!(giver.gifts.push(Some(Box::new(next))), Ok(()));
        }
        assert!(giver.gifts.push(None).is_err());
        assert!(taker.exchange(|_| ()));
        for next in 0..3 {
            assert_eq!(giver.gifts.push(Some(Box::new(100 + next))), Ok(()));
        }
        assert!(!taker.exchange(|_| unreachable!("the way home is full")));
        assert_eq!(taker.current().copied(), Some(CAPACITY));
        giver.free_returned();
        assert!(taker.exchange(|_| ()));
        assert_eq!(taker.current().copied(), Some(102));
    }
}
