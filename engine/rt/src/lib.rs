//! The border between the audio callback and everything else
