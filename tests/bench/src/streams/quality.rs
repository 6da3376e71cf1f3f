//! How near a received signal comes to the one that was sent, for codecs that keep the sound and not the samples.
//!
//! *Segmental signal-to-noise ratio*: the mean over frames of 20 ms that are not silent, each held between -10 and 35 dB.
//!
//! *Noise-to-mask ratio*: ITU-R BS.1387's, by the FFT-based ear model of its basic version, as P. Kabal, An Examination and
//! Interpretation of ITU-R BS.1387 (2003), writes it out: what is wrong in each quarter of a Bark, against what the right
//! signal masks there. Negative means that the error is, on the whole, not heard.

use std::f64::consts::TAU;
use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};
use serde::Serialize;

use super::signal::{SAMPLE_RATE_HZ, count};

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Quality {
    pub(crate) segmental_snr_db: f64,
    pub(crate) noise_to_mask_db: f64,
}

/// How near `received` comes to `expected`, sample for sample aligned.
pub(crate) fn of(expected: &[f64], received: &[f32]) -> Option<Quality> {
    let received: Vec<f64> = received.iter().map(|sample| f64::from(*sample)).collect();
    Some(Quality {
        segmental_snr_db: segmental_snr_db(expected, &received)?,
        noise_to_mask_db: Ear::new().noise_to_mask_db(expected, &received)?,
    })
}

const SEGMENT: usize = 960;
/// Segments quieter than this against the whole say nothing.
const SILENT_DB: f64 = -40.0;

fn segmental_snr_db(expected: &[f64], received: &[f64]) -> Option<f64> {
    let energy = |samples: &[f64]| samples.iter().map(|x| x * x).sum::<f64>() / count(samples.len().max(1));
    let least = energy(expected) * 10_f64.powf(SILENT_DB / 10.0);
    let (mut sum, mut segments) = (0.0, 0);
    for (right, heard) in expected.chunks_exact(SEGMENT).zip(received.chunks_exact(SEGMENT)) {
        let level = energy(right);
        if level > least {
            let wrong: Vec<f64> = right.iter().zip(heard).map(|(a, b)| a - b).collect();
            sum += (10.0 * (level / energy(&wrong).max(1e-20)).log10()).clamp(-10.0, 35.0);
            segments += 1;
        }
    }
    (segments > 0).then(|| sum / f64::from(segments))
}

const FRAME: usize = 2048;
const BANDS: usize = 109;
const BARK_PER_BAND: f64 = 0.25;
const LOWEST_HZ: f64 = 80.0;
const HIGHEST_HZ: f64 = 18_000.0;
/// What a sine of full scale is taken for, dB SPL.
const FULL_SCALE_DB: f64 = 92.0;
/// How excitations of several bands add.
const ADDITION: f64 = 0.4;

/// The FFT-based ear model.
struct Ear {
    fft: Arc<dyn Fft<f64>>,
    window: Vec<f64>,
    /// Of each bin: outer and middle ear, as a factor of power.
    weights: Vec<f64>,
    /// Of each band: edges and middle in Hz.
    bands: Vec<[f64; 3]>,
    internal_noise: Vec<f64>,
    /// Of each band: how excitation dies away from one frame to the next.
    decay: Vec<f64>,
    /// Of each band: what masks is so much weaker than the excitation.
    masking: Vec<f64>,
    /// Spread of an excitation of 0 dB in every band.
    flat: Vec<f64>,
}

