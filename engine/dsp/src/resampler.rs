//! Variable-rate resampler.

pub(crate) mod kaiser;
