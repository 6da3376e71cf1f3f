//! Why a chain cannot be read, edited or played. Every error is a sentence for people: the cause, and the remedy.

use audiocloud_graph::graph::GraphError;
use thiserror::Error;

/// See the module. Whatever was there before is as it was.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChainError {
    /// Bytes that are no chain, or no edit.
    #[error("this is no {what}: {reason}")]
    Unreadable { what: &'static str, reason: String },
    /// Larger than is believed.
    #[error("a {what} of {bytes} bytes is too large; at most {bytes_max} are read")]
    TooLarge { what: &'static str, bytes: usize, bytes_max: usize },
    /// All that its plug-ins keep, together.
    #[error(
        "the states of the chain's plug-ins would take {bytes} bytes, {bytes_max} are kept: take a plug-in out of the chain, \
         or choose a smaller preset in it"
    )]
    States { bytes: usize, bytes_max: usize },
    /// Made by a later release.
    #[error(
        "this chain was made by a newer version (schema {schema}; up to {known} can be read here); update this one"
    )]
    Newer { schema: u32, known: u32 },
    /// More than there may be.
    #[error("{count} {what} are too many; a chain has at most {max}")]
    TooMany { what: &'static str, count: usize, max: usize },
    /// Parallel branches within branches within branches …
    #[error("branches are nested {depth} deep; at most {max} are possible: take some of them apart")]
    TooDeep { depth: usize, max: usize },
    /// Two items of one id.
    #[error("two parts of the chain have the number {id}, so that neither can be addressed")]
    SameId { id: u32 },
    /// An id that is kept for nobody.
    #[error("the number {id} of a part of the chain is too large")]
    IdTooLarge { id: u32 },
    /// A parallel without branches.
    #[error("a parallel needs at least one branch; remove the parallel itself instead")]
    NoBranches,
    /// Infinite, or not a number.
    #[error("the value of {what} is not a number")]
    NotANumber { what: String },
    /// No such effect or parallel.
    #[error("the chain has no part with the number {id}; somebody may have removed it")]
    NoItem { id: u32 },
    /// It exists, but is no effect, or no parallel.
    #[error("“{name}” is no {wanted}")]
    NotThat { name: String, wanted: &'static str },
    /// No such branch.
    #[error("“{name}” has no branch {branch}")]
    NoBranch { name: String, branch: u16 },
    /// No such parameter.
    #[error("“{name}” has no parameter {parameter}")]
    NoParameter { name: String, parameter: u32 },
    /// A kind that cannot be one.
    #[error("“{kind}” is no kind of effect; kinds are: {known}, or clap: and the id of a CLAP plug-in")]
    NoKind { kind: String, known: String },
    /// A parallel into a branch of its own.
    #[error("“{name}” cannot be moved into itself")]
    IntoItself { name: String },
    /// Other channels than effects have.
    #[error(
        "a chain has 1 or 2 channels in and out and up to 2 to listen to, not {inputs} in, {outputs} out and {side_chain} to \
         listen to: use the plug-in on a mono or stereo track"
    )]
    Widths { inputs: u16, outputs: u16, side_chain: u16 },
    /// More latency than was promised to the host.
    #[error(
        "the effects are late by {needed_frames} frames, but there is room for {frames}: give more head-room, or take out an \
         effect with look-ahead"
    )]
    Latency { needed_frames: u32, frames: u32 },
    /// Our own mistake, told rather than hidden.
    #[error("the chain cannot be played: {0}")]
    Graph(#[from] GraphError),
}
