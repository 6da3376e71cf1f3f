//! Standard output, whose reader may go at any time.

use std::io::{self, Write};

use anyhow::Context;
use serde_json::Value;

pub(crate) fn print_json(value: &Value) -> anyhow::Result<bool> {
    print(&format!("{value:#}\n"))
}

/// Whether anybody still reads: a reader that has seen enough, such as `head`, is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot write to standard output"),
    }
}

/// The one or the other form of an answer.
pub(crate) fn answer(json: bool, value: &Value, words: &str) -> anyhow::Result<()> {
    if json { print_json(value) } else { print(words) }.map(drop)
}
