//! The real-time graph: what runs inside the callback of every plug-in and node.
//!
//! The sentence of this crate: *what the callback plays was finished before it came there.* A [`graph::Graph`] is
//! edited off the audio thread, checked, and compiled into a flat schedule in which every buffer, delay and order is
//! decided. A [`controller::Controller`] lends it to the [`renderer::Renderer`], which crossfades to it and sends home
//! what it replaced. Processors, their state and their parameters stay in their places meanwhile.
//!
//! It opens no socket and no file, starts no thread, knows no host and no effect; in the callback it neither
//! allocates, locks, nor waits.

pub mod arena;
mod bypass;
mod compiler;
pub mod controller;
mod deadlines;
pub mod dot;
mod edit;
pub mod event;
pub mod fields;
pub mod graph;
mod inbox;
pub mod load;
pub mod node;
pub mod nodes;
pub mod registry;
pub mod renderer;
mod schedule;
mod slot;
pub mod snapshot;
mod topology;
mod words;
