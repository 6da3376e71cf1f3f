//! Repair packets.

use audiocloud_wire::packet::repair::{Header, RepairPacket};
use audiocloud_wire::packet::{PACKET_BYTES_MAX, Packet};
use serde_json::{Value, json};

use super::{Case, Format, changed, hex, invalid, number, text, unhex, valid_only};

pub(super) const FORMAT: Format = Format { encode, decode };

fn encode(fields: &Value) -> Vec<u8> {
    let header = Header {
        stream: text(&fields["stream"]).parse().unwrap(),
        epoch: number(&fields["epoch"]),
        last_sequence: number(&fields["last_sequence"]),
        window: number(&fields["window"]),
        key: number(&fields["key"]),
    };
    let symbol = unhex(text(&fields["symbol"]));
    let mut bytes = [0; PACKET_BYTES_MAX];
    let length = RepairPacket { header, symbol: &symbol }.encode(&mut bytes).unwrap();
    bytes[..length].to_vec()
}

fn decode(bytes: &[u8]) -> Result<Value, &'static str> {
    let RepairPacket { header, symbol } = match Packet::decode(bytes) {
        Ok(Packet::Repair(packet)) => packet,
        Ok(_) => panic!("the first byte says repair"),
        Err(error) => return Err(error.code()),
    };
    Ok(json!({
        "stream": header.stream, "epoch": header.epoch, "last_sequence": header.last_sequence,
        "window": header.window, "key": header.key, "symbol": hex(symbol),
    }))
}

/// What a packet of audio gives when a repair covers it alone.
fn symbol_of(packet: &[u8]) -> String {
    hex(&[&u16::try_from(packet.len()).unwrap().to_be_bytes(), packet].concat())
}

pub(super) fn cases() -> Vec<Case> {
    let fields = |last_sequence: u32, window: u8, key: u8, symbol: String| {
        json!({
            "stream": "0123456789abcdef", "epoch": 0x89ab_cdef_u32, "last_sequence": last_sequence,
            "window": window, "key": key, "symbol": symbol,
        })
    };
    let packet = super::audio::FORMAT.valid("", super::audio::stereo())["hex"].clone();
    let repetition = FORMAT.valid("a repetition", fields(7, 1, 0, symbol_of(&unhex(text(&packet)))));
    let mut cases = vec![
        repetition.clone(),
        FORMAT.valid("sixteen packets, with numbers that wrap", fields(3, 16, 255, "a5".repeat(36))),
        FORMAT.valid("the longest packet", fields(7, 2, 1, "5a".repeat(1142))),
        valid_only(
            "flags that are not assigned are ignored",
            &changed(&repetition, 1, &[0xff]),
            repetition["fields"].clone(),
        ),
    ];
    let bytes = unhex(text(&repetition["hex"]));
    let bad = |name, at, field: &[u8], error| invalid(name, &changed(&repetition, at, field), error);
    cases.extend([
        invalid("a header that ends early", &bytes[..19], "truncated"),
        invalid("a header without a symbol", &bytes[..20], "symbol-length"),
        invalid("a symbol shorter than any packet", &bytes[..55], "symbol-length"),
        invalid("longer than a packet may be", &[bytes.clone(), vec![0; 1142]].concat(), "too-long"),
        bad("version 2", 0, &[0x22], "unknown-version"),
        bad("no packets", 2, &[0], "window"),
        bad("seventeen packets", 2, &[17], "window"),
    ]);
    cases
}
