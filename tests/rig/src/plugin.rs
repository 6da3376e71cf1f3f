//! A loaded plug-in, on the main thread: ports, parameters, state.

#![allow(unsafe_code, reason = "loading a foreign library is a C boundary")]

use std::{
    ffi::CString,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clack_extensions::{
    audio_ports::{AudioPortInfoBuffer, PluginAudioPorts},
    audio_ports_config::{AudioPortsConfigBuffer, PluginAudioPortsConfig},
    latency::{HostLatency, HostLatencyImpl, PluginLatency},
    params::{
        HostParams, HostParamsImplMainThread, HostParamsImplShared, ParamClearFlags, ParamInfoBuffer,
        ParamRescanFlags, PluginParams,
    },
    render::{PluginRender, RenderMode},
    state::{HostState, HostStateImpl, PluginState},
    thread_check::{HostThreadCheck, HostThreadCheckImpl},
};
use clack_host::{prelude::*, utils::ClapId};
use serde_json::{Value, json};

use audiocloud_rig::report::Parameter;

/// What the plug-in asked the host for, from any thread.
#[derive(Debug)]
pub(crate) struct Requests {
    pub(crate) callback: AtomicBool,
    pub(crate) restart: AtomicBool,
    /// The system's id of the thread that made the plug-in.
    main_thread: libc::pid_t,
}

impl Requests {
    fn new() -> Self {
        Self { callback: AtomicBool::new(false), restart: AtomicBool::new(false), main_thread: thread_id() }
    }
}

fn thread_id() -> libc::pid_t {
    // SAFETY: it has no preconditions.
    unsafe { libc::gettid() }
}

// Without this extension, nice-plug asks Rust's standard library which thread it is on, and that allocates once on
// every thread that is not Rust's own: an operation on the heap that no host with the extension sees.
impl HostThreadCheckImpl for Requests {
    fn is_main_thread(&self) -> bool {
        thread_id() == self.main_thread
    }

    fn is_audio_thread(&self) -> bool {
        thread_id() != self.main_thread
    }
}

impl SharedHandler<'_> for Requests {
    fn request_restart(&self) {
        self.restart.store(true, Ordering::Release);
    }

    fn request_process(&self) {}

    fn request_callback(&self) {
        self.callback.store(true, Ordering::Release);
    }
}

impl HostParamsImplShared for Requests {
    // The rig processes all the time: the next call is the flush.
    fn request_flush(&self) {}
}

/// The host on its main thread: it has no state of its own.
#[derive(Debug)]
pub(crate) struct MainThread;

impl MainThreadHandler<'_> for MainThread {}

impl HostParamsImplMainThread for MainThread {
    fn rescan(&self, _flags: ParamRescanFlags) {}
    fn clear(&self, _param_id: ClapId, _flags: ParamClearFlags) {}
}

impl HostStateImpl for MainThread {
    fn mark_dirty(&self) {}
}

impl HostLatencyImpl for MainThread {
    fn changed(&self) {}
}

/// The host as clack sees it.
#[derive(Debug)]
pub(crate) struct Host;

impl HostHandlers for Host {
    type Shared<'a> = Requests;
    type MainThread<'a> = MainThread;
    type AudioProcessor<'a> = ();

    fn declare_extensions(builder: &mut HostExtensions<Self>, _shared: &Self::Shared<'_>) {
        builder.register::<HostParams>().register::<HostState>().register::<HostLatency>();
        builder.register::<HostThreadCheck>();
    }
}

/// Widths of the ports of both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) inputs: Vec<usize>,
    pub(crate) outputs: Vec<usize>,
}

/// A plug-in, deactivated or active.
pub(crate) struct Plugin {
    pub(crate) instance: PluginInstance<Host>,
}

