//! Who belongs to a session, what each of them may do, and what all of them share.
//!
//! One sentence: **no I/O: bytes and time in, decisions out.** Nothing here opens a socket or a file or asks a clock.

mod base64url;
mod change;
pub mod gossip;
pub mod invitation;
pub mod key;
pub mod member;
pub mod pairing;
pub mod revocation;
pub mod rights;
pub mod roster;
pub mod shared;
mod signed;
pub mod ticket;
