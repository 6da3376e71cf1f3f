//! What a callback saw, for whoever looks after the beat beside it.

use audiocloud_engine::units::HostTime;
use audiocloud_instance::transport::Transport;

/// One callback.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Observation {
    /// When the block's first frame is heard.
    pub(crate) heard: HostTime,
    /// That frame, counted since the first callback.
    pub(crate) position: u64,
    /// By what factor the device is faster than its nominal rate.
    pub(crate) speed: f64,
    /// Of the host, at that frame.
    pub(crate) transport: Transport,
}
