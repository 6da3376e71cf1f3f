use std::f64::consts::TAU;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::noise::{Pink, White};

fn rate(hz: u32) -> SampleRate {
    SampleRate::new(hz).unwrap()
}

type Audio = Vec<Vec<f32>>;

/// Struck strings: partials that decay, each a little sharp.
fn partials(frames: usize) -> Audio {
    let note = |channel: usize, n: usize| {
        let t = n as f64 / 48_000.0;
        let since = t % 0.5;
        let hz = [220.0, 277.2, 329.6][n / 24_000 % 3];
        let partial = |k: f64| {
            let phase = TAU * hz * k * (1.0 + 2e-4 * k * k) * since + channel as f64 * k;
            (-3.0 * k.sqrt() * since).exp() / k * phase.sin()
        };
        single(0.2 * (1..=12).map(|k| partial(f64::from(k))).sum::<f64>())
    };
    (0..2).map(|channel| (0..frames).map(|n| note(channel, n)).collect()).collect()
}

/// Pulses of 120 Hz, with vibrato, through the formants of an *a*.
fn vowel(frames: usize) -> Audio {
    let (mut phase, mut signal) = (0.0, vec![0.0; frames]);
    for (n, sample) in signal.iter_mut().enumerate() {
        phase += 120.0 * (1.0 + 0.02 * (TAU * 5.0 * n as f64 / 48_000.0).sin()) / 48_000.0;
        if phase >= 1.0 {
            phase -= 1.0;
            *sample = 1.0;
        }
    }
    for (hz, width_hz) in [(700.0, 80.0), (1220.0, 90.0), (2600.0, 120.0)] {
        let radius = (-std::f64::consts::PI * width_hz / 48_000.0_f64).exp();
        let (mut y1, mut y2) = (0.0, 0.0);
        for sample in &mut signal {
            let y = (1.0 - radius) * *sample + 2.0 * radius * (TAU * hz / 48_000.0).cos() * y1
                - radius * radius * y2;
            (y2, y1, *sample) = (y1, y, y);
        }
    }
    let peak = signal.iter().fold(0.0_f64, |peak, sample| peak.max(sample.abs()));
    vec![signal.iter().map(|&sample| single(0.5 * sample / peak)).collect()]
}

fn noise(frames: usize) -> Audio {
    let mut samples = vec![0.0; frames];
    Pink::new(4, rate(48_000)).fill(&mut samples);
    vec![samples]
}

/// A recording, from 2 s on, where the recordings are.
fn recording(name: &str, frames: usize) -> Option<(Audio, u32)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/audio").join(name);
    let bytes = std::fs::read(path).ok()?;
    let at = |tag: &[u8]| bytes.windows(4).position(|four| four == tag).map(|at| at + 8);
    let (format, data) = (at(b"fmt ")?, at(b"data")?);
    let short = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let (channels, width) = (short(format + 2), short(format + 14) / 8);
    let hz = u32::try_from(short(format + 4) + (short(format + 6) << 16)).ok()?;
    let sample = |bytes: &[u8]| {
        let mut word = [0; 4];
        word[4 - width..].copy_from_slice(bytes);
        i32::from_le_bytes(word) as f32 / 2.0_f32.powi(31)
    };
    let frame = |n: usize, channel: usize| {
        let at = data + (n * channels + channel) * width;
        bytes.get(at..at + width).map_or(0.0, sample)
    };
    let start = 2 * hz as usize;
    let audio = (0..channels).map(|channel| (start..start + frames).map(|n| frame(n, channel)).collect());
    Some((audio.collect(), hz))
}

/// Runs of a period with a gap at its end: real, lost, real again.
fn with_gaps(
    audio: &Audio,
    hz: u32,
    period: usize,
    gap: usize,
    mut lose: impl FnMut(&mut Concealer, &mut Audio, Range<usize>),
) -> Audio {
    let mut concealer = Concealer::new(audio.len(), rate(hz));
    let mut result = audio.clone();
    let frames = audio[0].len();
    let mut start = 0;
    while start + period <= frames {
        concealer.play(&mut result, start..start + period - gap);
        lose(&mut concealer, &mut result, start + period - gap..start + period);
        start += period;
    }
    concealer.play(&mut result, start..frames);
    result
}

/// Signal to error in the gaps alone, from all gaps' power together.
fn snr_db(audio: &Audio, result: &Audio, period: usize, gap: usize) -> f64 {
    let (mut power, mut error) = (0.0, 1e-30);
    for (audio, result) in audio.iter().zip(result) {
        for (audio, result) in audio.chunks_exact(period).zip(result.chunks_exact(period)) {
            for (audio, result) in audio.iter().zip(result).skip(period - gap) {
                power += f64::from(*audio).powi(2);
                error += f64::from(audio - result).powi(2);
            }
        }
    }
    10.0 * (power / error).log10()
}

