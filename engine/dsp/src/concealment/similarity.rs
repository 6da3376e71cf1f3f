//! The stretch to repeat: where before the gap the sound was most like it was just before it.

/// What must resemble each other.
const TEMPLATE_MS: f64 = 10.0;

/// How far back: several periods of most voices and instruments, for a longer cycle buzzes less, and one of the lowest.
const LAG_MIN_MS: f64 = 5.0;
const LAG_MAX_MS: f64 = 20.0;

/// The first search is made at about this rate.
const COARSE_RATE_HZ: f64 = 8_000.0;

/// Lags that are summed side by side: what makes the correlation vector code.
const LAGS: usize = 8;

/// The lengths of a search, in frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spans {
    /// Frames for one of the coarse search.
    step: usize,
    /// In coarse frames.
    template: usize,
    lag_min: usize,
    lag_max: usize,
}

impl Spans {
    pub(super) fn new(rate_hz: f64) -> Self {
        let step = (super::whole(rate_hz / COARSE_RATE_HZ) as usize).max(1);
        let coarse = |ms: f64| (super::whole(ms * rate_hz / 1000.0) as usize).div_ceil(step).max(1);
        Self {
            step,
            template: coarse(TEMPLATE_MS),
            lag_min: coarse(LAG_MIN_MS),
            lag_max: coarse(LAG_MAX_MS).max(coarse(LAG_MIN_MS) + 1),
        }
    }

    /// The longest lag that is found.
    pub(super) fn lag_max(self) -> usize {
        self.lag_max * self.step + self.step
    }

    /// How many of the last frames a search looks at: enough for the template at the longest lag, and for two cycles.
    pub(super) fn past(self) -> usize {
        self.lag_max() + self.lag_max().max(self.template * self.step) + LAGS * self.step
    }
}

/// The search, with the memory it works in, and what it found last.
#[derive(Clone, Debug)]
pub(super) struct Similarity {
    spans: Spans,
    coarse: Box<[f32]>,
    /// For each lag: template times what lies there, and the power of what lies there.
    products: Box<[f32]>,
    powers: Box<[f32]>,
    pub(super) lag: usize,
    /// Of the repetition, 0 to 1, with which it is closest to what it repeats.
    pub(super) gain: f32,
}

impl Similarity {
    pub(super) fn new(spans: Spans) -> Self {
        let past = spans.past();
        let lags = (spans.lag_max - spans.lag_min + 1).max(2 * spans.step + 1);
        Self {
            spans,
            coarse: vec![0.0; past / spans.step].into(),
            products: vec![0.0; lags].into(),
            powers: vec![0.0; lags].into(),
            lag: 1,
            gain: 0.0,
        }
    }

    /// The lag at which `past`, the last frames of all channels, correlates most with itself, normalised: first at a coarse
    /// rate, then about there at the full one.
    pub(super) fn search(&mut self, past: &[f32]) {
        let Self { spans, coarse, products, powers, .. } = self;
        let (step, lags) = (spans.step, spans.lag_max - spans.lag_min + 1);
        // The mean of each step is filter enough: a wrong lag is off by what folds, which is the weakest.
        for (coarse, samples) in coarse.iter_mut().rev().zip(past.rchunks_exact(step)) {
            *coarse = samples.iter().sum();
        }
        correlate(coarse, spans.template, spans.lag_min, &mut products[..lags], &mut powers[..lags]);
        let found = (spans.lag_min + best(&products[..lags], &powers[..lags])) * step;
        let (lag_min, lags) = (found - step.min(found - 1), 2 * step + 1);
        correlate(past, spans.template * step, lag_min, &mut products[..lags], &mut powers[..lags]);
        let index = best(&products[..lags], &powers[..lags]);
        self.lag = (lag_min + index).min(spans.lag_max());
        self.gain = (products[index] / powers[index].max(1e-20)).clamp(0.0, 1.0);
    }

    /// The last `lag` of a channel's frames as a cycle: its last quarter is faded into what was a lag before, which is what
    /// leads to the cycle's beginning.
    pub(super) fn cut(&self, past: &[f32], cycle: &mut [f32]) {
        let lag = self.lag;
        let Some(start) = past.len().checked_sub(2 * lag) else { return };
        let (before, last) = past[start..].split_at(lag);
        let whole = lag - lag / 4;
        cycle[..lag].copy_from_slice(last);
        let fade = super::count(whole)..super::count(lag);
        for (position, (cycle, before)) in fade.clone().zip(cycle[whole..].iter_mut().zip(&before[whole..])) {
            *cycle += super::rise(position, &fade) * (before - *cycle);
        }
    }

    /// A channel's last frames without what the repetition would have made of them.
    pub(super) fn leave_over(&self, past: &[f32], samples: &mut [f64]) {
        let earlier = &past[..past.len() - self.lag];
        for ((sample, last), earlier) in
            samples.iter_mut().rev().zip(past.iter().rev()).zip(earlier.iter().rev())
        {
            *sample = f64::from(*last) - f64::from(self.gain * earlier);
        }
    }
}

/// The scalar product of two stretches of equal length.
pub(super) fn product(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LAGS>(), b.as_chunks::<LAGS>());
    let mut sums = [0.0_f32; LAGS];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.into_iter().sum::<f32>() + rest
}

/// Sets `products` and `powers` to those of the last `template` samples and what lies `lag_min` and more before.
fn correlate(samples: &[f32], template: usize, lag_min: usize, products: &mut [f32], powers: &mut [f32]) {
    let end = samples.len() - template;
    let last = &samples[end..];
    for (group, products) in products.chunks_mut(LAGS).enumerate() {
        // The longest lag of a group comes first in time.
        let Some(start) = end.checked_sub(lag_min + group * LAGS + LAGS - 1) else { return };
        let mut sums = [0.0_f32; LAGS];
        for (x, earlier) in last.iter().zip(samples[start..].windows(LAGS)) {
            for (sum, earlier) in sums.iter_mut().zip(earlier) {
                *sum += x * earlier;
            }
        }
        for (product, sum) in products.iter_mut().zip(sums.iter().rev()) {
            *product = *sum;
        }
    }
    let square = |index: usize| f64::from(samples[index]).powi(2);
    let mut start = end.saturating_sub(lag_min);
    let first = &samples[start..start + template];
    let mut power = f64::from(product(first, first));
    for result in powers {
        *result = super::single(power.max(0.0));
        // One more at the beginning, one less at the end.
        start = start.saturating_sub(1);
        power += square(start) - square(start + template);
    }
}

/// The index of the greatest normalised correlation. The template's own power is the same for all.
fn best(products: &[f32], powers: &[f32]) -> usize {
    // The square of the correlation orders them as well, and costs no root.
    let scores =
        products.iter().zip(powers).map(|(product, power)| product.max(0.0) * product / power.max(1e-20));
    let greatest = scores.enumerate().fold((0, 0.0), |(index, greatest), (candidate, score)| {
        if score > greatest { (candidate, score) } else { (index, greatest) }
    });
    greatest.0
}
