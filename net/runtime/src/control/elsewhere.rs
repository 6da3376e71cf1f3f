//! Systems without Unix sockets: everything says so, nothing fails for it.

use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::{Announcement, Error, Orders, Patch, Proposal, Status, TimeOrder};
use crate::discovery::Discovered;

/// A control socket at work; there is none here.
#[derive(Debug)]
pub enum Control {}

pub fn serve(
    _: &Path,
    _: Announcement,
    _: Status,
    _: Orders,
    _: mpsc::Sender<Discovered>,
) -> Result<Control, Error> {
    Err(Error::Unsupported)
}

pub fn patch(_runtime_dir: &Path, _instance: &str, _patch: &Patch) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn time(_runtime_dir: &Path, _instance: &str, _time: &TimeOrder) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn propose(_runtime_dir: &Path, _instance: &str, _proposal: &Proposal) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn query_all(_runtime_dir: &Path) -> Vec<serde_json::Value> {
    Vec::new()
}

pub(crate) fn sockets(_runtime_dir: &Path) -> Vec<PathBuf> {
    Vec::new()
}

pub(crate) async fn announce(_socket: &Path, _me: &Announcement) -> io::Result<Announcement> {
    Err(io::ErrorKind::Unsupported.into())
}
