//! Receive in the callbacks: through the graph, the stream beside the track's own input, or in its place.

use std::ops::Range;
use std::sync::Arc;

use audiocloud_engine::graph::nodes::Gain;
use audiocloud_engine::rt::callback::Callback;
use audiocloud_engine::rt::hand_off::Taker;
use audiocloud_instance::engine::{self, Audio};
use audiocloud_instance::guard::Guard;
use audiocloud_instance::guarded::{Notes, Part};
use audiocloud_instance::scratch::Scratch;
use audiocloud_instance::time::Setup;
use audiocloud_instance::{layouts, params};
use nice_plug::prelude::*;

use crate::editor::{self, ReceiveEditor};
use crate::graph::{Buses, graph};
use crate::merge::{Held, Merge};
use crate::params::{Mode, ReceiveParams};
use crate::shared::{Live, Shared};

/// The part of Receive that is its own; see [`crate::Receive`]. With or without an output for the stream by itself.
#[derive(Debug)]
pub struct ReceivePart<const STREAM_OUTPUT: bool = true> {
    params: Arc<ReceiveParams>,
    shared: Arc<Shared>,
    /// What was sized at activation; `None` while inactive.
    active: Option<Active>,
}

#[derive(Debug)]
struct Active {
    setup: Setup,
    live: Taker<Live>,
    /// The playout delay in force, ms.
    delay_ms: f32,
    audio: Audio,
    /// The stream, and the last block of the one before it.
    stream: Scratch,
    leaving: Scratch,
    held: Held,
}

impl<const STREAM_OUTPUT: bool> Part for ReceivePart<STREAM_OUTPUT> {
    const NAME: &'static str = "audiocloud Receive";
    const DESCRIPTION: &'static str = "Plays a stream that another studio publishes";
    const CLAP_ID: &'static str = "org.audiocloud.receive";
    const VST3_ID: [u8; 16] = *b"audiocloudRecv01";
    const CLAP_FEATURES: &'static [ClapFeature] =
        &[ClapFeature::AudioEffect, ClapFeature::NoteEffect, ClapFeature::Utility];
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] =
        &[Vst3SubCategory::Fx, Vst3SubCategory::Tools, Vst3SubCategory::Network];
    const LAYOUTS: &'static [AudioIOLayout] =
        if STREAM_OUTPUT { layouts::THROUGH_AND_STREAM } else { layouts::THROUGH };

    type Params = ReceiveParams;
    type Editor = ReceiveEditor;

    fn new(params: &Arc<ReceiveParams>, guard: &Guard) -> Self {
        Self { params: params.clone(), shared: Shared::new(params, guard), active: None }
    }

    fn editor(&mut self) -> Option<ReceiveEditor> {
        let (model, act) = (self.shared.clone(), self.shared.clone());
        editor::create(
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
        self.active = Some(Active {
            setup: *setup,
            live: self.shared.activate(setup, control),
            delay_ms: self.params.delay.value(),
            audio,
            stream: Scratch::new(setup),
            leaving: Scratch::new(setup),
            held: Held::default(),
        });
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
        active.set_delay(self.params.delay.value());
        let mut held = active.held;
        let mut merge = Merge::new(notes, &mut held, mode == Mode::Mix);
        active.take_over(callback, main.samples(), &mut merge);
        for piece in active.stream.pieces(main.samples()) {
            active.play(callback, &piece, &mut merge);
            let (main, aux, stream) = (main.as_slice(), &mut *aux.outputs, active.stream.channels());
            let mut buses = Buses { main, aux, stream, from: piece.start };
            active.audio.process(callback, piece.len(), &[level, input], &mut buses);
        }
        merge.rest();
        active.held = held;
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

impl Active {
    fn set_delay(&mut self, delay_ms: f32) {
        if delay_ms != self.delay_ms {
            self.delay_ms = delay_ms;
            if let Some(live) = self.live.current() {
                live.playout.set_playout_delay(self.setup.delay(delay_ms));
            }
        }
    }

    /// Another stream was picked: the old one fades out within this block and its notes end, the new one follows.
    fn take_over(&mut self, callback: &Callback<'_>, frames: usize, merge: &mut Merge<'_, impl Notes>) {
        let (leaving, frames) = (&mut self.leaving, frames.min(self.stream.frames()));
        leaving.clear();
        let changed = self.live.exchange(|old| {
            // Its events of this block would end at once: only its sound fades.
            leaving.write(frames, |slices| old.playout.process(callback, slices, |_, _| ()));
            old.playout.stop(callback, |offset, body| merge.stream_event(offset, &body));
        });
        if changed {
            leaving.fade_out(frames, self.setup.sample_rate.hz());
            if let Some(live) = self.live.current() {
                live.playout.set_playout_delay(self.setup.delay(self.delay_ms));
            }
        }
    }

    /// Fills the scratch with the stream's frames of this piece of the host's block.
    fn play(&mut self, callback: &Callback<'_>, piece: &Range<usize>, merge: &mut Merge<'_, impl Notes>) {
        let offset = u32::try_from(piece.start).unwrap_or(u32::MAX);
        match self.live.current() {
            Some(live) => self.stream.write(piece.len(), |slices| {
                live.playout.process(callback, slices, |at, body| {
                    merge.stream_event(offset.saturating_add(at), &body);
                });
                if let Some(player) = &mut live.player {
                    player.play(slices);
                }
            }),
            None => self.stream.clear(),
        }
        if piece.start == 0 {
            self.stream.add(&mut self.leaving);
        }
    }
}
