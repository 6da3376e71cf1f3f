//! Any datagram as a resend request: it asks for as many packets as its mask has bits, and what was read can be
//! written again.
#![no_main]

use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::request::{REQUEST_BYTES, ResendRequest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let any = Packet::decode(bytes);
    let Ok(request) = ResendRequest::decode(bytes) else {
        assert!(!matches!(any, Ok(Packet::Request(_))));
        return;
    };
    assert_eq!(any, Ok(Packet::Request(request)));
    let mask = request
        .sequences()
        .fold(0, |mask, sequence| mask | 1_u64 << sequence.wrapping_sub(request.first_sequence));
    assert_eq!(mask, request.mask);
    let mut again = [0; REQUEST_BYTES];
    assert_eq!(request.encode(&mut again), Ok(bytes.len()));
    assert_eq!(again[0], bytes[0]);
    // The three bytes after the first mean nothing yet.
    assert_eq!(again[4..], bytes[4..]);
});
