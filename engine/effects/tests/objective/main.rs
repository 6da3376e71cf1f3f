//! What each of the four effects that turn levels is for, in numbers, against an analytic or independent result.
#![allow(clippy::cast_possible_truncation, reason = "signals are computed in doubles and played in singles")]

#[path = "../bed/mod.rs"]
mod bed;

mod compressor;
mod eq;
mod gate;
mod limiter;
