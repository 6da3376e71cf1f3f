//! Samples as integers, of 24 bit and of 16: the bits of an `f32` and the bytes it becomes. Where the bytes do
//! not become that `f32` again, the `f32` was not one of so many bits.

use audiocloud_wire::pcm::{f32_to_s16, f32_to_s24, s16_to_f32, s24_to_f32};
use serde_json::{Value, json};

use super::{Case, Format, text, unhex, valid_only};

pub(super) const FORMAT: Format = Format { encode, decode };

fn encode(fields: &Value) -> Vec<u8> {
    let bits = u32::from_str_radix(text(&fields["f32_bits"]), 16).unwrap();
    bytes_of(text(&fields["codec"]), f32::from_bits(bits))
}

fn bytes_of(codec: &str, sample: f32) -> Vec<u8> {
    if codec == "pcm-s16" { f32_to_s16(sample).to_vec() } else { f32_to_s24(sample).to_vec() }
}

fn decode(bytes: &[u8]) -> Result<Value, &'static str> {
    let (codec, sample) = match *bytes {
        [high, low] => ("pcm-s16", s16_to_f32([high, low])),
        [high, middle, low] => ("pcm-s24", s24_to_f32([high, middle, low])),
        _ => return Err("payload-length"),
    };
    Ok(json!({ "codec": codec, "f32_bits": format!("{:08x}", sample.to_bits()), "f32": sample }))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = cases_of("pcm-s24", "24 bit", 8_388_608.0, 5_592_405.0);
    cases.extend(cases_of("pcm-s16", "16 bit", 32_768.0, 21_845.0));
    cases
}

/// The cases of one codec: its full scale, and a sample of it with bits all over.
fn cases_of(codec: &str, bits: &str, full_scale: f32, all_bits: f32) -> Vec<Case> {
    let step = 1.0 / full_scale;
    let exact = [
        ("zero", 0.0),
        ("one step", step),
        ("one step down", -step),
        ("half of full scale", 0.5),
        ("the largest", (full_scale - 1.0) * step),
        ("the smallest", -1.0),
        ("all bits in use", all_bits * step),
    ];
    let rounded = [
        ("minus zero becomes zero", -0.0),
        ("full scale is clamped", 1.0),
        ("above full scale is clamped", 2.0),
        ("below full scale is clamped", -2.0),
        ("infinity is clamped", f32::INFINITY),
        ("minus infinity is clamped", f32::NEG_INFINITY),
        ("not a number becomes zero", f32::NAN),
        ("half a step goes to the even neighbour, zero", 0.5 * step),
        ("one and a half steps go to the even neighbour, two", 1.5 * step),
        ("minus two and a half steps go to the even neighbour, minus two", -2.5 * step),
        ("a little more than half a step goes up", 0.501 * step),
    ];
    let exact = exact.into_iter().map(|(name, sample)| {
        let bits_of = format!("{:08x}", sample.to_bits());
        FORMAT
            .valid(&format!("{bits}: {name}"), json!({ "codec": codec, "f32_bits": bits_of, "f32": sample }))
    });
    let rounded = rounded.into_iter().map(|(name, sample)| {
        let bytes = bytes_of(codec, sample);
        let mut case = valid_only(&format!("{bits}: {name}"), &bytes, decode(&bytes).unwrap());
        case["from_f32_bits"] = format!("{:08x}", sample.to_bits()).into();
        case
    });
    exact.chain(rounded).collect()
}

/// What the file says of an `f32` that is not one of so many bits; run after the file is checked.
pub(super) fn check_rounded(cases: &[Case]) {
    let rounded: Vec<_> = cases.iter().filter(|case| case.get("from_f32_bits").is_some()).collect();
    assert_eq!(rounded.len(), 22);
    for case in rounded {
        let bits = u32::from_str_radix(text(&case["from_f32_bits"]), 16).unwrap();
        let bytes = bytes_of(text(&case["fields"]["codec"]), f32::from_bits(bits));
        assert_eq!(bytes, unhex(text(&case["hex"])), "{case}");
    }
}
