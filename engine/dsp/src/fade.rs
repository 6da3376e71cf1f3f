//! Fades.
