//! Keeping this library in memory once it has run threads.
//!
//! All threads are joined before the last instance goes. What they leave behind for the process (thread-local
//! destructors, the log's subscriber) still points into the library, so the host must not unmap it.

// Asking the dynamic linker about ourselves is calling C.
#![allow(unsafe_code, reason = "dladdr and dlopen are C functions")]

/// Keeps the library that this code is in from being unmapped until the process ends. *Realtime-safe: no.*
#[cfg(unix)]
pub(crate) fn this_library() {
    use std::ffi::{c_int, c_void};
    use std::mem::MaybeUninit;
    use std::sync::Once;

    const FLAGS: c_int = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
    static ONCE: Once = Once::new();

    ONCE.call_once(|| {
        let mut info = MaybeUninit::<libc::Dl_info>::uninit();
        let inside: *const c_void = (this_library as fn()) as *const c_void;
        // SAFETY: `inside` is the address of a function of this library, and `info` has room for the answer.
        if unsafe { libc::dladdr(inside, info.as_mut_ptr()) } == 0 {
            tracing::warn!("this library does not know its own file, and stays unpinned");
            return;
        }
        // SAFETY: a result other than 0 means that `info` was filled in.
        let info = unsafe { info.assume_init() };
        // SAFETY: `dli_fname` is a string that lives as long as the library; NOLOAD opens nothing new and runs no code.
        let library = unsafe { libc::dlopen(info.dli_fname, FLAGS) };
        if library.is_null() {
            // An executable (as in tests) cannot be pinned and need not be.
            tracing::debug!("this library was not pinned");
        }
        // The handle is never closed: that is the pin.
    });
}

/// Elsewhere hosts hardly ever unload libraries; threads are joined all the same.
#[cfg(not(unix))]
pub(crate) fn this_library() {}

#[cfg(test)]
mod tests {
    #[test]
    fn pinning_twice_is_harmless() {
        super::this_library();
        super::this_library();
    }
}
