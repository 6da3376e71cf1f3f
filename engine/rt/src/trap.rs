//! The allocation trap: counts what touches the heap inside the callback. For tests.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    // Constant initialiser, no destructor: reading it from inside the allocator neither allocates nor fails.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

static VIOLATIONS: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counting every heap operation on a thread that is inside [`crate::callback::enter`].
///
/// ```
/// #[global_allocator]
/// static TRAP: audiocloud_rt::trap::Allocator = audiocloud_rt::trap::Allocator;
///
/// let before = audiocloud_rt::trap::violations();
/// audiocloud_rt::callback::enter(|_| drop(std::hint::black_box(Box::new(1))));
/// assert_eq!(audiocloud_rt::trap::violations() - before, 2);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocator;

/// Heap operations (allocate, grow, free) inside callbacks so far, all threads. Stays 0 unless
/// [`Allocator`] is the global allocator.
///
/// *Realtime-safe: yes*, any thread.
#[must_use]
pub fn violations() -> u64 {
    VIOLATIONS.load(Ordering::Relaxed)
}

/// Whether this thread is inside the callback.
///
/// *Realtime-safe: yes*, any thread.
#[must_use]
pub fn in_callback() -> bool {
    // A thread that is being torn down has left its last callback.
    IN_CALLBACK.try_with(Cell::get).unwrap_or(false)
}

/// Marks the thread as inside the callback until dropped; nests.
pub(crate) struct Mark {
    before: bool,
}

impl Mark {
    pub(crate) fn set() -> Self {
        Self { before: IN_CALLBACK.replace(true) }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        IN_CALLBACK.set(self.before);
    }
}

fn note() {
    if in_callback() {
        VIOLATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed to `System` unchanged; `note` neither allocates nor unwinds.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `GlobalAlloc::alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `GlobalAlloc::realloc`'s contract, and the memory came from `System`.
        unsafe { System.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note();
        // SAFETY: the caller keeps `GlobalAlloc::dealloc`'s contract, and the memory came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_per_thread_and_nests() {
        let outer = Mark::set();
        let inner = Mark::set();
        drop(inner);
        assert!(in_callback());
        assert!(!std::thread::spawn(in_callback).join().unwrap());
        drop(outer);
        assert!(!in_callback());
    }
}
