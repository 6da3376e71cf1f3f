//! What runs in, or for, the audio callback
