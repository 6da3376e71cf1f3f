//! Event packets.

use audiocloud_wire::id::ConfigId;
use audiocloud_wire::packet::event::{Body, Encoder, Expression, Header, NoteAddress};
use audiocloud_wire::packet::extension::Extension;
use audiocloud_wire::packet::{PACKET_BYTES_MAX, Packet};
use serde_json::{Value, json};

use super::{Case, Format, changed, hex, invalid, number, signed, text, unhex, valid_only};

pub(super) const FORMAT: Format = Format { encode, decode };

const EXPRESSIONS: [&str; 7] = ["volume", "pan", "tuning", "vibrato", "expression", "brightness", "pressure"];

fn encode(fields: &Value) -> Vec<u8> {
    let header = Header {
        stream: text(&fields["stream"]).parse().unwrap(),
        epoch: number(&fields["epoch"]),
        config: ConfigId(number(&fields["config"])),
        first_number: number(&fields["first_number"]),
        base_frame: number(&fields["base_frame"]),
    };
    let values: Vec<(u8, Vec<u8>)> = fields["extensions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|extension| (number(&extension["type"]), unhex(text(&extension["value"]))))
        .collect();
    let extensions: Vec<_> = values.iter().map(|(kind, value)| Extension { kind: *kind, value }).collect();
    let mut bytes = [0; PACKET_BYTES_MAX];
    let mut encoder = Encoder::new(&header, &extensions, &mut bytes).unwrap();
    for (place, event) in fields["events"].as_array().unwrap().iter().enumerate() {
        let number_expected = header.first_number.wrapping_add(u32::try_from(place).unwrap());
        assert_eq!(number::<u32>(&event["number"]), number_expected);
        let unknown = event.get("bytes").filter(|_| event["type"].is_u64()).map(|bytes| unhex(text(bytes)));
        let body = match &unknown {
            Some(bytes) => Body::Unknown { kind: number(&event["type"]), bytes },
            None => body(event),
        };
        encoder.try_push(number(&event["frame"]), &body).unwrap();
    }
    let length = encoder.finish();
    bytes[..length].to_vec()
}

pub(super) fn body(event: &Value) -> Body<'static> {
    let note = || NoteAddress {
        note_id: signed(&event["note_id"]),
        port: signed(&event["port"]),
        channel: signed(&event["channel"]),
        key: signed(&event["key"]),
    };
    match text(&event["type"]) {
        "note-on" => Body::NoteOn { note: note(), velocity: event["velocity"].as_f64().unwrap() },
        "note-off" => Body::NoteOff { note: note(), velocity: event["velocity"].as_f64().unwrap() },
        "note-choke" => Body::NoteChoke { note: note() },
        "note-expression" => {
            let name = text(&event["expression"]);
            let expression = Expression::ALL[EXPRESSIONS.iter().position(|known| *known == name).unwrap()];
            Body::NoteExpression { note: note(), expression, value: event["value"].as_f64().unwrap() }
        }
        "midi1" => {
            let bytes = unhex(text(&event["bytes"])).try_into().unwrap();
            Body::Midi1 { port: number(&event["port"]), bytes }
        }
        "midi2" => {
            let words = std::array::from_fn(|word| number(&event["words"][word]));
            Body::Midi2 { port: number(&event["port"]), words }
        }
        other => panic!("no such event: {other}"),
    }
}

fn decode(bytes: &[u8]) -> Result<Value, &'static str> {
    let packet = match Packet::decode(bytes) {
        Ok(Packet::Event(packet)) => packet,
        Ok(_) => panic!("the first byte says events"),
        Err(error) => return Err(error.code()),
    };
    let header = packet.header;
    let extensions: Vec<_> = packet
        .extensions
        .iter()
        .map(|extension| json!({ "type": extension.kind, "value": hex(extension.value) }))
        .collect();
    let events: Vec<_> = packet
        .events()
        .map(|event| {
            let mut fields = json!({ "number": event.number, "frame": event.frame });
            let body = fields_of(&event.body);
            fields.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            fields
        })
        .collect();
    Ok(json!({
        "stream": header.stream, "epoch": header.epoch, "config": header.config,
        "first_number": header.first_number, "base_frame": header.base_frame,
        "extensions": extensions, "events": events,
    }))
}

pub(super) fn fields_of(body: &Body<'_>) -> Value {
    let with_note = |kind: &str, note: &NoteAddress| {
        json!({
            "type": kind, "note_id": note.note_id, "port": note.port, "channel": note.channel, "key": note.key,
        })
    };
    match body {
        Body::NoteOn { note, velocity } => {
            let mut fields = with_note("note-on", note);
            fields["velocity"] = json!(velocity);
            fields
        }
        Body::NoteOff { note, velocity } => {
            let mut fields = with_note("note-off", note);
            fields["velocity"] = json!(velocity);
            fields
        }
        Body::NoteChoke { note } => with_note("note-choke", note),
        Body::NoteExpression { note, expression, value } => {
            let mut fields = with_note("note-expression", note);
            let place = Expression::ALL.iter().position(|known| known == expression).unwrap();
            fields["expression"] = json!(EXPRESSIONS[place]);
            fields["value"] = json!(value);
            fields
        }
        Body::Midi1 { port, bytes } => json!({ "type": "midi1", "port": port, "bytes": hex(bytes) }),
        Body::Midi2 { port, words } => json!({ "type": "midi2", "port": port, "words": words }),
        Body::Unknown { kind, bytes } => json!({ "type": kind, "bytes": hex(bytes) }),
    }
}