impl Plugin {
    pub(crate) fn load(path: &Path, id: &str) -> Result<Self> {
        // SAFETY: the caller names a CLAP file to run; what runs in it is that file's own responsibility.
        let entry =
            unsafe { PluginEntry::load(path) }.with_context(|| format!("loading {}", path.display()))?;
        let host = HostInfo::new("audiocloud-rig", "audiocloud", "", env!("CARGO_PKG_VERSION"))?;
        let name = CString::new(id)?;
        let instance = PluginInstance::new(|()| Requests::new(), |_| MainThread, &entry, &name, &host)
            .with_context(|| format!("making a {id} from {}", path.display()))?;
        Ok(Self { instance })
    }

    /// Selects the configuration whose main ports have so many channels, and returns all ports.
    pub(crate) fn select(&mut self, channels: usize) -> Result<Ports> {
        let mut handle = self.instance.plugin_handle();
        if let Some(configurations) = handle.get_extension::<PluginAudioPortsConfig>() {
            let mut buffer = AudioPortsConfigBuffer::new();
            let id = (0..configurations.count(&handle)).find_map(|index| {
                let configuration = configurations.get(&handle, index, &mut buffer)?;
                let width = configuration.main_output.as_ref().map(|main| main.channel_count)?;
                (usize::try_from(width).ok() == Some(channels)).then_some(configuration.id)
            });
            let id = id.with_context(|| format!("the plug-in has no layout of {channels} channels"))?;
            configurations.select(&handle, id)?;
        }
        let ports = ports(&mut handle);
        if ports.outputs.first() != Some(&channels) {
            bail!("the plug-in has {ports:?}, not {channels} channels");
        }
        Ok(ports)
    }

    pub(crate) fn set_offline(&mut self) -> Result<()> {
        let handle = self.instance.plugin_handle();
        let render: PluginRender = handle.get_extension().context("the plug-in knows no render modes")?;
        render.set(&handle, RenderMode::Offline).map_err(|error| anyhow!("{error}"))
    }

    /// Loads `state`, or makes one of `fields` where there are any: nice-plug keeps its state as JSON, every persisted
    /// field as a string of JSON in it. In CLAP's stream, but not in the rig's files, its length comes first.
    pub(crate) fn load_state(&mut self, state: Option<&[u8]>, fields: &[(String, Value)]) -> Result<()> {
        let mut whole: Value = match state {
            Some(bytes) if fields.is_empty() => return self.load_bytes(bytes),
            Some(bytes) => serde_json::from_slice(bytes).context("the saved state is not JSON")?,
            None if fields.is_empty() => return Ok(()),
            None => json!({ "version": "", "params": {}, "fields": {} }),
        };
        for (key, value) in fields {
            whole["fields"][key] = Value::String(value.to_string());
        }
        self.load_bytes(&serde_json::to_vec(&whole)?)
    }

