//! Slices. Samples are an array for each channel, as their bits: among them are values that JSON has no number for.

use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::event;
use audiocloud_wire::packet::slice::{Body, Encoder, Flags, Header, SLICE_BYTES_MAX, write_samples};
use serde_json::{Value, json};

use super::{Case, Format, changed, hex, invalid, number, text, unhex, valid_only};

pub(super) const FORMAT: Format = Format { encode, decode };

const FLAGS: [(&str, Flags); 4] = [
    ("back", Flags::BACK),
    ("repeat", Flags::REPEAT),
    ("discontinuity", Flags::DISCONTINUITY),
    ("silence", Flags::SILENCE),
];

fn encode(fields: &Value) -> Vec<u8> {
    let named = fields["flags"].as_array().unwrap().iter().map(|name| {
        FLAGS.iter().find(|(known, _)| *known == text(name)).unwrap_or_else(|| panic!("no flag {name}")).1
    });
    let header = Header {
        remote: text(&fields["remote"]).parse().unwrap(),
        flags: named.fold(Flags::NONE, |all, flag| all | flag),
        epoch: number(&fields["epoch"]),
        sequence: number(&fields["sequence"]),
        first_event: number(&fields["first_event"]),
        first_frame: number(&fields["first_frame"]),
        frames: number(&fields["frames"]),
        channels: number(&fields["channels"]),
    };
    let mut bytes = [0; SLICE_BYTES_MAX];
    let mut encoder = Encoder::new(&header, &mut bytes).unwrap();
    for event in fields["events"].as_array().unwrap() {
        let offset = number::<u64>(&event["frame"]) - header.first_frame;
        let unknown = event.get("bytes").filter(|_| event["type"].is_u64()).map(|bytes| unhex(text(bytes)));
        let body = match &unknown {
            Some(bytes) => Body::Voice(event::Body::Unknown { kind: number(&event["type"]), bytes }),
            None => body(event),
        };
        encoder.try_push(u16::try_from(offset).unwrap(), &body).unwrap();
    }
    let length = encoder.finish(|channel, room| {
        let bits = fields["samples"][channel].as_array().unwrap();
        let samples: Vec<f32> = bits.iter().map(|bits| f32::from_bits(number(bits))).collect();
        write_samples(&samples, room);
    });
    bytes[..length].to_vec()
}

fn body(event: &Value) -> Body<'static> {
    match text(&event["type"]) {
        "parameter" => Body::Parameter {
            effect: number(&event["effect"]),
            parameter: number(&event["parameter"]),
            value: f32::from_bits(number(&event["value_bits"])),
            ramp_frames: event["ramp_frames"].as_u64().map(|frames| u32::try_from(frames).unwrap()),
        },
        "bypass" => Body::Bypass { effect: number(&event["effect"]), on: event["on"] == true },
        "transport" => Body::Transport {
            playing: event["playing"] == true,
            tempo_bpm: event["tempo_bpm"].as_f64().unwrap(),
            position_beats: event["position_beats"].as_f64().unwrap(),
            signature: (number(&event["signature"][0]), number(&event["signature"][1])),
        },
        _ => Body::Voice(super::event::body(event)),
    }
}

fn decode(bytes: &[u8]) -> Result<Value, &'static str> {
    let slice = match Packet::decode(bytes) {
        Ok(Packet::Slice(slice)) => slice,
        Ok(_) => panic!("the first byte says slice"),
        Err(error) => return Err(error.code()),
    };
    let header = slice.header;
    let flags: Vec<_> =
        FLAGS.iter().filter(|(_, flag)| header.flags.contains(*flag)).map(|(name, _)| *name).collect();
    let events: Vec<_> = slice
        .events()
        .map(|event| {
            let mut fields = json!({ "number": event.number, "frame": event.frame });
            let body = fields_of(&event.body);
            fields.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            fields
        })
        .collect();
    let mut fields = json!({
        "remote": header.remote, "flags": flags, "epoch": header.epoch, "sequence": header.sequence,
        "first_event": header.first_event, "first_frame": header.first_frame, "frames": header.frames,
        "channels": header.channels, "events": events,
    });
    if header.sample_bytes() > 0 {
        let samples: Vec<_> = (0..usize::from(header.channels))
            .map(|channel| {
                let mut out = vec![0.0; header.frames.into()];
                slice.samples.read(channel, 0, &mut out);
                out.iter().map(|sample| sample.to_bits()).collect::<Vec<_>>()
            })
            .collect();
        fields["samples"] = json!(samples);
    }
    Ok(fields)
}

