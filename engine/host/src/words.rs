//! Events as eight words of shared memory, in both directions.

use audiocloud_graph::event::Body;
use audiocloud_graph::node::GRID;
use audiocloud_rt::event::{self, Expression, NoteAddress};

/// Words of one event.
pub(crate) const EVENT_WORDS: usize = 8;
/// One event: kind and frame, what it is of, channel and port, key and expression, a value or four words, the note.
pub(crate) type EventWords = [u32; EVENT_WORDS];

const PARAMETER: u32 = 1;
const MODULATION: u32 = 2;
const NOTE_ON: u32 = 3;
const NOTE_OFF: u32 = 4;
const NOTE_CHOKE: u32 = 5;
const EXPRESSION: u32 = 6;
const MIDI_1: u32 = 7;
const MIDI_2: u32 = 8;

const EXPRESSIONS: [Expression; 7] = [
    Expression::Volume,
    Expression::Pan,
    Expression::Tuning,
    Expression::Vibrato,
    Expression::Expression,
    Expression::Brightness,
    Expression::Pressure,
];

/// What a plug-in is told, or tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PluginEvent {
    /// A parameter has this plain value from here on.
    Parameter { id: u32, value: f64 },
    /// A parameter differs from its value by so much, for these notes.
    Modulation { id: u32, note: NoteAddress, amount: f64 },
    /// What streams carry too.
    Voice(event::Body),
}

impl PluginEvent {
    /// What is for the processor, of what a graph tells; not what is done for it, or is nothing to a plug-in.
    pub(crate) fn of(body: &Body) -> Option<Self> {
        match *body {
            Body::Voice(event::Body::Lost { .. }) | Body::Transport(_) | Body::Bypass(_) => None,
            Body::Parameter { .. } => None,
            Body::Voice(voice) => Some(Self::Voice(voice)),
            Body::Modulation { id, note, amount } => Some(Self::Modulation { id, note, amount }),
        }
    }

    /// `offset` is the frame within the block of 64.
    pub(crate) fn to_words(self, offset: u32) -> EventWords {
        let head = |kind: u32| kind << 8 | (offset & 0xff);
        match self {
            Self::Parameter { id, value } => {
                let [low, high] = split(value);
                [head(PARAMETER), id, 0, 0, low, high, 0, 0]
            }
            Self::Modulation { id, note, amount } => {
                let ([low, high], [_, b, c]) = (split(amount), address(note));
                [head(MODULATION), id, b, c, low, high, note.note_id.cast_unsigned(), 0]
            }
            Self::Voice(voice) => voice_words(voice, head),
        }
    }

    /// The frame within the block, and what happens; `None` for what makes no sense, for another process wrote it.
    pub(crate) fn from_words(words: &EventWords) -> Option<(u32, Self)> {
        let [head, a, b, c, d, e, f, g] = *words;
        let offset = head & 0xff;
        if offset as usize >= GRID {
            return None;
        }
        let value = f64::from_bits(u64::from(e) << 32 | u64::from(d));
        let finite = || value.is_finite().then_some(value);
        let note = |id: u32| NoteAddress {
            note_id: id.cast_signed(),
            port: low(b).cast_signed(),
            channel: low(b >> 16).cast_signed(),
            key: low(c).cast_signed(),
        };
        let event = match head >> 8 {
            PARAMETER => Self::Parameter { id: a, value: finite()? },
            MODULATION => Self::Modulation { id: a, note: note(f), amount: finite()? },
            NOTE_ON => Self::Voice(event::Body::NoteOn { note: note(a), velocity: finite()? }),
            NOTE_OFF => Self::Voice(event::Body::NoteOff { note: note(a), velocity: finite()? }),
            NOTE_CHOKE => Self::Voice(event::Body::NoteChoke { note: note(a) }),
            EXPRESSION => {
                let expression = *EXPRESSIONS.get((c >> 16) as usize)?;
                Self::Voice(event::Body::NoteExpression { note: note(a), expression, value: finite()? })
            }
            MIDI_1 => {
                let [x, y, z, _] = d.to_le_bytes();
                Self::Voice(event::Body::Midi1 { port: low(b), bytes: [x, y, z] })
            }
            MIDI_2 => Self::Voice(event::Body::Midi2 { port: low(b), words: [d, e, f, g] }),
            _ => return None,
        };
        Some((offset, event))
    }
}

