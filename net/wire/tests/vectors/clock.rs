//! Packets of the clock exchange. The message inside is given as bytes.

use audiocloud_wire::packet::clock::ClockPacket;
use audiocloud_wire::packet::{PACKET_BYTES_MAX, Packet};
use serde_json::{Value, json};

use super::{Case, Format, changed, hex, invalid, number, text, unhex, valid_only};

pub(super) const FORMAT: Format = Format { encode, decode };

fn encode(fields: &Value) -> Vec<u8> {
    let ptp = unhex(text(&fields["ptp"]));
    let packet = ClockPacket { domain: number(&fields["domain"]), ptp: &ptp };
    let mut bytes = [0; PACKET_BYTES_MAX];
    let length = packet.encode(&mut bytes).unwrap();
    bytes[..length].to_vec()
}

fn decode(bytes: &[u8]) -> Result<Value, &'static str> {
    match Packet::decode(bytes) {
        Ok(Packet::Clock(packet)) => {
            Ok(json!({ "domain": packet.domain, "ptp": hex(packet.ptp), "event": packet.is_event() }))
        }
        Ok(_) => panic!("the first byte says clock"),
        Err(error) => Err(error.code()),
    }
}

/// A message of PTP (IEEE 1588-2019, 13.3.1): its header, and after it what its type has.
fn ptp(kind: u8, body: &[u8]) -> String {
    let mut bytes = vec![kind, 0x12];
    bytes.extend_from_slice(&u16::try_from(34 + body.len()).unwrap().to_be_bytes());
    bytes.resize(20, 0);
    // Port identity, sequence, control, interval.
    bytes.extend_from_slice(&[2, 0, 0, 0xff, 0xfe, 0, 0, 1, 0, 1, 0x12, 0x34, 0, 0xfd]);
    bytes.extend_from_slice(body);
    hex(&bytes)
}

pub(super) fn cases() -> Vec<Case> {
    let fields =
        |domain: u64, ptp: String, event: bool| json!({ "domain": domain, "ptp": ptp, "event": event });
    let sync = FORMAT.valid("a sync, in a session", fields(0x0123_4567_89ab_cdef, ptp(0, &[0; 10]), true));
    let follow_up = [0, 0, 0x65, 0x53, 0xf1, 0, 0x1d, 0xcd, 0x65, 0];
    let bytes = unhex(text(&sync["hex"]));
    vec![
        sync.clone(),
        FORMAT.valid("a follow-up, without a session", fields(0, ptp(8, &follow_up), false)),
        FORMAT.valid("a delay request", fields(1, ptp(1, &[0; 10]), true)),
        FORMAT.valid("a delay response", fields(1, ptp(9, &[0; 20]), false)),
        FORMAT.valid("a header alone", fields(1, ptp(0x0c, &[]), false)),
        FORMAT.valid("as long as may be", fields(1, ptp(0x0b, &[0; 222]), false)),
        valid_only(
            "flags that are not assigned and the bytes after them are ignored",
            &changed(&sync, 1, &[0xff, 0xff, 0xff]),
            sync["fields"].clone(),
        ),
        invalid("less than a header of PTP", &bytes[..45], "truncated"),
        invalid("no message at all", &bytes[..12], "truncated"),
        invalid("longer than may be", &[bytes.clone(), vec![0; 213]].concat(), "too-long"),
        invalid("version 2", &changed(&sync, 0, &[0x24]), "unknown-version"),
    ]
}
