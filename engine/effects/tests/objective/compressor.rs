//! The static curve within 0.1 dB of its formula; attack and release as long as they say; who is listened to.

use audiocloud_effects::compressor::COMPRESSOR;

use crate::bed::{Player, Signal, decibels, noise, rms, silence, tone};

const RATE: u32 = 48_000;

/// Equation 4 of Giannoulis, Massberg and Reiss, 2012.
fn expected_db(input: f64, threshold: f64, ratio: f64, knee: f64) -> f64 {
    let above = input - threshold;
    if 2.0 * above <= -knee {
        input
    } else if 2.0 * above.abs() < knee {
        input + (1.0 / ratio - 1.0) * (above + knee / 2.0).powi(2) / (2.0 * knee)
    } else {
        threshold + above / ratio
    }
}

/// By how much a tone is changed once all has settled.
fn change_db(player: &mut Player, input: &Signal, key: &Signal) -> f64 {
    let output = player.play_keyed(input, key);
    let settled = input[0].len() - RATE as usize / 10;
    decibels(rms(&output[0][settled..]) / rms(&input[0][settled..]))
}

#[test]
fn the_static_curve_is_its_formula() {
    let mut worst = 0.0_f64;
    for (threshold, ratio, knee) in
        [(-30.0, 4.0, 0.0), (-24.0, 2.0, 12.0), (-40.0, 100.0, 6.0), (0.0, 8.0, 24.0)]
    {
        for detector in [0.0, 1.0] {
            for level in (-60..=0).step_by(3).map(f64::from) {
                let mut player = Player::with(
                    &COMPRESSOR,
                    RATE,
                    2,
                    &[
                        ("Threshold", threshold as f32),
                        ("Ratio", ratio as f32),
                        ("Knee", knee as f32),
                        ("Attack", 2.0),
                        ("Release", 50.0),
                        ("Detector", detector),
                    ],
                );
                // A tone that does not repeat every few frames, so that its crests are among the samples.
                let input = tone(RATE, 997.0, 10_f64.powf(level / 20.0), 2, 14_400);
                let found = level + change_db(&mut player, &input, &silence(0, 0));
                let error = found - expected_db(level, threshold, ratio, knee);
                assert!(
                    error.abs() < 0.1,
                    "{level} dB at {threshold} dB, {ratio}:1, {knee} dB, detector {detector}: {error} dB"
                );
                worst = worst.max(error.abs());
            }
        }
    }
    eprintln!("compressor: within {worst:.4} dB of the static curve");
}

/// The gain, in dB, of steps up and down again of a constant level.
fn steps_db(attack_ms: f32, release_ms: f32) -> Vec<f64> {
    let mut player = Player::with(
        &COMPRESSOR,
        RATE,
        1,
        &[
            ("Threshold", -20.0),
            ("Ratio", 100.0),
            ("Knee", 0.0),
            ("Attack", attack_ms),
            ("Release", release_ms),
        ],
    );
    let mut input = silence(1, 96_000);
    for (frame, sample) in input[0].iter_mut().enumerate() {
        *sample = if (24_000..60_000).contains(&frame) { 1.0 } else { 0.01 };
    }
    let output = player.play(&input);
    input[0].iter().zip(&output[0]).map(|(input, output)| decibels(f64::from(output / input))).collect()
}

#[test]
fn attack_and_release_are_time_constants() {
    for (attack_ms, release_ms) in [(10.0_f32, 100.0_f32), (1.0, 300.0), (50.0, 60.0)] {
        let gains = steps_db(attack_ms, release_ms);
        let depth = -20.0 * (1.0 - 1.0 / 100.0);
        let way = 1.0 - (-1.0_f64).exp();
        let after = gains[24_000..].iter().position(|gain| *gain <= depth * way).unwrap();
        let found_ms = after as f64 / 48.0;
        assert!((found_ms / f64::from(attack_ms) - 1.0).abs() < 0.03, "attack of {attack_ms} ms: {found_ms}");
        let after = gains[60_000..].iter().position(|gain| *gain >= depth * (1.0 - way)).unwrap();
        // The crest is held for 10 ms, and what the attack smooths is late by its time.
        let found_ms = after as f64 / 48.0 - 10.0;
        let expected_ms = f64::from(release_ms)..f64::from(release_ms + 1.2 * attack_ms) * 1.03;
        assert!(expected_ms.contains(&(found_ms + 0.1)), "release of {release_ms} ms: {found_ms}");
    }
}

#[test]
fn the_side_chain_decides_where_it_is_asked() {
    let quiet = tone(RATE, 440.0, 0.1, 2, 24_000);
    let loud = tone(RATE, 997.0, 1.0, 1, 24_000);
    let settings = [("Threshold", -20.0), ("Ratio", 4.0), ("Knee", 0.0), ("Release", 50.0)];
    let keyed = |key: f32, side: &Signal| {
        let mut player = Player::with(&COMPRESSOR, RATE, 2, &settings);
        player.set("Key", key);
        change_db(&mut player, &quiet, side)
    };
    assert!(keyed(0.0, &loud).abs() < 0.001, "it listens to its input");
    assert!((keyed(1.0, &loud) + 15.0).abs() < 0.1, "it listens to the side-chain");
    assert!(keyed(1.0, &silence(0, 0)).abs() < 0.001, "none is silence");

    // What the cuts take away is not heard.
    let mut player = Player::with(&COMPRESSOR, RATE, 2, &settings);
    player.set("Key", 1.0);
    player.set("Key low cut", 2000.0);
    let rumble = tone(RATE, 50.0, 1.0, 1, 24_000);
    assert!(change_db(&mut player, &quiet, &rumble).abs() < 0.001);
}

#[test]
fn linked_channels_move_together_and_others_alone() {
    let mut input = tone(RATE, 997.0, 1.0, 2, 24_000);
    input[1].iter_mut().for_each(|sample| *sample *= 0.05);
    for (link, expected_db) in [(0.0, 0.0), (50.0, -7.5), (100.0, -15.0)] {
        let mut player = Player::with(
            &COMPRESSOR,
            RATE,
            2,
            &[("Threshold", -20.0), ("Ratio", 4.0), ("Knee", 0.0), ("Release", 50.0), ("Link", link)],
        );
        let output = player.play(&input);
        let found = decibels(rms(&output[1][19_200..]) / rms(&input[1][19_200..]));
        assert!((found - expected_db).abs() < 0.1, "link {link}: {found} dB");
    }
}

#[test]
fn what_is_below_the_threshold_is_left_to_the_bit() {
    let input = noise(3, 2, 20_000, 0.05);
    let mut player = Player::with(&COMPRESSOR, RATE, 2, &[("Mix", 63.0)]);
    assert!(player.play(&input) == input);
}

#[test]
fn make_up_and_mix_are_gains() {
    let input = tone(RATE, 997.0, 0.05, 2, 24_000);
    let mut player = Player::with(&COMPRESSOR, RATE, 2, &[("Make-up", 12.0)]);
    assert!((change_db(&mut player, &input, &silence(0, 0)) - 12.0).abs() < 0.001);
    player.set("Mix", 50.0);
    let half = decibels(f64::midpoint(1.0, 10_f64.powf(0.6)));
    assert!((change_db(&mut player, &input, &silence(0, 0)) - half).abs() < 0.001);
}
