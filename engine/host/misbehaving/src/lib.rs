//! CLAP plug-ins that crash, hang and lie when they are asked to, and are exact as long as they are not.
//!
//! - `org.audiocloud.test.gain`: stereo, with a stereo side-chain and a mono output that nobody wants. Its output is the
//!   sum of its two inputs times *Gain*, set to the frame. Notes pass. *Trouble* says how it breaks down; *State* and
//!   *Latency* change while it plays.
//! - `org.audiocloud.test.mono`: the same with one channel, and no side-chain.
//! - `org.audiocloud.test.late`: as the first one, 32 frames late, and says so.
//! - `org.audiocloud.test.unmakeable`: crashes when it is made.
//! - `org.audiocloud.test.clean`: stereo, without a side-chain: what comes in goes out. It owns nothing in its callback.
//! - `org.audiocloud.test.allocating`: the same, but it allocates once and frees once in every call, with its own allocator
//!   as any plug-in in Rust does.
//!
//! In a file whose name contains `crash` or `hang` the entry itself does that. None is ever shipped.

#![allow(unsafe_code, reason = "a plug-in is a C boundary")]

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use clap_sys::entry::clap_plugin_entry;
use clap_sys::factory::plugin_factory::{CLAP_PLUGIN_FACTORY_ID, clap_plugin_factory};
use clap_sys::host::clap_host;
use clap_sys::plugin::{clap_plugin, clap_plugin_descriptor};
use clap_sys::version::CLAP_VERSION;

mod extensions;
mod gain;

pub use gain::{CRASH, ERROR, EXIT, GAIN, GIVE_UP, HANG, LATENCY, NOT_A_NUMBER, SLOW, STATE, TROUBLE};

use gain::{Form, Gain};

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

static DESCRIPTORS: [Descriptor; 6] = [
    descriptor(c"org.audiocloud.test.gain", c"Gain with troubles"),
    descriptor(c"org.audiocloud.test.mono", c"Mono gain with troubles"),
    descriptor(c"org.audiocloud.test.late", c"Late gain with troubles"),
    descriptor(c"org.audiocloud.test.unmakeable", c"Crashes when it is made"),
    descriptor(c"org.audiocloud.test.clean", c"Does not allocate in its callback"),
    descriptor(c"org.audiocloud.test.allocating", c"Allocates in its callback"),
];

/// The entry that a CLAP host looks for.
#[unsafe(no_mangle)]
pub static clap_entry: clap_plugin_entry = clap_plugin_entry {
    clap_version: CLAP_VERSION,
    init: Some(init),
    deinit: Some(deinit),
    get_factory: Some(get_factory),
};

unsafe extern "C" fn init(path: *const c_char) -> bool {
    // SAFETY: the host passes a string that ends in a zero byte.
    let path = unsafe { CStr::from_ptr(path) }.to_string_lossy();
    let name = path.rsplit('/').next().unwrap_or_default();
    if name.contains("crash") {
        gain::crash();
    }
    if name.contains("hang") {
        gain::hang();
    }
    // Whoever speaks over standard output must not be disturbed by this.
    println!("a plug-in's greeting");
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
    u32::try_from(DESCRIPTORS.len()).unwrap_or(0)
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
    host: *const clap_host,
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
    let full = Form { channels: 2, ports: 2, latency: 0, allocates: false };
    let gain = match index {
        0 => Gain::new(full, host),
        1 => Gain::new(Form { channels: 1, ports: 1, ..full }, host),
        2 => Gain::new(Form { latency: 32, ..full }, host),
        3 => gain::crash(),
        4 => Gain::new(Form { ports: 1, ..full }, host),
        _ => Gain::new(Form { ports: 1, allocates: true, ..full }, host),
    };
    Box::into_raw(Box::new(clap_plugin {
        desc: &raw const DESCRIPTORS[index].0,
        plugin_data: Box::into_raw(Box::new(gain)).cast(),
        init: Some(always),
        destroy: Some(destroy),
        activate: Some(activate),
        deactivate: Some(nothing),
        start_processing: Some(always),
        stop_processing: Some(nothing),
        reset: Some(reset),
        process: Some(process),
        get_extension: Some(extensions::get),
        on_main_thread: Some(on_main_thread),
    }))
}

unsafe extern "C" fn always(_plugin: *const clap_plugin) -> bool {
    true
}

unsafe extern "C" fn nothing(_plugin: *const clap_plugin) {}

unsafe extern "C" fn activate(plugin: *const clap_plugin, _rate: f64, _min: u32, _max: u32) -> bool {
    data(plugin).activate();
    true
}

unsafe extern "C" fn on_main_thread(plugin: *const clap_plugin) {
    data(plugin).mark_dirty();
}

unsafe extern "C" fn destroy(plugin: *const clap_plugin) {
    // SAFETY: the host destroys once what `create_plugin` made by `Box::into_raw`.
    let plugin = unsafe { Box::from_raw(plugin.cast_mut()) };
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(plugin.plugin_data.cast::<Gain>()) });
}

/// The plug-in's own data.
fn data<'a>(plugin: *const clap_plugin) -> &'a Gain {
    // SAFETY: the host passes a plug-in of ours, until it destroys it.
    let plugin = unsafe { &*plugin };
    // SAFETY: `create_plugin` put it there; it is shared between threads, and made for that.
    unsafe { &*plugin.plugin_data.cast::<Gain>() }
}

unsafe extern "C" fn reset(plugin: *const clap_plugin) {
    data(plugin).reset();
}

unsafe extern "C" fn process(
    plugin: *const clap_plugin,
    process: *const clap_sys::process::clap_process,
) -> clap_sys::process::clap_process_status {
    // SAFETY: the host passes a valid description of the call.
    let process = unsafe { &*process };
    data(plugin).process(process)
}
