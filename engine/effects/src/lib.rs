//! Effects, one file each.
//!
//! The sentence of this crate: *an effect knows no graph.* It is told its rate and channels when it is made, off the
//! audio thread, and then processes blocks in place.
//!
//! [`KINDS`] lists them. What they all promise is proved by one battery of tests for all (`tests/battery`): any rate from
//! 44.1 to 192 kHz, mono and stereo, the same bits however time is cut into blocks and whatever the compiler made of them,
//! and after a reset the bits of a new one; no allocation, lock or system call while processing; silence in, silence out;
//! the reported latency and tail; no click, whatever parameter is moved. What each is for has tests of its own, in numbers.

pub mod chorus;
pub mod compressor;
mod cut;
mod decibels;
pub mod delay;
mod dip;
pub mod distortion;
mod dynamics;
pub mod effect;
pub mod eq;
mod finite;
pub mod gate;
mod key;
pub mod limiter;
pub mod parameter;
pub mod reverb;
mod section;
#[cfg(test)]
mod stage;

use effect::Kind;

/// Every kind of effect, in the order in which people are shown them.
pub const KINDS: &[&Kind] = &[
    &eq::EQ,
    &compressor::COMPRESSOR,
    &gate::GATE,
    &limiter::LIMITER,
    &chorus::CHORUS,
    &delay::DELAY,
    &reverb::REVERB,
    &distortion::DISTORTION,
];

/// The kind with this id.
#[must_use]
pub fn kind(id: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.id == id)
}
