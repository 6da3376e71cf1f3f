//! What the plug-ins say of themselves.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use clap_sys::events::{clap_input_events, clap_output_events};
use clap_sys::ext::audio_ports::{
    CLAP_AUDIO_PORT_IS_MAIN, CLAP_EXT_AUDIO_PORTS, CLAP_PORT_MONO, CLAP_PORT_STEREO, clap_audio_port_info,
    clap_plugin_audio_ports,
};
use clap_sys::ext::latency::{CLAP_EXT_LATENCY, clap_plugin_latency};
use clap_sys::ext::note_ports::{
    CLAP_EXT_NOTE_PORTS, CLAP_NOTE_DIALECT_CLAP, clap_note_port_info, clap_plugin_note_ports,
};
use clap_sys::ext::params::{
    CLAP_EXT_PARAMS, CLAP_PARAM_IS_AUTOMATABLE, CLAP_PARAM_IS_STEPPED, clap_param_info, clap_plugin_params,
};
use clap_sys::ext::state::{CLAP_EXT_STATE, clap_plugin_state};
use clap_sys::ext::tail::{CLAP_EXT_TAIL, clap_plugin_tail};
use clap_sys::id::CLAP_INVALID_ID;
use clap_sys::plugin::clap_plugin;
use clap_sys::stream::{clap_istream, clap_ostream};

use crate::data;
use crate::gain::{Form, GAIN, LATENCY, STATE, TROUBLE};

pub(crate) unsafe extern "C" fn get(_plugin: *const clap_plugin, id: *const c_char) -> *const c_void {
    // SAFETY: the host passes a string that ends in a zero byte.
    let id = unsafe { CStr::from_ptr(id) };
    match id {
        _ if id == CLAP_EXT_AUDIO_PORTS => (&raw const AUDIO_PORTS).cast(),
        _ if id == CLAP_EXT_NOTE_PORTS => (&raw const NOTE_PORTS).cast(),
        _ if id == CLAP_EXT_PARAMS => (&raw const PARAMS).cast(),
        _ if id == CLAP_EXT_STATE => (&raw const STATES).cast(),
        _ if id == CLAP_EXT_LATENCY => (&raw const LATENCIES).cast(),
        _ if id == CLAP_EXT_TAIL => (&raw const TAIL).cast(),
        _ => ptr::null(),
    }
}

static AUDIO_PORTS: clap_plugin_audio_ports =
    clap_plugin_audio_ports { count: Some(port_count), get: Some(port_get) };

unsafe extern "C" fn port_count(plugin: *const clap_plugin, _is_input: bool) -> u32 {
    data(plugin).form.ports
}

/// Input: main, side-chain. Output: main, and a mono one that nobody wants. Some have the main ones alone.
unsafe extern "C" fn port_get(
    plugin: *const clap_plugin,
    index: u32,
    is_input: bool,
    info: *mut clap_audio_port_info,
) -> bool {
    let Form { channels, ports, .. } = data(plugin).form;
    if index >= ports {
        return false;
    }
    let width = if index == 1 && !is_input { 1 } else { channels };
    let port = clap_audio_port_info {
        id: index,
        name: [0; 256],
        flags: if index == 0 { CLAP_AUDIO_PORT_IS_MAIN } else { 0 },
        channel_count: width,
        port_type: if width == 1 { CLAP_PORT_MONO.as_ptr() } else { CLAP_PORT_STEREO.as_ptr() },
        in_place_pair: CLAP_INVALID_ID,
    };
    // SAFETY: the host passes room for the description.
    unsafe { info.write(port) };
    true
}

static NOTE_PORTS: clap_plugin_note_ports =
    clap_plugin_note_ports { count: Some(note_count), get: Some(note_get) };

unsafe extern "C" fn note_count(_plugin: *const clap_plugin, _is_input: bool) -> u32 {
    1
}

unsafe extern "C" fn note_get(
    _plugin: *const clap_plugin,
    index: u32,
    _is_input: bool,
    info: *mut clap_note_port_info,
) -> bool {
    let port = clap_note_port_info {
        id: 0,
        supported_dialects: CLAP_NOTE_DIALECT_CLAP,
        preferred_dialect: CLAP_NOTE_DIALECT_CLAP,
        name: [0; 256],
    };
    if index == 0 {
        // SAFETY: the host passes room for the description.
        unsafe { info.write(port) };
    }
    index == 0
}

static PARAMS: clap_plugin_params = clap_plugin_params {
    count: Some(param_count),
    get_info: Some(param_info),
    get_value: Some(param_value),
    value_to_text: Some(value_to_text),
    text_to_value: Some(text_to_value),
    flush: Some(flush),
};

unsafe extern "C" fn param_count(_plugin: *const clap_plugin) -> u32 {
    4
}

