//! A headless, paced CLAP host that measures.
//!
//! The library holds what tests and demonstrations need around the binary `audiocloud-rig`: recordings, the binary's
//! report and callback log, when processors stood still, the comparison of what was sent with what came out, and sessions of
//! several rigs. The one sentence: *what a stream did is a number, found from outside the plug-in.* It never links audiocloud's own crates,
//! and it is no part of the product.

pub mod analysis;
pub mod audio;
pub mod callback_log;
pub mod card;
pub mod clock;
mod correlation;
pub mod notes;
pub mod process;
#[cfg(target_os = "linux")]
pub mod processors;
pub mod report;
pub mod scheduling;
pub mod session;
pub mod transport;
