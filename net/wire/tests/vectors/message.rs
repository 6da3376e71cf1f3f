//! Messages, as whole frames.

use audiocloud_wire::message::{DecodeError, Message, Text, Unknown, split_frame};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Case, Format, invalid, text, unhex, valid_only};

pub(super) const FORMAT: Format = Format { encode, decode };

fn encode(fields: &Value) -> Vec<u8> {
    fn read<T: for<'de> Deserialize<'de>>(fields: &Value) -> T {
        T::deserialize(fields).unwrap_or_else(|error| panic!("{fields}: {error}"))
    }
    let message = match text(&fields["kind"]) {
        "hello" => Message::Hello(read(fields)),
        "hello-refused" => Message::HelloRefused(read(fields)),
        "directory" => Message::Directory(read(fields)),
        "subscribe" => Message::Subscribe(read(fields)),
        "unsubscribe" => Message::Unsubscribe(read(fields)),
        "subscribe-refused" => Message::SubscribeRefused(read(fields)),
        "session-roster" => Message::SessionRoster(read(fields)),
        "session-places" => Message::SessionPlaces(read(fields)),
        "session-have" => Message::SessionHave(read(fields)),
        "session-changes" => Message::SessionChanges(read(fields)),
        "inputs" => Message::Inputs(read(fields)),
        "patch" => Message::Patch(read(fields)),
        "patch-refused" => Message::PatchRefused(read(fields)),
        "time-state" => Message::TimeState(read(fields)),
        "beats" => Message::Beats(read(fields)),
        "remote-open" => Message::RemoteOpen(read(fields)),
        "remote-opened" => Message::RemoteOpened(read(fields)),
        "remote-refused" => Message::RemoteRefused(read(fields)),
        "remote-close" => Message::RemoteClose(read(fields)),
        "remote-document" => Message::RemoteDocument(read(fields)),
        "remote-report" => Message::RemoteReport(read(fields)),
        "remote-states" => Message::RemoteStates(read(fields)),
        "remote-capacity" => Message::RemoteCapacity(read(fields)),
        "remote-chains" => Message::RemoteChains(read(fields)),
        "remote-watch" => Message::RemoteWatch(read(fields)),
        "remote-view" => Message::RemoteView(read(fields)),
        "remote-proposal" => Message::RemoteProposal(read(fields)),
        "remote-proposal-refused" => Message::RemoteProposalRefused(read(fields)),
        "ping" => Message::Ping(read(fields)),
        "pong" => Message::Pong(read(fields)),
        "goodbye" => Message::Goodbye(read(fields)),
        kind => Message::Unknown(Unknown { kind: Text::new(kind) }),
    };
    message.to_frame().unwrap()
}

fn decode(bytes: &[u8]) -> Result<Value, &'static str> {
    let code = |error: DecodeError| error.code();
    // A frame that is not complete yet is no error on a stream; that the vector ends there makes it one.
    let (body, rest) = split_frame(bytes).map_err(code)?.ok_or("incomplete")?;
    assert!(rest.is_empty(), "one frame to a vector");
    Message::decode(body).map(|message| serde_json::to_value(message).unwrap()).map_err(code)
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

fn hello() -> Value {
    json!({
        "kind": "hello", "versions": { "min": 1, "max": 1 }, "user": "11".repeat(32), "device": "22".repeat(32),
        "certificate": "33".repeat(64), "instance": "44".repeat(16), "boot_epoch": 1_700_000_000_000_000_000_u64,
        "name": "Studio A", "software": "audiocloud 0.1.0",
    })
}

fn announcement() -> Value {
    json!({
        "stream": "0123456789abcdef", "name": "Bass DI", "config": 1, "epoch": 0x89ab_cdef_u32,
        "sample-rate": 48_000, "channels": 2, "codec": "pcm-f32", "clock-domain": "44".repeat(16),
        "block-max": 1024, "codecs": ["pcm-s24", "pcm-s16", "opus"],
    })
}

fn with(mut fields: Value, name: &str, value: Value) -> Value {
    fields[name] = value;
    fields
}

