//! Resend requests. The numbers that are missing are given besides the mask.

use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::request::{REQUEST_BYTES, ResendRequest};
use serde_json::{Value, json};

use super::{Case, Format, changed, invalid, number, text, unhex, valid_only};

pub(super) const FORMAT: Format = Format { encode, decode };

fn encode(fields: &Value) -> Vec<u8> {
    let request = ResendRequest {
        stream: text(&fields["stream"]).parse().unwrap(),
        epoch: number(&fields["epoch"]),
        first_sequence: number(&fields["first_sequence"]),
        mask: number(&fields["mask"]),
    };
    let mut bytes = [0; REQUEST_BYTES];
    assert_eq!(request.encode(&mut bytes), Ok(REQUEST_BYTES));
    bytes.to_vec()
}

fn decode(bytes: &[u8]) -> Result<Value, &'static str> {
    let request = match Packet::decode(bytes) {
        Ok(Packet::Request(request)) => request,
        Ok(_) => panic!("the first byte says request"),
        Err(error) => return Err(error.code()),
    };
    Ok(json!({
        "stream": request.stream, "epoch": request.epoch, "first_sequence": request.first_sequence,
        "mask": request.mask, "missing": request.sequences().collect::<Vec<_>>(),
    }))
}

pub(super) fn cases() -> Vec<Case> {
    let fields = |first_sequence: u32, mask: u64, missing: Vec<u32>| {
        json!({
            "stream": "0123456789abcdef", "epoch": 0x89ab_cdef_u32, "first_sequence": first_sequence,
            "mask": mask, "missing": missing,
        })
    };
    let three =
        FORMAT.valid("three packets of a burst of seven", fields(1000, 0b101_0001, vec![1000, 1004, 1006]));
    let bytes = unhex(text(&three["hex"]));
    vec![
        three.clone(),
        FORMAT.valid(
            "the first and the last that fit, with numbers that wrap",
            fields(u32::MAX, 1 << 63 | 1, vec![u32::MAX, 62]),
        ),
        FORMAT.valid("nothing is missing", fields(7, 0, vec![])),
        valid_only(
            "flags that are not assigned and the bytes after them are ignored",
            &changed(&three, 1, &[0xff, 0xff, 0xff]),
            three["fields"].clone(),
        ),
        invalid("a request that ends early", &bytes[..27], "truncated"),
        invalid("a byte after the request", &[bytes.clone(), vec![0]].concat(), "trailing-bytes"),
        invalid("version 2", &changed(&three, 0, &[0x25]), "unknown-version"),
    ]
}