fn signals() -> Vec<(&'static str, Audio, u32)> {
    let frames = 96_000;
    let mut signals = vec![
        ("partials", partials(frames), 48_000),
        ("vowel", vowel(frames), 48_000),
        ("pink", noise(frames), 48_000),
    ];
    for name in ["strings-48k.wav", "trumpet-44k1.wav", "speech-48k-mono.wav"] {
        signals.extend(recording(name, frames).map(|(audio, hz)| (name, audio, hz)));
    }
    signals
}

/// The last frames again.
fn repeat(_: &mut Concealer, audio: &mut Audio, frames: Range<usize>) {
    for channel in audio {
        channel.copy_within(frames.start - frames.len()..frames.start, frames.start);
    }
}

#[test]
fn a_gap_is_closer_to_what_was_lost_than_silence_or_a_repeated_packet() {
    for (name, audio, hz) in signals() {
        for (gap_ms, above_silence) in [(2.7, 2.0), (10.0, 1.0), (20.0, 0.0)] {
            let gap = whole(gap_ms * f64::from(hz) / 1000.0) as usize;
            let period = 5 * hz as usize / 100 + 7;
            let run = |lose: fn(&mut Concealer, &mut Audio, Range<usize>)| {
                snr_db(&audio, &with_gaps(&audio, hz, period, gap, lose), period, gap)
            };
            let ours = run(|concealer, audio, frames| concealer.conceal(audio, frames));
            let repeated = run(repeat);
            println!("{name:20} {gap_ms:4} ms: silence 0.0, repetition {repeated:5.1}, ours {ours:5.1} dB");
            assert!(ours > repeated + 0.5, "{name}, {gap_ms} ms: {ours} dB, repetition {repeated} dB");
            // Noise cannot be foretold; it goes on all the same.
            assert!(ours > above_silence || name == "pink", "{name}, {gap_ms} ms: {ours} dB");
        }
    }
}

#[test]
fn there_is_no_seam() {
    let bend = |x: &[f32]| x.windows(3).fold(0.0_f32, |most, x| most.max((x[0] - 2.0 * x[1] + x[2]).abs()));
    for (name, audio, hz) in signals() {
        for gap_ms in [2.7, 10.0, 30.0, 70.0] {
            let (gap, period) = (whole(gap_ms * f64::from(hz) / 1000.0) as usize, hz as usize / 7);
            let result = with_gaps(&audio, hz, period, gap, |concealer, audio, frames| {
                concealer.conceal(audio, frames)
            });
            for (audio, result) in audio.iter().zip(&result) {
                for end in (period..audio.len() - period).step_by(period) {
                    let near = end - gap - hz as usize / 40..end + hz as usize / 100;
                    let (natural, found) = (bend(&audio[near.clone()]), bend(&result[near]));
                    let about = audio[end - period..end].iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                    let limit = 1.25 * natural + 0.01 * about;
                    assert!(found < limit, "{name}, {gap_ms} ms, at {end}: {found}, was {natural}");
                }
            }
        }
    }
}

#[test]
fn without_a_gap_not_a_bit_changes() {
    let mut concealer = Concealer::new(2, rate(48_000));
    let mut audio = partials(20_000);
    audio[0][77] = f32::NAN;
    let before = audio.clone();
    for start in (0..20_000).step_by(500) {
        concealer.play(&mut audio, start..start + 500);
        concealer.conceal(&mut audio, start..start);
        assert!(!concealer.is_concealing());
    }
    assert!(audio.iter().flatten().zip(before.iter().flatten()).all(|(a, b)| a.to_bits() == b.to_bits()));
    // Nor later than 3 ms after one.
    concealer.conceal(&mut audio, 0..200);
    concealer.play(&mut audio, 200..20_000);
    assert!(audio[1][200] != before[1][200] && !concealer.is_concealing());
    assert_eq!(audio[1][200 + 144..], before[1][200 + 144..]);
}

#[test]
fn silence_stays_silence_and_a_long_gap_becomes_it() {
    for hz in [1, 8_000, 44_100, 48_000, 192_000] {
        let mut concealer = Concealer::new(1, rate(hz));
        let mut audio = [vec![0.0; hz as usize / 4]];
        concealer.play(&mut audio, 0..hz as usize / 8);
        concealer.conceal(&mut audio, hz as usize / 8..hz as usize / 4);
        assert!(audio[0].iter().all(|&sample| sample == 0.0), "at {hz} Hz");
    }
    let mut concealer = Concealer::new(2, rate(48_000));
    let mut audio = partials(15_000);
    concealer.play(&mut audio, 0..10_000);
    concealer.conceal(&mut audio, 10_000..15_000);
    let power = |frames: Range<usize>| audio[0][frames].iter().map(|x| x * x).sum::<f32>();
    assert!(power(10_000..10_960) > 0.5 * power(9_040..10_000), "fades too early");
    assert!(audio.iter().all(|channel| channel[10_000 + 2880..].iter().all(|&sample| sample == 0.0)));
}

