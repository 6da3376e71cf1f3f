//! What a node and a plug-in's process say to each other beside the audio, over two pipes.
//!
//! A frame is the length of its head (32 bits, little endian), the length of its blob, the head as JSON, the blob. A
//! plug-in can write over its process's memory, so what it answers is bounded before it is believed.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::description::{Description, Listed};

/// The longest head, in bytes.
pub const HEAD_BYTES_MAX: usize = 4 << 20;
/// The longest blob, in bytes: a plug-in's state.
pub const BLOB_BYTES_MAX: usize = 64 << 20;

/// What a plug-in's process is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Loads one plug-in and activates it; the blob is its state, empty for none.
    Load { path: PathBuf, id: String, sample_rate: u32, priority: Option<u8> },
    /// Answers with the state as the blob.
    SaveState,
    /// Takes the blob as the state.
    LoadState,
    /// Answers with the plug-in's words for a value.
    Text { id: u32, value: f64 },
    /// Answers with the value that the plug-in reads out of words.
    Value { id: u32, text: String },
    /// Answers with what it is now.
    Describe,
}

/// A command and the number by which its answer is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbered {
    /// Rises.
    pub number: u64,
    /// What is to be done.
    pub command: Command,
}

/// What a plug-in's process says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// It is loaded, or this is what it is now.
    Described(Box<Description>),
    /// The blob is its state.
    State,
    /// It has taken the state.
    Taken,
    /// Its words for a value, if it has any.
    Text(Option<String>),
    /// The value that it read, if it could.
    Value(Option<f64>),
    /// It was not done, and why.
    Refused(String),
    /// Unasked: its state is another now.
    Changed,
    /// Unasked: it is so many frames late now.
    Late(u32),
    /// Unasked: something for the log.
    Log(String),
    /// What is in a file, when one is searched.
    Scanned(Vec<Listed>),
}

/// An answer and the number of its command; none where nobody asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Of the command.
    pub number: Option<u64>,
    /// What is said.
    pub answer: Answer,
}

/// Why bytes are no frame.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// Longer than any.
    #[error("a message of {head} bytes with {blob} bytes beside it")]
    TooLong { head: usize, blob: usize },
    /// Not what we know.
    #[error("an unknown message: {0}")]
    Unknown(String),
}

/// Writes one frame.
///
/// # Errors
/// The pipe's, or that the frame is too long.
pub fn write_frame(to: &mut impl Write, head: &impl Serialize, blob: &[u8]) -> io::Result<()> {
    let head = serde_json::to_vec(head).map_err(io::Error::other)?;
    if head.len() > HEAD_BYTES_MAX || blob.len() > BLOB_BYTES_MAX {
        return Err(io::Error::other(FrameError::TooLong { head: head.len(), blob: blob.len() }));
    }
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut frame = Vec::with_capacity(8 + head.len() + blob.len());
    frame.extend(length(head.len()));
    frame.extend(length(blob.len()));
    frame.extend(head);
    frame.extend(blob);
    to.write_all(&frame)?;
    to.flush()
}

/// Puts frames together from bytes that come in pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// Takes a piece.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// Nothing after them can be read either.
    pub fn frame<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<u8>)>, FrameError> {
        let Some((head, blob)) = self.lengths() else { return Ok(None) };
        if head > HEAD_BYTES_MAX || blob > BLOB_BYTES_MAX {
            return Err(FrameError::TooLong { head, blob });
        }
        let Some(frame) = self.bytes.get(8..8 + head + blob) else { return Ok(None) };
        let (text, blob_bytes) = frame.split_at(head);
        let message = serde_json::from_slice(text).map_err(|error| FrameError::Unknown(error.to_string()))?;
        let blob_bytes = blob_bytes.to_vec();
        self.bytes.drain(..8 + head + blob);
        Ok(Some((message, blob_bytes)))
    }

    fn lengths(&self) -> Option<(usize, usize)> {
        let length = |from: usize| {
            let bytes = self.bytes.get(from..from + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()
        };
        Some((length(0)?, length(4)?))
    }
}

/// Waits for a whole frame; `None` where the other side ended.
///
/// # Errors
/// The pipe's, or that what came is no frame.
pub fn read_frame<T: DeserializeOwned>(
    from: &mut impl Read,
    decoder: &mut Decoder,
) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut piece = [0; 4096];
    loop {
        if let Some(frame) = decoder.frame().map_err(io::Error::other)? {
            return Ok(Some(frame));
        }
        match from.read(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(length) => decoder.push(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies() -> Vec<(Reply, Vec<u8>)> {
        let described =
            Answer::Described(Box::new(Description { latency_frames: 7, ..Description::default() }));
        vec![
            (Reply { number: Some(1), answer: described }, Vec::new()),
            (Reply { number: Some(2), answer: Answer::State }, vec![1, 2, 3, 255]),
            (Reply { number: None, answer: Answer::Log("\u{1d11e}\n".into()) }, Vec::new()),
        ]
    }

    #[test]
    fn frames_survive_any_cut() {
        let mut bytes = Vec::new();
        for (reply, blob) in replies() {
            write_frame(&mut bytes, &reply, &blob).unwrap();
        }
        for size in [1, 3, 8, 9, bytes.len()] {
            let (mut decoder, mut heard) = (Decoder::default(), Vec::new());
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Some(frame) = decoder.frame().unwrap() {
                    heard.push(frame);
                }
            }
            assert_eq!(heard, replies());
        }
        let mut decoder = Decoder::default();
        let mut from = &bytes[..];
        for expected in replies() {
            assert_eq!(read_frame(&mut from, &mut decoder).unwrap(), Some(expected));
        }
        assert_eq!(read_frame::<Reply>(&mut from, &mut decoder).unwrap(), None);
    }

    #[test]
    fn lengths_are_bounded_before_they_are_believed() {
        let mut decoder = Decoder::default();
        decoder.push(&[255; 8]);
        assert!(matches!(decoder.frame::<Reply>(), Err(FrameError::TooLong { .. })));
        let mut decoder = Decoder::default();
        decoder.push(&[2, 0, 0, 0, 0, 0, 0, 0, b'{', b'}']);
        assert!(matches!(decoder.frame::<Reply>(), Err(FrameError::Unknown(_))));
        let long = vec![0; BLOB_BYTES_MAX + 1];
        assert!(write_frame(&mut Vec::new(), &0, &long).is_err());
    }
}
