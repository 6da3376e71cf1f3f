//! Whole runtimes against each other, over the loopback.

mod lifecycle;
mod refusal;
mod rig;
mod stream;
