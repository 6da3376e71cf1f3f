//! Noise that is the same for the same seed: white, pink, and dither.

use std::f64::consts::TAU;

use audiocloud_units::SampleRate;

/// White noise: uniform between −1 and 1, without a mean, at −4.8 dB RMS (1/√3).
///
/// Every sample is a function of the seed and of its frame alone, so it costs nothing to start anywhere.
#[derive(Clone, Debug)]
pub struct White {
    key: u64,
    frame: u64,
}

impl White {
    /// At frame 0. Two seeds give two unrelated signals, even when they are neighbours.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { key: key(seed), frame: 0 }
    }

    /// Goes to `frame`.
    ///
    /// *Realtime-safe: yes*.
    pub fn seek(&mut self, frame: u64) {
        self.frame = frame;
    }

    /// Back to frame 0.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        self.seek(0);
    }

    /// The next sample.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn next_sample(&mut self) -> f32 {
        let bits = random(self.key, self.frame);
        self.frame = self.frame.wrapping_add(1);
        uniform(bits >> 40)
    }

    /// Fills `samples` with the next ones.
    ///
    /// *Realtime-safe: yes*.
    pub fn fill(&mut self, samples: &mut [f32]) {
        for sample in samples {
            *sample = self.next_sample();
        }
    }
}

/// Pink noise: as much power in each octave as in the next, within ±0.1 dB of −3 dB per octave from 30 Hz to 15 kHz at any
/// sample rate from 44.1 kHz on; at −20 dB RMS (0.1), Gaussian, with peaks that hardly ever reach −6 dB.
///
/// White noise through poles and zeros that alternate along a logarithmic axis of frequency, whose steps of −6 and 0 dB per
/// octave average to the slope wanted: J. O. Smith and H. F. Smith, *Closed Form Fractional Integration and
/// Differentiation via Real Exponentially Spaced Pole-Zero Pairs*, arXiv:1606.06154, 2016.
#[derive(Clone, Debug)]
pub struct Pink {
    white: White,
    sections: Box<[Section]>,
    /// The sample before, for the zero at half the sample rate.
    before: f32,
    gain: f32,
}

/// The lowest pole: below it the spectrum is flat.
const PINK_LOWEST_HZ: f64 = 5.0;

/// From one pole to the next, two octaves. Closer ones would only smooth a ripple that is ±0.03 dB already.
const PINK_POLE_RATIO: f64 = 4.0;

/// A sampled pole's slope flattens towards half the sample rate, by the ratio of sin(ω/2) to ω/2 in power; a zero there,
/// with this weight, takes it down again. Chosen for the least greatest deviation up to 15 kHz at 44.1 kHz.
const PINK_NYQUIST_ZERO: f64 = 0.065;

/// The RMS of [`Pink`].
const PINK_RMS: f64 = 0.1;

impl Pink {
    /// At frame 0.
    ///
    /// *Realtime-safe: no*, it allocates.
    #[must_use]
    pub fn new(seed: u64, sample_rate: SampleRate) -> Self {
        let rate_hz = f64::from(sample_rate.hz());
        let poles_hz = std::iter::successors(Some(PINK_LOWEST_HZ), |hz| Some(hz * PINK_POLE_RATIO));
        let sections: Vec<(f64, f64)> = poles_hz
            .take_while(|&hz| hz < rate_hz)
            .map(|hz| {
                let zero_hz = hz * PINK_POLE_RATIO.sqrt();
                (libm::exp(-TAU * hz / rate_hz), libm::exp(-TAU * zero_hz / rate_hz))
            })
            .collect();
        // White noise of this density has a third of full scale's power.
        let rms = (power_gain(&sections) / 3.0).sqrt();
        Self {
            white: White::new(seed),
            sections: sections.iter().map(|&(pole, zero)| Section::new(pole, zero)).collect(),
            before: 0.0,
            gain: single(PINK_RMS / rms),
        }
    }

