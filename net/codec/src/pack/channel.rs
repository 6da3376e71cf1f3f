//! One signal: its prediction, and what the prediction misses.

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

/// Room for a signal's differences.
#[derive(Debug, Default)]
pub(super) struct Scratch(Vec<i32>);

impl Scratch {
    /// Chooses the order whose residual is least in sum (as RFC 9639 suggests for its fixed predictors), over
    /// those samples for which all of them predict.
    pub(super) fn plan(&mut self, samples: &[i32]) -> Plan {
        self.start(samples);
        let mut best = Plan { order: 0, magnitude: self.magnitude() };
        for order in 1..=ORDER_MAX.min(samples.len()) {
            difference(&mut self.0, order);
            let magnitude = self.magnitude();
            if magnitude < best.magnitude {
                best = Plan { order, magnitude };
            }
        }
        best
    }

    /// Writes a signal as planned.
    pub(super) fn write(&mut self, samples: &[i32], plan: Plan, writer: &mut BitWriter<'_>) {
        self.start(samples);
        for order in 1..=plan.order {
            difference(&mut self.0, order);
        }
        let (first, residual) = self.0.split_at(plan.order);
        writer.put(ORDERS[plan.order], 3);
        for value in first.iter().map(|value| zigzag(*value)) {
            let width = u32::BITS - value.leading_zeros();
            writer.put(width, FIELD_BITS);
            writer.put(value, width);
        }
        for partition in residual.chunks(PARTITION) {
            write_partition(partition, writer);
        }
    }

    fn start(&mut self, samples: &[i32]) {
        self.0.clear();
        self.0.extend_from_slice(samples);
    }

    fn magnitude(&self) -> u64 {
        self.0.iter().skip(ORDER_MAX).map(|value| u64::from(value.unsigned_abs())).sum()
    }
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
