//! Any bytes as a meeting's message: what is read can be sent on and read again, in no more room than messages have.
#![no_main]

use audiocloud_traversal::meeting::{LENGTH_BYTES, MESSAGE_BYTES_MAX, Message, frame_length};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((prefix, _)) = bytes.split_first_chunk::<LENGTH_BYTES>()
        && let Ok(length) = frame_length(*prefix)
    {
        assert!((1..=MESSAGE_BYTES_MAX).contains(&length));
    }
    let Ok(message) = Message::decode(bytes) else { return };
    assert!(bytes.len() <= MESSAGE_BYTES_MAX);
    let frame = message.to_frame();
    let (prefix, body) = frame.split_first_chunk().expect("a length");
    assert_eq!(frame_length(*prefix), Ok(body.len()));
    assert_eq!(Message::decode(body), Ok(message));
});
