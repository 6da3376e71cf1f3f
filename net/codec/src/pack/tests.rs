use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Samples, frame after frame, as a payload.
fn payload(samples: impl IntoIterator<Item = i32>, bits: u8) -> Vec<u8> {
    let bytes = |sample: i32| {
        let high = sample << (32 - u32::from(bits));
        high.to_be_bytes().into_iter().take(usize::from(bits / 8))
    };
    samples.into_iter().flat_map(bytes).collect()
}

/// A payload's samples, a slice for each channel, full scale being 1.0.
fn floats(pcm: &[u8], channels: usize, bits: u8) -> Vec<Vec<f32>> {
    let bytes = usize::from(bits / 8);
    #[allow(clippy::cast_possible_truncation, reason = "24 bits are exact")]
    let float = |sample: &[u8]| {
        let high = sample.iter().fold(0_i32, |value, byte| value << 8 | i32::from(*byte)) << (32 - bits);
        (f64::from(high) / 2_147_483_648.0) as f32
    };
    let of_channel = |channel| pcm.chunks(bytes).skip(channel).step_by(channels).map(float).collect();
    (0..channels).map(of_channel).collect()
}

/// Packs and unpacks; the packed length, none when it would not have been shorter.
fn round_trip(pcm: &[u8], channels: usize, bits: u8) -> Option<usize> {
    let mut packer = Packer::default();
    let mut packed = vec![0xee; pcm.len() + 8];
    let length = packer.pack(pcm, channels, bits, &mut packed)?;
    assert!(length < pcm.len());
    let frames = pcm.len() / channels / usize::from(bits / 8);
    let mut unpacked = vec![1; 7];
    assert_eq!(packer.unpack(&packed[..length], channels, frames, bits, &mut unpacked), Ok(()));
    assert_eq!(unpacked, pcm);
    let mut planar = vec![vec![7.0; 3]; 2];
    assert_eq!(packer.unpack_planar(&packed[..length], channels, frames, bits, &mut planar), Ok(()));
    assert_eq!(planar, floats(pcm, channels, bits));
    assert!(packer.unpack(&packed[..length - 1], channels, frames, bits, &mut unpacked).is_err());
    assert!(packer.unpack(&packed[..length + 1], channels, frames, bits, &mut unpacked).is_err());
    Some(length)
}

/// A sine of `hertz` at 48 kHz.
fn sine(hertz: f64, amplitude: f64) -> impl Iterator<Item = i32> + Clone {
    #[allow(clippy::cast_possible_truncation, reason = "a sample of 24 bits")]
    (0..).map(move |frame| {
        (amplitude * (std::f64::consts::TAU * hertz / 48_000.0 * f64::from(frame)).sin()).round() as i32
    })
}

/// White noise in so many bits.
fn noise(bits: u32) -> impl Iterator<Item = i32> {
    let mut state = 0x2545_f491_u32;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        Some(state.cast_signed() >> (32 - bits))
    })
}

#[test]
fn silence_is_next_to_nothing() {
    // 5 + 2 bits for the pair, 3 for each channel, 5 for each of its four partitions.
    assert_eq!(round_trip(&[0; 768], 2, 24), Some((7_usize + 2 * (3 + 4 * 5)).div_ceil(8)));
    assert_eq!(round_trip(&[0; 256], 1, 16), Some((5_usize + 3 + 4 * 5).div_ceil(8)));
    assert_eq!(round_trip(&[], 2, 24), None);
    assert_eq!(round_trip(&[0; 3], 1, 24), Some(2));
}

#[test]
fn what_a_pair_shares_is_sent_once() {
    let one = payload(sine(997.0, 4e6).take(128), 24);
    let two = payload(sine(997.0, 4e6).flat_map(|sample| [sample, sample]).take(256), 24);
    let [one, two] = [round_trip(&one, 1, 24), round_trip(&two, 2, 24)].map(|length| length.expect("packs"));
    assert!(two < one + 6, "{one} {two}");
}

#[test]
fn low_bits_that_are_zero_cost_nothing() {
    let narrow = payload(sine(440.0, 9e3).take(128), 16);
    let wide = payload(sine(440.0, 9e3).take(128).map(|sample| sample << 8), 24);
    assert_eq!(round_trip(&narrow, 1, 16), round_trip(&wide, 1, 24));
}

