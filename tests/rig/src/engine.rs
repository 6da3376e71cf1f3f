//! What happens in one call: input and events in, the plug-in's `process`, output and events out, all in memory that
//! was reserved before the first call.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use clack_host::{
    events::{
        EventFlags, EventHeader, Pckn, UnknownEvent,
        event_types::{
            MidiEvent, NoteChokeEvent, NoteExpressionEvent, NoteExpressionType, NoteOffEvent, NoteOnEvent,
            ParamValueEvent, TransportEvent, TransportFlags,
        },
        spaces::CoreEventSpace,
    },
    prelude::*,
    utils::{BeatTime, ClapId, SecondsTime},
};

use audiocloud_rig::{
    audio::Audio,
    callback_log::{CallbackLog, Record},
    clock::{now_ns, thread_cpu_ns},
    notes::{Address, Body, NoteEvent},
    transport::{Change, Position, Record as Told, Transport},
};

use crate::{
    heap,
    plugin::{Host, Ports},
    tail::Tail,
};

/// Room for events out of one call; more would be operations on the heap by the host.
const EVENTS_PER_CALL: usize = 4096;
/// Room for events of a whole run.
const EVENTS_HEARD_MAX: usize = 1 << 16;
/// Calls with heap operations that are listed one by one.
const HEAP_LISTED_MAX: usize = 16;

/// Between the main thread and the audio thread.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    /// Begin to feed the input.
    pub(crate) start: AtomicBool,
    /// Leave the loop after the present call.
    pub(crate) halt: AtomicBool,
    /// Frames processed.
    pub(crate) position: AtomicU64,
    /// Frame at which the input began, plus one; 0 before.
    pub(crate) input_from: AtomicU64,
    /// All of the input was fed.
    pub(crate) input_done: AtomicBool,
}

/// Sums over all calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) process_errors: u64,
    pub(crate) not_finite: u64,
    pub(crate) peak: f32,
    pub(crate) heap_operations: Option<u64>,
    pub(crate) heap_at_frames: Vec<u64>,
    pub(crate) notes_dropped: u64,
    pub(crate) lateness_ns: Vec<i64>,
    pub(crate) stalls: u64,
    pub(crate) stall_max_ns: i64,
}

/// The audio thread's side of a run.
pub(crate) struct Engine {
    pub(crate) switches: Arc<Switches>,
    pub(crate) log: CallbackLog,
    pub(crate) heard: Vec<NoteEvent>,
    pub(crate) recorded: Audio,
    pub(crate) recorded_2: Option<Audio>,
    pub(crate) figures: Figures,
    /// Who hears the main output in the same callback.
    pub(crate) tail: Option<Box<Tail>>,
    /// What the plug-in was told of the transport.
    pub(crate) told: Vec<Told>,
    /// The transport that is told is that of so many frames later.
    pub(crate) transport_ahead: u32,
    /// Parameter changes for the next call.
    pub(crate) parameters: Vec<(ClapId, f64)>,
    transport: Transport,
    input: Option<Audio>,
    notes: Vec<NoteEvent>,
    notes_played: usize,
    frames_max: u64,
    position: u64,
    input_from: Option<u64>,
    inputs: Vec<Vec<Vec<f32>>>,
    outputs: Vec<Vec<Vec<f32>>>,
    audio_in: AudioPorts,
    audio_out: AudioPorts,
    events_in: EventBuffer,
    events_out: EventBuffer,
}