fn voice_words(voice: event::Body, head: impl Fn(u32) -> u32) -> EventWords {
    let with = |kind, note, extra: u32, value| {
        let ([low, high], [a, b, c]) = (split(value), address(note));
        [head(kind), a, b, c | extra << 16, low, high, 0, 0]
    };
    match voice {
        event::Body::NoteOn { note, velocity } => with(NOTE_ON, note, 0, velocity),
        event::Body::NoteOff { note, velocity } => with(NOTE_OFF, note, 0, velocity),
        event::Body::NoteChoke { note } => with(NOTE_CHOKE, note, 0, 0.0),
        event::Body::NoteExpression { note, expression, value } => {
            let index = EXPRESSIONS.iter().position(|known| *known == expression);
            with(EXPRESSION, note, index.and_then(|index| u32::try_from(index).ok()).unwrap_or(0), value)
        }
        event::Body::Midi1 { port, bytes: [x, y, z] } => {
            [head(MIDI_1), 0, port.into(), 0, u32::from_le_bytes([x, y, z, 0]), 0, 0, 0]
        }
        event::Body::Midi2 { port, words: [d, e, f, g] } => [head(MIDI_2), 0, port.into(), 0, d, e, f, g],
        // Nothing to a plug-in: a kind that is not read.
        event::Body::Lost { .. } => [0; EVENT_WORDS],
    }
}

fn split(value: f64) -> [u32; 2] {
    let bits = value.to_bits();
    let half = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
    [half(bits), half(bits >> 32)]
}

fn low(bits: u32) -> u16 {
    u16::try_from(bits & 0xffff).unwrap_or(0)
}

fn address(note: NoteAddress) -> [u32; 3] {
    let bits = |value: i16| u32::from(value.cast_unsigned());
    [note.note_id.cast_unsigned(), bits(note.port) | bits(note.channel) << 16, bits(note.key)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_their_words() {
        let note = NoteAddress { note_id: -1, port: 3, channel: -1, key: 127 };
        let other = NoteAddress { note_id: i32::MAX, port: -1, channel: 15, key: -1 };
        let mut events = vec![
            PluginEvent::Parameter { id: u32::MAX - 1, value: -1e-300 },
            PluginEvent::Modulation { id: 7, note: other, amount: 0.25 },
            PluginEvent::Voice(event::Body::NoteOn { note, velocity: 0.5 }),
            PluginEvent::Voice(event::Body::NoteOff { note: other, velocity: 1.0 }),
            PluginEvent::Voice(event::Body::NoteChoke { note }),
            PluginEvent::Voice(event::Body::Midi1 { port: 65_535, bytes: [0x90, 60, 255] }),
            PluginEvent::Voice(event::Body::Midi2 { port: 1, words: [1, u32::MAX, 3, 4] }),
        ];
        for expression in EXPRESSIONS {
            events.push(PluginEvent::Voice(event::Body::NoteExpression { note, expression, value: -2.5 }));
        }
        for (offset, event) in (0..).zip(events) {
            assert_eq!(PluginEvent::from_words(&event.to_words(offset)), Some((offset, event)));
        }
    }

    #[test]
    fn what_makes_no_sense_is_not_read() {
        let good = PluginEvent::Parameter { id: 1, value: 1.0 }.to_words(0);
        let check = |index: usize, word: u32| {
            let mut words = good;
            words[index] = word;
            assert_eq!(PluginEvent::from_words(&words), None, "{words:?}");
        };
        check(0, PARAMETER << 8 | 64);
        check(0, 0);
        check(0, 9 << 8);
        check(5, 0x7ff0_0000);
        assert_eq!(PluginEvent::from_words(&[EXPRESSION << 8, 0, 0, 7 << 16, 0, 0, 0, 0]), None);
        assert_eq!(PluginEvent::from_words(&[u32::MAX; EVENT_WORDS]), None);
    }
}
