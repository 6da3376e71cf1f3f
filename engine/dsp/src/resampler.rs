//! Variable-rate polyphase resampler.
