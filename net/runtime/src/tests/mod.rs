//! Whole runtimes against each other, over the loopback.

mod health;
mod lifecycle;
mod meeting;
mod quality;
mod refusal;
mod remote;
mod rig;
mod sessions;
mod stream;
mod time;
