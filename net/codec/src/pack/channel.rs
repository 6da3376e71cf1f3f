//! One signal: its prediction, and what the prediction misses.

use std::array;

use super::bits::{BitReader, BitWriter};
use super::{FIELD_BITS, PARTITION, PackError};

/// The highest order of prediction.
const ORDER_MAX: usize = 4;

/// A Rice parameter that is none: the partition is zero throughout.
const ALL_ZERO: u32 = 31;

/// How a signal is best predicted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    order: usize,
    /// The sum of what prediction misses.
    pub(super) magnitude: u64,
}

impl Plan {
    /// The order whose residual is least in sum (as RFC 9639 suggests for its fixed predictors), over those
    /// samples for which all of them predict.
    pub(super) fn of(samples: &[i32]) -> Self {
        let plans = magnitudes(samples).into_iter().enumerate();
        let plans = plans.map(|(order, magnitude)| Self { order, magnitude });
        plans.min_by_key(|plan| plan.magnitude).unwrap_or(Self { order: 0, magnitude: 0 })
    }

    /// Writes the signal as planned, through `differences`.
    pub(super) fn write(self, samples: &[i32], differences: &mut Vec<i32>, writer: &mut BitWriter<'_>) {
        differences.clear();
        differences.extend_from_slice(samples);
        for order in 1..=self.order {
            difference(differences, order);
        }
        let (first, residual) = differences.split_at(self.order);
        writer.put(ORDERS[self.order], 3);
        for value in first.iter().map(|value| zigzag(*value)) {
            let width = u32::BITS - value.leading_zeros();
            writer.put(width, FIELD_BITS);
            writer.put(value, width);
        }
        for partition in residual.chunks(PARTITION) {
            write_partition(partition, writer);
        }
    }
}

/// The sums of what the orders 0 to 4 miss, from the fifth sample on: one pass, for a vector at a time.
pub(super) fn magnitudes(samples: &[i32]) -> [u64; ORDER_MAX + 1] {
    let mut sums = [0; ORDER_MAX + 1];
    let mut left = samples;
    while let Some(block) = left.first_chunk() {
        add_magnitudes(&mut sums, block);
        left = left.get(BLOCK..).unwrap_or_default();
    }
    let at = |from: usize| left.get(from..).unwrap_or_default().iter();
    for ((((a, b), c), d), e) in at(0).zip(at(1)).zip(at(2)).zip(at(3)).zip(at(4)) {
        let first = [b - a, c - b, d - c, e - d];
        let second = [first[1] - first[0], first[2] - first[1], first[3] - first[2]];
        let third = [second[1] - second[0], second[2] - second[1]];
        let misses = [*e, first[3], second[2], third[1], third[1] - third[0]];
        for (sum, miss) in sums.iter_mut().zip(misses) {
            *sum += u64::from(miss.unsigned_abs());
        }
    }
    sums
}

/// Samples whose misses are summed at once, after those that all orders predict from.
const BLOCK: usize = 16;

fn add_magnitudes(sums: &mut [u64; ORDER_MAX + 1], samples: &[i32; BLOCK + ORDER_MAX]) {
    // Each order from the last one's misses. Lengths that the compiler knows are what lets it take four at a time.
    let first: [i32; BLOCK + 3] = array::from_fn(|index| samples[index + 1] - samples[index]);
    let second: [i32; BLOCK + 2] = array::from_fn(|index| first[index + 1] - first[index]);
    let third: [i32; BLOCK + 1] = array::from_fn(|index| second[index + 1] - second[index]);
    let fourth: [i32; BLOCK] = array::from_fn(|index| third[index + 1] - third[index]);
    sums[0] += magnitude(&samples[4..]);
    sums[1] += magnitude(&first[3..]);
    sums[2] += magnitude(&second[2..]);
    sums[3] += magnitude(&third[1..]);
    sums[4] += magnitude(&fourth);
}

/// The sum of a block's misses: each is below 2^28, so that sums of four fit.
fn magnitude(misses: &[i32]) -> u64 {
    let mut sums = [0_u32; 4];
    for misses in misses.as_chunks::<4>().0 {
        for (sum, miss) in sums.iter_mut().zip(misses) {
            *sum += miss.unsigned_abs();
        }
    }
    sums.into_iter().map(u64::from).sum()
}

/// Orders as they are written.
const ORDERS: [u32; ORDER_MAX + 1] = [0, 1, 2, 3, 4];

/// From values differenced `order` − 1 times to `order` times. The first `order` have no predecessor of the
/// same kind, and stay.
fn difference(values: &mut [i32], order: usize) {
    let mut before = values[order - 1];
    for value in &mut values[order..] {
        (*value, before) = (*value - before, *value);
    }
}

/// The other way. A peer's values may wrap.
fn integrate(values: &mut [i32], order: usize) {
    if let Some((first, rest)) = values.get_mut(order - 1..).and_then(<[i32]>::split_first_mut) {
        let mut before = *first;
        for value in rest {
            before = before.wrapping_add(*value);
            *value = before;
        }
    }
}

fn write_partition(residual: &[i32], writer: &mut BitWriter<'_>) {
    let sum: u64 = residual.iter().map(|value| u64::from(zigzag(*value))).sum();
    if sum == 0 {
        writer.put(ALL_ZERO, FIELD_BITS);
        return;
    }
    let k = rice_parameter(sum, residual.len());
    writer.put(k, FIELD_BITS);
    for value in residual {
        writer.put_rice(zigzag(*value), k);
    }
}

/// The parameter by which `count` values of this sum take the fewest bits: `count` · (k + 1) + `sum` / 2ᵏ,
/// nearly.
fn rice_parameter(sum: u64, count: usize) -> u32 {
    let count = count as u64;
    let about = (sum / count).checked_ilog2().unwrap_or(0);
    let bits = |k: &u32| count * (u64::from(*k) + 1) + (sum >> k);
    (about.saturating_sub(1)..=about + 1).min_by_key(bits).unwrap_or(about).min(ALL_ZERO - 1)
}

/// Reads a signal of `frames` samples.
pub(super) fn read(
    reader: &mut BitReader<'_>,
    frames: usize,
    samples: &mut Vec<i32>,
) -> Result<(), PackError> {
    let order = reader.take(3) as usize;
    if order > ORDER_MAX || order > frames {
        return Err(PackError::Malformed);
    }
    samples.clear();
    samples.resize(frames, 0);
    let (first, residual) = samples.split_at_mut(order);
    for value in first {
        let width = reader.take(FIELD_BITS);
        *value = unzigzag(reader.take(width));
    }
    for partition in residual.chunks_mut(PARTITION) {
        let k = reader.take(FIELD_BITS);
        if k != ALL_ZERO {
            for value in partition {
                *value = unzigzag(reader.take_rice(k));
            }
        }
    }
    for order in (1..=order).rev() {
        integrate(samples, order);
    }
    Ok(())
}

/// 0, −1, 1, −2, 2 … as 0, 1, 2, 3, 4 …
const fn zigzag(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)).cast_unsigned()
}

const fn unzigzag(code: u32) -> i32 {
    (code >> 1).cast_signed() ^ -(code & 1).cast_signed()
}
