//! How packets overtake each other on a path: how often a gap fills by itself, and how long that takes.

use audiocloud_units::Nanos;

/// Of the gaps of lately, at least this share has filled by itself where it pays to wait.
const NORMAL_SHARE: f64 = 0.15;

/// What became of the gaps of lately.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disorder {
    /// Of gaps, those that filled by themselves; over some 16 of them.
    share: f64,
    /// From a gap until it filled, in nanoseconds.
    mean: f64,
    deviation: f64,
}

impl Disorder {
    /// A gap filled by itself after so long.
    #[allow(clippy::cast_precision_loss, reason = "a span of less than a hundred days is exact")]
    pub(crate) fn filled(&mut self, after: Nanos) {
        let after = after.get().max(0) as f64;
        if self.mean == 0.0 {
            (self.mean, self.deviation) = (after, after / 2.0);
        }
        self.deviation += ((after - self.mean).abs() - self.deviation) / 16.0;
        self.mean += (after - self.mean) / 16.0;
        self.share += (1.0 - self.share) / 16.0;
    }

    /// A gap did not fill by itself.
    pub(crate) fn stayed(&mut self) {
        self.share -= self.share / 16.0;
    }

    /// How long it pays to wait for a gap to fill by itself.
    #[allow(clippy::cast_possible_truncation, reason = "saturates")]
    pub(crate) fn wait(&self) -> Nanos {
        if self.share < NORMAL_SHARE {
            return Nanos::new(0);
        }
        Nanos::new((self.mean + 3.0 * self.deviation) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_pays_to_wait_where_gaps_fill() {
        let mut disorder = Disorder::default();
        let zero = Nanos::new(0);
        assert_eq!(disorder.wait(), zero);
        disorder.filled(Nanos::from_millis(3));
        assert_eq!(disorder.wait(), zero, "once is not normal");
        for _ in 0..40 {
            disorder.filled(Nanos::from_millis(3));
        }
        let wait = disorder.wait().as_millis_f64();
        assert!((3.0..3.5).contains(&wait), "{wait} ms");
        for _ in 0..40 {
            disorder.stayed();
        }
        assert_eq!(disorder.wait(), zero, "where gaps are losses there is nothing to wait for");
    }
}
