//! The distribution of loudness over any time in bounded memory.

use super::{lufs_from_power, power_from_lufs};

/// Blocks that are not above it are left out of every statistic: the absolute gate of ITU-R BS.1770-5.
const GATE_LUFS: f64 = -70.0;

/// In 0.01 LU from the absolute gate up to +10 LUFS; what is louder counts in the last.
const BINS: usize = 8_000;

/// How many blocks there were at each loudness, and their exact power.
///
/// A bin knows the mean power of its blocks. So only a block within 0.01 LU of a gate may be taken for one on the other
/// side of it, and a percentile is off by less than 0.01 LU.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    bins: Box<[Bin]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    /// The sum over its blocks.
    power: f64,
    /// Enough for 13 years at ten a second.
    blocks: u32,
}

impl Bin {
    fn mean(self) -> f64 {
        self.power / f64::from(self.blocks)
    }
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { bins: vec![Bin::default(); BINS].into_boxed_slice() }
    }

    pub(super) fn reset(&mut self) {
        self.bins.fill(Bin::default());
    }

    /// Counts a block, if it is above the absolute gate.
    pub(super) fn add(&mut self, power: f64) {
        if power <= power_from_lufs(GATE_LUFS) {
            return;
        }
        if let Some(bin) = self.bins.get_mut(index(lufs_from_power(power))) {
            bin.power += power;
            bin.blocks = bin.blocks.saturating_add(1);
        }
    }

    /// The mean power of the blocks above the relative gate, which lies `gate_lu` from the mean of all.
    pub(super) fn gated_power(&self, gate_lu: f64) -> f64 {
        mean(self.above_relative_gate(gate_lu))
    }

    /// The difference in LU between two percentiles, from 0 to 1, of the blocks above the relative gate: each the block
    /// of nearest rank, as EBU Tech 3342 takes it. 0 if there are none.
    pub(super) fn gated_range_lu(&self, gate_lu: f64, lower: f64, upper: f64) -> f64 {
        let blocks: u64 = self.above_relative_gate(gate_lu).map(|bin| u64::from(bin.blocks)).sum();
        let at = |percentile: f64| {
            let rank = libm::round(blocks.saturating_sub(1) as f64 * percentile);
            let mut below = 0.0;
            let reached = self.above_relative_gate(gate_lu).find(|bin| {
                below += f64::from(bin.blocks);
                below > rank
            });
            reached.map(|bin| lufs_from_power(bin.mean()))
        };
        match (at(lower), at(upper)) {
            (Some(lower), Some(upper)) => upper - lower,
            _ => 0.0,
        }
    }

    /// The bins that have blocks above the relative gate, from the softest on.
    fn above_relative_gate(&self, gate_lu: f64) -> impl Iterator<Item = Bin> {
        let gate = mean(self.occupied()) * power_ratio(gate_lu);
        self.occupied().filter(move |bin| bin.mean() > gate)
    }

    fn occupied(&self) -> impl Iterator<Item = Bin> {
        self.bins.iter().copied().filter(|bin| bin.blocks > 0)
    }
}

/// The mean power of the blocks in some bins; 0 if there are none.
fn mean(bins: impl Iterator<Item = Bin>) -> f64 {
    let (power, blocks) =
        bins.fold((0.0, 0.0), |(power, blocks), bin| (power + bin.power, blocks + f64::from(bin.blocks)));
    if blocks > 0.0 { power / blocks } else { 0.0 }
}

fn power_ratio(lu: f64) -> f64 {
    libm::pow(10.0, lu / 10.0)
}

fn index(lufs: f64) -> usize {
    let steps = libm::floor((lufs - GATE_LUFS) * 100.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    let steps = steps as usize;
    steps.min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::White;

    /// By the letter of the standards: every block kept, gated twice.
    fn gated(powers: &[f64], gate_lu: f64) -> Vec<f64> {
        let mean = |powers: &[f64]| powers.iter().sum::<f64>() / powers.len() as f64;
        let absolute: Vec<f64> =
            powers.iter().copied().filter(|&power| lufs_from_power(power) > GATE_LUFS).collect();
        let gate = lufs_from_power(mean(&absolute)) + gate_lu;
        let mut relative: Vec<f64> =
            absolute.into_iter().filter(|&power| lufs_from_power(power) > gate).collect();
        relative.sort_by(f64::total_cmp);
        relative
    }

    #[test]
    fn agrees_with_every_block_kept() {
        for seed in 0..20 {
            let mut noise = White::new(seed);
            let mut histogram = Histogram::new();
            let powers: Vec<f64> =
                (0..5000).map(|_| power_from_lufs(-45.0 + 35.0 * f64::from(noise.next_sample()))).collect();
            powers.iter().for_each(|&power| histogram.add(power));

            let blocks = gated(&powers, -10.0);
            let expected = lufs_from_power(blocks.iter().sum::<f64>() / blocks.len() as f64);
            let error = lufs_from_power(histogram.gated_power(-10.0)) - expected;
            assert!(error.abs() < 0.005, "{error} LU");

            let blocks = gated(&powers, -20.0);
            let at = |percent: usize| lufs_from_power(blocks[((blocks.len() - 1) * percent + 50) / 100]);
            let error = histogram.gated_range_lu(-20.0, 0.1, 0.95) - (at(95) - at(10));
            assert!(error.abs() < 0.02, "{error} LU");
        }
    }

    #[test]
    fn nothing_but_silence_has_no_power_and_no_range() {
        let mut histogram = Histogram::new();
        for power in [0.0, power_from_lufs(-70.01), f64::MIN_POSITIVE] {
            histogram.add(power);
        }
        assert_eq!((histogram.gated_power(-10.0), histogram.gated_range_lu(-20.0, 0.1, 0.95)), (0.0, 0.0));
    }

    #[test]
    fn any_power_finds_a_bin() {
        let mut histogram = Histogram::new();
        for power in [power_from_lufs(-69.999), 1e3, 1e70] {
            histogram.reset();
            histogram.add(power);
            assert_eq!(histogram.gated_power(-10.0), power);
        }
    }
}
