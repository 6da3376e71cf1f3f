//! The border between the audio callback and everything else.
//!
//! The sentence of this crate: *it is the only code shared between threads.* What crosses is `Copy` and of a fixed
//! size, or goes through a ring that was sized when the plug-in was activated. What runs in the callback takes a
//! [`callback::Callback`], which only [`callback::enter`] makes.
//!
//! On the audio thread nothing in here allocates, frees, locks, formats, or makes a system call, but for the one
//! named wake, [`wake::Waker::wake`].

// For RealtimeSanitizer, which is not stable yet; without the feature nothing unstable is used.
#![cfg_attr(feature = "rtsan", feature(sanitize))]
// The one crate of the engine that may use `unsafe`: ring, hand-off, floating-point mode, wake.
#![allow(unsafe_code, reason = "the ring and hand-off crate; every operation carries its SAFETY line")]

pub mod block_ring;
mod box_ring;
pub mod callback;
pub mod chain_event;
pub mod due;
pub mod event;
pub mod hand_off;
pub mod host_time;
pub mod log;
pub mod priority;
pub mod snapshot;
mod sync;
pub mod trap;
pub mod wake;
