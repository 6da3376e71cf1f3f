use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Noise of so many channels below 4 kHz or so: every channel another, no two stretches alike.
fn noise(channels: usize, frames: usize) -> Vec<Vec<f32>> {
    let mut state = 0x1234_5678_u32;
    let mut channel = || {
        let mut low = [0.0_f32; 3];
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [a, b, ..] = state.to_be_bytes();
            low[0] += 0.25 * (f32::from(i16::from_be_bytes([a, b])) / 32_768.0 - low[0]);
            low[1] += 0.25 * (low[0] - low[1]);
            low[2] += 0.25 * (low[1] - low[2]);
            low[2]
        };
        (0..frames).map(|_| next()).collect()
    };
    (0..channels).map(|_| channel()).collect()
}

/// Encodes all whole frames, and hands each payload to `decode`; what comes out, one after the other.
fn through(
    encoder: &mut Encoder,
    input: &[Vec<f32>],
    mut decode: impl FnMut(usize, &[u8], &mut [Vec<f32>]),
) -> Vec<Vec<f32>> {
    let frames = encoder.frames();
    let mut output = vec![Vec::new(); input.len()];
    let mut payload = vec![0; payload_max(input.len())];
    let mut decoded = vec![vec![0.0; FRAMES_MAX]; input.len()];
    for at in 0..input[0].len() / frames {
        let planar: Vec<_> = input.iter().map(|channel| &channel[at * frames..(at + 1) * frames]).collect();
        let length = encoder.encode(&planar, &mut payload).expect("encodes");
        decode(at, &payload[..length], &mut decoded);
        for (output, decoded) in output.iter_mut().zip(&decoded) {
            output.extend_from_slice(&decoded[..frames]);
        }
    }
    output
}

/// The ratio of signal to error in dB, when the output comes `delay` frames late.
fn snr_db(input: &[f32], output: &[f32], delay: usize) -> f64 {
    let pairs = || input.iter().zip(&output[delay..]).skip(2_000);
    let signal: f64 = pairs().map(|(input, _)| f64::from(*input).powi(2)).sum();
    let error: f64 = pairs().map(|(input, output)| f64::from(input - output).powi(2)).sum();
    10.0 * (signal / error).log10()
}

#[test]
fn audio_comes_out_at_the_sample_said() {
    for (frame_us, bitrate_bps, lookahead, snr_min_db) in [
        (2_500, 256_000, 120, 15.0),
        (5_000, 128_000, 120, 12.0),
        (10_000, 128_000, 120, 12.0),
        (20_000, 96_000, 120, 10.0),
        (10_000, 48_000, 312, 5.0),
    ] {
        for channels in [1, 2, 5] {
            let mut encoder = Encoder::new(channels, 48_000, bitrate_bps, frame_us).expect("made");
            let mut decoder = Decoder::new(channels, 48_000).expect("made");
            assert_eq!(encoder.lookahead_frames(), lookahead);
            let input = noise(channels, 9_600);
            let output = through(&mut encoder, &input, |_, payload, out| {
                assert_eq!(decoder.decode(payload, out), Ok(out[0].len().min(frame_us as usize * 48 / 1000)));
            });
            for (input, output) in input.iter().zip(&output) {
                // Around where it should be, and a few where it might be if it were not.
                let delays = (lookahead - 2..=lookahead + 2).chain([0, 192, 240, 312, 360, 480]);
                let snr = |delay: &usize| snr_db(input, output, *delay);
                let best = delays.max_by(|a, b| snr(a).total_cmp(&snr(b)));
                assert_eq!(best, Some(lookahead), "{frame_us} µs, {channels} channels");
                let snr = snr(&lookahead);
                assert!(snr > snr_min_db, "{frame_us} µs, {channels} channels: {snr} dB");
            }
        }
    }
}

/// A tone goes on through a loss, where silence would leave all of it missing.
#[test]
fn a_lost_payload_is_made_up() {
    let tone: Vec<f32> = (0..19_200_u16).map(|n| 0.5 * (f32::from(n) * 0.05).sin()).collect();
    let input = [tone.clone(), tone];
    for frame_us in [2_500, 5_000, 10_000, 20_000] {
        let mut encoder = Encoder::new(2, 48_000, 128_000, frame_us).expect("made");
        let mut decoder = Decoder::new(2, 48_000).expect("made");
        let frames = encoder.frames();
        let lost = 15_000 / frames;
        let output = through(&mut encoder, &input, |at, payload, out| {
            let decoded =
                if at == lost { decoder.decode_lost(frames, out) } else { decoder.decode(payload, out) };
            assert_eq!(decoded, Ok(frames));
        });
        let power = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>();
        let made_up = &output[0][lost * frames..(lost + 1) * frames];
        let before = &output[0][(lost - 1) * frames..lost * frames];
        assert!(power(made_up) > 0.2 * power(before), "{frame_us} µs");
    }
}

