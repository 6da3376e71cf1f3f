//! Chains of effects.
//!
//! The sentence of this crate: *a chain is a document, and plays the same wherever it runs.* In the plug-in's callback and
//! on a node in another room it gives the same bits.
//!
//! - [`document`]: what a chain is: effects in a row and in parallel branches, with their values, as data that is kept in
//!   projects and sent to nodes, and that is read with suspicion.
//! - [`edit`]: how it changes. Whoever applies the same edits to the same document has the same document.
//! - [`slots`]: the 64 automation slots of a host's track, and what each of them moves.
//! - [`rack`]: what plays it: a control half that takes edits, and an audio half that runs in a callback or a worker.
//! - [`foreign`]: effects that are not ours, which only some machines have.
//!
//! It opens no file and no socket, starts no thread, and knows no plug-in format.

pub mod blob;
mod bounded;
pub mod document;
pub mod edit;
pub mod error;
pub mod foreign;
mod mix;
pub mod node;
pub mod rack;
pub mod slots;
