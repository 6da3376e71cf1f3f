//! Nodes that the chain itself needs: where branches join, where stereo becomes mono, and where an effect is missing.

use audiocloud_dsp::level::gain_from_db;
use audiocloud_dsp::ramp::Curve;
use audiocloud_graph::node::{
    Activation, Behaviour, Block, GRID, Kernel, Layout, Node, Parameter, Processor, Smoothing,
};

use crate::document::{BRANCHES_MAX, LEVEL_DB_MAX, LEVEL_DB_MIN, LEVELS};

/// The factor of a branch's level; silence at the lowest one.
///
/// *Realtime-safe: yes*.
pub(crate) fn gain(level_db: f32) -> f32 {
    if level_db <= LEVEL_DB_MIN { 0.0 } else { gain_from_db(level_db.min(LEVEL_DB_MAX)) }
}

/// Sums branches, each times its gain, in the order of its ports: the graph's own sums depend on when a connection was
/// made, and a document has no such past. It has ports for all branches that there may ever be, so that it stays when
/// one is added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    pub(crate) channels: u16,
}

/// What a parallel's node is called.
pub(crate) const PARALLEL: &str = "parallel";

impl Node for Mix {
    fn kind(&self) -> &'static str {
        PARALLEL
    }

    fn layout(&self) -> Layout {
        Layout {
            inputs: vec![self.channels; BRANCHES_MAX],
            outputs: vec![self.channels],
            ..Layout::default()
        }
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour { stateless: true, ..Behaviour::default() }
    }

    /// The branches' gains, as factors.
    fn parameters(&self) -> Vec<Parameter> {
        let smoothing = Smoothing::Glide { ms: 20.0, curve: Curve::Linear };
        let range = (0.0, gain(LEVEL_DB_MAX));
        let gain = |id| Parameter { id, name: "Gain", unit: "", range, default: 1.0, smoothing };
        LEVELS.iter().map(|level| gain(level.id)).collect()
    }

    fn kernel(&self, _activation: &Activation) -> Kernel {
        Kernel::Processor(Box::new(MixProcessor { channels: usize::from(self.channels) }))
    }
}

#[derive(Debug)]
struct MixProcessor {
    channels: usize,
}

impl Processor for MixProcessor {
    fn process(&mut self, block: &mut Block<'_>) {
        let frames = block.frames();
        for channel in 0..self.channels {
            block.output(channel).fill(0.0);
        }
        for branch in 0..BRANCHES_MAX {
            let ramp = block.parameter(branch);
            if ramp.is_resting() && ramp.value() == 0.0 {
                continue;
            }
            let mut gains = [0.0; GRID];
            let gains = &mut gains[..frames];
            ramp.fill(gains);
            for channel in 0..self.channels {
                let (input, sum) = block.input_and_output(branch * self.channels + channel, channel);
                for ((sum, sample), gain) in sum.iter_mut().zip(input).zip(&*gains) {
                    *sum += gain * sample;
                }
            }
        }
    }
}

/// The mean of two channels, for a stereo input of a mono chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fold;

impl Node for Fold {
    fn kind(&self) -> &'static str {
        "fold"
    }

    fn layout(&self) -> Layout {
        Layout { inputs: vec![2], outputs: vec![1], ..Layout::default() }
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour { stateless: true, ..Behaviour::default() }
    }

    fn kernel(&self, _activation: &Activation) -> Kernel {
        Kernel::Processor(Box::new(FoldProcessor))
    }
}

#[derive(Debug)]
struct FoldProcessor;

impl Processor for FoldProcessor {
    fn process(&mut self, block: &mut Block<'_>) {
        for channel in 0..2 {
            let (input, output) = block.input_and_output(channel, 0);
            for (output, sample) in output.iter_mut().zip(input) {
                *output = if channel == 0 { 0.5 * sample } else { *output + 0.5 * sample };
            }
        }
    }
}

/// What an effect is where it cannot be had: what comes in goes out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    pub(crate) channels: u16,
}

impl Node for Pass {
    fn kind(&self) -> &'static str {
        "pass"
    }

    fn layout(&self) -> Layout {
        Layout::effect(self.channels)
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour { in_place: true, stateless: true, ..Behaviour::default() }
    }

    fn kernel(&self, _activation: &Activation) -> Kernel {
        Kernel::Processor(Box::new(PassProcessor))
    }
}

#[derive(Debug)]
struct PassProcessor;

impl Processor for PassProcessor {
    fn process(&mut self, _block: &mut Block<'_>) {}
}
