//! Counts heap operations on one thread while it is inside a plug-in.
//!
//! A plug-in brings its own allocator, which ends at the C library's `malloc` family. This program defines that family
//! itself and exports it (see `build.rs`), so the dynamic loader gives these definitions to every library loaded
//! later; each forwards to the C library's own entry.

#![allow(unsafe_code, reason = "the C library's allocation functions are a C boundary")]

/// Runs `call` and returns its result with the heap operations that this thread did in it; `None` where they cannot
/// be counted.
pub(crate) fn counted<R>(call: impl FnOnce() -> R) -> (R, Option<u32>) {
    imp::counted(call)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod imp {
    use std::cell::Cell;
    use std::ffi::{c_int, c_void};

    thread_local! {
        // Constant and without a destructor: reached without an allocation, from the first `malloc` on.
        static COUNTING: Cell<bool> = const { Cell::new(false) };
        static OPERATIONS: Cell<u32> = const { Cell::new(0) };
    }

    pub(super) fn counted<R>(call: impl FnOnce() -> R) -> (R, Option<u32>) {
        OPERATIONS.set(0);
        COUNTING.set(true);
        let result = call();
        COUNTING.set(false);
        (result, Some(OPERATIONS.get()))
    }

    fn note() {
        if COUNTING.get() {
            OPERATIONS.set(OPERATIONS.get().saturating_add(1));
        }
    }

    unsafe extern "C" {
        fn __libc_malloc(size: usize) -> *mut c_void;
        fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
        fn __libc_realloc(memory: *mut c_void, size: usize) -> *mut c_void;
        fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
        fn __libc_free(memory: *mut c_void);
    }

    #[unsafe(no_mangle)]
    extern "C" fn malloc(size: usize) -> *mut c_void {
        note();
        // SAFETY: the C library's own entry, with the caller's argument.
        unsafe { __libc_malloc(size) }
    }

    #[unsafe(no_mangle)]
    extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
        note();
        // SAFETY: as for `malloc`.
        unsafe { __libc_calloc(count, size) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
        note();
        // SAFETY: the caller keeps the contract of `realloc`: `memory` is null or came from this family.
        unsafe { __libc_realloc(memory, size) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn free(memory: *mut c_void) {
        note();
        // SAFETY: the caller keeps the contract of `free`: `memory` is null or came from this family.
        unsafe { __libc_free(memory) }
    }

    #[unsafe(no_mangle)]
    extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
        note();
        // SAFETY: as for `malloc`; the C library refuses a bad alignment itself.
        unsafe { __libc_memalign(alignment, size) }
    }

    #[unsafe(no_mangle)]
    extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
        memalign(alignment, size)
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
        if !alignment.is_power_of_two() || alignment < size_of::<*mut c_void>() {
            return libc::EINVAL;
        }
        let memory = memalign(alignment, size);
        if memory.is_null() {
            return libc::ENOMEM;
        }
        // SAFETY: the caller keeps the contract of `posix_memalign`: `out` may be written.
        unsafe { out.write(memory) };
        0
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod imp {
    pub(super) fn counted<R>(call: impl FnOnce() -> R) -> (R, Option<u32>) {
        (call(), None)
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn operations_of_this_thread_inside_are_counted_and_no_others() {
        let outside = Box::new(1_u8);
        let (_, none) = counted(|| std::hint::black_box(*outside));
        assert_eq!(none, Some(0));
        let (_, two) = counted(|| drop(std::hint::black_box(vec![0_u8; 100])));
        assert_eq!(two, Some(2), "one allocation and one release");
        let (_, aligned) = counted(|| {
            #[repr(align(64))]
            struct Wide(#[allow(dead_code, reason = "only its size and alignment matter")] [u8; 64]);
            drop(std::hint::black_box(Box::new(Wide([0; 64]))));
        });
        assert_eq!(aligned, Some(2));
    }
}
