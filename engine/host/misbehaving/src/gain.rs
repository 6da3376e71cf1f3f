//! What the plug-ins do, and how they break down.

use std::ffi::CStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap_sys::audio_buffer::clap_audio_buffer;
use clap_sys::events::{
    CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_NOTE_OFF, CLAP_EVENT_NOTE_ON, CLAP_EVENT_PARAM_VALUE,
    clap_event_header, clap_event_param_value, clap_input_events,
};
use clap_sys::ext::state::{CLAP_EXT_STATE, clap_host_state};
use clap_sys::host::clap_host;
use clap_sys::process::{CLAP_PROCESS_CONTINUE, CLAP_PROCESS_ERROR, clap_process, clap_process_status};

/// The parameter that both inputs are multiplied by, 0 to 4.
pub const GAIN: u32 = 10;
/// The parameter that says what happens in the next call: 0, or one of those that follow.
pub const TROUBLE: u32 = 20;
/// Memory that is not its own.
pub const CRASH: f32 = 1.0;
/// `abort`.
pub const GIVE_UP: f32 = 2.0;
/// It never returns.
pub const HANG: f32 = 3.0;
/// It ends the process.
pub const EXIT: f32 = 4.0;
/// It gives what is not a number, as long as it is told to.
pub const NOT_A_NUMBER: f32 = 5.0;
/// It says that it failed, as long as it is told to.
pub const ERROR: f32 = 6.0;
/// Every call takes a tenth of a millisecond, as long as it is told to.
pub const SLOW: f32 = 7.0;
/// The parameter that says how long its state is, in KiB, 0 to 4096; it says when that changes.
pub const STATE: u32 = 30;
/// The parameter that says how late it is, in frames, 0 to 4096: from the next activation on, which it asks for.
pub const LATENCY: u32 = 40;

/// What one of them is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// Of its main ports.
    pub(crate) channels: u32,
    /// In each direction.
    pub(crate) ports: u32,
    /// Frames, at first.
    pub(crate) latency: u16,
    /// In every call, once; and frees it.
    pub(crate) allocates: bool,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Gain {
    pub(crate) form: Form,
    host: *const clap_host,
    gain: AtomicU64,
    trouble: AtomicU64,
    state: AtomicU64,
    latency: AtomicU64,
    /// The last frames of each channel, where it is late.
    line: Mutex<Vec<Vec<f32>>>,
}

impl Gain {
    pub(crate) fn new(form: Form, host: *const clap_host) -> Self {
        let value = |value: f64| AtomicU64::new(value.to_bits());
        let (gain, latency) = (value(1.0), value(form.latency.into()));
        let gain = Self {
            form,
            host,
            gain,
            trouble: value(0.0),
            state: value(0.0),
            latency,
            line: Mutex::default(),
        };
        gain.activate();
        gain
    }

