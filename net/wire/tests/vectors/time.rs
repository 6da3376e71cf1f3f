//! Messages about time, as whole frames.

use serde_json::{Value, json};

use super::message::FORMAT;
use super::{Case, invalid, unhex};

fn state() -> Value {
    json!({ "kind": "time-state", "machine": "66".repeat(16), "beats": 0 })
}

fn segment(start: i64) -> Value {
    json!({
        "epoch": 3, "serial": 0x0001_0000_u64, "start": start, "beat": 0.0, "bpm": 120.0, "meter": [4, 4],
        "bar-beat": 0.0, "bar": 0, "playing": true,
    })
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

pub(super) fn cases() -> Vec<Case> {
    let (device, instance) = ("22".repeat(32), "44".repeat(16));
    let mut full = state();
    for (key, value) in [
        ("session", json!("55".repeat(32))),
        ("node", json!(true)),
        ("candidate", json!({ "grade": "network", "round-trip": 41_000_000 })),
        ("choice", json!({ "number": 1_700_000_000_123_u64, "device": device })),
        (
            "master",
            json!({
                "device": device, "instance": instance, "epoch": 3, "origin": u64::MAX, "pulse": 977,
                "grade": "crystal", "round-trip": 40_000_000, "steps": 1, "bound": 20_100_000,
            }),
        ),
        ("source", json!({ "device": device, "instance": instance })),
        ("beats", json!(0x0123_4567_89ab_cdef_u64)),
        (
            "line",
            json!({ "host": 5_000_000_000_i64, "session": 1_700_000_000_000_000_000_i64, "fraction": -0.25, "rate": 48.125 }),
        ),
    ] {
        full[key] = value;
    }
    let mut alone = state();
    alone["master"] = full["master"].clone();
    alone["master"]["alone"] = json!(true);
    let mut automatic = state();
    automatic["choice"] = json!({ "number": 7 });
    let mut other = segment(-1);
    for (key, value) in [
        ("ramp", json!({ "to-bpm": 150.0, "over": 32.0 })),
        ("looped", json!({ "from": 4.0, "to": 8.5 })),
        ("meter", json!([7, 8])),
        ("bar", json!(-2)),
        ("playing", json!(false)),
    ] {
        other[key] = value;
    }
    let beats = |segments: Value| json!({ "kind": "beats", "origin": 9, "segments": segments });
    let mut of_a_session = beats(json!([segment(0), other]));
    of_a_session["session"] = json!("55".repeat(32));
    let valid = |name, fields| FORMAT.valid(name, fields);
    // An infinite tempo, in the last place of the shortest form of a state's line.
    let infinite = b"\xa4\x64kind\x6atime-state\x67machine\x50ffffffffffffffff\x65beats\x00\
        \x64line\xa4\x64host\x00\x67session\x00\x68fraction\xf9\x00\x00\x64rate\xf9\x7c\x00";
    let mut short = infinite.to_vec();
    short.truncate(short.len() - 1);
    let many: Vec<Value> = (0..257).map(segment).collect();
    let too_many = {
        let full = FORMAT.valid("", beats(json!(many[..256])));
        // The list's length, and one segment more.
        let bytes = unhex(full["hex"].as_str().unwrap());
        let one = unhex(FORMAT.valid("", beats(json!([segment(256)])))["hex"].as_str().unwrap());
        let at = one.windows(9).position(|window| window == b"\x68segments").map_or(0, |at| at + 9);
        let mut body = bytes[4..].to_vec();
        let list = body.windows(9).position(|window| window == b"\x68segments").unwrap() + 9;
        body.splice(list..list + 3, [0x99, 0x01, 0x01]);
        body.extend_from_slice(&one[at + 1..]);
        frame(&body)
    };
    vec![
        valid("a state of which nothing is known", state()),
        valid("a state with everything", full),
        valid("a master whom nobody follows", alone),
        valid("the choice that nobody is chosen", automatic),
        valid("no beats", beats(json!([]))),
        valid("beats of a session: a ramp, a loop, another meter, a stop", of_a_session),
        invalid("a rate that is infinite", &frame(infinite), "field"),
        invalid("a state that ends early", &frame(&short), "truncated"),
        invalid("257 segments", &too_many, "field"),
    ]
}
