//! An effect as a node of the graph.

use audiocloud_effects::effect::{self, Effect, Kind};
use audiocloud_effects::parameter as effects;
use audiocloud_graph::event::Transport;
use audiocloud_graph::node::{
    Activation, Behaviour, Block, Kernel, Layout, Node, Parameter, Processor, Shed, Smoothing, Tail,
};

/// One of [`audiocloud_effects::KINDS`], mono or stereo.
#[derive(Clone, Copy, Debug)]
pub struct EffectNode {
    kind: &'static Kind,
    channels: u16,
    /// Of the second input; 0: there is none.
    side_chain: u16,
}

impl EffectNode {
    /// With this many channels, and this many to listen to where it can listen.
    #[must_use]
    pub fn new(kind: &'static Kind, channels: u16, side_chain: u16) -> Self {
        Self { kind, channels, side_chain: if kind.side_chain { side_chain } else { 0 } }
    }

    fn activation(&self, activation: &Activation) -> effect::Activation {
        effect::Activation { sample_rate: activation.sample_rate, channels: self.channels }
    }
}

impl Node for EffectNode {
    fn kind(&self) -> &'static str {
        self.kind.id
    }

    fn layout(&self) -> Layout {
        let mut layout = Layout::effect(self.channels);
        layout.inputs.extend(Some(self.side_chain).filter(|channels| *channels > 0));
        layout
    }

    /// Under overload only oversampling is given up: a mix in which an effect falls out is another mix.
    fn behaviour(&self) -> Behaviour {
        let shed = if self.kind.oversamples { Shed::Oversampling } else { Shed::Never };
        Behaviour { in_place: true, stateless: false, shed }
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.kind.parameters.iter().map(parameter).collect()
    }

    fn latency_frames(&self, activation: &Activation) -> u32 {
        (self.kind.latency_frames)(&self.activation(activation))
    }

    /// With its defaults: what its values make of it, [`crate::document::Chain::tail`] knows.
    fn tail(&self, activation: &Activation) -> Tail {
        match (self.kind.tail)(&self.activation(activation), &self.kind.defaults()) {
            effect::Tail::Frames(frames) => Tail::Frames(frames),
            effect::Tail::Infinite => Tail::Infinite,
        }
    }

    fn kernel(&self, activation: &Activation) -> Kernel {
        let effect = (self.kind.make)(&self.activation(activation));
        Kernel::Processor(Box::new(EffectProcessor { effect, side_chain: usize::from(self.side_chain) }))
    }
}

/// As the graph has it.
fn parameter(parameter: &effects::Parameter) -> Parameter {
    let smoothing = match parameter.smoothing {
        effects::Smoothing::None => Smoothing::None,
        effects::Smoothing::Glide { ms, curve } => Smoothing::Glide { ms, curve },
    };
    let &effects::Parameter { id, name, default, .. } = parameter;
    Parameter { id, name, unit: "", range: parameter.bounds(), default, smoothing }
}

#[derive(Debug)]
struct EffectProcessor {
    effect: Box<dyn Effect>,
    side_chain: usize,
}

impl Processor for EffectProcessor {
    fn process(&mut self, block: &mut Block<'_>) {
        let (position, offline) = (block.position(), block.is_offline());
        let Transport { playing, tempo_bpm, position_beats, signature } = block.transport();
        let transport = effect::Transport { playing, tempo_bpm, position_beats, signature };
        let (outputs, inputs, parameters) = block.parts();
        let mut main: [&mut [f32]; effect::CHANNELS_MAX] = [&mut [], &mut []];
        let mut width = 0;
        for (place, output) in main.iter_mut().zip(outputs) {
            *place = output;
            width += 1;
        }
        let mut side_chain: [&[f32]; effect::CHANNELS_MAX] = [&[], &[]];
        let listens = self.side_chain.min(side_chain.len());
        for (place, input) in side_chain.iter_mut().zip(inputs) {
            *place = input;
        }
        self.effect.process(&mut effect::Block {
            main: &mut main[..width],
            side_chain: &side_chain[..listens],
            parameters,
            position,
            transport: Some(transport),
            offline,
        });
    }

    fn reset(&mut self) {
        self.effect.reset();
    }

    fn set_oversampling(&mut self, on: bool) {
        self.effect.set_oversampling(on);
    }
}
