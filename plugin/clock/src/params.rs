//! Clock's parameters. The ids are in every saved project: they never change.

use std::sync::Arc;

use audiocloud_instance::params;
use audiocloud_instance::state::Stored;
use nice_plug::prelude::*;

use crate::plan::Quantum;

/// Bars of count-in at most.
pub const COUNT_IN_MAX: i32 = 4;

/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Role {
    /// The session's beat comes here; it can be started and stopped in the window.
    #[id = "follow"]
    Follow,
    /// This host's transport is everybody's.
    #[id = "lead"]
    Lead,
}

#[derive(Debug, Params)]
pub struct ClockParams {
    #[id = "role"]
    pub role: EnumParam<Role>,
    /// When everybody starts and stops.
    #[id = "quantum"]
    pub quantum: EnumParam<Quantum>,
    /// Bars before a start by hand.
    #[id = "count-in"]
    pub count_in: IntParam,
    /// Clicks on the session's beat, beside the track's own sound.
    #[id = "metronome"]
    pub metronome: BoolParam,
    /// Level of the clicks, dB; the lowest value is silence.
    #[id = "level"]
    pub level: FloatParam,
    /// From a block's callback until it is heard, ms: a sound card's output, which no host tells.
    #[id = "output-delay"]
    pub output_delay: FloatParam,
    /// Marks the host's project as changed when only the stored state changed; its value means nothing.
    #[id = "revision"]
    pub revision: IntParam,
    /// The session and the bridges.
    #[persist = "clock"]
    pub stored: Arc<Stored>,
}

impl Default for ClockParams {
    fn default() -> Self {
        Self {
            // A change of who leads is nothing for automation.
            role: EnumParam::new("Role", Role::Follow).non_automatable(),
            quantum: EnumParam::new("Start and stop", Quantum::AtOnce),
            count_in: IntParam::new("Count-in", 0, IntRange::Linear { min: 0, max: COUNT_IN_MAX })
                .with_unit(" bars"),
            metronome: BoolParam::new("Metronome", false),
            level: params::level("Metronome level"),
            output_delay: params::delay_bound("Output delay", 0.0),
            revision: params::revision(),
            stored: Arc::default(),
        }
    }
}
