//! A port at ALSA's sequencer, which programs on Linux connect to.

#![allow(unsafe_code, reason = "the border to libasound, in C")]

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::path::Path;
use std::ptr;

use super::foreign::foreign;
use super::paced::Direct;
use super::{NAME, PORT};

/// The kernel's sequencer.
const DEVICE: &str = "/dev/snd/seq";

/// `snd_seq_t`.
type Sequencer = c_void;
/// `snd_midi_event_t`: makes events of bytes.
type Encoder = c_void;

/// `snd_seq_event_t`, as far as it is ours to fill in: the encoder writes the rest.
#[repr(C)]
struct Event {
    kind: u8,
    flags: u8,
    tag: i8,
    queue: u8,
    time: [u32; 2],
    source: [u8; 2],
    dest: [u8; 2],
    data: [u32; 3],
}

/// Not by a queue, but now.
const QUEUE_DIRECT: u8 = 253;
/// To whoever is connected.
const SUBSCRIBERS: [u8; 2] = [254, 253];
const OPEN_OUTPUT: c_int = 1;
const OPEN_NONBLOCK: c_int = 1;
/// May be read, and connected to for reading.
const CAPABILITIES: c_uint = 1 | 1 << 5;
/// Generic MIDI, of an application.
const KIND: c_uint = 1 << 1 | 1 << 20;
const MESSAGE_BYTES_MAX: usize = 16;

foreign! {
    /// What of libasound is used.
    struct Library from "libasound.so.2", remedy "install libasound2" {
        open = "snd_seq_open": unsafe extern "C" fn(*mut *mut Sequencer, *const c_char, c_int, c_int) -> c_int,
        close = "snd_seq_close": unsafe extern "C" fn(*mut Sequencer) -> c_int,
        name = "snd_seq_set_client_name": unsafe extern "C" fn(*mut Sequencer, *const c_char) -> c_int,
        port = "snd_seq_create_simple_port":
            unsafe extern "C" fn(*mut Sequencer, *const c_char, c_uint, c_uint) -> c_int,
        output = "snd_seq_event_output_direct": unsafe extern "C" fn(*mut Sequencer, *mut Event) -> c_int,
        encoder = "snd_midi_event_new": unsafe extern "C" fn(usize, *mut *mut Encoder) -> c_int,
        encode = "snd_midi_event_encode":
            unsafe extern "C" fn(*mut Encoder, *const u8, c_long, *mut Event) -> c_long,
        free = "snd_midi_event_free": unsafe extern "C" fn(*mut Encoder),
    }
}

/// Our client of the sequencer.
pub(super) struct Alsa {
    library: &'static Library,
    sequencer: *mut Sequencer,
    encoder: *mut Encoder,
    port: u8,
}

// SAFETY: the sequencer's handle belongs to no thread; one at a time uses it, through `&mut`.
unsafe impl Send for Alsa {}

impl Alsa {
    pub(super) fn open() -> Result<Self, String> {
        let absent = || String::from("the kernel has no MIDI sequencer here (as root: modprobe snd-seq)");
        // Asked for in vain, the library complains on the host's standard error.
        if !Path::new(DEVICE).exists() {
            return Err(absent());
        }
        let library = Library::get()?;
        let mut made = Self { library, sequencer: ptr::null_mut(), encoder: ptr::null_mut(), port: 0 };
        let hardware = c"hw".as_ptr();
        // SAFETY: the handle is written to `made`, the name is a text that ends.
        let opened = unsafe { (library.open)(&raw mut made.sequencer, hardware, OPEN_OUTPUT, OPEN_NONBLOCK) };
        if opened < 0 {
            return Err(absent());
        }
        let [client, port] = [NAME, PORT].map(|name| std::ffi::CString::new(name).unwrap_or_default());
        // SAFETY: the sequencer is open, the name is a text that ends.
        let named = unsafe { (library.name)(made.sequencer, client.as_ptr()) };
        let made_port = made.add_port(&port);
        // SAFETY: the encoder is written to `made`.
        let encoder = unsafe { (library.encoder)(MESSAGE_BYTES_MAX, &raw mut made.encoder) };
        match (named, u8::try_from(made_port), encoder) {
            (0, Ok(port), 0) => Ok(Self { port, ..made }),
            _ => Err(format!("the sequencer gives no port ({named}, {made_port}, {encoder})")),
        }
    }

    fn add_port(&self, name: &CStr) -> c_int {
        // SAFETY: the sequencer is open, the name is a text that ends.
        unsafe { (self.library.port)(self.sequencer, name.as_ptr(), CAPABILITIES, KIND) }
    }
}

impl Direct for Alsa {
    fn words(&self) -> String {
        format!("ALSA port \"{NAME}: {PORT}\"")
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        let mut event = Event {
            kind: 255,
            flags: 0,
            tag: 0,
            queue: QUEUE_DIRECT,
            time: [0; 2],
            source: [0, self.port],
            dest: SUBSCRIBERS,
            data: [0; 3],
        };
        let length = c_long::try_from(bytes.len()).unwrap_or(0);
        // SAFETY: the encoder is open, reads `length` bytes and writes one event.
        let used = unsafe { (self.library.encode)(self.encoder, bytes.as_ptr(), length, &raw mut event) };
        // The encoder writes what kind it is, and clears the rest.
        (event.queue, event.source, event.dest) = (QUEUE_DIRECT, [0, self.port], SUBSCRIBERS);
        // SAFETY: the sequencer is open; the event is whole, and what it points to lives in the encoder.
        used == length && unsafe { (self.library.output)(self.sequencer, &raw mut event) } >= 0
    }
}

impl Drop for Alsa {
    fn drop(&mut self) {
        if !self.encoder.is_null() {
            // SAFETY: it was made by the same library and is used no more.
            unsafe { (self.library.free)(self.encoder) };
        }
        if !self.sequencer.is_null() {
            // SAFETY: it was opened by the same library and is used no more.
            unsafe { (self.library.close)(self.sequencer) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_laid_out_as_the_sequencer_has_it() {
        // sound/asequencer.h: 28 bytes, with the source at 12, where it is sent to at 14 and its data at 16.
        assert_eq!(size_of::<Event>(), 28);
        assert_eq!(std::mem::offset_of!(Event, source), 12);
        assert_eq!(std::mem::offset_of!(Event, dest), 14);
        assert_eq!(std::mem::offset_of!(Event, data), 16);
    }

    #[test]
    fn a_machine_without_is_told_so_in_words() {
        match Alsa::open() {
            Ok(mut port) => assert!(port.send(&[0xf8])),
            Err(words) => assert!(words.contains("modprobe") || words.contains("install"), "{words}"),
        }
    }
}