pub(super) fn cases() -> Vec<Case> {
    let directory = |streams: Value| json!({ "kind": "directory", "revision": 3, "streams": streams });
    let other = json!({
        "stream": "ffffffffffffffff", "name": "Flügel & Gesang 音", "config": 65_535, "epoch": 0,
        "sample-rate": 44_100, "channels": 64, "codec": "pcm-s24", "clock-domain": "", "block-max": 0,
    });
    let of_future = with(announcement(), "codec", json!("unknown"));
    let refused =
        |reason: &str, text: &str| json!({ "kind": "hello-refused", "reason": reason, "text": text });
    let not_published = json!({
        "kind": "subscribe-refused", "stream": "0123456789abcdef", "reason": "not-published",
        "text": "no such stream here",
    });
    let subscribe = json!({ "kind": "subscribe", "stream": "0123456789abcdef" });
    let valid = |name, fields| FORMAT.valid(name, fields);
    let mut cases = vec![
        valid("hello", hello()),
        valid("hello from the future", with(hello(), "versions", json!({ "min": 2, "max": 9 }))),
        valid("hello refused", refused("no-common-version", "versions 2 to 9; this is version 1")),
        valid("directory without streams", directory(json!([]))),
        valid("directory", directory(json!([announcement(), other]))),
        valid("directory with a codec that is not known", directory(json!([of_future]))),
        valid("subscribe", subscribe.clone()),
        valid("subscribe as 16 bit", with(subscribe.clone(), "quality", json!({ "codec": "pcm-s16" }))),
        valid(
            "subscribe as Opus of a rate and a length",
            with(
                subscribe.clone(),
                "quality",
                json!({ "codec": "opus", "bitrate": 96_000, "frame-us": 5_000 }),
            ),
        ),
        valid("unsubscribe", json!({ "kind": "unsubscribe", "stream": "0000000000000001" })),
        valid("subscribe refused", not_published),
        valid("ping", json!({ "kind": "ping", "token": u64::MAX })),
        valid("pong", json!({ "kind": "pong", "token": 0 })),
        valid("goodbye", json!({ "kind": "goodbye", "reason": "shutdown", "text": "" })),
        valid("a kind that is not known", json!({ "kind": "song" })),
    ];
    cases.extend(session_cases());
    cases.extend(decode_only_cases());
    cases.extend(invalid_cases());
    cases
}

fn session_cases() -> Vec<Case> {
    let valid = |name, fields| FORMAT.valid(name, fields);
    let session = "55".repeat(32);
    let key = json!({ "publisher": "22".repeat(32), "stream": "0123456789abcdef" });
    let memberships = json!([{ "session": session, "record": "a0a1a2" }]);
    let in_session = with(announcement(), "session", json!(session));
    let talk_back = with(in_session.clone(), "purpose", json!("talk-back"));
    let places = json!({
        "kind": "session-places", "session": session, "user": "11".repeat(32), "device": "22".repeat(32),
        "certificate": "33".repeat(64), "instance": "44".repeat(16), "places": ["192.0.2.1:4460", "[2001:db8::1]:4460"],
        "at-ms": 1_700_000_000_000_u64, "signature": "66".repeat(64),
    });
    let changes = json!({ "kind": "session-changes", "session": session, "changes": ["", "c0ffee"] });
    let input = |open: bool| json!({ "input": "00000000000000ff", "name": "Control room", "playing": [key], "open": open });
    vec![
        valid("hello of a member", with(hello(), "memberships", memberships)),
        valid(
            "directory of a session, with talk-back",
            json!({ "kind": "directory", "revision": 4, "streams": [in_session, talk_back] }),
        ),
        valid(
            "who belongs to a session",
            json!({
                "kind": "session-roster", "session": session, "records": ["a0a1a2", "b0"], "revocations": ["c0c1"],
            }),
        ),
        valid("where a member is", places),
        valid(
            "what a peer has",
            json!({
                "kind": "session-have", "session": session, "heads": ["77".repeat(32), "88".repeat(32)],
                "roster": "99".repeat(32),
            }),
        ),
        valid("changes", changes.clone()),
        valid("changes, and there are more", with(changes, "more", json!(true))),
        valid(
            "what plays streams",
            json!({ "kind": "inputs", "inputs": [input(false), with(input(true), "session", json!(session))] }),
        ),
        valid("patch", json!({ "kind": "patch", "input": "00000000000000ff", "stream": key, "on": true })),
        valid(
            "patch refused",
            json!({ "kind": "patch-refused", "input": "00000000000000ff", "stream": key, "text": "not open" }),
        ),
    ]
}

