//! No sample above the ceiling, no true peak more than 0.1 dB above it by an independent meter, and no harm to what is
//! below.

use audiocloud_effects::limiter::LIMITER;

use crate::bed::{Dice, Player, RATES, Signal, decibels, noise, rms, tone};

/// The greatest magnitude of the band-limited signal, by a sinc of ±96 frames under Kaiser's window with β = 12, at
/// sixteen points of each frame: twelve times as long and four times as dense as ITU-R BS.1770 asks for.
fn true_peak(line: &[f32]) -> f64 {
    const HALF: usize = 96;
    const POINTS: usize = 16;
    let bessel = |x: f64| {
        let (mut term, mut sum) = (1.0, 1.0);
        for k in 1..=60 {
            term *= (x / 2.0 / f64::from(k)).powi(2);
            sum += term;
        }
        sum
    };
    let mut peak = line.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    for point in 1..POINTS {
        let fraction = point as f64 / POINTS as f64;
        let taps: Vec<f32> = (0..2 * HALF)
            .map(|index| {
                let time = fraction + (HALF - 1) as f64 - index as f64;
                let window =
                    bessel(12.0 * (1.0 - (time / HALF as f64).powi(2)).max(0.0).sqrt()) / bessel(12.0);
                let angle = std::f64::consts::PI * time;
                (angle.sin() / angle * window) as f32
            })
            .collect();
        for window in line.windows(2 * HALF) {
            // Sixteen sums side by side, which the compiler makes SIMD of.
            let mut sums = [0.0_f32; 16];
            for (taps, samples) in taps.as_chunks::<16>().0.iter().zip(window.as_chunks::<16>().0) {
                for ((sum, tap), sample) in sums.iter_mut().zip(taps).zip(samples) {
                    *sum += tap * sample;
                }
            }
            peak = peak.max(sums.iter().sum::<f32>().abs());
        }
    }
    f64::from(peak)
}

/// Signals that are hard to limit.
fn hard(rate: u32, frames: usize) -> Vec<(&'static str, Signal)> {
    let step = |hz: f64| std::f64::consts::TAU * hz / f64::from(rate);
    let line =
        |sample: &mut dyn FnMut(f64) -> f64| vec![(0..frames).map(|n| sample(n as f64) as f32).collect()];
    let mut dice = Dice(5);
    let mut level = 0.0;
    let quarter = step(f64::from(rate) / 4.0);
    vec![
        ("noise", noise(1, 1, frames, 4.0)),
        ("a quarter of the rate, between its crests", line(&mut |n| 2.0 * (quarter * (n + 0.5)).sin())),
        ("squares", line(&mut |n| 2.0 * (step(887.0) * n).sin().signum())),
        ("a sweep", line(&mut |n| 3.0 * (step(9000.0) * n * n / frames as f64).sin())),
        (
            "bursts",
            line(&mut |n| {
                if (n / 700.0).floor() % 3.0 == 1.0 { 4.0 * (step(11_000.0) * n).sin() } else { 0.1 }
            }),
        ),
        ("clicks", line(&mut |n| if n % 331.0 == 7.0 { 8.0 } else { 0.3 * (step(100.0) * n).sin() })),
        (
            "steps of noise",
            line(&mut |n| {
                if n % 97.0 == 0.0 {
                    level = 4.0 * f64::from(dice.share());
                }
                level * (2.0 * f64::from(dice.share()) - 1.0)
            }),
        ),
        (
            "signs at random",
            line(&mut {
                let mut dice = Dice(9);
                move |_| if dice.below(2) == 0 { 1.5 } else { -1.5 }
            }),
        ),
    ]
}

fn greatest(line: &[f32]) -> f64 {
    line.iter().fold(0.0, |peak: f64, sample| peak.max(f64::from(sample.abs())))
}

#[test]
fn nothing_is_above_the_ceiling_not_even_between_the_samples() {
    let mut worst = f64::MIN;
    for rate in [44_100, 96_000, 192_000] {
        for (what, input) in hard(rate, 8000) {
            for (ceiling, release) in [(-1.0_f32, 80.0), (-6.0, 5.0)] {
                let mut player =
                    Player::with(&LIMITER, rate, 1, &[("Ceiling", ceiling), ("Release", release)]);
                let output = player.play(&input);
                let limit = 10_f64.powf(f64::from(ceiling) / 20.0);
                let sample = greatest(&output[0]);
                assert!(sample <= limit * (1.0 + 1e-6), "{what} at {rate} Hz: {sample} above {limit}");
                let over = decibels(true_peak(&output[0]) / limit);
                worst = worst.max(over);
                assert!(
                    over < 0.1,
                    "{what} at {rate} Hz, {ceiling} dB, {release} ms: true peak {over} dB over"
                );
                assert!(over > -3.0, "{what} at {rate} Hz: {over} dB, limited more than it must");
            }
        }
    }
    eprintln!("limiter: true peak at most {worst:.3} dB over the ceiling");
}