    fn load_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let handle = self.instance.plugin_handle();
        let state: PluginState = handle.get_extension().context("the plug-in keeps no state")?;
        let mut stream = u64::try_from(bytes.len())?.to_le_bytes().to_vec();
        stream.extend_from_slice(bytes);
        state.load(&handle, &mut &stream[..]).context("the plug-in refused the state")
    }

    pub(crate) fn save_state(&mut self) -> Result<Vec<u8>> {
        let handle = self.instance.plugin_handle();
        let Some(state) = handle.get_extension::<PluginState>() else { return Ok(b"null".to_vec()) };
        let mut bytes = Vec::new();
        state.save(&handle, &mut bytes).context("the plug-in did not save its state")?;
        ensure!(!bytes.is_empty(), "the plug-in's state is empty");
        let Some((length, json)) = bytes.split_first_chunk() else { return Ok(b"null".to_vec()) };
        // What is not made with nice-plug keeps what it likes.
        let is_ours = usize::try_from(u64::from_le_bytes(*length)) == Ok(json.len());
        Ok(if is_ours { json.to_vec() } else { b"null".to_vec() })
    }

    pub(crate) fn latency(&mut self) -> Option<u32> {
        let handle = self.instance.plugin_handle();
        let latency: PluginLatency = handle.get_extension()?;
        Some(latency.get(&handle))
    }

    pub(crate) fn parameters(&mut self) -> Vec<Parameter> {
        let handle = self.instance.plugin_handle();
        let Some(parameters) = handle.get_extension::<PluginParams>() else { return Vec::new() };
        let mut buffer = ParamInfoBuffer::new();
        let mut text = [0; 256];
        let mut described = Vec::new();
        for index in 0..parameters.count(&handle) {
            let Some(info) = parameters.get_info(&handle, index, &mut buffer) else { continue };
            let (id, name) = (info.id, until_nul(info.name));
            let value = parameters.get_value(&handle, id).unwrap_or(info.default_value);
            let text = parameters.value_to_text(&handle, id, value, &mut text).map(|text| until_nul(text));
            described.push(Parameter { id: id.get(), name, value, text: text.unwrap_or_default() });
        }
        described
    }

    /// Finds a parameter by id, by the string that nice-plug makes its id of, or by name, and reads `text` as its value.
    pub(crate) fn parameter(&mut self, name: &str, text: &str) -> Result<(ClapId, f64)> {
        let all = self.parameters();
        let matches = |parameter: &&Parameter| {
            parameter.name.eq_ignore_ascii_case(name)
                || parameter.id == hashed(name)
                || name.parse() == Ok(parameter.id)
        };
        let found = all.iter().find(matches).with_context(|| {
            let names: Vec<&str> = all.iter().map(|parameter| parameter.name.as_str()).collect();
            format!("no parameter {name:?} among {names:?}")
        })?;
        let id = ClapId::from_raw(found.id).context("an invalid parameter id")?;
        let handle = self.instance.plugin_handle();
        let parameters: PluginParams = handle.get_extension().context("the plug-in has no parameters")?;
        let read = parameters.text_to_value(&handle, id, &CString::new(text)?);
        let value = read.or_else(|| text.parse().ok());
        Ok((id, value.with_context(|| format!("{text:?} is no value of {name:?}"))?))
    }

    /// What the plug-in asked to be done on the main thread is done.
    pub(crate) fn serve(&mut self) {
        if self.instance.access_shared_handler(|requests| requests.callback.swap(false, Ordering::AcqRel)) {
            self.instance.call_on_main_thread_callback();
        }
    }

    pub(crate) fn wants_restart(&self) -> bool {
        self.instance.access_shared_handler(|requests| requests.restart.swap(false, Ordering::AcqRel))
    }

    /// Whether anything that it asked for is still to be done.
    pub(crate) fn wants_anything(&self) -> bool {
        self.instance.access_shared_handler(|requests| {
            requests.callback.load(Ordering::Acquire) || requests.restart.load(Ordering::Acquire)
        })
    }

    pub(crate) fn activate(
        &mut self,
        sample_rate: u32,
        block_max: u32,
    ) -> Result<StoppedPluginAudioProcessor<Host>> {
        let configuration = PluginAudioConfiguration {
            sample_rate: f64::from(sample_rate),
            min_frames_count: 1,
            max_frames_count: block_max,
        };
        self.instance.activate(|_, _| (), configuration).context("the plug-in did not activate")
    }
}

fn ports(handle: &mut PluginMainThreadHandle<'_>) -> Ports {
    let Some(extension) = handle.get_extension::<PluginAudioPorts>() else {
        return Ports { inputs: Vec::new(), outputs: Vec::new() };
    };
    let mut buffer = AudioPortInfoBuffer::new();
    let mut widths = |is_input| {
        (0..extension.count(handle, is_input))
            .filter_map(|index| {
                let port = extension.get(handle, index, is_input, &mut buffer)?;
                usize::try_from(port.channel_count).ok()
            })
            .collect()
    };
    Ports { inputs: widths(true), outputs: widths(false) }
}

fn until_nul(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// nice-plug's CLAP id of the parameter with this string id.
fn hashed(id: &str) -> u32 {
    let hash = id.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    hash & !(1 << 31)
}
