//! One instance of a plug-in on its audio thread: every port supplied, events in and out.

use std::sync::atomic::AtomicU32;

use audiocloud_graph::event::Transport;
use audiocloud_graph::node::GRID;
use audiocloud_rt::event::{Body, Expression, NoteAddress};
use clack_extensions::tail::{PluginTail, TailLength};
use clack_host::events::EventFlags;
use clack_host::events::event_types::{
    Midi2Event, MidiEvent, NoteChokeEvent, NoteExpressionEvent, NoteExpressionType, NoteOffEvent,
    NoteOnEvent, ParamModEvent, ParamValueEvent, TransportEvent, TransportFlags,
};
use clack_host::events::spaces::CoreEventSpace;
use clack_host::prelude::*;
use clack_host::utils::{BeatTime, SecondsTime};

use super::callbacks::{Host, Requests};
use super::spread::{empty, fill};
use crate::description::{Description, Port, Tail};
use crate::shared::{Direction, EVENTS_MAX, Head, Shape, Slot};
use crate::words::PluginEvent;

/// One instance, and its channels of the chain.
pub(super) struct Voice {
    processor: StartedPluginAudioProcessor<Host>,
    /// The one channel that it serves, where it is one of several.
    own: Option<usize>,
    main_input: Option<usize>,
    side_chain: Option<usize>,
    main_output: Option<usize>,
    /// Of each port, of each channel.
    inputs: Vec<Vec<Vec<f32>>>,
    outputs: Vec<Vec<Vec<f32>>>,
    audio_in: AudioPorts,
    audio_out: AudioPorts,
    events_in: EventBuffer,
    events_out: EventBuffer,
}

impl Voice {
    pub(super) fn new(
        processor: StartedPluginAudioProcessor<Host>,
        description: &Description,
        own: Option<usize>,
    ) -> Self {
        let buffers = |ports: &[Port]| -> Vec<Vec<Vec<f32>>> {
            let width = |port: &Port| usize::try_from(port.channels).unwrap_or(0);
            ports.iter().map(|port| vec![vec![0.0; GRID]; width(port)]).collect()
        };
        let (inputs, outputs) = (buffers(&description.inputs), buffers(&description.outputs));
        let ports = |buffers: &[Vec<Vec<f32>>]| {
            // One more than there are: clack moves its list when it is full, and loses its way.
            AudioPorts::with_capacity(buffers.iter().map(Vec::len).sum::<usize>() + 1, buffers.len() + 1)
        };
        Self {
            processor,
            own,
            main_input: Description::main(&description.inputs),
            side_chain: description.side_chain(),
            main_output: Description::main(&description.outputs),
            audio_in: ports(&inputs),
            audio_out: ports(&outputs),
            inputs,
            outputs,
            events_in: EventBuffer::with_capacity(EVENTS_MAX),
            events_out: EventBuffer::with_capacity(EVENTS_MAX),
        }
    }

    /// How long it sounds on, as of now.
    pub(super) fn tail(&mut self) -> Tail {
        let handle = self.processor.plugin_handle();
        let Some(tail) = handle.get_extension::<PluginTail>() else { return Tail::None };
        match tail.get(&handle) {
            TailLength::Finite(0) => Tail::None,
            TailLength::Finite(frames) => Tail::Frames(frames),
            TailLength::Infinite => Tail::Infinite,
        }
    }

    /// Whether that has changed.
    pub(super) fn tail_changed(&self) -> bool {
        self.processor.access_shared_handler(|requests| Requests::take(&requests.tail))
    }

    /// Answers one block. `false` where the plug-in says that it failed.
    pub(super) fn answer(&mut self, slot: Slot<'_>, head: &Head, shape: Shape, gives_events: bool) -> bool {
        if head.begins {
            self.processor.reset();
        }
        self.take(slot, shape);
        let done = self.process(head);
        let channels: [&[AtomicU32]; 64] = std::array::from_fn(|channel| {
            if channel < usize::from(shape.channels) { slot.output(channel) } else { &[] }
        });
        let channels = match self.own {
            Some(own) => &channels[own..=own],
            None => &channels[..usize::from(shape.channels)],
        };
        let main = self.main_output.filter(|_| done).and_then(|main| self.outputs.get(main));
        empty(main.map_or(&[], Vec::as_slice), channels);
        if gives_events && done {
            let told = self.events_out.iter().filter_map(|event| Some((event.header().time(), read(event)?)));
            for (offset, event) in told.filter(|(offset, _)| (*offset as usize) < GRID) {
                // No room is counted there.
                slot.push(Direction::Out, event.to_words(offset));
            }
        }
        done
    }

