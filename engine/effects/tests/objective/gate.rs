//! The static curve within 0.1 dB of its formula, hysteresis, hold, and who is listened to.

use audiocloud_effects::gate::GATE;

use crate::bed::{Player, Signal, decibels, rms, silence, tone};

const RATE: u32 = 48_000;

fn change_db(player: &mut Player, input: &Signal, key: &Signal) -> f64 {
    let output = player.play_keyed(input, key);
    let settled = input[0].len() - RATE as usize / 10;
    decibels(rms(&output[0][settled..]) / rms(&input[0][settled..]))
}

fn level(db: f64, frames: usize) -> Signal {
    tone(RATE, 997.0, 10_f64.powf(db / 20.0), 2, frames)
}

#[test]
fn the_static_curve_is_its_formula() {
    let mut worst = 0.0_f64;
    for (threshold, ratio, range) in
        [(-30.0, 2.0, 100.0), (-40.0, 4.0, 20.0), (-20.0, 100.0, 60.0), (-50.0, 1.0, 80.0)]
    {
        for input_db in (-70..=0).step_by(4).map(f64::from) {
            let mut player = Player::with(
                &GATE,
                RATE,
                2,
                &[
                    ("Threshold", threshold as f32),
                    ("Ratio", ratio as f32),
                    ("Range", range as f32),
                    ("Hysteresis", 0.0),
                    ("Hold", 0.0),
                    ("Release", 10.0),
                ],
            );
            let found = change_db(&mut player, &level(input_db, 14_400), &silence(0, 0));
            let below = (threshold - input_db).max(0.0);
            let expected = -((ratio - 1.0) * below).min(range);
            let error = found - expected;
            assert!(error.abs() < 0.1, "{input_db} dB at {threshold} dB, {ratio}:1, {range} dB: {error} dB");
            worst = worst.max(error.abs());
        }
    }
    eprintln!("gate: within {worst:.4} dB of the static curve");
}

#[test]
fn between_its_two_thresholds_it_stays_as_it_is() {
    let settings =
        [("Threshold", -30.0), ("Hysteresis", 10.0), ("Ratio", 100.0), ("Range", 60.0), ("Release", 10.0)];
    let mut player = Player::with(&GATE, RATE, 2, &settings);
    let mut change = |db: f64| change_db(&mut player, &level(db, 14_400), &silence(0, 0));
    assert!(change(-50.0) < -59.0);
    assert!(change(-35.0) < -59.0, "not loud enough to open it");
    assert!(change(-29.0).abs() < 0.01);
    assert!(change(-35.0).abs() < 0.01, "not soft enough to close it");
    assert!(change(-45.0) < -59.0);
}

#[test]
fn it_holds_and_then_lets_go() {
    let mut player = Player::with(
        &GATE,
        RATE,
        1,
        &[("Threshold", -20.0), ("Hysteresis", 0.0), ("Hold", 100.0), ("Release", 50.0), ("Range", 80.0)],
    );
    let mut input = silence(1, 48_000);
    for (frame, sample) in input[0].iter_mut().enumerate() {
        *sample = if frame < 12_000 { 0.5 } else { 0.001 };
    }
    let output = player.play(&input);
    let gains: Vec<f64> =
        input[0].iter().zip(&output[0]).map(|(input, output)| decibels(f64::from(output / input))).collect();
    // The crest is held for 10 ms.
    let lets_go = gains.iter().skip(11_000).position(|gain| *gain < -0.01).unwrap() + 11_000;
    assert!(lets_go.abs_diff(12_000 + 480 + 4800) < 10, "{lets_go}");
    let after = gains[lets_go..].iter().position(|gain| *gain < -80.0 * 0.632).unwrap();
    assert!(after.abs_diff(2400) < 30, "{after}");
}

#[test]
fn it_opens_within_the_attack() {
    let mut player = Player::with(&GATE, RATE, 1, &[("Threshold", -20.0), ("Attack", 5.0)]);
    let mut input = silence(1, 48_000);
    input[0][24_000..].fill(0.5);
    let output = player.play(&input);
    let after = output[0][24_000..].iter().position(|sample| *sample > 0.5 * 0.632).unwrap();
    assert!(after.abs_diff(240) < 5, "{after}");
}

#[test]
fn a_side_chain_opens_it_and_both_channels_move_together() {
    let quiet = level(-60.0, 24_000);
    let mut player = Player::with(&GATE, RATE, 2, &[("Threshold", -20.0), ("Key", 1.0)]);
    assert!(change_db(&mut player, &quiet, &tone(RATE, 200.0, 1.0, 1, 24_000)).abs() < 0.001);
    player.reset();
    assert!(change_db(&mut player, &quiet, &silence(2, 24_000)) < -70.0);

    let mut one_loud = level(-6.0, 24_000);
    one_loud[0].fill(0.001);
    let mut player = Player::with(&GATE, RATE, 2, &[("Threshold", -20.0)]);
    let output = player.play(&one_loud);
    assert!((output[0][20_000] - 0.001).abs() < 1e-6);
}
