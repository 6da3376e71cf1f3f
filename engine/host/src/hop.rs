//! How long the way to another process and back takes: histograms that one process writes and another reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets are a quarter of an octave wide, from 1 ns on.
const PER_OCTAVE: u32 = 4;

/// Times of one way, in µs; each is the upper end of its bucket, so at most 19 % too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Times {
    /// Blocks measured.
    pub count: u64,
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

/// Adds one time. *Realtime-safe: yes*.
pub(crate) fn note(buckets: &[AtomicU64], nanos: u64) {
    if let Some(bucket) = buckets.get(bucket(nanos)).or(buckets.last()) {
        bucket.fetch_add(1, Ordering::Relaxed);
    }
}

/// What was added so far.
pub(crate) fn times(buckets: &[AtomicU64]) -> Times {
    let counts: Vec<u64> = buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
    let count = counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
    // In thousandths of the count, rounded up, so that the maximum is what all are below.
    let below = |thousandths: u128| {
        let wanted = u128::from(count) * thousandths;
        let mut sum = 0_u128;
        let found = counts.iter().position(|count| {
            sum += u128::from(*count) * 1000;
            sum >= wanted
        });
        if count == 0 { 0.0 } else { found.map_or(0.0, end_us) }
    };
    Times { count, p50_us: below(500), p99_us: below(990), p999_us: below(999), max_us: below(1000) }
}

fn bucket(nanos: u64) -> usize {
    let Some(octave) = nanos.checked_ilog2() else { return 0 };
    // The two bits below the leading one.
    let quarter = if octave >= 2 { nanos >> (octave - 2) & 3 } else { 0 };
    (octave * PER_OCTAVE) as usize + usize::try_from(quarter).unwrap_or(0)
}

/// The upper end of a bucket.
fn end_us(bucket: usize) -> f64 {
    let (octave, quarter) = (bucket / PER_OCTAVE as usize, bucket % PER_OCTAVE as usize);
    let octave = i32::try_from(octave).unwrap_or(0);
    let quarter = u8::try_from(quarter).unwrap_or(0);
    (1.0 + f64::from(quarter + 1) / 4.0) * 2.0_f64.powi(octave) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::BUCKETS;

    #[test]
    fn percentiles_are_at_most_a_bucket_too_long() {
        let buckets: Vec<AtomicU64> = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        assert_eq!(times(&buckets), Times::default());
        for microsecond in 1..=1000 {
            note(&buckets, microsecond * 1000);
        }
        let times = times(&buckets);
        assert_eq!(times.count, 1000);
        for (found, exact) in
            [(times.p50_us, 500.0), (times.p99_us, 990.0), (times.p999_us, 999.0), (times.max_us, 1000.0)]
        {
            assert!((1.0..1.26).contains(&(found / exact)), "{found} for {exact}");
        }
    }

    #[test]
    fn every_time_has_a_bucket() {
        let buckets: Vec<AtomicU64> = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        for nanos in [0, 1, 2, 3, 1 << 39, u64::MAX] {
            note(&buckets, nanos);
        }
        assert_eq!(times(&buckets).count, 6);
        let increasing = (0..BUCKETS).map(end_us);
        assert!(increasing.clone().zip(increasing.skip(1)).all(|(a, b)| a < b));
    }
}
