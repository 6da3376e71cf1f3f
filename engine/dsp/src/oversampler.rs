//! Half-band oversampler.
