//! Whole runtimes against each other, over the loopback.

mod health;
mod lifecycle;
mod quality;
mod refusal;
mod rig;
mod stream;
