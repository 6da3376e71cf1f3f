//! Slice reports. The numbers that are missing are given besides the mask.

use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::slice_report::{SLICE_REPORT_BYTES, SliceReport};
use serde_json::{Value, json};

use super::{Case, Format, changed, invalid, number, text, unhex, valid_only};

pub(super) const FORMAT: Format = Format { encode, decode };

fn encode(fields: &Value) -> Vec<u8> {
    let report = SliceReport {
        remote: text(&fields["remote"]).parse().unwrap(),
        back: fields["back"] == true,
        epoch: number(&fields["epoch"]),
        next_sequence: number(&fields["next_sequence"]),
        received: number(&fields["received"]),
        missed: number(&fields["missed"]),
        lost: number(&fields["lost"]),
        late: number(&fields["late"]),
        first_missing: number(&fields["first_missing"]),
        missing: number(&fields["mask"]),
    };
    let mut bytes = [0; SLICE_REPORT_BYTES];
    assert_eq!(report.encode(&mut bytes), Ok(SLICE_REPORT_BYTES));
    bytes.to_vec()
}

fn decode(bytes: &[u8]) -> Result<Value, &'static str> {
    let report = match Packet::decode(bytes) {
        Ok(Packet::SliceReport(report)) => report,
        Ok(_) => panic!("the first byte says slice report"),
        Err(error) => return Err(error.code()),
    };
    Ok(json!({
        "remote": report.remote, "back": report.back, "epoch": report.epoch,
        "next_sequence": report.next_sequence, "received": report.received, "missed": report.missed,
        "lost": report.lost, "late": report.late, "first_missing": report.first_missing,
        "mask": report.missing, "missing": report.sequences().collect::<Vec<_>>(),
    }))
}

pub(super) fn cases() -> Vec<Case> {
    let fields = |back: bool, first_missing: u32, mask: u64, missing: Vec<u32>| {
        json!({
            "remote": "0123456789abcdef", "back": back, "epoch": 0x89ab_cdef_u32, "next_sequence": 1000,
            "received": 1005, "missed": 9, "lost": 2, "late": 1, "first_missing": first_missing,
            "mask": mask, "missing": missing,
        })
    };
    let three = FORMAT.valid(
        "three slices of a burst of seven are missed",
        fields(false, 1000, 0b101_0001, vec![1000, 1004, 1006]),
    );
    let bytes = unhex(text(&three["hex"]));
    vec![
        three.clone(),
        FORMAT.valid(
            "of what comes back, with numbers that wrap",
            fields(true, u32::MAX, 1 << 63 | 1, vec![u32::MAX, 62]),
        ),
        FORMAT.valid("nothing is missed", fields(false, 0, 0, vec![])),
        valid_only(
            "flags that are not assigned and the bytes after them are ignored",
            &changed(&three, 1, &[0xfe, 0xff, 0xff]),
            three["fields"].clone(),
        ),
        invalid("a report that ends early", &bytes[..47], "truncated"),
        invalid("a byte after the report", &[bytes.clone(), vec![0]].concat(), "trailing-bytes"),
        invalid("version 2", &changed(&three, 0, &[0x27]), "unknown-version"),
    ]
}
