//! The callback's guard: what runs in the audio callback takes the token that only [`enter`] can make.

use std::marker::PhantomData;

use audiocloud_units::HostTime;

use crate::{host_time, trap};

/// Proof of being inside the audio callback. Cannot leave its thread, nor outlive the callback.
///
/// ```compile_fail
/// fn needs_send<T: Send>() {}
/// needs_send::<audiocloud_rt::callback::Callback<'static>>();
/// ```
#[derive(Debug)]
pub struct Callback<'a> {
    entered_at: HostTime,
    // A raw pointer is neither Send nor Sync; the lifetime keeps the token inside `enter`.
    _bound_here: PhantomData<&'a *mut ()>,
}

impl Callback<'_> {
    /// When this callback began, read once at entry, so that all that happens inside agrees on it.
    ///
    /// *Realtime-safe: yes*, audio thread.
    #[must_use]
    pub const fn entered_at(&self) -> HostTime {
        self.entered_at
    }
}

/// Runs `f` as the audio callback: denormals are flushed to zero, and the thread is marked for
/// [`crate::trap::Allocator`]. Both are put back as they were on the way out, also when `f` unwinds. May be nested.
///
/// *Realtime-safe: yes*, audio thread.
#[cfg_attr(feature = "rtsan", sanitize(realtime = "nonblocking"))]
pub fn enter<R>(f: impl FnOnce(&Callback<'_>) -> R) -> R {
    let callback = Callback { entered_at: host_time::now(), _bound_here: PhantomData };
    let _mode = FlushToZero::set();
    let _mark = trap::Mark::set();
    f(&callback)
}

/// As [`enter`], at a time that the caller chooses: tests that live in virtual time.
///
/// *Realtime-safe: yes*, audio thread.
#[cfg_attr(feature = "rtsan", sanitize(realtime = "nonblocking"))]
pub fn enter_at<R>(entered_at: HostTime, f: impl FnOnce(&Callback<'_>) -> R) -> R {
    let callback = Callback { entered_at, _bound_here: PhantomData };
    let _mode = FlushToZero::set();
    let _mark = trap::Mark::set();
    f(&callback)
}

/// Runs `f` with denormals flushed to zero and no other promise: the audio of plug-ins that are not ours.
///
/// *Realtime-safe: yes*, if `f` is.
pub fn flushing<R>(f: impl FnOnce() -> R) -> R {
    let _mode = FlushToZero::set();
    f()
}

/// Puts the floating-point mode back when dropped.
struct FlushToZero {
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        allow(dead_code, reason = "no mode to restore on this processor")
    )]
    before: mode::Register,
}

impl FlushToZero {
    fn set() -> Self {
        let before = mode::read();
        mode::write(before | mode::FLUSH);
        Self { before }
    }
}

impl Drop for FlushToZero {
    fn drop(&mut self) {
        mode::write(self.before);
    }
}

#[cfg(target_arch = "x86_64")]
mod mode {
    use std::arch::asm;

    pub(super) type Register = u32;
    /// MXCSR: flush to zero (bit 15) and denormals are zero (bit 6). Intel SDM volume 1, 10.2.3.
    pub(super) const FLUSH: Register = 1 << 15 | 1 << 6;

    pub(super) fn read() -> Register {
        let mut register: Register = 0;
        // SAFETY: SSE is part of x86_64; the instruction writes four bytes to `register`, which is live and ours.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut register, options(nostack, preserves_flags)) };
        register
    }

    pub(super) fn write(register: Register) {
        // SAFETY: the value was read from MXCSR, but for two bits that every x86_64 has, so no reserved bit is set.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const register, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod mode {
    use std::arch::asm;

    pub(super) type Register = u64;
    /// FPCR.FZ (bit 24): denormal inputs and results become zero. Arm ARM, C5.2.
    pub(super) const FLUSH: Register = 1 << 24;

    pub(super) fn read() -> Register {
        let register: Register;
        // SAFETY: reading FPCR has no effect, and is permitted at EL0.
        unsafe { asm!("mrs {}, fpcr", out(reg) register, options(nomem, nostack, preserves_flags)) };
        register
    }

    pub(super) fn write(register: Register) {
        // SAFETY: the value was read from FPCR, but for FZ, which every aarch64 has.
        unsafe { asm!("msr fpcr, {}", in(reg) register, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod mode {
    pub(super) type Register = u32;
    pub(super) const FLUSH: Register = 0;

    pub(super) fn read() -> Register {
        0
    }

    pub(super) fn write(_register: Register) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    fn halved(value: f32) -> f32 {
        black_box(black_box(value) * black_box(0.5))
    }

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn denormals_are_flushed_inside_only() {
        assert!(halved(f32::MIN_POSITIVE) > 0.0);
        flushing(|| assert!(halved(f32::MIN_POSITIVE) == 0.0 && !trap::in_callback()));
        enter(|_| {
            assert!(halved(f32::MIN_POSITIVE) == 0.0);
            enter(|_| assert!(halved(f32::MIN_POSITIVE) == 0.0));
            assert!(halved(f32::MIN_POSITIVE) == 0.0);
        });
        assert!(halved(f32::MIN_POSITIVE) > 0.0);
    }

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn mode_and_mark_are_put_back_on_unwind() {
        let caught = std::panic::catch_unwind(|| enter(|_| panic!("on purpose")));
        assert!(caught.is_err());
        assert!(halved(f32::MIN_POSITIVE) > 0.0);
        assert!(!trap::in_callback());
    }

    #[test]
    fn entered_at_is_the_entry() {
        let before = host_time::now();
        let entered_at = enter(|callback| {
            assert!(trap::in_callback());
            callback.entered_at()
        });
        assert!(before <= entered_at && entered_at <= host_time::now());
        let chosen = HostTime::new(42);
        assert_eq!(enter_at(chosen, |callback| callback.entered_at()), chosen);
    }
}
