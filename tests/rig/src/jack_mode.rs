//! The same engine inside the process callback of a JACK client.
//!
//! libjack is found when a client is started, not when the rig is built or begins.

#![allow(unsafe_code, reason = "JACK is a C library")]

use std::{
    ffi::{CString, c_char, c_int, c_ulong, c_void},
    sync::atomic::Ordering,
};

use anyhow::{Context, Result, anyhow, ensure};
use clack_host::prelude::*;
use libloading::{Library, Symbol};

use crate::{engine::Engine, plugin::Host, run::Returned};

/// The most channels a client has.
const CHANNELS_MAX: usize = 8;
/// `JackNoStartServer`: only a server that runs already is used.
const NO_START_SERVER: c_int = 1;
const PORT_IS_INPUT: c_ulong = 1;
const PORT_IS_OUTPUT: c_ulong = 2;
const AUDIO_TYPE: &std::ffi::CStr = c"32 bit float mono audio";
const NAMES: [&str; 2] = ["libjack.so.0", "libjack.so"];

type ClientHandle = *mut c_void;
type PortHandle = *mut c_void;
type ProcessCallback = unsafe extern "C" fn(u32, *mut c_void) -> c_int;
type GetBuffer = unsafe extern "C" fn(PortHandle, u32) -> *mut c_void;

/// A running client.
pub(crate) struct Client {
    handle: ClientHandle,
    callback: *mut Callback,
    library: Library,
}

/// What JACK's thread has between `jack_activate` and `jack_deactivate`.
struct Callback {
    engine: Engine,
    stopped: Option<StoppedPluginAudioProcessor<Host>>,
    started: Option<StartedPluginAudioProcessor<Host>>,
    inputs: Vec<PortHandle>,
    outputs: Vec<PortHandle>,
    get_buffer: GetBuffer,
}

impl Client {
    /// Starts a client called `name` on a server that runs already, at `sample_rate` and at most `block_max` frames.
    pub(crate) fn start(
        name: &str,
        engine: Engine,
        processor: StoppedPluginAudioProcessor<Host>,
        sample_rate: u32,
        block_max: u32,
    ) -> Result<Self> {
        let library = NAMES.iter().find_map(|name| {
            // SAFETY: the system's JACK library; its initialisers are its own responsibility.
            unsafe { Library::new(name) }.ok()
        });
        let library = library.context("libjack is not installed")?;
        let name = CString::new(name)?;
        let open: Symbol<'_, unsafe extern "C" fn(*const c_char, c_int, *mut c_int, ...) -> ClientHandle> =
            symbol(&library, b"jack_client_open\0")?;
        let mut status = 0;
        // SAFETY: name and status live during the call; without further options there are no further arguments.
        let handle = unsafe { open(name.as_ptr(), NO_START_SERVER, &raw mut status) };
        ensure!(!handle.is_null(), "no JACK server answers (status {status:#x})");
        let get_buffer: Symbol<'_, GetBuffer> = symbol(&library, b"jack_port_get_buffer\0")?;
        let channels = engine.recorded.channels.len().min(CHANNELS_MAX);
        let callback = Callback {
            engine,
            stopped: Some(processor),
            started: None,
            inputs: Vec::with_capacity(channels),
            outputs: Vec::with_capacity(channels),
            get_buffer: *get_buffer,
        };
        let client = Self { handle, callback: Box::into_raw(Box::new(callback)), library };
        let (rate, block) =
            (client.number(b"jack_get_sample_rate\0")?, client.number(b"jack_get_buffer_size\0")?);
        ensure!(rate == sample_rate, "JACK runs at {rate} Hz, the rig at {sample_rate} Hz");
        ensure!(block <= block_max, "JACK runs blocks of {block} frames, the rig has room for {block_max}");
        client.register_ports(channels)?;
        client.activate()?;
        Ok(client)
    }

    fn number(&self, name: &[u8]) -> Result<u32> {
        let ask: Symbol<'_, unsafe extern "C" fn(ClientHandle) -> u32> = symbol(&self.library, name)?;
        // SAFETY: the client is open.
        Ok(unsafe { ask(self.handle) })
    }

    fn register_ports(&self, channels: usize) -> Result<()> {
        type Register =
            unsafe extern "C" fn(ClientHandle, *const c_char, *const c_char, c_ulong, c_ulong) -> PortHandle;
        let register: Symbol<'_, Register> = symbol(&self.library, b"jack_port_register\0")?;
        let port = |name: String, flags| -> Result<PortHandle> {
            let name = CString::new(name)?;
            // SAFETY: the client is open, and JACK copies both strings.
            let port = unsafe { register(self.handle, name.as_ptr(), AUDIO_TYPE.as_ptr(), flags, 0) };
            ensure!(!port.is_null(), "JACK refused port {name:?}");
            Ok(port)
        };
        // SAFETY: the client is not active yet: nobody else reaches the callback's state.
        let callback = unsafe { &mut *self.callback };
        for channel in 1..=channels {
            callback.inputs.push(port(format!("in_{channel}"), PORT_IS_INPUT)?);
            callback.outputs.push(port(format!("out_{channel}"), PORT_IS_OUTPUT)?);
        }
        Ok(())
    }

