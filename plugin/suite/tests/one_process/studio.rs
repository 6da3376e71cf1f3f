//! Plug-ins driven as nice-plug drives them, several in one process, paced in real time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use audiocloud_instance::guarded::{Guarded, Part};
use nice_plug::context::process::SendEventError;
use nice_plug::prelude::*;

pub(crate) const BLOCK: usize = 128;
pub(crate) const RATE: f32 = 48_000.0;

/// One plug-in with stereo buffers.
pub(crate) struct Rack<P: Part> {
    plugin: Guarded<P>,
    params: std::sync::Arc<dyn Params>,
    pub(crate) main: [Vec<f32>; 2],
    pub(crate) aux: [Vec<f32>; 2],
    /// The outputs after that one.
    pub(crate) own: Vec<[Vec<f32>; 2]>,
    pub(crate) notes_in: VecDeque<NoteEvent<()>>,
    pub(crate) notes_out: Vec<NoteEvent<()>>,
    active: bool,
}

impl<P: Part> Rack<P> {
    /// Made, given its state, and activated.
    pub(crate) fn new(state: &str, mode: ProcessMode) -> Self {
        let plugin = Guarded::<P>::default();
        let params = plugin.params();
        let silence = || [vec![0.0; BLOCK], vec![0.0; BLOCK]];
        let (main, aux) = (silence(), silence());
        let own = P::LAYOUTS[0].aux_output_ports.iter().skip(1).map(|_| silence()).collect();
        let mut rack = Self {
            plugin,
            params,
            main,
            aux,
            own,
            notes_in: VecDeque::new(),
            notes_out: Vec::new(),
            active: false,
        };
        rack.load(state);
        rack.activate(mode);
        rack
    }

    pub(crate) fn load(&mut self, state: &str) {
        self.params.deserialize_fields(&[("stream".to_owned(), state.to_owned())].into());
    }

    /// Sets a parameter by its id, as a host does before the plug-in is activated.
    pub(crate) fn set(&mut self, id: &str, plain: f32) {
        let map = self.params.param_map();
        let (_, pointer, _) = map.iter().find(|(known, ..)| known == id).unwrap();
        set_plain(*pointer, plain);
    }

    pub(crate) fn save(&self) -> String {
        self.params.serialize_fields()["stream"].clone()
    }

    pub(crate) fn activate(&mut self, mode: ProcessMode) {
        let config = BufferConfig {
            sample_rate: RATE,
            min_buffer_size: None,
            max_buffer_size: u32::try_from(BLOCK).unwrap(),
            process_mode: mode,
        };
        self.active = self.plugin.activate(&P::LAYOUTS[0], &config, &mut Context::<P>::default());
        assert!(self.active);
        self.plugin.reset();
    }

    pub(crate) fn deactivate(&mut self) {
        self.plugin.deactivate();
        self.active = false;
    }

    /// One block: `main` is input and output.
    pub(crate) fn process(&mut self) {
        assert!(self.active);
        let mut context = Context::<P> {
            notes_in: std::mem::take(&mut self.notes_in),
            notes_out: Vec::new(),
            transport: Some(Transport::new(RATE)),
            plugin: std::marker::PhantomData,
        };
        let mut main = Buffer::default();
        fill(&mut main, &mut self.main);
        let outputs = std::iter::once(&mut self.aux).chain(&mut self.own);
        let mut outputs: Vec<Buffer<'_>> = outputs
            .take(P::LAYOUTS[0].aux_output_ports.len())
            .map(|channels| {
                let mut buffer = Buffer::default();
                fill(&mut buffer, channels);
                buffer
            })
            .collect();
        let mut aux = AuxiliaryBuffers { inputs: &mut [], outputs: &mut outputs };
        let status = self.plugin.process(&mut main, &mut aux, &mut context);
        assert_eq!(status, ProcessStatus::KeepAlive);
        self.notes_out.append(&mut context.notes_out);
    }
}

#[allow(unsafe_code, reason = "nice-plug's buffers can be filled in no other way")]
fn fill<'a>(buffer: &mut Buffer<'a>, channels: &'a mut [Vec<f32>; 2]) {
    let [left, right] = channels;
    // SAFETY: both slices are `BLOCK` frames long, and are borrowed for as long as the buffer lives.
    unsafe { buffer.set_slices(BLOCK, |slices| *slices = vec![&mut left[..], &mut right[..]]) };
}

#[allow(unsafe_code, reason = "nice-plug's parameters are set through pointers")]
fn set_plain(parameter: ParamPtr, plain: f32) {
    // SAFETY: the pointer came from the parameters of a plug-in that is alive.
    let normalised = unsafe { parameter.preview_normalized(plain) };
    // SAFETY: as above.
    unsafe { parameter._internal_set_normalized_value(normalised) };
}

/// The host's side of nice-plug.
struct Context<P> {
    notes_in: VecDeque<NoteEvent<()>>,
    notes_out: Vec<NoteEvent<()>>,
    transport: Option<Transport>,
    plugin: std::marker::PhantomData<P>,
}

impl<P> Default for Context<P> {
    fn default() -> Self {
        Self {
            notes_in: VecDeque::new(),
            notes_out: Vec::new(),
            transport: None,
            plugin: std::marker::PhantomData,
        }
    }
}

impl<P: Part> ActivateContext<Guarded<P>> for Context<P> {
    fn plugin_api(&self) -> PluginApi {
        PluginApi::Clap
    }
    fn execute(&self, _task: ()) {}
    fn set_latency_samples(&self, _samples: u32) {}
    fn set_current_voice_capacity(&self, _capacity: u32) {}
}

impl<P: Part> ProcessContext<Guarded<P>> for Context<P> {
    fn plugin_api(&self) -> PluginApi {
        PluginApi::Clap
    }
    fn execute_background(&self, _task: ()) {}
    fn execute_gui(&self, _task: ()) {}
    fn transport(&self) -> &Transport {
        self.transport.as_ref().unwrap()
    }
    fn next_event(&mut self) -> Option<NoteEvent<()>> {
        self.notes_in.pop_front()
    }
    fn try_send_event(&mut self, event: NoteEvent<()>) -> Result<(), (NoteEvent<()>, SendEventError)> {
        self.notes_out.push(event);
        Ok(())
    }
    fn set_latency_samples(&self, _samples: u32) {}
    fn request_restart(&self) {}
    fn set_current_voice_capacity(&self, _capacity: u32) {}
}

/// Calls `block` once per block's length in real time, until it is done or the time is over.
pub(crate) fn paced(seconds: f64, mut block: impl FnMut(usize) -> bool) -> bool {
    let begin = Instant::now();
    let length = Duration::from_secs_f64(BLOCK as f64 / f64::from(RATE));
    for index in 0_u32.. {
        if begin.elapsed().as_secs_f64() > seconds {
            return false;
        }
        if block(usize::try_from(index).unwrap()) {
            return true;
        }
        // Pacing, not synchronisation: a late block is followed at once by the next.
        let due = begin + length * (index + 1);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    unreachable!()
}
