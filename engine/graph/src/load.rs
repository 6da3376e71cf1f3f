//! How much of its deadline the graph uses: [`Statistics`] for people, [`monitor::Monitor`] for what to do about it.
//!
//! The *load* of a callback is the time spent in it over the time that its block lasts (its *period*: frames over
//! sample rate). Above 1.0 the deadline was missed. Nothing here reads a clock: durations come in as numbers, so that
//! the same numbers always lead to the same decisions, and a test passes an hour in a moment.

pub mod monitor;

/// Buckets of a histogram: 16 octaves of load in eighths.
const BUCKETS: usize = 128;
/// Bits of an `f32` below its exponent and the upper three bits of its mantissa.
const BUCKET_SHIFT: u32 = 20;
/// The upper bits of 2⁻¹¹, where the first bucket begins; the last one ends at 2⁵.
const BUCKET_FIRST: u32 = (0.5_f32 / 1024.0).to_bits() >> BUCKET_SHIFT;

/// Time spent over time available, both in nanoseconds.
fn ratio(spent_ns: u64, period_ns: u64) -> f64 {
    spent_ns as f64 / period_ns as f64
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a load is rounded to the nearest f32, which keeps 7 digits of it"
)]
fn narrow(load: f64) -> f32 {
    load as f32
}

/// exp(−x) for x ≥ 0, as the eighth power of the reciprocal of exp(x / 8)'s series to the third order: within 10⁻⁴
/// of it everywhere below x = 1, never outside 0 to 1, and the same bits on every machine.
fn decay(x: f64) -> f64 {
    let y = x / 8.0;
    let eighth = 1.0 / (1.0 + y * (1.0 + y * (0.5 + y / 6.0)));
    let quarter = eighth * eighth;
    let half = quarter * quarter;
    half * half
}

/// Exponentially weighted moving average of the load. It forgets by time, not by callback, for hosts vary their blocks.
#[derive(Clone, Copy, Debug)]
struct Average {
    /// What is older than this weighs 1/e.
    tau_ns: u64,
    load: f64,
}

impl Average {
    const fn new(tau_ns: u64) -> Self {
        Self { tau_ns, load: 0.0 }
    }

    /// `period_ns` is not 0.
    fn observe(&mut self, load: f64, period_ns: u64) {
        self.load = load + (self.load - load) * decay(ratio(period_ns, self.tau_ns));
    }
}

/// The loads of one half of the window.
#[derive(Clone, Copy, Debug)]
struct Half {
    counts: [u32; BUCKETS],
    peak: f32,
}

impl Half {
    const EMPTY: Self = Self { counts: [0; BUCKETS], peak: 0.0 };

    fn observe(&mut self, load: f32) {
        if let Some(count) = self.counts.get_mut(bucket(load)) {
            *count = count.saturating_add(1);
        }
        self.peak = self.peak.max(load);
    }
}

/// The bucket of a load that is not negative. The bits of a positive float are in the order of its value, so its upper
/// bits are a logarithmic scale that costs a shift (as in G. Tene's HdrHistogram, which does it with integers).
fn bucket(load: f32) -> usize {
    let index = (load.to_bits() >> BUCKET_SHIFT).saturating_sub(BUCKET_FIRST);
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The middle of a bucket, at most 1/16 from any load in it.
fn middle(bucket: usize) -> f32 {
    let upper = BUCKET_FIRST + u32::try_from(bucket).unwrap_or(0);
    f32::from_bits(upper << BUCKET_SHIFT | 1 << (BUCKET_SHIFT - 1))
}

/// What [`Statistics`] found. Loads are ratios: 1.0 is the whole period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Moving average.
    pub ewma: f32,
    /// 99.9 % of the callbacks in the window had at most this load, by nearest rank: within 6.25 % between 0.0005 and
    /// 32, where the scale ends.
    pub p999: f32,
    /// The window's greatest load, exactly.
    pub peak: f32,
    /// Callbacks since the start.
    pub callbacks: u64,
    /// Those of them whose load exceeded 1.0.
    pub over: u64,
}

