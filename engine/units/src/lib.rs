//! Typed time: lengths, rates, and the clocks that time stamps belong to.
//!
//! The sentence of this crate: *a time stamp has its clock in its type.* A point minus a point of the same
//! clock is a span; a point plus a point does not compile; a conversion between spans asks for the
//! [`SampleRate`] and names its rounding, and stays in integers.
//!
//! Arithmetic saturates at the ends of the range instead of panicking or wrapping: these types are used on the
//! audio thread with numbers that a peer may have chosen.
//!
//! It never reads a clock, never allocates, and depends on nothing.
//!
//! *Realtime-safe: yes*, all of it, on any thread.

mod point;
mod rate;
mod ratio;
mod session_line;
mod span;

pub use point::{HostTime, MediaTime, SessionTime};
pub use rate::SampleRate;
pub use ratio::{Beats, Ppm};
pub use session_line::SessionLine;
pub use span::{Frames, Nanos};
