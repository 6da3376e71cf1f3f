//! Tempo Link: sockets and time for the state machine of `audiocloud-link`.

use std::sync::Arc;
use std::time::Duration;

use super::worker::Worker;
use audiocloud_units::HostTime;

use super::{Bridge, BridgeStatus, SharedBeat};

/// A peer of Link on this machine's interfaces.
pub(super) struct Link(Worker);

impl Link {
    pub(super) fn start(beat: Arc<dyn SharedBeat>) -> Self {
        Self(Worker::start("Tempo Link", move |stage| {
            stage.say("no sockets yet", 0, None);
            while !stage.is_over() {
                let _: HostTime = beat.now();
                std::thread::sleep(Duration::from_millis(50));
            }
        }))
    }
}

impl Bridge for Link {
    fn status(&self) -> BridgeStatus {
        self.0.status()
    }
}