    fn take(&mut self, slot: Slot<'_>, shape: Shape) {
        let (width, side) = (usize::from(shape.channels), usize::from(shape.side_chain));
        let from: [&[AtomicU32]; 128] =
            std::array::from_fn(|channel| if channel < width + side { slot.input(channel) } else { &[] });
        for (index, port) in self.inputs.iter_mut().enumerate() {
            let from = match self.own {
                _ if Some(index) == self.side_chain => &from[width..width + side],
                Some(own) if Some(index) == self.main_input => &from[own..=own],
                None if Some(index) == self.main_input => &from[..width],
                _ => &[],
            };
            fill(port, from);
        }
        self.outputs.iter_mut().flatten().for_each(|samples| samples.fill(0.0));
        self.events_in.clear();
        self.events_out.clear();
        for (offset, event) in slot.events(Direction::In).filter_map(|words| PluginEvent::from_words(&words))
        {
            push(&mut self.events_in, offset, event);
        }
        // Those of one parameter after those of another: CLAP wants them by time.
        self.events_in.sort();
    }

    fn process(&mut self, head: &Head) -> bool {
        let inputs = self.inputs.iter_mut().map(|channels| AudioPortBuffer {
            latency: 0,
            channels: AudioPortBufferType::f32_input_only(channels.iter_mut().map(InputChannel::variable)),
        });
        let outputs = self.outputs.iter_mut().map(|channels| AudioPortBuffer {
            latency: 0,
            channels: AudioPortBufferType::f32_output_only(channels.iter_mut().map(Vec::as_mut_slice)),
        });
        let inputs = self.audio_in.with_input_buffers(inputs);
        let mut outputs = self.audio_out.with_output_buffers(outputs);
        let events_in = self.events_in.as_input();
        let mut events_out = self.events_out.as_output();
        let transport = transport(&head.transport);
        let time = Some(head.position);
        let status = self.processor.process(
            &inputs,
            &mut outputs,
            &events_in,
            &mut events_out,
            time,
            Some(&transport),
        );
        status.is_ok()
    }

    /// The way back.
    pub(super) fn stop(self) -> StoppedPluginAudioProcessor<Host> {
        self.processor.stop_processing()
    }
}

fn transport(song: &Transport) -> TransportEvent {
    let mut flags = TransportFlags::HAS_TEMPO
        | TransportFlags::HAS_BEATS_TIMELINE
        | TransportFlags::HAS_SECONDS_TIMELINE
        | TransportFlags::HAS_TIME_SIGNATURE;
    flags.set(TransportFlags::IS_PLAYING, song.playing);
    let (beats, value) = song.signature;
    let tempo = if song.tempo_bpm.is_finite() && song.tempo_bpm > 0.0 { song.tempo_bpm } else { 120.0 };
    let position = if song.position_beats.is_finite() { song.position_beats } else { 0.0 };
    let in_bar = f64::from(beats.max(1)) * 4.0 / f64::from(value.max(1));
    let bar = (position / in_bar).floor();
    #[allow(clippy::cast_possible_truncation, reason = "saturates after two thousand million bars")]
    let bar_number = bar as i32;
    TransportEvent {
        header: EventHeader::new_core(0, EventFlags::empty()),
        flags,
        song_pos_beats: BeatTime::from_float(position),
        song_pos_seconds: SecondsTime::from_float(position * 60.0 / tempo),
        tempo,
        tempo_inc: 0.0,
        loop_start_beats: BeatTime::from_float(0.0),
        loop_end_beats: BeatTime::from_float(0.0),
        loop_start_seconds: SecondsTime::from_float(0.0),
        loop_end_seconds: SecondsTime::from_float(0.0),
        bar_start: BeatTime::from_float(bar * in_bar),
        bar_number,
        time_signature_numerator: beats,
        time_signature_denominator: value,
    }
}

fn pckn(note: NoteAddress) -> Pckn {
    Pckn::from_raw(note.port, note.channel, note.key, note.note_id)
}