impl Engine {
    /// Room for `frames_max` frames in blocks of at most `block_max` and at least `block_min`.
    pub(crate) fn new(
        ports: &Ports,
        sample_rate: u32,
        frames_max: usize,
        block_min: usize,
        block_max: usize,
    ) -> Self {
        let scratch = |widths: &[usize]| -> Vec<Vec<Vec<f32>>> {
            widths.iter().map(|width| vec![vec![0.0; block_max]; *width]).collect()
        };
        let room = |width: usize| {
            let channels = (0..width).map(|_| reserved(frames_max, frames_max, f32::MIN_POSITIVE)).collect();
            Audio { sample_rate, channels }
        };
        let calls = frames_max / block_min + 1;
        // Blocks of random sizes are as long as the mean of their bounds, by and large.
        let likely = 2 * frames_max / (block_min + block_max) + 1;
        let records = reserved(calls, likely, Record { frames: 1, ..Record::default() });
        let told = Told { frame: 1, playing: true, quarter: 1.0, bpm: 1.0, bar_start: 1.0 };
        let total = |widths: &[usize]| widths.iter().sum();
        let figures = Figures {
            heap_at_frames: Vec::with_capacity(HEAP_LISTED_MAX),
            lateness_ns: reserved(calls, likely, 1),
            ..Figures::default()
        };
        Self {
            switches: Arc::default(),
            log: CallbackLog { records, dropped: 0 },
            heard: Vec::with_capacity(EVENTS_HEARD_MAX),
            recorded: room(ports.outputs.first().copied().unwrap_or(0)),
            recorded_2: ports.outputs.get(1).copied().map(room),
            figures,
            tail: None,
            told: reserved(calls, likely, told),
            transport_ahead: 0,
            parameters: Vec::with_capacity(64),
            transport: Transport::new(vec![Change { playing: Some(true), ..Change::default() }], sample_rate),
            input: None,
            notes: Vec::new(),
            notes_played: 0,
            frames_max: u64::try_from(frames_max).unwrap_or(u64::MAX),
            position: 0,
            input_from: None,
            inputs: scratch(&ports.inputs),
            outputs: scratch(&ports.outputs),
            audio_in: AudioPorts::with_capacity(total(&ports.inputs), ports.inputs.len()),
            audio_out: AudioPorts::with_capacity(total(&ports.outputs), ports.outputs.len()),
            events_in: EventBuffer::with_capacity(EVENTS_PER_CALL),
            events_out: EventBuffer::with_capacity(EVENTS_PER_CALL),
        }
    }

    /// What to feed from `start` on.
    pub(crate) fn feed(&mut self, input: Option<Audio>, mut notes: Vec<NoteEvent>) {
        notes.sort_by_key(|event| event.frame);
        self.input = input;
        self.notes = notes;
    }

    /// The host's transport from now on.
    pub(crate) fn direct(&mut self, transport: Transport) {
        self.transport = transport;
    }

    /// Whether the input has begun, or begins with the next call.
    pub(crate) fn has_begun(&self) -> bool {
        self.input_from.is_some() || self.switches.start.load(Ordering::Acquire)
    }

    /// How many frames the next call may have, of the `wanted` ones; 0 at the end of the reserved memory.
    pub(crate) fn frames(&self, wanted: u32) -> u32 {
        u32::try_from(self.frames_max.saturating_sub(self.position)).unwrap_or(u32::MAX).min(wanted)
    }

    /// Notes how late a call was entered; `frames` is its length.
    pub(crate) fn lateness(&mut self, late_ns: i64, frames: u32, sample_rate: u32) {
        if self.figures.lateness_ns.len() < self.figures.lateness_ns.capacity() {
            self.figures.lateness_ns.push(late_ns);
        }
        if late_ns > i64::from(frames) * 1_000_000_000 / i64::from(sample_rate) {
            self.figures.stalls += 1;
            self.figures.stall_max_ns = self.figures.stall_max_ns.max(late_ns);
        }
    }

