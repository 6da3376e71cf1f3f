//! This instance's share in the runtime of the process.

use std::sync::Arc;

use audiocloud_net::runtime::{Handle, Report, Runtime, Shown};
use audiocloud_net::wire::id::{DeviceId, StreamId, StreamKey};
use serde_json::Value;

use crate::guard::{Guard, Stage};
use crate::pin;
use crate::state::StreamRef;

/// A handle to the runtime from the first activation until the instance goes, or the reason why there is none.
#[derive(Debug, Default)]
pub struct Session {
    /// Our line in the status command.
    shown: Option<Shown>,
    handle: Option<Handle>,
}

impl Session {
    /// The runtime, started if need be, which answers the status command by `report`. Without one, why, "cause;
    /// remedy"; the next call tries again. *Realtime-safe: no.*
    pub fn join(&mut self, report: Report) -> Result<Handle, String> {
        if let Some(handle) = &self.handle {
            return Ok(handle.clone());
        }
        pin::this_library();
        let handle = Runtime::acquire().map_err(|error| {
            tracing::error!(%error, "the runtime did not start");
            error.to_string()
        })?;
        self.shown = Some(handle.show(report));
        self.handle = Some(handle.clone());
        Ok(handle)
    }

    /// The runtime, if it has been started.
    pub fn started(&self) -> Option<&Handle> {
        self.handle.as_ref()
    }
}

/// What the runtime is told of an instance when it asks, from its own thread, as long as there is one.
pub fn report<S: Send + Sync + 'static>(instance: &Arc<S>, guard: &Guard, ask: fn(&S) -> Value) -> Report {
    let (instance, guard) = (Arc::downgrade(instance), guard.clone());
    Box::new(move || {
        let report = instance.upgrade().and_then(|instance| guard.run(Stage::Report, || ask(&instance)));
        report.unwrap_or_default()
    })
}

impl From<StreamRef> for StreamKey {
    fn from(stream: StreamRef) -> Self {
        Self::new(DeviceId(stream.publisher), StreamId(stream.stream))
    }
}

impl From<StreamKey> for StreamRef {
    fn from(key: StreamKey) -> Self {
        Self { publisher: key.publisher.0, stream: key.stream.0 }
    }
}