#[test]
fn all_channels_repeat_the_same_stretch() {
    // What is on one side alone stays there, and opposite phases stay opposite.
    let mut audio = vowel(20_000);
    audio.push(audio[0].iter().map(|sample| -0.5 * sample).collect());
    audio.push(vec![0.0; 20_000]);
    let mut concealer = Concealer::new(3, rate(48_000));
    concealer.play(&mut audio, 0..18_000);
    concealer.conceal(&mut audio, 18_000..20_000);
    for ((first, second), third) in audio[0].iter().zip(&audio[1]).zip(&audio[2]) {
        assert!((second + 0.5 * first).abs() < 1e-5 && *third == 0.0, "{first} and {second}");
    }
    // Nor do they cancel each other.
    let mut audio = vowel(20_000);
    audio.push(audio[0].iter().map(|sample| -sample).collect());
    let mut concealer = Concealer::new(2, rate(48_000));
    concealer.play(&mut audio, 0..18_000);
    concealer.conceal(&mut audio, 18_000..20_000);
    let power = |frames: Range<usize>| audio[0][frames].iter().map(|x| x * x).sum::<f32>();
    assert!(power(18_000..18_480) > 0.5 * power(17_520..18_000), "fades too early");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any cut into calls gives the same bits.
    #[test]
    fn calls_of_any_length_are_one(cuts in prop::collection::vec(0_usize..700, 30), gap in 1_usize..4000) {
        let lost = 5_000..5_000 + gap;
        let run = |cuts: &[usize]| {
            let (mut concealer, mut audio, mut start) = (Concealer::new(2, rate(48_000)), partials(10_000), 0);
            for length in cuts.iter().copied().chain([10_000]) {
                let end = (start + length).min(10_000);
                concealer.play(&mut audio, start..end.min(lost.start));
                concealer.conceal(&mut audio, start.max(lost.start)..end.min(lost.end));
                concealer.play(&mut audio, start.max(lost.end)..end);
                start = end;
            }
            audio
        };
        let (whole, parts) = (run(&[]), run(&cuts));
        prop_assert!(whole.iter().flatten().zip(parts.iter().flatten()).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    /// Whatever was played, the fill is a number, and never louder.
    #[test]
    fn a_fill_is_never_louder_than_what_was_played(
        seed: u64, slope in -1.0_f32..1.0, growth in 0.99_f32..1.01, bad in 0_usize..3, gaps in prop::collection::vec(1_usize..900, 12),
    ) {
        let mut audio = [vec![0.0; 12_000]];
        White::new(seed).fill(&mut audio[0]);
        let (mut before, mut level) = (0.0, 1.0);
        for sample in &mut audio[0] {
            before = *sample + slope * before;
            level = (level * growth).clamp(1e-3, 1e3);
            *sample = level * before;
        }
        let mut concealer = Concealer::new(1, rate(48_000));
        let mut start = 0;
        for (index, gap) in gaps.into_iter().enumerate() {
            let end = start + 1_000 - gap;
            if index == 5 {
                audio[0][start] = [0.0, f32::NAN, f32::INFINITY][bad];
            }
            concealer.play(&mut audio, start..end);
            let peak = audio[0][..end].iter().filter(|x| x.is_finite()).fold(0.0_f32, |peak, x| peak.max(x.abs()));
            concealer.conceal(&mut audio, end..start + 1_000);
            prop_assert!(audio[0][end..start + 1_000].iter().all(|x| x.abs() <= 1.2 * peak), "above {peak}");
            start += 1_000;
        }
    }
}

#[test]
fn slices_that_do_not_fit_are_no_harm() {
    let mut concealer = Concealer::new(2, rate(48_000));
    let mut audio = [vec![1.0; 10], vec![1.0; 20], vec![1.0; 20]];
    concealer.play(&mut audio, 5..50);
    concealer.conceal(&mut audio, 8..50);
    assert_eq!(audio[2][7..11], [1.0, 0.0, 0.0, 1.0]);
    #[allow(clippy::reversed_empty_ranges, reason = "on purpose")]
    concealer.conceal(&mut audio, 9..3);
    concealer.play(&mut [[0.0; 4]], 0..4);
    concealer.conceal(&mut [[0.0; 0]; 0], 0..4);
    Concealer::new(0, rate(1)).conceal(&mut audio, 0..10);
    concealer.reset();
    concealer.conceal(&mut audio, 0..10);
    assert_eq!(audio[0], [0.0; 10]);
}

#[test]
fn what_is_no_sound_makes_no_fill_that_is_no_number() {
    for loud in [1e-38, 1e12, f32::MAX, -f32::MAX] {
        let mut concealer = Concealer::new(1, rate(48_000));
        let mut audio = noise(4_000);
        audio[0][1_500..].iter_mut().step_by(7).for_each(|sample| *sample = loud);
        concealer.play(&mut audio, 0..2_000);
        concealer.conceal(&mut audio, 2_000..4_000);
        assert!(audio[0].iter().all(|sample| sample.is_finite()), "{loud}");
    }
}
