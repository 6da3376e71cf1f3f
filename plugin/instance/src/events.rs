//! Note events: nice-plug's, as the host speaks, and the engine's, as a stream carries them.

use audiocloud_engine::rt::event::{Body, Expression, NoteAddress};
use nice_plug::midi::{Channel, Key, NoteEvent, VoiceID};

/// A host's event; no plug-in of ours reads system exclusive messages.
pub type HostEvent = NoteEvent<()>;

fn address(voice: VoiceID, channel: Channel, key: Key) -> NoteAddress {
    NoteAddress {
        note_id: voice.id().unwrap_or(-1),
        // nice-plug has one note port in each direction.
        port: 0,
        channel: channel.number().map_or(-1, i16::from),
        key: key.number().map_or(-1, i16::from),
    }
}

fn expression(note: NoteAddress, expression: Expression, value: f32) -> Body {
    Body::NoteExpression { note, expression, value: f64::from(value) }
}

/// What a stream carries of a host's event; `None` for what is between a plug-in and its host alone.
///
/// *Realtime-safe: yes.*
pub fn from_host(event: &HostEvent) -> Option<Body> {
    Some(match *event {
        NoteEvent::NoteOn { voice_id, channel, key, velocity, .. } => {
            Body::NoteOn { note: address(voice_id, channel, key), velocity: f64::from(velocity) }
        }
        NoteEvent::NoteOff { voice_id, channel, key, velocity, .. } => {
            Body::NoteOff { note: address(voice_id, channel, key), velocity: f64::from(velocity) }
        }
        NoteEvent::Choke { voice_id, channel, key, .. } => {
            Body::NoteChoke { note: address(voice_id, channel, key) }
        }
        NoteEvent::PolyPressure { voice_id, channel, key, pressure, .. } => {
            expression(address(voice_id, channel, key), Expression::Pressure, pressure)
        }
        NoteEvent::PolyVolume { voice_id, channel, key, gain, .. } => {
            expression(address(voice_id, channel, key), Expression::Volume, gain)
        }
        // nice-plug pans from −1 to 1, CLAP and the stream from 0 to 1.
        NoteEvent::PolyPan { voice_id, channel, key, pan, .. } => {
            let note = address(voice_id, channel, key);
            Body::NoteExpression { note, expression: Expression::Pan, value: (f64::from(pan) + 1.0) / 2.0 }
        }
        NoteEvent::PolyTuning { voice_id, channel, key, tuning, .. } => {
            expression(address(voice_id, channel, key), Expression::Tuning, tuning)
        }
        NoteEvent::PolyVibrato { voice_id, channel, key, vibrato, .. } => {
            expression(address(voice_id, channel, key), Expression::Vibrato, vibrato)
        }
        NoteEvent::PolyExpression { voice_id, channel, key, expression: value, .. } => {
            expression(address(voice_id, channel, key), Expression::Expression, value)
        }
        NoteEvent::PolyBrightness { voice_id, channel, key, brightness, .. } => {
            expression(address(voice_id, channel, key), Expression::Brightness, brightness)
        }
        NoteEvent::MidiChannelPressure { .. }
        | NoteEvent::MidiPitchBend { .. }
        | NoteEvent::MidiCC { .. }
        | NoteEvent::MidiProgramChange { .. } => match event.as_midi() {
            Some(nice_plug::midi::MidiResult::Basic(bytes)) => Body::Midi1 { port: 0, bytes },
            _ => return None,
        },
        _ => return None,
    })
}

/// The host's event at `timing`, frames into the block; `None` for what this host's note port cannot take.
///
/// *Realtime-safe: yes.*
pub fn to_host(timing: u32, body: &Body) -> Option<HostEvent> {
    Some(match *body {
        Body::NoteOn { note, velocity } => {
            let (voice_id, channel, key) = voice(note);
            NoteEvent::NoteOn { timing, voice_id, channel, key, velocity: single(velocity) }
        }
        Body::NoteOff { note, velocity } => {
            let (voice_id, channel, key) = voice(note);
            NoteEvent::NoteOff { timing, voice_id, channel, key, velocity: single(velocity) }
        }
        // nice-plug takes chokes from a host but cannot emit them; a note-off ends the note as well.
        Body::NoteChoke { note } => {
            let (voice_id, channel, key) = voice(note);
            NoteEvent::NoteOff { timing, voice_id, channel, key, velocity: 0.0 }
        }
        Body::NoteExpression { note, expression, value } => {
            expressed(timing, note, expression, single(value))
        }
        Body::Midi1 { bytes, .. } => NoteEvent::from_midi(timing, &bytes).ok()?,
        Body::Midi2 { .. } | Body::Lost { .. } => return None,
    })
}

