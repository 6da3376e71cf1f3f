use audiocloud_units::Nanos;

use super::status::Latency;

/// Width of a bin.
const BIN: i64 = 50_000;
/// Up to 100 ms; what is longer is in the last bin.
const BINS: usize = 2_000;

/// Latencies by bins of 0.05 ms, for their median and 99th percentile.
#[derive(Debug)]
pub(super) struct Histogram {
    bins: Box<[u32]>,
    total: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { bins: vec![0; BINS].into_boxed_slice(), total: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.bins.fill(0);
        self.total = 0;
    }

    pub(super) fn add(&mut self, latency: Nanos) {
        let bin = usize::try_from(latency.get().max(0) / BIN).unwrap_or(usize::MAX).min(BINS - 1);
        self.bins[bin] = self.bins[bin].saturating_add(1);
        self.total += 1;
    }

    pub(super) fn summarise(&self, latency: &mut Latency) {
        latency.median = self.quantile(1, 2);
        latency.p99 = self.quantile(99, 100);
    }

    /// The upper end of the bin in which this share of all latencies is reached.
    fn quantile(&self, part: u64, of: u64) -> Nanos {
        let rank = (self.total * part).div_ceil(of);
        let mut seen = 0;
        for (bin, count) in (1_i64..).zip(&self.bins) {
            seen += u64::from(*count);
            if seen >= rank && seen > 0 {
                return Nanos::new(bin * BIN);
            }
        }
        Nanos::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::new();
        let mut latency = Latency::default();
        histogram.summarise(&mut latency);
        assert_eq!((latency.median, latency.p99), (Nanos::ZERO, Nanos::ZERO));
        for micros in 1..=100 {
            histogram.add(Nanos::from_micros(micros * 100 - 1));
        }
        histogram.add(Nanos::from_secs(9));
        histogram.summarise(&mut latency);
        assert_eq!((latency.median, latency.p99), (Nanos::from_micros(5_100), Nanos::from_micros(10_000)));
    }
}
