//! Other people's plug-ins.
//!
//! The sentence of this crate: *the only hosting code.* Each plug-in runs in a process of its own, and a crash costs that
//! plug-in alone.
//!
//! [`library::Library`] knows which CLAP plug-ins this machine has, and which of them are in quarantine.
//! [`plugin::HostedPlugin`] is one of them as a node of a graph. Its audio half puts blocks of 64 frames
//! into memory that it shares with the plug-in's process, and takes out what was answered: a fixed number of frames
//! later, and without ever waiting. Who may wait, as a node's worker may, does so before the block: [`answers`]. The
//! process is a child that runs [`sandbox::run`].
//!
//! What a child holds is its own mistakes, not malice: it runs with the rights of its user.
//!
//! Linux alone, for now: elsewhere this crate is empty but for [`error`].

pub mod error;

#[cfg(target_os = "linux")]
pub mod answers;
#[cfg(target_os = "linux")]
mod declick;
#[cfg(target_os = "linux")]
pub mod description;
#[cfg(target_os = "linux")]
pub mod hop;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
pub mod library;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
pub mod message;
#[cfg(target_os = "linux")]
pub mod plugin;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod processor;
#[cfg(target_os = "linux")]
pub mod program;
#[cfg(target_os = "linux")]
pub mod sandbox;
#[cfg(target_os = "linux")]
mod shared;
#[cfg(target_os = "linux")]
mod words;