#[test]
fn misses_are_summed_alike_in_blocks_and_one_by_one() {
    let samples: Vec<i32> = noise(24).take(131).collect();
    let differences = |values: &[i32]| values.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
    for length in 0..samples.len() {
        let mut values = samples[..length].to_vec();
        for (order, sum) in channel::magnitudes(&samples[..length]).into_iter().enumerate() {
            // Of each order, from the fifth sample on.
            let from = (4 - order).min(values.len());
            let expected: u64 = values[from..].iter().map(|miss| u64::from(miss.unsigned_abs())).sum();
            assert_eq!(sum, expected, "{length} samples, order {order}");
            values = differences(&values);
        }
    }
}

/// Noise has no other redundancy than its headroom: two bits of 24 at −12 dBFS, less what Rice's code wastes
/// on a flat distribution.
#[test]
fn noise_shrinks_by_its_headroom_or_stays() {
    let length = round_trip(&payload(noise(22).take(256), 24), 2, 24).expect("packs");
    assert!((704..=768).contains(&length), "{length}");
    assert_eq!(round_trip(&payload(noise(24).take(256), 24), 2, 24), None);
}

#[test]
fn extremes_survive() {
    let (most, least) = (8_388_607, -8_388_608);
    for period in 1..=5 {
        let samples = (0..256).map(|n| if n / period % 2 == 0 { most } else { least });
        for channels in [1, 2, 4, 8] {
            let _length = round_trip(&payload(samples.clone(), 24), channels, 24);
        }
    }
    // Left and right as far apart as can be: the difference takes 25 bits.
    assert!(round_trip(&payload([most, least].repeat(64), 24), 2, 24).is_some());
}

#[test]
fn little_is_not_asked_to_be_much() {
    let mut packer = Packer::default();
    let mut pcm = Vec::new();
    assert_eq!(packer.unpack(&[0; 30], 64, 65_535, 24, &mut pcm), Err(PackError::Truncated));
    assert_eq!(packer.unpack(&[0; 30], usize::MAX, 2, 24, &mut pcm), Err(PackError::Malformed));
    assert_eq!(packer.unpack(&[0; 30], 1, 1, 20, &mut pcm), Err(PackError::Malformed));
    assert_eq!(packer.unpack(&[0xff; 30], 1, 8, 24, &mut pcm), Err(PackError::Malformed));
    assert_eq!(pcm.capacity().min(1 << 16), pcm.capacity(), "bounded");
}

/// Samples that try the packer: noise, steps, ramps, spikes.
fn samples() -> impl Strategy<Value = Vec<i32>> {
    let sample = prop_oneof![
        Just(0_i32),
        Just(8_388_607),
        Just(-8_388_608),
        -8_388_608..=8_388_607,
        -100..=100,
        (-32_768..=32_767_i32).prop_map(|sample| sample << 8)
    ];
    prop_oneof![
        vec(sample, 0..400),
        (vec(-300..300_i32, 0..400), 0_u32..12).prop_map(|(steps, shift)| {
            let add = |sum: &mut i32, step: i32| {
                *sum = (*sum + (step << shift)).clamp(-8_388_608, 8_388_607);
                Some(*sum)
            };
            steps.into_iter().scan(0, add).collect()
        })
    ]
}

proptest! {
    #[test]
    fn any_samples_survive(samples in samples(), channels in 1..6_usize, narrow in any::<bool>()) {
        let whole = samples.len() / channels * channels;
        let (bits, shift) = if narrow { (16, 8) } else { (24, 0) };
        let pcm = payload(samples[..whole].iter().map(|sample| sample >> shift), bits);
        round_trip(&pcm, channels, bits);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in vec(any::<u8>(), 0..200),
        channels in 0..9_usize,
        frames in 0..300_usize,
        narrow in any::<bool>(),
    ) {
        let bits = if narrow { 16 } else { 24 };
        let mut pcm = Vec::new();
        let unpacked = Packer::default().unpack(&bytes, channels, frames, bits, &mut pcm);
        if unpacked.is_ok() {
            prop_assert_eq!(pcm.len(), channels * frames * usize::from(bits / 8));
        }
        let mut planar = Vec::new();
        let alike = Packer::default().unpack_planar(&bytes, channels, frames, bits, &mut planar);
        prop_assert_eq!(alike, unpacked);
    }
}