fn decode_only_cases() -> Vec<Case> {
    let ping = json!({ "kind": "ping", "token": 5 });
    let subscribe = json!({ "kind": "subscribe", "stream": "0000000000000001" });
    vec![
        valid_only("keys in another order", &frame(b"\xa2\x65token\x05\x64kind\x64ping"), ping.clone()),
        valid_only(
            "numbers and lengths longer than need be",
            &frame(b"\xb8\x02\x78\x04kind\x64ping\x65token\x1b\0\0\0\0\0\0\0\x05"),
            ping.clone(),
        ),
        valid_only(
            "fields that are not known, of every type",
            &frame(
                b"\xa8\x64kind\x64ping\x61a\x20\x61b\x42\x01\x02\x61c\x61c\x61d\x82\x01\xa1\x61x\x80\x61e\xf4\
                  \x61f\xf6\x65token\x05",
            ),
            ping.clone(),
        ),
        valid_only(
            "floating-point numbers in fields that are not known",
            &frame(
                b"\xa5\x64kind\x64ping\x61a\xf9\x3c\0\x61b\xfa\x3f\x80\0\0\x61c\xfb\x3f\xf0\0\0\0\0\0\0\x65token\x05",
            ),
            ping,
        ),
        valid_only(
            "a message that is not known, with fields",
            &frame(b"\xa2\x64kind\x64song\x65words\x82\x62la\x62la"),
            json!({ "kind": "song" }),
        ),
        valid_only(
            "a reason that is not known",
            &frame(b"\xa3\x64kind\x67goodbye\x66reason\x67eclipse\x64text\x60"),
            json!({ "kind": "goodbye", "reason": "unknown", "text": "" }),
        ),
        valid_only(
            "a quality that is left to the sender",
            &frame(b"\xa3\x64kind\x69subscribe\x66stream\x01\x67quality\xa0"),
            subscribe.clone(),
        ),
        valid_only(
            "a quality in a codec that is not known",
            &frame(b"\xa3\x64kind\x69subscribe\x66stream\x01\x67quality\xa1\x65codec\x64flac"),
            subscribe,
        ),
        valid_only(
            "an offer of codecs, of which one is not known and one is there twice",
            &frame(
                &[
                    &b"\xa3\x64kind\x69directory\x68revision\x01\x67streams\x81\xa9"[..],
                    &SHORT_STREAM[1..],
                    b"\x66codecs\x83\x67pcm-s16\x64flac\x67pcm-s16",
                ]
                .concat(),
            ),
            with(short_directory(), "streams", json!([with(short_stream(), "codecs", json!(["pcm-s16"]))])),
        ),
        valid_only(
            "a stream without what version 1 can do without",
            &frame(&[&b"\xa3\x64kind\x69directory\x68revision\x01\x67streams\x81"[..], SHORT_STREAM].concat()),
            short_directory(),
        ),
    ]
}

fn short_stream() -> Value {
    json!({
        "stream": "0000000000000001", "name": "", "config": 0, "epoch": 0, "sample-rate": 48_000, "channels": 1,
        "codec": "unknown", "clock-domain": "", "block-max": 0,
    })
}

fn short_directory() -> Value {
    json!({ "kind": "directory", "revision": 1, "streams": [short_stream()] })
}

/// A stream whose codec is of the future, without `block-max`.
const SHORT_STREAM: &[u8] =
    b"\xa8\x66stream\x01\x64name\x60\x66config\0\x65epoch\0\x6bsample-rate\x19\xbb\x80\
    \x68channels\x01\x65codec\x64flac\x6cclock-domain\x60";

