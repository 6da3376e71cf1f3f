//! The nodes that the compiler itself knows. All others are somebody else's.

use audiocloud_dsp::biquad::Shape;
use audiocloud_dsp::ramp::Curve;

use crate::fields::Fields;
use crate::node::{Activation, Behaviour, Kernel, Layout, Node, Parameter, Smoothing, Tail};
use crate::snapshot::NodeDescription;

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

    /// See [`crate::registry::Constructor`].
    pub(crate) fn restore(description: &NodeDescription) -> Result<Box<dyn Node>, String> {
        let mut fields = Fields::parse(&description.state)?;
        let channels = description.channels()?;
        let (gain, smoothing_ms) = (fields.number("gain", 1.0)?, fields.number("smoothing_ms", 10.0)?);
        fields.finish()?;
        Ok(Box::new(Self { channels, gain, smoothing_ms }))
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

    fn state(&self) -> String {
        format!("gain={} smoothing_ms={}", self.gain, self.smoothing_ms)
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

    /// See [`crate::registry::Constructor`].
    pub(crate) fn restore(description: &NodeDescription) -> Result<Box<dyn Node>, String> {
        let mut fields = Fields::parse(&description.state)?;
        let biquad = Self {
            channels: description.channels()?,
            shape: fields.choice("shape", &SHAPES)?,
            frequency_hz: fields.number("frequency_hz", 1_000.0)?,
            q: fields.number("q", std::f32::consts::FRAC_1_SQRT_2)?,
            gain_db: fields.number("gain_db", 0.0)?,
        };
        fields.finish()?;
        Ok(Box::new(biquad))
    }

    fn shape_name(&self) -> &'static str {
        SHAPES.iter().find(|(_, shape)| *shape == self.shape).map_or("", |(name, _)| name)
    }
}

/// As snapshots call them.
const SHAPES: [(&str, Shape); 9] = [
    ("low-pass", Shape::LowPass),
    ("high-pass", Shape::HighPass),
    ("band-pass-skirt", Shape::BandPassSkirt),
    ("band-pass-peak", Shape::BandPassPeak),
    ("notch", Shape::Notch),
    ("all-pass", Shape::AllPass),
    ("peak", Shape::Peak),
    ("low-shelf", Shape::LowShelf),
    ("high-shelf", Shape::HighShelf),
];

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
        let Self { frequency_hz, q, gain_db, .. } = self;
        format!("shape={} frequency_hz={frequency_hz} q={q} gain_db={gain_db}", self.shape_name())
    }

    fn kernel(&self, _activation: &Activation) -> Kernel {
        Kernel::Biquad(self.shape)
    }
}
