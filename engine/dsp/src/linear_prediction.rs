//! Linear prediction: each sample as a weighted sum of those before it, and a signal carried on by it.
//!
//! A sum of sinusoids, steady or decaying, obeys such a rule exactly, two weights for each. Burg's method finds the
//! weights without a window, so that what lies within the samples is carried on with its frequency and level, and its
//! poles never lie outside the unit circle (J. P. Burg, *Maximum Entropy Spectral Analysis*, Stanford University, 1975).
//! I. Kauppinen and K. Roth, *Audio Signal Extrapolation: Theory and Applications*, Proc. DAFx-02, 2002, show what it
//! does for lost audio.
//!
//! It is calculated from autocorrelations, which cost `samples·order` and are what a vector unit does best, and a
//! recursion of `order²`: K. Vos, *A Fast Implementation of Burg's Method*, 2013.

/// Lags that are summed side by side: what makes the autocorrelation vector code.
const LAGS: usize = 8;

/// White noise that is assumed below the signal, as a ratio of power: −100 dB. It bounds the condition of the equations.
const NOISE_FLOOR: f64 = 1e-10;

/// Finds the weights for a stretch of samples. One serves any number of channels, one after the other.
#[derive(Clone, Debug)]
pub struct Burg {
    /// The prediction error filter 1 + a₁z⁻¹ + …, and the one of the order before.
    error_filter: Box<[f64]>,
    previous: Box<[f64]>,
    autocorrelation: Box<[f64]>,
    /// Vos's g, the covariance matrix times the filter, and the one of the order before.
    product: Box<[f64]>,
    product_previous: Box<[f64]>,
    /// Vos's r, the matrix's next row.
    row: Box<[f64]>,
}

impl Burg {
    /// For `order` weights, at least 1.
    ///
    /// *Realtime-safe: no*, it allocates.
    #[must_use]
    pub fn new(order: usize) -> Self {
        let order = order.max(1);
        let zeros = || vec![0.0; order + 2].into_boxed_slice();
        Self {
            error_filter: zeros(),
            previous: zeros(),
            autocorrelation: vec![0.0; (order + 1).next_multiple_of(LAGS)].into_boxed_slice(),
            product: zeros(),
            product_previous: zeros(),
            row: zeros(),
        }
    }

    /// How many weights it finds. *Realtime-safe: yes.*
    #[must_use]
    pub fn order(&self) -> usize {
        self.error_filter.len() - 2
    }

    /// The weights for `samples`: `prediction[n] = Σ weights[k]·x[n − 1 − k]`. Of silence, of what is no number, and of
    /// fewer samples than twice the order, all are zero.
    ///
    /// *Realtime-safe: yes*; `samples·order + 5·order²` multiplications.
    pub fn fit(&mut self, samples: &[f64], weights: &mut [f64]) {
        weights.fill(0.0);
        let order = self.order();
        if samples.len() < 2 * order {
            return;
        }
        autocorrelate(samples, &mut self.autocorrelation);
        let found = self.recurse(samples);
        for (weight, &coefficient) in weights.iter_mut().zip(&self.error_filter[1..=found]) {
            *weight = -coefficient;
        }
    }

