//! A CLAP plug-in that allocates in its callback on purpose, to prove that the rig sees it.
//!
//! Two plug-ins: `org.audiocloud.test.allocating` allocates once and frees once in every call, with its own allocator
//! as any plug-in in Rust does; `org.audiocloud.test.clean` does the same work without. Neither is ever shipped.

#![allow(unsafe_code, reason = "a plug-in is a C boundary")]

use std::{
    ffi::{CStr, c_char, c_void},
    ptr,
};

use clap_sys::{
    audio_buffer::clap_audio_buffer,
    entry::clap_plugin_entry,
    ext::audio_ports::{
        CLAP_AUDIO_PORT_IS_MAIN, CLAP_EXT_AUDIO_PORTS, CLAP_PORT_STEREO, clap_audio_port_info,
        clap_plugin_audio_ports,
    },
    factory::plugin_factory::{CLAP_PLUGIN_FACTORY_ID, clap_plugin_factory},
    host::clap_host,
    id::CLAP_INVALID_ID,
    plugin::{clap_plugin, clap_plugin_descriptor},
    process::{CLAP_PROCESS_CONTINUE, clap_process, clap_process_status},
    version::CLAP_VERSION,
};

const CHANNELS: u32 = 2;

struct Descriptor(clap_plugin_descriptor);

// SAFETY: the descriptor points at constants only.
unsafe impl Sync for Descriptor {}

struct Features([*const c_char; 2]);

// SAFETY: the list points at constants only.
unsafe impl Sync for Features {}

static FEATURES: Features = Features([c"audio-effect".as_ptr(), ptr::null()]);

const fn descriptor(id: &'static CStr, name: &'static CStr) -> Descriptor {
    Descriptor(clap_plugin_descriptor {
        clap_version: CLAP_VERSION,
        id: id.as_ptr(),
        name: name.as_ptr(),
        vendor: c"audiocloud".as_ptr(),
        url: c"".as_ptr(),
        manual_url: c"".as_ptr(),
        support_url: c"".as_ptr(),
        version: c"0.1.0".as_ptr(),
        description: c"for tests".as_ptr(),
        features: (&raw const FEATURES.0).cast(),
    })
}

static DESCRIPTORS: [Descriptor; 2] = [
    descriptor(c"org.audiocloud.test.allocating", c"Allocates in its callback"),
    descriptor(c"org.audiocloud.test.clean", c"Does not allocate in its callback"),
];

/// The entry that a CLAP host looks for.
#[unsafe(no_mangle)]
pub static clap_entry: clap_plugin_entry = clap_plugin_entry {
    clap_version: CLAP_VERSION,
    init: Some(init),
    deinit: Some(deinit),
    get_factory: Some(get_factory),
};

unsafe extern "C" fn init(_path: *const c_char) -> bool {
    true
}

unsafe extern "C" fn deinit() {}

unsafe extern "C" fn get_factory(id: *const c_char) -> *const c_void {
    // SAFETY: the host passes a string that ends in a zero byte.
    let id = unsafe { CStr::from_ptr(id) };
    if id == CLAP_PLUGIN_FACTORY_ID { (&raw const FACTORY).cast() } else { ptr::null() }
}

static FACTORY: clap_plugin_factory = clap_plugin_factory {
    get_plugin_count: Some(plugin_count),
    get_plugin_descriptor: Some(plugin_descriptor),
    create_plugin: Some(create_plugin),
};

unsafe extern "C" fn plugin_count(_factory: *const clap_plugin_factory) -> u32 {
    2
}

unsafe extern "C" fn plugin_descriptor(
    _factory: *const clap_plugin_factory,
    index: u32,
) -> *const clap_plugin_descriptor {
    let found = usize::try_from(index).ok().and_then(|index| DESCRIPTORS.get(index));
    found.map_or(ptr::null(), |descriptor| &raw const descriptor.0)
}

unsafe extern "C" fn create_plugin(
    _factory: *const clap_plugin_factory,
    _host: *const clap_host,
    id: *const c_char,
) -> *const clap_plugin {
    // SAFETY: the host passes a string that ends in a zero byte.
    let wanted = unsafe { CStr::from_ptr(id) };
    let found = DESCRIPTORS.iter().position(|descriptor| {
        // SAFETY: descriptors hold constant strings.
        let id = unsafe { CStr::from_ptr(descriptor.0.id) };
        id == wanted
    });
    let Some(index) = found else { return ptr::null() };
    let process = if index == 0 { process_allocating } else { process_clean };
    Box::into_raw(Box::new(clap_plugin {
        desc: &raw const DESCRIPTORS[index].0,
        plugin_data: ptr::null_mut(),
        init: Some(always),
        destroy: Some(destroy),
        activate: Some(activate),
        deactivate: Some(nothing),
        start_processing: Some(always),
        stop_processing: Some(nothing),
        reset: Some(nothing),
        process: Some(process),
        get_extension: Some(get_extension),
        on_main_thread: Some(nothing),
    }))
}

