//! Audio packets. Samples of PCM are given per channel, as numbers; Opus and what is packed as the payload's
//! bytes.

use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::ConfigId;
use audiocloud_wire::packet::audio::{Flags, Header};
use audiocloud_wire::packet::extension::{Extension, LINK_OFFSET, SESSION_TIME};
use audiocloud_wire::packet::{PACKET_BYTES_MAX, Packet};
use audiocloud_wire::pcm::InterleavedMut;
use serde_json::{Value, json};

use super::{Case, Format, changed, hex, invalid, number, signed, text, unhex, valid_only};

pub(super) const FORMAT: Format = Format { encode, decode };

const FLAGS: [(Flags, &str); 4] = [
    (Flags::DISCONTINUITY, "discontinuity"),
    (Flags::REPEAT, "repeat"),
    (Flags::SILENCE, "silence"),
    (Flags::PACKED, "packed"),
];

fn encode(fields: &Value) -> Vec<u8> {
    let flags =
        fields["flags"].as_array().unwrap().iter().fold(Flags::NONE, |flags, name| {
            flags | FLAGS.iter().find(|(_, known)| name == known).unwrap().0
        });
    let header = Header {
        stream: text(&fields["stream"]).parse().unwrap(),
        epoch: number(&fields["epoch"]),
        config: ConfigId(number(&fields["config"])),
        sequence: number(&fields["sequence"]),
        first_frame: number(&fields["first_frame"]),
        frames: number(&fields["frames"]),
        first_channel: number(&fields["first_channel"]),
        channels: number(&fields["channels"]),
        codec: Codec::from_name(text(&fields["codec"])).unwrap(),
        session_time_ns: signed(&fields["session_time_ns"]),
        link_offset_us: fields.get("link_offset_us").map_or(0, number),
        flags,
    };
    let values: Vec<(u8, Vec<u8>)> = fields["extensions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|extension| (number(&extension["type"]), unhex(text(&extension["value"]))))
        .collect();
    let extensions: Vec<_> = values.iter().map(|(kind, value)| Extension { kind: *kind, value }).collect();
    let mut bytes = [0; PACKET_BYTES_MAX];
    let start = header.encode(&extensions, &mut bytes).unwrap();
    let end = start + write_payload(fields, &header, &mut bytes[start..]);
    bytes[..end].to_vec()
}

fn write_payload(fields: &Value, header: &Header, out: &mut [u8]) -> usize {
    let Some(samples) = fields.get("samples") else {
        let payload = unhex(text(&fields["payload"]));
        out[..payload.len()].copy_from_slice(&payload);
        return payload.len();
    };
    let mut interleaved =
        InterleavedMut::new(header.codec, header.channels.into(), header.frames.into(), out).unwrap();
    for (channel, samples) in samples.as_array().unwrap().iter().enumerate() {
        let samples: Vec<f32> =
            samples.as_array().unwrap().iter().map(|sample| sample.to_string().parse().unwrap()).collect();
        assert_eq!(interleaved.write(channel, 0, &samples), usize::from(header.frames));
    }
    interleaved.length()
}

fn decode(bytes: &[u8]) -> Result<Value, &'static str> {
    let packet = match Packet::decode(bytes) {
        Ok(Packet::Audio(packet)) => packet,
        Ok(_) => panic!("the first byte says audio"),
        Err(error) => return Err(error.code()),
    };
    let header = packet.header;
    let flags: Vec<_> =
        FLAGS.iter().filter(|(flag, _)| header.flags.contains(*flag)).map(|(_, name)| *name).collect();
    let extensions: Vec<_> = packet
        .extensions
        .iter()
        .filter(|extension| !matches!(extension.kind, SESSION_TIME | LINK_OFFSET))
        .map(|extension| json!({ "type": extension.kind, "value": hex(extension.value) }))
        .collect();
    let mut fields = json!({
        "stream": header.stream, "epoch": header.epoch, "config": header.config, "sequence": header.sequence,
        "first_frame": header.first_frame, "frames": header.frames, "first_channel": header.first_channel,
        "channels": header.channels, "codec": header.codec, "session_time_ns": header.session_time_ns, "flags": flags,
        "extensions": extensions,
    });
    if header.link_offset_us != 0 {
        fields["link_offset_us"] = header.link_offset_us.into();
    }
    match packet.samples() {
        Some(samples) if !header.flags.contains(Flags::SILENCE) => {
            let channel = |channel| -> Vec<f32> {
                let mut out = vec![0.0; samples.frames()];
                samples.read(channel, 0, &mut out);
                out
            };
            fields["samples"] = (0..samples.channels()).map(channel).collect();
        }
        _ => fields["payload"] = hex(packet.payload).into(),
    }
    Ok(fields)
}

