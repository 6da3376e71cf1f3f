//! Receiver reports.

use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::report::{REPORT_BYTES, ReceiverReport};
use serde_json::{Value, json};

use super::{Case, Format, changed, invalid, number, text, unhex, valid_only};

pub(super) const FORMAT: Format = Format { encode, decode };

fn encode(fields: &Value) -> Vec<u8> {
    let report = ReceiverReport {
        stream: text(&fields["stream"]).parse().unwrap(),
        epoch: number(&fields["epoch"]),
        highest_sequence: number(&fields["highest_sequence"]),
        received: number(&fields["received"]),
        lost: number(&fields["lost"]),
        recovered: number(&fields["recovered"]),
        late: number(&fields["late"]),
        jitter_us: number(&fields["jitter_us"]),
        hold_us: number(&fields["hold_us"]),
        heard_us: number(&fields["heard_us"]),
        next_event: number(&fields["next_event"]),
        repair_every: number(&fields["repair_every"]),
        repair_window: number(&fields["repair_window"]),
        needs_us: fields["needs_us"].as_u64().map(|needs| u32::try_from(needs).unwrap()),
    };
    let mut bytes = [0; REPORT_BYTES];
    let length = report.encode(&mut bytes).unwrap();
    bytes[..length].to_vec()
}

fn decode(bytes: &[u8]) -> Result<Value, &'static str> {
    let report = match Packet::decode(bytes) {
        Ok(Packet::Report(report)) => report,
        Ok(_) => panic!("the first byte says report"),
        Err(error) => return Err(error.code()),
    };
    Ok(json!({
        "stream": report.stream, "epoch": report.epoch, "highest_sequence": report.highest_sequence,
        "received": report.received, "lost": report.lost, "recovered": report.recovered, "late": report.late,
        "jitter_us": report.jitter_us, "hold_us": report.hold_us, "heard_us": report.heard_us,
        "next_event": report.next_event, "repair_every": report.repair_every,
        "repair_window": report.repair_window, "needs_us": report.needs_us,
    }))
}

pub(super) fn cases() -> Vec<Case> {
    let usual = FORMAT.valid(
        "all well but for some loss",
        json!({
            "stream": "0123456789abcdef", "epoch": 0x89ab_cdef_u32, "highest_sequence": 1000, "received": 990,
            "lost": 11, "recovered": 9, "late": 2, "jitter_us": 180, "hold_us": 2_700, "heard_us": 5_400,
            "next_event": 17, "repair_every": 4, "repair_window": 8, "needs_us": null,
        }),
    );
    let aligned = |needs_us: u32| {
        let mut fields = usual["fields"].clone();
        fields["needs_us"] = needs_us.into();
        fields
    };
    let largest = json!({
        "stream": "ffffffffffffffff", "epoch": u32::MAX, "highest_sequence": u32::MAX, "received": u32::MAX,
        "lost": u32::MAX, "recovered": u32::MAX, "late": u32::MAX, "jitter_us": u32::MAX, "hold_us": u32::MAX,
        "heard_us": u32::MAX, "next_event": u32::MAX, "repair_every": 255, "repair_window": 16,
        "needs_us": u32::MAX,
    });
    let bytes = unhex(text(&usual["hex"]));
    let bad = |name, at, field: &[u8], error| invalid(name, &changed(&usual, at, field), error);
    vec![
        usual.clone(),
        FORMAT.valid("all fields at their largest", largest),
        FORMAT.valid("it plays at the session's time", aligned(12_500)),
        valid_only(
            "flags that are not assigned are ignored",
            &changed(&usual, 1, &[0xfe]),
            usual["fields"].clone(),
        ),
        invalid("a report that ends early", &bytes[..51], "truncated"),
        invalid("a byte after the report", &[bytes.clone(), vec![0]].concat(), "trailing-bytes"),
        bad("version 2", 0, &[0x23], "unknown-version"),
        bad("a wish for repairs of seventeen packets", 3, &[17], "window"),
    ]
}
