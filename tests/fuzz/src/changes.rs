//! Changes of a session's shared state, written byte by byte, so that the fuzzer can bend each part of one that is
//! signed well.

use audiocloud_membership::key::SigningKey;
use audiocloud_membership::shared::SignedChange;
use audiocloud_wire::id::{ChangeHash, SessionId, UserId};

/// What an author signs before the body.
const CONTEXT: &[u8] = b"audiocloud session change v1";

/// A change with this body, signed by its author.
pub fn signed(author: &SigningKey, body: Vec<u8>) -> SignedChange {
    let signature = author.sign(&[CONTEXT, &body].concat());
    SignedChange { author: UserId(author.public()), signature, bytes: body }
}

/// A body that is what it must be around `operation`, which is any CBOR, or none at all.
pub fn body(session: &SessionId, after: &[ChangeHash], at_ms: u32, operation: &[u8]) -> Vec<u8> {
    let mut body = vec![0xa4];
    body.extend(text("session"));
    body.extend([0x58, 32]);
    body.extend(session.0);
    body.extend(text("after"));
    body.extend([0x98, u8::try_from(after.len()).expect("few")]);
    for hash in after {
        body.extend([0x58, 32]);
        body.extend(hash.0);
    }
    body.extend(text("at_ms"));
    body.push(0x1a);
    body.extend(at_ms.to_be_bytes());
    body.extend(text("operation"));
    body.extend(operation);
    body
}

/// Programs of the target, each some changes that follow each other.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let edit = |operation: Vec<u8>| map("edit", &operation);
    let tempo = edit(map("tempo", &[&[0xfb][..], &120.0_f64.to_be_bytes()].concat()));
    let operations = [
        tempo,
        edit(map("key", &text("A minor"))),
        edit(map("chat", &text("hello"))),
        edit(map(
            "loop",
            &[&[0x82, 0xfb][..], &4.0_f64.to_be_bytes(), &[0xfb], &8.0_f64.to_be_bytes()].concat(),
        )),
        edit(map("remove-scene", &text("verse"))),
        edit(map("activate-scene", &[0xf6])),
        map(
            "notes",
            &[
                &[0xa3][..],
                &text("after"),
                &[0xf6],
                &text("removed"),
                &[0x80],
                &text("inserted"),
                &text("one"),
            ]
            .concat(),
        ),
        map("swing", &[0x18, 60]),
    ];
    let step = |number: usize, operation: &[u8]| {
        let length = u8::try_from(operation.len()).expect("short");
        let number = u8::try_from(number).expect("few");
        [&[3, number % 4, number, 1, length][..], operation].concat()
    };
    let steps: Vec<Vec<u8>> = operations.iter().enumerate().map(|(number, one)| step(number, one)).collect();
    let mut seeds: Vec<_> = steps.iter().map(|step| ("change", step.clone())).collect();
    seeds.push(("change", steps.concat()));
    seeds.push(("change", steps.iter().rev().cloned().collect::<Vec<_>>().concat()));
    seeds
}

fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 24).expect("short");
    [&[0x60 | length][..], text.as_bytes()].concat()
}

fn map(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0xa1][..], &text(name), value].concat()
}