    /// One call of `frames`. `live` is input that takes the recording's place where there is none.
    pub(crate) fn call(
        &mut self,
        processor: &mut StartedPluginAudioProcessor<Host>,
        frames: u32,
        live: Option<&[&[f32]]>,
    ) {
        let length = usize::try_from(frames).unwrap_or(0);
        if self.input_from.is_none() && self.has_begun() {
            self.input_from = Some(self.position);
            self.switches.input_from.store(self.position + 1, Ordering::Release);
        }
        self.fill_inputs(length, live);
        self.fill_events(frames);
        let transport = self.transport();
        self.process(processor, frames, &transport);
        self.take_outputs(length);
        self.take_events();
        if let (Some(tail), Some(main)) = (&mut self.tail, self.outputs.first()) {
            tail.call(frames, main);
        }
        self.transport.advance(frames);
        self.position += u64::from(frames);
        self.switches.position.store(self.position, Ordering::Release);
        self.tell_end_of_input();
    }

    fn fill_inputs(&mut self, length: usize, live: Option<&[&[f32]]>) {
        let from = self.input_from.map(|from| usize::try_from(self.position - from).unwrap_or(usize::MAX));
        for (port, channels) in self.inputs.iter_mut().enumerate() {
            for (index, channel) in channels.iter_mut().enumerate() {
                channel[..length].fill(0.0);
                if port != 0 {
                    continue;
                }
                let fed = self.input.as_ref().and_then(|input| {
                    let samples = input.channels.get(index)?;
                    samples.get(from?..)
                });
                let live = live.and_then(|live| live.get(index).copied());
                if let Some(samples) = fed.or(live) {
                    let count = length.min(samples.len());
                    channel[..count].copy_from_slice(&samples[..count]);
                }
            }
        }
    }

    fn fill_events(&mut self, frames: u32) {
        self.events_in.clear();
        self.events_out.clear();
        for (id, value) in self.parameters.drain(..) {
            self.events_in.push(&ParamValueEvent::new(0, id, Pckn::match_all(), value));
        }
        let Some(from) = self.input_from else { return };
        while let Some(event) = self.notes.get(self.notes_played) {
            let at = (from + event.frame).saturating_sub(self.position);
            let Ok(at) = u32::try_from(at) else { break };
            if at >= frames {
                break;
            }
            push_event(&mut self.events_in, at, event.body);
            self.notes_played += 1;
        }
    }

    fn transport(&mut self) -> TransportEvent {
        let since = self.input_from.map(|from| self.position - from);
        let mut position = self.transport.begin(since);
        if self.transport_ahead > 0 {
            position = self.transport.ahead(self.transport_ahead);
        }
        if self.told.len() < self.told.capacity() {
            let Position { playing, quarter, bpm, bar_start, .. } = position;
            self.told.push(Told { frame: self.position, playing, quarter, bpm, bar_start });
        }
        let rate = f64::from(self.recorded.sample_rate);
        let seconds = f64::from(u32::try_from(since.unwrap_or(0)).unwrap_or(u32::MAX)) / rate;
        transport_event(&position, seconds)
    }

    fn process(
        &mut self,
        processor: &mut StartedPluginAudioProcessor<Host>,
        frames: u32,
        transport: &TransportEvent,
    ) {
        let length = usize::try_from(frames).unwrap_or(0);
        let inputs = self.inputs.iter_mut().map(|channels| AudioPortBuffer {
            latency: 0,
            channels: AudioPortBufferType::f32_input_only(
                channels.iter_mut().map(move |channel| InputChannel::variable(&mut channel[..length])),
            ),
        });
        let outputs = self.outputs.iter_mut().map(|channels| AudioPortBuffer {
            latency: 0,
            channels: AudioPortBufferType::f32_output_only(
                channels.iter_mut().map(move |channel| &mut channel[..length]),
            ),
        });
        let inputs = self.audio_in.with_input_buffers(inputs);
        let mut outputs = self.audio_out.with_output_buffers(outputs);
        let events_in = self.events_in.as_input();
        let mut events_out = self.events_out.as_output();
        let (entered_ns, cpu_before) = (now_ns(), thread_cpu_ns());
        let (status, operations) = heap::counted(|| {
            let time = Some(self.position);
            processor.process(&inputs, &mut outputs, &events_in, &mut events_out, time, Some(transport))
        });
        let (duration_ns, cpu_ns) = (now_ns() - entered_ns, thread_cpu_ns() - cpu_before);
        self.figures.process_errors += u64::from(status.is_err());
        self.note_heap(operations);
        self.log.push(Record {
            first_frame: self.position,
            frames,
            heap_operations: operations.unwrap_or(0),
            entered_ns,
            duration_ns,
            cpu_ns,
        });
    }

