//! Linkwitz–Riley crossovers.
//!
//! Each band's edge is a Butterworth filter twice, 24 dB per octave: low and high are 6 dB down and in phase where they
//! meet, and their sum is an all-pass. Siegfried Linkwitz, *Active Crossover Networks for Noncoincident Drivers*,
//! J. Audio Eng. Soc. 24 (1976). With more than two bands, those that are done with pass an all-pass for each later
//! crossing, so that they stay in phase with the bands that go through it; the sum of all is flat again.

use crate::biquad::Shape;
use crate::svf::{Coefficients, Prototype, State};

/// As many bands as a [`Crossover`] can have.
pub const BANDS_MAX: usize = 4;
const CROSSINGS_MAX: usize = BANDS_MAX - 1;

/// 1 / Q of a Butterworth filter of second order.
const DAMPING: f32 = std::f32::consts::SQRT_2;

/// One channel, split into up to [`BANDS_MAX`] bands whose sum has the signal's magnitude at every frequency.
#[derive(Clone, Debug)]
pub struct Crossover {
    crossings: [Crossing; CROSSINGS_MAX],
    count: usize,
}

impl Crossover {
    /// Bands that meet at `frequencies_hz`, in rising order: one band more than there are frequencies, of which the
    /// first three count. Each is kept between a millionth and 49 % of the sample rate.
    ///
    /// *Realtime-safe: yes*.
    #[must_use]
    pub fn new(frequencies_hz: &[f64], sample_rate_hz: f64) -> Self {
        let crossing =
            |n: usize| Crossing::new(frequencies_hz.get(n).copied().unwrap_or(0.0), sample_rate_hz);
        Self { crossings: std::array::from_fn(crossing), count: frequencies_hz.len().min(CROSSINGS_MAX) }
    }

    /// Moves the frequencies, as many of them as there were, and forgets nothing.
    ///
    /// *Realtime-safe: yes*.
    pub fn tune(&mut self, frequencies_hz: &[f64], sample_rate_hz: f64) {
        for (crossing, frequency_hz) in self.crossings.iter_mut().zip(frequencies_hz) {
            crossing.coefficients = butterworth(*frequency_hz, sample_rate_hz);
        }
    }

    /// How many bands there are.
    #[must_use]
    pub fn band_count(&self) -> usize {
        self.count + 1
    }

    /// Splits `input` into `bands`, the lowest first. A band that this crossover does not have is silent; a band that
    /// is not asked for is lost; frames that `input` lacks are silent.
    ///
    /// *Realtime-safe: yes*.
    pub fn process(&mut self, input: &[f32], bands: &mut [&mut [f32]]) {
        for (frame, x) in input.iter().enumerate() {
            let split = self.step(*x);
            for (band, y) in bands.iter_mut().zip(split) {
                if let Some(sample) = band.get_mut(frame) {
                    *sample = y;
                }
            }
        }
        for (n, band) in bands.iter_mut().enumerate() {
            let written = if n < BANDS_MAX { input.len().min(band.len()) } else { 0 };
            band[written..].fill(0.0);
        }
    }

    /// Splits a sample; bands that are not there are 0.
    ///
    /// *Realtime-safe: yes*.
    pub fn step(&mut self, x: f32) -> [f32; BANDS_MAX] {
        let mut bands = [0.0; BANDS_MAX];
        bands[0] = x;
        for (n, crossing) in self.crossings[..self.count].iter_mut().enumerate() {
            let (done, rest) = bands.split_at_mut(n);
            for (band, state) in done.iter_mut().zip(&mut crossing.compensations) {
                *band = all_pass(&crossing.coefficients, state, *band);
            }
            (rest[0], rest[1]) = crossing.split(rest[0]);
        }
        bands
    }

    /// Forgets every sample.
    ///
    /// *Realtime-safe: yes*.
    pub fn reset(&mut self) {
        for crossing in &mut self.crossings {
            *crossing = Crossing::with(crossing.coefficients);
        }
    }
}

/// Where two bands meet.
#[derive(Clone, Copy, Debug)]
struct Crossing {
    coefficients: Coefficients,
    /// The first Butterworth filter of both bands: they come out of the same integrators.
    shared: State,
    low: State,
    high: State,
    /// The all-passes of the bands below.
    compensations: [State; CROSSINGS_MAX - 1],
}

impl Crossing {
    fn new(frequency_hz: f64, sample_rate_hz: f64) -> Self {
        Self::with(butterworth(frequency_hz, sample_rate_hz))
    }

    fn with(coefficients: Coefficients) -> Self {
        let silent = State::default();
        Self {
            coefficients,
            shared: silent,
            low: silent,
            high: silent,
            compensations: [silent; CROSSINGS_MAX - 1],
        }
    }

    /// The low and the high side of a sample.
    fn split(&mut self, x: f32) -> (f32, f32) {
        let (band, low) = self.coefficients.solve(&mut self.shared, x);
        let high = high_pass(x, band, low);
        let (_, low) = self.coefficients.solve(&mut self.low, low);
        let (band, below) = self.coefficients.solve(&mut self.high, high);
        (low, high_pass(high, band, below))
    }
}

