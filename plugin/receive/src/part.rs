//! Receive in the callbacks: through the graph, the streams beside the track's own input, or in its place.

use std::sync::Arc;

use audiocloud_engine::graph::nodes::Gain;
use audiocloud_engine::rt::callback::Callback;
use audiocloud_instance::editor::window;
use audiocloud_instance::engine::{self, Audio};
use audiocloud_instance::guard::Guard;
use audiocloud_instance::guarded::{Notes, Part};
use audiocloud_instance::time::Setup;
use audiocloud_instance::{layouts, params};
use nice_plug::prelude::*;

use crate::editor::ReceiveEditor;
use crate::graph::{Buses, graph};
use crate::merge::{Held, Merge};
use crate::mixer::Mixer;
use crate::params::{Mode, ReceiveParams};
use crate::shared::Shared;

/// The part of Receive that is its own; see [`crate::Receive`]. With or without outputs for streams by
/// themselves.
#[derive(Debug)]
pub struct ReceivePart<const STREAM_OUTPUT: bool = true> {
    params: Arc<ReceiveParams>,
    shared: Arc<Shared>,
    /// What was sized at activation; `None` while inactive.
    active: Option<Active>,
}

#[derive(Debug)]
struct Active {
    audio: Audio,
    mixer: Mixer,
    held: Held,
}

impl<const STREAM_OUTPUT: bool> Part for ReceivePart<STREAM_OUTPUT> {
    const NAME: &'static str = "audiocloud Receive";
    const DESCRIPTION: &'static str = "Plays the streams that others publish";
    const CLAP_ID: &'static str = "org.audiocloud.receive";
    const VST3_ID: [u8; 16] = *b"audiocloudRecv01";
    const CLAP_FEATURES: &'static [ClapFeature] =
        &[ClapFeature::AudioEffect, ClapFeature::NoteEffect, ClapFeature::Utility];
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] =
        &[Vst3SubCategory::Fx, Vst3SubCategory::Tools, Vst3SubCategory::Network];
    const LAYOUTS: &'static [AudioIOLayout] =
        if STREAM_OUTPUT { layouts::THROUGH_AND_STREAMS } else { layouts::THROUGH };

    type Params = ReceiveParams;
    type Editor = ReceiveEditor;

    fn new(params: &Arc<ReceiveParams>, guard: &Guard) -> Self {
        Self { params: params.clone(), shared: Shared::new(params, guard, STREAM_OUTPUT), active: None }
    }

    fn editor(&mut self) -> Option<ReceiveEditor> {
        let (model, act) = (self.shared.clone(), self.shared.clone());
        window::create(
            self.params.clone(),
            self.shared.guard(),
            move || model.model(),
            move |action| act.act(action),
        )
    }

    fn activate(&mut self, setup: &Setup) {
        let outputs = if STREAM_OUTPUT { 2 } else { 1 };
        let (graph, gains) = graph(setup.channels, outputs).expect("buses and gains of one width");
        let (control, audio) = engine::play(&graph, setup, &gains.map(|gain| (gain, Gain::GAIN)));
        let mixer = self.shared.activate(setup, control);
        self.active = Some(Active { audio, mixer, held: Held::default() });
    }

    /// The level jumps to where it is set. The stream itself goes on: it belongs to the other side.
    fn reset(&mut self, callback: &Callback<'_>) {
        if let Some(active) = &mut self.active {
            active.audio.reset(callback);
        }
    }

    fn process(
        &mut self,
        callback: &Callback<'_>,
        main: &mut Buffer<'_>,
        aux: &mut AuxiliaryBuffers<'_>,
        notes: &mut impl Notes,
    ) {
        let Some(active) = &mut self.active else { return Self::after_panic(main, aux, notes) };
        let (level, mode) = (params::gain(self.params.level.value()), self.params.mode.value());
        let input = if mode == Mode::Mix { 1.0 } else { 0.0 };
        let Active { audio, mixer, held } = active;
        let mut merge = Merge::new(notes, held, mode == Mode::Mix);
        // The mix by itself comes first, where there is more than the main output.
        let (mut stream_only, own) = match aux.outputs.split_first_mut() {
            Some((first, rest)) => (Some(first), rest),
            None => (None, &mut [][..]),
        };
        for piece in mixer.pieces(main.samples()) {
            mixer.play(callback, &piece, &self.params, own, &mut merge);
            let (main, stream_only) = (main.as_slice(), stream_only.as_deref_mut());
            let mut buses = Buses { main, stream_only, stream: mixer.mix(), from: piece.start };
            audio.process(callback, piece.len(), &[level, input], &mut buses);
        }
        merge.rest();
    }

    fn latency_frames(&self) -> u32 {
        self.shared.latency_frames()
    }

    /// Silence; the stream's notes were let go by whoever plays them on.
    fn after_panic(main: &mut Buffer<'_>, aux: &mut AuxiliaryBuffers<'_>, notes: &mut impl Notes) {
        let silence =
            |buffer: &mut Buffer<'_>| buffer.as_slice().iter_mut().for_each(|channel| channel.fill(0.0));
        silence(main);
        aux.outputs.iter_mut().for_each(silence);
        while let Some(event) = notes.next_event() {
            notes.try_send(event);
        }
    }

    fn deactivate(&mut self) {
        self.shared.deactivate();
        self.active = None;
    }
}

impl<const STREAM_OUTPUT: bool> Drop for ReceivePart<STREAM_OUTPUT> {
    fn drop(&mut self) {
        // The window and the runtime may hold on to `shared` for longer than the host lets us live.
        self.shared.shut_down();
    }
}