    fn note_heap(&mut self, operations: Option<u32>) {
        let Some(operations) = operations else { return };
        *self.figures.heap_operations.get_or_insert(0) += u64::from(operations);
        if operations > 0 && self.figures.heap_at_frames.len() < HEAP_LISTED_MAX {
            self.figures.heap_at_frames.push(self.position);
        }
    }

    fn take_outputs(&mut self, length: usize) {
        let recordings = [Some(&mut self.recorded), self.recorded_2.as_mut()];
        for (channels, recording) in self.outputs.iter().zip(recordings) {
            let Some(recording) = recording else { continue };
            for (samples, kept) in channels.iter().zip(&mut recording.channels) {
                let samples = &samples[..length];
                let room = kept.capacity() - kept.len();
                kept.extend_from_slice(&samples[..length.min(room)]);
                // Each by itself, a vector at a time: what the rig does in a callback is counted with the plug-in.
                let not_finite: u32 = samples.iter().map(|sample| u32::from(!sample.is_finite())).sum();
                self.figures.not_finite += u64::from(not_finite);
                let (vectors, rest) = samples.as_chunks::<8>();
                let mut peaks = [self.figures.peak; 8];
                for vector in vectors {
                    for (peak, sample) in peaks.iter_mut().zip(vector) {
                        *peak = if sample.abs() > *peak { sample.abs() } else { *peak };
                    }
                }
                let all = peaks.into_iter().chain(rest.iter().map(|sample| sample.abs()));
                self.figures.peak = all.fold(self.figures.peak, f32::max);
            }
        }
    }

    /// The main output of the last call.
    pub(crate) fn output(&self, channel: usize, length: usize) -> &[f32] {
        self.outputs
            .first()
            .and_then(|channels| channels.get(channel))
            .map_or(&[], |samples| &samples[..length])
    }

    fn take_events(&mut self) {
        for event in &self.events_out {
            let Some((at, body)) = read_event(event) else { continue };
            if self.heard.len() < self.heard.capacity() {
                self.heard.push(NoteEvent { frame: self.position + u64::from(at), body });
            } else {
                self.figures.notes_dropped += 1;
            }
        }
    }

    fn tell_end_of_input(&mut self) {
        let Some(from) = self.input_from else { return };
        let audio = self.input.as_ref().map_or(0, |input| u64::try_from(input.frames()).unwrap_or(0));
        let notes = self.notes.last().map_or(0, |event| event.frame + 1);
        if self.position >= from + audio.max(notes) {
            self.switches.input_done.store(true, Ordering::Release);
        }
    }
}

fn transport_event(position: &Position, seconds: f64) -> TransportEvent {
    let mut flags = TransportFlags::HAS_TEMPO
        | TransportFlags::HAS_BEATS_TIMELINE
        | TransportFlags::HAS_SECONDS_TIMELINE
        | TransportFlags::HAS_TIME_SIGNATURE;
    flags.set(TransportFlags::IS_PLAYING, position.playing);
    flags.set(TransportFlags::IS_LOOP_ACTIVE, position.looped.is_some());
    let [from, to] = position.looped.unwrap_or_default();
    TransportEvent {
        header: EventHeader::new_core(0, EventFlags::empty()),
        flags,
        song_pos_beats: BeatTime::from_float(position.quarter),
        song_pos_seconds: SecondsTime::from_float(seconds),
        tempo: position.bpm,
        tempo_inc: 0.0,
        loop_start_beats: BeatTime::from_float(from),
        loop_end_beats: BeatTime::from_float(to),
        loop_start_seconds: SecondsTime::from_float(0.0),
        loop_end_seconds: SecondsTime::from_float(0.0),
        bar_start: BeatTime::from_float(position.bar_start),
        bar_number: position.bar,
        time_signature_numerator: position.meter[0],
        time_signature_denominator: position.meter[1],
    }
}

