//! Messages about chains of effects, as whole frames.

use serde_json::{Value, json};

use super::message::FORMAT;
use super::{Case, invalid, text, unhex};

const REMOTE: &str = "0123456789abcdef";
const CHAIN: &str = "fedcba9876543210";

fn open() -> Value {
    json!({
        "kind": "remote-open", "remote": REMOTE, "chain": CHAIN, "name": "Vox", "sample-rate": 48_000,
        "inputs": 2, "side-chain": 0, "outputs": 2, "block-max": 128, "patience-us": 4_000,
    })
}

fn document(part: u16, parts: u16) -> Value {
    json!({
        "kind": "remote-document", "remote": REMOTE, "revision": 3, "part": part, "parts": parts,
        "bytes": "7b7d",
    })
}

fn with(mut fields: Value, pairs: &[(&str, Value)]) -> Value {
    pairs.iter().for_each(|(key, value)| fields[key] = value.clone());
    fields
}

/// The frame of these fields, with some of its bytes replaced.
fn replaced(fields: Value, from: &[u8], to: &[u8]) -> Vec<u8> {
    let bytes = unhex(text(&FORMAT.valid("", fields)["hex"]));
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    assert_eq!(from.len(), to.len(), "the length in front stays");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

pub(super) fn cases() -> Vec<Case> {
    let session = json!("55".repeat(32));
    let valid = |name, fields| FORMAT.valid(name, fields);
    let capacity = json!({
        "kind": "remote-capacity", "chains": 3, "chains-max": 64, "head-room": 870, "workers": 2,
        "realtime": true,
    });
    let chain = json!({ "chain": CHAIN, "name": "Vox", "revision": 12, "open": true });
    let elsewhere = with(chain.clone(), &[("session", session.clone()), ("node", json!("22".repeat(32)))]);
    let view = with(document(0, 1), &[("kind", json!("remote-view")), ("chain", json!(CHAIN))]);
    let view: Value =
        view.as_object().unwrap().clone().into_iter().filter(|(key, _)| key != "remote").collect();
    vec![
        valid("open", open()),
        valid(
            "open, exact, in a session, with a side-chain",
            with(open(), &[("session", session), ("side-chain", json!(2)), ("exact", json!(true))]),
        ),
        valid("opened", json!({ "kind": "remote-opened", "remote": REMOTE })),
        valid(
            "refused",
            json!({
                "kind": "remote-refused", "remote": REMOTE, "reason": "no-room",
                "text": "two chains run here, and no third fits; choose another node",
            }),
        ),
        valid("close", json!({ "kind": "remote-close", "remote": REMOTE })),
        valid("a document in one part", document(0, 1)),
        valid("the last of 341 parts", document(340, 341)),
        valid(
            "report",
            json!({ "kind": "remote-report", "remote": REMOTE, "revision": 3, "report": "7b7d" }),
        ),
        valid("states", with(document(0, 2), &[("kind", json!("remote-states"))])),
        valid("capacity", capacity.clone()),
        valid(
            "capacity of a node that ends, with details",
            with(capacity, &[("draining", json!(true)), ("details", json!("7b7d"))]),
        ),
        valid("chains", json!({ "kind": "remote-chains", "chains": [chain, elsewhere] })),
        valid("watch", json!({ "kind": "remote-watch", "chain": CHAIN, "on": true })),
        valid("view", view),
        valid("proposal", json!({ "kind": "remote-proposal", "chain": CHAIN, "token": 5, "edit": "7b7d" })),
        valid(
            "proposal refused",
            json!({ "kind": "remote-proposal-refused", "chain": CHAIN, "token": 5, "text": "no such effect" }),
        ),
        invalid("no inputs", &replaced(open(), b"inputs\x02", b"inputs\x00"), "field"),
        invalid("no outputs", &replaced(open(), b"outputs\x02", b"outputs\x00"), "field"),
        invalid(
            "65 channels go in",
            &replaced(
                with(open(), &[("inputs", json!(40)), ("side-chain", json!(24))]),
                b"\x18\x18",
                b"\x18\x19",
            ),
            "field",
        ),
        invalid("no rate", &replaced(open(), b"rate\x19\xbb\x80", b"rate\x19\x00\x00"), "field"),
        invalid("a document of no parts", &replaced(document(0, 1), b"parts\x01", b"parts\x00"), "field"),
        invalid("part 1 of 1", &replaced(document(0, 1), b"part\x00", b"part\x01"), "field"),
        invalid(
            "342 parts",
            &replaced(document(340, 341), b"parts\x19\x01\x55", b"parts\x19\x01\x56"),
            "field",
        ),
    ]
}