unsafe extern "C" fn always(_plugin: *const clap_plugin) -> bool {
    true
}

unsafe extern "C" fn nothing(_plugin: *const clap_plugin) {}

unsafe extern "C" fn activate(_plugin: *const clap_plugin, _rate: f64, _min: u32, _max: u32) -> bool {
    true
}

unsafe extern "C" fn destroy(plugin: *const clap_plugin) {
    // SAFETY: the host destroys once what `create_plugin` made by `Box::into_raw`.
    drop(unsafe { Box::from_raw(plugin.cast_mut()) });
}

static AUDIO_PORTS: clap_plugin_audio_ports =
    clap_plugin_audio_ports { count: Some(port_count), get: Some(port_get) };

unsafe extern "C" fn get_extension(_plugin: *const clap_plugin, id: *const c_char) -> *const c_void {
    // SAFETY: the host passes a string that ends in a zero byte.
    let id = unsafe { CStr::from_ptr(id) };
    if id == CLAP_EXT_AUDIO_PORTS { (&raw const AUDIO_PORTS).cast() } else { ptr::null() }
}

unsafe extern "C" fn port_count(_plugin: *const clap_plugin, _is_input: bool) -> u32 {
    1
}

unsafe extern "C" fn port_get(
    _plugin: *const clap_plugin,
    index: u32,
    _is_input: bool,
    info: *mut clap_audio_port_info,
) -> bool {
    if index != 0 {
        return false;
    }
    let port = clap_audio_port_info {
        id: 0,
        name: [0; 256],
        flags: CLAP_AUDIO_PORT_IS_MAIN,
        channel_count: CHANNELS,
        port_type: CLAP_PORT_STEREO.as_ptr(),
        in_place_pair: CLAP_INVALID_ID,
    };
    // SAFETY: the host passes room for the description.
    unsafe { info.write(port) };
    true
}

unsafe extern "C" fn process_allocating(
    _plugin: *const clap_plugin,
    process: *const clap_process,
) -> clap_process_status {
    // SAFETY: the host passes a valid description of the call.
    let process = unsafe { &*process };
    copy(process, |samples| drop(std::hint::black_box(samples.to_vec())));
    CLAP_PROCESS_CONTINUE
}

unsafe extern "C" fn process_clean(
    _plugin: *const clap_plugin,
    process: *const clap_process,
) -> clap_process_status {
    // SAFETY: the host passes a valid description of the call.
    let process = unsafe { &*process };
    copy(process, |_| {});
    CLAP_PROCESS_CONTINUE
}

/// Copies the first port's channels through; `first` sees the first channel's samples.
fn copy(process: &clap_process, first: impl Fn(&[f32])) {
    let frames = usize::try_from(process.frames_count).unwrap_or(0);
    for channel in 0..2 {
        let Some(input) = samples(process.audio_inputs, channel) else { return };
        let Some(output) = samples(process.audio_outputs.cast_const(), channel) else { return };
        // SAFETY: the host gives every channel of a port room for the call's frames.
        let input = unsafe { std::slice::from_raw_parts(input, frames) };
        // SAFETY: as above; a port that is not processed in place has buffers of its own.
        let output = unsafe { std::slice::from_raw_parts_mut(output, frames) };
        output.copy_from_slice(input);
        if channel == 0 {
            first(input);
        }
    }
}

fn samples(port: *const clap_audio_buffer, channel: usize) -> Option<*mut f32> {
    // SAFETY: the host passes one port in each direction, as `port_count` says, or none.
    let port = unsafe { port.as_ref() }?;
    if u32::try_from(channel).ok()? >= port.channel_count || port.data32.is_null() {
        return None;
    }
    // SAFETY: `data32` holds `channel_count` pointers, and `channel` is below that.
    let pointer = unsafe { port.data32.add(channel) };
    // SAFETY: as above.
    Some(unsafe { pointer.read() })
}