/// Memory that is there: the first of it touched, so that no call waits for a page, and a run takes no more of it at its end
/// than at its beginning.
fn reserved<T: Clone>(room: usize, touched: usize, touch: T) -> Vec<T> {
    let mut memory = Vec::with_capacity(room);
    memory.resize(touched.min(room), touch);
    memory.clear();
    memory
}

fn pckn(note: Address) -> Pckn {
    Pckn::from_raw(note.port, note.channel, note.key, note.note_id)
}

fn push_event(buffer: &mut EventBuffer, at: u32, body: Body) {
    match body {
        Body::NoteOn { note, velocity } => buffer.push(&NoteOnEvent::new(at, pckn(note), velocity)),
        Body::NoteOff { note, velocity } => buffer.push(&NoteOffEvent::new(at, pckn(note), velocity)),
        Body::NoteChoke { note } => buffer.push(&NoteChokeEvent::new(at, pckn(note))),
        Body::NoteExpression { note, expression, value } => {
            let kind = match expression {
                4 => Some(NoteExpressionType::Expression),
                other => NoteExpressionType::from_raw(other),
            };
            if let Some(kind) = kind {
                buffer.push(&NoteExpressionEvent::new(at, pckn(note), kind, value));
            }
        }
        Body::Midi { data } => buffer.push(&MidiEvent::new(at, 0, data)),
        Body::Parameter { id, value } => {
            if let Some(id) = ClapId::from_raw(id) {
                buffer.push(&ParamValueEvent::new(at, id, Pckn::match_all(), value));
            }
        }
    }
}

fn read_event(event: &UnknownEvent) -> Option<(u32, Body)> {
    let at = event.header().time();
    let note = |pckn: Pckn| Address {
        key: pckn.raw_key(),
        channel: pckn.raw_channel(),
        port: pckn.raw_port_index(),
        note_id: pckn.raw_note_id(),
    };
    let body = match event.as_core_event()? {
        CoreEventSpace::NoteOn(on) => Body::NoteOn { note: note(on.pckn()), velocity: on.velocity() },
        CoreEventSpace::NoteOff(off) => Body::NoteOff { note: note(off.pckn()), velocity: off.velocity() },
        CoreEventSpace::NoteChoke(choke) => Body::NoteChoke { note: note(choke.pckn()) },
        CoreEventSpace::NoteExpression(change) => Body::NoteExpression {
            note: note(change.pckn()),
            expression: change.as_raw().expression_id,
            value: change.value(),
        },
        CoreEventSpace::Midi(midi) => Body::Midi { data: midi.data() },
        _ => return None,
    };
    Some((at, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_claps_structures() {
        let note = Address { key: 60, channel: 3, port: 0, note_id: 17 };
        let bodies = [
            Body::NoteOn { note, velocity: 0.5 },
            Body::NoteOff { note, velocity: 0.25 },
            Body::NoteChoke { note },
            Body::NoteExpression { note, expression: 4, value: 0.75 },
            Body::NoteExpression { note, expression: 2, value: -0.5 },
            Body::Midi { data: [0xb0, 1, 64] },
        ];
        let mut buffer = EventBuffer::new();
        for (at, body) in (0..).zip(bodies) {
            push_event(&mut buffer, at, body);
        }
        let back: Vec<_> = buffer.iter().filter_map(read_event).collect();
        assert_eq!(back, (0..).zip(bodies).collect::<Vec<_>>());
    }
}
