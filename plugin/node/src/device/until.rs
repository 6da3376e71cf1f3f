//! Waiting for the end: until the user ends it, or something else does.

use std::time::Duration;

use anyhow::Context;

use crate::node::End;

/// How often it is looked whether something has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until `ended` says something, or the user or the system tells the process to end: then it is `None`.
pub(super) fn until<T>(mut ended: impl FnMut() -> Option<T>) -> anyhow::Result<Option<T>> {
    let events = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let events = events.context("cannot start an event loop")?;
    events.block_on(async {
        let mut end = End::new().context("cannot wait for the signal to end")?;
        loop {
            if let Some(said) = ended() {
                return Ok(Some(said));
            }
            tokio::select! {
                () = end.come() => return Ok(None),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    })
}
