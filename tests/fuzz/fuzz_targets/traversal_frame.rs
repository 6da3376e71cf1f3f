//! Any bytes as a datagram beside QUIC's: what is read is written the same, and never taken for QUIC's.
#![no_main]

use audiocloud_traversal::frame::{
    DATAGRAM_BYTES_MAX, Frame, RELAYED_HEADER_BYTES, is_frame, relayed_header,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(frame) = Frame::decode(bytes) else { return };
    assert!(is_frame(bytes) && bytes.len() <= RELAYED_HEADER_BYTES + DATAGRAM_BYTES_MAX);
    let mut written = Vec::new();
    frame.encode(&mut written);
    assert_eq!(written, bytes);
    if let Frame::Relayed { channel, datagram } = frame {
        assert_eq!(bytes, [&relayed_header(channel)[..], datagram].concat());
        assert!(!matches!(Frame::decode(datagram), Ok(Frame::Relayed { .. })), "relayed once only");
    }
});
