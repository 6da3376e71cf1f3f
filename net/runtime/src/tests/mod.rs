//! Whole runtimes against each other, over the loopback.

mod health;
mod lifecycle;
mod meeting;
mod quality;
mod refusal;
mod rig;
mod sessions;
mod stream;
mod time;
