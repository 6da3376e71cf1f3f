//! Responses within 0.05 dB of the analogue filters that the shapes are named after, through the bilinear transform; and
//! changes that do not click.

use audiocloud_effects::eq::EQ;

use crate::bed::{Move, Player, decibels, rms, silence, tone};

const ALLOWED_DB: f64 = 0.05;
const BUTTERWORTH_Q: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// A quotient of polynomials of s = j·x, in rising powers, in dB.
fn quotient_db(above: [f64; 3], below: [f64; 3], x: f64) -> f64 {
    let power = |[c0, c1, c2]: [f64; 3]| (c0 - c2 * x * x).powi(2) + (c1 * x).powi(2);
    10.0 * (power(above) / power(below)).log10()
}

/// The analogue prototypes at x times their frequency.
fn analogue_db(shape: &str, slope: usize, q: f64, gain_db: f64, x: f64) -> f64 {
    let a = 10_f64.powf(gain_db / 40.0);
    let root = a.sqrt();
    let resonance = [1.0, 1.0 / q, 1.0];
    // A filter of Butterworth of the order 2n: its poles' angles divide the half-circle; the last pair takes the Q.
    let cut = |above: [f64; 3]| {
        let mut sum = 0.0;
        for section in 0..slope {
            let angle = std::f64::consts::PI * (2 * section + 1) as f64 / (4 * slope) as f64;
            let last = section + 1 == slope;
            let q = 0.5 / angle.cos() * if last { q / BUTTERWORTH_Q } else { 1.0 };
            sum += quotient_db(above, [1.0, 1.0 / q, 1.0], x);
        }
        sum
    };
    match shape {
        "Bell" => quotient_db([1.0, a / q, 1.0], [1.0, 1.0 / (a * q), 1.0], x),
        "Low shelf" => quotient_db([a, root / q, 1.0], [1.0, root / q, a], x) + decibels(a),
        "High shelf" => quotient_db([1.0, root / q, a], [a, root / q, 1.0], x) + decibels(a),
        "Tilt" => quotient_db([1.0, root / q, a], [a, root / q, 1.0], x) + decibels(a) - gain_db / 2.0,
        "Low cut" => cut([0.0, 0.0, 1.0]),
        "High cut" => cut([1.0, 0.0, 0.0]),
        "Notch" => quotient_db([1.0, 0.0, 1.0], resonance, x),
        "Band pass" => quotient_db([0.0, 1.0 / q, 0.0], resonance, x),
        "All pass" => 0.0,
        _ => panic!("{shape}"),
    }
}

/// What a response does to tones, in dB.
fn measured_db(response: &[f32], hz: f64, rate: f64) -> f64 {
    let (sin, cos) = (std::f64::consts::TAU * hz / rate).sin_cos();
    let (mut re, mut im, mut c, mut s) = (0.0, 0.0, 1.0, 0.0);
    for sample in response {
        re += f64::from(*sample) * c;
        im -= f64::from(*sample) * s;
        (c, s) = (c * cos - s * sin, s * cos + c * sin);
    }
    decibels(f64::hypot(re, im))
}

/// The greatest distance from the analogue response.
fn check(rate: u32, shape: &str, slope: usize, hz: f64, q: f64, gain_db: f64) -> f64 {
    let shapes = EQ.parameters[1];
    let mut player = Player::with(
        &EQ,
        rate,
        1,
        &[
            ("Band 5 shape", shapes.from_text(shape).unwrap()),
            ("Band 5 slope", (slope - 1) as f32),
            ("Band 5 frequency", hz as f32),
            ("Band 5 gain", gain_db as f32),
            ("Band 5 Q", q as f32),
        ],
    );
    let mut impulse = silence(1, 1 << 14);
    // As long as the lowest of filters rings at the highest of rates.
    if hz < 400.0 {
        impulse[0].resize(1 << 15, 0.0);
    }
    impulse[0][0] = 1.0;
    let response = player.play(&impulse);
    let rate = f64::from(rate);
    let warp = |hz: f64| (std::f64::consts::PI * hz / rate).tan();
    let mut worst = 0.0_f64;
    let mut at = 20.0;
    while at < 0.49 * rate {
        let expected = analogue_db(shape, slope, q, gain_db, warp(at) / warp(hz));
        // Where next to nothing is left, an error of the last bit is some dB.
        if expected > -70.0 {
            let error = measured_db(&response[0], at, rate) - expected;
            assert!(
                error.abs() < ALLOWED_DB,
                "{shape} of {hz} Hz, Q {q}, {gain_db} dB, slope {slope}, at {rate} Hz: {error} dB off {expected} at {at} Hz"
            );
            worst = worst.max(error.abs());
        }
        at *= 1.45;
    }
    worst
}

#[test]
fn every_shape_has_its_response_at_any_rate() {
    let mut worst = 0.0_f64;
    for rate in [44_100, 48_000, 96_000, 192_000] {
        for shape in ["Bell", "Low shelf", "High shelf", "Notch", "Band pass", "All pass", "Tilt"] {
            for (hz, q, gain_db) in [(60.0, 0.9, 9.0), (1000.0, 4.0, -15.0), (12_000.0, 0.5, 6.0)] {
                worst = worst.max(check(rate, shape, 1, hz, q, gain_db));
            }
        }
    }
    eprintln!("EQ: within {worst:.4} dB of the analogue response");
}

#[test]
fn cuts_are_as_steep_as_they_say() {
    for rate in [44_100, 192_000] {
        for slope in 1..=4 {
            check(rate, "Low cut", slope, 80.0, BUTTERWORTH_Q, 0.0);
            check(rate, "Low cut", slope, 500.0, 2.0, 0.0);
            check(rate, "High cut", slope, 9000.0, BUTTERWORTH_Q, 0.0);
        }
    }
}