fn push(buffer: &mut EventBuffer, at: u32, event: PluginEvent) {
    match event {
        PluginEvent::Parameter { id, value } => {
            if let Some(id) = ClapId::from_raw(id) {
                buffer.push(&ParamValueEvent::new(at, id, Pckn::match_all(), value));
            }
        }
        PluginEvent::Modulation { id, note, amount } => {
            if let Some(id) = ClapId::from_raw(id) {
                buffer.push(&ParamModEvent::new(at, id, pckn(note), amount));
            }
        }
        PluginEvent::Voice(Body::NoteOn { note, velocity }) => {
            buffer.push(&NoteOnEvent::new(at, pckn(note), velocity));
        }
        PluginEvent::Voice(Body::NoteOff { note, velocity }) => {
            buffer.push(&NoteOffEvent::new(at, pckn(note), velocity));
        }
        PluginEvent::Voice(Body::NoteChoke { note }) => buffer.push(&NoteChokeEvent::new(at, pckn(note))),
        PluginEvent::Voice(Body::NoteExpression { note, expression, value }) => {
            let kind = match expression {
                Expression::Volume => NoteExpressionType::Volume,
                Expression::Pan => NoteExpressionType::Pan,
                Expression::Tuning => NoteExpressionType::Tuning,
                Expression::Vibrato => NoteExpressionType::Vibrato,
                Expression::Expression => NoteExpressionType::Expression,
                Expression::Brightness => NoteExpressionType::Brightness,
                Expression::Pressure => NoteExpressionType::Pressure,
            };
            buffer.push(&NoteExpressionEvent::new(at, pckn(note), kind, value));
        }
        PluginEvent::Voice(Body::Midi1 { port, bytes }) => buffer.push(&MidiEvent::new(at, port, bytes)),
        PluginEvent::Voice(Body::Midi2 { port, words }) => buffer.push(&Midi2Event::new(at, port, words)),
        PluginEvent::Voice(Body::Lost { .. }) => {}
    }
}

fn read(event: &UnknownEvent) -> Option<PluginEvent> {
    let note = |pckn: Pckn| NoteAddress {
        note_id: pckn.raw_note_id(),
        port: pckn.raw_port_index(),
        channel: pckn.raw_channel(),
        key: pckn.raw_key(),
    };
    let body = match event.as_core_event()? {
        CoreEventSpace::NoteOn(on) => Body::NoteOn { note: note(on.pckn()), velocity: on.velocity() },
        CoreEventSpace::NoteOff(off) => Body::NoteOff { note: note(off.pckn()), velocity: off.velocity() },
        CoreEventSpace::NoteChoke(choke) => Body::NoteChoke { note: note(choke.pckn()) },
        CoreEventSpace::NoteExpression(change) => {
            // clack does not read the type that is called like its family.
            let expression = match change.as_raw().expression_id {
                0 => Expression::Volume,
                1 => Expression::Pan,
                2 => Expression::Tuning,
                3 => Expression::Vibrato,
                4 => Expression::Expression,
                5 => Expression::Brightness,
                6 => Expression::Pressure,
                _ => return None,
            };
            Body::NoteExpression { note: note(change.pckn()), expression, value: change.value() }
        }
        CoreEventSpace::Midi(midi) => Body::Midi1 { port: midi.port_index(), bytes: midi.data() },
        CoreEventSpace::Midi2(midi) => Body::Midi2 { port: midi.port_index(), words: midi.data() },
        _ => return None,
    };
    Some(PluginEvent::Voice(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive_claps_structures() {
        let note = NoteAddress { note_id: 17, port: 0, channel: 3, key: 60 };
        let all = Expression::Expression;
        let bodies = [
            Body::NoteOn { note, velocity: 0.5 },
            Body::NoteOff { note, velocity: 0.25 },
            Body::NoteChoke { note },
            Body::NoteExpression { note, expression: all, value: 0.75 },
            Body::NoteExpression { note, expression: Expression::Tuning, value: -0.5 },
            Body::Midi1 { port: 0, bytes: [0xb0, 1, 64] },
            Body::Midi2 { port: 1, words: [1, 2, 3, 4] },
        ];
        let mut buffer = EventBuffer::new();
        for (at, body) in (0..).zip(bodies) {
            push(&mut buffer, at, PluginEvent::Voice(body));
        }
        let back: Vec<_> = buffer.iter().filter_map(read).collect();
        assert_eq!(back, bodies.map(PluginEvent::Voice));
    }

    #[test]
    fn a_bar_has_a_beginning() {
        let song = Transport { position_beats: 7.5, signature: (6, 8), ..Transport::default() };
        let event = transport(&song);
        assert_eq!((event.bar_number, event.bar_start), (2, BeatTime::from_float(6.0)));
        let event = transport(&Transport { position_beats: -0.5, tempo_bpm: f64::NAN, ..song });
        assert_eq!((event.bar_number, event.bar_start), (-1, BeatTime::from_float(-3.0)));
        assert!((event.tempo - 120.0).abs() < f64::EPSILON);
    }
}