fn invalid_cases() -> Vec<Case> {
    let bad = |name, body: &[u8], error| invalid(name, &frame(body), error);
    let hello = unhex(text(&FORMAT.valid("", hello())["hex"]));
    let short_key = [&b"\xa2\x64kind\x69subscribe\x66stream\x48"[..], &[0; 8]].concat();
    let stream = |from: &[u8], to: &[u8]| {
        let list = [&b"\xa3\x64kind\x69directory\x68revision\x01\x67streams\x81"[..], SHORT_STREAM].concat();
        let at = list.windows(from.len()).position(|window| window == from).unwrap();
        [&list[..at], to, &list[at + from.len()..]].concat()
    };
    let deep = [&b"\xa2\x64kind\x64ping\x61a"[..], &[0x81; 8], &[0]].concat();
    let membership = [&b"\xa2\x67session\x58\x20"[..], &[0x55; 32], b"\x66record\x40"].concat();
    let five = [&hello[5..], b"\x6bmemberships\x85", &membership.repeat(5)].concat();
    let five = [&[hello[4] + 1], &five[..]].concat();
    let heads = |count: u8| {
        let list: Vec<u8> =
            (0..count).flat_map(|number| [&[0x58, 0x20][..], &[number; 32]].concat()).collect();
        let keys = [
            &b"\xa4\x64kind\x6csession-have\x67session\x58\x20"[..],
            &[0x55; 32],
            b"\x66roster\x58\x20",
            &[0; 32],
        ];
        [&keys.concat()[..], b"\x65heads\x98", &[count], &list].concat()
    };
    vec![
        bad("a member of five sessions", &five, "field"),
        bad("129 heads", &heads(129), "field"),
        invalid("a frame of length 0", &[0, 0, 0, 0], "frame-length"),
        invalid("a frame longer than 65,536 bytes", &[0, 1, 0, 1], "frame-length"),
        invalid("a frame that is not complete", &hello[..hello.len() - 1], "incomplete"),
        bad("a body that ends early", &hello[4..hello.len() - 1], "truncated"),
        bad("a byte after the message", b"\xa2\x64kind\x64ping\x65token\x05\x00", "trailing-bytes"),
        bad("a list instead of a map", b"\x82\x64ping\x05", "malformed"),
        bad("a map of indefinite length", b"\xbf\x64kind\x64ping\x65token\x05\xff", "malformed"),
        bad("a key that is no text", b"\xa2\x64kind\x64ping\x01\x05", "malformed"),
        bad("a tag", b"\xa2\x64kind\x64ping\x65token\xc1\x05", "malformed"),
        bad("undefined", b"\xa3\x64kind\x64ping\x65token\x05\x61a\xf7", "malformed"),
        bad("text that is not UTF-8", b"\xa3\x64kind\x64ping\x65token\x05\x61a\x62\xc3\x28", "not-utf8"),
        bad("a text of 2^64 - 1 bytes", b"\xa1\x64kind\x7b\xff\xff\xff\xff\xff\xff\xff\xff", "truncated"),
        bad("a list of 2^64 - 1 items", b"\xa1\x61a\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x00", "truncated"),
        bad("nine levels", &deep, "too-deep"),
        bad("two kinds", b"\xa2\x64kind\x64ping\x64kind\x64ping", "duplicate-kind"),
        bad("no kind", b"\xa1\x65token\x05", "no-kind"),
        bad("a kind that is no text", b"\xa1\x64kind\x05", "no-kind"),
        bad("a field that is missing", b"\xa1\x64kind\x64ping", "field"),
        bad("a known field twice", b"\xa3\x64kind\x64ping\x65token\x05\x65token\x05", "field"),
        bad("a number below its range", b"\xa2\x64kind\x64ping\x65token\x20", "field"),
        bad("a stream's id as bytes", &short_key, "field"),
        bad(
            "a text of more than 256 bytes",
            &[&b"\xa3\x64kind\x67goodbye\x66reason\x60\x64text\x79\x01\x01"[..], &[b'a'; 257]].concat(),
            "field",
        ),
        bad(
            "a text with a control character",
            b"\xa3\x64kind\x67goodbye\x66reason\x60\x64text\x63a\x0ab",
            "field",
        ),
        bad("a quality that is no map", b"\xa3\x64kind\x69subscribe\x66stream\x01\x67quality\x05", "field"),
        bad(
            "a rate below its range",
            b"\xa3\x64kind\x69subscribe\x66stream\x01\x67quality\xa1\x67bitrate\x20",
            "field",
        ),
        bad("a stream without channels", &stream(b"channels\x01", b"channels\x00"), "field"),
        bad("a stream of 65 channels", &stream(b"channels\x01", b"channels\x18\x41"), "field"),
        bad("a stream without a rate", &stream(b"rate\x19\xbb\x80", b"rate\x00"), "field"),
    ]
}