fn butterworth(frequency_hz: f64, sample_rate_hz: f64) -> Coefficients {
    let q = std::f64::consts::FRAC_1_SQRT_2;
    Prototype::new(Shape::LowPass, q, 0.0, sample_rate_hz).at(frequency_hz)
}

fn high_pass(x: f32, band: f32, low: f32) -> f32 {
    x - (DAMPING * band + low)
}

fn all_pass(coefficients: &Coefficients, state: &mut State, x: f32) -> f32 {
    let (band, _) = coefficients.solve(state, x);
    x - 2.0 * DAMPING * band
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::biquad::tests::{decibels, noise};
    use proptest::prelude::*;

    const RATE: f64 = 48_000.0;
    const FRAMES: usize = 24_000;

    /// The impulse responses of all bands.
    fn responses(frequencies_hz: &[f64]) -> Vec<Vec<f32>> {
        let mut crossover = Crossover::new(frequencies_hz, RATE);
        let mut impulse = vec![0.0; FRAMES];
        impulse[0] = 1.0;
        let mut bands = vec![vec![f32::NAN; FRAMES]; crossover.band_count()];
        let mut slices: Vec<&mut [f32]> = bands.iter_mut().map(Vec::as_mut_slice).collect();
        crossover.process(&impulse, &mut slices);
        bands
    }

    fn level_db(response: &[f32], frequency_hz: f64) -> f64 {
        let angle = std::f64::consts::TAU * frequency_hz / RATE;
        let (mut re, mut im) = (0.0, 0.0);
        for (k, sample) in response.iter().enumerate() {
            re += f64::from(*sample) * (angle * k as f64).cos();
            im += f64::from(*sample) * (angle * k as f64).sin();
        }
        decibels(re.hypot(im))
    }

    #[test]
    fn the_sum_is_flat() {
        for frequencies_hz in [&[] as &[f64], &[30.0], &[1000.0], &[200.0, 3000.0], &[60.0, 90.0, 10_000.0]] {
            let bands = responses(frequencies_hz);
            let sum: Vec<f32> = (0..FRAMES).map(|k| bands.iter().map(|band| band[k]).sum()).collect();
            for step in 0..=30 {
                let frequency = 10.0 * 10_f64.powf(f64::from(step) * 0.11);
                let level = level_db(&sum, frequency);
                assert!(level.abs() < 0.001, "{frequencies_hz:?}, {frequency} Hz: {level} dB");
            }
        }
    }

    #[test]
    fn bands_meet_six_decibels_down_and_fall_by_twenty_four_per_octave() {
        for (n, crossing) in [100.0, 1000.0].into_iter().enumerate() {
            let bands = responses(&[100.0, 1000.0]);
            for band in &bands[n..=n + 1] {
                let level = level_db(band, crossing);
                assert!((level + 6.0206).abs() < 0.05, "{crossing} Hz: {level} dB");
            }
        }
        let [low, high] = &responses(&[500.0])[..] else { panic!("two bands") };
        let warp = |hz: f64| (std::f64::consts::PI * hz / RATE).tan();
        for frequency in [50.0, 100.0, 250.0, 1000.0, 4000.0, 10_000.0] {
            let ratio = warp(frequency) / warp(500.0);
            let low_db = -decibels(1.0 + ratio.powi(4));
            assert!((level_db(low, frequency) - low_db).abs() < 0.05, "{frequency} Hz, low");
            let high_db = low_db + decibels(ratio.powi(4));
            assert!((level_db(high, frequency) - high_db).abs() < 0.05, "{frequency} Hz, high");
        }
    }

    #[test]
    fn too_many_bands_or_frames_are_silent_and_too_few_are_no_trouble() {
        let mut bands = vec![vec![f32::NAN; 10]; 6];
        let mut slices: Vec<&mut [f32]> = bands.iter_mut().map(Vec::as_mut_slice).collect();
        Crossover::new(&[1000.0], RATE).process(&[1.0; 8], &mut slices);
        assert!(bands[..2].iter().all(|band| band[..8].iter().all(|sample| *sample != 0.0)));
        assert!(bands.iter().all(|band| band[8..] == [0.0, 0.0]));
        assert!(bands[2..].iter().all(|band| *band == [0.0; 10]));
        Crossover::new(&[1000.0, 2000.0], RATE).process(&[1.0; 8], &mut [&mut [0.0; 3]]);
        Crossover::new(&[1000.0; 9], RATE).process(&[1.0; 8], &mut []);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_bits_and_a_reset_starts_afresh(
            seed: u32,
            cuts in prop::collection::vec(0_usize..50, 0..10),
        ) {
            let mut crossover = Crossover::new(&[150.0, 1200.0, 9000.0], RATE);
            let signal = noise(cuts.iter().sum(), seed);
            let whole: Vec<[f32; 4]> = signal.iter().map(|x| crossover.step(*x)).collect();
            crossover.reset();
            let mut start = 0;
            for length in cuts {
                let mut bands = vec![vec![f32::NAN; length]; 4];
                let mut slices: Vec<&mut [f32]> = bands.iter_mut().map(Vec::as_mut_slice).collect();
                crossover.process(&signal[start..start + length], &mut slices);
                for (k, expected) in whole[start..start + length].iter().enumerate() {
                    prop_assert!((0..4).all(|band| bands[band][k].to_bits() == expected[band].to_bits()));
                }
                start += length;
            }
        }
    }
}