    /// The order that was reached: less than asked for when all is predicted before.
    fn recurse(&mut self, x: &[f64]) -> usize {
        let Self { error_filter: a, previous, autocorrelation: c, product: g, product_previous, row: r } =
            self;
        let (order, last) = (a.len() - 2, x.len() - 1);
        a.fill(0.0);
        a[0] = 1.0;
        r[0] = 2.0 * c[1];
        g[0] = 2.0 * c[0] * (1.0 + NOISE_FLOOR) - x[0] * x[0] - x[last] * x[last];
        g[1] = 2.0 * c[1];
        let least = c[0] * NOISE_FLOOR;
        for i in 0..order {
            let energy: f64 = a[..=i].iter().zip(&g[..=i]).map(|(a, g)| a * g).sum();
            let common: f64 = a[..=i].iter().zip(g[1..i + 2].iter().rev()).map(|(a, g)| a * g).sum();
            let reflection = -common / energy;
            // Rounding can leave the circle where the theory cannot. Not a number is neither inside.
            if !(energy > least && reflection.abs() < 1.0) {
                return i;
            }
            previous[..i + 2].copy_from_slice(&a[..i + 2]);
            product_previous[..i + 2].copy_from_slice(&g[..i + 2]);
            let mirrored = previous[..i + 2].iter().rev().zip(product_previous[..i + 2].iter().rev());
            for ((a, g), (mirrored_a, mirrored_g)) in a.iter_mut().zip(g.iter_mut()).zip(mirrored) {
                *a += reflection * mirrored_a;
                *g += reflection * mirrored_g;
            }
            if i + 1 == order {
                return order;
            }
            // The next order sees one sample less at each end.
            let (first, end) = (&x[..i + 2], &x[last - i - 1..]);
            for q in (1..i + 2).rev() {
                r[q] = r[q - 1] - x[q - 1] * first[i + 1] - x[last + 1 - q] * end[0];
            }
            r[0] = 2.0 * c[i + 2];
            let forward: f64 = a.iter().zip(first.iter().rev()).map(|(a, x)| a * x).sum();
            let backward: f64 = a.iter().zip(end).map(|(a, x)| a * x).sum();
            for ((g, first), end) in g.iter_mut().zip(first.iter().rev()).zip(end) {
                *g -= first * forward + end * backward;
            }
            g[i + 2] = a[..i + 2].iter().zip(&r[..i + 2]).map(|(a, r)| a * r).sum();
        }
        order
    }
}

/// `result[lag] = Σ x[n]·x[n + lag]`.
fn autocorrelate(x: &[f64], result: &mut [f64]) {
    for (group, result) in result.as_chunks_mut::<LAGS>().0.iter_mut().enumerate() {
        let mut sums = [0.0; LAGS];
        let later = x.get(group * LAGS..).unwrap_or_default();
        for (x, later) in x.iter().zip(later.windows(LAGS)) {
            for (sum, later) in sums.iter_mut().zip(later) {
                *sum += x * later;
            }
        }
        // Where the windows no longer fit.
        for n in later.len().saturating_sub(LAGS - 1)..later.len() {
            for (sum, later) in sums.iter_mut().zip(&later[n..]) {
                *sum += x[n] * later;
            }
        }
        *result = sums;
    }
}

/// Carries a signal on by weights of [`Burg`].
#[derive(Clone, Debug)]
pub struct Extrapolation {
    /// The oldest sample's weight first.
    weights: Box<[f64]>,
    /// The last samples twice over, so that from `next` on they lie in a row, the oldest first.
    samples: Box<[f64]>,
    next: usize,
}

impl Extrapolation {
    /// Of `order` weights; silent.
    ///
    /// *Realtime-safe: no*, it allocates.
    #[must_use]
    pub fn new(order: usize) -> Self {
        let order = order.max(1);
        Self { weights: vec![0.0; order].into(), samples: vec![0.0; 2 * order].into(), next: 0 }
    }

    /// Begins after `samples` by `weights`, as [`Burg::fit`] gives them, with weight `k` times `dampingᵏ`: each pole is
    /// drawn inwards by that factor, so that what would sound on dies away. What is missing of either is zero.
    ///
    /// *Realtime-safe: yes*.
    pub fn begin(&mut self, samples: &[f64], weights: &[f64], damping: f64) {
        self.reset();
        let mut factor = 1.0;
        for (own, weight) in self.weights.iter_mut().rev().zip(weights) {
            factor *= damping;
            *own = factor * weight;
        }
        let (first, second) = self.samples.split_at_mut(self.weights.len());
        for ((first, second), sample) in first.iter_mut().zip(second).rev().zip(samples.iter().rev()) {
            (*first, *second) = (*sample, *sample);
        }
    }

    /// The next sample, held between −`limit` and `limit`.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn next_sample(&mut self, limit: f64) -> f64 {
        let order = self.weights.len();
        let sample = dot(&self.weights, &self.samples[self.next..self.next + order]).max(-limit).min(limit);
        self.samples[self.next] = sample;
        self.samples[self.next + order] = sample;
        self.next = (self.next + 1) % order;
        sample
    }

    /// Silent again.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        self.weights.fill(0.0);
        self.samples.fill(0.0);
        self.next = 0;
    }
}

