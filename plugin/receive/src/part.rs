//! Receive in the callbacks.

use std::sync::Arc;

use audiocloud_engine::rt::callback::Callback;
use audiocloud_instance::guard::Guard;
use audiocloud_instance::guarded::{Notes, Part};
use audiocloud_instance::layouts;
use audiocloud_instance::time::Setup;
use nice_plug::prelude::*;

use crate::params::ReceiveParams;

/// The part of Receive that is its own; see [`crate::Receive`].
#[derive(Debug)]
pub struct ReceivePart {}

impl Part for ReceivePart {
    const NAME: &'static str = "audiocloud Receive";
    const DESCRIPTION: &'static str = "Plays a stream that another studio publishes";
    const CLAP_ID: &'static str = "org.audiocloud.receive";
    const VST3_ID: [u8; 16] = *b"audiocloudRecv01";
    const CLAP_FEATURES: &'static [ClapFeature] =
        &[ClapFeature::AudioEffect, ClapFeature::NoteEffect, ClapFeature::Utility];
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] =
        &[Vst3SubCategory::Fx, Vst3SubCategory::Tools, Vst3SubCategory::Network];
    const LAYOUTS: &'static [AudioIOLayout] = layouts::THROUGH_AND_STREAM;

    type Params = ReceiveParams;
    type Editor = ();

    fn new(_params: &Arc<ReceiveParams>, _guard: &Guard) -> Self {
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
