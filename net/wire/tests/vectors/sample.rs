//! Samples of 24 bit: the bits of an `f32` and the bytes it becomes. Where the bytes do not become that `f32`
//! again, the `f32` was not one of 24 bit.

use audiocloud_wire::pcm::{f32_to_s24, s24_to_f32};
use serde_json::{Value, json};

use super::{Case, Format, text, unhex, valid_only};

pub(super) const FORMAT: Format = Format { encode, decode };

fn encode(fields: &Value) -> Vec<u8> {
    let bits = u32::from_str_radix(text(&fields["f32_bits"]), 16).unwrap();
    f32_to_s24(f32::from_bits(bits)).to_vec()
}

fn decode(bytes: &[u8]) -> Result<Value, &'static str> {
    let sample = s24_to_f32(bytes.try_into().map_err(|_| "payload-length")?);
    Ok(json!({ "f32_bits": format!("{:08x}", sample.to_bits()), "f32": sample }))
}

pub(super) fn cases() -> Vec<Case> {
    let step = 1.0 / 8_388_608.0_f32;
    let exact = |name, sample: f32| {
        FORMAT.valid(name, json!({ "f32_bits": format!("{:08x}", sample.to_bits()), "f32": sample }))
    };
    let mut cases = vec![
        exact("zero", 0.0),
        exact("one step", step),
        exact("one step down", -step),
        exact("half of full scale", 0.5),
        exact("the largest", 8_388_607.0 * step),
        exact("the smallest", -1.0),
        exact("all bits in use", 5_592_405.0 * step),
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
    for (name, sample) in rounded {
        let bytes = f32_to_s24(sample);
        let mut case = valid_only(name, &bytes, decode(&bytes).unwrap());
        case["from_f32_bits"] = format!("{:08x}", sample.to_bits()).into();
        cases.push(case);
    }
    cases
}

/// What the file says of an `f32` that is not one of 24 bit; run after the file is checked.
pub(super) fn check_rounded(cases: &[Case]) {
    let rounded: Vec<_> = cases.iter().filter(|case| case.get("from_f32_bits").is_some()).collect();
    assert_eq!(rounded.len(), 11);
    for case in rounded {
        let bits = u32::from_str_radix(text(&case["from_f32_bits"]), 16).unwrap();
        assert_eq!(f32_to_s24(f32::from_bits(bits)).to_vec(), unhex(text(&case["hex"])), "{case}");
    }
}
