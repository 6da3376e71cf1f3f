//! Ardour without a window: a session with Send and Receive on two tracks, rolled on its dummy backend.

use anyhow::{Result, bail};

use crate::bundle::Built;
use crate::machine;
use crate::steps::Tally;

pub(super) fn roll(_built: &Built, _tally: &mut Tally) -> Result<()> {
    machine::ensure_ardour()?;
    bail!("not written")
}
