//! Send in the callbacks: audio and notes pass through untouched, and through the graph into the stream.

use std::sync::Arc;

use audiocloud_engine::graph::graph::{Graph, GraphError};
use audiocloud_engine::graph::renderer::Ports;
use audiocloud_engine::rt::callback::Callback;
use audiocloud_engine::rt::hand_off::Taker;
use audiocloud_instance::editor::window;
use audiocloud_instance::engine::{self, Audio};
use audiocloud_instance::guard::Guard;
use audiocloud_instance::guarded::{Notes, Part};
use audiocloud_instance::scratch::Scratch;
use audiocloud_instance::time::{Epochs, Setup};
use audiocloud_instance::{events, layouts};
use nice_plug::prelude::*;

use crate::editor::SendEditor;
use crate::params::SendParams;
use crate::shared::{Live, Shared};

/// The part of Send that is its own; see [`crate::Send`]. With or without the widest layout.
#[derive(Debug)]
pub struct SendPart<const WIDE: bool = true> {
    params: Arc<SendParams>,
    shared: Arc<Shared>,
    /// What was sized at activation; `None` while inactive.
    active: Option<Active>,
    epochs: Epochs,
    /// Whether the present epoch has had a block.
    begun: bool,
}

#[derive(Debug)]
struct Active {
    live: Taker<Live>,
    audio: Audio,
    /// What the graph makes of the track, for the tap.
    stream: Scratch,
}

/// What goes into the stream, and nothing else: the track itself is not the graph's to touch.
fn graph(channels: u16) -> Result<Graph, GraphError> {
    let mut graph = Graph::new(&[channels], &[channels])?;
    graph.connect_audio((graph.input(), 0), (graph.output(), 0))?;
    Ok(graph)
}

/// The track into the graph, the stream out of it.
struct Buses<'a, 'b, 'c> {
    track: &'a [&'b mut [f32]],
    /// The piece's first frame in the host's block.
    from: usize,
    stream: &'a mut [&'c mut [f32]],
}

impl Ports for Buses<'_, '_, '_> {
    fn read(&mut self, _bus: usize, channel: usize, from: usize, samples: &mut [f32]) {
        engine::read(self.track, channel, self.from + from, samples);
    }

    fn write(&mut self, _bus: usize, channel: usize, from: usize, samples: &[f32]) {
        engine::write(self.stream, channel, from, samples);
    }
}

impl<const WIDE: bool> Part for SendPart<WIDE> {
    const NAME: &'static str = "audiocloud Send";
    const DESCRIPTION: &'static str = "Publishes this track as a stream that other studios can play";
    const CLAP_ID: &'static str = "org.audiocloud.send";
    const VST3_ID: [u8; 16] = *b"audiocloudSend01";
    const CLAP_FEATURES: &'static [ClapFeature] =
        &[ClapFeature::AudioEffect, ClapFeature::NoteEffect, ClapFeature::Utility];
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] =
        &[Vst3SubCategory::Fx, Vst3SubCategory::Tools, Vst3SubCategory::Network];
    const LAYOUTS: &'static [AudioIOLayout] = if WIDE { layouts::THROUGH_WIDE } else { layouts::THROUGH };

    type Params = SendParams;
    type Editor = SendEditor;

    fn new(params: &Arc<SendParams>, guard: &Guard) -> Self {
        let shared = Shared::new(params, guard);
        Self { params: params.clone(), shared, active: None, epochs: Epochs::default(), begun: false }
    }

    fn editor(&mut self) -> Option<SendEditor> {
        let (model, act) = (self.shared.clone(), self.shared.clone());
        window::create(
            self.params.clone(),
            self.shared.guard(),
            move || model.model(),
            move |action| act.act(action),
        )
    }

    fn activate(&mut self, setup: &Setup) {
        let graph = graph(setup.channels).expect("a wire from bus to bus, one as wide as the other");
        let (control, audio) = engine::play(&graph, setup, &[]);
        let (live, stream) = (self.shared.activate(setup, control), Scratch::new(setup));
        self.active = Some(Active { live, audio, stream });
        self.begun = false;
    }

    /// After a pause, a jump or a suspension the stream is a new one to whoever plays it: a new epoch.
    fn reset(&mut self, callback: &Callback<'_>) {
        let (begun, Some(active)) = (std::mem::take(&mut self.begun), &mut self.active) else { return };
        active.audio.reset(callback);
        if let (true, Some(live)) = (begun, active.live.current()) {
            live.tap.restart(self.epochs.draw());
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
        active.live.exchange(|_| ());
        let mut live = active.live.current();
        let transmit = self.params.transmit.value();
        while let Some(event) = notes.next_event() {
            if let (true, Some(live), Some(body)) = (transmit, live.as_mut(), events::from_host(&event)) {
                live.tap.event(callback, event.timing(), body);
            }
            notes.try_send(event);
        }
        let Some(live) = live else { return };
        self.begun = true;
        if !transmit {
            return live.tap.pause(callback, main.samples());
        }
        let line = live.line.read();
        for piece in active.stream.pieces(main.samples()) {
            active.stream.write(piece.len(), |stream| {
                let mut buses = Buses { track: main.as_slice_immutable(), from: piece.start, stream };
                active.audio.process(callback, piece.len(), &[], &mut buses);
                live.listener.hear(stream);
                live.tap.process(callback, stream, line);
            });
        }
    }

    fn after_panic(_main: &mut Buffer<'_>, _aux: &mut AuxiliaryBuffers<'_>, notes: &mut impl Notes) {
        while let Some(event) = notes.next_event() {
            notes.try_send(event);
        }
    }

    fn deactivate(&mut self) {
        self.shared.deactivate();
        self.active = None;
    }
}

impl<const WIDE: bool> Drop for SendPart<WIDE> {
    fn drop(&mut self) {
        // The window and the runtime may hold on to `shared` for longer than the host lets us live.
        self.shared.shut_down();
    }
}
