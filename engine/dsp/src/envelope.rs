//! Envelope follower.
