//! A plug-in on its main thread: what it is, its state, and making it active.

#![allow(unsafe_code, reason = "loading a foreign library is a C boundary")]

use std::ffi::{CStr, CString};
use std::path::Path;
use std::sync::mpsc::SyncSender;

use clack_extensions::audio_ports::{AudioPortFlags, AudioPortInfoBuffer, PluginAudioPorts};
use clack_extensions::audio_ports_config::{AudioPortsConfigBuffer, PluginAudioPortsConfig};
use clack_extensions::latency::PluginLatency;
use clack_extensions::note_ports::PluginNotePorts;
use clack_extensions::params::{ParamInfoBuffer, ParamInfoFlags, PluginParams};
use clack_extensions::render::{PluginRender, RenderMode};
use clack_extensions::state::PluginState;
use clack_host::prelude::*;

use super::callbacks::{AudioThread, Host, MainThread, Requests};
use crate::description::{Description, Listed, PARAMETERS_MAX, Parameter, Port, Tail};

/// The most parameters that are looked at at all.
const PARAMETERS_LOOKED_AT: u32 = 65_536;
/// The most ports of a direction, and channels of a port.
const PORTS_MAX: u32 = 64;
/// The most instances of a mono plug-in.
const COPIES_MAX: u16 = 8;
/// The longest block, in frames: the graph's own.
const FRAMES: u32 = 64;

fn entry(path: &Path) -> Result<PluginEntry, String> {
    // SAFETY: this process exists to run what is in this file. What it does is its own affair, and only its own.
    let entry = unsafe { PluginEntry::load(path) };
    entry.map_err(|error| format!("{} does not load: {error}", path.display()))
}

/// What is in a file.
pub(super) fn list(path: &Path) -> Result<Vec<Listed>, String> {
    let entry = entry(path)?;
    let listed = listed(&entry);
    // Unloading it is one more chance to crash, and this process ends anyway.
    std::mem::forget(entry);
    listed.ok_or_else(|| format!("{} makes no plug-ins", path.display()))
}

fn listed(entry: &PluginEntry) -> Option<Vec<Listed>> {
    let text = |text: Option<&CStr>| text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    let factory = entry.get_plugin_factory()?;
    let descriptors = factory.plugin_descriptors().filter(|descriptor| descriptor.id().is_some());
    let listed = descriptors.map(|descriptor| Listed {
        id: text(descriptor.id()),
        name: text(descriptor.name()),
        vendor: text(descriptor.vendor()),
        version: text(descriptor.version()),
        features: descriptor.features().map(|feature| text(Some(feature))).collect(),
    });
    Some(listed.collect())
}

/// What a plug-in wants.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes {
    /// To be made active anew.
    pub(super) restart: bool,
    /// Its state is another.
    pub(super) changed: bool,
    /// Its latency is another.
    pub(super) late: bool,
}

/// One plug-in, once or once for each channel, loaded but not active.
pub(super) struct Instances {
    all: Vec<PluginInstance<Host>>,
    listed: Listed,
    sample_rate: u32,
}

impl Instances {
    /// Loads a plug-in for a chain of this width.
    pub(super) fn load(
        path: &Path,
        id: &str,
        channels: u16,
        sample_rate: u32,
        log: &SyncSender<String>,
    ) -> Result<Self, String> {
        let entry = entry(path)?;
        let all = listed(&entry).unwrap_or_default();
        let listed = all.into_iter().find(|listed| listed.id == id);
        let listed = listed.ok_or_else(|| format!("{} has no {id:?}", path.display()))?;
        let name = CString::new(id).map_err(|error| error.to_string())?;
        let host = HostInfo::new("audiocloud", "audiocloud", "", env!("CARGO_PKG_VERSION"));
        let host = host.map_err(|error| error.to_string())?;
        let make = || {
            let log = log.clone();
            PluginInstance::<Host>::new(
                move |()| Requests::new(log),
                |requests| MainThread::new(requests),
                &entry,
                &name,
                &host,
            )
            .map_err(|error| format!("{} is not made: {error}", listed.name))
        };
        let mut first = make()?;
        select(&mut first, u32::from(channels));
        let (inputs, outputs) = (ports(&mut first, true), ports(&mut first, false));
        let width = |ports: &[Port]| {
            Description::main(ports).and_then(|main| ports.get(main)).map(|port| port.channels)
        };
        let is_mono = width(&inputs) == Some(1) && width(&outputs) == Some(1);
        let copies = if is_mono { channels.min(COPIES_MAX) } else { 1 };
        let mut all = vec![first];
        for _ in 1..copies {
            let mut copy = make()?;
            select(&mut copy, u32::from(channels));
            all.push(copy);
        }
        Ok(Self { all, listed, sample_rate })
    }

