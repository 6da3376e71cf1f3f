//! Between the types of the engine and those of the wire, which know nothing of each other.

use audiocloud_rt::block_ring;
use audiocloud_rt::event::{Body, Expression, NoteAddress};
use audiocloud_units::{Nanos, SessionTime};
use audiocloud_wire::packet::audio;
use audiocloud_wire::packet::event as wire;

/// The flags of a packet. What is said of a block's first frame is not true of its later packets.
pub fn flags_to_wire(flags: block_ring::Flags, is_first: bool) -> audio::Flags {
    let mut result = audio::Flags::NONE;
    let pairs = [
        (block_ring::Flags::DISCONTINUITY, audio::Flags::DISCONTINUITY, is_first),
        (block_ring::Flags::REPEAT, audio::Flags::REPEAT, true),
        (block_ring::Flags::SILENCE, audio::Flags::SILENCE, true),
    ];
    for (ours, theirs, applies) in pairs {
        if applies && flags.contains(ours) {
            result = result | theirs;
        }
    }
    result
}

/// The time that a packet bears, if it does.
pub fn stamp(header: &audio::Header) -> Option<block_ring::SessionStamp> {
    let link_offset = (header.link_offset_us != 0).then(|| Nanos::from_micros(header.link_offset_us.into()));
    let time = SessionTime::new(header.session_time_ns);
    (header.session_time_ns != 0).then_some(block_ring::SessionStamp { time, link_offset })
}

/// The flags of a block made of one packet.
pub fn flags_from_wire(flags: audio::Flags) -> block_ring::Flags {
    let mut result = block_ring::Flags::NONE;
    let pairs = [
        (block_ring::Flags::DISCONTINUITY, audio::Flags::DISCONTINUITY),
        (block_ring::Flags::REPEAT, audio::Flags::REPEAT),
        (block_ring::Flags::SILENCE, audio::Flags::SILENCE),
    ];
    for (ours, theirs) in pairs {
        if flags.contains(theirs) {
            result |= ours;
        }
    }
    result
}

/// The body as it goes over the wire; none for what is no event but the lack of some.
pub fn body_to_wire(body: &Body) -> Option<wire::Body<'static>> {
    Some(match *body {
        Body::NoteOn { note, velocity } => wire::Body::NoteOn { note: note_to_wire(note), velocity },
        Body::NoteOff { note, velocity } => wire::Body::NoteOff { note: note_to_wire(note), velocity },
        Body::NoteChoke { note } => wire::Body::NoteChoke { note: note_to_wire(note) },
        Body::NoteExpression { note, expression, value } => wire::Body::NoteExpression {
            note: note_to_wire(note),
            expression: expression_to_wire(expression),
            value,
        },
        Body::Midi1 { port, bytes } => wire::Body::Midi1 { port, bytes },
        Body::Midi2 { port, words } => wire::Body::Midi2 { port, words },
        Body::Lost { .. } => return None,
    })
}

/// The body as the engine has it; none for one that this version does not know.
pub fn body_from_wire(body: &wire::Body<'_>) -> Option<Body> {
    Some(match *body {
        wire::Body::NoteOn { note, velocity } => Body::NoteOn { note: note_from_wire(note), velocity },
        wire::Body::NoteOff { note, velocity } => Body::NoteOff { note: note_from_wire(note), velocity },
        wire::Body::NoteChoke { note } => Body::NoteChoke { note: note_from_wire(note) },
        wire::Body::NoteExpression { note, expression, value } => Body::NoteExpression {
            note: note_from_wire(note),
            expression: expression_from_wire(expression),
            value,
        },
        wire::Body::Midi1 { port, bytes } => Body::Midi1 { port, bytes },
        wire::Body::Midi2 { port, words } => Body::Midi2 { port, words },
        wire::Body::Unknown { .. } => return None,
    })
}

fn note_to_wire(note: NoteAddress) -> wire::NoteAddress {
    wire::NoteAddress { note_id: note.note_id, port: note.port, channel: note.channel, key: note.key }
}

fn note_from_wire(note: wire::NoteAddress) -> NoteAddress {
    NoteAddress { note_id: note.note_id, port: note.port, channel: note.channel, key: note.key }
}

fn expression_to_wire(expression: Expression) -> wire::Expression {
    match expression {
        Expression::Volume => wire::Expression::Volume,
        Expression::Pan => wire::Expression::Pan,
        Expression::Tuning => wire::Expression::Tuning,
        Expression::Vibrato => wire::Expression::Vibrato,
        Expression::Expression => wire::Expression::Expression,
        Expression::Brightness => wire::Expression::Brightness,
        Expression::Pressure => wire::Expression::Pressure,
    }
}

fn expression_from_wire(expression: wire::Expression) -> Expression {
    match expression {
        wire::Expression::Volume => Expression::Volume,
        wire::Expression::Pan => Expression::Pan,
        wire::Expression::Tuning => Expression::Tuning,
        wire::Expression::Vibrato => Expression::Vibrato,
        wire::Expression::Expression => Expression::Expression,
        wire::Expression::Brightness => Expression::Brightness,
        wire::Expression::Pressure => Expression::Pressure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_go_there_and_back() {
        let note = NoteAddress { note_id: 5, port: 0, channel: 15, key: -1 };
        let bodies = [
            Body::NoteOn { note, velocity: 0.5 },
            Body::NoteOff { note, velocity: 0.25 },
            Body::NoteChoke { note },
            Body::Midi1 { port: 1, bytes: [0x90, 60, 1] },
            Body::Midi2 { port: 2, words: [1, 2, 3, 4] },
        ];
        for body in bodies {
            assert_eq!(body_from_wire(&body_to_wire(&body).unwrap()), Some(body));
        }
        for expression in wire::Expression::ALL {
            assert_eq!(expression_to_wire(expression_from_wire(expression)), expression);
        }
        assert_eq!(body_to_wire(&Body::Lost { count: 1 }), None);
    }

    #[test]
    fn a_discontinuity_is_at_the_first_packet_alone() {
        let flags = block_ring::Flags::DISCONTINUITY | block_ring::Flags::SILENCE;
        assert_eq!(flags_from_wire(flags_to_wire(flags, true)), flags);
        assert_eq!(flags_from_wire(flags_to_wire(flags, false)), block_ring::Flags::SILENCE);
    }
}