fn fields(changes: &Value) -> Value {
    let mut fields = json!({
        "stream": "0123456789abcdef", "epoch": 0x89ab_cdef_u32, "config": 1, "sequence": 7,
        "first_frame": 480_000, "frames": 2, "first_channel": 0, "channels": 2, "codec": "pcm-f32", "session_time_ns": 0,
        "flags": [], "extensions": [],
    });
    for (name, value) in changes.as_object().unwrap() {
        fields[name] = value.clone();
    }
    fields
}

/// The fields of a usual packet.
pub(super) fn stereo() -> Value {
    fields(&json!({ "samples": [[0.5, -0.25], [1.0, -1.0]] }))
}

pub(super) fn cases() -> Vec<Case> {
    let valid = |name, changes: Value| FORMAT.valid(name, fields(&changes));
    let stereo = FORMAT.valid("two frames of stereo in 32-bit float", stereo());
    let silence =
        valid("silence has no payload", json!({ "frames": 65_535, "flags": ["silence"], "payload": "" }));
    let timed = valid(
        "a session time before its zero",
        json!({ "session_time_ns": i64::MIN, "samples": [[0.0, 0.0], [0.0, 0.0]] }),
    );
    let packed = valid(
        "packed samples, which are some bytes here",
        json!({ "codec": "pcm-s24", "flags": ["packed"], "payload": "c0ffee0123456789abcdef" }),
    );
    let opus = valid("Opus", json!({ "codec": "opus", "frames": 960, "payload": "fc010203" }));
    let mut cases = vec![
        stereo.clone(),
        valid(
            "two frames of stereo in 24 bit",
            json!({ "codec": "pcm-s24", "samples": [[0.5, -0.25], [0.75, -1.0]] }),
        ),
        valid(
            "two frames of stereo in 16 bit",
            json!({ "codec": "pcm-s16", "samples": [[0.5, -0.25], [0.75, -1.0]] }),
        ),
        valid(
            "channels 62 and 63 of a stream of 64",
            json!({ "codec": "pcm-s24", "first_channel": 62, "samples": [[0.0, 0.0], [0.5, 0.5]] }),
        ),
        valid(
            "all fields at their largest",
            json!({
                "stream": "ffffffffffffffff", "config": 65_535, "epoch": u32::MAX, "sequence": u32::MAX,
                "first_frame": (u64::MAX >> 1) - 1, "frames": 1, "first_channel": 63, "channels": 1,
                "codec": "opus", "session_time_ns": i64::MAX, "flags": ["discontinuity", "repeat"],
                "payload": "00",
            }),
        ),
        timed.clone(),
        valid(
            "a session time, padding and an unknown extension, to be skipped",
            json!({
                "frames": 1, "channels": 1, "samples": [[0.125]], "session_time_ns": 1_000_000_000,
                "extensions": [{ "type": 0, "value": "0000" }, { "type": 200, "value": "c0ffee" }],
            }),
        ),
        valid(
            "a session time, and how long after it to let go",
            json!({
                "frames": 1, "channels": 1, "samples": [[0.125]], "session_time_ns": 1_000_000_000,
                "link_offset_us": 12_500,
            }),
        ),
        packed.clone(),
        opus.clone(),
        valid(
            "a repeat, with its number",
            json!({ "flags": ["repeat"], "samples": [[0.5, -0.25], [1.0, -1.0]] }),
        ),
        valid("the longest packet", json!({ "codec": "opus", "frames": 480, "payload": "5a".repeat(1106) })),
        silence.clone(),
        valid_only("a session time of 0 is none", &changed(&timed, 36, &[0]), {
            let mut fields = timed["fields"].clone();
            fields["session_time_ns"] = json!(0);
            fields
        }),
        valid_only(
            "flags that are not assigned are ignored",
            &changed(&silence, 1, &[0xf4]),
            silence["fields"].clone(),
        ),
    ];
    cases.extend(invalid_cases(&stereo, &silence));
    cases.extend(invalid_payloads(&timed, &packed, &opus));
    cases
}

