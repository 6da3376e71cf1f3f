//! A port at a JACK server, or at PipeWire, which has JACK's library too. Each message is placed at its frame.

#![allow(unsafe_code, reason = "the border to libjack, in C")]

use std::ffi::{CString, c_char, c_int, c_ulong, c_void};
use std::fs::DirEntry;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use audiocloud_midi_clock::Event;
use audiocloud_midi_clock::message::BYTES_MAX;
use audiocloud_units::{HostTime, Nanos};

use super::foreign::foreign;
use super::{NAME, PORT, Port, PortStatus};

/// `jack_client_t`.
type Client = c_void;
/// `jack_port_t`.
type Output = c_void;
type Process = unsafe extern "C" fn(u32, *mut c_void) -> c_int;
type Shutdown = unsafe extern "C" fn(*mut c_void);

const NO_SERVER: &str = "no server runs (start JACK, or PipeWire)";
/// `JackNoStartServer`.
const NO_START: c_int = 1;
/// `JackPortIsOutput`, and `JackPortIsTerminal`: what leaves it comes from nowhere else.
const OUTPUT: c_ulong = 2 | 16;
/// Messages that wait at most.
const RING: usize = 4_096;
/// A message so late that who listens may notice, in nanoseconds.
const LATE_NS: i64 = 1_000_000;

foreign! {
    /// What of libjack is used.
    struct Library from "libjack.so.0", remedy "install JACK, or PipeWire's JACK library" {
        open = "jack_client_open": unsafe extern "C" fn(*const c_char, c_int, *mut c_int, ...) -> *mut Client,
        close = "jack_client_close": unsafe extern "C" fn(*mut Client) -> c_int,
        activate = "jack_activate": unsafe extern "C" fn(*mut Client) -> c_int,
        process = "jack_set_process_callback": unsafe extern "C" fn(*mut Client, Process, *mut c_void) -> c_int,
        shutdown = "jack_on_shutdown": unsafe extern "C" fn(*mut Client, Shutdown, *mut c_void),
        port = "jack_port_register":
            unsafe extern "C" fn(*mut Client, *const c_char, *const c_char, c_ulong, c_ulong) -> *mut Output,
        connected = "jack_port_connected": unsafe extern "C" fn(*const Output) -> c_int,
        rate = "jack_get_sample_rate": unsafe extern "C" fn(*mut Client) -> u32,
        period = "jack_get_buffer_size": unsafe extern "C" fn(*mut Client) -> u32,
        micros = "jack_get_time": unsafe extern "C" fn() -> u64,
        cycle = "jack_get_cycle_times":
            unsafe extern "C" fn(*const Client, *mut u32, *mut u64, *mut u64, *mut f32) -> c_int,
        buffer = "jack_port_get_buffer": unsafe extern "C" fn(*mut Output, u32) -> *mut c_void,
        clear = "jack_midi_clear_buffer": unsafe extern "C" fn(*mut c_void),
        write = "jack_midi_event_write": unsafe extern "C" fn(*mut c_void, u32, *const u8, usize) -> c_int,
    }
}

/// A message and its time on JACK's clock, in nanoseconds.
#[derive(Clone, Copy)]
struct Timed {
    at: i64,
    bytes: [u8; BYTES_MAX],
    length: usize,
}

/// What the callback and we tell each other.
#[derive(Default)]
struct Shared {
    lost: AtomicU64,
    is_gone: AtomicBool,
}

/// How far the server's idea of when periods begin lies behind the truth: a driver that lost time, for instance because
/// the machine stood still, may go on late by as much for ever.
#[derive(Debug)]
struct Lag {
    /// The least of the periods that are counted now, and of those before, in nanoseconds.
    least: i64,
    before: i64,
    periods: u32,
}

impl Lag {
    const NONE: Self = Self { least: i64::MAX, before: i64::MAX, periods: 0 };
    const PERIODS: u32 = 64;

    /// A period was woken up for so long after it should have begun. How late all of them are, if that is worth a thought:
    /// one that is late is only late to be woken.
    fn woken(&mut self, late: i64) -> i64 {
        self.least = self.least.min(late);
        let all = self.least.min(self.before);
        self.periods += 1;
        if self.periods >= Self::PERIODS {
            *self = Self { least: i64::MAX, before: self.least, periods: 0 };
        }
        if all > LATE_NS { all } else { 0 }
    }
}

