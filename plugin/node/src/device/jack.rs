//! A client of JACK, whose library is looked for when it is needed: PipeWire brings it too.

#![allow(unsafe_code, reason = "JACK is a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_ulong, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, bail, ensure};
use audiocloud_engine::rt::callback;
use audiocloud_engine::units::SampleRate;
use libloading::Library;

use super::{CHANNELS_MAX, Process, Running, Shape};

/// `JackNoStartServer`: only a server that runs already is used.
const NO_START_SERVER: c_int = 1;
const PORT_IS_INPUT: c_ulong = 1;
const PORT_IS_OUTPUT: c_ulong = 2;
const AUDIO_TYPE: &CStr = c"32 bit float mono audio";
/// `EEXIST`: the ports are connected already.
const CONNECTED_ALREADY: c_int = 17;
#[cfg(target_os = "macos")]
const LIBRARIES: &[&str] =
    &["libjack.0.dylib", "/usr/local/lib/libjack.0.dylib", "/opt/homebrew/lib/libjack.0.dylib"];
#[cfg(windows)]
const LIBRARIES: &[&str] = &["libjack64.dll", "libjack.dll"];
#[cfg(not(any(target_os = "macos", windows)))]
const LIBRARIES: &[&str] = &["libjack.so.0", "libjack.so"];

/// `jack_client_t*` and `jack_port_t*`.
type ClientHandle = *mut c_void;
type PortHandle = *mut c_void;
type ProcessCallback = unsafe extern "C" fn(u32, *mut c_void) -> c_int;
type GetBuffer = unsafe extern "C" fn(PortHandle, u32) -> *mut c_void;
type Shutdown = unsafe extern "C" fn(*mut c_void);

/// What of libjack is used, with the types of its header.
struct Functions {
    open: unsafe extern "C" fn(*const c_char, c_int, *mut c_int, ...) -> ClientHandle,
    close: unsafe extern "C" fn(ClientHandle) -> c_int,
    name: unsafe extern "C" fn(ClientHandle) -> *const c_char,
    sample_rate: unsafe extern "C" fn(ClientHandle) -> u32,
    block: unsafe extern "C" fn(ClientHandle) -> u32,
    register:
        unsafe extern "C" fn(ClientHandle, *const c_char, *const c_char, c_ulong, c_ulong) -> PortHandle,
    port_name: unsafe extern "C" fn(PortHandle) -> *const c_char,
    connect: unsafe extern "C" fn(ClientHandle, *const c_char, *const c_char) -> c_int,
    on_process: unsafe extern "C" fn(ClientHandle, ProcessCallback, *mut c_void) -> c_int,
    on_overrun:
        unsafe extern "C" fn(ClientHandle, unsafe extern "C" fn(*mut c_void) -> c_int, *mut c_void) -> c_int,
    on_shutdown: unsafe extern "C" fn(ClientHandle, Shutdown, *mut c_void),
    activate: unsafe extern "C" fn(ClientHandle) -> c_int,
    buffer: GetBuffer,
    /// Last, for the functions are in it.
    _library: Library,
}

impl Functions {
    fn load() -> anyhow::Result<Self> {
        let library = LIBRARIES.iter().find_map(|name| {
            // SAFETY: the system's own library, whose initialisers every program that links it runs.
            unsafe { Library::new(name) }.ok()
        });
        let library = library.context("JACK is not installed; install it, or PipeWire's JACK library")?;
        /// A function by its name, of the type of the field that it is for.
        macro_rules! function {
            ($name:literal) => {{
                // SAFETY: the field's type is the one that the library's header declares under this name.
                let found = unsafe { library.get($name) };
                *found.map_err(|error| anyhow::anyhow!("JACK's library is of another kind: {error}"))?
            }};
        }
        Ok(Self {
            open: function!(b"jack_client_open\0"),
            close: function!(b"jack_client_close\0"),
            name: function!(b"jack_get_client_name\0"),
            sample_rate: function!(b"jack_get_sample_rate\0"),
            block: function!(b"jack_get_buffer_size\0"),
            register: function!(b"jack_port_register\0"),
            port_name: function!(b"jack_port_name\0"),
            connect: function!(b"jack_connect\0"),
            on_process: function!(b"jack_set_process_callback\0"),
            on_overrun: function!(b"jack_set_xrun_callback\0"),
            on_shutdown: function!(b"jack_on_shutdown\0"),
            activate: function!(b"jack_activate\0"),
            buffer: function!(b"jack_port_get_buffer\0"),
            _library: library,
        })
    }
}

/// What JACK tells, from threads of its own.
#[derive(Default)]
struct Told {
    is_gone: AtomicBool,
    overruns: AtomicU64,
}

