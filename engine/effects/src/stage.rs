//! Where effects are tried in their own tests: one effect, its parameters by name, and signals of any length.

use audiocloud_dsp::ramp::Ramp;
use audiocloud_units::SampleRate;

use crate::effect::{Activation, Block, Effect, GRID, Kind, Transport};

/// One effect at work.
#[derive(Debug)]
pub(crate) struct Stage {
    kind: &'static Kind,
    effect: Box<dyn Effect>,
    parameters: Vec<Ramp>,
    position: u64,
    pub(crate) transport: Option<Transport>,
}

impl Stage {
    pub(crate) fn new(kind: &'static Kind, rate_hz: u32, channels: u16) -> Self {
        let activation = Activation { sample_rate: SampleRate::new(rate_hz).unwrap(), channels };
        Self {
            kind,
            effect: (kind.make)(&activation),
            parameters: kind.defaults().into_iter().map(Ramp::constant).collect(),
            position: 0,
            transport: None,
        }
    }

    /// Plain values by name; they jump.
    pub(crate) fn set(&mut self, values: &[(&str, f32)]) {
        for (name, value) in values {
            let place = self.kind.parameters.iter().position(|parameter| parameter.name == *name).unwrap();
            self.parameters[place].jump(*value);
        }
    }

    pub(crate) fn set_oversampling(&mut self, on: bool) {
        self.effect.set_oversampling(on);
    }

    /// Goes on with this input, one signal for each channel.
    pub(crate) fn play(&mut self, input: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let mut output = input.to_vec();
        let frames = output[0].len();
        let mut from = 0;
        while from < frames {
            let room = GRID - usize::try_from(self.position % GRID as u64).unwrap();
            let to = (from + room).min(frames);
            let mut main: Vec<&mut [f32]> = output.iter_mut().map(|channel| &mut channel[from..to]).collect();
            self.effect.process(&mut Block {
                main: &mut main,
                side_chain: &[],
                parameters: &self.parameters,
                position: self.position,
                transport: self.transport,
                offline: false,
            });
            self.position += (to - from) as u64;
            from = to;
        }
        output
    }
}