/// What the callback has.
struct Stage {
    lag: Lag,
    library: &'static Library,
    client: *mut Client,
    output: *mut Output,
    events: rtrb::Consumer<Timed>,
    shared: Arc<Shared>,
}

/// Our client.
pub(super) struct Jack {
    library: &'static Library,
    client: *mut Client,
    output: *mut Output,
    events: rtrb::Producer<Timed>,
    shared: Arc<Shared>,
    /// The callback's, until the client is closed.
    stage: *mut Stage,
}

// SAFETY: JACK's functions may be called from any thread; the stage is touched by the callback alone while it runs.
unsafe impl Send for Jack {}

impl Jack {
    pub(super) fn open() -> Result<Self, String> {
        if !runs() {
            return Err(NO_SERVER.into());
        }
        let library = Library::get()?;
        let texts = [NAME, PORT, "8 bit raw midi"].map(|text| CString::new(text).unwrap_or_default());
        let [name, port, kind] = &texts;
        // SAFETY: the name is a text that ends, and no options take further arguments.
        let client = unsafe { (library.open)(name.as_ptr(), NO_START, ptr::null_mut()) };
        if client.is_null() {
            return Err(NO_SERVER.into());
        }
        // SAFETY: the client is open, the names are texts that end.
        let output = unsafe { (library.port)(client, port.as_ptr(), kind.as_ptr(), OUTPUT, 0) };
        let (producer, events) = rtrb::RingBuffer::new(RING);
        let shared = Arc::<Shared>::default();
        let stage =
            Box::new(Stage { lag: Lag::NONE, library, client, output, events, shared: Arc::clone(&shared) });
        let stage = Box::into_raw(stage);
        let made = Self { library, client, output, events: producer, shared, stage };
        if output.is_null() || !made.begin() {
            // Dropping it closes the client.
            return Err("the server gives no port".into());
        }
        Ok(made)
    }

    fn begin(&self) -> bool {
        let shared = Arc::as_ptr(&self.shared).cast_mut().cast();
        // SAFETY: what it is called with lives until the client is closed, which ends all callbacks.
        unsafe { (self.library.shutdown)(self.client, gone, shared) };
        // SAFETY: as above; nothing else touches the stage until then.
        let set = unsafe { (self.library.process)(self.client, process, self.stage.cast()) };
        // SAFETY: the client is open.
        set == 0 && unsafe { (self.library.activate)(self.client) } == 0
    }

    fn micros(&self) -> i64 {
        // SAFETY: it takes nothing and reads a clock.
        i64::try_from(unsafe { (self.library.micros)() }).unwrap_or(0)
    }
}

impl Port for Jack {
    fn ahead(&self) -> Nanos {
        // SAFETY: the client is open.
        let frames = unsafe { (self.library.period)(self.client) };
        // SAFETY: the client is open.
        let rate = unsafe { (self.library.rate)(self.client) }.max(1);
        // The period that is being made now, and the next one, which may begin before we wake again.
        Nanos::new(i64::from(frames) * 2_000_000_000 / i64::from(rate)) + super::PERIOD
    }