/// A client that is open and does nothing yet.
pub(super) struct Client {
    functions: Functions,
    handle: ClientHandle,
    name: String,
    shape: Shape,
}

impl Client {
    /// A client of this name, or one like it where that is taken, on a server that runs already.
    pub(super) fn open(name: &str) -> anyhow::Result<Self> {
        let functions = Functions::load()?;
        let asked = CString::new(name).context("a client's name has no zero in it")?;
        let mut status = 0;
        // SAFETY: name and status live during the call; without further options there are no further arguments.
        let handle = unsafe { (functions.open)(asked.as_ptr(), NO_START_SERVER, &raw mut status) };
        ensure!(!handle.is_null(), "no JACK server answers (status {status:#x}); start JACK, or PipeWire");
        // From here on dropping it closes the client.
        let placeholder =
            Shape { sample_rate: SampleRate::new(1).context("1 is not 0")?, channels: 0, block_max: 1 };
        let mut client = Self { functions, handle, name: String::new(), shape: placeholder };
        // SAFETY: the client is open.
        let given = unsafe { (client.functions.name)(handle) };
        ensure!(!given.is_null(), "JACK gives no client");
        // SAFETY: a text that ends, and that lives as long as the client.
        client.name = unsafe { CStr::from_ptr(given) }.to_string_lossy().into_owned();
        // SAFETY: the client is open.
        let hz = unsafe { (client.functions.sample_rate)(handle) };
        // SAFETY: the client is open.
        let block_max = unsafe { (client.functions.block)(handle) };
        let sample_rate = SampleRate::new(hz).context("JACK says that its sample rate is 0 Hz")?;
        client.shape = Shape { sample_rate, channels: 0, block_max };
        Ok(client)
    }

    /// What the server calls it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// With so many channels.
    pub(super) fn shape(&self, channels: u16) -> Shape {
        Shape { channels, ..self.shape }
    }

    /// Has `process` called for every period from now on, with so many ports in and out. `connect` are ports of others, for
    /// the outputs in their order, or for the inputs where there are no outputs.
    pub(super) fn start(
        self,
        inputs: u16,
        outputs: u16,
        process: Box<dyn Process>,
        connect: &[String],
    ) -> anyhow::Result<Active> {
        let inputs = self.ports("in", inputs, PORT_IS_INPUT)?;
        let outputs = self.ports("out", outputs, PORT_IS_OUTPUT)?;
        let told = Arc::new(Told::default());
        let own = if outputs.is_empty() { inputs.clone() } else { outputs.clone() };
        let is_output = !outputs.is_empty();
        let stage =
            Box::into_raw(Box::new(Stage { process, inputs, outputs, buffer: self.functions.buffer }));
        let active = Active { client: Some(self), stage, told };
        active.begin()?;
        active.connect(&own, is_output, connect)?;
        Ok(active)
    }

    fn ports(&self, name: &str, count: u16, flags: c_ulong) -> anyhow::Result<Vec<PortHandle>> {
        let port = |number: u16| {
            let name = CString::new(format!("{name}_{number}")).context("a name without a zero")?;
            // SAFETY: the client is open, and JACK copies both strings.
            let port = unsafe {
                (self.functions.register)(self.handle, name.as_ptr(), AUDIO_TYPE.as_ptr(), flags, 0)
            };
            ensure!(!port.is_null(), "JACK has no room for port {name:?}");
            Ok(port)
        };
        (1..=count).map(port).take(CHANNELS_MAX).collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: it is open; also one whose server has gone has to be closed. No callback runs afterwards.
        unsafe { (self.functions.close)(self.handle) };
    }
}

/// What JACK's thread has between `jack_activate` and `jack_client_close`.
struct Stage {
    process: Box<dyn Process>,
    inputs: Vec<PortHandle>,
    outputs: Vec<PortHandle>,
    buffer: GetBuffer,
}

/// A client at work, until it is dropped.
pub(super) struct Active {
    /// Taken in `drop`, so that it is closed before the stage goes.
    client: Option<Client>,
    stage: *mut Stage,
    told: Arc<Told>,
}

impl Active {
    fn client(&self) -> anyhow::Result<&Client> {
        self.client.as_ref().context("the client is closed")
    }

    fn begin(&self) -> anyhow::Result<()> {
        let Client { functions, handle, .. } = self.client()?;
        let told = Arc::as_ptr(&self.told).cast_mut().cast();
        // SAFETY: what it is called with lives until the client is closed, which ends all callbacks.
        unsafe { (functions.on_shutdown)(*handle, gone, told) };
        // SAFETY: as above.
        let overrun = unsafe { (functions.on_overrun)(*handle, overrun, told) };
        // SAFETY: as above; nothing else touches the stage until then.
        let set = unsafe { (functions.on_process)(*handle, process, self.stage.cast()) };
        ensure!(overrun == 0 && set == 0, "JACK refused the callback ({set})");
        // SAFETY: the client is open and has its callbacks.
        let result = unsafe { (functions.activate)(*handle) };
        ensure!(result == 0, "JACK did not activate the client ({result}); look at its log");
        Ok(())
    }

