//! The byte vectors of traversal in `net/wire/spec/vectors`, in both directions.
//!
//! `AUDIOCLOUD_WRITE_VECTORS=1 cargo test -p audiocloud-traversal --test vectors` writes the files; a difference in a
//! file that exists is a change of the format.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

use audiocloud_traversal::frame::{ChannelId, DATAGRAM_BYTES_MAX, Frame, Probe, Tag};
use audiocloud_traversal::meeting::{
    Gone, Introduced, LENGTH_BYTES, Leave, Message, Pass, Reason, Refused, Register, Registered, Room,
};
use audiocloud_traversal::probe::{ProbeKey, ProbeSecret};
use audiocloud_traversal::ways::{Action, Way, Ways};
use audiocloud_wire::id::{DeviceId, InstanceId};
use audiocloud_wire::message::Text;
use serde_json::{Value, json};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The cases of a file, which are these, one to a line.
fn cases(file: &str, expected: &[Value]) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../wire/spec/vectors").join(file);
    if std::env::var_os("AUDIOCLOUD_WRITE_VECTORS").is_some() {
        let lines: Vec<_> = expected.iter().map(|case| format!("  {case}")).collect();
        std::fs::write(&path, format!("[\n{}\n]\n", lines.join(",\n"))).unwrap();
    }
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut names = HashSet::new();
    for (found, expected) in cases.iter().zip(expected) {
        assert_eq!(found, expected, "{file}: the format has changed");
        assert!(names.insert(found["name"].to_string()), "{file}: two cases are called {}", found["name"]);
    }
    assert_eq!(cases.len(), expected.len(), "{file}: cases are missing");
    cases
}

/// What each case's bytes are read as: its fields, or its error.
fn check(file: &str, expected: &[Value], decode: impl Fn(&[u8]) -> Result<Value, &'static str>) {
    for case in cases(file, expected) {
        match decode(&unhex(case["hex"].as_str().unwrap())) {
            Ok(fields) => assert_eq!(fields, case["fields"], "{file}: {}", case["name"]),
            Err(error) => assert_eq!(error, case["error"], "{file}: {}", case["name"]),
        }
    }
}

fn bad(name: &str, bytes: &[u8], error: &str) -> Value {
    json!({ "name": name, "hex": hex(bytes), "error": error })
}

fn fields_of(frame: &Frame<'_>) -> Value {
    match frame {
        Frame::Probe(probe) => json!({
            "kind": if probe.is_answer { "answer" } else { "probe" },
            "tag": hex(&probe.tag.0), "number": probe.number, "seal": hex(&probe.mac),
        }),
        Frame::Relayed { channel, datagram } => {
            json!({ "kind": "relayed", "channel": channel.0, "datagram": hex(datagram) })
        }
    }
}

#[test]
fn frames() {
    let probe = |is_answer| {
        Frame::Probe(Probe { is_answer, tag: Tag(*b"abcdefgh"), number: u64::MAX - 1, mac: [0xa5; 16] })
    };
    let inner = match probe(false) {
        Frame::Probe(probe) => probe.to_bytes(),
        Frame::Relayed { .. } => unreachable!(),
    };
    let channel = ChannelId(0x0123_4567_89ab_cdef);
    let longest = [0xc0; DATAGRAM_BYTES_MAX];
    let good = [
        ("a probe", probe(false)),
        ("an answer", probe(true)),
        ("a relayed datagram of QUIC", Frame::Relayed { channel, datagram: b"\x40sealed" }),
        ("a relayed probe", Frame::Relayed { channel, datagram: &inner }),
        ("the longest datagram that is relayed", Frame::Relayed { channel, datagram: &longest }),
    ];
    let mut all: Vec<Value> = good
        .iter()
        .map(|(name, frame)| {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            json!({ "name": name, "hex": hex(&bytes), "fields": fields_of(frame) })
        })
        .collect();
    let header = b"\x03\x01\x23\x45\x67\x89\xab\xcd\xef";
    all.extend([
        bad("nothing", b"", "truncated"),
        bad("a probe that is too short", &inner[..32], "frame-length"),
        bad("a probe that is too long", &[&inner[..], b"\0"].concat(), "frame-length"),
        bad("nothing relayed", header, "frame-length"),
        bad("too much relayed", &[&header[..], &longest, b"\xc0"].concat(), "frame-length"),
        bad("relayed twice", &[&header[..], header, b"\x40"].concat(), "not-sealed"),
        bad("half a probe relayed", &[&header[..], &inner[..20]].concat(), "not-sealed"),
        bad("an unassigned kind", b"\x04\x00", "unknown-kind"),
        bad("a datagram of QUIC", b"\x40\x00", "unknown-kind"),
    ]);
    check("frame.json", &all, |bytes| {
        let frame = Frame::decode(bytes).map_err(|error| error.code())?;
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert_eq!(again, bytes);
        Ok(fields_of(&frame))
    });
}

