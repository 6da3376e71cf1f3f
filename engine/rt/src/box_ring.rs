//! A ring of boxes between two threads: one puts in, the other takes out.
//!
//! A place holds a pointer, null while it is free, and each end alone knows where it is: a box and the word that it has
//! arrived are one store. After J. Giacomoni, T. Moseley and M. Vachharajani, "FastForward for Efficient Pipeline
//! Parallelism: A Cache-Optimized Concurrent Lock-Free Queue", PPoPP 2008.

use std::marker::PhantomData;
use std::ptr;

use crate::sync::{Arc, AtomicPtr, Ordering};

/// What both ends share; the last of them frees what is still inside.
struct Places<T>(Box<[AtomicPtr<T>]>);

impl<T> Places<T> {
    fn after(&self, place: usize) -> usize {
        if place + 1 < self.0.len() { place + 1 } else { 0 }
    }

    /// Empties a place. Only for the end that takes, or when no end is left.
    fn take(&self, place: usize) -> Option<Box<T>> {
        let place = self.0.get(place)?;
        // Acquire: what the other thread did to the object happens before what we do.
        let pointer = place.load(Ordering::Acquire);
        if pointer.is_null() {
            return None;
        }
        // Relaxed: the free place carries nothing but itself.
        place.store(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: it came out of a box in `push`, which gave it up; we are the only one that takes, and have left null.
        Some(unsafe { Box::from_raw(pointer) })
    }
}

impl<T> Drop for Places<T> {
    fn drop(&mut self) {
        for place in 0..self.0.len() {
            drop(self.take(place));
        }
    }
}

/// The end that puts in.
pub(crate) struct Producer<T> {
    places: Arc<Places<T>>,
    next: usize,
    /// Objects pass to another thread: an end may go there only if they may.
    sends: PhantomData<Box<T>>,
}

/// The end that takes out.
pub(crate) struct Consumer<T> {
    places: Arc<Places<T>>,
    next: usize,
    /// See [`Producer`].
    sends: PhantomData<Box<T>>,
}

/// A ring of `capacity` places. *Realtime-safe: no* (allocates); nor is dropping the last end, which frees.
pub(crate) fn box_ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let free = |_| AtomicPtr::new(ptr::null_mut());
    let places = Arc::new(Places((0..capacity).map(free).collect()));
    (
        Producer { places: Arc::clone(&places), next: 0, sends: PhantomData },
        Consumer { places, next: 0, sends: PhantomData },
    )
}

impl<T> Producer<T> {
    /// Puts a box in; a full ring gives it back. *Realtime-safe: yes.*
    pub(crate) fn push(&mut self, object: Box<T>) -> Result<(), Box<T>> {
        match self.places.0.get(self.next) {
            Some(place) if place.load(Ordering::Relaxed).is_null() => {
                // Release: what we did to the object happens before what the other thread does.
                place.store(Box::into_raw(object), Ordering::Release);
                self.next = self.places.after(self.next);
                Ok(())
            }
            _ => Err(object),
        }
    }
}

impl<T> Consumer<T> {
    /// The oldest box inside. *Realtime-safe: yes*; freeing it is not.
    pub(crate) fn pop(&mut self) -> Option<Box<T>> {
        let object = self.places.take(self.next)?;
        self.next = self.places.after(self.next);
        Some(object)
    }

    /// Whether [`Consumer::pop`] would find nothing. *Realtime-safe: yes.*
    pub(crate) fn is_empty(&self) -> bool {
        self.places.0.get(self.next).is_none_or(|place| place.load(Ordering::Relaxed).is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_is_first_out_and_full_is_full() {
        for capacity in 0..5 {
            let (mut producer, mut consumer) = box_ring(capacity);
            for lap in 0..3 {
                assert!(consumer.is_empty());
                for number in 0..capacity {
                    assert_eq!(producer.push(Box::new((lap, number))), Ok(()));
                }
                assert_eq!(producer.push(Box::new((9, 9))), Err(Box::new((9, 9))));
                assert_eq!(consumer.is_empty(), capacity == 0);
                for number in 0..capacity {
                    assert_eq!(consumer.pop().as_deref(), Some(&(lap, number)));
                }
                assert_eq!(consumer.pop(), None);
            }
        }
    }

    #[test]
    fn the_last_end_frees_what_is_inside() {
        let object = std::sync::Arc::new(());
        let (mut producer, consumer) = box_ring(3);
        assert!(producer.push(Box::new(std::sync::Arc::clone(&object))).is_ok());
        assert!(producer.push(Box::new(std::sync::Arc::clone(&object))).is_ok());
        drop(producer);
        assert_eq!(std::sync::Arc::strong_count(&object), 3);
        drop(consumer);
        assert_eq!(std::sync::Arc::strong_count(&object), 1);
    }

    #[test]
    fn every_box_arrives_in_order_from_another_thread() {
        const BOXES: u32 = 20_000;
        let (mut producer, mut consumer) = box_ring(4);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..BOXES {
                    let mut pushed = producer.push(Box::new(number));
                    while let Err(object) = pushed {
                        std::thread::yield_now();
                        pushed = producer.push(object);
                    }
                }
            });
            let mut expected = 0;
            while expected < BOXES {
                if let Some(object) = consumer.pop() {
                    assert_eq!(*object, expected);
                    expected += 1;
                } else {
                    std::thread::yield_now();
                }
            }
        });
    }
}