/// All eight at once, against the sum of what each does.
#[test]
fn eight_bands_add_up() {
    let bands: [(&str, usize, f64, f64, f64); 8] = [
        ("Low cut", 2, 40.0, BUTTERWORTH_Q, 0.0),
        ("Low shelf", 1, 120.0, 0.7, 4.0),
        ("Bell", 1, 300.0, 2.0, -6.0),
        ("Notch", 1, 50.0, 8.0, 0.0),
        ("Bell", 1, 1500.0, 0.6, 3.0),
        ("Tilt", 1, 900.0, 0.5, 3.0),
        ("High shelf", 1, 8000.0, 0.7, -5.0),
        ("High cut", 3, 16_000.0, BUTTERWORTH_Q, 0.0),
    ];
    let mut player = Player::new(&EQ, 48_000, 2, &EQ.defaults());
    for (index, (shape, slope, hz, q, gain_db)) in bands.into_iter().enumerate() {
        let mut set =
            |what: &str, value: f64| player.set(&format!("Band {} {what}", index + 1), value as f32);
        set("on", 1.0);
        set("shape", f64::from(EQ.parameters[1].from_text(shape).unwrap()));
        set("slope", (slope - 1) as f64);
        set("frequency", hz);
        set("Q", q);
        set("gain", gain_db);
    }
    player.set("Output", -3.0);
    let mut impulse = silence(2, 1 << 16);
    impulse[1][0] = 1.0;
    let response = player.play(&impulse);
    assert!(response[0].iter().all(|sample| *sample == 0.0), "the other channel hears nothing");
    let warp = |hz: f64| (std::f64::consts::PI * hz / 48_000.0).tan();
    let mut at = 25.0;
    while at < 20_000.0 {
        let expected: f64 = bands
            .iter()
            .map(|(shape, slope, hz, q, gain_db)| {
                analogue_db(shape, *slope, *q, *gain_db, warp(at) / warp(*hz))
            })
            .sum();
        let error = measured_db(&response[1], at, 48_000.0) - (expected - 3.0);
        assert!(error.abs() < ALLOWED_DB, "{error} dB off {expected} at {at} Hz");
        at *= 1.17;
    }
}

/// What a click is: energy where the tone has none. A tone at 200 Hz, and what of it is above 4 kHz.
#[test]
fn neither_a_sweep_nor_a_switch_clicks() {
    let above = |signal: &[f32]| {
        let mut player = Player::with(
            &EQ,
            48_000,
            1,
            &[("Band 1 on", 1.0), ("Band 1 frequency", 4000.0), ("Band 1 slope", 3.0)],
        );
        let cut = player.play(&vec![signal.to_vec()]);
        cut[0][4800..].iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()))
    };
    let changes: [&[(&str, f32)]; 5] = [
        &[("Band 5 gain", 9.0), ("Band 5 frequency", 200.0)],
        &[("Band 5 on", 0.0)],
        &[("Band 5 on", 1.0), ("Band 5 shape", 1.0)],
        &[("Band 3 shape", 7.0), ("Band 3 frequency", 220.0)],
        &[("Band 1 on", 1.0), ("Band 1 frequency", 150.0), ("Band 1 slope", 3.0)],
    ];
    let mut player = Player::new(&EQ, 48_000, 1, &EQ.defaults());
    let whole = tone(48_000, 200.0, 0.5, 1, 48_000);
    let mut played = Vec::new();
    for (index, part) in whole[0].chunks(8000).enumerate() {
        if let Some(change) = index.checked_sub(1).and_then(|index| changes.get(index)) {
            for (name, value) in *change {
                player.set(name, *value);
            }
        }
        played.extend_from_slice(&player.play(&vec![part.to_vec()])[0]);
    }
    let click = decibels(f64::from(above(&played)));
    let quiet = decibels(f64::from(above(&whole[0])));
    eprintln!("EQ: a change leaves {click:.1} dBFS above 4 kHz (without any: {quiet:.1})");
    assert!(click < -60.0, "{click} dBFS");
    assert!(rms(&played[40_000..]) > 0.01);
}

/// A shelf far below a tone is nothing but a gain: so a ramp can be seen frame by frame. At each grid point it is where the
/// ramp is, and between them next to it: a grid point late would be a third of a dB.
#[test]
fn a_ramp_is_followed_to_the_frame() {
    let gain = EQ.parameters.iter().position(|parameter| parameter.name == "Band 5 gain").unwrap();
    let mut player = Player::with(
        &EQ,
        48_000,
        1,
        &[("Band 5 shape", 2.0), ("Band 5 frequency", 10.0), ("Band 5 gain", -12.0)],
    );
    // Faded in, for a tone that begins at once rings in the shelf.
    let mut input = tone(48_000, 7919.0, 0.2, 1, 9600);
    for (frame, sample) in input[0][..1200].iter_mut().enumerate() {
        *sample *= (frame as f32 * std::f32::consts::FRAC_PI_2 / 1200.0).sin().powi(2);
    }
    let mut output = input.clone();
    let ramp = Move { frame: 1280, place: gain, value: 12.0, frames: Some(4800) };
    player.play_moving(&mut output, &[], &[ramp], &mut || 64);
    for (frame, (input, output)) in input[0].iter().zip(&output[0]).enumerate() {
        if input.abs() > 0.1 {
            let gone = (frame as f64 - 1280.0).clamp(0.0, 4800.0);
            let error = decibels(f64::from(output / input)) - (24.0 * gone / 4800.0 - 12.0);
            assert!(error.abs() < 0.05, "{error} dB at frame {frame}");
        }
    }
}
