//! Low-frequency oscillators.