    fn connect(&self, own: &[PortHandle], is_output: bool, others: &[String]) -> anyhow::Result<()> {
        let Client { functions, handle, .. } = self.client()?;
        if others.len() > own.len() {
            bail!("--connect names {} ports, the stream has {} channels", others.len(), own.len());
        }
        for (own, other) in own.iter().zip(others) {
            let name = CString::new(other.as_str()).context("a port's name has no zero in it")?;
            // SAFETY: the port is registered; its name lives as long as it.
            let own = unsafe { (functions.port_name)(*own) };
            let (from, to) = if is_output { (own, name.as_ptr()) } else { (name.as_ptr(), own) };
            // SAFETY: the client is active, both are texts that end.
            let result = unsafe { (functions.connect)(*handle, from, to) };
            ensure!(
                result == 0 || result == CONNECTED_ALREADY,
                "JACK cannot connect port {other}; `jack_lsp` lists what there is"
            );
        }
        Ok(())
    }
}

impl Running for Active {
    fn trouble(&self) -> Option<String> {
        let is_gone = self.told.is_gone.load(Ordering::Acquire);
        is_gone.then(|| {
            "the JACK server has ended, or put this client out; start it, and this command again".into()
        })
    }

    fn overruns(&self) -> u64 {
        self.told.overruns.load(Ordering::Relaxed)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        drop(self.client.take());
        // SAFETY: made by `Box::into_raw`; the client is closed, so nobody else has it any more.
        drop(unsafe { Box::from_raw(self.stage) });
    }
}

/// The server has gone.
unsafe extern "C" fn gone(told: *mut c_void) {
    // SAFETY: `begin` gave it the address of what outlives the client.
    let told = unsafe { &*told.cast::<Told>() };
    told.is_gone.store(true, Ordering::Release);
}

/// A period was lost.
unsafe extern "C" fn overrun(told: *mut c_void) -> c_int {
    // SAFETY: `begin` gave it the address of what outlives the client.
    let told = unsafe { &*told.cast::<Told>() };
    told.overruns.fetch_add(1, Ordering::Relaxed);
    0
}

/// Called by JACK for each period, in real time, from one thread at a time.
unsafe extern "C" fn process(frames: u32, stage: *mut c_void) -> c_int {
    // SAFETY: `begin` gave it the stage, which lives until the client is closed, and which nothing else touches.
    let stage = unsafe { &mut *stage.cast::<Stage>() };
    stage.play(frames);
    0
}

impl Stage {
    fn play(&mut self, frames: u32) {
        let mut inputs: [&[f32]; CHANNELS_MAX] = [&[]; CHANNELS_MAX];
        let mut outputs: [&mut [f32]; CHANNELS_MAX] = std::array::from_fn(|_| &mut [][..]);
        for (samples, port) in inputs.iter_mut().zip(&self.inputs) {
            *samples = heard(self.buffer, *port, frames);
        }
        for (samples, port) in outputs.iter_mut().zip(&self.outputs) {
            *samples = played(self.buffer, *port, frames);
        }
        let (inputs, outputs) = (&inputs[..self.inputs.len()], &mut outputs[..self.outputs.len()]);
        callback::enter(|callback| self.process.process(callback, inputs, outputs));
    }
}

/// What an input port hears in this callback; nothing where the server gives no buffer.
fn heard<'a>(buffer: GetBuffer, port: PortHandle, frames: u32) -> &'a [f32] {
    // SAFETY: the port is registered until the client is closed, and this is JACK's callback.
    let samples = unsafe { buffer(port, frames) };
    if samples.is_null() {
        return &[];
    }
    // SAFETY: the buffer holds the callback's frames. Ports that hear nothing share one, and nobody writes to it.
    unsafe { std::slice::from_raw_parts(samples.cast(), usize::try_from(frames).unwrap_or(0)) }
}

/// What an output port is to play in this callback.
fn played<'a>(buffer: GetBuffer, port: PortHandle, frames: u32) -> &'a mut [f32] {
    // SAFETY: the port is registered until the client is closed, and this is JACK's callback.
    let samples = unsafe { buffer(port, frames) };
    if samples.is_null() {
        return &mut [];
    }
    // SAFETY: JACK gives every output port a buffer of its own with room for the callback's frames.
    unsafe { std::slice::from_raw_parts_mut(samples.cast(), usize::try_from(frames).unwrap_or(0)) }
}
