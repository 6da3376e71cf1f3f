//! Send's parameters. The ids are in every saved project: they never change.

use std::sync::Arc;

use audiocloud_instance::state::Stored;
use nice_plug::prelude::*;

#[derive(Debug, Params)]
pub struct SendParams {
    /// Off: audio still passes through, nothing is published.
    #[id = "transmit"]
    pub transmit: BoolParam,
    /// Marks the host's project as changed when only the stored state changed; its value means nothing.
    #[id = "revision"]
    pub revision: IntParam,
    /// The stream's name and id.
    #[persist = "stream"]
    pub stored: Arc<Stored>,
}

impl Default for SendParams {
    fn default() -> Self {
        Self {
            transmit: BoolParam::new("Transmit", true),
            revision: audiocloud_instance::params::revision(),
            stored: Arc::default(),
        }
    }
}