#[test]
fn sealed_probes() {
    let secrets = [0x11, 0x22].map(|byte| [byte; 32]);
    let keys = secrets.map(|secret| ProbeSecret::from_bytes(secret).public());
    let [mut one, mut two] =
        [0, 1].map(|end| Ways::new(&ProbeSecret::from_bytes(secrets[end]), &keys[1 - end]).unwrap());
    let now = Instant::now();
    one.set_addresses(&["192.0.2.2:1".parse().unwrap()], now);
    one.handle_timeout(now);
    let Some(Action::Probe { bytes: probe, .. }) = one.poll_action() else { panic!("a probe") };
    let Ok(Frame::Probe(read)) = Frame::decode(&probe) else { panic!("a probe") };
    assert!(two.handle_probe(Way::Direct("192.0.2.1:1".parse().unwrap()), &read, now));
    let Some(answer) = std::iter::from_fn(|| two.poll_action()).find_map(|action| match action {
        Action::Probe { bytes, .. } if bytes[0] == 2 => Some(bytes),
        _ => None,
    }) else {
        panic!("an answer")
    };
    let case = |name, sender: usize, bytes: &[u8]| {
        json!({
            "name": name, "sender_secret": hex(&secrets[sender]), "sender_key": hex(&keys[sender].0),
            "receiver_secret": hex(&secrets[1 - sender]), "receiver_key": hex(&keys[1 - sender].0),
            "number": 1, "hex": hex(bytes),
        })
    };
    cases("probe.json", &[case("the first probe", 0, &probe), case("its answer", 1, &answer)]);
}

#[test]
fn messages() {
    let room = Room::of_session(&[0x5a; 32]);
    let (device, instance, probe_key) = (DeviceId([2; 32]), InstanceId([3; 16]), ProbeKey([4; 32]));
    let addresses = || vec!["192.0.2.1:4460".parse().unwrap(), "[2001:db8::1]:65535".parse().unwrap()];
    let registered =
        |reflexive| Message::Registered(Registered { room, reflexive, relay: true, keep_ms: 20_000 });
    let refused = |room, reason| {
        Message::Refused(Refused { room, reason, text: Text::new("no more rooms here; use another node") })
    };
    let good = [
        ("register", Message::Register(Register { room, instance, addresses: addresses(), probe_key })),
        ("leave", Message::Leave(Leave { room: Room::of_slot(42) })),
        ("registered", registered(Some("203.0.113.9:61000".parse().unwrap()))),
        ("registered by a tunnel", registered(None)),
        ("introduced", {
            let channel = ChannelId(u64::MAX);
            Message::Introduced(Introduced {
                room,
                device,
                instance,
                addresses: addresses(),
                probe_key,
                channel,
            })
        }),
        ("gone", Message::Gone(Gone { room, device, instance })),
        ("pass", Message::Pass(Pass { channel: ChannelId(7), data: b"\x00\xff".to_vec() })),
        ("a refused room", refused(Some(room), Reason::Full)),
        ("refused altogether", refused(None, Reason::TooFast)),
    ];
    let mut all: Vec<Value> = good
        .iter()
        .map(|(name, message)| json!({ "name": name, "hex": hex(&message.to_frame()), "fields": message }))
        .collect();
    let frame = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
    all.extend([
        json!({
            "name": "a kind of the future", "hex": hex(&frame(b"\xa1\x64kind\x63new")),
            "fields": { "kind": "new" },
        }),
        bad("no kind", &frame(b"\xa0"), "no-kind"),
        bad("no room", &frame(b"\xa1\x64kind\x65leave"), "field"),
        bad("a room that is too short", &frame(b"\xa2\x64kind\x65leave\x64room\x41a"), "field"),
        bad("bytes after the message", &frame(b"\xa1\x64kind\x63new\x00"), "trailing-bytes"),
        bad("a message that is too long", &frame(&[0xa0; 4097]), "frame-length"),
    ]);
    check("meeting.json", &all, |bytes| {
        let message = Message::decode(&bytes[LENGTH_BYTES..]).map_err(|error| error.code())?;
        assert_eq!(message.to_frame(), bytes);
        Ok(serde_json::to_value(message).unwrap())
    });
}