impl Ear {
    fn new() -> Self {
        let fft = FftPlanner::new().plan_fft_forward(FRAME);
        // Of unit gain at a full sine's peak, and then what that is in dB SPL.
        let gain = 4.0 / count(FRAME) * 10_f64.powf(FULL_SCALE_DB / 20.0);
        let hann = |n: usize| (0.5 - 0.5 * (TAU * count(n) / count(FRAME)).cos()) * gain;
        let weight = |bin: usize| {
            let khz = (hertz(count(bin)) / 1e3).max(1e-3);
            let db =
                -2.184 * khz.powf(-0.8) + 6.5 * (-0.6 * (khz - 3.3).powi(2)).exp() - 0.001 * khz.powf(3.6);
            10_f64.powf(db / 10.0)
        };
        let edge = |band: usize| {
            let from = bark(LOWEST_HZ);
            let width = (bark(HIGHEST_HZ) - from) / count(BANDS);
            650.0 * ((from + width * count(band)) / 7.0).sinh()
        };
        let bands: Vec<[f64; 3]> = (0..BANDS)
            .map(|band| {
                let (low, high) = (edge(band), edge(band + 1));
                [low, high, 650.0 * ((bark(low) + bark(high)) / 14.0).sinh()]
            })
            .collect();
        let noise = |hz: f64| 10_f64.powf(0.1456 * (hz / 1e3).powf(-0.8));
        let decay = |hz: f64| {
            let seconds = 0.008 + 100.0 / hz * (0.030 - 0.008);
            (-hop_seconds() / seconds).exp()
        };
        let masking = |band: usize| {
            let from_lowest = count(band) * BARK_PER_BAND;
            10_f64.powf(-(if from_lowest <= 12.0 { 3.0 } else { 0.25 * from_lowest }) / 10.0)
        };
        let mut ear = Self {
            fft,
            window: (0..FRAME).map(hann).collect(),
            weights: (0..=FRAME / 2).map(weight).collect(),
            internal_noise: bands.iter().map(|band| noise(band[2])).collect(),
            decay: bands.iter().map(|band| decay(band[2])).collect(),
            masking: (0..BANDS).map(masking).collect(),
            flat: vec![1.0; BANDS],
            bands,
        };
        ear.flat = ear.spread(&[1.0; BANDS]);
        ear
    }

    fn noise_to_mask_db(&self, expected: &[f64], received: &[f64]) -> Option<f64> {
        let mut excitation = vec![0.0; BANDS];
        let (mut sum, mut frames) = (0.0, 0);
        for from in (0..expected.len().min(received.len()).saturating_sub(FRAME)).step_by(FRAME / 2) {
            let right = self.magnitudes(&expected[from..from + FRAME]);
            let heard = self.magnitudes(&received[from..from + FRAME]);
            let wrong: Vec<f64> = right.iter().zip(&heard).map(|(a, b)| (a - b).powi(2)).collect();
            let powers: Vec<f64> = right.iter().map(|a| a * a).collect();
            let mut pitch = self.in_bands(&powers);
            for (power, noise) in pitch.iter_mut().zip(&self.internal_noise) {
                *power += noise;
            }
            let spread = self.spread(&pitch);
            for band in 0..BANDS {
                let now = spread[band];
                let kept = self.decay[band] * excitation[band] + (1.0 - self.decay[band]) * now;
                excitation[band] = now.max(kept);
            }
            let errors = self.in_bands(&wrong);
            let ratios = (0..BANDS).map(|band| errors[band] / (self.masking[band] * excitation[band]));
            sum += ratios.sum::<f64>() / count(BANDS);
            frames += 1;
        }
        (frames > 0).then(|| 10.0 * (sum / f64::from(frames)).max(1e-12).log10())
    }

    /// Of each bin, after outer and middle ear.
    fn magnitudes(&self, samples: &[f64]) -> Vec<f64> {
        let windowed = samples.iter().zip(&self.window).map(|(x, w)| Complex::new(x * w, 0.0));
        let mut spectrum: Vec<Complex<f64>> = windowed.collect();
        self.fft.process(&mut spectrum);
        spectrum.iter().zip(&self.weights).map(|(bin, weight)| (bin.norm_sqr() * weight).sqrt()).collect()
    }

    /// Powers of bins summed into bands; a bin at an edge is shared.
    fn in_bands(&self, powers: &[f64]) -> Vec<f64> {
        let sum = |[low, high, _]: &[f64; 3]| {
            let covered = |(bin, power): (usize, &f64)| {
                let (from, to) = (hertz(count(bin) - 0.5), hertz(count(bin) + 0.5));
                let shared = (to.min(*high) - from.max(*low)).max(0.0) / (to - from);
                shared * power
            };
            powers.iter().enumerate().map(covered).sum::<f64>().max(1e-12)
        };
        self.bands.iter().map(sum).collect()
    }

