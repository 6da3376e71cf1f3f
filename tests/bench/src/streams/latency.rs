//! The true one-way latency, from port to port, by chirps and the two servers' cycle logs.

use super::cycle_log::CycleLog;
use super::signal::{CHIRP_EVERY_SECONDS, SAMPLE_RATE_HZ, chirp, count, frames};

/// How far past its sending a chirp is looked for; its neighbour comes later.
const SEARCH_SECONDS: f64 = CHIRP_EVERY_SECONDS - 0.02;
/// How much earlier than sent: latencies near nothing need room for the peak's flank.
const BEFORE_SECONDS: f64 = 0.005;
/// A chirp that correlates less is not found: lost or torn.
const CORRELATION_MIN: f64 = 0.35;

/// Latencies of the chirps that were found, in ms: those whose first frames are `firsts`.
pub(crate) fn of_chirps(firsts: &[usize], sent: &CycleLog, received: &CycleLog, samples: &[f32]) -> Vec<f64> {
    let chirp: Vec<f64> = chirp().into_iter().map(f64::from).collect();
    let latency = |&first: &usize| -> Option<f64> {
        let rate = f64::from(SAMPLE_RATE_HZ);
        let sent_us = sent.time_us(count(first), rate);
        let from = frames((received.frame_at(sent_us, rate) / rate - BEFORE_SECONDS).max(0.0));
        let to = samples.len().min(from + frames(SEARCH_SECONDS) + chirp.len());
        let place = place_of(&chirp, samples.get(from..to)?)?;
        Some((received.time_us(count(from) + place, rate) - sent_us) / 1e3)
    };
    firsts.iter().filter_map(latency).collect()
}

/// Where `pattern` begins in `samples`, to a fraction of a frame.
fn place_of(pattern: &[f64], samples: &[f32]) -> Option<f64> {
    let energy: f64 = pattern.iter().map(|x| x * x).sum();
    let products: Vec<f64> = samples
        .windows(pattern.len())
        .map(|window| window.iter().zip(pattern).map(|(x, y)| f64::from(*x) * y).sum())
        .collect();
    let (peak, height) = products.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    if *height < CORRELATION_MIN * energy {
        return None;
    }
    let flanks = peak.checked_sub(1).and_then(|before| Some((products[before], *products.get(peak + 1)?)));
    let fraction =
        flanks.map_or(0.0, |(before, after)| 0.5 * (before - after) / (before - 2.0 * height + after));
    Some(count(peak) + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::cycle_log::Cycle;

    /// A server whose cycles of 128 frames begin at `from_us`.
    fn log(from_us: u64) -> CycleLog {
        let cycle = |n: u64| Cycle {
            frame: n * 128,
            began_us: from_us + n * 128_000 / 48,
            entered_us: from_us + n * 128_000 / 48,
            jack_frame: 0,
            frames: 128,
        };
        CycleLog { cycles: (0..400).map(cycle).collect() }
    }

    #[test]
    fn the_clocks_of_both_servers_count() {
        let mut samples = vec![0.0; 48_000];
        let late = 100;
        samples[10_000 + late..][..chirp().len()].copy_from_slice(&chirp());
        // The recorder began a millisecond before the player.
        let found = of_chirps(&[10_000], &log(8_000), &log(7_000), &samples);
        let expected = 100.0 / 48.0 - 1.0;
        assert!(found.len() == 1 && (found[0] - expected).abs() < 1e-3, "{found:?}");
        assert!(of_chirps(&[30_000], &log(8_000), &log(7_000), &samples).is_empty());
    }
}
