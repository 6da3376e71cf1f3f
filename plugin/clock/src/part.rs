//! Clock in the callbacks: the track passes through; clicks are added where they are wanted, and what the host's transport
//! does is written down.

use std::sync::Arc;

use audiocloud_engine::rt::callback::Callback;
use audiocloud_engine::rt::hand_off::{Borrower, Taker};
use audiocloud_engine::rt::snapshot::Writer;
use audiocloud_engine::units::{Nanos, SampleRate};
use audiocloud_instance::editor::window;
use audiocloud_instance::guard::Guard;
use audiocloud_instance::guarded::{Notes, Part};
use audiocloud_instance::time::Setup;
use audiocloud_instance::{layouts, params};
use nice_plug::prelude::*;

use crate::editor::ClockEditor;
use crate::frame_times::FrameTimes;
use crate::metronome::Metronome;
use crate::observation::Observation;
use crate::params::ClockParams;
use crate::shared::{Heard, Shared};
use crate::worker::Live;

/// The part of Clock that is its own; see [`crate::Clock`].
#[derive(Debug)]
pub struct ClockPart {
    params: Arc<ClockParams>,
    shared: Arc<Shared>,
    /// What was sized at activation; `None` while inactive or offline: a render has no time to share.
    active: Option<Active>,
}

/// The callbacks' own.
#[derive(Debug)]
pub(crate) struct Active {
    times: FrameTimes,
    metronome: Metronome,
    live: Taker<Live>,
    seen: Borrower<Observation>,
    heard: Writer<Heard>,
    /// Callbacks that nobody could take in.
    unseen: u64,
}

impl Active {
    pub(crate) fn new(
        sample_rate: SampleRate,
        live: Taker<Live>,
        seen: Borrower<Observation>,
        heard: Writer<Heard>,
    ) -> Self {
        let (times, metronome) = (FrameTimes::new(sample_rate), Metronome::new(sample_rate));
        Self { times, metronome, live, seen, heard, unseen: 0 }
    }

    fn observe(&mut self, host: &impl Notes) {
        let observation = Observation {
            heard: self.times.heard_at(0.0),
            position: self.times.position(),
            speed: self.times.speed(),
            transport: host.transport(),
        };
        match self.seen.take() {
            Some(mut place) => {
                *place = observation;
                self.seen.send_home(place);
            }
            None => self.unseen += 1,
        }
        let Observation { heard, position, speed, .. } = observation;
        let (clicks, leaps, unseen) = (self.metronome.clicks(), self.times.leaps(), self.unseen);
        self.heard.write(Heard { first_frame: heard, position, speed, clicks, leaps, unseen });
    }

    fn click(&mut self, gain: f32, main: &mut Buffer<'_>) {
        let Some(live) = self.live.current() else { return };
        let Some(line) = live.line.read() else { return self.metronome.reset() };
        self.metronome.play(&self.times, &line, &live.map, gain, main.as_slice());
    }
}

impl Part for ClockPart {
    const NAME: &'static str = "audiocloud Clock";
    const DESCRIPTION: &'static str = "One tempo, bar and beat for every studio of a session";
    const CLAP_ID: &'static str = "org.audiocloud.clock";
    const VST3_ID: [u8; 16] = *b"audiocloudClok01";
    const CLAP_FEATURES: &'static [ClapFeature] =
        &[ClapFeature::AudioEffect, ClapFeature::NoteEffect, ClapFeature::Utility];
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] =
        &[Vst3SubCategory::Fx, Vst3SubCategory::Tools, Vst3SubCategory::Network];
    const LAYOUTS: &'static [AudioIOLayout] = layouts::THROUGH;

    type Params = ClockParams;
    type Editor = ClockEditor;

    fn new(params: &Arc<ClockParams>, guard: &Guard) -> Self {
        Self { params: params.clone(), shared: Shared::new(params, guard), active: None }
    }

    fn editor(&mut self) -> Option<ClockEditor> {
        let (model, act) = (self.shared.clone(), self.shared.clone());
        window::create(
            self.params.clone(),
            self.shared.guard(),
            move || model.model(),
            move |action| act.act(action),
        )
    }

    fn activate(&mut self, setup: &Setup) {
        self.active = self.shared.activate(setup);
    }

    /// A jump of the host: what sounds of a click is let go. The session's time goes on.
    fn reset(&mut self, _callback: &Callback<'_>) {
        if let Some(active) = &mut self.active {
            active.metronome.reset();
        }
    }

    fn process(
        &mut self,
        callback: &Callback<'_>,
        main: &mut Buffer<'_>,
        aux: &mut AuxiliaryBuffers<'_>,
        notes: &mut impl Notes,
    ) {
        Self::after_panic(main, aux, notes);
        let Some(active) = &mut self.active else { return };
        active.live.exchange(|_| ());
        let frames = u32::try_from(main.samples()).unwrap_or(u32::MAX);
        active.times.begin(callback.entered_at(), frames, output_delay(&self.params));
        active.observe(notes);
        if self.params.metronome.value() {
            active.click(params::gain(self.params.level.value()), main);
        }
    }

    /// The track and its notes pass through.
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

fn output_delay(params: &ClockParams) -> Nanos {
    #[allow(clippy::cast_possible_truncation, reason = "at most 200 ms, and a cast saturates")]
    let nanos = (f64::from(params.output_delay.value()) * 1e6).round() as i64;
    Nanos::new(nanos)
}

impl Drop for ClockPart {
    fn drop(&mut self) {
        // The window and the runtime may hold on to `shared` for longer than the host lets us live.
        self.shared.shut_down();
    }
}
