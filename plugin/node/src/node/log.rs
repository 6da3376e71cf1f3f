//! Where a node's log goes: standard error, in words or as JSON, written by a thread of its own.
//!
//! Lines come from the network thread too, which may wait for nobody: who reads standard error may be slow. What finds
//! no room is dropped, and counted.

use std::io;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// The variable that holds the filter, as for the plug-ins.
const VARIABLE: &str = "AUDIOCLOUD_LOG";
const LINES_MAX: usize = 4_096;

/// The log at work. Dropping it writes what is left.
#[derive(Debug)]
pub(crate) struct Log {
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

impl Log {
    /// Starts logging, for the whole process. `filter` holds where the environment has none.
    pub(crate) fn start(json: bool, filter: &str) -> Self {
        let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(filter));
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(LINES_MAX)
            .thread_name("audiocloud-log")
            .finish(io::stderr());
        let dropped = writer.error_counter();
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
        let started =
            if json { subscriber.json().flatten_event(true).try_init() } else { subscriber.try_init() };
        if started.is_err() {
            tracing::debug!(target: "audiocloud::node", "logging was started before");
        }
        Self { dropped, _writer: guard }
    }

    /// Lines that found no room.
    pub(crate) fn dropped(&self) -> ErrorCounter {
        self.dropped.clone()
    }
}
