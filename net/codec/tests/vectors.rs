//! The byte vectors of packed samples and of repairs' symbols in `net/wire/spec/vectors`, which stand beside those
//! of the packets that carry them.
//!
//! How samples are best packed is the packer's choice, so a difference there is a change of the choices; that
//! what was packed is read the same is the format. The files are written with `AUDIOCLOUD_WRITE_VECTORS=1
//! cargo test -p audiocloud-codec --test vectors`.

use std::path::PathBuf;

use audiocloud_codec::pack::Packer;
use audiocloud_codec::repair::{Decoder, Encoder};
use serde_json::{Value, json};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn number<T: TryFrom<u64>>(value: &Value) -> T {
    value.as_u64().and_then(|value| T::try_from(value).ok()).unwrap()
}

/// Reads the cases of a file, after it was written if that is asked for.
fn cases(file: &str, written: &[Value]) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../wire/spec/vectors").join(file);
    if std::env::var_os("AUDIOCLOUD_WRITE_VECTORS").is_some() {
        let lines: Vec<_> = written.iter().map(|case| format!("  {case}")).collect();
        std::fs::write(&path, format!("[\n{}\n]\n", lines.join(",\n"))).unwrap();
    }
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(cases.len(), written.len(), "{file}: cases are missing");
    for (found, expected) in cases.iter().zip(written) {
        assert_eq!(found, expected, "{file}: what is written has changed");
    }
    cases
}

/// Samples of some channels, frame by frame, and how they are packed.
fn packed(name: &str, bits: u8, channels: usize, samples: &[i32]) -> Value {
    let bytes = |sample: &i32| sample.to_be_bytes()[usize::from(4 - bits / 8)..].to_vec();
    let pcm: Vec<u8> = samples.iter().flat_map(bytes).collect();
    let mut out = vec![0; pcm.len()];
    let length = Packer::default().pack(&pcm, channels, bits, &mut out).unwrap();
    json!({
        "name": name, "bits": bits, "channels": channels, "frames": samples.len() / channels,
        "pcm": hex(&pcm), "packed": hex(&out[..length]),
    })
}

/// Forty frames, of which each channel has what `sample` gives for it and the frame.
fn frames(channels: i32, sample: impl Fn(i32, i32) -> i32) -> Vec<i32> {
    (0..40)
        .flat_map(|frame| (0..channels).map(move |channel| (channel, frame)))
        .map(|(c, f)| sample(c, f))
        .collect()
}

/// Small, and no line through any of them.
fn rough(place: i32) -> i32 {
    (place * place * 37 + place * 11) % 23 - 11
}

#[test]
fn packed_samples() {
    let written = [
        packed("silence, 24 bit, stereo", 24, 2, &frames(2, |_, _| 0)),
        packed("a constant, 16 bit, mono", 16, 1, &frames(1, |_, _| -12_345)),
        packed("a slope, 24 bit, mono", 24, 1, &frames(1, |_, frame| frame * 1001 - 9)),
        packed("a parabola, 24 bit, mono", 24, 1, &frames(1, |_, frame| frame * frame * 5003 - 4_000_000)),
        packed("noise, 16 bit, mono", 16, 1, &frames(1, |_, frame| rough(frame))),
        packed("twice the same, 24 bit", 24, 2, &frames(2, |_, frame| rough(frame) * 1001)),
        packed(
            "nearly the same, 24 bit",
            24,
            2,
            &frames(2, |c, frame| frame * 90_001 + rough(frame * 2 + c)),
        ),
        packed("one side silent, 16 bit", 16, 2, &frames(2, |c, frame| c * rough(frame))),
        packed("16 bit in 24", 24, 2, &frames(2, |c, frame| rough(frame + 50 * c) << 8)),
        packed("five channels, 16 bit", 16, 5, &frames(5, |c, frame| rough(frame) * (c + 1))),
        packed(
            "a peak that takes the long way",
            24,
            1,
            &frames(1, |_, f| if f == 20 { -8_388_608 } else { f & 1 }),
        ),
        packed("one frame", 24, 1, &[0]),
    ];
    let mut packer = Packer::default();
    for case in cases("packed.json", &written) {
        let (bits, channels, frames) =
            (number(&case["bits"]), number(&case["channels"]), number(&case["frames"]));
        let (packed, mut pcm) = (unhex(&case["packed"]), Vec::new());
        assert_eq!(packer.unpack(&packed, channels, frames, bits, &mut pcm), Ok(()), "{case}");
        assert_eq!(pcm, unhex(&case["pcm"]), "{case}");
        let shorter = &packed[..packed.len() - 1];
        assert!(packer.unpack(shorter, channels, frames, bits, &mut pcm).is_err(), "{case}");
    }
}

/// The symbol over packets with consecutive numbers up to `last`.
fn symbol(name: &str, last: u32, key: u8, packets: &[&[u8]]) -> Value {
    let mut encoder = Encoder::new();
    for (back, packet) in (0..packets.len()).rev().zip(packets) {
        encoder.push(last.wrapping_sub(u32::try_from(back).unwrap()), packet);
    }
    let mut out = [0; 64];
    let (_, window, length) = encoder.encode(16, key, &mut out).unwrap();
    assert_eq!(usize::from(window), packets.len());
    json!({
        "name": name, "last_sequence": last, "key": key, "symbol": hex(&out[..length]),
        "packets": packets.iter().map(|packet| hex(packet)).collect::<Vec<_>>(),
    })
}

#[test]
fn symbols_of_repairs() {
    let packets: [&[u8]; 4] = [b"audio", b"of", b"several", b"lengths."];
    let written = [
        symbol("a repetition", 7, 0, &packets[..1]),
        symbol("the sum of four", 7, 0, &packets),
        symbol("key 1", 7, 1, &packets),
        symbol("key 192, numbers that wrap", 1, 192, &packets),
        symbol("key 193 is key 1", 7, 193, &packets),
        symbol("sixteen packets", 100, 9, &packets.repeat(4)),
    ];
    for case in cases("symbol.json", &written) {
        let packets: Vec<_> = case["packets"].as_array().unwrap().iter().map(unhex).collect();
        let (last, key, symbol) =
            (number::<u32>(&case["last_sequence"]), number(&case["key"]), unhex(&case["symbol"]));
        let window = u8::try_from(packets.len()).unwrap();
        let sequence = |place: u8| last.wrapping_sub(u32::from(window - 1 - place));
        // Whichever is lost, the others and the symbol bring it back.
        for lost in 0..window {
            let mut decoder = Decoder::new();
            for (place, packet) in (0..window).zip(&packets).filter(|(place, _)| *place != lost) {
                decoder.source(sequence(place), packet);
            }
            decoder.repair(last, window, key, &symbol);
            let recovered = decoder.next_recovered();
            assert_eq!(recovered, Some((sequence(lost), packets[usize::from(lost)].clone())), "{case}");
        }
    }
}