    /// How many there are.
    pub(super) fn copies(&self) -> usize {
        self.all.len()
    }

    fn first(&mut self) -> PluginMainThreadHandle<'_> {
        self.all[0].plugin_handle()
    }

    /// What it is now.
    pub(super) fn describe(&mut self, tail: Tail, realtime: bool) -> Description {
        let (inputs, outputs) = (ports(&mut self.all[0], true), ports(&mut self.all[0], false));
        let listed = self.listed.clone();
        let copies = u16::try_from(self.all.len()).unwrap_or(u16::MAX);
        let latency_frames = self.latency();
        let handle = self.first();
        let notes = |is_input| {
            handle.get_extension::<PluginNotePorts>().is_some_and(|ports| ports.count(&handle, is_input) > 0)
        };
        let (note_input, note_output) = (notes(true), notes(false));
        let state = handle.get_extension::<PluginState>().is_some();
        let mut parameters = parameters(&handle);
        let left_out = parameters.len().saturating_sub(PARAMETERS_MAX);
        parameters.truncate(PARAMETERS_MAX);
        Description {
            listed,
            inputs,
            outputs,
            note_input,
            note_output,
            parameters,
            parameters_left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
            latency_frames,
            tail,
            state,
            copies,
            realtime,
        }
    }

    /// Makes all of them active.
    pub(super) fn activate(&mut self) -> Result<Vec<StoppedPluginAudioProcessor<Host>>, String> {
        let configuration = PluginAudioConfiguration {
            sample_rate: f64::from(self.sample_rate),
            min_frames_count: FRAMES,
            max_frames_count: FRAMES,
        };
        let name = &self.listed.name;
        let activate = |instance: &mut PluginInstance<Host>| {
            instance.activate(|requests, _| AudioThread::new(requests), configuration)
        };
        let active: Result<_, _> = self.all.iter_mut().map(activate).collect();
        active.map_err(|error| format!("{name} does not become active: {error}"))
    }

    /// The way back.
    pub(super) fn deactivate(&mut self, processors: Vec<StoppedPluginAudioProcessor<Host>>) {
        for (instance, processor) in self.all.iter_mut().zip(processors) {
            instance.deactivate(processor);
        }
    }

    pub(super) fn save(&mut self) -> Result<Vec<u8>, String> {
        let handle = self.first();
        let state: PluginState = handle.get_extension().ok_or("the plug-in keeps no state")?;
        let mut bytes = Vec::new();
        state.save(&handle, &mut bytes).map_err(|_| "the plug-in did not save its state")?;
        Ok(bytes)
    }

    pub(super) fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        for instance in &mut self.all {
            let handle = instance.plugin_handle();
            let state: PluginState = handle.get_extension().ok_or("the plug-in keeps no state")?;
            state.load(&handle, &mut &*bytes).map_err(|_| "the plug-in refused the state")?;
        }
        Ok(())
    }

    pub(super) fn text(&mut self, id: u32, value: f64) -> Option<String> {
        let handle = self.first();
        let parameters: PluginParams = handle.get_extension()?;
        let mut text = [0; 256];
        let text = parameters.value_to_text(&handle, ClapId::from_raw(id)?, value, &mut text).ok()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    pub(super) fn value(&mut self, id: u32, text: &str) -> Option<f64> {
        let handle = self.first();
        let parameters: PluginParams = handle.get_extension()?;
        parameters.text_to_value(&handle, ClapId::from_raw(id)?, &CString::new(text).ok()?)
    }

    /// Whether somebody listens while it plays.
    pub(super) fn set_offline(&mut self, offline: bool) {
        for instance in &mut self.all {
            let handle = instance.plugin_handle();
            let Some(render) = handle.get_extension::<PluginRender>() else { continue };
            let mode = if offline { RenderMode::Offline } else { RenderMode::Realtime };
            if render.set(&handle, mode).is_err() {
                eprintln!("the plug-in does not change its render mode");
            }
        }
    }

    /// How late it is, in frames.
    pub(super) fn latency(&mut self) -> u32 {
        let handle = self.first();
        handle.get_extension::<PluginLatency>().map_or(0, |latency| latency.get(&handle))
    }

    /// Does what the plug-in asked for; what is left to be done.
    pub(super) fn serve(&mut self) -> Wishes {
        let Wishes { mut restart, mut changed, mut late } = Wishes::default();
        for instance in &mut self.all {
            if instance.access_shared_handler(|requests| Requests::take(&requests.callback)) {
                instance.call_on_main_thread_callback();
            }
            restart |= instance.access_shared_handler(|requests| Requests::take(&requests.restart));
            changed |= instance.access_shared_handler(|requests| Requests::take(&requests.changed));
            late |= instance.access_shared_handler(|requests| Requests::take(&requests.late));
        }
        Wishes { restart, changed, late }
    }
}

