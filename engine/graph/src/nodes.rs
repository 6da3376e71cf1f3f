//! The nodes that the compiler itself knows. All others are somebody else's.

use audiocloud_dsp::biquad::Shape;
use audiocloud_dsp::ramp::Curve;

use crate::node::{Activation, Behaviour, Kernel, Layout, Node, Parameter, Smoothing, Tail};

/// Multiplies each channel by one factor; parameter [`Gain::GAIN`].
#[derive(Clone, Copy, Debug)]
pub struct Gain {
    /// Width of input and output.
    pub channels: u16,
    /// What it begins with.
    pub gain: f32,
    /// How long it takes to another value, in ms.
    pub smoothing_ms: f32,
}

impl Gain {
    /// Linear, -16 to 16.
    pub const GAIN: u32 = 0;

    /// As wide as this, smoothed over 10 ms.
    #[must_use]
    pub const fn new(channels: u16, gain: f32) -> Self {
        Self { channels, gain, smoothing_ms: 10.0 }
    }
}

impl Node for Gain {
    fn kind(&self) -> &'static str {
        "gain"
    }

    fn layout(&self) -> Layout {
        Layout::effect(self.channels)
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour { stateless: true, ..Behaviour::default() }
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter {
            id: Self::GAIN,
            name: "Gain",
            unit: "",
            range: (-16.0, 16.0),
            default: self.gain,
            smoothing: Smoothing::Glide { ms: self.smoothing_ms, curve: Curve::Linear },
        }]
    }

    fn kernel(&self, _activation: &Activation) -> Kernel {
        Kernel::Gain
    }
}

/// A second-order filter on each channel; parameters [`Biquad::FREQUENCY`], [`Biquad::Q`], [`Biquad::GAIN`].
#[derive(Clone, Copy, Debug)]
pub struct Biquad {
    /// Width of input and output.
    pub channels: u16,
    /// Which of the cookbook's.
    pub shape: Shape,
    /// What it begins with.
    pub frequency_hz: f32,
    /// As above.
    pub q: f32,
    /// As above; peaks and shelves alone use it.
    pub gain_db: f32,
}

impl Biquad {
    /// Hz.
    pub const FREQUENCY: u32 = 0;
    /// 0.1 to 100.
    pub const Q: u32 = 1;
    /// ±48 dB.
    pub const GAIN: u32 = 2;
}

impl Node for Biquad {
    fn kind(&self) -> &'static str {
        "biquad"
    }

    fn layout(&self) -> Layout {
        Layout::effect(self.channels)
    }

    fn parameters(&self) -> Vec<Parameter> {
        let parameter = |id, name, unit, range, default, curve| Parameter {
            id,
            name,
            unit,
            range,
            default,
            smoothing: Smoothing::Glide { ms: 20.0, curve },
        };
        vec![
            parameter(
                Self::FREQUENCY,
                "Frequency",
                "Hz",
                (10.0, 24_000.0),
                self.frequency_hz,
                Curve::Exponential,
            ),
            parameter(Self::Q, "Q", "", (0.1, 100.0), self.q, Curve::Exponential),
            parameter(Self::GAIN, "Gain", "dB", (-48.0, 48.0), self.gain_db, Curve::Linear),
        ]
    }

    fn tail(&self, activation: &Activation) -> Tail {
        // A narrow one rings: the envelope falls by 60 dB in about 2.2 Q periods.
        let periods = 2.2 * f64::from(self.q.max(0.5));
        let frames =
            periods * f64::from(activation.sample_rate.hz()) / f64::from(self.frequency_hz.max(10.0));
        Tail::Frames(u64::from(crate::slot::frames(frames)))
    }

    fn state(&self) -> String {
        format!("{:?}", self.shape)
    }

    fn kernel(&self, _activation: &Activation) -> Kernel {
        Kernel::Biquad(self.shape)
    }
}