fn expressed(timing: u32, note: NoteAddress, expression: Expression, value: f32) -> HostEvent {
    let (voice_id, channel, key) = voice(note);
    match expression {
        Expression::Volume => NoteEvent::PolyVolume { timing, voice_id, channel, key, gain: value },
        Expression::Pan => {
            NoteEvent::PolyPan { timing, voice_id, channel, key, pan: value.mul_add(2.0, -1.0) }
        }
        Expression::Tuning => NoteEvent::PolyTuning { timing, voice_id, channel, key, tuning: value },
        Expression::Vibrato => NoteEvent::PolyVibrato { timing, voice_id, channel, key, vibrato: value },
        Expression::Expression => {
            NoteEvent::PolyExpression { timing, voice_id, channel, key, expression: value }
        }
        Expression::Brightness => {
            NoteEvent::PolyBrightness { timing, voice_id, channel, key, brightness: value }
        }
        Expression::Pressure => NoteEvent::PolyPressure { timing, voice_id, channel, key, pressure: value },
    }
}

fn voice(note: NoteAddress) -> (VoiceID, Channel, Key) {
    let id = if note.note_id >= 0 { VoiceID::ID(note.note_id) } else { VoiceID::Wildcard };
    let channel = match u8::try_from(note.channel) {
        Ok(channel @ 0..=15) => Channel::Number(channel),
        _ => Channel::Wildcard,
    };
    let key = match u8::try_from(note.key) {
        Ok(key @ 0..=127) => Key::Number(key),
        _ => Key::Wildcard,
    };
    (id, channel, key)
}

#[allow(clippy::cast_possible_truncation, reason = "rounding to single precision is meant")]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOICES: [(VoiceID, Channel, Key); 3] = [
        (VoiceID::ID(7), Channel::Number(3), Key::Number(60)),
        (VoiceID::Wildcard, Channel::Number(0), Key::Number(127)),
        (VoiceID::Wildcard, Channel::Wildcard, Key::Wildcard),
    ];

    fn round_trip(event: HostEvent) {
        let body = from_host(&event).unwrap_or_else(|| panic!("{event:?} is not carried"));
        assert_eq!(to_host(event.timing(), &body), Some(event), "{body:?}");
    }

    #[test]
    fn notes_and_expressions_come_back_as_they_were() {
        for (voice_id, channel, key) in VOICES {
            for value in [0.0, 0.25, 0.692_913_4, 1.0] {
                let timing = 17;
                round_trip(NoteEvent::NoteOn { timing, voice_id, channel, key, velocity: value });
                round_trip(NoteEvent::NoteOff { timing, voice_id, channel, key, velocity: value });
                round_trip(NoteEvent::PolyPressure { timing, voice_id, channel, key, pressure: value });
                round_trip(NoteEvent::PolyVolume { timing, voice_id, channel, key, gain: value * 4.0 });
                round_trip(NoteEvent::PolyTuning { timing, voice_id, channel, key, tuning: value * -12.5 });
                round_trip(NoteEvent::PolyVibrato { timing, voice_id, channel, key, vibrato: value });
                round_trip(NoteEvent::PolyExpression { timing, voice_id, channel, key, expression: value });
                round_trip(NoteEvent::PolyBrightness { timing, voice_id, channel, key, brightness: value });
            }
            for pan in [-1.0, -0.5, 0.0, 0.5, 1.0] {
                round_trip(NoteEvent::PolyPan { timing: 3, voice_id, channel, key, pan });
            }
        }
    }

    #[test]
    fn midi_is_carried_as_bytes() {
        let bend = HostEvent::MidiPitchBend { timing: 5, channel: 2, value: 0.5 };
        assert!(matches!(from_host(&bend), Some(Body::Midi1 { bytes: [0xE2, ..], .. })));
        let on = to_host(9, &Body::Midi1 { port: 0, bytes: [0x93, 60, 127] });
        assert!(
            matches!(on, Some(NoteEvent::NoteOn { timing: 9, channel: Channel::Number(3), .. })),
            "{on:?}"
        );
        round_trip(NoteEvent::MidiProgramChange { timing: 1, channel: 15, program: 99 });
    }

    #[test]
    fn a_choke_ends_the_note() {
        let note = NoteAddress { note_id: 4, port: 0, channel: 1, key: 64 };
        assert!(matches!(to_host(2, &Body::NoteChoke { note }), Some(NoteEvent::NoteOff { timing: 2, .. })));
    }

    #[test]
    fn what_a_host_cannot_take_is_left_out() {
        assert_eq!(to_host(0, &Body::Lost { count: 3 }), None);
        assert_eq!(to_host(0, &Body::Midi2 { port: 0, words: [0; 4] }), None);
        let terminated = HostEvent::VoiceTerminated {
            timing: 0,
            voice_id: VoiceID::ID(1),
            channel: Channel::Wildcard,
            key: Key::Wildcard,
        };
        assert_eq!(from_host(&terminated), None);
    }
}