/// Chooses the configuration of ports whose main ones have the chain's width, if it has several.
fn select(instance: &mut PluginInstance<Host>, channels: u32) {
    let handle = instance.plugin_handle();
    let Some(configurations) = handle.get_extension::<PluginAudioPortsConfig>() else { return };
    let mut buffer = AudioPortsConfigBuffer::new();
    let found = (0..configurations.count(&handle).min(PORTS_MAX)).find_map(|index| {
        let configuration = configurations.get(&handle, index, &mut buffer)?;
        let output = configuration.main_output.as_ref()?.channel_count;
        let input = configuration.main_input.as_ref().map_or(channels, |main| main.channel_count);
        (output == channels && input == channels).then_some(configuration.id)
    });
    if let Some(id) = found
        && configurations.select(&handle, id).is_err()
    {
        eprintln!("the plug-in does not take the ports that it offered");
    }
}

fn ports(instance: &mut PluginInstance<Host>, is_input: bool) -> Vec<Port> {
    let handle = instance.plugin_handle();
    let Some(extension) = handle.get_extension::<PluginAudioPorts>() else { return Vec::new() };
    let mut buffer = AudioPortInfoBuffer::new();
    let port = |index| {
        // A port that is not described has no channels, but keeps the places of those behind it.
        let Some(port) = extension.get(&handle, index, is_input, &mut buffer) else { return Port::default() };
        Port {
            name: text(port.name),
            channels: port.channel_count.min(PORTS_MAX),
            main: port.flags.contains(AudioPortFlags::IS_MAIN),
        }
    };
    (0..extension.count(&handle, is_input).min(PORTS_MAX)).map(port).collect()
}

fn parameters(handle: &PluginMainThreadHandle<'_>) -> Vec<Parameter> {
    let Some(extension) = handle.get_extension::<PluginParams>() else { return Vec::new() };
    let mut buffer = ParamInfoBuffer::new();
    let mut words = [0; 256];
    let mut parameter = |index| {
        let info = extension.get_info(handle, index, &mut buffer)?;
        let value = extension.get_value(handle, info.id).unwrap_or(info.default_value);
        let in_words = extension.value_to_text(handle, info.id, value, &mut words);
        let has = |flag| info.flags.contains(flag);
        Some(Parameter {
            id: info.id.get(),
            name: text(info.name),
            module: text(info.module),
            min: info.min_value,
            max: info.max_value,
            default: info.default_value,
            value,
            text: in_words.map(|words| text(words)).unwrap_or_default(),
            stepped: has(ParamInfoFlags::IS_STEPPED),
            read_only: has(ParamInfoFlags::IS_READONLY),
            hidden: has(ParamInfoFlags::IS_HIDDEN),
            bypass: has(ParamInfoFlags::IS_BYPASS),
        })
    };
    (0..extension.count(handle).min(PARAMETERS_LOOKED_AT)).filter_map(&mut parameter).collect()
}

fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
