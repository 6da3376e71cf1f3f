//! Audio set against time: the sender's tap and the receiver's playout.
//!
//! The sentence of this crate: *a frame is placed by its index on the stream's sample clock, never by when it came.*
//! [`sender::Tap`] counts the frames of a callback and pushes them into a ring; [`receiver::Playout`] takes blocks
//! from a ring, however late, doubled or out of order, and plays each frame a fixed delay after it was due.
//!
//! [`insert::Insert`] does both at once: what it pushes comes back from elsewhere, processed, and is played a fixed delay
//! later.
//!
//! [`callback_clock`] says when the frames of a callback were due, so that what is to be played at one time everywhere is.
//!
//! It never allocates, locks or waits after construction, opens no socket, and knows no packet.

pub mod callback_clock;
pub mod delay_locked_loop;
pub mod insert;
pub mod meter;
pub mod receiver;
pub mod sender;