    /// Each band excites its neighbours: steeply below it, above it less steeply the louder it is.
    fn spread(&self, powers: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; BANDS];
        for (from, &power) in powers.iter().enumerate() {
            let upper_db = 24.0 + 230.0 / self.bands[from][2] - 2.0 * power.log10();
            let falls = |to: usize| {
                let (slope, bands) = if to < from { (27.0, from - to) } else { (upper_db, to - from) };
                10_f64.powf(-slope * BARK_PER_BAND * count(bands) / 10.0)
            };
            let all: f64 = (0..BANDS).map(falls).sum();
            for (to, sum) in sums.iter_mut().enumerate() {
                *sum += (power * falls(to) / all).powf(ADDITION);
            }
        }
        sums.iter().zip(&self.flat).map(|(sum, flat)| sum.powf(1.0 / ADDITION) / flat).collect()
    }
}

fn hertz(bin: f64) -> f64 {
    bin * f64::from(SAMPLE_RATE_HZ) / count(FRAME)
}

fn hop_seconds() -> f64 {
    count(FRAME / 2) / f64::from(SAMPLE_RATE_HZ)
}

fn bark(hz: f64) -> f64 {
    7.0 * (hz / 650.0).asinh()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::impairment::SplitMix;

    fn noise(amplitude: f64, seed: u64) -> Vec<f64> {
        let mut random = SplitMix(seed);
        (0..24_000).map(|_| amplitude * (2.0 * random.unit() - 1.0)).collect()
    }

    #[allow(clippy::cast_possible_truncation, reason = "a test's samples")]
    fn with(error: &[f64], signal: &[f64]) -> Vec<f32> {
        signal.iter().zip(error).map(|(a, b)| (a + b) as f32).collect()
    }

    #[test]
    fn the_ratio_to_noise_is_what_was_added() {
        let signal = noise(0.5, 1);
        for (amplitude, expected_db) in [(0.05, 20.0), (0.158, 10.0)] {
            let quality = of(&signal, &with(&noise(amplitude, 2), &signal)).unwrap();
            assert!((quality.segmental_snr_db - expected_db).abs() < 0.3, "{quality:?}");
        }
    }

    #[test]
    fn what_is_masked_is_not_heard() {
        let signal = noise(0.5, 1);
        let ratio =
            |amplitude: f64| of(&signal, &with(&noise(amplitude, 2), &signal)).unwrap().noise_to_mask_db;
        // Noise as loud as the signal is at the edge of what noise masks: of its power, the half that moves magnitudes
        // counts.
        assert!(ratio(0.5).abs() < 3.0, "{}", ratio(0.5));
        assert!(ratio(0.05) < -10.0, "{}", ratio(0.05));
        assert!((ratio(0.05) - ratio(0.016) - 10.0).abs() < 1.5, "{} {}", ratio(0.05), ratio(0.016));
        let tone: Vec<f64> = (0..24_000).map(|n| 0.5 * (TAU * 1000.0 / 48e3 * count(n)).sin()).collect();
        let far: Vec<f64> = (0..24_000).map(|n| 0.005 * (TAU * 9000.0 / 48e3 * count(n)).sin()).collect();
        let heard = of(&tone, &with(&far, &tone)).unwrap().noise_to_mask_db;
        assert!(heard > 0.0, "a tone does not mask another three octaves above it: {heard}");
    }

    #[test]
    fn a_copy_has_no_noise() {
        let signal = noise(0.5, 1);
        let quality = of(&signal, &with(&vec![0.0; signal.len()], &signal)).unwrap();
        assert!(quality.segmental_snr_db == 35.0 && quality.noise_to_mask_db < -90.0, "{quality:?}");
    }
}