    fn value(&self, id: u32) -> Option<&AtomicU64> {
        match id {
            GAIN => Some(&self.gain),
            TROUBLE => Some(&self.trouble),
            STATE => Some(&self.state),
            LATENCY => Some(&self.latency),
            _ => None,
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<f64> {
        self.value(id).map(|value| f64::from_bits(value.load(Ordering::Relaxed)))
    }

    pub(crate) fn set(&self, id: u32, value: f64) {
        let Some(place) = self.value(id) else { return };
        if place.swap(value.to_bits(), Ordering::Relaxed) == value.to_bits() {
            return;
        }
        // SAFETY: the host lives as long as its plug-ins; tests of one alone have none.
        let Some(host) = (unsafe { self.host.as_ref() }) else { return };
        let ask = match id {
            STATE => host.request_callback,
            LATENCY => host.request_restart,
            _ => None,
        };
        if let Some(ask) = ask {
            // SAFETY: both may be called from any thread.
            unsafe { ask(host) };
        }
    }

    /// A parameter that is a whole number.
    fn count(&self, id: u32) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to its range")]
        let count = self.get(id).unwrap_or(0.0).clamp(0.0, 4096.0) as usize;
        count
    }

    /// How late it is, since it was made active last.
    pub(crate) fn latency(&self) -> u32 {
        let line = self.line.lock().map(|line| line.first().map_or(0, Vec::len));
        line.ok().and_then(|frames| u32::try_from(frames).ok()).unwrap_or(0)
    }

    pub(crate) fn activate(&self) {
        if let Ok(mut line) = self.line.lock() {
            *line = vec![vec![0.0; self.count(LATENCY)]; self.form.channels as usize];
        }
    }

    /// On the main thread, after it asked for that: its state is another.
    pub(crate) fn mark_dirty(&self) {
        // SAFETY: as in `set`.
        let Some(host) = (unsafe { self.host.as_ref() }) else { return };
        let Some(get) = host.get_extension else { return };
        // SAFETY: the function is the host's own.
        let state = unsafe { get(host, CStr::as_ptr(CLAP_EXT_STATE)) }.cast::<clap_host_state>();
        // SAFETY: what the host gives by that name has that form.
        if let Some(mark_dirty) = unsafe { state.as_ref() }.and_then(|state| state.mark_dirty) {
            // SAFETY: this is the main thread.
            unsafe { mark_dirty(host) };
        }
    }

    /// The gain; where there is more to say, the latency too, and as many bytes as it is asked to have.
    pub(crate) fn save(&self) -> Vec<u8> {
        let bytes = 1024 * self.count(STATE);
        let is_short = bytes == 0 && self.count(LATENCY) == usize::from(self.form.latency);
        let ids: &[u32] = if is_short { &[GAIN] } else { &[GAIN, LATENCY] };
        let mut state: Vec<u8> =
            ids.iter().flat_map(|id| self.get(*id).unwrap_or(0.0).to_le_bytes()).collect();
        state.extend((0..=255).cycle().take(bytes));
        state
    }

    /// Whether that is a state.
    pub(crate) fn load(&self, state: &[u8]) -> bool {
        let value = |place: usize| {
            let bytes = state.get(8 * place..8 * place + 8)?;
            Some(f64::from_le_bytes(bytes.try_into().ok()?))
        };
        let Some(gain) = value(0) else { return false };
        self.set(GAIN, gain);
        if let Some(latency) = value(1) {
            let kibibytes = u16::try_from((state.len() - 16) / 1024).unwrap_or(0);
            self.state.store(f64::from(kibibytes).to_bits(), Ordering::Relaxed);
            self.set(LATENCY, latency);
        }
        true
    }

    pub(crate) fn reset(&self) {
        if let Ok(mut line) = self.line.lock() {
            line.iter_mut().for_each(|line| line.fill(0.0));
        }
    }

    pub(crate) fn process(&self, process: &clap_process) -> clap_process_status {
        let frames = process.frames_count as usize;
        if self.form.allocates {
            drop(std::hint::black_box(vec![0.0_f32; frames]));
        }
        let events = events(process.in_events);
        let mut at = 0;
        let mut next = events.iter().peekable();
        while at < frames {
            while let Some(event) = next.next_if(|event| time(event) <= at) {
                self.take(event, process);
            }
            let to = next.peek().map_or(frames, |event| time(event).min(frames));
            self.trouble();
            self.play(process, at, to);
            at = to;
        }
        if let Some(unwanted) = samples(outputs(process), 1, 0, frames) {
            unwanted.fill(99.0);
        }
        if self.is(ERROR) { CLAP_PROCESS_ERROR } else { CLAP_PROCESS_CONTINUE }
    }

    fn is(&self, trouble: f32) -> bool {
        self.get(TROUBLE) == Some(f64::from(trouble))
    }

    fn trouble(&self) {
        if self.is(CRASH) {
            crash();
        } else if self.is(GIVE_UP) {
            std::process::abort();
        } else if self.is(HANG) {
            hang();
        } else if self.is(EXIT) {
            std::process::exit(3);
        } else if self.is(SLOW) {
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
    }

    fn play(&self, process: &clap_process, from: usize, to: usize) {
        let frames = process.frames_count as usize;
        let gain = self.get(GAIN).unwrap_or(1.0);
        #[allow(clippy::cast_possible_truncation, reason = "samples have 24 bits")]
        let gain = if self.is(NOT_A_NUMBER) { f32::NAN } else { gain as f32 };
        let Ok(mut lines) = self.line.lock() else { return };
        for (channel, line) in lines.iter_mut().enumerate() {
            let Some(output) = samples(outputs(process), 0, channel, frames) else { return };
            let Some(main) = samples(inputs(process), 0, channel, frames) else { return };
            let side = samples(inputs(process), 1, channel, frames);
            for frame in from..to {
                let input = side.as_ref().map_or(main[frame], |side| main[frame] + side[frame]);
                output[frame] = input * gain;
                if !line.is_empty() {
                    line.push(output[frame]);
                    output[frame] = line.remove(0);
                }
            }
        }
    }

    fn take(&self, event: &clap_event_header, process: &clap_process) {
        if event.space_id != CLAP_CORE_EVENT_SPACE_ID {
            return;
        }
        match event.type_ {
            CLAP_EVENT_PARAM_VALUE => {
                let value = (&raw const *event).cast::<clap_event_param_value>();
                // SAFETY: an event of this type is the head of that structure.
                let value = unsafe { &*value };
                self.set(value.param_id, value.value);
            }
            CLAP_EVENT_NOTE_ON | CLAP_EVENT_NOTE_OFF => {
                // SAFETY: the host passes a valid list, or none.
                let Some(events) = (unsafe { process.out_events.as_ref() }) else { return };
                if let Some(push) = events.try_push {
                    // SAFETY: the event is the host's own, and valid during the call.
                    unsafe { push(events, event) };
                }
            }
            _ => {}
        }
    }
}

fn time(event: &clap_event_header) -> usize {
    event.time as usize
}

fn events<'a>(list: *const clap_input_events) -> Vec<&'a clap_event_header> {
    // SAFETY: the host passes a valid list, or none.
    let Some(list) = (unsafe { list.as_ref() }) else { return Vec::new() };
    let (Some(size), Some(get)) = (list.size, list.get) else { return Vec::new() };
    // SAFETY: the function is the list's own.
    let count = unsafe { size(list) };
    let event = |index| {
        // SAFETY: as above; the index is below the size.
        let event = unsafe { get(list, index) };
        // SAFETY: it is valid during the call, or null.
        unsafe { event.as_ref() }
    };
    (0..count).filter_map(event).collect()
}

fn inputs(process: &clap_process) -> &[clap_audio_buffer] {
    ports(process.audio_inputs, process.audio_inputs_count)
}

fn outputs(process: &clap_process) -> &[clap_audio_buffer] {
    ports(process.audio_outputs, process.audio_outputs_count)
}

fn ports<'a>(first: *const clap_audio_buffer, count: u32) -> &'a [clap_audio_buffer] {
    if first.is_null() {
        return &[];
    }
    // SAFETY: the host supplies as many as it says, valid during the call.
    unsafe { std::slice::from_raw_parts(first, count as usize) }
}

/// One channel of one port, if the host supplies it.
fn samples<'a>(
    ports: &[clap_audio_buffer],
    port: usize,
    channel: usize,
    frames: usize,
) -> Option<&'a mut [f32]> {
    let port = ports.get(port)?;
    if channel >= port.channel_count as usize || port.data32.is_null() {
        return None;
    }
    // SAFETY: there are as many pointers as channels.
    let pointer = unsafe { port.data32.add(channel) };
    // SAFETY: as above.
    let pointer = unsafe { pointer.read() };
    // SAFETY: every channel has room for the call's frames, and inputs and outputs are not the same.
    Some(unsafe { std::slice::from_raw_parts_mut(pointer, frames) })
}

/// Ends the process as a plug-in's mistake would.
pub(crate) fn crash() -> ! {
    let nowhere: *mut u32 = std::ptr::without_provenance_mut(std::hint::black_box(8));
    // SAFETY: none; that is the point. Nothing is mapped there.
    unsafe { nowhere.write_volatile(1) };
    std::process::abort()
}

/// Never returns.
pub(crate) fn hang() -> ! {
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}
