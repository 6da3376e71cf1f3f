//! Send in the callbacks: audio and notes pass through untouched, and into the stream.

use std::sync::Arc;

use audiocloud_engine::rt::callback::Callback;
use audiocloud_engine::rt::hand_off::Taker;
use audiocloud_instance::events;
use audiocloud_instance::guard::Guard;
use audiocloud_instance::guarded::{Notes, Part};
use audiocloud_instance::layouts;
use audiocloud_instance::time::{Epochs, Setup};
use nice_plug::prelude::*;

use crate::editor::{self, SendEditor};
use crate::params::SendParams;
use crate::shared::{Live, Shared};

/// The part of Send that is its own; see [`crate::Send`].
#[derive(Debug)]
pub struct SendPart {
    params: Arc<SendParams>,
    shared: Arc<Shared>,
    /// What the callbacks write into; `None` while inactive.
    live: Option<Taker<Live>>,
    epochs: Epochs,
    /// Whether the present epoch has had a block.
    begun: bool,
}

impl Part for SendPart {
    const NAME: &'static str = "audiocloud Send";
    const DESCRIPTION: &'static str = "Publishes this track as a stream that other studios can play";
    const CLAP_ID: &'static str = "org.audiocloud.send";
    const VST3_ID: [u8; 16] = *b"audiocloudSend01";
    const CLAP_FEATURES: &'static [ClapFeature] =
        &[ClapFeature::AudioEffect, ClapFeature::NoteEffect, ClapFeature::Utility];
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] =
        &[Vst3SubCategory::Fx, Vst3SubCategory::Tools, Vst3SubCategory::Network];
    const LAYOUTS: &'static [AudioIOLayout] = layouts::THROUGH;

    type Params = SendParams;
    type Editor = SendEditor;

    fn new(params: &Arc<SendParams>, guard: &Guard) -> Self {
        let shared = Shared::new(params, guard);
        Self { params: params.clone(), shared, live: None, epochs: Epochs::default(), begun: false }
    }

    fn editor(&mut self) -> Option<SendEditor> {
        let (model, act) = (self.shared.clone(), self.shared.clone());
        editor::create(
            self.params.clone(),
            self.shared.guard(),
            move || model.model(),
            move |action| act.act(action),
        )
    }

    fn activate(&mut self, setup: &Setup) {
        self.live = Some(self.shared.activate(setup));
        self.begun = false;
    }

    /// After a pause, a jump or a suspension the stream is a new one to whoever plays it: a new epoch.
    fn reset(&mut self, _callback: &Callback<'_>) {
        if !std::mem::take(&mut self.begun) {
            return;
        }
        if let Some(live) = self.live.as_mut().and_then(Taker::current) {
            live.tap.restart(self.epochs.draw());
        }
    }

    fn process(
        &mut self,
        callback: &Callback<'_>,
        main: &mut Buffer<'_>,
        _aux: &mut AuxiliaryBuffers<'_>,
        notes: &mut impl Notes,
    ) {
        let mut live = self.live.as_mut().and_then(|taker| {
            taker.exchange(|_| ());
            taker.current()
        });
        let transmit = self.params.transmit.value();
        while let Some(event) = notes.next_event() {
            if let (true, Some(live), Some(body)) = (transmit, live.as_mut(), events::from_host(&event)) {
                live.tap.event(callback, event.timing(), body);
            }
            notes.try_send(event);
        }
        let Some(live) = live else { return };
        if transmit {
            live.listener.hear(main.as_slice_immutable());
            live.tap.process(callback, main.as_slice_immutable(), None);
        } else {
            live.tap.pause(callback, main.samples());
        }
        self.begun = true;
    }

    fn after_panic(_main: &mut Buffer<'_>, _aux: &mut AuxiliaryBuffers<'_>, notes: &mut impl Notes) {
        while let Some(event) = notes.next_event() {
            notes.try_send(event);
        }
    }

    fn deactivate(&mut self) {
        self.shared.deactivate();
        self.live = None;
    }
}

impl Drop for SendPart {
    fn drop(&mut self) {
        // The window and the runtime may hold on to `shared` for longer than the host lets us live.
        self.shared.shut_down();
    }
}