    /// Back to frame 0, with the filter at rest.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        self.white.reset();
        self.before = 0.0;
        for section in &mut self.sections {
            section.reset();
        }
    }

    /// The next sample.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn next_sample(&mut self) -> f32 {
        let white = self.white.next_sample();
        self.filter(white)
    }

    /// Fills `samples` with the next ones.
    ///
    /// *Realtime-safe: yes*.
    pub fn fill(&mut self, samples: &mut [f32]) {
        for sample in samples {
            *sample = self.next_sample();
        }
    }

    fn filter(&mut self, white: f32) -> f32 {
        let input = self.gain * white;
        let smoothed = input + single(PINK_NYQUIST_ZERO) * self.before;
        self.before = input;
        self.sections.iter_mut().fold(smoothed, |signal, section| section.process(signal))
    }
}

/// One pole and one zero: H(z) = (1 − `zero` z⁻¹) / (1 − `pole` z⁻¹).
#[derive(Clone, Debug)]
struct Section {
    pole: f32,
    zero: f32,
    input: f32,
    output: f32,
}

impl Section {
    fn new(pole: f64, zero: f64) -> Self {
        Self { pole: single(pole), zero: single(zero), input: 0.0, output: 0.0 }
    }

    fn process(&mut self, input: f32) -> f32 {
        self.output = input - self.zero * self.input + self.pole * self.output;
        self.input = input;
        self.output
    }

    fn reset(&mut self) {
        self.input = 0.0;
        self.output = 0.0;
    }
}

/// How much power the filter of these (pole, zero) lets through of white noise: the mean of its squared magnitude over
/// frequency, by the midpoint rule on an axis that is logarithmic as the filter is.
fn power_gain(sections: &[(f64, f64)]) -> f64 {
    const STEPS: u32 = 1000;
    /// Down to 1e-8 of the sample rate, which at 1 MHz is far below the lowest pole.
    const LOWEST: f64 = 5e-8;
    // |1 − c·e^(−jω)|²
    let squared = |c: f64, cosine: f64| 1.0 + c * c - 2.0 * c * cosine;
    let ratio = libm::pow(LOWEST, 1.0 / f64::from(STEPS));
    let steps = std::iter::successors(Some(1.0), |upper| Some(upper * ratio)).take(STEPS as usize);
    steps.fold(0.0, |sum, upper| {
        // From `lower` to `upper` of half the sample rate.
        let lower = upper * ratio;
        let cosine = libm::cos(std::f64::consts::PI * (lower * upper).sqrt());
        let numerator = squared(-PINK_NYQUIST_ZERO, cosine);
        let power = sections
            .iter()
            .fold(numerator, |power, &(pole, zero)| power * squared(zero, cosine) / squared(pole, cosine));
        sum + power * (upper - lower)
    })
}

/// Dither for a signal about to be rounded to fewer bits: triangular over ±1 step of the coarse scale, white.
///
/// Added before rounding, it makes the mean and the power of the error independent of the signal, at 4.8 dB more noise
/// than rounding alone: S. P. Lipshitz, R. A. Wannamaker and J. Vanderkooy, *Quantization and Dither: A Theoretical
/// Survey*, J. Audio Eng. Soc. 40(5), 1992.
#[derive(Clone, Debug)]
pub struct Dither {
    key: u64,
    frame: u64,
    step: f32,
}

impl Dither {
    /// For samples from −1 to 1 about to be rounded to `bits` bits, at most 24, which is as fine as the signal itself.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn new(seed: u64, bits: u32) -> Self {
        let steps = 1_u32 << bits.clamp(1, 24).saturating_sub(1);
        Self { key: key(seed), frame: 0, step: 1.0 / steps as f32 }
    }

    /// The step of the coarse scale: full scale over 2^(bits − 1).
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub const fn step(&self) -> f32 {
        self.step
    }

    /// Goes to `frame`.
    ///
    /// *Realtime-safe: yes*.
    pub fn seek(&mut self, frame: u64) {
        self.frame = frame;
    }

    /// Back to frame 0.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        self.seek(0);
    }

    /// Adds the next of the dither to each of `samples`.
    ///
    /// *Realtime-safe: yes*.
    pub fn add(&mut self, samples: &mut [f32]) {
        for sample in samples {
            let bits = random(self.key, self.frame);
            self.frame = self.frame.wrapping_add(1);
            // The sum of two uniform numbers that do not know of each other is triangular.
            let triangular = 0.5 * (uniform(bits >> 40) + uniform(bits & 0xFF_FFFF));
            *sample += self.step * triangular;
        }
    }
}

