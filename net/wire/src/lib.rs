//! Version 1 of audiocloud's wire format: packets of audio and events, messages on control streams, and the
//! samples inside them.
//!
//! The sentence: **bytes and nothing else: no I/O, no clock, no allocation per packet.**
//!
//! What a peer sends is a value here and never a panic: every decoder is total over arbitrary bytes, bounded
//! in work and memory by the length of what it was given, and has a fuzz target in `tests/fuzz`. The format
//! is written down for other languages in `spec/v1.md` and `spec/messages.cddl`, with byte vectors in
//! `spec/vectors`, which the tests of this crate check in both directions.
//!
//! It will never open a socket, read a clock, make a random number, sign or verify, hold the state of a peer,
//! or know a type of the engine: conversions between these wire types and the engine's live in
//! `audiocloud-runtime`.
//!
//! - [`id`]: who and what: devices, users, instances, streams.
//! - [`packet`]: datagrams, in a fixed big-endian layout, encoded into and decoded from borrowed slices.
//! - [`codec`] and [`pcm`]: samples to bytes and back; [`quality`]: which of them a receiver would like.
//! - [`message`]: control messages, in CBOR, in frames with a length in front.

#![forbid(unsafe_code)]

pub mod codec;
pub mod id;
pub mod message;
pub mod packet;
pub mod pcm;
pub mod quality;
