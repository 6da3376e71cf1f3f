//! The search for the smallest playout delay that holds, with short runs.

use anyhow::Result;
use audiocloud_rig::audio::Audio;
use serde::Serialize;

use super::{Stage, play};

/// The delays that are tried, in milliseconds. The largest is the largest default.
pub(super) const DELAYS_MS: [f64; 13] = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0];

/// The delay to try when one did not hold: at least half as large again, or the largest; nothing after that.
pub(super) fn after(delay_ms: f64) -> Option<f64> {
    let largest = DELAYS_MS[DELAYS_MS.len() - 1];
    let larger = DELAYS_MS.into_iter().find(|delay| *delay >= 1.5 * delay_ms).unwrap_or(largest);
    (delay_ms < largest).then_some(larger)
}

/// How much of the recording a probe plays.
const SECONDS: f64 = 4.0;

/// One short run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Probe {
    pub(super) playout_delay_ms: f64,
    pub(super) holds: bool,
    pub(super) missing_frames: usize,
    pub(super) late_blocks: Option<u64>,
}

/// The smallest delay at which a probe held, or the largest where none did; and every probe that was made.
pub(super) fn smallest(stage: &Stage, source: &Audio) -> Result<(f64, Vec<Probe>)> {
    let source = source.clone().cut(SECONDS);
    let mut probes = Vec::new();
    let found = bisect(DELAYS_MS.len() - 1, |index| {
        let delay_ms = DELAYS_MS[index];
        let attempt = play(stage, &source, delay_ms, &format!("trying {delay_ms} ms playout delay"))?;
        let holds = attempt.holds();
        probes.push(Probe {
            playout_delay_ms: delay_ms,
            holds,
            missing_frames: attempt.outcome.comparison.missing_frames,
            late_blocks: attempt.outcome.receive_figure("late_blocks"),
        });
        Ok(holds)
    })?;
    Ok((DELAYS_MS[found], probes))
}

/// The smallest index for which `holds`, taking for granted that it holds at `last` and, once it holds, further on.
fn bisect(last: usize, mut holds: impl FnMut(usize) -> Result<bool>) -> Result<usize> {
    let (mut low, mut high) = (0, last);
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_is_found_with_few_tries() {
        for expected in 0..13 {
            let mut tries = 0;
            let found = bisect(12, |index| {
                tries += 1;
                Ok(index >= expected)
            });
            assert_eq!(found.unwrap(), expected);
            assert!(tries <= 4, "{tries} tries for {expected}");
        }
    }

    #[test]
    fn attempts_grow_and_end() {
        let attempts: Vec<f64> = std::iter::successors(Some(1.5), |delay| after(*delay)).collect();
        assert_eq!(attempts, [1.5, 2.5, 4.0, 6.0, 10.0, 15.0, 20.0]);
        assert_eq!(after(20.0), None);
    }

    #[test]
    fn delays_rise() {
        assert!(DELAYS_MS.is_sorted());
    }
}
