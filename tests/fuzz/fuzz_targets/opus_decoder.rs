//! Any bytes as payloads of Opus, one after the other and in place of lost ones: each ends in samples or an error, and
//! the decoder goes on.
#![no_main]

use audiocloud_codec::opus::{Decoder, FRAMES_MAX, carries_fec};
use libfuzzer_sys::fuzz_target;

/// Enough for the state of a decoder to go astray.
const STEPS_MAX: usize = 32;

fuzz_target!(|input: &[u8]| {
    let Some((&[channels], mut rest)) = input.split_first_chunk() else { return };
    let channels = usize::from(channels % 5) + 1;
    let mut decoder = Decoder::new(channels, 48_000).expect("a rate of Opus");
    let mut out = vec![vec![0.0_f32; FRAMES_MAX]; channels];
    for _ in 0..STEPS_MAX {
        let Some((&[what, high, low], after)) = rest.split_first_chunk() else { break };
        let length = usize::from(u16::from_be_bytes([high, low])).min(1106).min(after.len());
        let (payload, after) = after.split_at(length);
        rest = after;
        carries_fec(payload);
        let frames = [120, 240, 480, 960][usize::from(what >> 2 & 3)];
        let decoded = match what & 3 {
            0 => decoder.decode_lost(frames, &mut out),
            1 => decoder.decode_fec(payload, frames, &mut out),
            _ => decoder.decode(payload, &mut out),
        };
        assert!(decoded.is_ok() || what & 3 != 0, "what is lost can always be made up for");
        assert!(decoded.unwrap_or(0) <= FRAMES_MAX);
    }
});
