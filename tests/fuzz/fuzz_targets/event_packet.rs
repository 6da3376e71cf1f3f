//! Any datagram as an event packet: reading ends, within the packet, and what was read can be written again.
#![no_main]

use audiocloud_wire::packet::event::{Encoder, EventPacket};
use audiocloud_wire::packet::{PACKET_BYTES_MAX, Packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let any = Packet::decode(bytes);
    let Ok(packet) = EventPacket::decode(bytes) else {
        assert!(!matches!(any, Ok(Packet::Event(_))));
        return;
    };
    let extensions: Vec<_> = packet.extensions.iter().collect();
    let mut again = [0; PACKET_BYTES_MAX];
    let mut encoder = Encoder::new(&packet.header, &extensions, &mut again).expect("it was read");
    let mut events = 0;
    for event in packet.events() {
        encoder.try_push(event.frame, &event.body).expect("it was read");
        events += 1;
    }
    assert_eq!(events, packet.count());
    let length = encoder.finish();
    assert_eq!(again[0], bytes[0]);
    // The second byte may have had flags that are not assigned.
    assert_eq!(again[2..length], bytes[2..]);
});
