//! Effects, one file each.
//!
//! The sentence of this crate: *an effect knows no graph.* It is told its rate and channels when it is made, off the
//! audio thread, and then processes blocks in place.
