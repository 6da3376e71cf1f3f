//! The latency that is reported is the one that there is; and what is set to do nothing does nothing.

use audiocloud_effects::KINDS;

use crate::bed::{Player, RATES, activation, noise, settings, silence, transparent};

/// An impulse and noise leave as they came, to the bit, as late as was said.
#[test]
fn what_is_transparent_delays_by_the_reported_latency() {
    for kind in KINDS {
        for rate in RATES {
            for channels in [1, 2] {
                let mut player = Player::new(kind, rate, channels, &transparent(kind));
                let latency = player.latency();
                let mut input = noise(3, channels, 9000, 0.2);
                for (line, silent) in input.iter_mut().zip(silence(channels, 3000)) {
                    line[..3000].copy_from_slice(&silent);
                    line[1000] = 0.5;
                }
                let output = player.play(&input);
                for (input, output) in input.iter().zip(&output) {
                    let first = output.iter().position(|sample| *sample != 0.0);
                    assert_eq!(first, Some(1000 + latency), "{} at {rate} Hz", kind.id);
                    let delayed = &output[latency..];
                    let wrong = input.iter().zip(delayed).position(|(input, output)| input != output);
                    assert_eq!(wrong, None, "{} at {rate} Hz", kind.id);
                }
            }
        }
    }
}

/// Nothing leaves before it can, and no more than a few frames' worth of filter before the answer.
#[test]
fn no_setting_is_ahead_of_its_input() {
    for kind in KINDS {
        for seed in 0..6 {
            let mut player = Player::new(kind, 48_000, 2, &settings(kind, seed));
            let mut input = silence(2, 4000);
            input[0][2000] = 1.0;
            input[1][2000] = 1.0;
            let output = player.play(&input);
            assert!(
                output.iter().all(|line| line[..2000].iter().all(|sample| *sample == 0.0)),
                "{} {seed}",
                kind.id
            );
        }
    }
}

#[test]
fn latency_is_the_same_time_at_any_rate() {
    for kind in KINDS {
        for rate in RATES {
            let latency_ms =
                f64::from((kind.latency_frames)(&activation(rate, 2))) / f64::from(rate) * 1000.0;
            assert!(latency_ms < 3.0, "{} at {rate} Hz: {latency_ms} ms", kind.id);
            assert_eq!(
                (kind.latency_frames)(&activation(rate, 1)),
                (kind.latency_frames)(&activation(rate, 2))
            );
        }
    }
}
