//! Any datagram as a repair packet: what was read is in bounds, and can be written again.
#![no_main]

use audiocloud_wire::packet::repair::{RepairPacket, SYMBOL_BYTES_MAX, SYMBOL_BYTES_MIN, WINDOW_MAX};
use audiocloud_wire::packet::{PACKET_BYTES_MAX, Packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let any = Packet::decode(bytes);
    let Ok(packet) = RepairPacket::decode(bytes) else {
        assert!(!matches!(any, Ok(Packet::Repair(_))));
        return;
    };
    assert_eq!(any, Ok(Packet::Repair(packet)));
    let header = packet.header;
    assert!((1..=WINDOW_MAX).contains(&header.window));
    assert_eq!(header.last_sequence.wrapping_sub(header.first_sequence()), u32::from(header.window) - 1);
    assert!((SYMBOL_BYTES_MIN..=SYMBOL_BYTES_MAX).contains(&packet.symbol.len()));
    let mut again = [0; PACKET_BYTES_MAX];
    let length = packet.encode(&mut again).expect("it was read");
    assert_eq!(again[0], bytes[0]);
    // The second byte may have had flags that are not assigned.
    assert_eq!(again[2..length], bytes[2..]);
});