unsafe extern "C" fn param_info(plugin: *const clap_plugin, index: u32, info: *mut clap_param_info) -> bool {
    let (id, text, max, flags) = match index {
        0 => (GAIN, c"Gain", 4.0, CLAP_PARAM_IS_AUTOMATABLE),
        1 => (TROUBLE, c"Trouble", 7.0, CLAP_PARAM_IS_AUTOMATABLE | CLAP_PARAM_IS_STEPPED),
        2 => (STATE, c"State", 4096.0, CLAP_PARAM_IS_AUTOMATABLE | CLAP_PARAM_IS_STEPPED),
        3 => (LATENCY, c"Latency", 4096.0, CLAP_PARAM_IS_AUTOMATABLE | CLAP_PARAM_IS_STEPPED),
        _ => return false,
    };
    let mut name = [0; 256];
    for (to, from) in name.iter_mut().zip(text.to_bytes()) {
        *to = (*from).cast_signed();
    }
    let default = match id {
        GAIN => 1.0,
        LATENCY => data(plugin).form.latency.into(),
        _ => 0.0,
    };
    let described = clap_param_info {
        id,
        flags,
        cookie: ptr::null_mut(),
        name,
        module: [0; 1024],
        min_value: 0.0,
        max_value: max,
        default_value: default,
    };
    // SAFETY: the host passes room for the description.
    unsafe { info.write(described) };
    true
}

unsafe extern "C" fn param_value(plugin: *const clap_plugin, id: u32, value: *mut f64) -> bool {
    let Some(found) = data(plugin).get(id) else { return false };
    // SAFETY: the host passes room for a number.
    unsafe { value.write(found) };
    true
}

unsafe extern "C" fn value_to_text(
    _plugin: *const clap_plugin,
    id: u32,
    value: f64,
    text: *mut c_char,
    room: u32,
) -> bool {
    let words = if id == GAIN { format!("{value:.2} times") } else { value.to_string() };
    if words.len() >= room as usize {
        return false;
    }
    // SAFETY: there is room for the words and a zero byte.
    unsafe { ptr::copy_nonoverlapping(words.as_ptr(), text.cast(), words.len()) };
    // SAFETY: as above.
    let end = unsafe { text.add(words.len()) };
    // SAFETY: as above.
    unsafe { end.write(0) };
    true
}

unsafe extern "C" fn text_to_value(
    _plugin: *const clap_plugin,
    _id: u32,
    text: *const c_char,
    value: *mut f64,
) -> bool {
    // SAFETY: the host passes a string that ends in a zero byte.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let Some(read) = text.split(' ').find_map(|word| word.parse().ok()) else { return false };
    // SAFETY: the host passes room for a number.
    unsafe { value.write(read) };
    true
}

unsafe extern "C" fn flush(
    _plugin: *const clap_plugin,
    _in: *const clap_input_events,
    _out: *const clap_output_events,
) {
}

static STATES: clap_plugin_state = clap_plugin_state { save: Some(save), load: Some(load) };

unsafe extern "C" fn save(plugin: *const clap_plugin, stream: *const clap_ostream) -> bool {
    let state = data(plugin).save();
    // SAFETY: the host passes a valid stream.
    let stream = unsafe { &*stream };
    let Some(write) = stream.write else { return false };
    let mut left = &state[..];
    while !left.is_empty() {
        // SAFETY: the bytes live for the length of the call.
        let taken = unsafe { write(stream, left.as_ptr().cast(), left.len() as u64) };
        match usize::try_from(taken) {
            Ok(taken @ 1..) => left = &left[taken.min(left.len())..],
            _ => return false,
        }
    }
    true
}

unsafe extern "C" fn load(plugin: *const clap_plugin, stream: *const clap_istream) -> bool {
    // SAFETY: the host passes a valid stream.
    let stream = unsafe { &*stream };
    let Some(read) = stream.read else { return false };
    let (mut state, mut piece) = (Vec::new(), [0_u8; 4096]);
    loop {
        // SAFETY: there is room for so many bytes.
        let length = unsafe { read(stream, piece.as_mut_ptr().cast(), piece.len() as u64) };
        match usize::try_from(length) {
            Ok(0) => return data(plugin).load(&state),
            Ok(length) => state.extend(&piece[..length.min(piece.len())]),
            Err(_) => return false,
        }
    }
}

static LATENCIES: clap_plugin_latency = clap_plugin_latency { get: Some(latency) };

unsafe extern "C" fn latency(plugin: *const clap_plugin) -> u32 {
    data(plugin).latency()
}

static TAIL: clap_plugin_tail = clap_plugin_tail { get: Some(tail) };

unsafe extern "C" fn tail(_plugin: *const clap_plugin) -> u32 {
    100
}
