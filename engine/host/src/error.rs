//! What can go wrong with somebody else's plug-in, in words for people.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a plug-in does not play, or did not answer.
#[derive(Debug, Error)]
pub enum HostError {
    /// No plug-in of that id was found when this machine was last searched.
    #[error("no plug-in {id:?} on this machine; install it and search again")]
    Unknown { id: String },
    /// It crashed before. What to do about it is in the words.
    #[error("{id:?} is in quarantine: {words}; update it, or release it")]
    Quarantined { id: String, words: String },
    /// The process for it does not start.
    #[error("no process for a plug-in: {0}")]
    Process(#[source] io::Error),
    /// The plug-in, or its file, refuses.
    #[error("{0}")]
    Refused(String),
    /// The plug-in's process is gone.
    #[error("{0}")]
    Gone(String),
    /// It did not answer in time.
    #[error("the plug-in did not answer within {seconds} s")]
    Silent { seconds: u64 },
    /// It answered what nobody asked.
    #[error("the plug-in's process answered nonsense: {0}")]
    Nonsense(String),
    /// Larger than is taken.
    #[error("the plug-in's state is {bytes} bytes long; {max} at most")]
    TooLarge { bytes: usize, max: usize },
    /// The lists of plug-ins cannot be kept.
    #[error("{} cannot be written: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// Ports or block sizes that make no sense.
    #[error("{0}")]
    Setup(&'static str),
}
