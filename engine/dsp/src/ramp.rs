//! Closed-form ramps.