/// In lanes of its own order, which the compiler may not choose for floating point.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LAGS>(), b.as_chunks::<LAGS>());
    let mut sums = [0.0; LAGS];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::White;

    fn noise(length: usize, seed: u64) -> Vec<f64> {
        let mut white = White::new(seed);
        (0..length).map(|_| f64::from(white.next_sample())).collect()
    }

    /// Burg's method as he gave it: forward and backward errors, kept.
    fn burg(x: &[f64], order: usize) -> Vec<f64> {
        let (mut forward, mut backward) = (x.to_vec(), x.to_vec());
        let mut a = vec![1.0];
        for i in 0..order {
            let pairs = || forward[i + 1..].iter().zip(&backward[i..x.len() - 1]);
            let common: f64 = pairs().map(|(f, b)| f * b).sum();
            let energy: f64 = pairs().map(|(f, b)| f * f + b * b).sum();
            let reflection = -2.0 * common / energy;
            for n in (i + 1..x.len()).rev() {
                let (f, b) = (forward[n], backward[n - 1]);
                forward[n] = f + reflection * b;
                backward[n] = b + reflection * f;
            }
            a.push(0.0);
            let mirrored: Vec<f64> = a.iter().rev().copied().collect();
            a.iter_mut().zip(mirrored).for_each(|(a, m)| *a += reflection * m);
        }
        a[1..].iter().map(|a| -a).collect()
    }

    #[test]
    fn the_fast_way_finds_what_burg_finds() {
        for (order, length) in [(1, 40), (2, 100), (7, 61), (32, 500), (64, 960)] {
            // Noise with a spectrum: a resonance, then a slope.
            let mut x = noise(length, 3);
            for n in 2..length {
                x[n] += 1.6 * x[n - 1] - 0.9 * x[n - 2];
            }
            let mut weights = vec![0.0; order];
            Burg::new(order).fit(&x, &mut weights);
            for (found, expected) in weights.iter().zip(burg(&x, order)) {
                assert!((found - expected).abs() < 1e-6, "{found} for {expected}, order {order}");
            }
        }
    }

    #[test]
    fn sinusoids_go_on_as_they_were() {
        // The closer and the lower they are, the less the weights can tell them apart.
        fn check(partials_hz: &[f64], snr_min_db: f64) {
            let partial = |hz: f64, n: usize| (std::f64::consts::TAU * hz / 48_000.0 * n as f64 + hz).sin();
            let signal = |n| partials_hz.iter().map(|&hz| 0.2 * partial(hz, n)).sum();
            let x: Vec<f64> = (0..1440).map(signal).collect();
            let mut weights = [0.0; 32];
            Burg::new(32).fit(&x[..960], &mut weights);
            let mut extrapolation = Extrapolation::new(32);
            extrapolation.begin(&x[..960], &weights, 1.0);
            let (mut error, mut power) = (0.0, 0.0);
            for x in &x[960..] {
                error += (extrapolation.next_sample(2.0) - x).powi(2);
                power += x.powi(2);
            }
            let snr_db = 10.0 * (power / error).log10();
            assert!(snr_db > snr_min_db, "{partials_hz:?}: {snr_db} dB over 10 ms");
        }
        check(&[1000.0], 40.0);
        check(&[1000.0, 3500.0, 8000.0, 15_000.0], 35.0);
        check(&[440.0, 660.0, 1000.0, 3500.0], 15.0);
    }

    #[test]
    fn what_cannot_be_predicted_is_silence() {
        let mut weights = [1.0; 8];
        for samples in [&[0.0; 100][..], &[f64::NAN; 100], &[1.0; 15], &[]] {
            Burg::new(8).fit(samples, &mut weights);
            assert_eq!(weights, [0.0; 8]);
        }
    }

    #[test]
    fn never_louder_than_its_limit() {
        let mut extrapolation = Extrapolation::new(3);
        extrapolation.begin(&[0.5], &[1.1, 0.0, 0.0], 1.0);
        assert_eq!(extrapolation.next_sample(1.0), 0.55);
        assert!((0..1000).all(|_| extrapolation.next_sample(1.0) <= 1.0));
        extrapolation.begin(&[0.5], &[1.0], 0.5);
        assert_eq!([(); 3].map(|()| extrapolation.next_sample(1.0)), [0.25, 0.125, 0.0625]);
        extrapolation.reset();
        assert_eq!(extrapolation.next_sample(1.0), 0.0);
    }
}
