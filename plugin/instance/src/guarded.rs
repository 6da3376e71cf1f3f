//! A plug-in as nice-plug sees it, around a part as this house writes it: guarded, timed, and sized.

use std::sync::Arc;

use audiocloud_engine::rt::callback::{self, Callback};
use audiocloud_engine::units::SampleRate;
use nice_plug::prelude::*;

use crate::events::HostEvent;
use crate::guard::{Guard, Stage};
use crate::time::Setup;
use crate::transport::Transport;

/// The host during one callback: its note input and note output, and where its music is.
pub trait Notes {
    /// The next event of the host, in order of time.
    fn next_event(&mut self) -> Option<HostEvent>;
    /// Gives an event to the host; false when the host did not take it. Events go out in order of time.
    fn try_send(&mut self, event: HostEvent) -> bool;
    /// Its transport at the block's first frame; nothing known where it does not tell.
    fn transport(&self) -> Transport {
        Transport::default()
    }
}

/// What makes one plug-in different from the others. Every call comes through [`Guarded`].
pub trait Part: Sized + Send + 'static {
    const NAME: &'static str;
    const DESCRIPTION: &'static str;
    const CLAP_ID: &'static str;
    const VST3_ID: [u8; 16];
    const CLAP_FEATURES: &'static [ClapFeature];
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory];
    const LAYOUTS: &'static [AudioIOLayout];
    /// Whether a block is cut wherever a parameter changes, so that each change is seen at its frame.
    const SAMPLE_ACCURATE: bool = false;

    type Params: Params + Default;
    type Editor: Editor;

    /// Cheap, without sockets, files or threads: hosts make plug-ins only to look at them.
    fn new(params: &Arc<Self::Params>, guard: &Guard) -> Self;

    fn editor(&mut self) -> Option<Self::Editor>;

    /// Everything is sized and connected here. What fails is said in the status; the callbacks then do without it.
    fn activate(&mut self, setup: &Setup);

    /// A new beginning. *Realtime-safe: must be.*
    fn reset(&mut self, callback: &Callback<'_>);

    /// One block. *Realtime-safe: must be.*
    fn process(
        &mut self,
        callback: &Callback<'_>,
        main: &mut Buffer<'_>,
        aux: &mut AuxiliaryBuffers<'_>,
        notes: &mut impl Notes,
    );

    /// By how much the sound comes out later than it should, for a host that is to make up for it: asked after each block,
    /// and a change restarts the plug-in in most hosts. *Realtime-safe: must be.*
    fn latency_frames(&self) -> u32 {
        0
    }

    /// One block after a panic: dry or silent, whatever is left in the buffers. *Realtime-safe: must be.*
    fn after_panic(main: &mut Buffer<'_>, aux: &mut AuxiliaryBuffers<'_>, notes: &mut impl Notes);

    fn deactivate(&mut self);
}

/// A [`Part`] made into a plug-in.
pub struct Guarded<P: Part> {
    params: Arc<P::Params>,
    guard: Guard,
    /// `None` only if making it panicked.
    part: Option<P>,
}

impl<P: Part> std::fmt::Debug for Guarded<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct(P::NAME).field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl<P: Part> Default for Guarded<P> {
    fn default() -> Self {
        let guard = Guard::from_environment();
        let params = Arc::new(P::Params::default());
        let part = guard.run(Stage::Create, || P::new(&params, &guard));
        Self { params, guard, part }
    }
}

impl<P: Part> Guarded<P> {
    fn run<R>(&mut self, stage: Stage, body: impl FnOnce(&mut P) -> R) -> Option<R> {
        let part = self.part.as_mut()?;
        self.guard.run(stage, || body(part))
    }
}

impl<P: Part> Drop for Guarded<P> {
    fn drop(&mut self) {
        let part = self.part.take();
        self.guard.run(Stage::Destroy, || drop(part));
    }
}

/// Notes through nice-plug's context.
struct Through<'a, C, P> {
    context: &'a mut C,
    plugin: std::marker::PhantomData<P>,
}

impl<C: ProcessContext<Guarded<P>>, P: Part> Notes for Through<'_, C, P> {
    fn next_event(&mut self) -> Option<HostEvent> {
        self.context.next_event()
    }

    fn try_send(&mut self, event: HostEvent) -> bool {
        self.context.try_send_event(event).is_ok()
    }

    fn transport(&self) -> Transport {
        Transport::from_host(self.context.transport())
    }
}

