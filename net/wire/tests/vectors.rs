//! The byte vectors in `spec/vectors`, in both directions.
//!
//! Each file is a list of cases. A case has a `name`, the packet or frame as `hex`, and either its decoded
//! `fields` or the `error` that a decoder gives it. `decode_only` marks bytes that are valid, but not the
//! ones that this crate writes for those fields. The files are written from the cases in `vectors/` with
//! `AUDIOCLOUD_WRITE_VECTORS=1 cargo test -p audiocloud-wire --test vectors`; a difference in a file that
//! exists is a change of the format.

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::{Value, json};

#[path = "vectors/audio.rs"]
mod audio;
#[path = "vectors/clock.rs"]
mod clock;
#[path = "vectors/event.rs"]
mod event;
#[path = "vectors/message.rs"]
mod message;
#[path = "vectors/remote.rs"]
mod remote;
#[path = "vectors/repair.rs"]
mod repair;
#[path = "vectors/report.rs"]
mod report;
#[path = "vectors/request.rs"]
mod request;
#[path = "vectors/sample.rs"]
mod sample;
#[path = "vectors/slice.rs"]
mod slice;
#[path = "vectors/slice_report.rs"]
mod slice_report;
#[path = "vectors/time.rs"]
mod time;

/// One case, as it stands in a file.
type Case = Value;

/// How one kind of bytes is read and written, through the JSON of the vectors.
struct Format {
    encode: fn(&Value) -> Vec<u8>,
    decode: fn(&[u8]) -> Result<Value, &'static str>,
}

impl Format {
    fn valid(&self, name: &str, fields: Value) -> Case {
        json!({ "name": name, "hex": hex(&(self.encode)(&fields)), "fields": fields })
    }
}

fn valid_only(name: &str, bytes: &[u8], fields: Value) -> Case {
    json!({ "name": name, "hex": hex(bytes), "fields": fields, "decode_only": true })
}

fn invalid(name: &str, bytes: &[u8], error: &str) -> Case {
    json!({ "name": name, "hex": hex(bytes), "error": error })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The bytes of a case, with some of them changed.
fn changed(case: &Case, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut all = unhex(case["hex"].as_str().unwrap());
    all[at..at + bytes.len()].copy_from_slice(bytes);
    all
}

/// One case to a line, so that a difference shows which.
fn file_of(cases: &[Case]) -> String {
    let line = |case: &Case| {
        let member = |name: &&str| case.get(*name).map(|value| format!("\"{name}\": {value}"));
        let members: Vec<_> = ["name", "hex", "error", "decode_only", "from_f32_bits", "fields"]
            .iter()
            .filter_map(member)
            .collect();
        format!("  {{ {} }}", members.join(", "))
    };
    format!("[\n{}\n]\n", cases.iter().map(line).collect::<Vec<_>>().join(",\n"))
}

fn read(file: &str) -> Vec<Case> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("spec/vectors").join(file);
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

fn check(file: &str, expected: &[Case], format: &Format) {
    if std::env::var_os("AUDIOCLOUD_WRITE_VECTORS").is_some() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("spec/vectors").join(file);
        std::fs::write(path, file_of(expected)).unwrap();
    }
    let cases = read(file);
    for (found, expected) in cases.iter().zip(expected) {
        assert_eq!(found, expected, "{file}: the format has changed");
    }
    assert_eq!(cases.len(), expected.len(), "{file}: cases are missing");

    let mut names = HashSet::new();
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        assert!(names.insert(name), "{file}: two cases are called {name}");
        let bytes = unhex(case["hex"].as_str().unwrap());
        match (format.decode)(&bytes) {
            Ok(fields) => assert_eq!(fields, case["fields"], "{file}: {name}"),
            Err(error) => assert_eq!(error, case["error"], "{file}: {name}"),
        }
        if !case["fields"].is_null() && case["decode_only"] != json!(true) {
            assert_eq!(hex(&(format.encode)(&case["fields"])), hex(&bytes), "{file}: {name}");
        }
    }
}

#[test]
fn audio_packets() {
    check("audio.json", &audio::cases(), &audio::FORMAT);
}

#[test]
fn event_packets() {
    check("event.json", &event::cases(), &event::FORMAT);
}

#[test]
fn repair_packets() {
    check("repair.json", &repair::cases(), &repair::FORMAT);
}

#[test]
fn receiver_reports() {
    check("report.json", &report::cases(), &report::FORMAT);
}

#[test]
fn resend_requests() {
    check("request.json", &request::cases(), &request::FORMAT);
}

#[test]
fn clock_packets() {
    check("clock.json", &clock::cases(), &clock::FORMAT);
}

#[test]
fn slices() {
    check("slice.json", &slice::cases(), &slice::FORMAT);
}

#[test]
fn slice_reports() {
    check("slice-report.json", &slice_report::cases(), &slice_report::FORMAT);
}

#[test]
fn messages() {
    check("message.json", &message::cases(), &message::FORMAT);
}

#[test]
fn messages_of_time() {
    check("time.json", &time::cases(), &message::FORMAT);
}

#[test]
fn messages_of_chains() {
    check("remote.json", &remote::cases(), &message::FORMAT);
}

#[test]
fn samples() {
    check("sample.json", &sample::cases(), &sample::FORMAT);
    sample::check_rounded(&read("sample.json"));
}

/// Whether a name stands in the schema, as a key or as a code.
fn in_schema(schema: &str, name: &str) -> bool {
    let key = schema.lines().any(|line| {
        line.trim_start()
            .trim_start_matches("? ")
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(": ") || rest.starts_with("\": "))
    });
    key || schema.contains(&format!("\"{name}\""))
}

/// That the schema has every key and every code that is written: a validator would say more, and weighs 130
/// crates.
#[test]
fn the_schema_names_what_is_written() {
    let schema = include_str!("../spec/messages.cddl");
    let written = read("message.json")
        .into_iter()
        .chain(read("time.json"))
        .chain(read("remote.json"))
        .filter(|case| case["decode_only"].is_null());
    let mut keys = 0;
    for fields in written.map(|case| case["fields"].clone()).filter(|fields| fields["kind"] != "song") {
        let mut maps: Vec<Value> = vec![fields];
        while let Some(map) = maps.pop() {
            for (key, value) in map.as_object().into_iter().flatten() {
                assert!(in_schema(schema, key), "{key} is not in the schema");
                let codes = match key.as_str() {
                    "kind" | "reason" | "codec" | "purpose" | "grade" => std::slice::from_ref(value),
                    "codecs" => value.as_array().unwrap(),
                    _ => &[],
                };
                for code in codes.iter().filter(|code| *code != "unknown") {
                    assert!(in_schema(schema, text(code)), "{code} is not in the schema");
                }
                maps.extend(value.as_array().cloned().unwrap_or_default());
                maps.push(value.clone());
                keys += 1;
            }
        }
    }
    assert!(keys > 50);
    assert!(!in_schema(schema, "song") && !in_schema(schema, "min-"), "the check can fail");
}

fn number<T: TryFrom<u64>>(value: &Value) -> T {
    value
        .as_u64()
        .and_then(|value| T::try_from(value).ok())
        .unwrap_or_else(|| panic!("{value} is out of range"))
}

fn signed<T: TryFrom<i64>>(value: &Value) -> T {
    value
        .as_i64()
        .and_then(|value| T::try_from(value).ok())
        .unwrap_or_else(|| panic!("{value} is out of range"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}
