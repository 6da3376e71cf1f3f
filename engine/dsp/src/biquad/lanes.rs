//! Many biquads at once, in SIMD lanes.
