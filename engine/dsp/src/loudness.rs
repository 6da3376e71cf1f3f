//! Loudness meter.