/// The load of one group of nodes, or of the whole graph, summed up.
///
/// The window is kept in two halves: when the newer is full, the older is forgotten whole. A report looks back over
/// at least half a window and at most a whole one.
#[derive(Clone, Debug)]
pub struct Statistics {
    average: Average,
    newer: Half,
    older: Half,
    half_ns: u64,
    /// How long the newer half has been filled.
    filled_ns: u64,
    callbacks: u64,
    over: u64,
}

impl Statistics {
    /// Nothing observed yet. `tau_ns` is the time constant of the average, `window_ns` the longest look back of peak
    /// and percentile.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub const fn new(tau_ns: u64, window_ns: u64) -> Self {
        Self {
            average: Average::new(tau_ns),
            newer: Half::EMPTY,
            older: Half::EMPTY,
            half_ns: window_ns / 2,
            filled_ns: 0,
            callbacks: 0,
            over: 0,
        }
    }

    /// Takes in one callback that lasts `period_ns`, in which the group took `spent_ns`. A callback without frames has
    /// no deadline and is not counted. Callbacks of an offline render are not to be given at all.
    ///
    /// *Realtime-safe: yes*.
    pub fn observe(&mut self, spent_ns: u64, period_ns: u64) {
        if period_ns == 0 {
            return;
        }
        if self.filled_ns >= self.half_ns {
            self.older = self.newer;
            self.newer = Half::EMPTY;
            self.filled_ns = 0;
        }
        let load = ratio(spent_ns, period_ns);
        self.average.observe(load, period_ns);
        self.newer.observe(narrow(load));
        self.filled_ns = self.filled_ns.saturating_add(period_ns);
        self.callbacks += 1;
        self.over += u64::from(spent_ns > period_ns);
    }

    /// The figures as they stand.
    ///
    /// *Realtime-safe: yes* (a walk over two histograms: for once in a while, not for every callback).
    #[must_use]
    pub fn report(&self) -> Report {
        let peak = self.newer.peak.max(self.older.peak);
        Report {
            ewma: narrow(self.average.load),
            p999: self.p999().min(peak),
            peak,
            callbacks: self.callbacks,
            over: self.over,
        }
    }

    /// Forgets everything.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        *self = Self::new(self.average.tau_ns, self.half_ns * 2);
    }

    fn p999(&self) -> f32 {
        let both =
            || self.newer.counts.iter().zip(&self.older.counts).map(|(a, b)| u64::from(*a) + u64::from(*b));
        let callbacks: u64 = both().sum();
        let rank = callbacks - callbacks / 1000;
        let mut below = 0;
        let reaches = |count: u64| {
            below += count;
            below >= rank
        };
        both().position(reaches).map_or(0.0, middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1000 * MS;

    #[test]
    fn decays_like_the_exponential() {
        fn check(x: f64, tolerance: f64) {
            let (found, exact) = (decay(x), (-x).exp());
            assert!((found - exact).abs() <= tolerance, "{x}: {found}, exactly {exact}");
        }
        check(0.0, 0.0);
        check(1e-6, 1e-15);
        check(0.1, 1e-8);
        check(1.0, 1e-4);
        check(5.0, 1e-3);
        check(100.0, 1e-6);
        check(f64::INFINITY, 0.0);
    }

    #[test]
    fn small_and_great_loads_have_a_bucket() {
        assert_eq!((BUCKET_FIRST << BUCKET_SHIFT, bucket(0.0)), (2.0_f32.powi(-11).to_bits(), 0));
        assert_eq!((bucket(31.9), bucket(32.0), bucket(1e9)), (BUCKETS - 1, BUCKETS - 1, BUCKETS - 1));
        assert_eq!((bucket(0.999), bucket(1.0), bucket(1.124), bucket(1.125)), (87, 88, 88, 89));
    }

    /// Block sizes from 16 to 2048 frames at 48 kHz, in nanoseconds.
    fn period_ns() -> impl Strategy<Value = u64> {
        (16_u64..=2048).prop_map(|frames| frames * SECOND / 48_000)
    }

    proptest! {
        /// A step of the load is followed as 1 − exp(−t / τ), however the time is cut into blocks.
        #[test]
        fn the_average_forgets_by_time(periods in prop::collection::vec(period_ns(), 1..200)) {
            let mut statistics = Statistics::new(100 * MS, 10 * SECOND);
            let mut time_ns = 0;
            for period in periods {
                statistics.observe(period / 2, period);
                time_ns += period;
                let exact = 0.5 * (1.0 - (-(time_ns as f64) / 1e8).exp());
                let found = f64::from(statistics.report().ewma);
                prop_assert!((found - exact).abs() < 1e-4, "{found}, exactly {exact}");
            }
        }

        /// The percentile lies within 6.25 % of what sorting finds. Loads from 0.001 to 32, as many in each octave.
        #[test]
        fn the_percentile_agrees_with_sorting(
            loads in prop::collection::vec((1000_u64..2000, 0_u32..15), 1..3000),
        ) {
            let mut statistics = Statistics::new(SECOND, 100 * SECOND);
            let mut spent: Vec<_> = loads.iter().map(|(mantissa, octave)| mantissa << octave).collect();
            for spent_ns in &spent {
                statistics.observe(*spent_ns, MS);
            }
            spent.sort_unstable();
            let rank = (spent.len() * 999).div_ceil(1000);
            let exact = spent[rank - 1] as f64 / 1e6;
            let report = statistics.report();
            prop_assert!((f64::from(report.p999) / exact - 1.0).abs() <= 0.0626, "{report:?}, exactly {exact}");
            prop_assert_eq!(report.peak, narrow(spent[spent.len() - 1] as f64 / 1e6));
            prop_assert_eq!(report.callbacks, spent.len() as u64);
            prop_assert_eq!(report.over, spent.iter().filter(|spent| **spent > MS).count() as u64);
        }
    }

    #[test]
    fn one_in_a_thousand_is_left_out_and_two_are_not() {
        fn check(callbacks: u64, slow: u64, p999: f32) {
            let mut statistics = Statistics::new(SECOND, 10 * SECOND);
            for index in 0..callbacks {
                statistics.observe(if index < slow { 2 * MS } else { MS / 2 }, MS);
            }
            let report = statistics.report();
            assert_eq!((report.peak, report.over), (2.0, slow));
            assert!((report.p999 / p999 - 1.0).abs() <= 0.0625, "{slow} of {callbacks}: {report:?}");
        }
        check(999, 1, 2.0);
        check(1000, 1, 0.5);
        check(2000, 2, 0.5);
        check(2000, 3, 2.0);
    }

    #[test]
    fn the_window_slides() {
        let mut statistics = Statistics::new(100 * MS, 10 * SECOND);
        statistics.observe(5 * MS, MS);
        let mut seen_ms = 1;
        while statistics.report().peak > 1.0 {
            statistics.observe(MS / 4, MS);
            seen_ms += 1;
        }
        assert!((10_000..=10_001).contains(&seen_ms), "{seen_ms}");
        let report = statistics.report();
        assert_eq!((report.peak, report.p999, report.over), (0.25, 0.25, 1));
    }

    #[test]
    fn nothing_comes_from_nothing() {
        let mut statistics = Statistics::new(100 * MS, 10 * SECOND);
        statistics.observe(MS, 0);
        assert_eq!(statistics.report(), Report::default());
        statistics.observe(u64::MAX, 1);
        assert!(statistics.report().peak.is_finite());
        statistics.reset();
        assert_eq!(statistics.report(), Report::default());
    }
}