impl<P: Part> Plugin for Guarded<P> {
    const NAME: &'static str = P::NAME;
    const VENDOR: &'static str = "audiocloud";
    const URL: &'static str = "https://audiocloud.org";
    const EMAIL: &'static str = "";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const AUDIO_IO_LAYOUTS: &'static [AudioIOLayout] = P::LAYOUTS;
    const SAMPLE_ACCURATE_AUTOMATION: bool = P::SAMPLE_ACCURATE;
    const MIDI_INPUT: MidiConfig = MidiConfig::Basic;
    const MIDI_OUTPUT: MidiConfig = MidiConfig::Basic;

    type Editor = P::Editor;
    type SysExMessage = ();
    type BackgroundTask = ();

    fn params(&self) -> Arc<dyn Params> {
        self.params.clone()
    }

    fn editor(&mut self, _executor: AsyncExecutor<Self>) -> Option<P::Editor> {
        self.run(Stage::Create, P::editor).flatten()
    }

    fn activate(
        &mut self,
        layout: &AudioIOLayout,
        config: &BufferConfig,
        context: &mut impl ActivateContext<Self>,
    ) -> bool {
        let Some(setup) = setup(layout, config) else { return false };
        // After a panic in here the plug-in is active all the same, and dry or silent: it can say so only when loaded.
        self.run(Stage::Activate, |part| part.activate(&setup));
        // Told at once where it is known from the project: later it would restart the plug-in.
        context.set_latency_samples(self.part.as_ref().map_or(0, P::latency_frames));
        true
    }

    fn reset(&mut self) {
        // nice-plug asks for the current thread's id when a parameter changes, which allocates on a thread's first
        // time: better here, before the first block, than in it.
        std::hint::black_box(std::thread::current().id());
        self.run(Stage::Reset, |part| callback::enter(|callback| part.reset(callback)));
    }

    fn process(
        &mut self,
        main: &mut Buffer,
        aux: &mut AuxiliaryBuffers,
        context: &mut impl ProcessContext<Self>,
    ) -> ProcessStatus {
        let mut notes = Through { context, plugin: std::marker::PhantomData };
        let processed = self.run(Stage::Process, |part| {
            callback::enter(|callback| part.process(callback, main, aux, &mut notes));
        });
        if processed.is_none() {
            P::after_panic(main, aux, &mut notes);
        }
        // Without a change this does nothing.
        context.set_latency_samples(self.part.as_ref().map_or(0, P::latency_frames));
        // A stream has no tail that would end: never let the host put us to sleep on silence.
        ProcessStatus::KeepAlive
    }

    fn deactivate(&mut self) {
        self.run(Stage::Deactivate, P::deactivate);
    }

    fn setup_logger() -> Option<bool> {
        crate::log::start();
        // False keeps nice-plug from putting its own hook on the host's panics.
        Some(false)
    }
}

impl<P: Part> ClapPlugin for Guarded<P> {
    const CLAP_ID: &'static str = P::CLAP_ID;
    const CLAP_DESCRIPTION: Option<&'static str> = Some(P::DESCRIPTION);
    const CLAP_MANUAL_URL: Option<&'static str> = None;
    const CLAP_SUPPORT_URL: Option<&'static str> = None;
    const CLAP_FEATURES: &'static [ClapFeature] = P::CLAP_FEATURES;
}

impl<P: Part> Vst3Plugin for Guarded<P> {
    const VST3_CLASS_ID: [u8; 16] = P::VST3_ID;
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] = P::VST3_SUBCATEGORIES;
}

/// The host's wishes in our units; `None` when they make no sense.
fn setup(layout: &AudioIOLayout, config: &BufferConfig) -> Option<Setup> {
    if !(1.0..=4_000_000.0).contains(&config.sample_rate) {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    let hz = config.sample_rate.round() as u32;
    Some(Setup {
        sample_rate: SampleRate::new(hz)?,
        channels: u16::try_from(layout.main_output_channels?.get()).ok()?,
        block_max: config.max_buffer_size.max(1),
        offline: config.process_mode == ProcessMode::Offline,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_wishes_are_refused() {
        let layout = |channels| AudioIOLayout {
            main_output_channels: NonZeroU32::new(channels),
            ..AudioIOLayout::const_default()
        };
        let config = |sample_rate| BufferConfig {
            sample_rate,
            min_buffer_size: None,
            max_buffer_size: 0,
            process_mode: ProcessMode::Offline,
        };
        let good = setup(&layout(2), &config(44_100.0)).unwrap();
        assert_eq!(
            (good.sample_rate.hz(), good.channels, good.block_max, good.offline),
            (44_100, 2, 1, true)
        );
        for rate in [0.0, -48_000.0, f32::NAN, f32::INFINITY] {
            assert!(setup(&layout(2), &config(rate)).is_none(), "{rate}");
        }
        assert!(setup(&layout(0), &config(48_000.0)).is_none());
    }
}
