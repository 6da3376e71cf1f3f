//! The sending half: one lane for each subscriber of a stream.
