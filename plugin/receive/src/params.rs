//! Receive's parameters. The ids are in every saved project: they never change.

use std::sync::Arc;

use audiocloud_instance::params::{self, CEILING_DEFAULT_MS};
use audiocloud_instance::state::Stored;
use nice_plug::prelude::*;

/// What becomes of the track's own input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Mode {
    /// Input and streams together.
    #[id = "mix"]
    Mix,
    /// The streams alone.
    #[id = "replace"]
    Replace,
}

/// Where streams come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Outputs {
    /// All in the main output.
    #[id = "mixed"]
    Mixed,
    /// Each stream that has an output of its own there, and there alone.
    #[id = "separate"]
    Separate,
}

/// How long frames wait for stragglers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Playout {
    /// As briefly as the network allows, between *Floor* and *Ceiling*.
    #[id = "lowest"]
    #[name = "Lowest latency"]
    Lowest,
    /// Always for *Playout delay*.
    #[id = "fixed"]
    Fixed,
    /// Each frame leaves at its time of the session, in every Receive alike: after *Link offset*.
    #[id = "aligned"]
    Aligned,
    /// The same after whole bars of the session's beat: *Interval*.
    #[id = "interval"]
    Interval,
}

/// Bars that streams are delayed by, to play along with them over any distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Interval {
    #[id = "1"]
    #[name = "1 bar"]
    One,
    #[id = "2"]
    #[name = "2 bars"]
    Two,
    #[id = "4"]
    #[name = "4 bars"]
    Four,
    #[id = "8"]
    #[name = "8 bars"]
    Eight,
    #[id = "16"]
    #[name = "16 bars"]
    Sixteen,
}

impl Interval {
    /// As a number.
    pub const fn bars(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }
}

/// How streams are to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Quality {
    #[id = "as-sent"]
    #[name = "As sent"]
    AsSent,
    #[id = "pcm-s24"]
    #[name = "24 bit"]
    Pcm24,
    #[id = "pcm-s16"]
    #[name = "16 bit"]
    Pcm16,
    #[id = "opus-256"]
    #[name = "Opus 256 kbit/s"]
    Opus256,
    #[id = "opus-128"]
    #[name = "Opus 128 kbit/s"]
    Opus128,
    #[id = "opus-96"]
    #[name = "Opus 96 kbit/s"]
    Opus96,
    #[id = "opus-64"]
    #[name = "Opus 64 kbit/s"]
    Opus64,
}

/// What is known of the sample clocks at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Clock {
    /// Whether they differ is found out.
    #[id = "automatic"]
    Automatic,
    /// They are one: nothing is resampled.
    #[id = "shared"]
    Shared,
}

#[derive(Debug, Params)]
pub struct ReceiveParams {
    /// Level of the streams in the main output, dB; the lowest value is silence.
    #[id = "level"]
    pub level: FloatParam,
    #[id = "mode"]
    pub mode: EnumParam<Mode>,
    #[id = "outputs"]
    pub outputs: EnumParam<Outputs>,
    #[id = "playout"]
    pub playout: EnumParam<Playout>,
    /// How long a frame waits for stragglers before it is played, where that is fixed, ms.
    #[id = "delay"]
    pub delay: FloatParam,
    /// Shortest wait that adapts, ms.
    #[id = "floor"]
    pub floor: FloatParam,
    /// Longest wait that adapts, ms.
    #[id = "ceiling"]
    pub ceiling: FloatParam,
    /// From when a frame was recorded until it leaves, by the session's clock, ms, where streams are aligned; 0: as short as
    /// all who play them so can keep.
    #[id = "link-offset"]
    pub link_offset: FloatParam,
    #[id = "interval"]
    pub interval: EnumParam<Interval>,
    #[id = "quality"]
    pub quality: EnumParam<Quality>,
    #[id = "clock"]
    pub clock: EnumParam<Clock>,
    /// The host is told the latency, and delays its other tracks by it.
    #[id = "report-latency"]
    pub report_latency: BoolParam,
    /// The latency that the whole way may take, ms; 0: none is asked for. Else quality, floor and ceiling follow from it.
    #[id = "budget"]
    pub budget: FloatParam,
    /// Marks the host's project as changed when only the stored state changed; its value means nothing.
    #[id = "revision"]
    pub revision: IntParam,
    /// What is played, and all its faders.
    #[persist = "stream"]
    pub stored: Arc<Stored>,
}

impl Default for ReceiveParams {
    fn default() -> Self {
        Self {
            level: params::level("Level"),
            mode: EnumParam::new("Mode", Mode::Mix),
            outputs: EnumParam::new("Outputs", Outputs::Mixed),
            playout: EnumParam::new("Playout", Playout::Lowest),
            delay: params::playout_delay("Playout delay"),
            floor: params::delay_bound("Floor", 0.0),
            ceiling: params::delay_bound("Ceiling", CEILING_DEFAULT_MS),
            link_offset: params::link_offset("Link offset"),
            interval: EnumParam::new("Interval", Interval::One),
            quality: EnumParam::new("Quality", Quality::AsSent),
            clock: EnumParam::new("Clock", Clock::Automatic),
            // A change restarts the plug-in in most hosts: nothing for automation.
            report_latency: BoolParam::new("Report latency", false).non_automatable(),
            budget: params::latency_budget("Budget"),
            revision: params::revision(),
            stored: Arc::default(),
        }
    }
}
