//! Chains of effects.
//!
//! The sentence of this crate: *a chain is a document, and plays the same wherever it runs.* In the plug-in's callback and
//! on a node in another room it gives the same bits.