fn invalid_cases(stereo: &Case, silence: &Case) -> Vec<Case> {
    let bytes = |case: &Case| unhex(text(&case["hex"]));
    let end = bytes(stereo).len();
    let bad = |name, at, field: &[u8], error| invalid(name, &changed(stereo, at, field), error);
    vec![
        invalid("nothing at all", &[], "truncated"),
        invalid("a header that ends early", &bytes(stereo)[..33], "truncated"),
        invalid("a header without samples", &bytes(stereo)[..34], "truncated"),
        invalid("one byte of the payload missing", &bytes(stereo)[..end - 1], "payload-length"),
        invalid("one byte after the payload", &[bytes(stereo), vec![0]].concat(), "payload-length"),
        invalid("silence with a payload", &[bytes(silence), vec![0]].concat(), "payload-length"),
        invalid("longer than a packet may be", &[bytes(silence), vec![0; 1107]].concat(), "too-long"),
        bad("version 2", 0, &[0x20], "unknown-version"),
        bad("version 0", 0, &[0x00], "unknown-version"),
        bad("kind 15", 0, &[0x1f], "unknown-kind"),
        bad("no frames", 20, &[0, 0], "no-frames"),
        bad("no channels", 23, &[0], "channels"),
        bad("a channel past the 64th", 22, &[63, 2], "channels"),
        bad("65 channels", 23, &[65], "channels"),
        bad("first channel and count past 255", 22, &[255, 255], "channels"),
        bad("codec 4", 24, &[4], "unknown-codec"),
        bad("another codec than the payload's", 24, &[1], "payload-length"),
        bad("packed floats", 1, &[8], "packed"),
        bad("extensions longer than the packet", 25, &[0xff], "extensions"),
        bad("extensions that end inside of one", 25, &[1], "extensions"),
        bad("a first frame past the last index", 26, &[0x80, 0, 0, 0, 0, 0, 0, 0], "frame-index"),
        bad(
            "frames up to past the last index",
            26,
            &[0x7f, 255, 255, 255, 255, 255, 255, 254],
            "frame-index",
        ),
    ]
}

fn invalid_payloads(timed: &Case, packed: &Case, opus: &Case) -> Vec<Case> {
    let bytes = |case: &Case| unhex(text(&case["hex"]));
    vec![
        invalid("a session time of 7 bytes", &changed(timed, 35, &[7]), "extensions"),
        invalid("an extension longer than all of them", &changed(timed, 35, &[9]), "extensions"),
        invalid("packed into no fewer bytes", &[bytes(packed), vec![0]].concat(), "payload-length"),
        invalid("packed into no bytes", &bytes(packed)[..34], "truncated"),
        invalid("packed Opus", &changed(opus, 1, &[8]), "packed"),
        invalid("packed silence", &changed(packed, 1, &[12]), "packed"),
        invalid("Opus without bytes", &bytes(opus)[..34], "truncated"),
    ]
}
