//! Hilbert pair.
