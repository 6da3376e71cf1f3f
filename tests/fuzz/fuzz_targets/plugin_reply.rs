//! Whatever a plug-in's process says: reading it ends, and is the same in whatever pieces it comes.
#![no_main]

use audiocloud_host::message::{Decoder, FrameError, Reply};
use libfuzzer_sys::fuzz_target;

type Heard = (Vec<(Reply, Vec<u8>)>, Option<FrameError>);

fn hear<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Heard {
    let (mut decoder, mut heard) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.frame::<Reply>() {
                Ok(Some(frame)) => heard.push(frame),
                Ok(None) => break,
                Err(error) => return (heard, Some(error)),
            }
        }
    }
    (heard, None)
}

fuzz_target!(|bytes: &[u8]| {
    let (size, bytes) = bytes.split_first().map_or((1, bytes), |(size, rest)| (usize::from(*size).max(1), rest));
    let (whole, whole_error) = hear(std::iter::once(bytes));
    let (parts, parts_error) = hear(bytes.chunks(size));
    // Numbers that are none differ from themselves, so this compares what is written.
    assert_eq!(format!("{whole:?}"), format!("{parts:?}"));
    assert_eq!(whole_error, parts_error);
});