    fn activate(&self) -> Result<()> {
        type SetCallback = unsafe extern "C" fn(ClientHandle, ProcessCallback, *mut c_void) -> c_int;
        let set: Symbol<'_, SetCallback> = symbol(&self.library, b"jack_set_process_callback\0")?;
        // SAFETY: the state stays where it is until the client is closed.
        let result = unsafe { set(self.handle, process, self.callback.cast()) };
        ensure!(result == 0, "JACK refused the callback ({result})");
        let activate: Symbol<'_, unsafe extern "C" fn(ClientHandle) -> c_int> =
            symbol(&self.library, b"jack_activate\0")?;
        // SAFETY: the client is open and has its callback.
        let result = unsafe { activate(self.handle) };
        ensure!(result == 0, "JACK did not activate the client ({result})");
        Ok(())
    }

    fn close(&self) -> Result<()> {
        for name in [&b"jack_deactivate\0"[..], b"jack_client_close\0"] {
            let end: Symbol<'_, unsafe extern "C" fn(ClientHandle) -> c_int> = symbol(&self.library, name)?;
            // SAFETY: the client is open, and is not used after the second of these calls.
            unsafe { end(self.handle) };
        }
        Ok(())
    }

    /// Leaves JACK's graph and takes back what the callback had.
    pub(crate) fn stop(self) -> Result<Returned> {
        self.close()?;
        // SAFETY: it came from a box; JACK's thread no longer calls once the client is closed.
        let callback = unsafe { Box::from_raw(self.callback) };
        let started = callback.started.map(StartedPluginAudioProcessor::stop_processing);
        let processor = started.or(callback.stopped);
        let processor = processor.context("the plug-in did not start processing in JACK's thread")?;
        Ok(Returned {
            engine: callback.engine,
            processor,
            scheduler: "JACK's".to_owned(),
            given_up_ns: 0,
            given_up: Vec::new(),
            origin_ns: 0,
        })
    }
}

fn symbol<'a, T>(library: &'a Library, name: &[u8]) -> Result<Symbol<'a, T>> {
    // SAFETY: every caller names a function of JACK's stable interface with its type.
    unsafe { library.get(name) }.map_err(|error| anyhow!("libjack: {error}"))
}

unsafe extern "C" fn process(frames: u32, state: *mut c_void) -> c_int {
    // SAFETY: `state` is the box given with this function; JACK calls from one thread at a time.
    let callback = unsafe { &mut *state.cast::<Callback>() };
    callback.process(frames);
    0
}

impl Callback {
    fn process(&mut self, wanted: u32) {
        if let Some(stopped) = self.stopped.take() {
            // A refusal leaves neither state: `stop` tells it.
            self.started = stopped.start_processing().ok();
        }
        let length = usize::try_from(wanted).unwrap_or(0);
        let frames = self.engine.frames(wanted);
        let halted = self.engine.switches.halt.load(Ordering::Acquire);
        if let Some(processor) = self.started.as_mut().filter(|_| frames > 0 && !halted) {
            let mut live: [&[f32]; CHANNELS_MAX] = [&[]; CHANNELS_MAX];
            for (samples, port) in live.iter_mut().zip(&self.inputs) {
                *samples = buffer(self.get_buffer, *port, wanted, length);
            }
            self.engine.call(processor, frames, Some(&live[..self.inputs.len()]));
        }
        let processed = if halted { 0 } else { usize::try_from(frames).unwrap_or(0) };
        for (channel, port) in self.outputs.iter().enumerate() {
            let output = buffer(self.get_buffer, *port, wanted, length);
            let samples = self.engine.output(channel, processed);
            output[samples.len()..].fill(0.0);
            output[..samples.len()].copy_from_slice(samples);
        }
    }
}

/// A port's samples during one callback.
fn buffer<'a>(get_buffer: GetBuffer, port: PortHandle, frames: u32, length: usize) -> &'a mut [f32] {
    // SAFETY: the port is registered until the client is closed, and this is JACK's callback.
    let samples = unsafe { get_buffer(port, frames) };
    // SAFETY: JACK gives every port a buffer of its own with room for the callback's frames.
    unsafe { std::slice::from_raw_parts_mut(samples.cast(), length) }
}