fn fields_of(body: &Body<'_>) -> Value {
    match body {
        Body::Voice(event::Body::Unknown { kind, bytes }) => json!({ "type": kind, "bytes": hex(bytes) }),
        Body::Voice(body) => super::event::fields_of(body),
        Body::Parameter { effect, parameter, value, ramp_frames } => json!({
            "type": "parameter", "effect": effect, "parameter": parameter, "value_bits": value.to_bits(),
            "ramp_frames": ramp_frames,
        }),
        Body::Bypass { effect, on } => json!({ "type": "bypass", "effect": effect, "on": on }),
        Body::Transport { playing, tempo_bpm, position_beats, signature } => json!({
            "type": "transport", "playing": playing, "tempo_bpm": tempo_bpm,
            "position_beats": position_beats, "signature": [signature.0, signature.1],
        }),
    }
}

fn usual() -> Value {
    json!({
        "remote": "0123456789abcdef", "flags": [], "epoch": 0x89ab_cdef_u32, "sequence": 1000,
        "first_event": 7, "first_frame": 128_000, "frames": 2, "channels": 2,
        "events": [
            { "number": 7, "frame": 128_000, "type": "parameter", "effect": 3, "parameter": 1,
              "value_bits": (-6.5_f32).to_bits(), "ramp_frames": null },
            { "number": 8, "frame": 128_001, "type": "parameter", "effect": 3, "parameter": 2,
              "value_bits": 1000.0_f32.to_bits(), "ramp_frames": 64 },
        ],
        "samples": [[0x3f80_0000, 0xbf00_0000_u32], [0x8000_0000_u32, 0x7fc0_0001]],
    })
}

pub(super) fn cases() -> Vec<Case> {
    let with = |pairs: &[(&str, Value)]| {
        let mut fields = usual();
        pairs.iter().for_each(|(key, value)| fields[key] = value.clone());
        fields
    };
    let all = FORMAT.valid("two frames of stereo, with two parameters", usual());
    let without_samples = |pairs: &[(&str, Value)]| {
        let mut fields = with(pairs);
        fields.as_object_mut().unwrap().remove("samples");
        fields
    };
    let transport = json!([
        { "number": 7, "frame": 128_000, "type": "transport", "playing": true, "tempo_bpm": 93.5,
          "position_beats": -1.25, "signature": [7, 8] },
        { "number": 8, "frame": 128_000, "type": "bypass", "effect": 3, "on": true },
        { "number": 9, "frame": 193_535, "type": "note-on", "note_id": -1, "port": 0, "channel": 9,
          "key": 60, "velocity": 0.75 },
        { "number": 10, "frame": 193_535, "type": 200, "bytes": "c0ffee" },
    ]);
    let bad = |name, at, field: &[u8], error| invalid(name, &changed(&all, at, field), error);
    let bytes = unhex(text(&all["hex"]));
    vec![
        all.clone(),
        FORMAT.valid("from the node, again", with(&[("flags", json!(["back", "repeat"]))])),
        FORMAT.valid(
            "silence, as long as it can be, after frames that were never sent",
            without_samples(&[
                ("flags", json!(["discontinuity", "silence"])),
                ("frames", json!(1024)),
                ("channels", json!(64)),
                ("events", json!([])),
            ]),
        ),
        FORMAT.valid(
            "events alone, up to 65,535 frames after the first",
            without_samples(&[("frames", json!(0)), ("events", transport)]),
        ),
        valid_only("flags that are not assigned are ignored", &changed(&all, 1, &[0xf0]), usual()),
        invalid("a slice that ends early", &bytes[..bytes.len() - 1], "payload-length"),
        invalid("a byte after the samples", &[bytes.clone(), vec![0]].concat(), "payload-length"),
        invalid("longer than 1,140 bytes", &[bytes.clone(), vec![0; 1140]].concat(), "too-long"),
        bad("version 2", 0, &[0x26], "unknown-version"),
        bad("no channels", 2, &[0], "channels"),
        bad("65 channels", 2, &[65], "channels"),
        bad("fewer events than are there", 3, &[1], "trailing-bytes"),
        bad("more events than are there", 3, &[3], "truncated"),
        bad("an index beyond 2^63 - 1", 24, &[0x80], "frame-index"),
        bad("1,025 frames", 32, &[4, 1], "too-long"),
        bad("a parameter of another length", 39, &[13], "event-length"),
        bad("a value that is not finite", 48, &[0x7f, 0x80], "not-finite"),
    ]
}
