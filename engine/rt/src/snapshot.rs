//! The latest value of something, written by one thread and read by any number.
//!
//! A handful of slots, each with a count of its readers. The writer takes a slot that is neither the latest nor being
//! read, fills it, and then names it the latest. It never waits: a slot that somebody reads is passed over. A reader
//! enters the latest slot, sees that it still is the latest, copies, and leaves; it retries only when the writer
//! overtook it in between.

use crate::sync::{Arc, AtomicUsize, Ordering, UnsafeCell, spin_loop};

/// One latest, and seven that slow readers may hold before the writer finds no room; fewer for the model checker.
const SLOTS: usize = if cfg!(loom) { 3 } else { 8 };
/// Set in a slot's state while the writer is in it; the bits below count readers.
const WRITING: usize = 1 << (usize::BITS - 1);

struct Slot<T> {
    state: AtomicUsize,
    value: UnsafeCell<T>,
}

struct Shared<T> {
    latest: AtomicUsize,
    slots: [Slot<T>; SLOTS],
}

// SAFETY: `value` is written only by the one writer while `WRITING` is set and no reader is in, and copied by readers
// only while it is not; `T: Send` because copies arrive on the readers' threads.
unsafe impl<T: Copy + Send> Sync for Shared<T> {}

/// The end that writes; there is one.
pub struct Writer<T> {
    shared: Arc<Shared<T>>,
    missed: u64,
}

/// An end that reads; clone it for more.
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
}

/// A place for the latest value, `initial` until the first write. *Realtime-safe: no* (allocates).
#[must_use]
pub fn snapshot<T: Copy + Send>(initial: T) -> (Writer<T>, Reader<T>) {
    let slot = |_| Slot { state: AtomicUsize::new(0), value: UnsafeCell::new(initial) };
    let shared = Arc::new(Shared { latest: AtomicUsize::new(0), slots: std::array::from_fn(slot) });
    (Writer { shared: Arc::clone(&shared), missed: 0 }, Reader { shared })
}

impl<T: Copy + Send> Writer<T> {
    /// Publishes `value`. Wait-free. When seven readers sit in seven slots at once the value is not published, and
    /// counted in [`Writer::missed`].
    ///
    /// *Realtime-safe: yes*; dropping the last end is not.
    pub fn write(&mut self, value: T) {
        let latest = self.shared.latest.load(Ordering::Relaxed);
        for step in 1..SLOTS {
            let index = (latest + step) % SLOTS;
            let slot = &self.shared.slots[index];
            // Acquire: the last reader's copy happens before our write.
            if slot.state.compare_exchange(0, WRITING, Ordering::Acquire, Ordering::Relaxed).is_err() {
                continue;
            }
            // SAFETY: the state went from "no reader" to WRITING, so nobody else touches the value until we leave.
            slot.value.with_mut(|place| unsafe { *place = value });
            // A reader may have added itself meanwhile, and is about to step back: take away our bit alone.
            slot.state.fetch_sub(WRITING, Ordering::Release);
            self.shared.latest.store(index, Ordering::Release);
            return;
        }
        self.missed += 1;
    }

    /// Values that were not published because readers sat in every slot.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Another reader. *Realtime-safe: yes*; dropping the last end is not.
    #[must_use]
    pub fn reader(&self) -> Reader<T> {
        Reader { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Copy + Send> Reader<T> {
    /// The latest value. Lock-free: it tries again only when the writer published meanwhile.
    ///
    /// *Realtime-safe: yes*; dropping the last end is not.
    #[must_use]
    pub fn read(&self) -> T {
        loop {
            let index = self.shared.latest.load(Ordering::Acquire);
            let slot = &self.shared.slots[index];
            // Acquire: the writer's value happens before our copy.
            let writing = slot.state.fetch_add(1, Ordering::Acquire) & WRITING != 0;
            // Between our two steps the writer may have come round to this slot, and left in it a value that it has not
            // named the latest yet. Taking that, we would go back with the next read.
            if writing || self.shared.latest.load(Ordering::Relaxed) != index {
                slot.state.fetch_sub(1, Ordering::Relaxed);
                spin_loop();
                continue;
            }
            // SAFETY: we are counted in, and WRITING was not set, so the writer keeps out until we leave.
            let value = slot.value.with(|place| unsafe { *place });
            // Release: our copy happens before the writer's next write.
            slot.state.fetch_sub(1, Ordering::Release);
            return value;
        }
    }
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> std::fmt::Debug for Writer<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Writer").field("missed", &self.missed).finish_non_exhaustive()
    }
}

impl<T> std::fmt::Debug for Reader<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_latest() {
        let (mut writer, reader) = snapshot(0_u64);
        assert_eq!(reader.read(), 0);
        for value in 1..100 {
            writer.write(value);
            assert_eq!((reader.read(), reader.clone().read(), writer.reader().read()), (value, value, value));
        }
        assert_eq!(writer.missed(), 0);
    }

    #[test]
    fn values_are_whole_and_never_go_back() {
        const WRITES: u64 = 200_000;
        let (mut writer, reader) = snapshot([0_u64; 16]);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let reader = reader.clone();
                scope.spawn(move || {
                    let mut last = 0;
                    while last < WRITES {
                        let value = reader.read();
                        assert!(value.iter().all(|word| *word == value[0]), "torn: {value:?}");
                        assert!(value[0] >= last, "{} after {last}", value[0]);
                        last = value[0];
                    }
                });
            }
            for count in 1..=WRITES {
                writer.write([count; 16]);
            }
            // Readers wait for the last value: publish it until one attempt is not missed.
            let mut missed = u64::MAX;
            while writer.missed() != missed {
                missed = writer.missed();
                writer.write([WRITES; 16]);
            }
        });
    }
}
