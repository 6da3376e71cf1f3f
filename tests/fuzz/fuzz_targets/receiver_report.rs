//! Any datagram as a receiver report: what was read can be written again.
#![no_main]

use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::report::{REPORT_BYTES, ReceiverReport};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let any = Packet::decode(bytes);
    let Ok(report) = ReceiverReport::decode(bytes) else {
        assert!(!matches!(any, Ok(Packet::Report(_))));
        return;
    };
    assert_eq!(any, Ok(Packet::Report(report)));
    let mut again = [0; REPORT_BYTES];
    assert_eq!(report.encode(&mut again), Ok(bytes.len()));
    assert_eq!(again[0], bytes[0]);
    // The second byte may have had flags that are not assigned.
    assert_eq!(again[2..], bytes[2..]);
});
