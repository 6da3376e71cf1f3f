//! Where one recording lies within another by cross-correlation: for copies that are not exact.

use crate::audio::Audio;

/// Longest stretch of the source that is correlated, in frames.
const STRETCH_FRAMES: usize = 1 << 15;
/// The correlation coefficient below which the recordings are held to be unrelated.
const COEFFICIENT_MIN: f64 = 0.5;

/// Index in `received` minus index in `source` at the highest correlation of their mono sums, found by the loudest
/// stretch of the source. `None` where nothing in `received` resembles it.
pub(crate) fn offset(source: &Audio, received: &Audio) -> Option<i64> {
    let (source, received) = (mono(source), mono(received));
    let at = loudest(&source)?;
    let stretch = &source[at..(at + STRETCH_FRAMES).min(source.len())];
    let size = (received.len() + stretch.len()).next_power_of_two();
    let mut signal = Spectrum::of(&received, size);
    let pattern = Spectrum::of(stretch, size);
    signal.times_conjugate(&pattern);
    let products = signal.inverse();
    // A stretch may begin before the recording does: those offsets lie at the end of the circle.
    let lags = size - stretch.len()..size;
    let best = (0..received.len()).chain(lags).max_by(|a, b| products[*a].total_cmp(&products[*b]))?;
    let place = if best < received.len() {
        i64::try_from(best).ok()?
    } else {
        i64::try_from(best).ok()?.checked_sub(i64::try_from(size).ok()?)?
    };
    let energy = |samples: &[f64]| samples.iter().map(|sample| sample * sample).sum::<f64>();
    let from = usize::try_from(place.max(0)).ok()?;
    let to = usize::try_from(place.checked_add(i64::try_from(stretch.len()).ok()?)?).ok()?;
    let there = received.get(from..to.min(received.len()))?;
    let coefficient = products[best] / (energy(stretch) * energy(there)).sqrt();
    (coefficient >= COEFFICIENT_MIN).then(|| i64::try_from(at).ok().map(|at| place - at)).flatten()
}

fn mono(audio: &Audio) -> Vec<f64> {
    (0..audio.frames())
        .map(|frame| audio.channels.iter().map(|channel| f64::from(channel[frame])).sum())
        .collect()
}

fn loudest(samples: &[f64]) -> Option<usize> {
    let energies = samples.chunks(STRETCH_FRAMES).map(|chunk| chunk.iter().map(|x| x * x).sum::<f64>());
    let (index, energy) = energies.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (energy > 0.0).then_some(index * STRETCH_FRAMES)
}

struct Spectrum {
    real: Vec<f64>,
    imaginary: Vec<f64>,
}

impl Spectrum {
    fn of(samples: &[f64], size: usize) -> Self {
        let mut real = samples.to_vec();
        real.resize(size, 0.0);
        let mut spectrum = Self { real, imaginary: vec![0.0; size] };
        spectrum.transform();
        spectrum
    }

    fn times_conjugate(&mut self, other: &Self) {
        for index in 0..self.real.len() {
            let (a, b) = (self.real[index], self.imaginary[index]);
            let (c, d) = (other.real[index], -other.imaginary[index]);
            self.real[index] = a * c - b * d;
            self.imaginary[index] = a * d + b * c;
        }
    }

    /// The inverse transform's real part, by the forward one of the conjugate.
    fn inverse(mut self) -> Vec<f64> {
        self.imaginary.iter_mut().for_each(|value| *value = -*value);
        self.transform();
        let size = self.real.len();
        let scale = (0..size.trailing_zeros()).fold(1.0, |scale, _| scale / 2.0);
        self.real.iter_mut().for_each(|value| *value *= scale);
        self.real
    }

    /// Cooley and Tukey's transform, radix 2, in place.
    fn transform(&mut self) {
        let size = self.real.len();
        let bits = size.trailing_zeros();
        for index in 0..size {
            let swapped = index.reverse_bits() >> (usize::BITS - bits).min(usize::BITS - 1);
            if swapped > index {
                self.real.swap(index, swapped);
                self.imaginary.swap(index, swapped);
            }
        }
        let mut half = 1;
        let mut turn = -std::f64::consts::PI;
        while half < size {
            for position in 0..half {
                let (sine, cosine) = (turn * float(position)).sin_cos();
                for low in (position..size).step_by(half * 2) {
                    self.butterfly(low, low + half, cosine, sine);
                }
            }
            half *= 2;
            turn /= 2.0;
        }
    }

    fn butterfly(&mut self, low: usize, high: usize, cosine: f64, sine: f64) {
        let real = self.real[high] * cosine - self.imaginary[high] * sine;
        let imaginary = self.real[high] * sine + self.imaginary[high] * cosine;
        self.real[high] = self.real[low] - real;
        self.imaginary[high] = self.imaginary[low] - imaginary;
        self.real[low] += real;
        self.imaginary[low] += imaginary;
    }
}

#[allow(clippy::cast_precision_loss, reason = "an index below 2^53")]
fn float(index: usize) -> f64 {
    index as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::phrase;

    #[test]
    fn a_quieter_copy_with_noise_is_found_before_and_after() {
        let source = phrase(48_000, 2, 0.4);
        let check = |lead: usize, skip: usize, expected: i64| {
            let channels = source.channels.iter().map(|channel| {
                let noisy = channel.iter().enumerate().map(|(i, x)| x * 0.5 + 0.01 * float_noise(i));
                std::iter::repeat_n(0.0, lead).chain(noisy.skip(skip)).collect()
            });
            let received = Audio { sample_rate: 48_000, channels: channels.collect() };
            assert_eq!(offset(&source, &received), Some(expected));
        };
        check(333, 0, 333);
        check(0, 500, -500);
    }

    fn float_noise(index: usize) -> f32 {
        let hashed = u16::try_from((index.wrapping_mul(2_654_435_761) >> 8) & 0xffff).expect("16 bits");
        f32::from(hashed) / 65_536.0 - 0.5
    }

    #[test]
    fn silence_resembles_nothing() {
        assert_eq!(offset(&phrase(48_000, 1, 0.1), &Audio::silence(48_000, 1, 9000)), None);
    }
}
