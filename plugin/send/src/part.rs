//! Send in the callbacks: audio and notes pass through untouched.

use std::sync::Arc;

use audiocloud_engine::rt::callback::Callback;
use audiocloud_instance::guard::Guard;
use audiocloud_instance::guarded::{Notes, Part};
use audiocloud_instance::layouts;
use audiocloud_instance::time::Setup;
use nice_plug::prelude::*;

use crate::params::SendParams;

/// The part of Send that is its own; see [`crate::Send`].
#[derive(Debug)]
pub struct SendPart {}

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
    type Editor = ();

    fn new(_params: &Arc<SendParams>, _guard: &Guard) -> Self {
        Self {}
    }

    fn editor(&mut self) -> Option<()> {
        None
    }

    fn activate(&mut self, _setup: &Setup) {}

    fn reset(&mut self, _callback: &Callback<'_>) {}

    fn process(
        &mut self,
        _callback: &Callback<'_>,
        _main: &mut Buffer<'_>,
        _aux: &mut AuxiliaryBuffers<'_>,
        notes: &mut impl Notes,
    ) {
        while let Some(event) = notes.next_event() {
            notes.try_send(event);
        }
    }

    fn after_panic(_main: &mut Buffer<'_>, _aux: &mut AuxiliaryBuffers<'_>, notes: &mut impl Notes) {
        while let Some(event) = notes.next_event() {
            notes.try_send(event);
        }
    }

    fn deactivate(&mut self) {}
}
