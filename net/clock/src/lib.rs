//! Time that machines share, and the beat on it.
//!
//! One sentence: **no I/O: time stamps in, an estimate of the session's time out.** Nothing here steers the system's
//! clock: session time is a line laid over this machine's monotonic clock.
//!
//! - [`ptp`]: the protocol by which machines exchange time stamps.
//! - [`filter`]: what the time stamps of exchanges with a master say: the master's time over ours, and how sure that is.
//! - [`estimate`]: that, as a value: offset, rate, and a bound of the error, which grows when nothing is heard any more.
//! - [`overlay`]: session time as this machine shows it: follows the estimates without a jump.
//! - [`election`]: whose clock it is.
//! - [`timekeeper`]: one domain as one process sees it, of all of these.
//! - [`beat_map`]: where bars and beats lie on session time; [`stretch`]: where it jumps; [`timeline`]: both, for an instant
//!   of this machine.
//!
//! It will never open a socket or read a clock.

#![forbid(unsafe_code)]

pub mod beat_map;
pub mod election;
pub mod estimate;
pub mod filter;
pub mod overlay;
pub mod ptp;
pub mod stretch;
pub mod timekeeper;
pub mod timeline;