    fn give(&mut self, events: &[Event], now: HostTime) {
        if events.is_empty() {
            return;
        }
        // Both clocks are monotonic; which of them is ahead is seen each time.
        let theirs = self.micros() * 1_000 - now.get();
        for event in events {
            let text = event.message.bytes();
            let mut timed = Timed { at: event.at.get() + theirs, bytes: [0; BYTES_MAX], length: text.len() };
            timed.bytes.iter_mut().zip(text.iter()).for_each(|(place, byte)| *place = *byte);
            if self.events.push(timed).is_err() {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn send_due(&mut self, _now: HostTime) -> Option<HostTime> {
        None
    }

    fn status(&mut self) -> PortStatus {
        let is_gone = self.shared.is_gone.load(Ordering::Acquire);
        // SAFETY: the port is the open client's.
        let listeners = if is_gone { 0 } else { unsafe { (self.library.connected)(self.output) } };
        PortStatus {
            words: format!("JACK port \"{NAME}:{PORT}\""),
            listeners: usize::try_from(listeners).unwrap_or(0),
            lost: self.shared.lost.load(Ordering::Relaxed),
            is_gone,
        }
    }
}

impl Drop for Jack {
    fn drop(&mut self) {
        // SAFETY: it is open; also one whose server has gone has to be closed. No callback runs afterwards.
        unsafe { (self.library.close)(self.client) };
        // SAFETY: made by `Box::into_raw`, and nobody else has it any more.
        drop(unsafe { Box::from_raw(self.stage) });
    }
}

/// Whether there may be a server: asked for in vain, JACK's library complains on the host's standard error.
fn runs() -> bool {
    let is_called = |entry: &DirEntry, start: &str| entry.file_name().to_string_lossy().starts_with(start);
    let is_socket = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_socket());
    let is_folder = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let any = |folder: &Path, wanted: &dyn Fn(&DirEntry) -> bool| {
        std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| wanted(&entry))
    };
    // JACK 2 has its sockets there; JACK 1 has a folder for each user.
    let jack = |entry: &DirEntry| {
        is_called(entry, "jack_") && is_socket(entry) || is_called(entry, "jack-") && is_folder(entry)
    };
    let run = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).unwrap_or_default();
    ["/dev/shm", "/tmp"].into_iter().any(|folder| any(Path::new(folder), &jack))
        || any(&run, &|entry| is_called(entry, "pipewire-"))
}

/// The server has gone.
unsafe extern "C" fn gone(shared: *mut c_void) {
    // SAFETY: `begin` gave it the address of the shared part, which outlives the client.
    let shared = unsafe { &*shared.cast::<Shared>() };
    shared.is_gone.store(true, Ordering::Release);
}

/// Called by JACK for each period, in real time.
unsafe extern "C" fn process(frames: u32, stage: *mut c_void) -> c_int {
    // SAFETY: `begin` gave it the stage, which lives until the client is closed, and which nothing else touches.
    let stage = unsafe { &mut *stage.cast::<Stage>() };
    stage.play(frames);
    0
}

impl Stage {
    fn play(&mut self, frames: u32) {
        // SAFETY: called from the process callback, with its count of frames.
        let buffer = unsafe { (self.library.buffer)(self.output, frames) };
        if buffer.is_null() {
            return;
        }
        // SAFETY: the port's buffer, in its callback.
        unsafe { (self.library.clear)(buffer) };
        let (mut first, mut begins, mut ends, mut period) = (0, 0, 0, 0.0);
        // SAFETY: four places to write to, in the callback.
        let told = unsafe {
            (self.library.cycle)(self.client, &raw mut first, &raw mut begins, &raw mut ends, &raw mut period)
        };
        let [begins, ends] = [begins, ends].map(|micros| i64::try_from(micros).unwrap_or(0) * 1_000);
        if told != 0 || ends <= begins {
            return;
        }
        // SAFETY: it takes nothing and reads a clock.
        let now = i64::try_from(unsafe { (self.library.micros)() }).unwrap_or(0) * 1_000;
        let lag = self.lag.woken(now - begins);
        let (begins, ends) = (begins + lag, ends + lag);
        let mut least = 0;
        while let Ok(event) = self.events.peek().copied() {
            if event.at >= ends {
                break;
            }
            let into = (event.at - begins).max(0).saturating_mul(i64::from(frames)) / (ends - begins);
            let frame = u32::try_from(into).unwrap_or(0).clamp(least, frames.saturating_sub(1).max(least));
            least = frame;
            // SAFETY: the buffer is this period's, the frame in it, the bytes ours.
            let written = unsafe { (self.library.write)(buffer, frame, event.bytes.as_ptr(), event.length) };
            if written != 0 || begins - event.at > LATE_NS {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
            }
            // It was there a moment ago.
            self.events.pop().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_always_late_is_late_and_one_period_is_not() {
        let mut lag = Lag::NONE;
        let ms = |millis: i64| millis * 1_000_000;
        assert_eq!(lag.woken(20_000), 0);
        assert_eq!(lag.woken(ms(60)), 0);
        for _ in 0..200 {
            lag.woken(ms(60) + 30_000);
        }
        assert_eq!(lag.woken(ms(61)), ms(60) + 30_000);
        assert_eq!(lag.woken(10_000), 0, "it has caught up");
    }
}