fn fields(events: Value) -> Value {
    json!({
        "stream": "0123456789abcdef", "epoch": 0x89ab_cdef_u32, "config": 1, "first_number": 4,
        "base_frame": 480_000, "extensions": [], "events": events,
    })
}

pub(super) fn cases() -> Vec<Case> {
    let note = |number: u32, frame: u64, kind: &str, velocity: f64| {
        json!({
            "number": number, "frame": frame, "type": kind, "note_id": 17, "port": 0, "channel": 9, "key": 60,
            "velocity": velocity,
        })
    };
    let one = FORMAT.valid("a note begins", fields(json!([note(4, 480_000, "note-on", 0.75)])));
    let choke = json!({
        "number": 4, "frame": 480_000, "type": "note-choke", "note_id": -1, "port": -1, "channel": -1, "key": -1,
    });
    let expressions: Vec<_> = EXPRESSIONS
        .iter()
        .zip(4..)
        .map(|(expression, number)| {
            json!({
                "number": number, "frame": 480_000, "type": "note-expression", "note_id": -1, "port": 0,
                "channel": 0, "key": 127, "expression": expression, "value": -0.5,
            })
        })
        .collect();
    let midi = json!([
        { "number": 4, "frame": 480_001, "type": "midi1", "port": 1, "bytes": "b0077f" },
        { "number": 5, "frame": 480_000_u64 + u64::from(u32::MAX), "type": "midi2", "port": 65_535,
          "words": [0x4090_3c00_u32, 0xffff_0000_u32, 0, 1] },
    ]);
    let unknown = json!([
        { "number": 4, "frame": 480_000, "type": 0, "bytes": "" },
        { "number": 5, "frame": 480_003, "type": 250, "bytes": "0102030405" },
        note(6, 480_001, "note-off", 0.0),
    ]);
    let future = changed(&FORMAT.valid("", fields(json!([expressions[0]]))), 32 + 6 + 10, &[7]);
    let mut wrap =
        fields(json!([note(u32::MAX, 480_000, "note-on", 1.0), note(0, 480_127, "note-off", 0.5)]));
    wrap["first_number"] = json!(u32::MAX);
    wrap["extensions"] = json!([{ "type": 200, "value": "c0ffee" }]);
    let mut cases = vec![
        one.clone(),
        FORMAT.valid("all notes stop at once", fields(json!([choke]))),
        FORMAT.valid("every expression", fields(expressions.into())),
        FORMAT.valid("MIDI 1.0 and a Universal MIDI Packet", fields(midi)),
        FORMAT.valid(
            "events of unknown types, to be skipped, and one that comes out of order",
            fields(unknown),
        ),
        FORMAT.valid("an unknown extension, and numbers that wrap", wrap),
        FORMAT.valid("no events: the next is number 4", fields(json!([]))),
        FORMAT.valid(
            "an unknown expression is an unknown event",
            fields(json!([{ "number": 4, "frame": 480_000, "type": 4, "bytes": hex(&future[38..]) }])),
        ),
        valid_only(
            "flags that are not assigned are ignored",
            &changed(&one, 1, &[0xff]),
            one["fields"].clone(),
        ),
    ];
    cases.extend(invalid_cases(&one));
    cases
}

fn invalid_cases(one: &Case) -> Vec<Case> {
    let bytes = unhex(text(&one["hex"]));
    let bad = |name, at, field: &[u8], error| invalid(name, &changed(one, at, field), error);
    vec![
        invalid("a header that ends early", &bytes[..31], "truncated"),
        invalid("an event that ends early", &bytes[..bytes.len() - 1], "truncated"),
        invalid("a byte after the last event", &[bytes.clone(), vec![0]].concat(), "trailing-bytes"),
        invalid("longer than a packet may be", &[bytes.clone(), vec![0; 1162]].concat(), "too-long"),
        bad("version 2", 0, &[0x21], "unknown-version"),
        bad("fewer events than there are", 20, &[0, 0], "trailing-bytes"),
        bad("more events than there are", 20, &[0, 2], "truncated"),
        bad("extensions longer than the packet", 22, &[0xff, 0xff], "extensions"),
        bad("extensions that end inside of one", 22, &[0, 1], "extensions"),
        bad("a base past the last index", 24, &[0x80, 0, 0, 0, 0, 0, 0, 0], "frame-index"),
        bad(
            "an event past the last index",
            24,
            &[0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 1],
            "frame-index",
        ),
        bad("a choke as long as a note", 36, &[3], "event-length"),
        bad("a note that is shorter than one", 37, &[17], "event-length"),
        bad("a velocity that is infinite", 48, &[0x7f, 0xf0, 0, 0, 0, 0, 0, 0], "not-finite"),
        bad("a velocity that is not a number", 48, &[0x7f, 0xf8, 0, 0, 0, 0, 0, 0], "not-finite"),
    ]
}
