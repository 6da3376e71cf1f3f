//! Receive's parameters. The ids are in every saved project: they never change.

use std::sync::Arc;

use audiocloud_instance::params;
use audiocloud_instance::state::Stored;
use nice_plug::prelude::*;

/// What becomes of the track's own input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Mode {
    /// Input and stream together.
    #[id = "mix"]
    Mix,
    /// The stream alone.
    #[id = "replace"]
    Replace,
}

#[derive(Debug, Params)]
pub struct ReceiveParams {
    /// Level of the stream in the main output, dB; the lowest value is silence.
    #[id = "level"]
    pub level: FloatParam,
    #[id = "mode"]
    pub mode: EnumParam<Mode>,
    /// Playout delay, ms: how long a frame waits for stragglers before it is played.
    #[id = "delay"]
    pub delay: FloatParam,
    /// Marks the host's project as changed when only the stored state changed; its value means nothing.
    #[id = "revision"]
    pub revision: IntParam,
    /// Publisher, id and name of the stream.
    #[persist = "stream"]
    pub stored: Arc<Stored>,
}

impl Default for ReceiveParams {
    fn default() -> Self {
        Self {
            level: params::level("Level"),
            mode: EnumParam::new("Mode", Mode::Mix),
            delay: params::playout_delay("Playout delay"),
            revision: params::revision(),
            stored: Arc::default(),
        }
    }
}