/// What [`random`] counts from for a seed, so scattered that the counts from two seeds do not meet.
pub(crate) fn key(seed: u64) -> u64 {
    scatter(seed)
}

/// 64 random bits for an index: SplitMix64 from the state `key`, whose n-th output is a function of n. It passes BigCrush.
///
/// G. L. Steele, D. Lea and C. H. Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014.
pub(crate) fn random(key: u64, index: u64) -> u64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    scatter(key.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN)))
}

/// The finalizer of SplitMix64: each bit of the result depends on each of `bits`.
fn scatter(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// A number between −1 and 1 for 24 bits: odd multiples of 2⁻²⁴, as an `f32` holds them exactly, and which are symmetric.
pub(crate) fn uniform(bits: u64) -> f32 {
    const HALF: i32 = 1 << 24;
    #[allow(clippy::cast_possible_truncation, reason = "masked to 24 bits")]
    let bits = (bits & 0xFF_FFFF) as i32;
    (2 * bits + 1 - HALF) as f32 / HALF as f32
}

#[allow(clippy::cast_possible_truncation, reason = "a coefficient, rounded to the precision of the signal")]
fn single(coefficient: f64) -> f32 {
    coefficient as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(hz: u32) -> SampleRate {
        SampleRate::new(hz).unwrap()
    }

    fn mean_square(samples: &[f32]) -> f64 {
        samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / samples.len() as f64
    }

    #[test]
    fn random_is_splitmix64() {
        // The outputs that Vigna's reference in C is published with, for state 1234567.
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        for (index, expected) in (0..).zip(expected) {
            assert_eq!(random(1_234_567, index), expected);
        }
    }

    #[test]
    fn uniform_is_symmetric_and_inside() {
        assert_eq!(uniform(0), -uniform(0xFF_FFFF));
        assert_eq!(uniform(0xFF_FFFF), 1.0 - 2.0_f32.powi(-24));
        assert_eq!(uniform(1 << 23), 2.0_f32.powi(-24));
    }

    #[test]
    fn white_has_its_level_and_no_memory() {
        let mut samples = vec![0.0; 1 << 18];
        White::new(7).fill(&mut samples);
        let mean = samples.iter().map(|&sample| f64::from(sample)).sum::<f64>() / samples.len() as f64;
        assert!(mean.abs() < 0.004, "{mean}");
        assert!((mean_square(&samples) * 3.0 - 1.0).abs() < 0.01);
        for lag in [1, 2, 3, 64, 1000] {
            let products = samples.iter().zip(&samples[lag..]).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let correlation = 3.0 * products / samples.len() as f64;
            assert!(correlation.abs() < 0.01, "at lag {lag}: {correlation}");
        }
        // Neighbouring seeds are unrelated.
        let mut others = vec![0.0; 1 << 18];
        White::new(8).fill(&mut others);
        let products = samples.iter().zip(&others).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        assert!((3.0 * products / samples.len() as f64).abs() < 0.01);
    }

    #[test]
    fn white_and_dither_start_anywhere() {
        let mut whole = [0.0; 300];
        White::new(1).fill(&mut whole);
        let mut part = [0.0; 100];
        let mut white = White::new(1);
        white.seek(123);
        white.fill(&mut part);
        assert_eq!(whole[123..223], part);

        let mut whole = [0.0; 300];
        Dither::new(1, 16).add(&mut whole);
        let mut part = [0.0; 100];
        let mut dither = Dither::new(1, 16);
        dither.seek(123);
        dither.add(&mut part);
        assert_eq!(whole[123..223], part);
    }

    /// The magnitude of the pink filter at a frequency, in dB, from the response of the code itself to an impulse.
    fn pink_magnitude_db(impulse_response: &[f32], hz: f64, rate_hz: u32) -> f64 {
        let (step_sin, step_cos) = (TAU * hz / f64::from(rate_hz)).sin_cos();
        let (mut sin, mut cos) = (0.0, 1.0);
        let (mut real, mut imaginary) = (0.0, 0.0);
        for &sample in impulse_response {
            real += f64::from(sample) * cos;
            imaginary += f64::from(sample) * sin;
            (sin, cos) = (sin * step_cos + cos * step_sin, cos * step_cos - sin * step_sin);
        }
        10.0 * (real * real + imaginary * imaginary).log10()
    }

    #[test]
    fn pink_falls_by_3_db_per_octave() {
        for (rate_hz, frames) in [(44_100, 30_000), (48_000, 30_000), (96_000, 60_000), (192_000, 120_000)] {
            let mut pink = Pink::new(0, rate(rate_hz));
            let impulse = std::iter::once(1.0).chain(std::iter::repeat(0.0));
            let response: Vec<f32> = impulse.take(frames).map(|sample| pink.filter(sample)).collect();
            let reference = pink_magnitude_db(&response, 1000.0, rate_hz);
            for third in 0..=27 {
                let hz = 30.0 * 2.0_f64.powf(f64::from(third) / 3.0);
                let error =
                    pink_magnitude_db(&response, hz, rate_hz) - reference + 10.0 * (hz / 1000.0).log10();
                assert!(error.abs() < 0.12, "{error} dB at {hz} Hz of {rate_hz} Hz");
            }
        }
    }

    #[test]
    fn pink_has_its_level_and_the_same_power_in_each_octave() {
        for rate_hz in [44_100, 48_000, 192_000] {
            let mut samples = vec![0.0; 1 << 20];
            Pink::new(3, rate(rate_hz)).fill(&mut samples);
            let rms_db = 10.0 * mean_square(&samples).log10();
            assert!((rms_db + 20.0).abs() < 0.3, "{rms_db} dB at {rate_hz} Hz");
            let peak = samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
            assert!((0.35..0.65).contains(&peak), "{peak}");
        }
    }

    #[test]
    fn pink_is_the_same_in_any_cut_and_after_a_reset() {
        let mut whole = vec![0.0; 1000];
        let mut pink = Pink::new(9, rate(48_000));
        pink.fill(&mut whole);
        for cut in [0, 1, 17, 500] {
            pink.reset();
            let mut parts = vec![0.0; 1000];
            let (first, second) = parts.split_at_mut(cut);
            pink.fill(first);
            pink.fill(second);
            assert!(whole.iter().zip(&parts).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn dither_makes_the_error_independent_of_the_signal() {
        let mut dither = Dither::new(5, 16);
        let step = dither.step();
        assert_eq!(step, 1.0 / 32_768.0);
        for fraction in [0.0, 0.1, 0.25, 0.5, 0.8] {
            let level = 100.0 * step + fraction * step;
            let mut samples = vec![level; 1 << 17];
            dither.add(&mut samples);
            let errors: Vec<f32> =
                samples.iter().map(|sample| (sample / step).round() - level / step).collect();
            let mean = errors.iter().map(|&error| f64::from(error)).sum::<f64>() / errors.len() as f64;
            assert!(mean.abs() < 0.01, "{fraction}: mean {mean}");
            // A quarter of a step squared: a twelfth of rounding and two twelfths of dither.
            assert!((mean_square(&errors) - 0.25).abs() < 0.01, "{fraction}: {}", mean_square(&errors));
        }
    }

    #[test]
    fn dither_takes_any_number_of_bits() {
        for (bits, expected) in
            [(0, 1.0), (1, 1.0), (8, 1.0 / 128.0), (24, 2.0_f32.powi(-23)), (99, 2.0_f32.powi(-23))]
        {
            assert_eq!(Dither::new(0, bits).step(), expected);
        }
    }
}
