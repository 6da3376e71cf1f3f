//! Biquadratic filters.
