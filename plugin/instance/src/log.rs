//! Where log lines go: to standard error, as much as `AUDIOCLOUD_LOG` asks for.

use tracing_subscriber::EnvFilter;

/// The variable that holds the filter, as `debug` or `audiocloud_runtime=trace`; warnings and errors without it.
pub const VARIABLE: &str = "AUDIOCLOUD_LOG";

/// Starts logging, once per copy of this library. Writes no file. *Realtime-safe: no.*
pub fn start() {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new("warn"));
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // Somebody was first: then theirs it is.
    if subscriber.try_init().is_err() {
        tracing::debug!("logging was started before");
    }
}
