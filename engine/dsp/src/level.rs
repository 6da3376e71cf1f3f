//! Decibels and gains.
