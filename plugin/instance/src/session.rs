//! This instance's share in the runtime of the process.

use audiocloud_net::runtime::{Handle, Runtime};
use audiocloud_net::wire::id::{DeviceId, StreamId, StreamKey};

use crate::pin;
use crate::state::StreamRef;

/// A handle to the runtime from the first activation until the instance goes, or the reason why there is none.
#[derive(Debug, Default)]
pub struct Session {
    handle: Option<Handle>,
    error: Option<String>,
}

impl Session {
    /// The runtime, started if need be. Without one, [`Session::error`] tells why, and the next call tries again.
    /// *Realtime-safe: no.*
    pub fn handle(&mut self) -> Option<&Handle> {
        if self.handle.is_none() {
            pin::this_library();
            match Runtime::acquire() {
                Ok(handle) => (self.handle, self.error) = (Some(handle), None),
                Err(error) => {
                    tracing::error!(%error, "the runtime did not start");
                    self.error = Some(error.to_string());
                }
            }
        }
        self.handle.as_ref()
    }

    /// The runtime, if it has been started.
    pub fn started(&self) -> Option<&Handle> {
        self.handle.as_ref()
    }

    /// Why there is no runtime, "cause; remedy".
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
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
