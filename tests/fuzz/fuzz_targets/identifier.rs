//! Any text as an identifier: what is read is written the same, in lower case.
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use audiocloud_wire::id::{DeviceId, InstanceId, StreamId, StreamKey};
use audiocloud_wire::message::{TEXT_BYTES_MAX, Text};
use libfuzzer_sys::fuzz_target;

fn check<T: FromStr + Display>(text: &str) {
    if let Ok(id) = text.parse::<T>() {
        assert_eq!(id.to_string(), text.to_lowercase());
    }
}

fuzz_target!(|text: &str| {
    check::<DeviceId>(text);
    check::<InstanceId>(text);
    check::<StreamId>(text);
    check::<StreamKey>(text);
    let kept = Text::new(text);
    assert!(kept.len() <= TEXT_BYTES_MAX);
    assert_eq!(Text::try_from(kept.as_str()), Ok(kept.clone()));
    if let Ok(whole) = Text::try_from(text) {
        assert_eq!(whole, kept);
    }
});
