//! A second plug-in that hears what the first one plays, in the same callback: a track's insert after another.

use clack_host::prelude::*;

use crate::{engine::Engine, plugin::Host};

/// The most channels that go from the first to the second.
const CHANNELS_MAX: usize = 8;

/// The second plug-in's side of a run.
pub(crate) struct Tail {
    pub(crate) engine: Engine,
    stopped: Option<StoppedPluginAudioProcessor<Host>>,
    started: Option<StartedPluginAudioProcessor<Host>>,
}

impl Tail {
    pub(crate) fn new(engine: Engine, processor: StoppedPluginAudioProcessor<Host>) -> Self {
        Self { engine, stopped: Some(processor), started: None }
    }

    /// One call with the first plug-in's main output.
    pub(crate) fn call(&mut self, frames: u32, first: &[Vec<f32>]) {
        if let Some(stopped) = self.stopped.take() {
            // A refusal leaves neither state: the run ends with an error.
            self.started = stopped.start_processing().ok();
        }
        let Some(processor) = &mut self.started else { return };
        let mut input: [&[f32]; CHANNELS_MAX] = [&[]; CHANNELS_MAX];
        let width = first.len().min(CHANNELS_MAX);
        for (samples, channel) in input.iter_mut().zip(first) {
            *samples = channel;
        }
        self.engine.call(processor, frames, Some(&input[..width]));
    }

    /// Stops the plug-in and gives everything back; no processor where it refused to start.
    pub(crate) fn stop(self) -> (Engine, Option<StoppedPluginAudioProcessor<Host>>) {
        let started = self.started.map(StartedPluginAudioProcessor::stop_processing);
        (self.engine, started.or(self.stopped))
    }
}