#[test]
fn sample_peaks_alone_are_limited_to_the_bit_where_that_is_asked() {
    for rate in RATES {
        for (what, input) in hard(rate, 8000) {
            let mut player = Player::with(&LIMITER, rate, 1, &[("True peak", 0.0), ("Ceiling", -3.0)]);
            let limit = 10_f64.powf(-3.0 / 20.0);
            let sample = greatest(&player.play(&input)[0]);
            assert!(sample <= limit * (1.0 + 1e-6), "{what} at {rate} Hz");
            assert!(sample > limit * 0.99, "{what} at {rate} Hz");
        }
    }
}

#[test]
fn what_is_below_the_ceiling_comes_late_and_else_as_it_was() {
    // Its samples reach a quarter of full scale, and what lies between them three times as high.
    let input = noise(4, 2, 20_000, 0.25);
    let mut player = Player::new(&LIMITER, 48_000, 2, &LIMITER.defaults());
    let latency = player.latency();
    let output = player.play(&input);
    for (input, output) in input.iter().zip(&output) {
        let wrong = input.iter().zip(&output[latency..]).position(|(input, output)| input != output);
        assert_eq!(wrong, None);
    }
    assert!(latency < 48 * 3, "{latency} frames");
}

#[test]
fn what_is_limited_comes_as_late_as_what_is_not() {
    for rate in RATES {
        let mut input = vec![vec![0.0; 4000]];
        input[0][1000] = 5.0;
        let mut player = Player::new(&LIMITER, rate, 1, &LIMITER.defaults());
        let at = 1000 + player.latency();
        let output = player.play(&input);
        assert!((f64::from(output[0][at]) - 10_f64.powf(-1.0 / 20.0)).abs() < 1e-4, "{}", output[0][at]);
        assert!(output[0].iter().enumerate().all(|(frame, sample)| frame == at || *sample == 0.0));
    }
}

#[test]
fn both_channels_have_one_gain() {
    let mut input = tone(48_000, 300.0, 4.0, 2, 24_000);
    input[1].iter_mut().for_each(|sample| *sample *= -0.01);
    let output = Player::new(&LIMITER, 48_000, 2, &LIMITER.defaults()).play(&input);
    for (left, right) in output[0].iter().zip(&output[1]) {
        assert!((left * -0.01 - right).abs() < 1e-6);
    }
}

/// After a click the gain comes back within the release, and unity is unity again.
#[test]
fn the_release_is_as_long_as_it_says() {
    let mut input = vec![vec![0.25; 96_000]];
    input[0][1000] = 4.0;
    let mut player =
        Player::with(&LIMITER, 48_000, 1, &[("Ceiling", 0.0), ("Release", 100.0), ("True peak", 0.0)]);
    let output = player.play(&input);
    let depth = 20.0 * 4.0_f64.log10();
    let back = output[0][1200..]
        .iter()
        .position(|sample| decibels(f64::from(*sample) / 0.25) > -depth * (-1.0_f64).exp())
        .unwrap();
    assert!((back as f64 + 200.0 - 4800.0).abs() < 200.0, "{back}");
    assert_eq!(output[0][95_999], 0.25);
}

/// A tone that is limited by 6 dB has little distortion: the gain does not follow the wave.
#[test]
fn a_steady_tone_stays_a_tone() {
    for (hz, allowed_db) in [(1000.0, -80.0), (100.0, -40.0)] {
        let input = tone(48_000, hz, 2.0, 1, 48_000);
        let mut player = Player::with(&LIMITER, 48_000, 1, &[("Ceiling", 0.0), ("Release", 300.0)]);
        let output = player.play(&input);
        let settled = &output[0][24_000..];
        // The tone itself, taken out by projecting on its sine and cosine over whole periods.
        let step = std::f64::consts::TAU * hz / 48_000.0;
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (n, sample) in settled.iter().enumerate() {
            sine += f64::from(*sample) * (step * n as f64).sin() / 12_000.0;
            cosine += f64::from(*sample) * (step * n as f64).cos() / 12_000.0;
        }
        let rest: Vec<f32> = settled
            .iter()
            .enumerate()
            .map(|(n, sample)| {
                let tone = sine * (step * n as f64).sin() + cosine * (step * n as f64).cos();
                (f64::from(*sample) - tone) as f32
            })
            .collect();
        let distortion = decibels(rms(&rest) / rms(settled));
        assert!(distortion < allowed_db, "{hz} Hz: {distortion} dB");
        assert!((decibels(f64::hypot(sine, cosine))).abs() < 0.3);
    }
}
