//! What the plug-ins do, and how they break down.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap_sys::events::{
    CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_NOTE_OFF, CLAP_EVENT_NOTE_ON, CLAP_EVENT_PARAM_VALUE,
    clap_event_header, clap_event_param_value, clap_input_events,
};
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

/// One of them.
#[derive(Debug)]
pub(crate) struct Gain {
    pub(crate) channels: u32,
    pub(crate) latency: u32,
    gain: AtomicU64,
    trouble: AtomicU64,
    /// The last frames of each channel, where it is late.
    line: Mutex<Vec<Vec<f32>>>,
}

impl Gain {
    pub(crate) fn new(channels: u32, latency: u32) -> Self {
        let line = vec![vec![0.0; latency as usize]; channels as usize];
        let (gain, trouble) = (AtomicU64::new(1.0_f64.to_bits()), AtomicU64::new(0));
        Self { channels, latency, gain, trouble, line: Mutex::new(line) }
    }

    pub(crate) fn get(&self, id: u32) -> Option<f64> {
        let value = match id {
            GAIN => &self.gain,
            TROUBLE => &self.trouble,
            _ => return None,
        };
        Some(f64::from_bits(value.load(Ordering::Relaxed)))
    }

    pub(crate) fn set(&self, id: u32, value: f64) {
        match id {
            GAIN => self.gain.store(value.to_bits(), Ordering::Relaxed),
            TROUBLE => self.trouble.store(value.to_bits(), Ordering::Relaxed),
            _ => {}
        }
    }

    pub(crate) fn reset(&self) {
        if let Ok(mut line) = self.line.lock() {
            line.iter_mut().for_each(|line| line.fill(0.0));
        }
    }

    pub(crate) fn process(&self, process: &clap_process) -> clap_process_status {
        let frames = process.frames_count as usize;
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
        for channel in 0..samples(process.audio_outputs, 1, 0, frames).map_or(0, |_| 1) {
            if let Some(unwanted) = samples(process.audio_outputs, 1, channel, frames) {
                unwanted.fill(99.0);
            }
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
        }
    }

    fn play(&self, process: &clap_process, from: usize, to: usize) {
        let frames = process.frames_count as usize;
        let gain = self.get(GAIN).unwrap_or(1.0);
        #[allow(clippy::cast_possible_truncation, reason = "samples have 24 bits")]
        let gain = if self.is(NOT_A_NUMBER) { f32::NAN } else { gain as f32 };
        let Ok(mut lines) = self.line.lock() else { return };
        for (channel, line) in lines.iter_mut().enumerate() {
            let Some(output) = samples(process.audio_outputs, 0, channel, frames) else { return };
            let Some(main) = samples(process.audio_inputs.cast_mut(), 0, channel, frames) else { return };
            let side = samples(process.audio_inputs.cast_mut(), 1, channel, frames);
            for frame in from..to {
                let input = main[frame] + side.as_ref().map_or(0.0, |side| side[frame]);
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

/// One channel of one port, if the host supplies it.
fn samples<'a>(
    ports: *mut clap_sys::audio_buffer::clap_audio_buffer,
    port: usize,
    channel: usize,
    frames: usize,
) -> Option<&'a mut [f32]> {
    if ports.is_null() {
        return None;
    }
    // SAFETY: the host supplies as many ports as the plug-in has.
    let port = unsafe { ports.add(port) };
    // SAFETY: as above.
    let port = unsafe { &*port };
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
