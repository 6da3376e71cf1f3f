//! What every effect promises, tried on all of them.
#![allow(clippy::cast_possible_truncation, reason = "signals are computed in doubles and played in singles")]

#[path = "../bed/mod.rs"]
mod bed;

mod blocks;
mod gestures;
mod golden;
mod latency;
mod lists;
mod rates;
mod reset;
mod silence;
mod wild;