#[test]
fn a_copy_of_what_is_lost_is_nearer_than_what_is_made_up() {
    let input = noise(1, 48_000);
    let run = |fec: bool| {
        let mut encoder = Encoder::new(1, 48_000, 48_000, 20_000).expect("made");
        encoder.set_loss(25);
        let mut decoder = Decoder::new(1, 48_000).expect("made");
        let (mut copies, mut previous_lost) = (0, false);
        let mut first = vec![vec![0.0; FRAMES_MAX]];
        let mut late: Vec<f32> = Vec::new();
        // One payload late, so that the next is there when one is lost.
        through(&mut encoder, &input, |at, payload, out| {
            if previous_lost {
                copies += u32::from(carries_fec(payload));
                let made = if fec {
                    decoder.decode_fec(payload, 960, &mut first)
                } else {
                    decoder.decode_lost(960, &mut first)
                };
                assert_eq!(made, Ok(960));
                late.extend_from_slice(&first[0]);
            }
            previous_lost = at % 4 == 3;
            if !previous_lost {
                assert_eq!(decoder.decode(payload, out), Ok(960));
                late.extend_from_slice(&out[0]);
            }
        });
        (copies, snr_db(&input[0], &late, 312))
    };
    let ((copies, with), (_, without)) = (run(true), run(false));
    assert!(copies >= 6, "{copies} of 12");
    assert!(with > without + 2.0, "{with} dB with, {without} dB without");
}

#[test]
fn short_and_rich_frames_carry_no_copies() {
    for (frame_us, bitrate_bps) in [(5_000, 32_000), (20_000, 64_000)] {
        let mut encoder = Encoder::new(2, 48_000, bitrate_bps, frame_us).expect("made");
        encoder.set_loss(25);
        through(&mut encoder, &noise(2, 9_600), |_, payload, _| assert!(!carries_fec(payload)));
    }
}

#[test]
fn the_bit_rate_is_kept_and_changes() {
    let mut encoder = Encoder::new(3, 44_100, 128_000, 5_000).expect("made");
    let mean = |encoder: &mut Encoder| {
        let (mut bytes, mut payloads) = (0, 0);
        through(encoder, &noise(3, 24_000), |_, payload, _| {
            bytes += payload.len();
            payloads += 1;
        });
        bytes / payloads
    };
    // A pair and a half: 80 and 40 bytes in 5 ms, and two lengths.
    let at_128 = mean(&mut encoder);
    assert!((110..=135).contains(&at_128), "{at_128}");
    encoder.set_bitrate(32_000).expect("set");
    let at_32 = mean(&mut encoder);
    assert!((26..=38).contains(&at_32), "{at_32}");
}

#[test]
fn a_frame_is_made_to_fit() {
    let mut encoder = Encoder::new(4, 48_000, 510_000, 20_000).expect("made");
    let mut decoder = Decoder::new(4, 48_000).expect("made");
    let input = noise(4, 960);
    let mut payload = [0; 1_100];
    let length = encoder.encode(&input, &mut payload).expect("fits");
    assert!(length > 900, "{length}");
    let mut out = vec![vec![0.0; 960]; 4];
    assert_eq!(decoder.decode(&payload[..length], &mut out), Ok(960));
    assert_eq!(encoder.encode(&input, &mut payload[..19]), Err(OpusError::Length));
    assert_eq!(encoder.encode(&input[..3], &mut payload), Err(OpusError::Channels(3)));
    assert_eq!(encoder.encode(&noise(4, 480), &mut payload), Err(OpusError::Length));
}

#[test]
fn what_is_not_a_number_is_silence() {
    let mut encoder = Encoder::new(1, 48_000, 128_000, 5_000).expect("made");
    let mut decoder = Decoder::new(1, 48_000).expect("made");
    let input = [[f32::NAN, f32::INFINITY, 1e30, -1e30].repeat(600)];
    let output = through(&mut encoder, &input, |_, payload, out| {
        assert_eq!(decoder.decode(payload, out), Ok(240));
    });
    assert!(output[0].iter().all(|sample| sample.is_finite()));
}

#[test]
fn what_cannot_be_is_refused_by_its_reason() {
    let check = |channels, rate, frame_us, expected| {
        assert_eq!(Encoder::new(channels, rate, 96_000, frame_us).err(), Some(expected));
    };
    check(2, 96_000, 5_000, OpusError::SampleRate(96_000));
    check(2, 48_000, 4_000, OpusError::FrameLength(4_000));
    check(0, 48_000, 5_000, OpusError::Channels(0));
    check(256, 48_000, 5_000, OpusError::Channels(256));
    assert_eq!(Decoder::new(2, 88_200).err(), Some(OpusError::SampleRate(88_200)));
    let mut decoder = Decoder::new(2, 44_100).expect("made");
    let mut out = vec![vec![0.0; 960]; 2];
    for frames in [0, 100, 1_080] {
        assert_eq!(decoder.decode_lost(frames, &mut out), Err(OpusError::Length));
    }
    assert_eq!(decoder.decode(&[], &mut out), Err(OpusError::Payload));
    assert_eq!(decoder.decode(&[0, 1, 0xfc, 0], &mut out), Err(OpusError::Payload), "a byte too many");
    assert_eq!(decoder.decode(&[0, 1, 0xfc], &mut out[..1]), Err(OpusError::Channels(1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// One decoder for all of them: what is malformed must not spoil what comes after.
    #[test]
    fn any_bytes_are_decoded_or_refused(packets in vec((vec(any::<u8>(), 0..80), any::<u8>()), 1..30)) {
        let mut decoder = Decoder::new(2, 48_000).expect("made");
        let mut out = vec![vec![0.0; FRAMES_MAX]; 2];
        for (packet, what) in packets {
            let length = u16::try_from(packet.len()).expect("short");
            let payload = [&length.to_be_bytes()[..], &packet].concat();
            let _frames = match what % 4 {
                0 => decoder.decode_fec(&payload, 480, &mut out),
                1 => decoder.decode_lost(240, &mut out),
                _ => decoder.decode(&payload, &mut out),
            };
            let _copy = carries_fec(&payload);
        }
        prop_assert_eq!(decoder.decode_lost(960, &mut out), Ok(960));
    }
}
